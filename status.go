package failover

import "github.com/01b61c5c/failover/internal/enum"

// StepStatus says how far a step has come over all runs of one journal.
type StepStatus int

const (
	// StatusNotReached: the run never came to the step.
	StatusNotReached StepStatus = iota
	// StatusApplied: the change was made and its effect observed, or a person settled it as applied.
	StatusApplied
	// StatusAlready: the wanted state held; nothing was done. A Check that holds has this status.
	StatusAlready
	// StatusFailed: the step failed, and nothing of it is in effect because of a run of this journal.
	StatusFailed
	// StatusPartly: the change is in effect on some targets of the step and proven not to be on the others.
	StatusPartly
	// StatusInDoubt: the change may have taken effect, or its undo may have, and nothing has settled it yet.
	StatusInDoubt
	// StatusWaived: a Check did not hold and a person waived it for the run, with a reason.
	StatusWaived
	// StatusConfirmed: a person confirmed that a Manual step is done.
	StatusConfirmed
	// StatusWaiting: the run stands before the step and waits for a person.
	StatusWaiting
	// StatusUndone: the change was made and taken back, and that was observed.
	StatusUndone
)

var statusNames = []string{StatusNotReached: "not-reached", StatusApplied: "applied", StatusAlready: "already",
	StatusFailed: "failed",
	StatusPartly: "partly-applied", StatusInDoubt: "in-doubt", StatusWaived: "waived", StatusConfirmed: "confirmed",
	StatusWaiting: "waiting", StatusUndone: "undone"}

// String returns the status as a word, for example "already".
func (s StepStatus) String() string { return enum.Name(statusNames, s) }

// MarshalText implements encoding.TextMarshaler.
func (s StepStatus) MarshalText() ([]byte, error) { return enum.Marshal(statusNames, s) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *StepStatus) UnmarshalText(text []byte) error {
	return enum.Parse(statusNames, text, s)
}

// Result says how the newest run of a journal ended. It is read from what is known of all steps.
type Result int

// How a run ended.
const (
	ResultNone      Result = iota // no run was begun
	ResultCompleted               // every step is done
	ResultFailed                  // it ended early, and nothing of this journal is in effect
	ResultPartWay                 // it ended early, changes of this journal are in effect and none is in doubt
	ResultInDoubt                 // a change or an undo may have taken effect
	ResultWaiting                 // a person is needed; run again with the same journal
	ResultStopped                 // on request, before anything was changed
	// the context ended, or the process ended or goes on, with nothing in doubt: see Journal.InUse
	ResultInterrupted
	ResultUndone // everything that was applied is taken back
)

var resultNames = []string{ResultNone: "not-begun", ResultCompleted: "completed", ResultFailed: "failed",
	ResultPartWay: "part-way",
	ResultInDoubt: "in-doubt", ResultWaiting: "waiting", ResultStopped: "stopped", ResultInterrupted: "interrupted",
	ResultUndone: "undone"}

// String returns the result as a word, for example "part-way".
func (r Result) String() string { return enum.Name(resultNames, r) }

// MarshalText implements encoding.TextMarshaler.
func (r Result) MarshalText() ([]byte, error) { return enum.Marshal(resultNames, r) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Result) UnmarshalText(text []byte) error { return enum.Parse(resultNames, text, r) }
