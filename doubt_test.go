package failover_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

func refusal(target string) error {
	return &failover.Error{Op: "change", Target: target, Outcome: failover.NotApplied, Next: "ask",
		Err: errors.New("connection refused")}
}

var errLost = errors.New("reply lost")

// A later refusal says nothing about an earlier attempt whose reply was lost.
func TestALaterRefusalDoesNotCloseADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.change("a")
		seen := true
		observe := s.Observe
		s.Observe = func(ctx context.Context) (failover.Observation, error) {
			if !seen {
				return failover.Observation{}, refusal("a")
			}
			return observe(ctx)
		}
		calls := 0
		s.Apply = func(ctx context.Context) error {
			if calls++; calls == 1 {
				require.NoError(t, w.throw("a")(ctx))
				seen = false
				return errLost
			}
			return refusal("a")
		}
		lock := &failovertest.Lock{}
		p := procedure(s)
		p.Lock = lock
		j := failovertest.Journal(t)
		rep, err := p.Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrInDoubt)
		assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
		assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/a"))
		assert.Equal(t, failover.ResultInDoubt, rep.Result)
		assert.True(t, lock.Held())
		require.Len(t, p.UndoPlan(j).Steps, 1)
		_, err = p.Undo(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrInDoubt, "what cannot be seen may still come")
		seen = true
		rep, err = p.Undo(t.Context(), options(j))
		require.NoError(t, err)
		assert.Equal(t, failover.ResultUndone, rep.Result)
		assert.False(t, w.on["a"])
		assert.False(t, lock.Held())
	})
}

func TestTheGateDoesNotCloseADoubt(t *testing.T) {
	for _, answer := range []error{errors.New("no"), failover.ErrWaiting} {
		synctest.Test(t, func(t *testing.T) {
			store := failovertest.NewStore("gate")
			done := map[string]bool{}
			targets := []string{"s1", "s2", "s3"}
			s := failover.Step{ID: "hold", Title: "Hold", Kind: failover.Change, Poll: time.Millisecond, Timeout: time.Second,
				Observe: func(context.Context) (failover.Observation, error) {
					obs := failover.Observation{Done: true, Found: fmt.Sprint(len(done), " held")}
					for _, target := range targets {
						obs.Items = append(obs.Items, failover.Item{Target: target, Done: done[target]})
						obs.Done = obs.Done && done[target]
					}
					return obs, nil
				},
				Apply: func(context.Context) error {
					done["s1"], done["s2"] = true, true
					store.Kill()
					return errLost
				},
				Undo: func(context.Context) error { clear(done); return nil }}
			p := procedure(s)
			j, err := store.Journal()
			require.NoError(t, err)
			_, err = p.Run(t.Context(), options(j))
			require.ErrorIs(t, err, failovertest.ErrKilled)

			j, err = store.Journal()
			require.NoError(t, err)
			o := options(j)
			o.Gate =
				func(context.Context, failover.Request) (failover.Approval, error) { return failover.Approval{}, answer }
			rep, err := p.Run(t.Context(), o)
			require.ErrorIs(t, err, failover.ErrInDoubt)
			assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/hold"))
			_, err = p.Undo(t.Context(), options(j))
			require.ErrorIs(t, err, failover.ErrInDoubt, "neither all nor nothing is seen")
			assert.Len(t, done, 2)
			require.NoError(t, j.Resolve("s/hold", failover.Applied, "op", "looked: two are held"))
			_, err = p.Undo(t.Context(), options(j))
			require.NoError(t, err)
			assert.Empty(t, done)
		})
	}
}

