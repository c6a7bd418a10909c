package failover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// TargetResult is what became of one target of a fan-out.
type TargetResult struct {
	Target string // machine, distinguished name, schedule or whatever the step works on
	Err    error  // nil: done there; otherwise its outcome, by OutcomeOf, says what is known
}

// Targets is what became of every target of a fan-out, also of those where all went well: a step whose targets did not
// all end alike is judged by all of them. It is an error; return it through [Targets.Err], which is nil when no target
// failed. errors.Is and errors.As look at the failures.
type Targets []TargetResult

// Add puts one more result behind the others, and reports whether it is a success. A change of several requests is told
// by them, too: one that was refused behind one that was taken does not make the whole unchanged.
func (t *Targets) Add(target string, err error) bool {
	*t = append(*t, TargetResult{Target: target, Err: err})
	return err == nil
}

// Err returns the targets as an error, sorted by name, or nil when none of them failed.
func (t Targets) Err() error {
	if !slices.ContainsFunc(t, func(r TargetResult) bool { return r.Err != nil }) {
		return nil
	}
	sorted := slices.Clone(t)
	slices.SortStableFunc(sorted, func(a, b TargetResult) int { return strings.Compare(a.Target, b.Target) })
	return sorted
}

// Error names every target that failed with its cause, outcome and next action, on one line.
func (t Targets) Error() string {
	failed := t.failed()
	failed.ErrorFormat = func(errs []error) string {
		texts := make([]string, len(errs))
		for i, err := range errs {
			texts[i] = err.Error()
		}
		if len(t) == 1 && len(texts) == 1 {
			return texts[0]
		}
		return fmt.Sprintf("%d of %d targets: %s", len(errs), len(t), strings.Join(texts, "; "))
	}
	return failed.Error()
}

// Unwrap returns the failures.
func (t Targets) Unwrap() []error { return t.failed().WrappedErrors() }

func (t Targets) failed() *multierror.Error {
	m := &multierror.Error{}
	for _, r := range t {
		if r.Err != nil {
			m.Errors = append(m.Errors, targetError(r)) // not multierror.Append: it would flatten a target's own list
		}
	}
	return m
}

// targetError is one failure with its target's name in front.
type targetError TargetResult

func (e targetError) Error() string {
	verdict := OutcomeOf(e.Err).String()
	if next := NextOf(e.Err); next != "" {
		verdict += "; next: " + Printable(next)
	}
	return Printable(e.Target) + ": " + bareText(e.Err) + " (" + verdict + ")"
}

func (e targetError) Unwrap() error { return e.Err }

// outcome is what all targets have in common, and InDoubt when they differ.
func (t Targets) outcome() Outcome {
	if len(t) == 0 {
		return InDoubt
	}
	first := OutcomeOf(t[0].Err)
	for _, r := range t[1:] {
		if OutcomeOf(r.Err) != first {
			return InDoubt
		}
	}
	return first
}

// TargetOutcome is what the journal and the report keep of one target.
type TargetOutcome struct {
	Target  string  `json:"target"`          // as in TargetResult
	Outcome Outcome `json:"outcome"`         // what is known about the effect there
	Error   string  `json:"error,omitempty"` // what went wrong there
	Next    string  `json:"next,omitempty"`  // the next action for it
}

// outcomesIn is what an error says of every target of the fan-outs in it. What stands beside a fan-out, and may be the
// loss of a reply, is a row too; a word for the kind of error is none.
func outcomesIn(err error) (rows []TargetOutcome) {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand to see every branch
	case Targets:
		return e.outcomes()
	case interface{ Unwrap() error }:
		return outcomesIn(e.Unwrap())
	case interface{ Unwrap() []error }:
		var beside Targets
		for _, inner := range e.Unwrap() {
			switch told := outcomesIn(inner); {
			case told != nil:
				rows = append(rows, told...)
			case inner == ErrRejected, inner == ErrPrecondition, inner == ErrNotObserved: //nolint:errorlint // itself
			default:
				beside = append(beside, TargetResult{Target: "beside these targets", Err: inner})
			}
		}
		if rows != nil {
			rows = append(rows, beside.outcomes()...)
		}
	}
	return rows
}

func (t Targets) outcomes() []TargetOutcome {
	rows := make([]TargetOutcome, len(t))
	for i, r := range t {
		rows[i] = TargetOutcome{Target: r.Target, Outcome: OutcomeOf(r.Err), Next: NextOf(r.Err)}
		if r.Err != nil {
			rows[i].Error = bareText(r.Err)
		}
	}
	return rows
}
