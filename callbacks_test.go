package failover_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// misbehaviours of foreign code; leave ends what is left behind, so that the test's bubble can end.
func misbehaviours(leave <-chan struct{}) map[string]func() {
	return map[string]func(){
		"panics":  func() { panic("the password is hunter2") },
		"Goexit":  runtime.Goexit,
		"hangs":   func() { <-leave },
		"is late": func() { time.Sleep(3 * time.Minute) },
	}
}

// badLock misbehaves in one of its methods.
type badLock struct {
	failovertest.Lock
	in  string
	act func()
}

func (l *badLock) do(name string) {
	if l.in == name {
		l.act()
	}
}

func (l *badLock) Acquire(ctx context.Context, c failover.Claim) error {
	l.do("acquire")
	return l.Lock.Acquire(ctx, c)
}

func (l *badLock) Check(ctx context.Context, c failover.Claim) error {
	l.do("check")
	return l.Lock.Check(ctx, c)
}

func (l *badLock) Release(ctx context.Context, c failover.Claim) error {
	l.do("release")
	return l.Lock.Release(ctx, c)
}

// Whatever a function of the caller does, the run ends in time, the process lives, and a step that may have acted is in
// doubt.
func TestForeignCodeCannotHarmTheRun(t *testing.T) {
	for _, where := range []string{"observe", "apply", "undo", "probe", "gate", "confirm", "observer", "acquire", "check",
		"release", "logger"} {
		for _, how := range []string{"panics", "Goexit", "hangs", "is late"} {
			t.Run(where+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					leave := make(chan struct{})
					defer func() {
						close(leave)
						time.Sleep(24 * time.Hour) // what was left behind ends
					}()
					act := misbehaviours(leave)[how]
					w := newWorld()
					a, b := w.change("a"), w.once("b")
					manual := failover.Step{ID: "m", Title: "M", Kind: failover.Manual, Help: "Do it."}
					p := procedure(a, manual, b)
					o := options(failovertest.Journal(t))
					o.Confirm = func(context.Context, failover.Request) (failover.Statement, error) {
						return failover.Statement{By: "x", Says: "done", Reason: "did"}, nil
					}
					lock := &badLock{in: where, act: act}
					p.Lock = lock
					switch where {
					case "observe":
						p.Stages[0].Steps[0].Observe = func(context.Context) (failover.Observation, error) {
							act()
							return failover.Observation{},
								nil
						}
					case "apply":
						p.Stages[0].Steps[2].Apply = func(context.Context) error { act(); return nil }
						p.Stages[0].Steps[2].Probe = func(context.Context) (failover.Outcome, error) { return failover.InDoubt, nil }
					case "probe":
						p.Stages[0].Steps[2].Apply = func(context.Context) error { return errLost }
						p.Stages[0].Steps[2].Probe = func(context.Context) (failover.Outcome, error) {
							act()
							return failover.NotApplied, nil
						}
					case "undo":
						p = procedure(a, w.check("no"))
						p.Stages[0].Steps[0].Undo = func(context.Context) error { act(); return nil }
					case "gate":
						o.Gate = func(context.Context, failover.Request) (failover.Approval, error) {
							act()
							return failover.Approval{}, nil
						}
					case "confirm":
						o.Confirm = func(context.Context, failover.Request) (failover.Statement, error) {
							act()
							return failover.Statement{}, nil
						}
					case "observer":
						o.Observer = func(failover.Event) { act() }
						p.Stages[0].Steps[0].WarnAfter = time.Nanosecond
					case "logger":
						o.Logger = slog.New(badHandler{act, slog.NewTextHandler(io.Discard, nil)})
					}
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
					defer cancel()
					ended := make(chan struct{})
					var rep *failover.Report
					var err error
					go func() {
						defer close(ended)
						rep, err = p.Run(ctx, o)
						if where == "undo" {
							rep, err = p.Undo(ctx, o)
						}
					}()
					select {
					case <-ended:
					case <-time.After(30 * time.Minute):
						t.Fatal("the run does not end")
					}
					if err != nil {
						assert.NotContains(t, err.Error(), "hunter2")
					}
					switch where {
					case "gate", "confirm":
						if how != "is late" { // a person may take an hour
							require.Error(t, err)
						}
					case "observer", "logger":
						require.NoError(t, err, "whoever watches is not part of the run")
					case "apply", "probe":
						if how == "is late" && where == "apply" {
							break // it says later that all is well, and nothing shows it: in doubt as well
						}
						require.ErrorIs(t, err, failover.ErrInDoubt)
						assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/b"))
						assert.Contains(t, err.Error(), "b")
					default:
						require.Error(t, err)
					}
				})
			})
		}
	}
}

type badHandler struct {
	act func()
	slog.Handler
}

func (h badHandler) Handle(ctx context.Context, r slog.Record) error {
	h.act()
	return h.Handler.Handle(ctx, r)
}

func (h badHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// A function that is not waited for any more cannot write into the journal.
func TestWhatIsLeftBehindWritesNoFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fact := failover.Fact[int]{Name: "late"}
		w := newWorld()
		s := w.once("a")
		s.Writes = []string{"late"}
		saved := make(chan error, 1)
		s.Apply = func(ctx context.Context) error {
			time.Sleep(time.Hour)
			saved <- fact.Save(ctx, 1)
			return nil
		}
		_, err := procedure(s).Run(t.Context(), options(failovertest.Journal(t)))
		require.ErrorIs(t, err, failover.ErrInDoubt)
		require.ErrorIs(t, err, failover.ErrUnresponsive)
		require.ErrorIs(t, <-saved, failover.ErrPrecondition)
	})
}

func TestASlowObserverLosesProgressAndNoRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.change("a")
		s.Apply = func(ctx context.Context) error {
			for range 10_000 {
				failover.Progress(ctx, "line")
			}
			return w.throw("a")(ctx)
		}
		o := options(failovertest.Journal(t))
		var mu sync.Mutex
		kinds := map[failover.EventKind]int{}
		o.Observer = func(e failover.Event) {
			mu.Lock()
			kinds[e.Kind]++
			mu.Unlock()
			time.Sleep(10 * time.Second)
		}
		began := time.Now()
		rep, err := procedure(s).Run(t.Context(), o)
		require.NoError(t, err)
		assert.Less(t, time.Since(began), time.Minute)
		assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/a"))
		time.Sleep(24 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		assert.Less(t, kinds[failover.EventProgress], 1000)
		assert.Equal(t, 1, kinds[failover.EventRunEnded])
		assert.Equal(t, 1, kinds[failover.EventIntent])
	})
}

func TestAPanicIsLoggedWithoutItsValue(t *testing.T) {
	w := newWorld()
	s := w.change("a")
	s.Apply = func(context.Context) error { panic(errors.New("the password is hunter2")) }
	rep, err := procedure(s).Run(t.Context(), options(failovertest.Journal(t)))
	require.ErrorIs(t, err, failover.ErrPanicked)
	assert.NotContains(t, rep.String(), "hunter2")

	var log bytes.Buffer
	o := options(failovertest.Journal(t))
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.Observer = func(failover.Event) { panic(errors.New("the password is hunter2")) }
	_, err = procedure(w.change("b")).Run(t.Context(), o)
	require.NoError(t, err)
	assert.Contains(t, log.String(), "the observer panicked")
	assert.NotContains(t, log.String(), "hunter2")
}