func TestARunIsRefusedAfterAnUndoHasBegun(t *testing.T) {
	for name, undo := range map[string]func() error{
		"refused":   func() error { return refusal("a") },
		"half done": func() error { return failover.Targets{{Target: "one"}, {Target: "two", Err: refusal("two")}}.Err() },
		"lost":      func() error { return errLost },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				a := w.change("a")
				a.Undo = func(context.Context) error { return undo() }
				p := procedure(a, w.check("no"))
				j := failovertest.Journal(t)
				rep, err := p.Run(t.Context(), options(j))
				require.ErrorIs(t, err, failover.ErrPrecondition)
				assert.Equal(t, failover.ResultPartWay, rep.Result)
				rep, err = p.Undo(t.Context(), options(j))
				require.Error(t, err)
				switch name {
				case "refused":
					assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/a"))
				case "half done":
					assert.Equal(t, failover.StatusPartly, statusOf(t, rep, "s/a"))
					step, _ := rep.Step("s/a")
					assert.Len(t, step.Targets, 2)
					assert.Equal(t, failover.ResultPartWay, rep.Result)
				case "lost":
					assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/a"))
				}
				w.on["no"] = true
				assert.True(t, rep.UndoBegun)
				assert.Contains(t, rep.String(), "an undo was begun: the journal can only be undone")
				_, err = p.Run(t.Context(), options(j))
				require.ErrorIs(t, err, failover.ErrUndone)
				_, err = p.Plan(t.Context(), j)
				require.ErrorIs(t, err, failover.ErrUndone, "what a run refuses is not planned")
				undo = func() error { return w.back("a")(t.Context()) }
				rep, err = p.Undo(t.Context(), options(j))
				require.NoError(t, err, "the undo resumes")
				assert.Equal(t, failover.ResultUndone, rep.Result)
				assert.NotContains(t, rep.String(), "an undo was begun", "it is at its end")
			})
		})
	}
}

// What an undo left open stays open when the next attempt is refused.
func TestARefusedUndoDoesNotCloseAnEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.change("a")
		answers := []error{errLost, refusal("a")}
		a.Undo = func(context.Context) error {
			answer := answers[0]
			answers = answers[1:]
			return answer
		}
		p, lock := procedure(a, w.check("no")), &failovertest.Lock{}
		p.Lock = lock
		j := failovertest.Journal(t)
		_, err := p.Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrPrecondition)
		for len(answers) > 0 {
			rep, err := p.Undo(t.Context(), options(j))
			require.ErrorIs(t, err, failover.ErrInDoubt, "the first undo may still take effect")
			assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/a"))
			assert.Equal(t, failover.ResultInDoubt, rep.Result)
			assert.True(t, lock.Held())
		}
	})
}

// A process that died in the middle of a change has said nothing of how its run ended: what it left is in doubt.
func TestAKilledProcessLeavesItsDoubtInTheResult(t *testing.T) {
	w := newWorld()
	store := failovertest.NewStore("killed")
	a := w.change("a")
	a.Apply = func(context.Context) error { store.Kill(); return failovertest.ErrKilled }
	j, err := store.Journal()
	require.NoError(t, err)
	_, err = procedure(a).Run(t.Context(), options(j))
	require.ErrorIs(t, err, failovertest.ErrKilled)
	_ = j.Close()
	j, err = store.Journal()
	require.NoError(t, err)
	defer func() { _ = j.Close() }()
	rep := j.Report()
	assert.Equal(t, failover.ResultInDoubt, rep.Result)
	assert.Equal(t, failover.ResultInterrupted, rep.Runs[0].Result)
}

// The report says what is known now, also when a person settled it after the run.
func TestThePersonsWordIsInTheResult(t *testing.T) {
	for _, c := range []struct {
		outcome failover.Outcome
		undo    bool
		want    failover.Result
		next    string
	}{
		{failover.Applied, false, failover.ResultPartWay, "run again with the same journal"},
		{failover.NotApplied, false, failover.ResultFailed, "run again with the same journal"},
		{failover.Applied, true, failover.ResultUndone, "undo again with the same journal"},
		{failover.NotApplied, true, failover.ResultPartWay, "undo again with the same journal"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			a := w.change("a")
			lost := func(context.Context) error { return errLost }
			if a.Undo = lost; !c.undo {
				a.Apply, a.Attempts = lost, 1
			}
			p, j := procedure(a), failovertest.Journal(t)
			rep, err := p.Run(t.Context(), options(j))
			if c.undo {
				require.NoError(t, err)
				rep, err = p.Undo(t.Context(), options(j))
			}
			require.ErrorIs(t, err, failover.ErrInDoubt)
			assert.Equal(t, failover.ResultInDoubt, rep.Result)
			require.NoError(t, j.Resolve("s/a", c.outcome, "op", "looked at the target"))
			assert.Equal(t, c.want, j.Report().Result)
			assert.Equal(t, failover.ResultInDoubt, j.Report().Runs[len(rep.Runs)-1].Result, "the run ended as it did")
			assert.Equal(t, c.next, j.Report().Next)
		})
	}
}

func TestAnUndoThatDoesNothingIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.change("a")
		a.Undo = func(context.Context) error { return nil }
		p := procedure(a, w.check("no"))
		j := failovertest.Journal(t)
		_, err := p.Run(t.Context(), options(j))
		require.Error(t, err)
		rep, err := p.Undo(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrNotObserved)
		assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/a"))
		assert.Len(t, p.UndoPlan(j).Steps, 1)
		p.Stages[0].Steps[0].Undo = w.back("a")
		_, err = p.Undo(t.Context(), options(j))
		require.NoError(t, err)
	})
}

func TestWhatUsesUpItsLimitIsStillLookedAt(t *testing.T) {
	for _, kind := range []failover.Kind{failover.Change, failover.Once} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			s := w.change("a")
			if kind == failover.Once {
				s = w.once("a")
			}
			observe, throw := s.Observe, s.Apply
			s.Observe = func(ctx context.Context) (failover.Observation, error) {
				if ctx.Err() != nil {
					return failover.Observation{}, ctx.Err()
				}
				return observe(ctx)
			}
			s.Apply = func(ctx context.Context) error {
				_ = throw(ctx)
				<-ctx.Done()
				return ctx.Err()
			}
			rep, err := procedure(s).Run(t.Context(), options(failovertest.Journal(t)))
			require.NoError(t, err)
			assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/a"))
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.change("a")
		a.Undo = func(ctx context.Context) error {
			_ = w.back("a")(ctx)
			<-ctx.Done()
			return ctx.Err()
		}
		p, j := procedure(a, w.check("no")), failovertest.Journal(t)
		_, err := p.Run(t.Context(), options(j))
		require.Error(t, err)
		_, err = p.Undo(t.Context(), options(j))
		require.NoError(t, err)
	})
}

func TestAFanOutIsJudgedByAllItsMembers(t *testing.T) {
	outcomes := []error{nil, refusal("x"), errLost}
	for _, one := range outcomes {
		for _, two := range outcomes {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				s := w.change("a")
				s.Attempts = 1
				s.Apply = func(context.Context) error {
					return failover.Targets{{Target: "one", Err: one}, {Target: "two", Err: two}}.Err()
				}
				p, j := procedure(s), failovertest.Journal(t)
				rep, err := p.Run(t.Context(), options(j))
				require.Error(t, err, "the wanted state is never seen")
				want := failover.StatusInDoubt
				switch {
				case one != nil && two != nil && failover.OutcomeOf(one) == failover.NotApplied &&
					failover.OutcomeOf(two) == failover.NotApplied:
					want = failover.StatusFailed
				case one == nil && two != nil && failover.OutcomeOf(two) == failover.NotApplied, two == nil && one != nil &&
					failover.OutcomeOf(one) == failover.NotApplied:
					want = failover.StatusPartly
				}
				assert.Equal(t, want, statusOf(t, rep, "s/a"), "%v, %v", one, two)
				assert.Equal(t, want != failover.StatusFailed, len(p.UndoPlan(j).Steps) == 1)
			})
		}
	}
}

func TestAResolvedStepForgetsItsTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.change("a")
		s.Attempts = 1
		s.Apply = func(context.Context) error {
			return failover.Targets{{Target: "one", Err: errLost}, {Target: "two"}}.Err()
		}
		p, j := procedure(s), failovertest.Journal(t)
		_, err := p.Run(t.Context(), options(j))
		require.Error(t, err)
		require.NoError(t, j.Resolve("s/a", failover.NotApplied, "op", "looked"))
		step, _ := j.Report().Step("s/a")
		assert.Empty(t, step.Targets)
		assert.Empty(t, p.UndoPlan(j).Steps)
	})
}

func TestAProvenFiringIsNotResolvedAsNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.once("a")
		s.Apply = func(context.Context) error { return nil }
		p, j := procedure(s), failovertest.Journal(t)
		rep, err := p.Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrNotObserved)
		require.ErrorIs(t, err, failover.ErrInDoubt)
		assert.Equal(t, failover.ResultInDoubt, rep.Result, "it took effect: that is no failure")
		require.ErrorIs(t, j.Resolve("s/a", failover.NotApplied, "op", "looked"), failover.ErrPrecondition)
		require.NoError(t, j.Resolve("s/a", failover.Applied, "op", "looked"))
		_, err = p.Run(t.Context(), options(j))
		require.NoError(t, err)
	})
}

