package failover

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

type recordType string

const (
	recRun         recordType = "run"          // a run began
	recObserved    recordType = "observed"     // a step needed nothing, or a Check did not hold
	recIntent      recordType = "intent"       // the effect follows
	recOutcome     recordType = "outcome"      // what is known of the effect
	recFact        recordType = "fact"         // a value for a later step
	recWaive       recordType = "waive"        // a person waived a Check
	recConfirm     recordType = "confirm"      // a person did a Manual step
	recResolve     recordType = "resolve"      // a person settled a doubt
	recTakeOver    recordType = "take-over"    // a person took the lock over
	recUndoIntent  recordType = "undo-intent"  // the step's change is being taken back
	recUndoOutcome recordType = "undo-outcome" // what is known of that
	recEnd         recordType = "end"          // a run ended
)

// record is one line of the journal.
type record struct {
	N       int             `json:"n"`
	Prev    string          `json:"prev"`
	At      time.Time       `json:"at"`
	Type    recordType      `json:"type"`
	Step    string          `json:"step,omitempty"`
	Status  StepStatus      `json:"status,omitempty"`
	Outcome *Outcome        `json:"outcome,omitempty"`
	Fired   bool            `json:"fired,omitempty"` // the effect is proven, the wanted state is not
	Found   string          `json:"found,omitempty"`
	Would   string          `json:"would,omitempty"`
	Note    string          `json:"note,omitempty"`
	Items   []Item          `json:"items,omitempty"`
	Targets []TargetOutcome `json:"targets,omitempty"`
	Error   string          `json:"error,omitempty"`
	Next    string          `json:"next,omitempty"`
	Actor   string          `json:"actor,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Hash    string          `json:"hash,omitempty"` // findings an approval was given for
	Fact    string          `json:"fact,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`
	Result  Result          `json:"result,omitempty"`
}

// TargetOutcome is what is known about one target of a fan-out that failed there.
type TargetOutcome struct {
	Target  string  `json:"target"`         // machine, DN, schedule or whatever the step fans out over
	Outcome Outcome `json:"outcome"`        // what is known about the effect there
	Error   string  `json:"error"`          // what went wrong there
	Next    string  `json:"next,omitempty"` // the next action for it
}

// targetsOf lists the members of a fan-out's error, or nothing for a single one.
func targetsOf(err error) []TargetOutcome {
	for err != nil {
		if list, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the tree is walked by hand
			// Several %w make one failure with several causes, not one failure per target.
			if reflect.TypeOf(err) == reflect.TypeOf(fmt.Errorf("%w %w", err, err)) {
				for _, cause := range list.Unwrap() {
					if targets := targetsOf(cause); len(targets) > 0 {
						return targets
					}
				}
				return nil
			}
			var targets []TargetOutcome
			for _, member := range list.Unwrap() {
				e, ok := errors.AsType[*Error](member)
				if !ok || e.Target == "" {
					continue
				}
				targets = append(targets, TargetOutcome{Target: e.Target, Outcome: e.Outcome, Error: member.Error(), Next: NextOf(member)})
			}
			return targets
		}
		err = errors.Unwrap(err)
	}
	return nil
}

// stepState is what the records say about one step.
type stepState struct {
	Status    StepStatus
	Attempts  int
	Started   time.Time
	Ended     time.Time
	Found     string
	Note      string
	Items     []Item
	Targets   []TargetOutcome
	Error     string
	Next      string
	By        string // who waived, confirmed or resolved
	Reason    string
	fired     bool // a Once proven to have taken effect
	intended  bool // at least one intent was written
	confirmed bool
	undoOpen  bool
}

// states folds the records: the newest word on each step counts.
func (j *Journal) states() map[string]*stepState {
	j.mu.Lock()
	defer j.mu.Unlock()
	states := map[string]*stepState{}
	for _, rec := range j.records {
		if rec.Step == "" {
			continue
		}
		st := states[rec.Step]
		if st == nil {
			st = &stepState{Started: rec.At}
			states[rec.Step] = st
		}
		st.apply(rec)
	}
	return states
}

func (st *stepState) apply(rec record) {
	st.Ended = rec.At
	switch rec.Type {
	case recObserved:
		st.Status = rec.Status
		st.take(rec)
	case recIntent:
		if !st.intended {
			st.Started = rec.At
		}
		st.Status, st.intended = StatusInDoubt, true
		st.Attempts++
		st.take(rec)
	case recOutcome:
		st.fired = st.fired || rec.Fired
		st.Status = outcomeStatus(*rec.Outcome, rec.Fired)
		st.take(rec)
	case recWaive:
		st.Status, st.By, st.Reason = StatusWaived, rec.Actor, rec.Reason
		st.take(rec)
	case recConfirm:
		st.confirmed, st.By, st.Reason = true, rec.Actor, rec.Reason
		st.Found = rec.Found
	case recResolve:
		st.By, st.Reason = rec.Actor, rec.Reason
		st.Error, st.Next = "", ""
		st.fired = false
		switch {
		case st.undoOpen && *rec.Outcome == Applied:
			st.Status, st.undoOpen = StatusUndone, false
		case st.undoOpen:
			st.Status, st.undoOpen = StatusApplied, false
		case *rec.Outcome == Applied:
			st.Status = StatusApplied
		default:
			st.Status = StatusFailed
		}
	case recUndoIntent:
		st.undoOpen = true
	case recUndoOutcome:
		st.Error, st.Next = rec.Error, rec.Next
		switch *rec.Outcome {
		case Applied:
			st.Status, st.undoOpen = StatusUndone, false
		case NotApplied:
			st.undoOpen = false
		case InDoubt:
		}
	case recRun, recFact, recTakeOver, recEnd:
	}
}

func (st *stepState) take(rec record) {
	st.Found, st.Note, st.Items, st.Targets, st.Error, st.Next = rec.Found, rec.Note, rec.Items, rec.Targets, rec.Error, rec.Next
}

func outcomeStatus(o Outcome, fired bool) StepStatus {
	switch {
	case fired || o == InDoubt:
		return StatusInDoubt
	case o == Applied:
		return StatusApplied
	}
	return StatusFailed
}

// touched reports whether the step's change may be in effect because of us.
func (st *stepState) touched() bool {
	return st != nil && st.intended && st.Status != StatusUndone && (st.Status != StatusFailed || len(st.Targets) > 0)
}
