package opcontest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Machine is one machine record and the agent behind it.
type Machine struct {
	Name   string
	TypeID int    // 0 means 6, UNIX
	FQDN   string // "" means "<Default>"
	IP     string // "" means "<Default>"
	State  string // letter shown as state; "" means U
	Asked  string // operationStatus; "" means U
	TLS    bool
	Kill   bool // allowKillJob

	// AnswerAfter is how many ticks the agent takes to answer after "up"; state W meanwhile.
	AnswerAfter int
	// Mute makes the agent never answer: W, then E.
	Mute bool
	// StuckJobs is added to currentJobs for ever, as after a crash.
	StuckJobs int
	// Uncounted leaves currentJobs out of the record.
	Uncounted bool

	id      int
	waiting int
	served  []byte
	peer    string // host whose agent the line leads to; "" while there is none
	told    string // host name the agent reported last
}

// ID returns the machine's id, once it was added.
func (m *Machine) ID() int { return m.id }

// Address returns where OpCon looks for the agent.
func (m *Machine) Address() string {
	switch {
	case m.FQDN != "" && m.FQDN != unset:
		return m.FQDN
	case m.IP != "" && m.IP != unset:
		return m.IP
	}
	return m.Name
}

const unset = "<Default>"

// Words are a status as the server tells it, for words that no document lists.
type Words struct {
	Category, Description string
}

// ScheduleStatus is a daily schedule's status.
type ScheduleStatus int

// The statuses of a schedule.
const (
	ScheduleWaitToStart ScheduleStatus = iota
	ScheduleWaitContainer
	ScheduleOnHold
	ScheduleParentHold
	ScheduleInProcess
	ScheduleCompleted
)

// Schedule is one daily schedule.
type Schedule struct {
	Name      string
	Date      string // yyyy-mm-dd; "" means the server's today
	Status    ScheduleStatus
	Container *Job // the container job of a subschedule; nil for a root
	AutoBuild bool // built again at midnight for the date after the latest, not on hold

	// StaysOut makes a subschedule ignore its parent's hold, as the vendor's pages allow for some states.
	StaysOut bool
	// Says replaces what the server says of the status.
	Says *Words

	id     string
	master int
	before ScheduleStatus
}

// ID returns the schedule's id, once it was added.
func (s *Schedule) ID() string { return s.id }

// JobStatus is a daily job's status.
type JobStatus int

// The statuses of a job.
const (
	JobQualifying JobStatus = iota
	JobOnHold
	JobStartAttempted
	JobRunning
	jobFailedProcessing
	JobFailed
	jobMarkedFailed
	JobFinishedOK
	jobMarkedFinishedOK
	JobMissedStart
	JobCancelled
	JobPrerunFailed
)

var jobStatus = []struct {
	id, start             int
	description, category string
}{
	JobQualifying:       {0, 90, "Qualifying", "Waiting"},
	JobOnHold:           {0, 0, "On Hold", "Held"},
	JobStartAttempted:   {200, 900, "Start Attempted", "Running"},
	JobRunning:          {500, 900, "Job Running", "Running"},
	jobFailedProcessing: {821, 900, "Failed; Processing Events", "Failed"},
	JobFailed:           {910, 900, "Failed", "Failed"},
	jobMarkedFailed:     {921, 900, "Marked Failed", "Failed"},
	JobFinishedOK:       {900, 900, "Finished OK", "Finished Ok"},
	jobMarkedFinishedOK: {920, 900, "Marked Finished OK", "Finished Ok"},
	JobMissedStart:      {960, 900, "Missed Start Time", "Missed Start Time"},
	JobCancelled:        {950, 900, "Cancelled", "Cancelled"},
	JobPrerunFailed:     {0, 350, "Prerun Failed", "Waiting"},
}

func (j JobStatus) running() bool { return jobStatus[j].category == "Running" }

// Job is one daily job.
type Job struct {
	Name       string
	Schedule   *Schedule
	Primary    string   // machine name; empty with a group
	Alternates []string // up to three
	Group      string
	Container  bool // job type 15: starts a subschedule

	Status    JobStatus
	StartedOn string   // machine it was sent to
	Steps     []string // restart steps
	// Ready makes a qualifying job start as soon as its schedule and a machine allow it. Otherwise something else, such
	// as its start time, keeps it.
	Ready bool
	// Ticks is how long the job runs once started; 0 means it does not end by itself.
	Ticks int
	// Due is the computed start; zero means the server's present time.
	Due time.Time
	// Says replaces what the server says of the status.
	Says *Words

	id       string
	number   int
	left     int
	host     string // it was really sent to
	finalise JobStatus
	orphan   int
}

