package failover_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is what the test procedures act on: named switches, and a count of how often each was thrown.
type world struct {
	on     map[string]bool
	thrown map[string]int
	undone []string
}

func newWorld() *world { return &world{on: map[string]bool{}, thrown: map[string]int{}} }

func (w *world) observe(name string) func(context.Context) (failover.Observation, error) {
	return func(context.Context) (failover.Observation, error) {
		return failover.Observation{Done: w.on[name], Found: fmt.Sprintf("%s is %v", name, w.on[name]),
			Would: "throw " + name}, nil
	}
}

func (w *world) throw(name string) func(context.Context) error {
	return func(context.Context) error {
		w.on[name] = true
		w.thrown[name]++
		return nil
	}
}

func (w *world) back(name string) func(context.Context) error {
	return func(context.Context) error {
		w.on[name] = false
		w.undone = append(w.undone, name)
		return nil
	}
}

func (w *world) change(name string) failover.Step {
	return failover.Step{ID: name, Title: "Throw " + name, Target: "box", Kind: failover.Change, Timeout: time.Second,
		Poll:    time.Millisecond,
		Observe: w.observe(name), Apply: w.throw(name), Undo: w.back(name)}
}

func (w *world) once(name string) failover.Step {
	return failover.Step{ID: name, Title: "Fire " + name, Target: "box", Kind: failover.Once, Timeout: time.Second,
		Poll:    time.Millisecond,
		Observe: w.observe(name), Apply: w.throw(name),
		Probe: func(context.Context) (failover.Outcome, error) {
			if w.on[name] {
				return failover.Applied, nil
			}
			return failover.NotApplied, nil
		}}
}

func (w *world) check(name string) failover.Step {
	return failover.Step{ID: name, Title: "Check " + name, Kind: failover.Check, Observe: w.observe(name)}
}

func procedure(steps ...failover.Step) failover.Procedure {
	return failover.Procedure{Name: "test", Stages: []failover.Stage{{Name: "s", Steps: steps}}}
}

// downWhile is a procedure during whose steps the service is down.
func downWhile(steps ...failover.Step) failover.Procedure {
	return failover.Procedure{Name: "test", Stages: []failover.Stage{{Name: "down", Outage: true, Steps: steps}}}
}

func openJournal(t *testing.T, path string) *failover.Journal {
	t.Helper()
	j, err := failovertest.JournalAt(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func journal(t *testing.T) *failover.Journal {
	t.Helper()
	return openJournal(t, filepath.Join(t.TempDir(), "journal"))
}

func options(j *failover.Journal) failover.RunOptions {
	return failover.RunOptions{Journal: j, Actor: "tester", Reason: "test"}
}

func statusOf(t *testing.T, rep *failover.Report, id string) failover.StepStatus {
	t.Helper()
	s, ok := rep.Step(id)
	require.True(t, ok, "no step %s", id)
	return s.Status
}

func TestRunAppliesOnlyWhatIsNotSoAndRunningAgainDoesNothing(t *testing.T) {
	w := newWorld()
	w.on["check"], w.on["b"] = true, true
	p := procedure(w.check("check"), w.change("a"), w.change("b"), w.once("c"))
	j := journal(t)

	rep, err := p.Run(t.Context(), options(j))
	require.NoError(t, err)
	assert.Equal(t, failover.ResultCompleted, rep.Result)
	assert.Equal(t, failover.StatusAlready, statusOf(t, rep, "s/check"))
	assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/a"))
	assert.Equal(t, failover.StatusAlready, statusOf(t, rep, "s/b"))
	assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/c"))
	assert.Equal(t, map[string]int{"a": 1, "c": 1}, w.thrown)

	w.on["a"], w.on["c"] = false, false
	rep, err = p.Run(t.Context(), options(j))
	require.NoError(t, err)
	assert.Len(t, rep.Runs, 2)
	assert.Equal(t, map[string]int{"a": 1, "c": 1}, w.thrown, "completed steps are skipped")
}

func TestPlanChangesNothingAndHashesWhatWasFound(t *testing.T) {
	w := newWorld()
	p := failover.Procedure{Name: "test",
		Stages: []failover.Stage{{Name: "before", Steps: []failover.Step{w.check("check")}},
			{Name: "down", Outage: true, Steps: []failover.Step{w.change("a"), w.once("c")}}}}
	first, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, w.thrown)
	assert.Equal(t, failover.ActionBlock, first.Steps[0].Action)
	assert.Equal(t, failover.ActionApply, first.Steps[1].Action)
	assert.True(t, first.Steps[1].Outage)
	assert.False(t, first.Steps[2].CanUndo)
	point, ok := first.PointOfNoReturn()
	assert.True(t, ok)
	assert.Equal(t, "down/c", point.ID)
	assert.Contains(t, first.String(), "Would stop at: Check check")
	behind, err := procedure(w.change("a"), w.check("check")).Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, failover.ActionLater, behind.Steps[1].Action, "the change before it may bring it about")
	assert.Empty(t, behind.Blockers())
	assert.Contains(t, behind.String(), "Does not hold yet: Check check")

	again, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, first.Findings, again.Findings)

	w.on["a"] = true
	moved, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, first.Definition, moved.Definition)
	assert.NotEqual(t, first.Findings, moved.Findings)

	o := options(journal(t))
	o.Approved = first.Findings
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged)
	assert.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	assert.Empty(t, w.thrown)

	w.on["check"] = true
	good, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	o = options(journal(t))
	o.Approved = good.Findings
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
}

