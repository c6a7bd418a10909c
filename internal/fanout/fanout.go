// Package fanout does one thing for many targets with a limit and brings what became of each back together.
package fanout

import (
	"context"
	"fmt"
	"sync"

	"github.com/01b61c5c/failover"
)

// Each calls do for every target, at most limit at a time, and returns nil or failover.Targets with all of them. A target
// whose turn had not come when ctx ended is not begun and reported as failover.NotApplied. A panic in do is reported for its
// target, in doubt. Each returns after the last call has ended.
func Each[T any](ctx context.Context, limit int, targets []T, name func(T) string, do func(context.Context, T) error) error {
	if limit < 1 {
		return failover.Invalid("limit", fmt.Sprintf("is %d", limit), "allow at least one at a time")
	}
	results := make(failover.Targets, len(targets))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(limit, len(targets)) {
		workers.Go(func() {
			for i := range next {
				results[i] = failover.TargetResult{Target: name(targets[i]), Err: one(ctx, targets[i], name, do)}
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	workers.Wait()
	return results.Err()
}

func one[T any](ctx context.Context, target T, name func(T) string, do func(context.Context, T) error) (err error) {
	if cause := context.Cause(ctx); cause != nil {
		return &failover.Error{Op: "begin", Target: name(target), Outcome: failover.NotApplied, Next: "run again for this target",
			Err: fmt.Errorf("not begun: %w", cause)}
	}
	defer func() {
		if v := recover(); v != nil {
			err = &failover.Error{Op: "call", Target: name(target), Outcome: failover.InDoubt, Next: "report this as a defect and observe the target",
				Err: fmt.Errorf("%w with a value of type %T", failover.ErrPanicked, v)}
		}
	}()
	return do(ctx, target)
}
