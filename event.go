package failover

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/01b61c5c/failover/internal/enum"
)

// EventKind says what an [Event] reports.
type EventKind int

// The events of a run, in the order they can occur.
const (
	EventRunStarted EventKind = iota + 1
	EventStepStarted
	EventObserved  // an observation was made
	EventWaiting   // the wanted state does not hold yet; the run looks again
	EventIntent    // the intent is durable; Apply or Undo is called now
	EventProgress  // a step tells what it sees, by Progress
	EventSlow      // the step, or without a step the run, has passed its WarnAfter
	EventStepEnded // the outcome was written
	EventRunEnded
)

var eventNames = []string{0: "", EventRunStarted: "run-started", EventStepStarted: "step-started",
	EventObserved: "observed",
	EventWaiting:  "waiting", EventIntent: "intent", EventProgress: "progress", EventSlow: "slow",
	EventStepEnded: "step-ended", EventRunEnded: "run-ended"}

// String returns the event's name, for example "step-started".
func (k EventKind) String() string { return enum.Name(eventNames, k) }

// MarshalText implements encoding.TextMarshaler.
func (k EventKind) MarshalText() ([]byte, error) { return enum.Marshal(eventNames, k) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *EventKind) UnmarshalText(text []byte) error { return enum.Parse(eventNames, text, k) }

// Event is one thing that happened in a run. Events are for eyes; the journal is the record.
type Event struct {
	At          time.Time   `json:"at"`                   // by the clock of the machine that runs the procedure
	Journal     string      `json:"journal"`              // ID of the journal
	Run         int         `json:"run"`                  // number of the run or undo in the journal, counted from 1
	Kind        EventKind   `json:"kind"`                 // says which of the fields below are set
	Procedure   string      `json:"procedure"`            // its name
	Undo        bool        `json:"undo,omitempty"`       // it is an undo
	Step        StepInfo    `json:"step,omitzero"`        // zero for events of the whole run
	Number      int         `json:"number,omitempty"`     // position of the step, counted from 1
	Total       int         `json:"total"`                // how many steps the procedure has
	Attempt     int         `json:"attempt,omitempty"`    // EventIntent: counted from 1
	Observation Observation `json:"observation,omitzero"` // EventObserved, EventWaiting, EventIntent
	Status      StepStatus  `json:"status,omitempty"`     // EventStepEnded
	Text        string      `json:"text,omitempty"`       // EventProgress
	Error       string      `json:"error,omitempty"`      // EventStepEnded, EventRunEnded
	Err         error       `json:"-"`                    // as Error, to test with errors.Is
}

// Progress lets a step tell the observer what it sees: a line of a log, a count that falls. Outside a run it does
// nothing. It is safe for concurrent use, does not wait, and must not carry secrets.
func Progress(ctx context.Context, text string) {
	if r, ok := ctx.Value(progressKey{}).(func(string)); ok {
		r(text)
	}
}

type progressKey struct{}

const (
	// eventQueue is how many events may wait for an observer before progress, looks and waits are left out for it.
	eventQueue = 256
	// eventPatience is how long the run waits for an observer that keeps up.
	eventPatience = time.Second
)

// events hands the events of a run to its observer, one at a time and in order. An observer that keeps up has seen an
// event before the run goes on; one that is late is not waited for until it has caught up, and loses what is only for
// eyes.
type events struct {
	see    func(Event)
	log    *slog.Logger
	mu     sync.Mutex
	queue  []Event
	late   bool
	closed bool
	wake   chan struct{}
	seen   chan struct{} // one for each time the queue was emptied while somebody waited
	ended  chan struct{}
}

func newEvents(see func(Event), log *slog.Logger) *events {
	e := &events{see: see, log: log, wake: make(chan struct{}, 1), seen: make(chan struct{}, 1),
		ended: make(chan struct{})}
	if see == nil {
		close(e.ended)
		return e
	}
	go e.deliver()
	return e
}

// send gives the event to the observer. A progress line is never waited for: the step that tells it goes on.
func (e *events) send(ev Event) {
	if e.see == nil {
		return
	}
	passing := ev.Kind == EventProgress || ev.Kind == EventObserved || ev.Kind == EventWaiting
	e.mu.Lock()
	if e.closed || passing && len(e.queue) >= eventQueue {
		e.mu.Unlock()
		return
	}
	e.queue = append(e.queue, ev)
	wait := !e.late && ev.Kind != EventProgress && ev.Kind != EventSlow
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
	if wait {
		e.await()
	}
}

// await returns when the observer has seen everything, or when it is late.
func (e *events) await() {
	patience := time.NewTimer(eventPatience)
	defer patience.Stop()
	for {
		e.mu.Lock()
		empty := len(e.queue) == 0
		e.mu.Unlock()
		if empty {
			return
		}
		select {
		case <-e.seen:
		case <-e.ended:
			return
		case <-patience.C:
			e.mu.Lock()
			e.late = true
			e.mu.Unlock()
			return
		}
	}
}

func (e *events) deliver() {
	defer close(e.ended)
	for {
		e.mu.Lock()
		switch {
		case len(e.queue) > 0:
			ev := e.queue[0]
			e.mu.Unlock()
			e.one(ev)
			e.mu.Lock()
			e.queue = e.queue[1:]
			e.late = e.late && len(e.queue) > 0
			e.mu.Unlock()
			select {
			case e.seen <- struct{}{}:
			default:
			}
			continue
		case e.closed:
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		<-e.wake
	}
}

// one keeps what the observer does to itself: it is not part of the run.
func (e *events) one(ev Event) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer func() {
			if v := recover(); v != nil {
				e.log.Error("the observer panicked", "event", ev.Kind.String(), "type", fmt.Sprintf("%T", v))
			}
		}()
		e.see(ev)
	}()
	<-over
}

// close delivers what waits, as long as the observer keeps up.
func (e *events) close() {
	if e.see == nil {
		return
	}
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
	patience := time.NewTimer(eventPatience)
	defer patience.Stop()
	select {
	case <-e.ended:
	case <-patience.C:
	}
}