func TestWhatIsWaitedForVoidsNoApproval(t *testing.T) {
	w := newWorld()
	idle := w.check("idle")
	idle.Wait, idle.Timeout, idle.Poll = true, time.Second, time.Millisecond
	p := procedure(idle, w.change("a"))
	busy, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, failover.ActionWait, busy.Steps[0].Action)
	w.on["idle"] = true
	o := options(journal(t))
	o.Approved = busy.Findings
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err, "a job that has ended meanwhile is what was waited for")
}

func TestAllChecksOfABlockAreReportedTogether(t *testing.T) {
	w := newWorld()
	firm := w.check("firm")
	firm.Firm = true
	p := procedure(w.check("one"), firm, w.check("three"), w.change("a"))
	rep, err := p.Run(t.Context(), options(journal(t)))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	assert.Equal(t, 3, rep.Count(failover.StatusFailed))
	assert.Empty(t, w.thrown)

	o := options(journal(t))
	o.Waive = map[string]string{"s/firm": "hurry"}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrInvalid)

	w.on["firm"] = true
	o = options(journal(t))
	o.Waive = map[string]string{"s/one": "known", "s/three": "known too"}
	rep, err = p.Run(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, failover.StatusWaived, statusOf(t, rep, "s/one"))
	assert.Equal(t, 1, w.thrown["a"])
}

