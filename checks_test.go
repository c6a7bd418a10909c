package failover_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// A check that held once is a fact of that moment. Each kind of check is broken while the run is parked before the
// Once.
func TestChecksAreLookedAtAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		entry  bool
		guards string
		stops  bool
	}{
		"standing":              {stops: true},
		"guards the later step": {guards: "after", stops: true},
		"entry":                 {entry: true, stops: false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.on["one primary"] = true
				check := w.check("one primary")
				check.Firm, check.Entry, check.Guards = true, tt.entry, tt.guards
				p := procedure(check, w.change("hold"), w.once("macro"), w.change("after"))
				j := failovertest.Journal(t)
				o := options(j)
				asked := 0
				o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
					if asked++; q.Step.Kind == failover.Once && asked == 2 {
						return failover.Approval{}, failover.ErrWaiting
					}
					return failover.Approval{By: "lead", From: "desk"}, nil
				}
				_, err := p.Run(t.Context(), o)
				require.ErrorIs(t, err, failover.ErrWaiting)
				w.on["one primary"] = false
				rep, err := p.Run(t.Context(), o)
				if !tt.stops {
					require.NoError(t, err)
					assert.Equal(t, 1, w.thrown["macro"])
					return
				}
				require.ErrorIs(t, err, failover.ErrPrecondition)
				assert.Zero(t, w.thrown["macro"])
				assert.Equal(t, failover.StatusFailed, statusOf(t, rep, "s/one primary"))
				w.on["one primary"] = true
				_, err = p.Run(t.Context(), o)
				require.NoError(t, err)
				assert.Equal(t, 1, w.thrown["macro"])
			})
		})
	}
}

func TestAnEntryCheckHoldsUntilTheFirstChange(t *testing.T) {
	w := newWorld()
	w.on["ready"] = true
	check := w.check("ready")
	check.Entry = true
	p := procedure(check, w.change("hold"), w.once("macro"))
	j := failovertest.Journal(t)
	o := options(j)
	parked := true
	o.Gate = func(context.Context, failover.Request) (failover.Approval, error) {
		if parked {
			return failover.Approval{}, failover.ErrWaiting
		}
		w.on["ready"] = false // while the person thinks
		return failover.Approval{}, nil
	}
	_, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	parked = false
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	assert.Empty(t, w.thrown)
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition, "nothing was changed yet")
}

func TestAStandingCheckIsLookedAtRightBeforeTheOnce(t *testing.T) {
	w := newWorld()
	w.on["alone"] = true
	hold := w.change("hold")
	hold.Apply = func(ctx context.Context) error {
		w.on["alone"] = false
		return w.throw("hold")(ctx)
	}
	rep, err := procedure(w.check("alone"), hold, w.once("macro")).Run(t.Context(), options(failovertest.Journal(t)))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	assert.Zero(t, w.thrown["macro"])
	assert.Equal(t, failover.ResultPartWay, rep.Result)
}

func TestAWaiverCountsForItsRun(t *testing.T) {
	w := newWorld()
	p := procedure(w.check("drained"), w.change("hold"), w.once("macro"))
	j := failovertest.Journal(t)
	o := options(j)
	o.Waive = map[string]string{"s/drained": "one job may be cut"}
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.Kind == failover.Once {
			return failover.Approval{}, failover.ErrWaiting
		}
		return failover.Approval{}, nil
	}
	_, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	assert.Zero(t, w.thrown["macro"])
	o.Gate = nil
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
}

func TestStopEndsACheckThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.check("drained")
		s.Wait, s.Timeout, s.Poll = true, time.Hour, time.Second
		o := options(failovertest.Journal(t))
		stop := make(chan struct{})
		o.Stop = stop
		time.AfterFunc(time.Minute, func() { close(stop) })
		began := time.Now()
		rep, err := procedure(s, w.change("a")).Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrStopped)
		assert.Equal(t, failover.ResultStopped, rep.Result)
		assert.Less(t, time.Since(began), 2*time.Minute)
	})
}

func TestAConfirmationIsGivenWhenTheRunAsksAndCountsOnce(t *testing.T) {
	w := newWorld()
	cable := failover.Step{ID: "cable", Title: "Plug the cable", Kind: failover.Manual, Help: "Plug it.",
		Observe: w.observe("cable")}
	p, j := procedure(w.check("ready"), cable, w.change("a")), failovertest.Journal(t)
	word := failover.Statement{By: "ann", Says: "plugged", Reason: "saw the light"}
	_, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorIs(t, j.Confirm("s/cable", word), failover.ErrPrecondition, "the run has not come to the step")
	w.on["ready"] = true
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	require.NoError(t, j.Confirm("s/cable", word))
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition, "it is not so")
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWaiting, "the word is used up")
}

