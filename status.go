package failover

// StepStatus says how far a step has come over all runs of one journal.
type StepStatus int

const (
	// StatusNotReached: the run never came to the step.
	StatusNotReached StepStatus = iota
	// StatusApplied: the change was made and its effect observed, or a person settled it as applied.
	StatusApplied
	// StatusAlready: the wanted state held; nothing was done. A Check that holds has this status.
	StatusAlready
	// StatusFailed: the step failed and it is proven that its change is not in effect.
	StatusFailed
	// StatusInDoubt: the change may have taken effect and nothing has settled it yet.
	StatusInDoubt
	// StatusWaived: a Check did not hold and a person waived it, with a reason.
	StatusWaived
	// StatusConfirmed: a person confirmed that a Manual step is done.
	StatusConfirmed
	// StatusWaiting: the run stands before the step and waits for a person.
	StatusWaiting
	// StatusUndone: the change was made and taken back.
	StatusUndone
)

var statusNames = []string{StatusNotReached: "not-reached", StatusApplied: "applied", StatusAlready: "already", StatusFailed: "failed",
	StatusInDoubt: "in-doubt", StatusWaived: "waived", StatusConfirmed: "confirmed", StatusWaiting: "waiting", StatusUndone: "undone"}

// String returns the status as a word, for example "already".
func (s StepStatus) String() string { return enumName("StepStatus", statusNames, int(s)) }

// MarshalText implements encoding.TextMarshaler.
func (s StepStatus) MarshalText() ([]byte, error) { return enumMarshal("status", statusNames, int(s)) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *StepStatus) UnmarshalText(text []byte) error {
	n, err := enumParse("status", statusNames, text)
	if err == nil {
		*s = StepStatus(n)
	}
	return err
}

// done reports whether the step needs nothing more.
func (s StepStatus) done() bool {
	return s == StatusApplied || s == StatusAlready || s == StatusWaived || s == StatusConfirmed
}
