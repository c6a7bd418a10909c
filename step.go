package failover

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/01b61c5c/failover/internal/enum"
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
func (k Kind) String() string { return enum.Name(kindNames, k) }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return enum.Marshal(kindNames, k) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kind) UnmarshalText(text []byte) error {
	return enum.Parse(kindNames, text, k)
}

// DefaultTimeout limits a step that names no timeout of its own, and every single observation.
const DefaultTimeout = time.Minute

// DefaultPoll is the pause between two observations of a step that names none.
const DefaultPoll = time.Second

// DefaultAttempts is how often a Change is applied at most in one run.
const DefaultAttempts = 3

// Step is one action of a procedure. Observe says how things stand, Apply changes them, Undo takes the change back,
// Probe settles a Once whose outcome was lost. Steps share no variables: what a later step needs travels as a [Fact].
//
// Each function may be called from another goroutine than the last one, never two of one step at a time, and has to
// return soon after its context has ended: the run does not wait for it, calls nothing else any more and says which
// step it was.
type Step struct {
	ID     string // stable name within its stage, for example "hold-schedules"; shows itself, at most 200 bytes
	Title  string // the sentence a runbook would have
	Target string // machine, distinguished name, group or URL
	Kind   Kind   // Check, Change, Once or Manual
	// Timeout: for the whole step, without the time a person takes; 0 means DefaultTimeout; a Once must name its own
	Timeout time.Duration
	Poll    time.Duration // pause between observations; 0 means DefaultPoll

	// Wait makes a Check or an unattended Manual step look again until it holds or Timeout ends; without it a Check is
	// looked at once.
	Wait bool
	// Entry marks a Check that is about the start: it must hold before the first change behind it, and is not looked at
	// again once a change behind it was begun. A Check without it is standing: it is looked at again whenever a run is
	// resumed, after every wait for a person or for another part, and right before each Once, until the step it guards
	// was begun.
	Entry bool
	// Guards is the ID of the step up to which a standing Check must hold. "" means the next Once behind it, and where
	// there is none, the next Change.
	Guards string
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
	// Writes names the facts that the step writes; no other step of the procedure writes them, unless it says so in
	// Shares.
	Writes []string
	// Shares names facts that this step writes too, although they belong to another step or another procedure.
	Shares []string

	Observe func(context.Context) (Observation, error) // never changes anything
	Apply   func(context.Context) error                // Change, Once; an error without an *Error in it counts as in doubt
	Undo    func(context.Context) error                // safe to repeat; nil: cannot be undone, and the plan says so
	// Once: tells whether it took effect, when the answer was lost. With a journal that was opened it is asked before Apply
	// and before an undo, too, also when Apply was never called. An answer with an error is in doubt
	Probe func(context.Context) (Outcome, error)

	// Undone looks whether the undo has taken effect: Done means that nothing of the change is left. Nil means that
	// Observe tells it: no longer Done, and every item that was not Done before the change is listed and not Done.
	Undone func(context.Context) (Observation, error)
}

// errNothingToUndo is what NothingToUndo returns to the engine.
var errNothingToUndo = errors.New("nothing to undo")

// NothingToUndo is the Undo of a Change that leaves nothing behind, such as a wait; an Undo of your own may return its
// result where it finds nothing of the change left to take back. An undo passes such a step without a look; it never
// passes an applied Change whose Undo is nil.
func NothingToUndo(context.Context) error { return errNothingToUndo }