func TestOnceInDoubt(t *testing.T) {
	lost := &failover.Error{Op: "fire", Target: "box", Outcome: failover.InDoubt, Err: errors.New("line lost")}
	tests := []struct {
		name       string
		effect     bool             // the effect took place although the reply was lost
		probe      failover.Outcome // what the probe says
		probeErr   error
		wantErr    error
		wantStatus failover.StepStatus
	}{
		{"effect, probe knows", true, failover.Applied, nil, nil, failover.StatusApplied},
		{"no effect, probe knows", false, failover.NotApplied, nil, lost, failover.StatusFailed},
		{"effect, probe does not know", true, failover.InDoubt, nil, failover.ErrInDoubt, failover.StatusInDoubt},
		{"effect, probe fails", true, failover.NotApplied, assert.AnError, failover.ErrInDoubt, failover.StatusInDoubt},
		{"fired without the wanted state", false, failover.Applied, nil, failover.ErrNotObserved, failover.StatusInDoubt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			s := w.once("macro")
			s.Timeout = 20 * time.Millisecond
			fired := 0
			s.Apply = func(context.Context) error {
				fired++
				w.on["macro"] = tt.effect
				return lost
			}
			s.Probe = func(context.Context) (failover.Outcome, error) { return tt.probe, tt.probeErr }
			j := journal(t)
			rep, err := procedure(s).Run(t.Context(), options(j))
			if tt.wantErr == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.wantErr)
				assert.NotEmpty(t, failover.NextOf(err))
			}
			assert.Equal(t, tt.wantStatus, statusOf(t, rep, "s/macro"))

			_, err = procedure(s).Run(t.Context(), options(j))
			switch {
			case tt.wantStatus == failover.StatusFailed:
				assert.Equal(t, 2, fired, "proven not to have fired: it may be fired")
			case tt.wantErr != nil:
				require.ErrorIs(t, err, tt.wantErr)
				fallthrough
			default:
				assert.Equal(t, 1, fired, "never fired twice")
			}
		})
	}
}

func TestResolveLetsTheRunGoOn(t *testing.T) {
	for _, outcome := range []failover.Outcome{failover.Applied, failover.NotApplied} {
		t.Run(outcome.String(), func(t *testing.T) {
			w := newWorld()
			s := w.once("macro")
			fired := 0
			s.Apply = func(context.Context) error {
				if fired++; fired == 1 {
					return errors.New("says nothing about its outcome")
				}
				w.on["macro"] = true
				return nil
			}
			s.Probe = func(context.Context) (failover.Outcome, error) { return failover.InDoubt, nil }
			p := procedure(s, w.change("after"))
			j := journal(t)
			_, err := p.Run(t.Context(), options(j))
			require.ErrorIs(t, err, failover.ErrInDoubt)
			require.ErrorIs(t, j.Resolve("s/after", outcome, "op", "looked"), failover.ErrPrecondition)
			require.ErrorIs(t, j.Resolve("s/nonsense", outcome, "op", "looked"), failover.ErrInvalid)
			require.ErrorIs(t, j.Resolve("s/macro", failover.InDoubt, "op", "looked"), failover.ErrInvalid)
			require.ErrorIs(t, j.Resolve("s/macro", outcome, "", "looked"), failover.ErrInvalid)
			require.NoError(t, j.Resolve("s/macro", outcome, "op", "looked"))
			rep, err := p.Run(t.Context(), options(j))
			require.NoError(t, err)
			assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/macro"))
			assert.Equal(t, map[failover.Outcome]int{failover.Applied: 1, failover.NotApplied: 2}[outcome], fired)
			assert.Equal(t, 1, w.thrown["after"])
		})
	}
}

func TestChangeIsAppliedUntilItHolds(t *testing.T) {
	w := newWorld()
	s := w.change("a")
	calls := 0
	s.Apply = func(context.Context) error {
		if calls++; calls < 3 {
			return &failover.Error{Op: "apply", Outcome: failover.NotApplied, Err: errors.New("busy")}
		}
		w.on["a"] = true
		return nil
	}
	rep, err := procedure(s).Run(t.Context(), options(journal(t)))
	require.NoError(t, err)
	assert.Equal(t, 3, calls)
	got, _ := rep.Step("s/a")
	assert.Equal(t, 3, got.Attempts)

	calls = 0
	w.on["a"] = false
	s.Apply = func(context.Context) error {
		calls++
		return &failover.Error{Op: "apply", Outcome: failover.NotApplied, Err: failover.ErrRejected}
	}
	_, err = procedure(s).Run(t.Context(), options(journal(t)))
	require.ErrorIs(t, err, failover.ErrRejected)
	assert.Equal(t, 1, calls, "a refusal is not repeated")

	s.Timeout = 10 * time.Millisecond
	s.Apply = func(context.Context) error { return nil }
	rep, err = procedure(s).Run(t.Context(), options(journal(t)))
	require.ErrorIs(t, err, failover.ErrNotObserved)
	assert.Equal(t, failover.StatusInDoubt, statusOf(t, rep, "s/a"))
}

