package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// EachTarget calls do for every target, at most limit at a time, and returns nil or [Targets] with all of them. A
// target whose turn had not come when ctx ended is not begun and is NotApplied. A panic in do is an error of its
// target, in doubt. EachTarget returns after the last call has ended.
func EachTarget[T any](ctx context.Context, limit int, targets []T, name func(T) string,
	do func(context.Context, T) error) error {
	if limit < 1 {
		return Invalid("limit", fmt.Sprintf("is %d", limit), "allow at least one at a time")
	}
	results := make(Targets, len(targets))
	place := make(chan struct{}, limit)
	var workers sync.WaitGroup
	for i, target := range targets {
		place <- struct{}{}
		workers.Go(func() {
			defer func() { <-place }()
			oneTarget(ctx, target, name, do, &results[i])
		})
	}
	workers.Wait()
	return results.Err()
}

// oneTarget fills in the result from the beginning: do may end its goroutine.
func oneTarget[T any](ctx context.Context, target T, name func(T) string, do func(context.Context, T) error,
	result *TargetResult) {
	broken := func(what string) error {
		return &Error{Op: "call", Target: result.Target, Outcome: InDoubt,
			Next: "report this as a defect and observe the target", Err: fmt.Errorf("%w%s", ErrPanicked, what)}
	}
	result.Err = broken(": it ended its goroutine")
	defer func() {
		if v := recover(); v != nil {
			result.Err = broken(fmt.Sprintf(" with a value of type %T", v))
		}
	}()
	result.Target = name(target)
	if cause := context.Cause(ctx); cause != nil {
		result.Err = &Error{Op: "begin", Target: result.Target, Outcome: NotApplied, Next: "run again for this target",
			Err: fmt.Errorf("not begun: %w", cause)}
		return
	}
	result.Err = do(ctx, target)
}

// PerTarget makes a step over many targets from what it does on each. Its functions have the meaning and the rules of
// those of [Step].
type PerTarget struct {
	Targets []string            // in the order in which their rows are shown; unique
	Limit   int                 // how many are worked on at a time; 0 means one after the other
	Name    func(string) string // what a target is called in a sentence; nil: as it is

	Wanted string // how a target stands when the step is done, for example "stopped on the source"
	Would  string // what Apply would do about those that are not, in one sentence

	Observe func(ctx context.Context, target string) (Item, error) // Item.Target is filled in
	Apply   func(ctx context.Context, target string) error         // nil for a Check
	Undo    func(ctx context.Context, target string) error         // nil: cannot be undone
	Undone  func(ctx context.Context, target string) (Item, error) // nil: Observe tells it
}

// Step returns s with functions over all targets where it has none of its own. Apply goes to every target, also behind
// one that failed, and returns [Targets]; so does Undo, but for the targets that were as wanted before the first attempt.
func (t PerTarget) Step(s Step) Step {
	if s.Observe == nil {
		s.Observe = func(ctx context.Context) (Observation, error) { return t.Look(ctx, t.Observe) }
	}
	if s.Undone == nil && t.Undone != nil {
		s.Undone = func(ctx context.Context) (Observation, error) {
			before := before(ctx)
			return t.Look(ctx, func(ctx context.Context, target string) (Item, error) {
				if before[jsonText(target)] {
					return Item{Done: true, Found: "as it was"}, nil
				}
				return t.Undone(ctx, target)
			})
		}
	}
	if s.Apply == nil && t.Apply != nil {
		s.Apply = func(ctx context.Context) error { return t.Each(ctx, t.Apply) }
	}
	if s.Undo == nil && t.Undo != nil {
		s.Undo = func(ctx context.Context) error {
			before := before(ctx)
			return t.Each(ctx, func(ctx context.Context, target string) error {
				if before[jsonText(target)] {
					return nil
				}
				return t.Undo(ctx, target)
			})
		}
	}
	return s
}

func before(ctx context.Context) map[string]bool {
	if store, ok := ctx.Value(factKey{}).(factStore); ok {
		return store.before()
	}
	return nil
}

// Each calls do for every target and returns nil or [Targets].
func (t PerTarget) Each(ctx context.Context, do func(ctx context.Context, target string) error) error {
	return EachTarget(ctx, max(t.Limit, 1), t.Targets, func(target string) string { return target }, do)
}

// Look observes every target. A target that cannot be observed is a row that is not done; only where none can be
// observed is the whole observation an error.
func (t PerTarget) Look(ctx context.Context, see func(ctx context.Context, target string) (Item, error)) (Observation,
	error) {
	var mu sync.Mutex
	rows := map[string]Item{}
	err := t.Each(ctx, func(ctx context.Context, target string) error {
		row, err := see(ctx, target)
		if err != nil {
			row = Item{Unknown: true, Found: "not observed: " + err.Error()}
		}
		row.Target = target
		mu.Lock()
		defer mu.Unlock()
		rows[target] = row
		return err
	})
	if failed, ok := errors.AsType[Targets](err); ok && len(failed.Unwrap()) == len(t.Targets) {
		return Observation{}, err
	}
	obs := Observation{Would: t.Would}
	var open []string
	for _, target := range t.Targets {
		row, seen := rows[target]
		if !seen {
			row = Item{Target: target, Unknown: true, Found: "not observed"}
		}
		if obs.Items = append(obs.Items, row); !row.Done {
			open = append(open, t.name(target)+" "+row.Found)
		}
	}
	obs.Done, obs.Found = len(open) == 0, fmt.Sprintf("%d of %d %s", len(t.Targets)-len(open), len(t.Targets), t.Wanted)
	if len(open) > 0 {
		obs.Found += ": " + strings.Join(open, "; ")
	}
	return obs, nil
}

func (t PerTarget) name(target string) string {
	if t.Name == nil {
		return target
	}
	return t.Name(target)
}