// The words and what is in effect agree, for every pair of what befell two steps and how the run ended.
func TestFailedMeansThatNothingIsInEffect(t *testing.T) {
	ends := map[string]func(w *world, s *failover.Step){
		"refused":  func(w *world, s *failover.Step) { s.Apply = func(context.Context) error { return refusal("b") } },
		"lost":     func(w *world, s *failover.Step) { s.Apply = func(context.Context) error { return errLost } },
		"no state": func(w *world, s *failover.Step) { s.Apply = func(context.Context) error { return nil } },
		"check":    func(w *world, s *failover.Step) { *s = w.check("b") },
		"panic":    func(w *world, s *failover.Step) { s.Apply = func(context.Context) error { panic("oh") } },
	}
	for name, end := range ends {
		for _, first := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				b := w.change("b")
				b.Attempts = 1
				end(w, &b)
				p := procedure(b)
				if first {
					p = procedure(w.change("a"), b)
				}
				rep, err := p.Run(t.Context(), options(failovertest.Journal(t)))
				require.Error(t, err)
				want := failover.ResultInDoubt
				switch {
				case (name == "refused" || name == "check") && first:
					want = failover.ResultPartWay
				case name == "refused", name == "check":
					want = failover.ResultFailed
				}
				assert.Equal(t, want, rep.Result, "%s, first %v", name, first)
			})
		}
	}
}

// A person's word on a firing that no record knows of is not asked for again.
func TestAPersonSettlesAFiringThatCannotBeTold(t *testing.T) {
	w := newWorld()
	s := w.once("macro")
	s.Probe = func(context.Context) (failover.Outcome, error) { return failover.InDoubt, nil }
	p := procedure(w.check("go"), s)
	path := filepath.Join(t.TempDir(), "journal")
	j := openJournal(t, path)
	_, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.NoError(t, j.Close())
	w.on["go"] = true
	j = openJournal(t, path)
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt, "what was read may lack its end: the probe is asked first")
	require.NoError(t, j.Resolve("s/macro", failover.NotApplied, "op", "looked at the target"))
	assert.Equal(t, failover.ResultFailed, j.Report().Result)
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err)
	assert.Equal(t, 1, w.thrown["macro"])
}

// What stands beside a fan-out in an error is as little known as the least known of its targets.
func TestWhatIsLostBesideAFanOutIsInDoubt(t *testing.T) {
	mixed := failover.Targets{{Target: "one"}, {Target: "two", Err: refusal("two")}}.Err()
	for name, err := range map[string]error{
		"joined":   errors.Join(mixed, errLost),
		"in front": errors.Join(errLost, mixed),
		"wrapped": &failover.Error{Op: "both", Outcome: failover.InDoubt,
			Err: fmt.Errorf("%w; and: %w", mixed, errLost)},
		"two fan-outs":  errors.Join(mixed, failover.Targets{{Target: "three", Err: errLost}}.Err()),
		"a bare second": errors.Join(mixed, errors.New("and then the line broke")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				s := w.change("a")
				s.Attempts = 1
				s.Apply = func(context.Context) error { return err }
				rep, err := procedure(s).Run(t.Context(), options(failovertest.Journal(t)))
				require.Error(t, err)
				assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/a"))
				assert.Equal(t, failover.ResultInDoubt, rep.Result)
				assert.GreaterOrEqual(t, len(rep.Steps[0].Targets), 2, "and the targets are named")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.change("a")
		s.Attempts = 1
		s.Apply = func(context.Context) error {
			return errors.Join(mixed, failover.Targets{{Target: "three", Err: refusal("three")}}.Err())
		}
		rep, err := procedure(s).Run(t.Context(), options(failovertest.Journal(t)))
		require.Error(t, err)
		assert.Equal(t, failover.StatusPartly, statusOf(t, rep, "s/a"), "all that is said is proven")
		assert.Len(t, rep.Steps[0].Targets, 3)
	})
}

// A process that dies in an undo leaves a journal that cannot be run.
func TestAKilledUndoIsUndoneAgain(t *testing.T) {
	w := newWorld()
	p, store := procedure(w.change("a"), w.check("no")), failovertest.NewStore("x")
	j, err := store.Journal()
	require.NoError(t, err)
	_, err = p.Run(t.Context(), options(j))
	require.Error(t, err)
	store.KillAt(2, failovertest.DurabilityKept)
	_, err = p.Undo(t.Context(), options(j))
	require.ErrorIs(t, err, failovertest.ErrKilled)
	again, err := store.Journal()
	require.NoError(t, err)
	defer func() { _ = again.Close() }()
	assert.Equal(t, "undo again with the same journal", again.Report().Next)
}