func TestUndoTakesBackInReverseAndStopsAtTheOnce(t *testing.T) {
	w := newWorld()
	w.on["held before"] = true
	p := procedure(w.change("a"), w.change("held before"), w.change("b"), w.once("macro"), w.change("c"),
		w.change("never"))
	p.Stages[0].Steps[5].Apply = func(context.Context) error {
		return &failover.Error{Op: "apply", Outcome: failover.NotApplied, Err: failover.ErrRejected}
	}
	j := journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	_, err = p.Undo(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrIrreversible)
	assert.Equal(t, []string{"c"}, w.undone)

	w = newWorld()
	w.on["held before"] = true
	p = procedure(w.change("a"), w.change("held before"), w.change("b"), w.check("no"))
	j = journal(t)
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	rep, err := p.Undo(t.Context(), options(j))
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "a"}, w.undone, "only what this journal applied")
	assert.True(t, rep.Undo)
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrUndone)
}

func TestUndoRefusesWhileInDoubtAndPassesOnlyWhatHasAnUndo(t *testing.T) {
	w := newWorld()
	s := w.once("macro")
	s.Apply = func(context.Context) error { return errors.New("lost") }
	s.Probe = func(context.Context) (failover.Outcome, error) { return failover.InDoubt, nil }
	p := procedure(w.change("a"), s)
	j := journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	_, err = p.Undo(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	assert.Empty(t, w.undone)

	w = newWorld()
	final, wait := w.change("final"), w.change("wait")
	final.Undo, wait.Undo = nil, failover.NothingToUndo
	p = procedure(w.change("a"), final, wait, w.change("b"), w.check("no"))
	j = journal(t)
	_, err = p.Run(t.Context(), options(j))
	require.Error(t, err)
	_, err = p.Undo(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrIrreversible)
	assert.Equal(t, []string{"b"}, w.undone)
}

func TestGateSeesWhatWillBeDoneAndCanPark(t *testing.T) {
	w := newWorld()
	w.on["check"], w.on["b"] = true, true
	p := procedure(w.check("check"), w.change("a"), w.change("b"), w.once("c"))
	var asked []string
	parked := true
	o := options(journal(t))
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		asked = append(asked, q.Step.ID+": "+q.Observation.Would)
		if q.Step.Kind == failover.Once && parked {
			return failover.Approval{}, fmt.Errorf("ask the shift lead: %w", failover.ErrWaiting)
		}
		return failover.Approval{By: "shift lead", From: "desk"}, nil
	}
	rep, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	assert.Equal(t, failover.ResultWaiting, rep.Result)
	assert.Contains(t, failover.NextOf(err), "approve s/c", "nobody is told to do a step that fires once by hand")
	assert.Zero(t, w.thrown["c"])
	parked = false
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, []string{"s/a: throw a", "s/c: throw c", "s/c: throw c"}, asked)

	o = options(journal(t))
	w.on["a"] = false
	o.Gate = func(context.Context, failover.Request) (failover.Approval, error) {
		return failover.Approval{}, assert.AnError
	}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrRejected)
	require.ErrorIs(t, err, assert.AnError)
}

func TestApprovalIsVoidWhenTheTargetMovesWhileThePersonThinks(t *testing.T) {
	w := newWorld()
	moving := 0
	s := w.once("macro")
	s.Observe = func(context.Context) (failover.Observation, error) {
		moving++
		return failover.Observation{Found: fmt.Sprint("state ", moving)}, nil
	}
	o := options(journal(t))
	o.Gate =
		func(context.Context, failover.Request) (failover.Approval, error) { return failover.Approval{}, nil }
	_, err := procedure(s).Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged)
	assert.Zero(t, w.thrown["macro"])
}