// Observation is what a step found. Nothing of a Check that waits is part of the findings hash: what it waits for comes
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
	Target  string `json:"target"`            // one of the targets, for example a driver
	Done    bool   `json:"done"`              // the wanted state holds there
	Unknown bool   `json:"unknown,omitempty"` // it could not be looked at: neither done nor taken back
	Found   string `json:"found,omitempty"`   // what was found there; part of the findings hash
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
	if err := checkName("Step.ID", s.ID); err != nil {
		return err
	}
	field := "step " + s.ID
	for _, name := range slices.Concat(s.Writes, s.Shares) {
		if err := checkName(field+".Writes", name); err != nil {
			return err
		}
	}
	changes := s.Kind == Change || s.Kind == Once
	switch {
	case s.Title == "":
		return Invalid(field+".Title", "is empty", "write the sentence a runbook would have")
	case s.Kind < Check || s.Kind > Manual:
		return Invalid(field+".Kind", "is not set", "use Check, Change, Once or Manual")
	case s.Timeout < 0 || s.Poll < 0 || s.WarnAfter < 0 || s.Attempts < 0:
		return Invalid(field, "has a negative time or count", "use zero for the default")
	case s.Kind != Manual && s.Observe == nil:
		return Invalid(field+".Observe", "is nil", "say how to see whether the wanted state holds")
	case changes && s.Apply == nil:
		return Invalid(field+".Apply", "is nil", "say how to bring the wanted state about")
	case !changes && (s.Apply != nil || s.Undo != nil || s.Undone != nil):
		return Invalid(field, "is a "+s.Kind.String()+" that changes something", "make it a Change or a Once")
	case !changes && len(s.Writes)+len(s.Shares) > 0:
		return Invalid(field+".Writes", "is set on a "+s.Kind.String(), "facts are written by a Change or a Once")
	case s.Kind == Once && s.Probe == nil:
		return Invalid(field+".Probe", "is nil", "say how to find out whether it took effect, or return InDoubt")
	case s.Kind != Once && s.Probe != nil:
		return Invalid(field+".Probe", "is set on a "+s.Kind.String(), "only a Once is probed; the others are observed")
	case s.Kind == Once && s.Undo != nil:
		return Invalid(field+".Undo", "is set on a Once", "an undo never passes a Once; write a procedure for the way back")
	case s.Undo == nil && s.Undone != nil:
		return Invalid(field+".Undone", "is set without Undo", "say how the change is taken back")
	case s.Kind == Once && s.Timeout == 0:
		return Invalid(field+".Timeout", "is not set", "choose how long the run follows a step that cannot be repeated")
	case s.Kind == Manual && s.Help == "" && s.Observe == nil:
		return Invalid(field+".Help", "is empty", "tell the person what to do")
	case s.Kind != Check && (s.Entry || s.Guards != "" || s.Firm):
		return Invalid(field, "is not a check, but marked as entry, guarding or firm",
			"set Entry, Guards and Firm on checks only")
	case s.Entry && s.Guards != "":
		return Invalid(field+".Guards", "is set on an entry check", "leave out Entry or Guards")
	}
	return nil
}

// canUndo reports whether an undo takes the step back or has nothing to take back.
func (s Step) canUndo() bool { return s.Kind == Check || s.Kind == Change && s.Undo != nil }

// StepInfo is what a step says of itself, without its functions.
type StepInfo struct {
	ID      string `json:"id"`                // whole ID, with part and stage
	Part    string `json:"part,omitempty"`    // the part of a joined procedure
	Title   string `json:"title"`             // as in Step
	Target  string `json:"target,omitempty"`  // as in Step
	Kind    Kind   `json:"kind"`              // as in Step
	CanUndo bool   `json:"can_undo"`          // an undo takes it back or has nothing to take back
	Firm    bool   `json:"firm,omitempty"`    // as in Step
	Outage  bool   `json:"outage,omitempty"`  // in the outage window
	Timeout string `json:"timeout,omitempty"` // as time.Duration prints it
	Source  string `json:"source,omitempty"`  // as in Step
	Help    string `json:"help,omitempty"`    // as in Step
}

// info describes every step.
func (p Procedure) info() []StepInfo {
	p = p.flatten()
	list := make([]StepInfo, len(p.steps))
	for i, s := range p.steps {
		list[i] = StepInfo{ID: s.ID, Part: p.part(i), Title: s.Title, Target: s.Target, Kind: s.Kind, CanUndo: s.canUndo(),
			Firm: s.Firm, Outage: p.down[i], Timeout: s.timeout().String(), Source: s.Source, Help: s.Help}
	}
	return list
}
