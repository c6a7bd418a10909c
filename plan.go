package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/01b61c5c/failover/internal/enum"
)

// PlanHash is what an approval is given for: a hash over everything that makes it mean something.
type PlanHash string

// Plan is what a procedure found and what it would do, in order. It is data: marshal it, diff it, show it. It is made
// by the code that runs.
type Plan struct {
	Procedure string `json:"procedure"` // its name
	// Definition: hash over name, parameters and what the steps are; see Procedure.Definition
	Definition string `json:"definition"`
	// Findings: hash over Definition and what was observed, without notes and Checks that wait; an approval is given for
	// this one
	Findings   PlanHash    `json:"findings"`
	Journal    string      `json:"journal,omitempty"`    // ID of the journal with which it was made, if it records a run
	Parameters []Parameter `json:"parameters,omitempty"` // what makes this move another one than the next; no secrets
	Made       time.Time   `json:"made"`                 // UTC; part of neither hash
	Steps      []PlanStep  `json:"steps"`                // in the order in which they run
}

// PlanAction says what a run would do with a step as things stand.
type PlanAction int

// What a run would do with a step.
const (
	ActionNone    PlanAction = iota + 1 // the wanted state holds
	ActionDone                          // the journal records that it is done; it was not looked at
	ActionApply                         // the change would be made
	ActionConfirm                       // a person would be asked to do it
	ActionWait                          // the run would wait until it holds
	ActionLater                         // it does not hold or cannot be observed yet, behind steps that may bring it about
	ActionBlock                         // the run would stop here
)

var actionNames = []string{0: "", ActionNone: "none", ActionDone: "done", ActionApply: "apply",
	ActionConfirm: "confirm", ActionWait: "wait", ActionLater: "later", ActionBlock: "block"}

// String returns the action as a word, for example "apply".
func (a PlanAction) String() string { return enum.Name(actionNames, a) }

// MarshalText implements encoding.TextMarshaler.
func (a PlanAction) MarshalText() ([]byte, error) { return enum.Marshal(actionNames, a) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *PlanAction) UnmarshalText(text []byte) error {
	return enum.Parse(actionNames, text, a)
}

// PlanStep is one line of a plan.
type PlanStep struct {
	StepInfo
	Action      PlanAction  `json:"action"`          // what a run would do with it as things stand
	Observation Observation `json:"observation"`     // what was found
	Error       string      `json:"error,omitempty"` // the step could not be observed
	// Later says that a change before the step may alter what is found: when it is no longer as shown, the run asks again.
	Later bool `json:"later,omitempty"`

	waits bool
}

