package symitar

import (
	"cmp"
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
	Decide opcon.Decider
	// KeepHeld are schedules that stay held at the end, for a person to release; it may be corrected until the release
	KeepHeld []string
	Dates    []opcon.Date // dates to hold besides those OpCon says are built

	DrainTimeout time.Duration // wait for running jobs; 0 means Limits.Quiet
	UpTimeout    time.Duration // wait for the agent on the new host to answer OpCon; 0 means opcon's default
}

func (c Config) validateOpCon() error {
	if c.OpCon == nil {
		return nil
	}
	o := *c.OpCon
	two := o.Home != opcon.Address{} && o.Partner != opcon.Address{} && o.Home != o.Partner
	return firstBroken(
		rule{o.Client == nil, "OpCon.Client", "is nil",
			"make one with opcon.New, or leave Config.OpCon out for manual steps"},
		rule{o.Machine == "", "OpCon.Machine", "is empty", "fill in the Symitar machine's name in OpCon"},
		rule{o.Reason == "", "OpCon.Reason", "is empty",
			"fill in what OpCon's audit shall show, for example the change number"},
		rule{o.Repoint != opcon.RepointEditRecord && o.Repoint != opcon.RepointAliasMoves, "OpCon.Repoint",
			"does not say how OpCon comes to the new primary", "use opcon.RepointEditRecord or opcon.RepointAliasMoves"},
		rule{o.Repoint == opcon.RepointEditRecord && !two, "OpCon.Home", "and Partner are not two addresses",
			"give the address of each host's agent, or use opcon.RepointAliasMoves"},
		rule{min(o.DrainTimeout, o.UpTimeout) < 0, "OpCon", "has a negative time", "use zero for the default"},
	)
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
	hold := opcon.QuiesceOptions{Machine: o.Machine, Mode: opcon.ModeUnplanned, Reason: o.Reason, Dates: o.Dates,
		DrainTimeout: cmp.Or(o.DrainTimeout, f.on.set.Limits.Quiet)}
	opts := opcon.ResumeOptions{Machine: o.Machine, Reason: o.Reason, Dates: o.Dates, Repoint: o.Repoint, Decide: o.Decide,
		KeepHeld: o.KeepHeld, UpTimeout: o.UpTimeout, Host: f.dir.next.cfg.Hostname}
	if f.alive() {
		hold.Mode, opts.OldAgent = opcon.ModePlanned, f.agentStop().Observe
	}
	switch {
	case o.Repoint != opcon.RepointEditRecord:
	case f.dir.next == f.pair.Home:
		opts.Address = o.Home
	default:
		opts.Address = o.Partner
	}
	s, err := opcon.QuiesceStages(o.Client, hold)
	if err != nil {
		return opcon.Stages{}, err
	}
	again, err := opcon.ResumeStages(o.Client, opts)
	s.Repoint, s.Prove, s.Decide, s.Release = again.Repoint, again.Prove, again.Decide, again.Release
	return s, err
}

// byHand is what a person does in OpCon, stage by stage.
func (f firing) byHand() opcon.Stages {
	by := func(stage, id, title, source, help string) failover.Stage {
		return failover.Stage{Name: stage, Steps: []failover.Step{{ID: id, Title: title, Target: "OpCon",
			Kind: failover.Manual, Source: vendorFailover + source, Help: help}}}
	}
	return opcon.Stages{
		Hold: by("opcon-hold", "schedules", "Hold all schedules of the Symitar machine in OpCon",
			"at a minimum, all schedules for the Symitar machine should be placed on hold",
			"In OpCon, put at least every schedule of the Symitar machine on hold, for every date that is built. This "+
				"prevents OpCon from inadvertently running jobs on the wrong machine. Write down which schedules you held and "+
				"which were held before: only yours are released at the end. A hold does not cover schedules that are built "+
				"later, as at midnight."),
		Down: by("opcon-down", "machine", "Bring the Symitar server down in OpCon",
			"it is highly recommended that the Symitar server be brought down in OpCon before the FAILOVER macro is run",
			"Note which jobs run on the machine now, in particular any that OpCon has just sent: the worst case is a job or a "+
				"series of jobs that was just sent when the macro is activated. Let them end where there is time; do not kill "+
				"them. Then bring the Symitar server down in OpCon, after the hold: a machine that is down may send its jobs "+
				"to alternate machines."),
		Repoint: by("opcon-repoint", "machine", "Point the OpCon machine at "+f.dir.next.Name(),
			"update the UNIX machine record to the new host (since June 2026)",
			"Nothing notifies OpCon that the primary machine has been replaced with the secondary machine. In OpCon, change "+
				"the address of the Symitar machine's record (or the host alias it names) to "+f.dir.next.Name()+". It is your "+
				"responsibility that OpCon does not run jobs on the wrong machine once the macro has run."),
		Prove: by("opcon-prove", "machine-up", "See in OpCon that the Symitar machine's agent answers, with no job started",
			"order of work",
			"In OpCon, hold what was built since you held the schedules, as at midnight. Set the Symitar machine to limited, "+
				"so that no job starts while you decide, and wait until its agent answers. Leave every schedule on hold."),
		Decide: by("opcon-decide", "rerun", "Decide job by job what has to run again",
			"account for what happens when a program or sequence of programs is interrupted because of the macro, or was not "+
				"run on the secondary machine; multiple jobs and schedules may have to be re-run",
			"Compare the jobs you noted with OpCon's list now. Some were interrupted by the macro, some were never run on the "+
				"secondary machine. Keep all schedules on hold until it is determined exactly what needs to run or be re-run. "+
				"Decide for each job: restart it (RSJ jobs at their restart point), mark it finished, or leave it. Restart "+
				"nothing in bulk."),
		Release: by("opcon-release", "schedules", "Release the schedules you held, one by one",
			"hold all schedules until it is determined exactly what needs to run or be re-run",
			"Hold what was built meanwhile, then bring the machine up. Release exactly the schedules you held, schedule by "+
				"schedule, each after what it needs has been decided; where the date has changed, that of SMA_DATES first. "+
				"Leave those on hold that were held before."),
	}
}