func TestAResumedRunDoesNotTakeAnotherApprovalForItsOwn(t *testing.T) {
	for _, which := range []string{"the one it began with", "of a plan made now"} {
		t.Run(which, func(t *testing.T) {
			w := newWorld()
			p := procedure(w.change("first"), w.check("gate"), w.once("macro"))
			plan, err := p.Plan(t.Context(), nil)
			require.NoError(t, err)
			o := options(journal(t))
			o.Approved = plan.Findings
			_, err = p.Run(t.Context(), o)
			require.ErrorIs(t, err, failover.ErrPrecondition, "half-way, under its approval")
			w.on["gate"] = true

			o.Approved = "made up"
			for range 2 { // that it was tried before approves nothing
				_, err = p.Run(t.Context(), o)
				require.ErrorIs(t, err, failover.ErrPlanChanged)
				assert.Zero(t, w.thrown["macro"])
			}
			o.Approved = plan.Findings
			if which == "of a plan made now" {
				now, err := p.Plan(t.Context(), o.Journal)
				require.NoError(t, err)
				o.Approved = now.Findings
			}
			_, err = p.Run(t.Context(), o)
			require.NoError(t, err)
			assert.Equal(t, 1, w.thrown["macro"])
		})
	}
}

func TestAWaiverAfterAVainWaitIsNotWaitedForAgain(t *testing.T) {
	w := newWorld()
	s := w.check("drained")
	looks := 0
	s.Wait, s.Timeout, s.Poll = true, 20*time.Millisecond, time.Millisecond
	s.Observe = func(context.Context) (failover.Observation, error) {
		looks++
		return failover.Observation{Found: "one job runs"}, nil
	}
	p := procedure(s, w.change("a"))
	o := options(journal(t))
	o.Waive = map[string]string{"s/drained": "may go on"}
	_, err := p.Run(t.Context(), options(o.Journal))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	assert.Greater(t, looks, 1)
	looks = 0
	rep, err := p.Run(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, 1, looks)
	assert.Equal(t, failover.StatusWaived, statusOf(t, rep, "s/drained"))
}

func TestManualWaitsForAWordAndVerifiesIt(t *testing.T) {
	w := newWorld()
	verified := failover.Step{ID: "cable", Title: "Plug the cable", Kind: failover.Manual, Help: "Plug it.",
		Observe: w.observe("cable")}
	unseen := failover.Step{ID: "call", Title: "Call the branch", Kind: failover.Manual, Help: "Call."}
	p := procedure(verified, unseen)
	j := journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	word := failover.Statement{By: "ann", Says: "plugged", Reason: "saw the light"}
	require.NoError(t, j.Confirm("s/cable", word))
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition, "the observation does not bear the word out")
	w.on["cable"] = true
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWaiting, "the second step still waits")
	o := options(j)
	o.Confirm = func(context.Context, failover.Request) (failover.Statement, error) {
		return failover.Statement{By: "ann", Says: "called", Reason: "I did"}, nil
	}
	rep, err := p.Run(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, failover.StatusAlready, statusOf(t, rep, "s/cable"))
	assert.Equal(t, failover.StatusConfirmed, statusOf(t, rep, "s/call"))
}

func TestOnlyTargetsAreAFanOut(t *testing.T) {
	one := &failover.Error{Op: "hold", Target: "one", Outcome: failover.NotApplied, Next: "ask", Err: failover.ErrRejected}
	two := &failover.Error{Op: "hold", Target: "two", Outcome: failover.NotApplied, Next: "ask", Err: assert.AnError}
	targets := failover.Targets{{Target: "one", Err: one}, {Target: "two", Err: two}}
	for want, cause := range map[int]error{0: errors.Join(failover.ErrRejected, one, two),
		2: fmt.Errorf("%w: %w", failover.ErrRejected, targets.Err())} {
		w := newWorld()
		s := w.change("a")
		s.Apply = func(context.Context) error {
			return &failover.Error{Op: "apply", Target: "box", Outcome: failover.NotApplied, Next: "ask", Err: cause}
		}
		rep, err := procedure(s).Run(t.Context(), options(journal(t)))
		require.ErrorIs(t, err, failover.ErrRejected)
		step, _ := rep.Step("s/a")
		assert.Len(t, step.Targets, want)
	}
}

