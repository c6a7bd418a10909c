package runbook

import (
	"errors"
	"io/fs"

	"github.com/01b61c5c/failover"
)

// ExitStatus is what a program ends with; the package documentation lists the statuses.
type ExitStatus int

// The exit statuses.
const (
	ExitDone ExitStatus = iota // what was asked for is so
	// nothing of the journal's runs is in effect or in doubt; a verb that only reads could not look
	ExitNotDone
	ExitUsage   // called wrongly, or with a journal that does not fit the verb
	ExitInDoubt // something may have taken effect
	ExitWaiting // a person is needed
	ExitPartWay // changes of the journal are in effect, and none is known to be in doubt
	ExitBlocked // a step or a check stands in the way
)

// StatusOf returns the status a run or an undo ends with, as its report says it.
func StatusOf(r *failover.Report) ExitStatus {
	switch r.Result {
	case failover.ResultCompleted, failover.ResultUndone:
		return ExitDone
	case failover.ResultInDoubt:
		return ExitInDoubt
	case failover.ResultWaiting:
		return ExitWaiting
	case failover.ResultPartWay, failover.ResultInterrupted:
		return ExitPartWay
	}
	return ExitNotDone
}

// answered is the exit status of a verb of the program's own that changes something. No journal tells about it: its
// error does.
func answered(err error) ExitStatus {
	switch outcome := failover.OutcomeOf(err); {
	case errors.Is(err, failover.ErrWaiting):
		return ExitWaiting
	case doneOnSome(err), outcome == failover.Applied:
		return ExitPartWay
	case outcome == failover.NotApplied:
		return ExitNotDone
	}
	return ExitInDoubt
}

// doneOnSome reports whether err is a fan-out and nothing beside it, of which something was done and nothing is in doubt.
func doneOnSome(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the chain is walked by hand to see that nothing stands beside it
	case failover.Targets:
		seen := map[failover.Outcome]bool{}
		for _, t := range e {
			seen[failover.OutcomeOf(t.Err)] = true
		}
		return seen[failover.Applied] && !seen[failover.InDoubt]
	case interface{ Unwrap() []error }:
		return len(e.Unwrap()) == 1 && doneOnSome(e.Unwrap()[0])
	}
	return false
}

// refusal is an error with the exit status of its call: one that was ended before it changed anything, or one that no
// journal tells about.
type refusal struct {
	status ExitStatus
	error
}

func (r refusal) Unwrap() error { return r.error }

// refuse ends a call before it changes anything.
func refuse(status ExitStatus, op, target, next string, err error) error {
	return refusal{status, unchanged(op, target, next, err)}
}

func unchanged(op, target, next string, err error) error {
	return &failover.Error{Op: op, Target: target, Outcome: failover.NotApplied, Next: next, Err: err}
}

// usage refuses a call that was written wrongly.
func usage(format string, args ...any) error {
	return refusal{ExitUsage, errors.New(clean(format, args...))}
}

// status is the exit status of a verb that ended with err. What is in effect is read from the journal: the error only
// says why the verb ended.
func (c call) status(err error) ExitStatus {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.status
	}
	if errors.Is(err, failover.ErrWrongJournal) {
		return ExitUsage // what that journal says is in effect says nothing of this call
	}
	if !common[c.verb].changes {
		return ExitNotDone
	}
	journal, err := failover.ReadJournal(c.journal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ExitNotDone
	case err != nil:
		return ExitInDoubt
	}
	rep := journal.Report()
	if n := len(rep.Decisions); c.verb == "take-over" && n > 0 {
		last := rep.Decisions[n-1]
		if last.Kind == failover.DecisionTakeOver && last.Outcome != nil && *last.Outcome == failover.InDoubt {
			return ExitInDoubt
		}
	}
	switch rep.Result {
	case failover.ResultCompleted:
		return ExitPartWay // all of it is in effect, and the verb did not do what was asked for
	case failover.ResultUndone:
		return ExitNotDone
	}
	return StatusOf(rep)
}
