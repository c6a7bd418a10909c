package failover

import (
	"context"
	"fmt"
	"time"

	"github.com/01b61c5c/failover/internal/waiting"
)

// grace is how long a function may go on when its context has ended before the run stops waiting for it.
const grace = 2 * time.Second

// call runs a function that is not ours on a goroutine of its own. It returns when the function does, and soon after
// ctx has ended also when the function does not: then with ErrUnresponsive, and the goroutine is left behind. A panic
// or an ended goroutine is ErrPanicked; its value stays out of the error, since it may hold anything.
func call[T any](ctx context.Context, what string, fn func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		returned := false
		defer func() {
			if v := recover(); v != nil {
				a.err = fmt.Errorf("%s: %w with a value of type %T", what, ErrPanicked, v)
			} else if !returned {
				a.err = fmt.Errorf("%s: %w: it ended its goroutine", what, ErrPanicked)
			}
			done <- a
		}()
		a.value, a.err = fn(ctx)
		returned = true
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case a := <-done:
		return a.value, a.err
	case <-patience.C:
	}
	var none T
	return none, fmt.Errorf("%s: %w: %w", what, ErrUnresponsive, context.Cause(ctx))
}

// do is call for a function that returns an error only.
func do(ctx context.Context, what string, fn func(context.Context) error) error {
	_, err := call(ctx, what, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	return waiting.For(ctx, d)
}