// What is applied is what was shown: on every attempt, and whatever changes between two steps.
func TestEachAttemptIsComparedWithWhatWasShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		moving := 0
		s := w.change("a")
		s.Observe = func(context.Context) (failover.Observation, error) {
			return failover.Observation{Done: w.on["a"], Found: string(rune('A' + moving))}, nil
		}
		s.Apply = func(context.Context) error {
			moving++
			if moving == 3 {
				w.on["a"] = true
				return nil
			}
			return refusal("a")
		}
		o := options(failovertest.Journal(t))
		var shown []string
		o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
			shown = append(shown, q.Observation.Found)
			assert.Equal(t, "tester", q.Actor)
			assert.NotEmpty(t, q.Journal)
			assert.NotEmpty(t, q.Definition)
			assert.NotEmpty(t, q.Findings)
			return failover.Approval{By: "lead", From: "desk"}, nil
		}
		rep, err := procedure(s).Run(t.Context(), o)
		require.NoError(t, err)
		assert.Equal(t, []string{"A", "B", "C"}, shown)
		require.Len(t, rep.Decisions, 3)
		assert.Equal(t, "lead", rep.Decisions[0].By)
		assert.Equal(t, "desk", rep.Decisions[0].From)
	})
}

func TestAnApprovedPlanCoversOnlyWhatItShowed(t *testing.T) {
	build := func() (*world, failover.Procedure) {
		w := newWorld()
		b := w.change("b")
		b.Observe = func(context.Context) (failover.Observation, error) {
			found := "as it was"
			if w.on["a"] && w.on["surprise"] {
				found = "somebody else is there"
			}
			return failover.Observation{Done: w.on["b"], Found: found, Would: "change b"}, nil
		}
		return w, procedure(w.change("a"), b)
	}
	_, p := build()
	j := failovertest.Journal(t)
	plan, err := p.Plan(t.Context(), j)
	require.NoError(t, err)
	assert.False(t, plan.Steps[0].Later)
	assert.True(t, plan.Steps[1].Later)
	assert.Contains(t, plan.String(), "Decided later")
	o := options(j)
	o.Approved = plan.Findings
	rep, err := p.Run(t.Context(), o)
	require.NoError(t, err, "found as it was shown")
	require.Len(t, rep.Decisions, 1)
	assert.Equal(t, plan.Findings, rep.Decisions[0].Findings)

	w, p := build()
	w.on["surprise"] = true
	o = options(failovertest.Journal(t))
	o.Approved = plan.Findings
	rep, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged)
	require.ErrorIs(t, err, failover.ErrWaiting)
	assert.Equal(t, failover.ResultWaiting, rep.Result)
	assert.Zero(t, w.thrown["b"])
	again, err := p.Plan(t.Context(), o.Journal)
	require.NoError(t, err)
	assert.Equal(t, failover.ActionDone, again.Steps[0].Action)
	o.Approved = again.Findings
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err, "what the message says leads on")
}

func TestAnUndoIsAskedAndApprovedToo(t *testing.T) {
	w := newWorld()
	p := procedure(w.change("a"), w.check("no"))
	j := failovertest.Journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	o := options(j)
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		assert.True(t, q.Undo)
		return failover.Approval{}, failover.ErrWaiting
	}
	rep, err := p.Undo(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	assert.Equal(t, failover.ResultWaiting, rep.Result)
	assert.Empty(t, w.undone)
	o.Gate, o.Approved = nil, "made up"
	_, err = p.Undo(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged)
	o.Approved = p.UndoPlan(j).Findings
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
}

func TestTheDefinitionCoversWhatAnApprovalMeans(t *testing.T) {
	w := newWorld()
	base := procedure(w.check("c"), w.change("a"), w.once("b"))
	seen := map[string]bool{base.Definition(): true}
	for name, change := range map[string]func(p *failover.Procedure){
		"firm":     func(p *failover.Procedure) { p.Stages[0].Steps[0].Firm = true },
		"entry":    func(p *failover.Procedure) { p.Stages[0].Steps[0].Entry = true },
		"guards":   func(p *failover.Procedure) { p.Stages[0].Steps[0].Guards = "b" },
		"undo":     func(p *failover.Procedure) { p.Stages[0].Steps[1].Undo = nil },
		"attempts": func(p *failover.Procedure) { p.Stages[0].Steps[1].Attempts = 7 },
		"stage":    func(p *failover.Procedure) { p.Stages[0].Name = "x" },
		"outage": func(p *failover.Procedure) {
			p.Stages[0].Outage = true
		},
		"target": func(p *failover.Procedure) { p.Stages[0].Steps[1].Target = "elsewhere" },
	} {
		w := newWorld()
		p := procedure(w.check("c"), w.change("a"), w.once("b"))
		change(&p)
		assert.False(t, seen[p.Definition()], name)
		seen[p.Definition()] = true
	}
}

