package failover

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Result says how the newest run of a journal ended.
type Result string

// How a run ended.
const (
	ResultNone        Result = "not-begun"
	ResultCompleted   Result = "completed"
	ResultFailed      Result = "failed"      // stopped at a step that is proven not to be in effect, or at a check
	ResultInDoubt     Result = "in-doubt"    // stopped at a step that may have taken effect
	ResultWaiting     Result = "waiting"     // a person is needed
	ResultStopped     Result = "stopped"     // on request, at a safe point
	ResultInterrupted Result = "interrupted" // the process ended without a word, or goes on: see Journal.InUse
)

func resultOf(err error) Result {
	switch {
	case err == nil:
		return ResultCompleted
	case errors.Is(err, ErrWaiting):
		return ResultWaiting
	case errors.Is(err, ErrStopped):
		return ResultStopped
	case errors.Is(err, ErrInDoubt) || OutcomeOf(err) == InDoubt:
		return ResultInDoubt
	}
	return ResultFailed
}

// Report tells what happened, over all runs of one journal. It is made from the journal alone, so it can be made
// again at any time, and says the same.
type Report struct {
	Procedure  string       `json:"procedure"`            // its name
	Definition string       `json:"definition"`           // its definition hash
	Journal    string       `json:"journal"`              // the journal's ID, which is also the lock's
	Actor      string       `json:"actor"`                // who began it
	Reason     string       `json:"reason"`               // why
	Result     Result       `json:"result"`               // how the newest run ended
	Undo       bool         `json:"undo,omitempty"`       // the newest run was an undo
	Runs       int          `json:"runs"`                 // undos included
	Began      time.Time    `json:"began"`                // UTC, of the first run
	Ended      time.Time    `json:"ended"`                // UTC, of the newest record
	Outage     *Outage      `json:"outage,omitempty"`     // nil: it has not begun, or users notice none
	Steps      []StepReport `json:"steps"`                // in the order in which they run
	TakeOvers  []string     `json:"take_overs,omitempty"` // who took the lock over from whom
	Error      string       `json:"error,omitempty"`      // why the newest run stopped
	Next       string       `json:"next,omitempty"`       // what to do about it
}

// Outage is the time during which the service was down for its users, by the clock of the machine that ran the
// procedure. Over a resume it includes the pause between the runs.
type Outage struct {
	From  time.Time `json:"from"`  // UTC
	To    time.Time `json:"to"`    // UTC; zero: not over
	Ended bool      `json:"ended"` // the last step of the window has ended
}

// Duration returns how long the outage was, or 0 while it is not over.
func (o Outage) Duration() time.Duration {
	if !o.Ended {
		return 0
	}
	return o.To.Sub(o.From)
}

// StepReport is what became of one step.
type StepReport struct {
	ID       string          `json:"id"`                 // as in Step
	Title    string          `json:"title"`              // as in Step
	Target   string          `json:"target,omitempty"`   // as in Step
	Kind     Kind            `json:"kind"`               // as in Step
	Status   StepStatus      `json:"status"`             // how far it has come over all runs
	Attempts int             `json:"attempts,omitempty"` // how often its intent was written
	Began    time.Time       `json:"began,omitzero"`     // UTC, of the first record or intent
	Ended    time.Time       `json:"ended,omitzero"`     // UTC, of the newest record
	Found    string          `json:"found,omitempty"`    // the newest observation, or what a person said
	Note     string          `json:"note,omitempty"`     // figures of that observation
	Items    []Item          `json:"items,omitempty"`    // its rows, of a fan-out
	Targets  []TargetOutcome `json:"targets,omitempty"`  // what failed in a fan-out
	By       string          `json:"by,omitempty"`       // who waived, confirmed or resolved
	Reason   string          `json:"reason,omitempty"`   // and why
	Error    string          `json:"error,omitempty"`    // why it is not done
	Next     string          `json:"next,omitempty"`     // what to do about it
}

