package failover

import (
	"errors"
	"fmt"
	"strings"

	"github.com/01b61c5c/failover/internal/enum"
)

// Outcome says what is known about the effect of a call that changes something.
//
// The zero value is InDoubt: whoever forgets to say what happened has said that nothing is known.
type Outcome int

const (
	// InDoubt means the request may have taken effect and the proof was lost: the reply never came, a deadline
	// passed after sending, a channel closed without an exit status.
	InDoubt Outcome = iota
	// NotApplied means it is proven that the change did not happen.
	NotApplied
	// Applied means the change happened, or the wanted state held already.
	Applied
)

var outcomeNames = []string{InDoubt: "in-doubt", NotApplied: "not-applied", Applied: "applied"}

// String returns "in-doubt", "not-applied" or "applied".
func (o Outcome) String() string { return enum.Name(outcomeNames, o) }

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return enum.Marshal(outcomeNames, o) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Outcome) UnmarshalText(text []byte) error {
	return enum.Parse(outcomeNames, text, o)
}

// OutcomeOf reads the outcome an error carries. A nil error is Applied. The outermost *Error says it; [Targets] say
// what all of their targets have in common, those without an error included; an error that holds neither says nothing
// about its outcome and counts as InDoubt. Where several errors are joined, the outcome is theirs if they all agree and
// InDoubt if they do not.
func OutcomeOf(err error) Outcome {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand to see every branch
	case nil:
		return Applied
	case *Error:
		return e.Outcome
	case Targets:
		return e.outcome()
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return OutcomeOf(inner)
		}
	case interface{ Unwrap() []error }:
		return commonOutcome(e.Unwrap())
	}
	return InDoubt
}

func commonOutcome(errs []error) Outcome {
	if len(errs) == 0 {
		return InDoubt
	}
	first := OutcomeOf(errs[0])
	for _, err := range errs[1:] {
		if OutcomeOf(err) != first {
			return InDoubt
		}
	}
	return first
}

// Error is what every operation of this module returns when something went wrong. It names the target, tells what
// is known about the effect and says what the operator should do next.
type Error struct {
	Op      string  // what was being done, for example "hold schedules"
	Target  string  // machine, distinguished name, group or URL
	Outcome Outcome // what is known about the effect
	Next    string  // the next action, in one sentence
	Err     error   // the cause
}

// Error returns "op target: cause (outcome; next: action)" on one line. The causes do not repeat outcome and next
// action. Characters of other systems that do not show themselves are written as escapes.
func (e *Error) Error() string {
	verdict := e.Outcome.String()
	if next := NextOf(e); next != "" {
		verdict += "; next: " + Printable(next)
	}
	return bareText(e) + " (" + verdict + ")"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// bareText is the text of an error without the outcome and next action of any *Error in it.
func bareText(err error) string {
	switch e := err.(type) { //nolint:errorlint // each node of the tree has a text of its own
	case nil:
		return ""
	case *Error:
		text := Printable(strings.TrimSpace(e.Op + " " + e.Target))
		if cause := bareText(e.Err); cause != "" {
			text += ": " + cause
		}
		return text
	case Targets:
		return e.Error()
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return oneText(embed(err.Error(), inner))
		}
	case interface{ Unwrap() []error }:
		text := err.Error()
		for _, inner := range e.Unwrap() {
			text = embed(text, inner)
		}
		return oneText(text)
	}
	return oneText(err.Error())
}

// oneText puts the lines of an error on one line.
func oneText(text string) string {
	return Printable(strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "; "))
}

// embed puts the bare text of inner in the place of its full one.
func embed(text string, inner error) string {
	if inner == nil {
		return text
	}
	if full := inner.Error(); full != "" {
		text = strings.Replace(text, full, bareText(inner), 1)
	}
	return text
}

// NextOf returns the next action the outermost *Error in err's tree names, or "".
func NextOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Next != "" {
			return e.Next
		}
		err = e.Err
	}
	return ""
}

// Sentinels for the situations a caller can act on. They are wrapped; test with errors.Is.
var (
	// ErrPrecondition: something that must hold does not. Nothing was changed by the step that reports it.
	ErrPrecondition = errors.New("precondition does not hold")
	// ErrLocked: somebody else holds the lock of the target system.
	ErrLocked = errors.New("locked by another run")
	// ErrLockLost: the lock was ours and is not any more. Nothing further is changed.
	ErrLockLost = errors.New("the lock is no longer ours")
	// ErrInDoubt: a change may or may not have taken effect and nothing at hand settles it.
	ErrInDoubt = errors.New("outcome in doubt")
	// ErrRejected: a person, a policy or the other system said no.
	ErrRejected = errors.New("rejected")
	// ErrWaiting: the run stands before a step and waits for a person. Run again with the same journal to go on.
	ErrWaiting = errors.New("waiting for a person")
	// ErrStopped: the run was asked to stop and did, at a safe point.
	ErrStopped = errors.New("stopped on request")
	// ErrNotObserved: a change was made and its effect did not show within the time allowed.
	ErrNotObserved = errors.New("effect not observed")
	// ErrReverted: a change took effect, and the target took it back by itself: nothing of it is in effect, so the outcome
	// is NotApplied. The service was down meanwhile and is up again.
	ErrReverted = errors.New("took effect and was taken back by the target")
	// ErrPlanChanged: what is found is not what the approval was given for.
	ErrPlanChanged = errors.New("findings differ from the approved plan")
	// ErrWrongJournal: the journal belongs to another procedure, to other parameters or to steps that are no longer there.
	ErrWrongJournal = errors.New("journal belongs to another procedure")
	// ErrJournalDamaged: the journal was altered or lost part of its middle, the file is not a journal, or it was removed
	// or replaced while a run used it. Nothing further is changed.
	ErrJournalDamaged = errors.New("journal damaged")
	// ErrJournalBusy: another process has the journal open, or another run in this one uses it.
	ErrJournalBusy = errors.New("journal in use by another run")
	// ErrUndone: the journal records an undo; a new run needs a new journal.
	ErrUndone = errors.New("journal records an undo")
	// ErrIrreversible: the undo would have to pass a step that cannot be undone.
	ErrIrreversible = errors.New("cannot be undone")
	// ErrUnresponsive: a function of a step, lock, gate or store did not return when its context ended.
	ErrUnresponsive = errors.New("does not return when its time is over")
	// ErrPanicked: a function of a step, lock, gate or store panicked or ended its goroutine.
	ErrPanicked = errors.New("panicked")
	// ErrInvalid: bad input, refused before anything moved. The text names the field, what is wrong and what would be
	// right.
	ErrInvalid = errors.New("invalid input")
)

// Invalid builds the error for one bad input field: what it is called, what is wrong with it and what would be right.
// It wraps ErrInvalid and carries NotApplied.
func Invalid(field, wrong, right string) error {
	return &Error{Op: "check input", Target: field, Outcome: NotApplied, Next: right,
		Err: fmt.Errorf("%w: %s", ErrInvalid, wrong)}
}
