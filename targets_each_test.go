package failover_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

func self(s string) string { return s }

func failedTargets(t *testing.T, err error) (names []string) {
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
	err := failover.EachTarget(t.Context(), 2, []string{"c", "a", "b", "d"}, self,
		func(_ context.Context, target string) error {
			switch target {
			case "b":
				return cause
			case "c":
				return &failover.Error{Op: "hold", Target: "c", Outcome: failover.NotApplied,
					Err: errors.Join(io.EOF, io.ErrClosedPipe)}
			}
			return nil
		})
	require.Equal(t, []string{"b", "c"}, failedTargets(t, err))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), 2, "a target's own list stays one failure")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "two were done, two were not")
	require.Regexp(t, `^2 of 4 targets: b: .*; c: `, err.Error())
}

func TestOutcomesThatDisagreeAreInDoubt(t *testing.T) {
	err := failover.EachTarget(t.Context(), 2, []string{"a", "b"}, self, func(_ context.Context, target string) error {
		return &failover.Error{Target: target,
			Outcome: map[string]failover.Outcome{"a": failover.NotApplied, "b": failover.InDoubt}[target], Err: io.EOF}
	})
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
}

func TestTargetsWithoutAFailureAreNil(t *testing.T) {
	require.NoError(t, failover.EachTarget(t.Context(), 3, []string{"a"}, self,
		func(context.Context, string) error { return nil }))
	require.NoError(t, failover.EachTarget(t.Context(), 3, nil, self,
		func(context.Context, string) error { return io.EOF }))
	require.ErrorIs(t, failover.EachTarget(t.Context(), 0, []string{"a"}, self, nil), failover.ErrInvalid)
}

func TestTargetsAreWorkedOnWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		targets := make([]int, 20)
		begun := time.Now()
		err := failover.EachTarget(t.Context(), 4, targets, func(n int) string { return fmt.Sprint(n) },
			func(context.Context, int) error {
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
	err := failover.EachTarget(ctx, 1, []string{"a", "b", "c"}, self, func(context.Context, string) error {
		calls++
		cancel(stop)
		return nil
	})
	require.Equal(t, 1, calls)
	require.Equal(t, []string{"b", "c"}, failedTargets(t, err))
	require.ErrorIs(t, err, stop)
}

func TestAPanicIsOneTargetsFailure(t *testing.T) {
	err := failover.EachTarget(t.Context(), 2, []string{"a", "b"}, self, func(_ context.Context, target string) error {
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

// The same step, made for three targets: one is refused, one cannot be seen.
func TestAStepOverManyTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on, hidden, refuses := map[string]bool{}, map[string]bool{}, map[string]bool{"b": true}
		set := func(to bool) func(context.Context, string) error {
			return func(_ context.Context, target string) error {
				if refuses[target] {
					return refusal(target)
				}
				on[target] = to
				return nil
			}
		}
		s := failover.PerTarget{Targets: []string{"c", "b", "a"}, Wanted: "stopped", Would: "stop them",
			Name: strings.ToUpper,
			Observe: func(_ context.Context, target string) (failover.Item, error) {
				if hidden[target] {
					return failover.Item{}, errLost
				}
				return failover.Item{Done: on[target], Found: map[bool]string{true: "off", false: "running"}[on[target]]}, nil
			},
			Apply: set(true), Undo: set(false),
		}.Step(failover.Step{ID: "stop", Title: "Stop them", Kind: failover.Change, Timeout: time.Second, Poll: time.Second,
			Attempts: 1})
		p, j := procedure(s), failovertest.Journal(t)
		rep, err := p.Run(t.Context(), options(j))
		require.Equal(t, []string{"b"}, failedTargets(t, err))
		step, _ := rep.Step("s/stop")
		require.Equal(t, failover.StatusPartly, step.Status)
		obs, err := s.Observe(t.Context())
		require.NoError(t, err)
		require.Equal(t, "2 of 3 stopped: B running", obs.Found)
		require.Equal(t, "stop them", obs.Would)
		require.Equal(t, []failover.Item{{Target: "c", Done: true, Found: "off"}, {Target: "b", Found: "running"},
			{Target: "a", Done: true, Found: "off"}}, obs.Items)

		hidden["a"], refuses["b"] = true, false
		rep, err = p.Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrNotObserved, "what cannot be seen is not done")
		require.Equal(t, failover.ResultInDoubt, rep.Result)
		hidden["b"], hidden["c"] = true, true
		_, err = s.Observe(t.Context())
		require.Equal(t, []string{"a", "b", "c"}, failedTargets(t, err), "nothing was seen at all")
		clear(hidden)
		_, err = p.Run(t.Context(), options(j))
		require.NoError(t, err)
		_, err = p.Undo(t.Context(), options(j))
		require.NoError(t, err)
		require.Equal(t, map[string]bool{"a": false, "b": false, "c": false}, on)
	})
}

