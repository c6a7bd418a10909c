// Package behind tells of what stands behind an effect.
package behind

import "github.com/01b61c5c/failover"

// Effect is the error of a part of a change that follows another part, which took effect. That this one was not applied
// does not make the whole so: it is in doubt. Where the parts have names of their own, failover.Targets tells more.
func Effect(err error) error {
	if failover.OutcomeOf(err) != failover.NotApplied {
		return err
	}
	return &failover.Error{Op: "go on", Outcome: failover.InDoubt, Next: failover.NextOf(err), Err: err}
}
