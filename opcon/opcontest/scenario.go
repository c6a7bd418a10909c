package opcontest

// Scenario is a small site around one Symitar host pair, ready to be quiesced.
type Scenario struct {
	Machine   *Machine // SYMAIX1, at the address of the primary host
	Alternate *Machine // SYMSPARE, named as alternate by some jobs
	Other     *Machine // WINFTP, which has nothing to do with the pair

	Nightly, Branch, Statements *Schedule // today; free to start jobs
	Child                       *Schedule // subschedule of Nightly
	HeldBefore                  *Schedule // held by a person before the run
	Finished                    *Schedule // completed; of no concern
	Foreign                     *Schedule // has no job for the machine
	Tomorrow                    *Schedule // Nightly, built for the next date

	Running   *Job // runs on the machine
	JustSent  *Job // sent to the machine, no start reported
	Alternant *Job // ready; goes to the alternate machine when its own is down and its schedule is not held
	Waiting   *Job // not ready
}

// Symitar fills the server with a scenario. The machine record points at address by its FQDN field.
func (s *Server) Symitar(machine, address string) *Scenario {
	c := &Scenario{}
	s.Change(func() { s.scenario = c })
	c.Machine = s.AddMachine(&Machine{Name: machine, FQDN: address})
	c.Alternate = s.AddMachine(&Machine{Name: "SYMSPARE", IP: "192.0.2.77"})
	c.Other = s.AddMachine(&Machine{Name: "WINFTP", TypeID: 3})
	s.AddGroup("SYM_PRIMARY", c.Machine)

	today := s.now.Format("2006-01-02")
	tomorrow := s.now.AddDate(0, 0, 1).Format("2006-01-02")
	c.Nightly = s.AddSchedule(&Schedule{Name: "SYM NIGHTLY", Date: today, Status: ScheduleInProcess, AutoBuild: true})
	c.Branch = s.AddSchedule(&Schedule{Name: "SYM BRANCH [EAST]", Date: today, Status: ScheduleInProcess})
	c.Statements = s.AddSchedule(&Schedule{Name: "SYM STATEMENTS", Date: today, Status: ScheduleWaitToStart})
	c.HeldBefore = s.AddSchedule(&Schedule{Name: "SYM CARDS", Date: today, Status: ScheduleOnHold,
		before: ScheduleInProcess})
	c.Finished = s.AddSchedule(&Schedule{Name: "SYM MORNING", Date: today, Status: ScheduleCompleted})
	c.Foreign = s.AddSchedule(&Schedule{Name: "FTP OUT", Date: today, Status: ScheduleInProcess})
	c.Tomorrow = s.AddSchedule(&Schedule{Name: "SYM NIGHTLY", Date: tomorrow, Status: ScheduleWaitToStart, AutoBuild: true,
		master: c.Nightly.master})

	container := s.AddJob(&Job{Name: "POSTING", Schedule: c.Nightly, Container: true, Status: JobRunning})
	c.Child = s.AddSchedule(&Schedule{Name: "SYM NIGHTLY_POSTING[ACH]", Date: today, Status: ScheduleInProcess,
		Container: container})
	s.AddJob(&Job{Name: "ACH LOAD", Schedule: c.Child, Primary: machine})

	c.Running = s.AddJob(&Job{Name: "GOODNIGHT", Schedule: c.Nightly, Primary: machine, Status: JobRunning,
		Steps: []string{"STEP1", "STEP2"}})
	c.JustSent = s.AddJob(&Job{Name: "CLOSEDAY", Schedule: c.Nightly, Primary: machine, Status: JobStartAttempted})
	c.Alternant = s.AddJob(&Job{Name: "REPORTS A/B", Schedule: c.Branch, Primary: machine,
		Alternates: []string{"SYMSPARE"}, Ready: false})
	c.Waiting = s.AddJob(&Job{Name: "STMT", Schedule: c.Statements, Group: "SYM_PRIMARY"})
	s.AddJob(&Job{Name: "CARDS", Schedule: c.HeldBefore, Primary: machine, Ready: true})
	s.AddJob(&Job{Name: "MORNING", Schedule: c.Finished, Primary: machine, Status: JobFinishedOK})
	s.AddJob(&Job{Name: "PUSH", Schedule: c.Foreign, Primary: "WINFTP"})
	s.AddJob(&Job{Name: "GOODNIGHT", Schedule: c.Tomorrow, Primary: machine, Ticks: 5})
	return c
}