func TestAnEndedGoroutineIsOneTargetsFailure(t *testing.T) {
	for _, limit := range []int{1, 2} {
		err := failover.EachTarget(t.Context(), limit, []string{"a", "b", "c", "d"}, self,
			func(_ context.Context, s string) error {
				if s != "d" {
					runtime.Goexit()
				}
				return nil
			})
		require.ErrorIs(t, err, failover.ErrPanicked)
		assert.Equal(t, []string{"a", "b", "c"}, failedTargets(t, err))
		assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	}
}

// A target that cannot be looked at is not one on which nothing is left.
func TestATargetThatCannotBeObservedIsNotUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on, blind := map[string]bool{}, false
		s := failover.PerTarget{Targets: []string{"a", "b"}, Wanted: "on",
			Observe: func(_ context.Context, target string) (failover.Item, error) {
				if blind && target == "b" {
					return failover.Item{}, errors.New("no route to host")
				}
				return failover.Item{Done: on[target], Found: fmt.Sprint(on[target])}, nil
			},
			Apply: func(_ context.Context, target string) error {
				on[target] = true
				return nil
			},
			Undo: func(_ context.Context, target string) error {
				on[target], blind = target == "b", true // b answers that it is done, and does nothing
				return nil
			}}.Step(failover.Step{ID: "a", Title: "Turn them on", Kind: failover.Change})
		p, j := procedure(s), failovertest.Journal(t)
		_, err := p.Run(t.Context(), options(j))
		require.NoError(t, err)
		rep, err := p.Undo(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrNotObserved)
		assert.Equal(t, failover.ResultInDoubt, rep.Result)
		assert.True(t, on["b"])
	})
}

func TestTargetsWithoutAFailureHaveText(t *testing.T) {
	assert.NotPanics(t, func() { _ = failover.Targets{{Target: "a"}}.Error() })
	assert.NotPanics(t, func() { _ = failover.Targets{}.Error() })
}

// What was as wanted before the run is not the run's to take back.
func TestAnUndoLeavesAloneWhatWasSoBefore(t *testing.T) {
	for _, look := range []string{"observe", "undone"} {
		t.Run(look, func(t *testing.T) {
			stopped := map[string]bool{"b": true}
			per := failover.PerTarget{Targets: []string{"a", "b"}, Wanted: "stopped",
				Observe: func(_ context.Context, target string) (failover.Item, error) {
					return failover.Item{Done: stopped[target], Found: fmt.Sprint(stopped[target])}, nil
				},
				Apply: func(_ context.Context, target string) error { stopped[target] = true; return nil },
				Undo:  func(_ context.Context, target string) error { stopped[target] = false; return nil }}
			if look == "undone" {
				per.Undone = func(_ context.Context, target string) (failover.Item, error) {
					return failover.Item{Done: !stopped[target], Found: fmt.Sprint(stopped[target])}, nil
				}
			}
			p, err := failover.Join(failover.JoinOptions{Name: "site"}, failover.Part{Name: "one", Procedure: procedure(
				per.Step(failover.Step{ID: "stop", Title: "Stop them", Kind: failover.Change, Timeout: 50 * time.Millisecond}))})
			require.NoError(t, err)
			j := failovertest.Journal(t)
			_, err = p.Run(t.Context(), options(j))
			require.NoError(t, err)
			_, err = p.Undo(t.Context(), options(j))
			require.NoError(t, err)
			assert.Equal(t, map[string]bool{"a": false, "b": true}, stopped)
		})
	}
}
