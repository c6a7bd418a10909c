package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Plan is what a procedure found and what it would do, in order. It is data: marshal it, diff it, show it. It is made
// by the code that runs.
type Plan struct {
	Procedure  string      `json:"procedure"`            // its name
	Definition string      `json:"definition"`           // hash over name, parameters, step IDs, kinds and targets
	Findings   string      `json:"findings"`             // hash over Definition and what was observed, without notes and Checks that wait; an approval is given for this one
	Parameters []Parameter `json:"parameters,omitempty"` // what makes this move another one than the next; no secrets
	Made       time.Time   `json:"made"`                 // UTC; part of neither hash
	Steps      []PlanStep  `json:"steps"`                // in the order in which they run
}

// PlanAction says what a run would do with a step as things stand.
type PlanAction string

// What a run would do with a step.
const (
	ActionNone    PlanAction = "none"    // the wanted state holds
	ActionApply   PlanAction = "apply"   // the change would be made
	ActionConfirm PlanAction = "confirm" // a person would be asked to do it
	ActionWait    PlanAction = "wait"    // the run would wait until it holds
	ActionLater   PlanAction = "later"   // a check that does not hold yet, behind steps that may bring it about
	ActionBlock   PlanAction = "block"   // the run would stop here
)

// PlanStep is one line of a plan.
type PlanStep struct {
	ID          string      `json:"id"`               // as in Step
	Title       string      `json:"title"`            // as in Step
	Target      string      `json:"target,omitempty"` // as in Step
	Kind        Kind        `json:"kind"`             // as in Step
	Action      PlanAction  `json:"action"`           // what a run would do with it as things stand
	Observation Observation `json:"observation"`      // what was found
	Error       string      `json:"error,omitempty"`  // the step could not be observed
	CanUndo     bool        `json:"can_undo"`         // an undo takes it back or has nothing to take back
	Outage      bool        `json:"outage"`           // inside the outage window
	Timeout     string      `json:"timeout"`          // as time.Duration prints it
	Source      string      `json:"source,omitempty"` // as in Step
	Help        string      `json:"help,omitempty"`   // as in Step

	waits bool
}

// Plan observes every step and changes nothing. A step that cannot be observed is part of the plan, with the reason.
// Plan fails only when the procedure is invalid or ctx ends.
//
// Later steps are observed before the earlier ones have run, so a plan shows where things stand, not a simulation.
func (p Procedure) Plan(ctx context.Context) (Plan, error) {
	if err := p.Validate(); err != nil {
		return Plan{}, err
	}
	plan := Plan{Procedure: p.Name, Definition: p.Definition(), Parameters: p.Parameters, Made: time.Now().UTC()}
	pending := false // a step before this one would do something
	for i, s := range p.Steps {
		obs, err := observe(ctx, s)
		if ctx.Err() != nil {
			return Plan{}, &Error{Op: "plan", Target: p.Name, Outcome: NotApplied, Next: "plan again", Err: context.Cause(ctx)}
		}
		ps := PlanStep{ID: s.ID, Title: s.Title, Target: s.Target, Kind: s.Kind, Observation: obs, Outage: p.inOutage(i),
			CanUndo: s.Kind == Check || s.Kind == Change && s.Undo != nil, Timeout: s.timeout().String(), Source: s.Source, Help: s.Help}
		if err != nil {
			ps.Error = err.Error()
		}
		ps.Action, ps.waits = s.action(obs, err), s.Kind == Check && s.Wait
		switch {
		case ps.Action == ActionBlock && s.Kind == Check && pending:
			ps.Action = ActionLater
		case ps.Action == ActionApply || ps.Action == ActionConfirm:
			pending = true
		}
		plan.Steps = append(plan.Steps, ps)
	}
	plan.Findings = plan.findings()
	return plan, nil
}

func (s Step) action(obs Observation, err error) PlanAction {
	switch {
	case err == nil && obs.Done:
		return ActionNone
	case s.Kind == Manual:
		return ActionConfirm
	case s.Kind == Check && s.Wait:
		return ActionWait
	case s.Kind == Check || err != nil:
		return ActionBlock
	}
	return ActionApply
}

func (p Plan) findings() string {
	type finding struct {
		ID     string
		Action PlanAction
		Obs    Observation
		Failed bool
	}
	all := struct {
		Definition string
		Findings   []finding
	}{Definition: p.Definition}
	for _, s := range p.Steps {
		f := finding{s.ID, s.Action, s.Observation.hashed(), s.Error != ""}
		if s.waits {
			// What is waited for comes and goes, such as jobs that run; the run waits for it whatever the plan found.
			f = finding{ID: s.ID, Action: ActionWait}
		}
		all.Findings = append(all.Findings, f)
	}
	return hashJSON(all)
}

// hashed leaves out what changes by itself.
func (o Observation) hashed() Observation {
	o.Note = ""
	return o
}

// Blockers returns the steps at which a run would stop as things stand.
func (p Plan) Blockers() []PlanStep {
	var blockers []PlanStep
	for _, s := range p.Steps {
		if s.Action == ActionBlock {
			blockers = append(blockers, s)
		}
	}
	return blockers
}

// PointOfNoReturn returns the first step a run would apply and nobody could undo; the bool is false when there is none.
func (p Plan) PointOfNoReturn() (PlanStep, bool) {
	for _, s := range p.Steps {
		if s.Action != ActionNone && !s.CanUndo && (s.Kind == Change || s.Kind == Once) {
			return s, true
		}
	}
	return PlanStep{}, false
}

// JSON returns the plan as an indented document.
func (p Plan) JSON() ([]byte, error) { return json.MarshalIndent(p, "", "  ") }

// String returns the table a person reads. Steps in the outage window are marked with "!".
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Plan for %s\n", p.Procedure)
	for _, param := range p.Parameters {
		fmt.Fprintf(&b, "  %s: %s\n", param.Name, param.Value)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\n #\t\tACTION\tKIND\tUNDO\tSTEP\tTARGET\tFOUND")
	for i, s := range p.Steps {
		mark := ""
		if s.Outage {
			mark = "!"
		}
		found := s.Observation.Found
		if s.Error != "" {
			found = "cannot be observed: " + s.Error
		}
		if s.Observation.Note != "" {
			found += " (" + s.Observation.Note + ")"
		}
		fmt.Fprintf(w, "%2d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i+1, mark, s.Action, s.Kind, s.undoWord(), s.Title, s.Target, oneLine(found))
		if s.Action == ActionApply && s.Observation.Would != "" {
			fmt.Fprintf(w, "\t\t\t\t\t  will: %s\t\t\n", oneLine(s.Observation.Would))
		}
	}
	_ = w.Flush()
	if s, ok := p.PointOfNoReturn(); ok {
		fmt.Fprintf(&b, "\nPoint of no return: %s (%s)\n", s.Title, s.ID)
	}
	for _, s := range p.Steps {
		switch s.Action {
		case ActionBlock:
			fmt.Fprintf(&b, "Would stop at: %s (%s)\n", s.Title, s.ID)
		case ActionLater:
			fmt.Fprintf(&b, "Does not hold yet: %s (%s)\n", s.Title, s.ID)
		case ActionNone, ActionApply, ActionConfirm, ActionWait:
		}
	}
	fmt.Fprintf(&b, "Findings: %s\n", p.Findings)
	return b.String()
}

func (s PlanStep) undoWord() string {
	switch {
	case s.Kind == Check || s.Kind == Manual:
		return "-"
	case s.CanUndo:
		return "yes"
	}
	return "NO"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
