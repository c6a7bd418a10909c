package symitar

import (
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
)

// OpCon connects the procedures with OpCon. Without it they contain manual steps with the vendor's text.
type OpCon struct {
	Client  *opcon.Client // closing it is the caller's
	Machine string        // the Symitar machine's name in OpCon
	Reason  string        // sent with every action, for example the change number

	// Repoint says whether the machine record is edited. With opcon.RepointEditRecord give the addresses of both hosts.
	Repoint opcon.Repoint
	Home    opcon.Address // of the agent on Home
	Partner opcon.Address // of the agent on Partner

	// Decide decides, job by job, about what was interrupted or never ran. Nil makes that a manual step: nothing is
	// restarted without a decision either way.
	Decide   opcon.Decider
	KeepHeld []string     // schedules that stay held at the end, for a person to release
	Dates    []opcon.Date // dates to hold besides those OpCon says are built

	DrainTimeout time.Duration // wait for running jobs; 0 means Limits.Quiet
	UpTimeout    time.Duration // wait for the agent on the new host to answer OpCon; 0 means opcon's default
}

func (c Config) validateOpCon() error {
	if c.OpCon == nil {
		return nil
	}
	o := *c.OpCon
	switch {
	case o.Client == nil:
		return failover.Invalid("Config.OpCon.Client", "is nil",
			"make one with opcon.New, or leave Config.OpCon out for manual steps")
	case o.Machine == "":
		return failover.Invalid("Config.OpCon.Machine", "is empty", "fill in the Symitar machine's name in OpCon")
	case o.Reason == "":
		return failover.Invalid("Config.OpCon.Reason", "is empty",
			"fill in what OpCon's audit shall show, for example the change number")
	case o.Repoint == opcon.RepointEditRecord &&
		(o.Home == opcon.Address{} || o.Partner == opcon.Address{} || o.Home == o.Partner):
		return failover.Invalid("Config.OpCon.Home", "and Partner are not two addresses",
			"give the address of each host's agent, or use opcon.RepointAliasMoves")
	case o.DrainTimeout < 0 || o.UpTimeout < 0:
		return failover.Invalid("Config.OpCon", "has a negative time", "use zero for the default")
	}
	return nil
}

const vendorFailover = "vendor, RSJ and FAILOVER: "

// stepRelease is the step that lets jobs run again, in OpCon's stages and in those by hand.
const stepRelease = "opcon-release/schedules"

// held returns the stages that keep OpCon from running jobs on the wrong machine. The schedules are held before the
// machine goes down: a machine that is down sends its jobs to alternate machines.
func (f firing) held() (opcon.Stages, error) {
	o := f.on.set.OpCon
	if o == nil {
		return f.byHand(), nil
	}
	mode, drain := opcon.ModeUnplanned, o.DrainTimeout
	if f.alive() {
		mode = opcon.ModePlanned
	}
	if drain == 0 {
		drain = f.on.set.Limits.Quiet
	}
	s, err := opcon.QuiesceStages(o.Client,
		opcon.QuiesceOptions{Machine: o.Machine, Mode: mode, Reason: o.Reason, Dates: o.Dates, DrainTimeout: drain})
	if err != nil {
		return opcon.Stages{}, err
	}
	opts := opcon.ResumeOptions{Machine: o.Machine, Reason: o.Reason, Dates: o.Dates, Repoint: o.Repoint, Decide: o.Decide,
		KeepHeld: o.KeepHeld, UpTimeout: o.UpTimeout,
		Host: f.dir.next.cfg.Hostname}
	if o.Repoint == opcon.RepointEditRecord {
		opts.Address = o.Partner
		if f.dir.next == f.pair.Home {
			opts.Address = o.Home
		}
	}
	if f.alive() {
		opts.OldAgent = f.agentStop().Observe
	}
	again, err := opcon.ResumeStages(o.Client, opts)
	s.Repoint, s.Prove, s.Decide, s.Release = again.Repoint, again.Prove, again.Decide, again.Release
	return s, err
}

// byHand is what a person does in OpCon, stage by stage.
func (f firing) byHand() opcon.Stages {
	by := func(stage string, s failover.Step) failover.Stage {
		s.Target, s.Kind = "OpCon", failover.Manual
		return failover.Stage{Name: stage, Steps: []failover.Step{s}}
	}
	return opcon.Stages{
		Hold: by("opcon-hold", failover.Step{ID: "schedules", Title: "Hold all schedules of the Symitar machine in OpCon",
			Source: vendorFailover + "at a minimum, all schedules for the Symitar machine should be placed on hold",
			Help: "In OpCon, put at least every schedule of the Symitar machine on hold, for every date that is built. This " +
				"prevents OpCon from inadvertently running jobs on the wrong machine. " +
				"Write down which schedules you held and which were held before: only yours are released at the end. A hold does " +
				"not cover schedules that are built later, as at midnight."}),
		Down: by("opcon-down", failover.Step{ID: "machine", Title: "Bring the Symitar server down in OpCon",
			Source: vendorFailover + "it is highly recommended that the Symitar server be brought down in OpCon before the " +
				"FAILOVER macro is run",
			Help: "Note which jobs run on the machine now, in particular any that OpCon has just sent: the worst case is a job " +
				"or a series of jobs that was just sent when the macro is activated. " +
				"Let them end where there is time; do not kill them. Then bring the Symitar server down in OpCon, after the hold: " +
				"a machine that is down may send its jobs to alternate machines."}),
		Repoint: by("opcon-repoint", failover.Step{ID: "machine", Title: "Point the OpCon machine at " + f.dir.next.Name(),
			Source: vendorFailover + "update the UNIX machine record to the new host (since June 2026)",
			Help: "Nothing notifies OpCon that the primary machine has been replaced with the secondary machine. In OpCon, " +
				"change the address of the Symitar machine's record (or the host alias it names) to " + f.dir.next.Name() +
				". It is your responsibility that OpCon does not run jobs on the wrong machine once the macro has run."}),
		Prove: by("opcon-prove", failover.Step{ID: "machine-up",
			Title:  "Bring the Symitar machine up in OpCon and see that its agent answers",
			Source: vendorFailover + "order of work",
			Help:   "In OpCon, bring the Symitar machine up and wait until its state is up. Leave every schedule on hold."}),
		Decide: by("opcon-decide", failover.Step{ID: "rerun", Title: "Decide job by job what has to run again",
			Source: vendorFailover + "account for what happens when a program or sequence of programs is interrupted because " +
				"of the macro, or was not run on the secondary machine; multiple jobs and schedules may have to be re-run",
			Help: "Compare the jobs you noted with OpCon's list now. Some were interrupted by the macro, some were never run " +
				"on the secondary machine. Keep all schedules on hold until it is determined exactly what needs to run or be " +
				"re-run. " +
				"Decide for each job: restart it (RSJ jobs at their restart point), mark it finished, or leave it. Restart " +
				"nothing in bulk."}),
		Release: by("opcon-release", failover.Step{ID: "schedules", Title: "Release the schedules you held, one by one",
			Source: vendorFailover + "hold all schedules until it is determined exactly what needs to run or be re-run",
			Help: "Release exactly the schedules you held, schedule by schedule, each after what it needs has been decided. " +
				"Leave those on hold that were held before."}),
	}
}
