package failover

import (
	"context"
	"encoding/json"
	"fmt"
)

// Fact is a small typed value that one step leaves for a later one: the schedules held, the time noted, the owner at
// the start. It is written to the journal and fsynced before the change that makes it necessary, and read back when
// another process resumes the run.
//
// Facts are reached through the context the engine hands to Observe, Apply, Undo and Probe. T must survive a JSON
// round trip and must hold no secret.
type Fact[T any] struct {
	Name string // unique within a procedure
}

// NewFact names a fact. The name is unique within a procedure, for example "opcon/held".
func NewFact[T any](name string) Fact[T] { return Fact[T]{Name: name} }

// factStore is what a run puts into the context of its steps.
type factStore interface {
	loadFact(name string) (json.RawMessage, bool)
	saveFact(name string, value json.RawMessage) error
	waived(step string) bool
}

type factKey struct{}

// Waived reports whether a person has waived the Check called id in this journal. It is for a step that looks once more,
// right before a change, at what an earlier Check has seen: what was waived there is not asked for here. Outside a run it
// is false.
func Waived(ctx context.Context, id string) bool {
	store, ok := ctx.Value(factKey{}).(factStore)
	return ok && store.waived(id)
}

// Load returns the value; the bool is false when none was written yet, which is the rule in a plan.
func (f Fact[T]) Load(ctx context.Context) (T, bool, error) {
	var value T
	store, ok := ctx.Value(factKey{}).(factStore)
	if !ok {
		return value, false, nil
	}
	raw, ok := store.loadFact(f.Name)
	if !ok {
		return value, false, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, false, fmt.Errorf("read fact %s: %w", f.Name, err)
	}
	return value, true, nil
}

// Save writes the value, replacing an earlier one. It returns when the value is on disk. It works in Apply and Undo
// only: Observe and Probe change nothing.
func (f Fact[T]) Save(ctx context.Context, value T) error {
	store, ok := ctx.Value(factKey{}).(factStore)
	if !ok {
		return &Error{Op: "save fact", Target: f.Name, Outcome: NotApplied, Next: "save facts only in a step that a run applies",
			Err: fmt.Errorf("%w: no run in the context", ErrPrecondition)}
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return &Error{Op: "save fact", Target: f.Name, Outcome: NotApplied, Next: "make the type marshal to JSON", Err: err}
	}
	return store.saveFact(f.Name, raw)
}

// Capture returns the stored value if there is one; otherwise it calls observe, writes the result and returns it. A
// step that is applied a second time thus keeps what it saw the first time.
func (f Fact[T]) Capture(ctx context.Context, observe func(context.Context) (T, error)) (T, error) {
	value, ok, err := f.Load(ctx)
	if err != nil || ok {
		return value, err
	}
	if value, err = observe(ctx); err != nil {
		return value, err
	}
	return value, f.Save(ctx, value)
}
