package failover

import (
	"context"
	"time"
)

// EventKind says what an [Event] reports.
type EventKind int

// The events of a run, in the order they can occur.
const (
	EventRunStarted EventKind = iota + 1
	EventStepStarted
	EventObserved  // an observation was made
	EventWaiting   // the wanted state does not hold yet; the run looks again
	EventIntent    // the intent was written and fsynced; the effect follows
	EventAttempt   // Apply is called
	EventProgress  // a step tells what it sees, by Progress
	EventSlow      // the step, or without a step the run, has passed its WarnAfter
	EventStepEnded // the outcome was written
	EventRunEnded
)

var eventNames = []string{0: "", EventRunStarted: "run-started", EventStepStarted: "step-started", EventObserved: "observed",
	EventWaiting: "waiting", EventIntent: "intent", EventAttempt: "attempt", EventProgress: "progress", EventSlow: "slow",
	EventStepEnded: "step-ended", EventRunEnded: "run-ended"}

// String returns the event's name, for example "step-started".
func (k EventKind) String() string { return enumName("EventKind", eventNames, int(k)) }

// MarshalText implements encoding.TextMarshaler.
func (k EventKind) MarshalText() ([]byte, error) { return enumMarshal("event", eventNames, int(k)) }

// Event is one thing that happened in a run. Events are for eyes; the journal is the record.
type Event struct {
	At          time.Time   // by the clock of the machine that runs the procedure
	Kind        EventKind   // says which of the fields below are set
	Procedure   string      // its name
	Step        Step        // zero for events of the whole run
	Number      int         // position of the step, counted from 1
	Total       int         // how many steps the procedure has
	Attempt     int         // EventAttempt: counted from 1
	Observation Observation // EventObserved, EventWaiting
	Status      StepStatus  // EventStepEnded
	Text        string      // EventProgress
	Err         error       // EventStepEnded, EventRunEnded
}

// Progress lets a step tell the observer what it sees: a line of a log, a count that falls. Outside a run it does
// nothing. It is safe for concurrent use and must not carry secrets.
func Progress(ctx context.Context, text string) {
	if r, ok := ctx.Value(progressKey{}).(func(string)); ok {
		r(text)
	}
}

type progressKey struct{}