// A target that was changed and is missing in what is seen after the undo was not looked at.
func TestATargetThatIsNoLongerListedIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on, listed := map[string]bool{}, []string{"a", "b"}
		s := failover.Step{ID: "both", Title: "Switch both on", Kind: failover.Change, Timeout: 5 * time.Second,
			Observe: func(context.Context) (failover.Observation, error) {
				obs := failover.Observation{Done: true}
				for _, target := range listed {
					obs.Items = append(obs.Items, failover.Item{Target: target, Done: on[target]})
					obs.Done = obs.Done && on[target]
				}
				return obs, nil
			},
			Apply: func(context.Context) error { on["a"], on["b"] = true, true; return nil },
			Undo:  func(context.Context) error { on["a"], listed = false, []string{"a"}; return nil }}
		p, j := procedure(s), failovertest.Journal(t)
		_, err := p.Run(t.Context(), options(j))
		require.NoError(t, err)
		rep, err := p.Undo(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrNotObserved)
		assert.ErrorContains(t, err, "b")
		assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/both"))
	})
}

// What could not be kept for a later step says nothing of what was changed before.
func TestAFactThatIsNotSavedDoesNotMakeAChangeUndone(t *testing.T) {
	for _, seen := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			s := w.change("a")
			observe := s.Observe
			s.Observe = func(ctx context.Context) (failover.Observation, error) {
				if w.on["a"] && !seen {
					return failover.Observation{}, refusal("a")
				}
				return observe(ctx)
			}
			s.Apply = func(ctx context.Context) error {
				require.NoError(t, w.throw("a")(ctx))
				return failover.Fact[int]{Name: "nobody/declared"}.Save(ctx, 1)
			}
			rep, err := procedure(s, w.change("b")).Run(t.Context(), options(failovertest.Journal(t)))
			require.ErrorContains(t, err, "nobody/declared")
			require.False(t, w.on["b"])
			want := map[bool]failover.StepStatus{true: failover.StatusApplied, false: failover.StatusInDoubt}[seen]
			assert.Equal(t, want, statusOf(t, rep, "s/a"))
		})
	}
}

// Nothing begins once the run was asked to end, also when the answer of a person comes after that.
func TestNothingBeginsOnceTheRunWasAskedToEnd(t *testing.T) {
	for _, how := range []string{"context", "stop"} {
		for _, what := range []string{"change", "once", "undo"} {
			t.Run(how+" "+what, func(t *testing.T) {
				w := newWorld()
				s := w.change("a")
				if what == "once" {
					s = w.once("a")
				}
				p, j := procedure(s), failovertest.Journal(t)
				do := p.Run
				if what == "undo" {
					_, err := p.Run(t.Context(), options(j))
					require.NoError(t, err)
					do = p.Undo
				}
				before := w.thrown["a"] + len(w.undone)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stop, o := make(chan struct{}), options(j)
				o.Stop = stop
				o.Gate = func(context.Context, failover.Request) (failover.Approval, error) {
					if how == "stop" {
						close(stop)
					} else {
						cancel()
					}
					return failover.Approval{By: "Eva"}, nil
				}
				rep, err := do(ctx, o)
				require.Error(t, err)
				assert.NotErrorIs(t, err, failover.ErrInDoubt)
				assert.Equal(t, before, w.thrown["a"]+len(w.undone), "nothing was called")
				assert.NotEqual(t, failover.ResultInDoubt, rep.Result)
			})
		}
	}
}

// releaseLost is a lock whose answer to a release is lost.
type releaseLost struct{ failovertest.Lock }

func (l *releaseLost) Release(ctx context.Context, c failover.Claim) error {
	_ = l.Lock.Release(ctx, c)
	return errLost
}

func TestALostAnswerToTheReleaseIsLookedAt(t *testing.T) {
	lock := &releaseLost{}
	p := procedure(newWorld().change("a"))
	p.Lock = lock
	rep, err := p.Run(t.Context(), options(failovertest.Journal(t)))
	require.NoError(t, err)
	assert.Equal(t, failover.ResultCompleted, rep.Result)
}