func TestAPanicOfAStepStaysInside(t *testing.T) {
	w := newWorld()
	s := w.once("macro")
	s.Apply = func(context.Context) error { panic("oh") }
	s.Probe = func(context.Context) (failover.Outcome, error) { panic("again") }
	_, err := procedure(s).Run(t.Context(), options(journal(t)))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.ErrorIs(t, err, failover.ErrPanicked)
	assert.NotContains(t, err.Error(), "oh")
}

func TestStopAndCancelEndAtASafePoint(t *testing.T) {
	w := newWorld()
	stop := make(chan struct{})
	a := w.change("a")
	a.Apply = func(ctx context.Context) error {
		close(stop)
		return w.throw("a")(ctx)
	}
	o := options(journal(t))
	o.Stop = stop
	rep, err := procedure(a, w.change("b")).Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrStopped)
	assert.Equal(t, failover.ResultPartWay, rep.Result)
	assert.Equal(t, map[string]int{"a": 1}, w.thrown)

	w = newWorld()
	ctx, cancel := context.WithCancelCause(t.Context())
	s := w.once("macro")
	probed := false
	s.Apply = func(ctx context.Context) error {
		cancel(assert.AnError)
		<-ctx.Done()
		return ctx.Err()
	}
	s.Probe = func(context.Context) (failover.Outcome, error) { probed = true; return failover.NotApplied, nil }
	rep, err = procedure(s).Run(ctx, options(journal(t)))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	assert.Equal(t, failover.ResultInDoubt, rep.Result)
	assert.False(t, probed, "a cancelled run does not linger; the next one probes")
}

func TestTheTimeAPersonTakesAtTheGateIsNotTheSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		change, once := w.change("a"), w.once("b")
		for _, s := range []*failover.Step{&change, &once} {
			apply := s.Apply
			s.Apply = func(ctx context.Context) error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return apply(ctx)
			}
		}
		o := options(openJournal(t, path))
		o.Gate = func(context.Context, failover.Request) (failover.Approval, error) {
			time.Sleep(8 * time.Hour)
			return failover.Approval{}, nil
		}
		_, err := procedure(change, once).Run(t.Context(), o)
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"a": 1, "b": 1}, w.thrown)
	})
}

func TestARunThatTakesLongIsToldAndStoppedBetweenTwoSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		long := w.change("a")
		long.Timeout, long.Apply = 3*time.Hour, func(ctx context.Context) error {
			time.Sleep(2 * time.Hour)
			return errors.Join(ctx.Err(), w.throw("a")(ctx))
		}
		p := procedure(long, w.change("b"))
		o := options(openJournal(t, path))
		o.WarnAfter, o.StopAfter = time.Hour, 90*time.Minute
		slow := 0
		o.Observer = func(e failover.Event) {
			if e.Kind == failover.EventSlow {
				slow++
				assert.Empty(t, e.Step.ID, "it is the run that takes long, not a step")
			}
		}
		rep, err := p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrStopped)
		assert.Contains(t, err.Error(), "1h30m")
		assert.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		assert.Equal(t, failover.ResultPartWay, rep.Result)
		assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/a"), "a step under way is not cut short")
		assert.Equal(t, failover.StatusNotReached, statusOf(t, rep, "s/b"))
		assert.Equal(t, 1, slow)

		_, err = p.Run(t.Context(), o)
		require.NoError(t, err, "the next run has time of its own")
		assert.Equal(t, map[string]int{"a": 1, "b": 1}, w.thrown)

		o.StopAfter = -1
		_, err = p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrInvalid)
	})
}
