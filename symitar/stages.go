package symitar

import (
	"slices"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
)

// Stages are the stages of the three procedures, for procedures that do something of their own in between. They run in
// this order: Statement, Preflight, the stages of OpCon up to Down, Quiet, Macro, Verify, Archive, OpCon.Repoint,
// Agent, and the other stages of OpCon. A stage without steps is one that the procedure does not need. Take name,
// parameters and lock from the procedure itself.
type Stages struct {
	Statement failover.Stage // Failover: a person answers for it that Home is gone
	Preflight failover.Stage // nothing is changed
	OpCon     opcon.Stages   // OpCon is held still and set going again; without Config.OpCon by hand
	Quiet     failover.Stage // the agent on the old primary is stopped, and nothing works any more
	Macro     failover.Stage // the outage: the macro is run, and the roles are as wanted
	Verify    failover.Stage // nothing is changed
	Archive   failover.Stage // the launcher's lock of the run is given back
	Agent     failover.Stage // the agent on the new primary is started
}

// SwitchoverStages returns the stages of [Switchover]. Errors wrap failover.ErrInvalid.
func SwitchoverStages(p *Pair) (Stages, error) {
	_, s, err := p.swap(PurposeSwitchover)
	return s, err
}

// FailbackStages returns the stages of [Failback]. Errors wrap failover.ErrInvalid.
func FailbackStages(p *Pair) (Stages, error) {
	_, s, err := p.swap(PurposeFailback)
	return s, err
}

// FailoverStages returns the stages of [Failover]. Errors wrap failover.ErrInvalid.
func FailoverStages(p *Pair, gone failover.Statement) (Stages, error) {
	_, s, err := p.emergency(gone)
	return s, err
}

// swap returns a swap with its stages. What they do depends on whether the old primary takes part.
func (p *Pair) swap(purpose Purpose) (firing, Stages, error) {
	f, err := p.firing("", purpose)
	if err != nil {
		return f, Stages{}, err
	}
	held, err := f.held()
	if err != nil {
		return f, Stages{}, err
	}
	return f, Stages{Preflight: f.preflight(), OpCon: held, Quiet: f.quiet(), Verify: f.verify(),
		Macro:   failover.Stage{Name: "macro", Outage: true, Steps: []failover.Step{f.macroStep(), f.rolesStep()}},
		Archive: failover.Stage{Name: "archive", Steps: []failover.Step{f.archiveStep()}},
		Agent:   failover.Stage{Name: "agent", Steps: []failover.Step{f.agentStart()}}}, nil
}

// emergency returns the swap without the old primary, behind a person's word for what cannot be observed there.
func (p *Pair) emergency(gone failover.Statement) (firing, Stages, error) {
	f, s, err := p.swap(PurposeFailover)
	if err == nil {
		err = gone.Validate("Failover.gone")
	}
	if err != nil {
		return f, Stages{}, err
	}
	word := gone.Step("primary-gone", f.dir.old.Name()+" is gone and will not come back as primary by itself",
		f.dir.old.Name())
	word.Source = vendorFailover + "FAILOVER swaps primary and secondary if the primary machine becomes unavailable"
	s.Statement = failover.Stage{Name: "statement", Steps: []failover.Step{word}}
	return f, s, nil
}

// procedure puts the stages together, if they could be made.
func (f firing) procedure(name string, s Stages, err error) (failover.Procedure, error) {
	if err != nil {
		return failover.Procedure{}, err
	}
	o := s.OpCon
	list := []failover.Stage{s.Statement, s.Preflight, o.Check, o.Hold, o.Drain, o.Down, s.Quiet, s.Macro, s.Verify,
		s.Archive, o.Repoint, s.Agent, o.Prove, o.Decide, o.Release}
	proc := failover.Procedure{Name: name, Parameters: f.parameters(), Lock: lockOf(f.all),
		Stages: slices.DeleteFunc(list, func(s failover.Stage) bool { return len(s.Steps) == 0 })}
	return proc, proc.Validate()
}

// alive reports whether the old primary takes part.
func (f firing) alive() bool { return slices.Contains(f.all, f.dir.old) }
