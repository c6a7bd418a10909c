package failover

import (
	"context"
	"strings"
)

// Gate is where a person or a policy can stop a change. It is asked right before a Change or Once is applied, and
// before a change is taken back, with what was just observed: on the first attempt, and again on each attempt whose
// findings it has not seen. With RunOptions.Approved it is asked only for what that plan did not show, and for each
// step that cannot be undone. Checks, observations, probes and Manual steps do not pass the gate.
//
// It returns who agreed, which is recorded. An error wrapping ErrWaiting parks the run: run again with the same
// journal to be asked again, also from another process. Any other error stops the run as rejected.
type Gate func(context.Context, Request) (Approval, error)

// Request is what a person or a policy is asked about.
type Request struct {
	Journal     string      // ID of the journal
	Procedure   string      // its name
	Definition  string      // its definition hash
	Findings    PlanHash    // hash over Definition, the step and what was found of it
	Approved    PlanHash    // the plan the run was started with; "" when there is none
	Planned     bool        // that plan showed the step, with other findings or none
	Actor       string      // who runs it
	Reason      string      // why
	Undo        bool        // the change would be taken back
	Attempt     int         // counted from 1
	Step        StepInfo    // what would be done
	Observation Observation // what was found right now
}

// Approval says who agreed to a request.
type Approval struct {
	By   string // the person or policy; "" means the actor of the run
	From string // where the answer came from, for example a terminal or a ticket system
}

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
