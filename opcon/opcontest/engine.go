package opcontest

import (
	"slices"
	"strconv"
	"time"
)

// action is one asynchronous request.
type action struct {
	id      int
	path    string // collection
	verb    string
	reason  string
	left    int // ticks until it is carried out
	items   []*actionItem
	over    bool
	forever bool
	gone    bool
	word    *string // shown as every result; empty: no result is shown
}

type actionItem struct {
	id      string
	result  string
	message string
}

// tick moves everything one request on.
func (s *Server) tick() {
	if !s.SAMDown {
		for _, a := range s.actions {
			if a.over || a.forever {
				continue
			}
			if a.left > 0 {
				a.left--
				continue
			}
			s.carryOut(a)
		}
	}
	for _, m := range s.machines {
		s.tickAgent(m)
	}
	for _, j := range s.jobs {
		s.tickJob(j)
	}
	s.startJobs()
}

func (s *Server) agentAnswers(m *Machine) bool {
	if m.Mute {
		return false
	}
	return s.Hooks.Agent == nil || s.Hooks.Agent(m.Address())
}

func (s *Server) tickAgent(m *Machine) {
	if m.Asked == "D" {
		m.State, m.peer = "D", ""
		return
	}
	answers := s.agentAnswers(m)
	switch m.State {
	case "W":
		if m.waiting > 0 {
			m.waiting--
			return
		}
		if !answers {
			m.State = "E"
			return
		}
		m.State = m.Asked
		s.connect(m)
		for _, j := range s.jobs {
			if j.Status.running() && j.StartedOn == m.Name && j.host != m.peer {
				j.orphan = 1 + s.ReportAfter // the agent there knows nothing of it
			}
		}
	case "E":
		if answers {
			m.State = "W"
		}
	default:
		if !answers {
			m.State, m.peer = "E", ""
			return
		}
		m.State = m.Asked
	}
}

func (s *Server) tickJob(j *Job) {
	if j.Status == jobFailedProcessing {
		j.Status = j.finalise
		return
	}
	if !j.Status.running() {
		return
	}
	if j.orphan > 0 {
		if j.orphan--; j.orphan == 0 {
			j.Status, j.finalise = jobFailedProcessing, JobFailed
			s.happened("reported failed", j.label(), j.StartedOn)
		}
		return
	}
	m := s.machine(j.StartedOn)
	heard := m == nil || (m.State != "D" && m.State != "E" && m.State != "W" && j.host == m.peer)
	if j.Status == JobRunning && j.Ticks > 0 {
		if j.left > 0 {
			j.left--
		}
		if j.left == 0 && heard {
			j.Status = JobFinishedOK
			s.happened("finish", j.label(), j.StartedOn)
		}
	}
}

// startJobs starts every ready job whose schedule runs and whose machine, or an alternate one, takes it.
func (s *Server) startJobs() {
	for _, j := range s.jobs {
		if j.Status != JobQualifying || !j.Ready || j.Container {
			continue
		}
		x := j.Schedule
		if x.Status == ScheduleWaitToStart {
			x.Status = ScheduleInProcess
		}
		if x.Status != ScheduleInProcess {
			continue
		}
		m, alternate := s.choose(j)
		if m == nil {
			continue
		}
		s.nextNumber++
		j.Status, j.number, j.StartedOn, j.host, j.left, j.orphan = JobRunning, s.nextNumber, m.Name, m.peer, j.Ticks, 0
		e := Effect{"start", j.label(), m.Name + " at " + m.peer}
		s.effects = append(s.effects, e)
		if alternate || m.peer == s.stray || (s.Hooks.Right != nil && !s.Hooks.Right(m.peer)) {
			s.wrong = append(s.wrong, e)
		}
		if s.Hooks.Started != nil {
			s.Hooks.Started(j.label(), m.Name, m.peer)
		}
	}
}

// choose returns the machine a job goes to: its own when that one takes jobs, an alternate one when it is down.
func (s *Server) choose(j *Job) (*Machine, bool) {
	takes := func(m *Machine) bool { return m != nil && m.Asked == "U" && m.State == "U" }
	if j.Group != "" {
		for _, g := range s.groups {
			if g.name != j.Group {
				continue
			}
			for _, m := range g.members {
				if takes(m) {
					return m, false
				}
			}
		}
		return nil, false
	}
	m := s.machine(j.Primary)
	if takes(m) {
		return m, false
	}
	if m == nil || (m.State != "D" && m.State != "E") {
		return nil, false
	}
	for _, name := range j.Alternates {
		if a := s.machine(name); takes(a) {
			return a, true
		}
	}
	return nil, false
}

func (s *Server) carryOut(a *action) {
	a.over = true
	for _, it := range a.items {
		if text, refuse := s.refused(a, it); refuse {
			it.result, it.message = "failed", text
			continue
		}
		it.result, it.message = "success", ""
	}
}

// refused carries out one item or says why not.
func (s *Server) refused(a *action, it *actionItem) (string, bool) {
	switch a.path {
	case "/api/machineactions":
		return s.machineAction(a, it)
	case "/api/scheduleactions":
		for _, x := range s.schedules {
			if x.id == it.id {
				return s.scheduleAction(a, x)
			}
		}
	case "/api/jobactions":
		for _, j := range s.jobs {
			if j.id == it.id {
				return s.jobAction(a, j)
			}
		}
	}
	return "not found", true
}

