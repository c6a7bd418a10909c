package symitar

import (
	"context"

	"github.com/01b61c5c/failover"
)

// LaunchOnce sends the launcher once and returns its exit status, without locks, following or judging.
func (p *Pair) LaunchOnce(ctx context.Context, run RunID) (int, error) {
	f, err := p.firingOf(run, PurposeSwitchover)
	if err != nil {
		return -1, err
	}
	_, a, err := f.launch(ctx, nil)
	return a.exit, err
}

// Changed builds a procedure whose stages were changed before they are put together.
func (p *Pair) Changed(purpose Purpose, change func(*Stages)) (failover.Procedure, error) {
	f, s, err := p.swap(purpose)
	if purpose == PurposeFailover {
		f, s, err = p.emergency(failover.Statement{By: "a", Says: "b", Reason: "c"})
	}
	if err == nil {
		change(&s)
	}
	return f.procedure("changed", s, err)
}

// Look asks one check of a swap, by the ID of its step.
func (p *Pair) Look(ctx context.Context, id string) (failover.Observation, error) {
	_, s, err := p.swap(PurposeSwitchover)
	if err != nil {
		return failover.Observation{}, err
	}
	for _, stage := range []failover.Stage{s.Preflight, s.Quiet, s.Verify} {
		for _, step := range stage.Steps {
			if stage.Name+"/"+step.ID == id {
				return step.Observe(ctx)
			}
		}
	}
	return failover.Observation{}, failover.Invalid("id", "is unknown", "give the ID of a check")
}
