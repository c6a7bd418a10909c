package failover

import (
	"context"
	"strings"
)

// Gate is the one place where a person or a policy can stop a change. It is asked immediately before each Change and
// Once, with the step and what was just observed, and sees exactly what will be done. Checks, observations, probes,
// undo and Manual steps do not pass the gate.
//
// Approve returns nil to let the change happen. An error wrapping ErrWaiting parks the run: run again with the same
// journal to be asked again, also from another process. Any other error stops the run as rejected.
type Gate interface {
	Approve(context.Context, Step, Observation) error
}

// GateFunc makes a function a Gate.
type GateFunc func(context.Context, Step, Observation) error

// Approve calls f.
func (f GateFunc) Approve(ctx context.Context, s Step, o Observation) error { return f(ctx, s, o) }

// Statement is what a person answers for: that the dead host is dead, that a manual step is done, how an outcome in
// doubt was settled. It stands in the journal word for word.
type Statement struct {
	By     string `json:"by"`     // who answers for it
	Says   string `json:"says"`   // what is stated, for example "symaix1 lost power and cannot come back by itself"
	Reason string `json:"reason"` // how they know
}

// Validate refuses a statement with an empty part.
func (s Statement) Validate(field string) error {
	switch {
	case strings.TrimSpace(s.By) == "":
		return Invalid(field+".By", "is empty", "name the person who answers for it")
	case strings.TrimSpace(s.Says) == "":
		return Invalid(field+".Says", "is empty", "state what is so")
	case strings.TrimSpace(s.Reason) == "":
		return Invalid(field+".Reason", "is empty", "say how they know")
	}
	return nil
}

// String returns the statement as one sentence.
func (s Statement) String() string { return s.By + " states: " + s.Says + " (" + s.Reason + ")" }

// Step returns a Check that holds by the statement alone, so that what could not be observed stands in plan, journal
// and report beside what was.
func (s Statement) Step(id, title, target string) Step {
	return Step{ID: id, Title: title, Target: target, Kind: Check, Firm: true,
		Source: "statement by a person in place of an observation",
		Observe: func(context.Context) (Observation, error) {
			if err := s.Validate("Statement"); err != nil {
				return Observation{}, err
			}
			return Observation{Done: true, Found: s.String()}, nil
		}}
}
