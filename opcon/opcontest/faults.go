package opcontest

import (
	"fmt"
)

// Fault is something that goes wrong at the site as a whole, by its name.
type Fault struct {
	Name  string // for example old-agent-returns
	Title string // what goes wrong, in one sentence
}

var faults = []struct {
	Fault
	arm func(*Server, *Scenario)
}{
	{Fault{"agent-of-old-host", "after the move the old host's agent answers OpCon, since record or alias lead there"},
		func(s *Server, c *Scenario) {
			host := c.Machine.peer
			s.beforeOnce("down", func() { s.stray = host })
		}},
	{Fault{"old-agent-returns",
		"the old host's agent comes back after the new one has answered, and takes the line before the machine is up"},
		func(s *Server, c *Scenario) {
			host := c.Machine.peer
			s.beforeOnce("up", func() {
				s.stray = host
				s.connect(c.Machine)
			})
		}},
	{Fault{"result-unknown",
		"OpCon gives a word as the result of every action that no document lists, and carries the action out a moment later"},
		func(s *Server, _ *Scenario) {
			s.injections = append(s.injections, &Injection{Kind: InjectionOtherWord, Method: "POST", Path: "/api/",
				Body: "InProgress", Times: -1, actions: true})
		}},
	{Fault{"prerun-failed",
		"a job is cut in its preparation; OpCon counts it as waiting, with the words Prerun Failed"},
		func(s *Server, c *Scenario) {
			s.cutShort(c.Running, JobPrerunFailed)
		}},
	{Fault{"decision-corrected", "a job fails on the way, and OpCon refuses the restart that was decided on first"},
		func(s *Server, c *Scenario) {
			s.cutShort(c.Running, JobFailed)
			s.itemFaults = append(s.itemFaults, &itemFault{"restartOnHold", c.Running.Name,
				"this job may not be restarted", -1})
		}},
}

// Faults lists what Arm knows.
func Faults() []Fault {
	list := make([]Fault, len(faults))
	for i, f := range faults {
		list[i] = f.Fault
	}
	return list
}

// Arm prepares the fault of that name for the scenario of [Server.Symitar]. Arm it before anything is asked.
func (s *Server) Arm(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scenario == nil {
		return fmt.Errorf("opcontest: the fault %s needs the scenario of Symitar", name)
	}
	for _, f := range faults {
		if f.Name == name {
			f.arm(s, s.scenario)
			return nil
		}
	}
	return fmt.Errorf("opcontest: no fault is called %q", name)
}

// Remedy does what a person does about an armed fault outside OpCon: the agent on the old host is stopped, and what
// leads to it leads to the new host. The next line that is opened goes there.
func (s *Server) Remedy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.machines {
		if s.stray != "" && m.peer == s.stray && m.Asked != "D" {
			m.State, m.peer = "W", "" // its line has ended, and is opened anew
		}
	}
	s.stray = ""
}

// Refused returns how often an item of an action was refused by FailItem or a fault.
func (s *Server) Refused(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals[verb]
}

// beforeOnce runs f with the lock held when the first such action of a machine is posted.
func (s *Server) beforeOnce(verb string, f func()) {
	s.before = append(s.before, &trigger{method: "POST", path: "/api/machineactions", verb: verb,
		run: func() { s.Change(f) }})
}

// cutShort lets a running job go on until the machine first stops taking jobs, and ends it so then.
func (s *Server) cutShort(j *Job, as JobStatus) {
	j.Ticks, j.left = 0, 0
	done := false
	for _, verb := range []string{"limited", "down"} {
		s.beforeOnce(verb, func() {
			if !done && j.Status.running() {
				j.Status, j.orphan = as, 0
			}
			done = true
		})
	}
}
