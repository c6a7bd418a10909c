package failover

import (
	"errors"
	"fmt"
	"strings"
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
func (o Outcome) String() string { return enumName("Outcome", outcomeNames, int(o)) }

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return enumMarshal("outcome", outcomeNames, int(o)) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Outcome) UnmarshalText(text []byte) error {
	n, err := enumParse("outcome", outcomeNames, text)
	if err == nil {
		*o = Outcome(n)
	}
	return err
}

// OutcomeOf reads the outcome an error carries. A nil error is Applied. An error that holds no *Error says nothing
// about its outcome and counts as InDoubt. Where several errors are joined, the outcome is theirs if they all agree
// and InDoubt if they do not.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Applied
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // the tree is walked by hand to see every branch
		return e.Outcome
	}
	switch u := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			return OutcomeOf(inner)
		}
	case interface{ Unwrap() []error }:
		return commonOutcome(u.Unwrap())
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

// Error returns "op target: cause (outcome; next)". A cause that says the same outcome and next action does not repeat
// them.
func (e *Error) Error() string {
	text := e.Op
	if e.Target != "" {
		text += " " + e.Target
	}
	if e.Err != nil {
		cause := e.Err.Error()
		if strings.Count(cause, e.verdict()) == 1 { // the members of a fan-out keep theirs
			cause = strings.Replace(cause, e.verdict(), "", 1)
		}
		text += ": " + cause
	}
	return text + e.verdict()
}

func (e *Error) verdict() string {
	if e.Next == "" {
		return " (" + e.Outcome.String() + ")"
	}
	return " (" + e.Outcome.String() + "; next: " + e.Next + ")"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

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
	// ErrPlanChanged: the approval was given for a plan whose findings are no longer what is found.
	ErrPlanChanged = errors.New("findings differ from the approved plan")
	// ErrWrongJournal: the journal belongs to another procedure or to other parameters.
	ErrWrongJournal = errors.New("journal belongs to another procedure")
	// ErrJournalDamaged: the journal was altered or lost part of its middle.
	ErrJournalDamaged = errors.New("journal damaged")
	// ErrJournalBusy: another process on this machine has the journal open, or another run in this one uses it.
	ErrJournalBusy = errors.New("journal in use by another run")
	// ErrUndone: the journal records an undo; a new run needs a new journal.
	ErrUndone = errors.New("journal records an undo")
	// ErrIrreversible: the undo would have to pass a step that cannot be undone.
	ErrIrreversible = errors.New("cannot be undone")
	// ErrInvalid: bad input, refused before anything moved. The text names the field, what is wrong and what would be right.
	ErrInvalid = errors.New("invalid input")
)

// Invalid builds the error for one bad input field: what it is called, what is wrong with it and what would be right.
// It wraps ErrInvalid and carries NotApplied.
func Invalid(field, wrong, right string) error {
	return &Error{Op: "check input", Target: field, Outcome: NotApplied, Next: right, Err: fmt.Errorf("%w: %s", ErrInvalid, wrong)}
}

func enumName(kind string, names []string, n int) string {
	if n < 0 || n >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, n)
	}
	return names[n]
}

func enumMarshal(kind string, names []string, n int) ([]byte, error) {
	if n < 0 || n >= len(names) {
		return nil, fmt.Errorf("failover: no %s has the number %d", kind, n)
	}
	return []byte(names[n]), nil
}

func enumParse(kind string, names []string, text []byte) (int, error) {
	for n, name := range names {
		if name == string(text) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("failover: no %s is called %q", kind, text)
}
