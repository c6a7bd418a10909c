package failover

import (
	"context"
	"strings"
	"time"
)

// Kind says how the engine treats a step.
type Kind int

const (
	// Check is observed and must hold. It never changes anything.
	Check Kind = iota + 1
	// Change is idempotent and is applied until the observation holds.
	Change
	// Once is irreversible or unrepeatable and is applied at most once over all runs of one journal.
	Once
	// Manual is done by a person, who confirms it; an observation, where there is one, verifies it.
	Manual
)

var kindNames = []string{0: "", Check: "check", Change: "change", Once: "once", Manual: "manual"}

// String returns "check", "change", "once" or "manual".
func (k Kind) String() string { return enumName("Kind", kindNames, int(k)) }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return enumMarshal("kind", kindNames, int(k)) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kind) UnmarshalText(text []byte) error {
	n, err := enumParse("kind", kindNames, text)
	if err == nil {
		*k = Kind(n)
	}
	return err
}

// DefaultTimeout limits a step that names no timeout of its own, and every single observation.
const DefaultTimeout = time.Minute

// DefaultPoll is the pause between two observations of a step that names none.
const DefaultPoll = time.Second

// DefaultAttempts is how often a Change is applied at most in one run.
const DefaultAttempts = 3

// Step is one action of a procedure. Observe says how things stand, Apply changes them, Undo takes the change back,
// Probe settles a Once whose outcome was lost. Steps share no variables: what a later step needs travels as a [Fact].
type Step struct {
	ID      string        // stable path within the procedure, for example "opcon/hold-schedules"
	Title   string        // the sentence a runbook would have
	Target  string        // machine, distinguished name, group or URL
	Kind    Kind          // Check, Change, Once or Manual
	Timeout time.Duration // for the whole step; 0 means DefaultTimeout; a Once must name its own
	Poll    time.Duration // pause between observations; 0 means DefaultPoll

	// Wait makes a Check or an unattended Manual step look again until it holds or Timeout ends; without it a Check is looked at once.
	Wait bool
	// WarnAfter sends an EventSlow when the step has taken this long; 0 means never.
	WarnAfter time.Duration
	// Attempts limits how often a Change is applied in one run; 0 means DefaultAttempts.
	Attempts int
	// Firm marks a Check that nobody may waive, because waiving it could lead to two active sides or a loss.
	Firm bool
	// Source names where the step comes from: the vendor's page and sentence, or why we added it.
	Source string
	// Help is what a person does in a Manual step, word for word.
	Help string

	Observe func(context.Context) (Observation, error) // never changes anything
	Apply   func(context.Context) error                // Change, Once
	Undo    func(context.Context) error                // nil: cannot be undone, and the plan says so
	Probe   func(context.Context) (Outcome, error)     // Once: settles an in-doubt Apply
}

// NothingToUndo is the Undo of a Change that leaves nothing behind, such as a wait. An undo passes such a step; it
// never passes an applied Change whose Undo is nil.
func NothingToUndo(context.Context) error { return nil }

// Observation is what a step found. Of a Check that waits nothing is part of the findings hash: what it waits for comes
// and goes by itself, and the run waits for it whatever a plan has found.
type Observation struct {
	Done  bool   `json:"done"`            // the wanted state holds
	Found string `json:"found,omitempty"` // what was found, in the operator's words; part of the findings hash
	Would string `json:"would,omitempty"` // what Apply would do about it, in one sentence; part of the findings hash
	Note  string `json:"note,omitempty"`  // figures that change by themselves (times, lags); not part of the hash
	Items []Item `json:"items,omitempty"` // one row per target of a fan-out, in a stable order
}

// Item is what was found on one target of a fan-out.
type Item struct {
	Target string `json:"target"`          // one of the targets, for example a driver
	Done   bool   `json:"done"`            // the wanted state holds there
	Found  string `json:"found,omitempty"` // what was found there; part of the findings hash
}

func (s Step) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return DefaultTimeout
}

func (s Step) poll() time.Duration {
	if s.Poll > 0 {
		return s.Poll
	}
	return DefaultPoll
}

func (s Step) attempts() int {
	if s.Attempts > 0 {
		return s.Attempts
	}
	return DefaultAttempts
}

// validate refuses a step the engine could not treat safely.
func (s Step) validate() error {
	field := "step " + s.ID
	switch {
	case s.ID == "" || strings.TrimSpace(s.ID) != s.ID || strings.ContainsAny(s.ID, "\n\t"):
		return Invalid("Step.ID", "the step "+quote(s.Title)+" has no usable ID", "give it a stable path such as area/verb-object")
	case s.Title == "":
		return Invalid(field+".Title", "is empty", "write the sentence a runbook would have")
	case s.Kind < Check || s.Kind > Manual:
		return Invalid(field+".Kind", "is not set", "use Check, Change, Once or Manual")
	case s.Timeout < 0 || s.Poll < 0 || s.WarnAfter < 0 || s.Attempts < 0:
		return Invalid(field, "has a negative time or count", "use zero for the default")
	case s.Kind != Manual && s.Observe == nil:
		return Invalid(field+".Observe", "is nil", "say how to see whether the wanted state holds")
	case (s.Kind == Change || s.Kind == Once) && s.Apply == nil:
		return Invalid(field+".Apply", "is nil", "say how to bring the wanted state about")
	case (s.Kind == Check || s.Kind == Manual) && (s.Apply != nil || s.Undo != nil):
		return Invalid(field, "is a "+s.Kind.String()+" that changes something", "make it a Change or a Once")
	case s.Kind == Once && s.Probe == nil:
		return Invalid(field+".Probe", "is nil", "say how to find out whether it took effect, or return InDoubt")
	case s.Kind != Once && s.Probe != nil:
		return Invalid(field+".Probe", "is set on a "+s.Kind.String(), "only a Once is probed; the others are observed")
	case s.Kind == Once && s.Undo != nil:
		return Invalid(field+".Undo", "is set on a Once", "an undo never passes a Once; write a procedure for the way back")
	case s.Kind == Once && s.Timeout == 0:
		return Invalid(field+".Timeout", "is not set", "choose how long the run follows a step that cannot be repeated")
	case s.Kind == Manual && s.Help == "" && s.Observe == nil:
		return Invalid(field+".Help", "is empty", "tell the person what to do")
	}
	return nil
}

func quote(s string) string { return `"` + s + `"` }
