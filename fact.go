package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Fact is a small typed value that one step leaves for a later one: the schedules held, the time noted, the owner at
// the start. It is durable in the journal before the change that makes it necessary, and read back when another process
// resumes the run.
//
// Facts are reached through the context the engine hands to Observe, Apply, Undo and Probe. T must survive a JSON
// round trip and must hold no secret.
type Fact[T any] struct {
	// Name, for example "opcon/held", is the fact's own within a procedure. It shows itself, with at most 200 bytes; a
	// step that writes it names it in Writes.
	Name string
}

// factStore is what a run puts into the context of its steps.
type factStore interface {
	loadFact(name string) (json.RawMessage, bool)
	loadEntries(name string) map[string]json.RawMessage
	saveFact(name, key string, value json.RawMessage) error
	waived(step string) bool
	before() map[string]bool // the targets that were as wanted before the first attempt of the step
}

type factKey struct{}

// Waived reports whether a person has waived the Check called id in this run. It is for a step that looks once more,
// right before a change, at what an earlier Check has seen: what was waived there is not asked for here. Outside a run
// it is false.
func Waived(ctx context.Context, id string) bool {
	store, ok := ctx.Value(factKey{}).(factStore)
	return ok && store.waived(id)
}

// Load returns the value; the bool is false when none was written yet, which is usual in a plan.
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

// Save writes the value, replacing an earlier one. It returns when the value is durable. It works in Apply and Undo of
// a step that names the fact in Writes or Shares: Observe and Probe change nothing. Its error is in doubt, since what the
// step did before it may be in effect; a step that has done nothing yet says so by an error of its own.
func (f Fact[T]) Save(ctx context.Context, value T) error {
	return unsaved(f.Name, saveFact(ctx, f.Name, "", value))
}

// unsavedError is that of a value which a later step will not find.
type unsavedError struct{ error }

func (e unsavedError) Unwrap() error { return e.error }

func unsaved(name string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: "keep fact", Target: name, Outcome: InDoubt, Next: NextOf(err), Err: unsavedError{err}}
}

func saveFact(ctx context.Context, name, key string, value any) error {
	store, ok := ctx.Value(factKey{}).(factStore)
	if !ok {
		return factError(name, "save facts only in a step that a run applies", "no run in the context")
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return &Error{Op: "save fact", Target: name, Outcome: NotApplied, Next: "make the type marshal to JSON", Err: err}
	}
	// The encoder writes U+FFFD for a byte that is not UTF-8, and as an escape only then.
	if bytes.Contains(bytes.ReplaceAll(raw, []byte(`\\`), nil), []byte(`\ufffd`)) {
		return factError(name, "save text that is UTF-8; encode other bytes, for example as []byte",
			"the value would not be read back as it is")
	}
	return store.saveFact(name, key, raw)
}

// Capture returns the stored value if there is one; otherwise it calls observe, writes the result and returns it. A
// step that is applied a second time thus keeps what it saw the first time. It comes before what the step changes.
func (f Fact[T]) Capture(ctx context.Context, observe func(context.Context) (T, error)) (T, error) {
	value, ok, err := f.Load(ctx)
	if err != nil || ok {
		return value, err
	}
	if value, err = observe(ctx); err != nil {
		return value, err
	}
	return value, saveFact(ctx, f.Name, "", value)
}

// FactMap is a fact that gains entries, one for each of many targets. An entry is one line of the journal, however many
// there are already. Everything else is as for a Fact.
type FactMap[T any] struct {
	Name string // as that of a Fact
}

// Load returns the entries written so far; none in a plan.
func (f FactMap[T]) Load(ctx context.Context) (map[string]T, error) {
	entries := map[string]T{}
	store, ok := ctx.Value(factKey{}).(factStore)
	if !ok {
		return entries, nil
	}
	for key, raw := range store.loadEntries(f.Name) {
		var value T
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, fmt.Errorf("read fact %s of %s: %w", f.Name, key, err)
		}
		entries[key] = value
	}
	return entries, nil
}

// Put writes one entry, replacing an earlier one of that key. It returns when the entry is durable, and works where
// Save does.
func (f FactMap[T]) Put(ctx context.Context, key string, value T) error {
	if key == "" || !utf8.ValidString(key) {
		return factError(f.Name, "give each entry a key that is text", fmt.Sprintf("the key %q", key))
	}
	return unsaved(f.Name, saveFact(ctx, f.Name, key, value))
}

func factError(name, next, why string) error {
	return &Error{Op: "save fact", Target: name, Outcome: NotApplied, Next: next,
		Err: fmt.Errorf("%w: %s", ErrPrecondition, why)}
}

// stepFacts is the factStore of one call of a step's function.
type stepFacts struct {
	j      *Journal
	step   *Step
	part   string      // of a joined procedure: its facts are its own
	writes bool        // Apply and Undo
	over   atomic.Bool // the run has stopped waiting for the function
	// what the function's error says of the targets of a fan-out
	targets []TargetOutcome
	mu      sync.Mutex
	said    []string // the newest progress lines
}

// keptLines is how many of a step's progress lines the journal keeps.
const keptLines = 20

func (f *stepFacts) tell(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.said = append(f.said, text); len(f.said) > keptLines {
		f.said = f.said[1:]
	}
}

func (f *stepFacts) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.said)
}

func (f *stepFacts) loadFact(name string) (json.RawMessage, bool) {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	value, ok := f.j.fold.facts[f.scoped(name)]
	return value, ok
}

func (f *stepFacts) loadEntries(name string) map[string]json.RawMessage {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	return maps.Clone(f.j.fold.entries[f.scoped(name)])
}

// scoped is the name of a fact or a step as the journal of a joined procedure has it.
func (f *stepFacts) scoped(name string) string {
	if f.part == "" {
		return name
	}
	return f.part + "/" + name
}

func (f *stepFacts) waived(step string) bool {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	st := f.j.fold.step(f.scoped(step))
	return st.status() == StatusWaived && st.run == len(f.j.fold.runs)
}

func (f *stepFacts) before() map[string]bool {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	return wanted(f.j.fold.step(f.step.ID).before0)
}

func (f *stepFacts) saveFact(name, key string, value json.RawMessage) error {
	switch {
	case !f.writes:
		return factError(name, "save facts in Apply or Undo", "an observation changes nothing")
	case f.over.Load():
		return factError(name, "return when the context ends", "the run has stopped waiting for the step")
	case !slices.Contains(f.step.Writes, name) && !slices.Contains(f.step.Shares, name):
		return factError(name, "name the fact in Step.Writes, or in Step.Shares when it belongs to another step",
			"the step "+f.step.ID+" does not say that it writes it")
	}
	return f.j.append(record{Type: recFact, Step: f.step.ID, Fact: f.scoped(name), Key: key, Value: value})
}