// Report makes the report of everything the journal records about the procedure.
func (p Procedure) Report(j *Journal) *Report {
	states := j.states()
	j.mu.Lock()
	rep := &Report{Procedure: p.Name, Definition: p.Definition(), Journal: j.head.ID, Actor: j.head.Actor, Reason: j.head.Reason,
		Result: ResultNone, Began: j.head.At, Ended: j.head.At}
	for _, rec := range j.records {
		rep.Ended = rec.At
		switch rec.Type {
		case recRun:
			rep.Runs++
			rep.Result, rep.Error, rep.Next = ResultInterrupted, "", "run again with the same journal"
			rep.Undo = strings.HasPrefix(rec.Reason, "undo: ")
		case recEnd:
			rep.Result, rep.Error, rep.Next = rec.Result, rec.Error, rec.Next
		case recTakeOver:
			rep.TakeOvers = append(rep.TakeOvers, fmt.Sprintf("%s (%s) took over what was %s", rec.Actor, rec.Reason, rec.Found))
		case recObserved, recIntent, recOutcome, recFact, recWaive, recConfirm, recResolve, recUndoIntent, recUndoOutcome:
		}
	}
	rep.Outage = p.outage(j.records)
	j.mu.Unlock()
	for _, s := range p.Steps {
		sr := StepReport{ID: s.ID, Title: s.Title, Target: s.Target, Kind: s.Kind}
		if st := states[s.ID]; st != nil {
			sr.Status, sr.Attempts, sr.Began, sr.Ended = st.Status, st.Attempts, st.Started, st.Ended
			sr.Found, sr.Note, sr.Items, sr.Targets = st.Found, st.Note, st.Items, st.Targets
			sr.By, sr.Reason, sr.Error, sr.Next = st.By, st.Reason, st.Error, st.Next
		}
		rep.Steps = append(rep.Steps, sr)
	}
	return rep
}

// outage runs from the first intent inside the window to the end of its last step.
func (p Procedure) outage(records []record) *Outage {
	if p.Outage == (Window{}) {
		return nil
	}
	var o *Outage
	for _, rec := range records {
		i := p.index(rec.Step)
		if i < 0 || !p.inOutage(i) {
			continue
		}
		if o == nil && rec.Type == recIntent {
			o = &Outage{From: rec.At}
		}
		if o != nil && rec.Step == p.Outage.To && !o.Ended {
			var st stepState
			if st.apply(rec); st.Status.done() {
				o.To, o.Ended = rec.At, true
			}
		}
	}
	return o
}

// Count returns how many steps have one of the given statuses.
func (r *Report) Count(statuses ...StepStatus) int {
	n := 0
	for _, s := range r.Steps {
		if slices.Contains(statuses, s.Status) {
			n++
		}
	}
	return n
}

// Step returns the report of the step called id; the bool is false when the procedure has none.
func (r *Report) Step(id string) (StepReport, bool) {
	for _, s := range r.Steps {
		if s.ID == id {
			return s, true
		}
	}
	return StepReport{}, false
}

// JSON returns the report as an indented document.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// String returns the report as text for a terminal or a ticket.
func (r *Report) String() string {
	var b strings.Builder
	what := r.Procedure
	if r.Undo {
		what = "undo of " + what
	}
	fmt.Fprintf(&b, "%s: %s\n", what, r.Result)
	fmt.Fprintf(&b, "  by %s, %s\n", r.Actor, r.Reason)
	fmt.Fprintf(&b, "  %s to %s, runs: %d, journal %s\n", r.Began.Format(time.RFC3339), r.Ended.Format(time.RFC3339), r.Runs, r.Journal)
	if r.Outage != nil {
		if r.Outage.Ended {
			fmt.Fprintf(&b, "  outage %s\n", r.Outage.Duration().Round(time.Millisecond))
		} else {
			fmt.Fprintf(&b, "  outage since %s, not over\n", r.Outage.From.Format(time.RFC3339))
		}
	}
	for _, t := range r.TakeOvers {
		fmt.Fprintf(&b, "  lock: %s\n", t)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\n #\tSTATUS\tSTEP\tTARGET\tFOUND")
	for i, s := range r.Steps {
		text := s.Found
		if s.Note != "" {
			text += " (" + s.Note + ")"
		}
		if s.By != "" {
			text += " [" + s.By + ": " + s.Reason + "]"
		}
		fmt.Fprintf(w, "%2d\t%s\t%s\t%s\t%s\n", i+1, s.Status, s.Title, s.Target, oneLine(text))
	}
	_ = w.Flush()
	for _, s := range r.Steps {
		if s.Error != "" {
			fmt.Fprintf(&b, "\n%s (%s):\n  %s\n", s.Title, s.ID, s.Error)
		}
		for _, t := range s.Targets {
			fmt.Fprintf(&b, "    %s: %s: %s\n", t.Target, t.Outcome, oneLine(t.Error))
		}
	}
	switch {
	case r.Error == "":
	case slices.ContainsFunc(r.Steps, func(s StepReport) bool { return s.Error == r.Error }):
		b.WriteString("\nStopped there.\n")
	default:
		fmt.Fprintf(&b, "\nStopped: %s\n", r.Error)
	}
	if r.Next != "" {
		fmt.Fprintf(&b, "Next: %s\n", r.Next)
	}
	return b.String()
}