func (s *Server) itemFails(verb, name string) (string, bool) {
	for _, f := range s.itemFaults {
		if f.verb == verb && f.name == name && f.times != 0 {
			f.times--
			s.refusals[verb]++
			return f.message, true
		}
	}
	return "", false
}

func (s *Server) machineAction(a *action, it *actionItem) (string, bool) {
	id, _ := strconv.Atoi(it.id)
	i := slices.IndexFunc(s.machines, func(m *Machine) bool { return m.id == id })
	if i < 0 {
		return "machine not found", true
	}
	m := s.machines[i]
	if text, bad := s.itemFails(a.verb, m.Name); bad {
		return text, true
	}
	want := map[string]string{"up": "U", "limited": "L", "down": "D"}[a.verb]
	if m.Asked == want {
		return "the machine is already in this state", true
	}
	if want == "D" {
		m.State, m.peer = "D", ""
	} else if m.Asked == "D" {
		m.State, m.waiting = "W", m.AnswerAfter
	} else {
		m.State = want
	}
	m.Asked = want
	s.happened(a.verb, m.Name, m.Address())
	return "", false
}

func (s *Server) scheduleAction(a *action, x *Schedule) (string, bool) {
	if text, bad := s.itemFails(a.verb, x.Name); bad {
		return text, true
	}
	switch a.verb {
	case "hold":
		if x.Status == ScheduleOnHold || x.Status == ScheduleParentHold || x.Status == ScheduleWaitContainer {
			return "hold is not allowed in this status", true
		}
		x.before, x.Status = x.Status, ScheduleOnHold
		for _, child := range s.below(x) {
			if !child.StaysOut && (child.Status == ScheduleInProcess || child.Status == ScheduleWaitToStart) {
				child.before, child.Status = child.Status, ScheduleParentHold
			}
		}
	case "release":
		if x.Status != ScheduleOnHold {
			return "release is not allowed in this status", true
		}
		x.Status = x.before
		for _, child := range s.below(x) {
			if child.Status == ScheduleParentHold {
				child.Status = child.before
			}
		}
	default:
		return "unknown action", true
	}
	s.happened(a.verb, x.label(), a.reason)
	return "", false
}

// below returns every subschedule of x, however deep.
func (s *Server) below(x *Schedule) []*Schedule {
	var list []*Schedule
	for _, y := range s.schedules {
		for p := y.Container; p != nil; p = p.Schedule.Container {
			if p.Schedule == x {
				list = append(list, y)
				break
			}
		}
	}
	return list
}

func (s *Server) jobAction(a *action, j *Job) (string, bool) {
	if text, bad := s.itemFails(a.verb, j.Name); bad {
		return text, true
	}
	category := jobStatus[j.Status].category
	restartable := slices.Contains([]string{"Failed", "Under Review", "Fixed", "Finished Ok", "Cancelled", "Skipped"},
		category) && j.Status != jobFailedProcessing
	switch a.verb {
	case "restart", "restartOnHold", "forceRestart":
		if !restartable {
			return "restart is not allowed in this status", true
		}
		j.Status, j.StartedOn, j.orphan = JobQualifying, "", 0
		if a.verb == "restartOnHold" {
			j.Status = JobOnHold
		} else {
			j.Ready = true
		}
	case "markFailed":
		if category == "Failed" || category == "Cancelled" || category == "Skipped" {
			return "mark is not allowed in this status", true
		}
		j.Status, j.finalise, j.orphan = jobFailedProcessing, jobMarkedFailed, 0
	case "markFinishedOk":
		if category == "Finished Ok" || category == "Cancelled" || category == "Skipped" {
			return "mark is not allowed in this status", true
		}
		j.Status, j.orphan = jobMarkedFinishedOK, 0
	case "hold":
		if j.Status != JobQualifying {
			return "hold is not allowed in this status", true
		}
		j.Status = JobOnHold
	case "cancel":
		if !slices.Contains([]string{"Waiting", "Held", "Failed", "Under Review", "Missed Start Time"}, category) ||
			j.Status == jobFailedProcessing {
			return "cancel is not allowed in this status", true
		}
		j.Status = JobCancelled
	default:
		return "unknown action", true
	}
	s.happened(a.verb, j.label(), a.reason)
	return "", false
}

// Midnight moves the server's clock past midnight and builds the next date of every schedule that is built
// automatically, not on hold, as the real system does by default.
func (s *Server) Midnight() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.midnight()
}

func (s *Server) midnight() {
	y, m, d := s.now.Date()
	s.now = time.Date(y, m, d+1, 0, 0, 5, 0, s.now.Location())
	for _, x := range slices.Clone(s.schedules) {
		if !x.AutoBuild {
			continue
		}
		latest := x.Date
		for _, y := range s.schedules {
			if y.master == x.master && y.Date > latest {
				latest = y.Date
			}
		}
		if latest != x.Date {
			continue
		}
		day, _ := time.Parse(time.DateOnly, latest)
		built := s.addSchedule(&Schedule{Name: x.Name, Date: day.AddDate(0, 0, 1).Format(time.DateOnly),
			AutoBuild: true, master: x.master})
		s.happened("build", built.label(), "")
		for _, j := range slices.Clone(s.jobs) {
			if j.Schedule == x {
				s.addJob(&Job{Name: j.Name, Schedule: built, Primary: j.Primary, Alternates: j.Alternates,
					Group: j.Group, Container: j.Container,
					Steps: j.Steps, Ready: true, Ticks: j.Ticks})
			}
		}
	}
}
