// Package fanout does one thing for many targets with a limit and brings all failures back together.
package fanout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-multierror"

	"github.com/01b61c5c/failover"
)

// Errors holds the failures of a fan-out, one per target, sorted by target. errors.Is and errors.As look at all of
// them; failover.OutcomeOf gives their common outcome.
type Errors struct {
	list []TargetError
}

// TargetError is the failure for one target.
type TargetError struct {
	Target string
	Err    error
}

// Error returns "target: cause".
func (e TargetError) Error() string { return e.Target + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e TargetError) Unwrap() error { return e.Err }

// Error lists every target and its cause, one a line.
func (e *Errors) Error() string { return e.multi().Error() }

// Unwrap returns the failures in order.
func (e *Errors) Unwrap() []error { return e.multi().WrappedErrors() }

// Targets returns the targets that failed, sorted.
func (e *Errors) Targets() []string {
	names := make([]string, len(e.list))
	for i, t := range e.list {
		names[i] = t.Target
	}
	return names
}

func (e *Errors) multi() *multierror.Error {
	m := &multierror.Error{ErrorFormat: format}
	for _, t := range e.list {
		m.Errors = append(m.Errors, t) // not multierror.Append: it would flatten a target's own list
	}
	return m
}

func format(errs []error) string {
	lines := make([]string, len(errs))
	for i, err := range errs {
		lines[i] = err.Error()
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return fmt.Sprintf("%d failed:\n  %s", len(lines), strings.Join(lines, "\n  "))
}

// Each calls do for every target, at most limit at a time, and returns nil or *Errors. A target whose turn had not
// come when ctx ended is not begun and reported as failover.NotApplied. A panic in do is reported for its target,
// in doubt. Each returns after the last call has ended.
func Each[T any](ctx context.Context, limit int, targets []T, name func(T) string, do func(context.Context, T) error) error {
	if limit < 1 {
		return failover.Invalid("limit", fmt.Sprintf("is %d", limit), "allow at least one at a time")
	}
	errs := make([]error, len(targets))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(limit, len(targets)) {
		workers.Go(func() {
			for i := range next {
				errs[i] = one(ctx, targets[i], name, do)
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	workers.Wait()
	var list []TargetError
	for i, err := range errs {
		if err != nil {
			list = append(list, TargetError{Target: name(targets[i]), Err: err})
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b TargetError) int { return strings.Compare(a.Target, b.Target) })
	return &Errors{list: list}
}

func one[T any](ctx context.Context, target T, name func(T) string, do func(context.Context, T) error) (err error) {
	if cause := context.Cause(ctx); cause != nil {
		return &failover.Error{Op: "begin", Target: name(target), Outcome: failover.NotApplied, Next: "run again for this target",
			Err: fmt.Errorf("not begun: %w", cause)}
	}
	defer func() {
		if v := recover(); v != nil {
			err = &failover.Error{Op: "call", Target: name(target), Outcome: failover.InDoubt, Next: "report this as a defect and observe the target",
				Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	return do(ctx, target)
}