// Plan observes every step and changes nothing. With the journal of a run that was begun it shows what is done and what
// a resumed run would do; j may be nil. A step that cannot be observed is part of the plan, with the reason. Plan fails
// only when the procedure is invalid, does not fit the journal (ErrWrongJournal), an undo of it has begun (ErrUndone)
// or ctx ends.
//
// Later steps are observed before the earlier ones have run, so a plan shows where things stand, not a simulation.
func (p Procedure) Plan(ctx context.Context, j *Journal) (Plan, error) {
	p = p.flatten()
	if err := p.Validate(); err != nil {
		return Plan{}, err
	}
	def := p.definition()
	if j == nil {
		j = &Journal{fold: newFold()}
	}
	j, err := j.with(def)
	if err != nil {
		return Plan{}, err
	}
	runs := len(j.fold.runs)
	if err := j.undoBegun("plan"); err != nil {
		return Plan{}, err
	}
	r := p.over(def, j)
	r.number = runs + 1
	plan := Plan{Procedure: p.Name, Definition: r.definition, Parameters: p.Parameters, Made: time.Now().UTC()}
	if runs > 0 {
		plan.Journal = j.ID()
	}
	pending, head := false, r.head() // a step before this one would do something
	for i := range r.p.steps {
		s := &r.p.steps[i]
		ps := PlanStep{StepInfo: r.info[i], waits: s.Kind == Check && s.Wait}
		if st := j.state(s.ID); st.done() && (s.Kind != Check || !r.due(i)) {
			ps.Action = ActionDone
			ps.Observation = Observation{Done: true, Found: st.found}
			plan.Steps = append(plan.Steps, ps)
			continue
		}
		facts := context.WithValue(ctx, factKey{}, factStore(r.facts(i)))
		obs, err := observe(facts, s)
		if ctx.Err() != nil {
			return Plan{}, &Error{Op: "plan", Target: p.Name, Outcome: NotApplied, Next: "plan again", Err: context.Cause(ctx)}
		}
		ps.Observation = obs
		if err != nil {
			ps.Error = err.Error()
		}
		ps.Action = s.action(obs, err)
		ps.Later = pending && (s.Kind == Change || s.Kind == Once)
		switch {
		case (ps.Action == ActionBlock || ps.Action == ActionWait && err != nil) && pending && !slices.Contains(head, i):
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

func (p Plan) findings() PlanHash {
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
	return PlanHash(hashJSON(all))
}

// shown is what a person sees who approves the plan.
func (p Plan) shown() []shownStep {
	lines := make([]shownStep, len(p.Steps))
	for i, s := range p.Steps {
		lines[i] = shownStep{Step: s.ID, Action: s.Action, Found: s.Observation.Found, Would: s.Observation.Would,
			Items: s.Observation.Items}
	}
	return lines
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
		if s.Action != ActionNone && s.Action != ActionDone && !s.CanUndo && (s.Kind == Change || s.Kind == Once) {
			return s, true
		}
	}
	return PlanStep{}, false
}

// JSON returns the plan as an indented document.
func (p Plan) JSON() ([]byte, error) {
	raw, err := json.MarshalIndent(p, "", "  ")
	return escapeJSON(raw), err
}

// String returns the table a person reads. Steps in the outage window are marked with "!".
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Plan for %s\n", oneLine(p.Procedure))
	for _, param := range p.Parameters {
		fmt.Fprintf(&b, "  %s: %s\n", oneLine(param.Name), oneLine(param.Value))
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
		fmt.Fprintf(w, "%2d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i+1, mark, s.Action, s.Kind, s.undoWord(), oneLine(s.Title),
			oneLine(s.Target), oneLine(found))
		if s.Action == ActionApply && s.Observation.Would != "" {
			fmt.Fprintf(w, "\t\t\t\t\t  will: %s\t\t\n", oneLine(s.Observation.Would))
		}
	}
	_ = w.Flush()
	for _, s := range p.Steps {
		s.rows(&b)
	}
	if s, ok := p.PointOfNoReturn(); ok {
		fmt.Fprintf(&b, "\nPoint of no return: %s (%s)\n", oneLine(s.Title), s.ID)
	}
	for _, s := range p.Steps {
		switch s.Action {
		case ActionBlock:
			fmt.Fprintf(&b, "Would stop at: %s (%s)\n", oneLine(s.Title), s.ID)
		case ActionLater:
			fmt.Fprintf(&b, "Does not hold yet: %s (%s)\n", oneLine(s.Title), s.ID)
		case ActionNone, ActionDone, ActionApply, ActionConfirm, ActionWait:
		}
	}
	if later := p.later(); len(later) > 0 {
		fmt.Fprintf(&b, "Decided later, and asked when it is no longer as shown: %s\n", strings.Join(later, ", "))
	}
	fmt.Fprintf(&b, "Findings: %s\n", p.Findings)
	return b.String()
}

// rows shows the targets that would be changed and that stand nowhere else in the plan: what is approved is shown.
func (s PlanStep) rows(b *strings.Builder) {
	open := slices.DeleteFunc(slices.Clone(s.Observation.Items), func(item Item) bool {
		return item.Done || strings.Contains(s.Observation.Found, item.Target) ||
			strings.Contains(s.Observation.Would, item.Target)
	})
	if s.Action != ActionApply || len(open) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s (%s):\n", oneLine(s.Title), s.ID)
	for i, item := range open {
		if i == shownRows {
			fmt.Fprintf(b, "    and %d more; the JSON plan has all of them\n", len(open)-i)
			return
		}
		fmt.Fprintf(b, "    - %s: %s\n", oneLine(item.Target), oneLine(item.Found))
	}
}

// later lists the steps whose findings the steps before them may alter.
func (p Plan) later() []string {
	var ids []string
	for _, s := range p.Steps {
		if s.Later {
			ids = append(ids, s.ID)
		}
	}
	return ids
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