// A journal that lost its end does not know of a firing, neither behind what it knows nor behind a refusal: no run fires
// again, and no undo takes back what stands before it.
func TestALostTailIsNotBelieved(t *testing.T) {
	for _, known := range []string{"refused", "not begun"} {
		for _, undo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s undo %v", known, undo), func(t *testing.T) {
				w := newWorld()
				s := w.once("macro")
				refuse := true
				s.Apply = func(ctx context.Context) error {
					if refuse {
						return refusal("macro")
					}
					return w.throw("macro")(ctx)
				}
				s.Observe = func(context.Context) (failover.Observation, error) {
					return failover.Observation{Found: "the old roles"}, nil // it takes hours
				}
				s.Timeout = 10 * time.Millisecond
				p, store := procedure(w.change("hold"), w.check("go"), s), failovertest.NewStore("disk")
				w.on["go"] = known == "refused"
				do := func(do func(context.Context, failover.RunOptions) (*failover.Report, error)) error {
					j, err := store.Journal()
					require.NoError(t, err)
					defer func() { require.NoError(t, j.Close()) }()
					_, err = do(t.Context(), options(j))
					return err
				}
				require.Error(t, do(p.Run))
				before := bytes.Count(store.Bytes(), []byte("\n"))
				refuse, w.on["go"] = false, true
				require.ErrorIs(t, do(p.Run), failover.ErrNotObserved)
				require.Equal(t, 1, w.thrown["macro"])
				store.Cut(bytes.Count(store.Bytes(), []byte("\n")) - before)
				if undo {
					require.ErrorIs(t, do(p.Undo), failover.ErrIrreversible)
					assert.True(t, w.on["hold"])
					return
				}
				require.ErrorIs(t, do(p.Run), failover.ErrNotObserved)
				assert.Equal(t, 1, w.thrown["macro"])
			})
		}
	}
}

// The undo of a journal that may lack its end asks a person where the target cannot tell of a firing.
func TestAnUndoAsksAboutAFiringThatCannotBeTold(t *testing.T) {
	w := newWorld()
	s := w.once("macro")
	s.Probe = func(context.Context) (failover.Outcome, error) { return failover.InDoubt, nil }
	p, path := procedure(w.change("hold"), w.check("go"), s), filepath.Join(t.TempDir(), "journal")
	j := openJournal(t, path)
	_, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.NoError(t, j.Close())
	j = openJournal(t, path)
	rep, err := p.Undo(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	assert.Equal(t, failover.ResultInDoubt, rep.Result)
	assert.True(t, w.on["hold"])
	require.NoError(t, j.Resolve("s/macro", failover.NotApplied, "op", "looked at the target"))
	_, err = p.Undo(t.Context(), options(j))
	require.NoError(t, err)
	assert.False(t, w.on["hold"])
}

// A step that is being applied right now looks like one in doubt. Nobody can have looked at what it is going to leave:
// a word that it was not applied would let a Once be fired again if the process died then.
func TestWhatIsUnderWayCannotBeResolved(t *testing.T) {
	w, j := newWorld(), journal(t)
	s := w.once("a")
	fire := s.Apply
	s.Apply = func(ctx context.Context) error {
		assert.ErrorIs(t, j.Resolve("s/a", failover.NotApplied, "ann", "looked"), failover.ErrJournalBusy)
		assert.ErrorIs(t, j.Close(), failover.ErrJournalBusy, "the next holder would find it so, too")
		return fire(ctx)
	}
	rep, err := procedure(s).Run(t.Context(), options(j))
	require.NoError(t, err)
	assert.Empty(t, rep.Decisions)
	require.NoError(t, j.Close())
}

// What somebody agreed to take back is looked at again behind the answer, which may have taken an hour, as a change is.
func TestAnUndoThatFindsSomethingElseIsAskedAboutAgain(t *testing.T) {
	w, j, found := newWorld(), journal(t), "two schedules"
	s := w.change("a")
	look := s.Observe
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		obs, err := look(ctx)
		obs.Found = found
		return obs, err
	}
	p := procedure(s)
	_, err := p.Run(t.Context(), options(j))
	require.NoError(t, err)
	var asked []string
	o := options(j)
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		asked = append(asked, q.Observation.Found)
		found = "three schedules"
		return failover.Approval{}, nil
	}
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, []string{"two schedules", "three schedules"}, asked)
}