// Consent to a run is no consent to its undo, and the other way round.
func TestTheHashOfARunApprovesNoUndo(t *testing.T) {
	w := newWorld()
	w.on["ready"] = true
	p, j := procedure(w.check("ready"), w.change("a"), w.change("b")), failovertest.Journal(t)
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	o := options(j)
	o.Approved = plan.Findings
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
	_, err = p.Undo(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged)
	assert.Empty(t, w.undone)
}

// An approval of rows covers fewer of them, and nothing else that would be done about the same ones.
func TestWhatWouldBeDoneAboutTheSameRowsIsAskedAgain(t *testing.T) {
	w := newWorld()
	would := "set the limit to 5"
	a := w.change("a")
	a.Observe = func(context.Context) (failover.Observation, error) {
		return failover.Observation{Done: w.on["a"], Found: "1 of 2", Would: would,
			Items: []failover.Item{{Target: "one", Done: true}, {Target: "two", Done: w.on["a"], Found: "unlimited"}}}, nil
	}
	first := w.change("first")
	first.Apply = func(ctx context.Context) error {
		would = "set the limit to 500"
		return w.throw("first")(ctx)
	}
	p := procedure(first, a)
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	o := options(failovertest.Journal(t))
	o.Approved = plan.Findings
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged)
	assert.Zero(t, w.thrown["a"])
}

func TestBlanksAreNoNameAndNoReason(t *testing.T) {
	w := newWorld()
	p := procedure(w.check("c"), w.change("a"))
	for name, spoil := range map[string]func(*failover.RunOptions){
		"actor":  func(o *failover.RunOptions) { o.Actor = " " },
		"reason": func(o *failover.RunOptions) { o.Reason = "\t " },
		"waiver": func(o *failover.RunOptions) { o.Waive = map[string]string{"s/c": " "} },
	} {
		o := options(failovertest.Journal(t))
		spoil(&o)
		_, err := p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrInvalid, name)
	}
}

// Who approves the text of a plan has seen every target that will be changed.
func TestAPlanShowsEveryTargetItWouldChange(t *testing.T) {
	w := newWorld()
	hold := w.change("hold")
	hold.Observe = func(context.Context) (failover.Observation, error) {
		obs := failover.Observation{Done: w.on["hold"], Found: "1 of 60 held", Would: "hold the others"}
		for n := range 60 {
			obs.Items = append(obs.Items, failover.Item{Target: fmt.Sprintf("schedule-%02d", n), Done: n == 0, Found: "open"})
		}
		return obs, nil
	}
	plan, err := procedure(hold).Plan(t.Context(), nil)
	require.NoError(t, err)
	text := plan.String()
	assert.NotContains(t, text, "schedule-00")
	assert.Contains(t, text, "- schedule-01: open")
	assert.Contains(t, text, "and 9 more")
}

// A check that waits and cannot be observed yet, because a step before it has something to do, is no obstacle.
func TestAPlanDoesNotStopAtWhatCannotBeObservedYet(t *testing.T) {
	w := newWorld()
	blind := w.check("blind")
	blind.Wait, blind.Timeout = true, time.Minute
	blind.Observe = func(context.Context) (failover.Observation, error) {
		return failover.Observation{}, errors.New("it is not there")
	}
	plan, err := procedure(w.change("copy"), blind).Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, failover.ActionLater, plan.Steps[1].Action)
	plan, err = procedure(blind, w.change("copy")).Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, failover.ActionWait, plan.Steps[0].Action)
}

// What was approved was shown by one version of the program: another one, whose steps mean something else, is approved
// again.
func TestAnApprovalIsForTheVersionThatShowedThePlan(t *testing.T) {
	w := newWorld()
	fail := true
	b := w.change("b")
	apply := b.Apply
	b.Apply = func(ctx context.Context) error {
		if fail {
			return refusal("b")
		}
		return apply(ctx)
	}
	old, j := procedure(w.change("a"), b), failovertest.Journal(t)
	plan, err := old.Plan(t.Context(), j)
	require.NoError(t, err)
	o := options(j)
	o.Approved = plan.Findings
	_, err = old.Run(t.Context(), o)
	require.Error(t, err)
	require.Equal(t, 1, w.thrown["a"])

	fail, b.Undo = false, nil // it cannot be taken back any more, and the plan said that it can
	_, err = procedure(w.change("a"), b).Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged)
	require.Zero(t, w.thrown["b"])
	_, err = old.Run(t.Context(), o)
	require.NoError(t, err, "the version that was approved goes on")
}
