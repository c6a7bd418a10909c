package fanout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func self(s string) string { return s }

func failed(t *testing.T, err error) (names []string) {
	t.Helper()
	var all failover.Targets
	require.ErrorAs(t, err, &all)
	for _, r := range all {
		if r.Err != nil {
			names = append(names, r.Target)
		}
	}
	return names
}

func TestFailuresComeBackTogetherAndSorted(t *testing.T) {
	cause := &failover.Error{Op: "hold", Target: "b", Outcome: failover.NotApplied, Err: io.ErrUnexpectedEOF}
	err := Each(t.Context(), 2, []string{"c", "a", "b", "d"}, self, func(_ context.Context, target string) error {
		switch target {
		case "b":
			return cause
		case "c":
			return &failover.Error{Op: "hold", Target: "c", Outcome: failover.NotApplied, Err: errors.Join(io.EOF, io.ErrClosedPipe)}
		}
		return nil
	})
	require.Equal(t, []string{"b", "c"}, failed(t, err))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), 2, "a target's own list stays one failure")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "two were done, two were not")
	require.Regexp(t, `^2 of 4 targets: b: .*; c: `, err.Error())
}

func TestOutcomesThatDisagreeAreInDoubt(t *testing.T) {
	err := Each(t.Context(), 2, []string{"a", "b"}, self, func(_ context.Context, target string) error {
		return &failover.Error{Target: target, Outcome: map[string]failover.Outcome{"a": failover.NotApplied, "b": failover.InDoubt}[target], Err: io.EOF}
	})
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
}

func TestNothingWrongIsNil(t *testing.T) {
	require.NoError(t, Each(t.Context(), 3, []string{"a"}, self, func(context.Context, string) error { return nil }))
	require.NoError(t, Each(t.Context(), 3, nil, self, func(context.Context, string) error { return io.EOF }))
	require.ErrorIs(t, Each(t.Context(), 0, []string{"a"}, self, nil), failover.ErrInvalid)
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		targets := make([]int, 20)
		begun := time.Now()
		err := Each(t.Context(), 4, targets, func(n int) string { return fmt.Sprint(n) }, func(context.Context, int) error {
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		})
		require.NoError(t, err)
		require.EqualValues(t, 4, most.Load())
		require.Equal(t, 5*time.Second, time.Since(begun))
	})
}

func TestWhatWasNotBegunIsNotApplied(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	calls := 0
	err := Each(ctx, 1, []string{"a", "b", "c"}, self, func(context.Context, string) error {
		calls++
		cancel(stop)
		return nil
	})
	require.Equal(t, 1, calls)
	require.Equal(t, []string{"b", "c"}, failed(t, err))
	require.ErrorIs(t, err, stop)
}

func TestAPanicIsOneTargetsFailure(t *testing.T) {
	err := Each(t.Context(), 2, []string{"a", "b"}, self, func(_ context.Context, target string) error {
		if target == "a" {
			panic("boom")
		}
		return nil
	})
	require.ErrorContains(t, err, "a: ")
	require.ErrorIs(t, err, failover.ErrPanicked)
	require.NotContains(t, err.Error(), "boom")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
}