// ID returns the job's id, once it was added.
func (j *Job) ID() string { return j.id }

// Effect is one thing that really happened.
type Effect struct {
	What   string // hold, release, up, limited, down, address, start, restart, restartOnHold, markFailed, build, …
	Target string // name of the schedule, machine or job; schedules and jobs begin with their date
	Detail string // start: machine and address; address: the new one
}

// AddMachine adds a machine.
func (s *Server) AddMachine(m *Machine) *Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	m.id = s.nextID
	if m.TypeID == 0 {
		m.TypeID = 6
	}
	m.State, m.Asked = or(m.State, "U"), or(m.Asked, "U")
	m.FQDN, m.IP = or(m.FQDN, unset), or(m.IP, unset)
	if m.State == "U" || m.State == "L" {
		s.connect(m)
	}
	s.machines = append(s.machines, m)
	return m
}

// Reconnect drops the line of a machine that is not down and opens it to whatever answers at its address now.
func (s *Server) Reconnect(m *Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.State == "U" || m.State == "L" {
		s.connect(m)
	}
}

// connect opens the line to whatever answers at the machine's address.
func (s *Server) connect(m *Machine) {
	m.peer = m.Address()
	if s.Hooks.Host != nil {
		m.peer = s.Hooks.Host(m.Address())
	}
	if s.stray != "" {
		m.peer = s.stray
	}
	m.told = m.peer
}

// AddGroup adds a machine group.
func (s *Server) AddGroup(name string, machines ...*Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	s.groups = append(s.groups, group{id: s.nextID, name: name, members: machines})
}

type group struct {
	id      int
	name    string
	members []*Machine
}

// AddSchedule adds a daily schedule.
func (s *Server) AddSchedule(x *Schedule) *Schedule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addSchedule(x)
}

func (s *Server) addSchedule(x *Schedule) *Schedule {
	if x.Date == "" {
		x.Date = s.now.Format(time.DateOnly)
	}
	if x.master == 0 {
		s.nextMaster++
		x.master = s.nextMaster
	}
	x.id = fmt.Sprintf("%s|%d|1", strings.ReplaceAll(x.Date, "-", ""), x.master)
	s.schedules = append(s.schedules, x)
	return x
}

// AddJob adds a daily job. A running one is taken to run at its machine's address.
func (s *Server) AddJob(j *Job) *Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addJob(j)
}

func (s *Server) addJob(j *Job) *Job {
	j.id = j.Schedule.id + "|" + j.Name
	if j.Status != JobQualifying && j.Status != JobOnHold && j.Status != JobMissedStart {
		s.nextNumber++
		j.number = s.nextNumber
		if j.StartedOn == "" {
			j.StartedOn = j.Primary
		}
		if m := s.machine(j.StartedOn); m != nil {
			j.host = m.peer
		}
		j.left = j.Ticks
	}
	s.jobs = append(s.jobs, j)
	return j
}

func or[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}

func (s *Server) machine(name string) *Machine {
	for _, m := range s.machines {
		if strings.EqualFold(m.Name, name) {
			return m
		}
	}
	return nil
}

// Status returns a schedule's present status.
func (s *Server) Status(x *Schedule) ScheduleStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return x.Status
}

// Find returns the schedule of that date and name, or nil.
func (s *Server) Find(date, name string) *Schedule {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.schedules {
		if x.Date == date && x.Name == name {
			return x
		}
	}
	return nil
}

// JobState returns a job's present status and the machine it was sent to last.
func (s *Server) JobState(j *Job) (JobStatus, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return j.Status, j.StartedOn
}

// MachineState returns a machine's state, what it was asked for, and its address.
func (s *Server) MachineState(m *Machine) (state, asked, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.State, m.Asked, m.Address()
}

// Effects returns what happened, in order.
func (s *Server) Effects() []Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.effects)
}

// Count returns how often something happened; an empty target counts all.
func (s *Server) Count(what, target string) int {
	n := 0
	for _, e := range s.Effects() {
		if e.What == what && (target == "" || e.Target == target) {
			n++
		}
	}
	return n
}

// WrongStarts returns the starts of jobs on a host that Hooks.Right denied, and those on an alternate machine.
func (s *Server) WrongStarts() []Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wrong)
}

// Violations returns what the server refused because no client of OpCon may do it or because it does not know it.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *Server) happened(what, target, detail string) {
	s.effects = append(s.effects, Effect{what, target, detail})
}

func (x *Schedule) label() string { return x.Date + " " + x.Name }
func (j *Job) label() string      { return j.Schedule.Date + " " + j.Schedule.Name + " / " + j.Name }
