// Package waiting waits between two looks.
package waiting

import (
	"context"
	"time"
)

// For returns nil when d has passed, and the cause of the context's end when that comes first.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
