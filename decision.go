package failover

import (
	"fmt"
	"time"

	"github.com/01b61c5c/failover/internal/enum"
)

// DecisionKind says what a person or a policy decided.
type DecisionKind int

// The decisions a journal records.
const (
	DecisionConsent  DecisionKind = iota + 1 // agreed to what was shown
	DecisionReject                           // refused it
	DecisionWaive                            // let a Check fail
	DecisionConfirm                          // said that a Manual step is done
	DecisionResolve                          // settled a doubt
	DecisionTakeOver                         // took the lock over, or tried to
)

var decisionNames = []string{0: "", DecisionConsent: "consent", DecisionReject: "reject", DecisionWaive: "waive",
	DecisionConfirm: "confirm", DecisionResolve: "resolve", DecisionTakeOver: "take-over"}

// String returns the decision as a word, for example "waive".
func (k DecisionKind) String() string { return enum.Name(decisionNames, k) }

// MarshalText implements encoding.TextMarshaler.
func (k DecisionKind) MarshalText() ([]byte, error) {
	return enum.Marshal(decisionNames, k)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *DecisionKind) UnmarshalText(text []byte) error {
	return enum.Parse(decisionNames, text, k)
}

// Decision is what a person or a policy decided, as the journal has it.
type Decision struct {
	At       time.Time    `json:"at"`                 // UTC
	Kind     DecisionKind `json:"kind"`               // what was decided
	Step     string       `json:"step,omitempty"`     // ID of the step; "" for a whole plan or the lock
	By       string       `json:"by"`                 // who
	From     string       `json:"from,omitempty"`     // where the answer came from
	Reason   string       `json:"reason,omitempty"`   // why, or how they know
	Says     string       `json:"says,omitempty"`     // what was stated, or what was found when it was decided
	Findings PlanHash     `json:"findings,omitempty"` // what was shown, as a hash
	Undo     bool         `json:"undo,omitempty"`     // the consent is for an undo
	Outcome  *Outcome     `json:"outcome,omitempty"`  // of a resolve: what was stated; of a take-over: how it ended
	Error    string       `json:"error,omitempty"`    // why a take-over did not succeed
}

func decisionOf(rec *record) Decision {
	kinds := map[recordType]DecisionKind{recConsent: DecisionConsent, recReject: DecisionReject, recWaive: DecisionWaive,
		recConfirm: DecisionConfirm, recResolve: DecisionResolve, recTakeOver: DecisionTakeOver}
	d := Decision{At: rec.At, Kind: kinds[rec.Type], Step: rec.Step, By: rec.Actor, From: rec.From, Reason: rec.Reason,
		Says: rec.Found, Findings: rec.Hash, Undo: rec.Undo, Outcome: rec.Outcome}
	if rec.Type == recTakeOver {
		d.Error = rec.Error
	}
	if rec.Type == recConsent && rec.Step != "" && len(rec.Shown) == 1 {
		d.Says = rec.Shown[0].Found
		if rec.Shown[0].Would != "" {
			d.Says += "; would " + rec.Shown[0].Would
		}
	}
	return d
}

// String returns the decision as one line.
func (d Decision) String() string {
	text := fmt.Sprintf("%s %s", d.At.Format(time.RFC3339), d.Kind)
	switch {
	case d.Undo && d.Step == "":
		text += " of the undo"
	case d.Undo:
		text += " of the undo of " + d.Step
	case d.Step == "" && d.Kind == DecisionConsent:
		text += " to the plan"
	case d.Step != "":
		text += " " + d.Step
	}
	if d.Outcome != nil {
		text += " as " + d.Outcome.String()
	}
	text += " by " + d.By
	if d.From != "" && d.From != d.By {
		text += " from " + d.From
	}
	if d.Findings != "" {
		text += fmt.Sprintf(", findings %.12s", d.Findings)
	}
	for _, part := range []string{d.Says, d.Reason, d.Error} {
		if part != "" {
			text += ": " + part
		}
	}
	return oneLine(text)
}
