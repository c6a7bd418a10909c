package opcon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// moved quiesces without warning, swaps and brings the machine up on the new host.
func (s *site) moved(t *testing.T) opcon.Record {
	t.Helper()
	ctx := context.Background()
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	s.swap()
	rec, err = s.client.Reconnect(ctx, rec, resumed())
	require.NoError(t, err)
	return rec
}

func find(list []opcon.Interrupted, name string) (opcon.Interrupted, bool) {
	for _, in := range list {
		if in.Job.Name == name {
			return in, true
		}
	}
	return opcon.Interrupted{}, false
}

func TestInterrupted(t *testing.T) {
	ctx := context.Background()
	for _, later := range []bool{false, true} {
		t.Run(fmt.Sprintf("reported failed=%t", later), func(t *testing.T) {
			after := 1_000_000
			if later {
				after = 1
			}
			s := newSite(t, opcontest.Config{ReportAfter: after})
			old := s.AddJob(&opcontest.Job{Name: "OLD FAILURE", Schedule: s.Nightly, Primary: "SYMAIX1",
				Status: opcontest.JobFailed})
			rec := s.moved(t)
			late := s.AddJob(&opcontest.Job{Name: "LATE", Schedule: s.Nightly, Primary: "SYMAIX1",
				Status: opcontest.JobMissedStart})
			astray := s.AddJob(&opcontest.Job{Name: "ASTRAY", Schedule: s.Nightly, Primary: "SYMAIX1",
				StartedOn: "SYMSPARE", Status: opcontest.JobFinishedOK})
			if later {
				require.Eventually(t, func() bool {
					_, err := s.client.Service(ctx)
					st, _ := s.JobState(s.Running)
					return err == nil && st == opcontest.JobFailed
				}, 5*time.Second, time.Millisecond)
			}
			list, err := s.client.Interrupted(ctx, rec)
			require.NoError(t, err)
			require.Len(t, list, 4)
			_, ok := find(list, old.Name)
			require.False(t, ok, "what had failed before is not ours to tell")

			sent, ok := find(list, "CLOSEDAY")
			require.True(t, ok)
			require.Equal(t, opcon.WhySentNotStarted, sent.Why)
			require.Equal(t, "CLOSEDAY", list[0].Job.Name, "the vendor's worst case comes first")
			ran, ok := find(list, "GOODNIGHT")
			require.True(t, ok)
			require.Equal(t, opcon.RerunRestartOnHold, ran.Proposal.Action)
			require.Equal(t, !later, ran.Proposal.MarkFailedFirst)
			require.Contains(t, ran.Hint, ";RESTART_POINT")
			require.Contains(t, ran.Hint, "STEP2")
			never, ok := find(list, late.Name)
			require.True(t, ok)
			require.Equal(t, opcon.WhyNeverStarted, never.Why)
			elsewhere, ok := find(list, astray.Name)
			require.True(t, ok)
			require.Equal(t, opcon.WhyRanElsewhere, elsewhere.Why)
			require.Contains(t, elsewhere.Hint, "SYMSPARE")
			require.Equal(t, opcon.RerunLeave, elsewhere.Proposal.Action)
			for _, what := range []string{"restart", "restartOnHold", "forceRestart", "markFailed"} {
				require.Zero(t, s.Count(what, ""), "a list changes nothing")
			}
		})
	}
}

func TestRerun(t *testing.T) {
	ctx := context.Background()
	decided := func(in opcon.Interrupted) opcon.Decision {
		in.Proposal.By = "jdoe"
		return in.Proposal
	}
	listed := func(t *testing.T, s *site, rec opcon.Record, name string) opcon.Decision {
		t.Helper()
		list, err := s.client.Interrupted(ctx, rec)
		require.NoError(t, err)
		in, ok := find(list, name)
		require.True(t, ok)
		return decided(in)
	}
	t.Run("mark failed, then restart on hold", func(t *testing.T) {
		s := newSite(t, opcontest.Config{ReportAfter: 1_000_000, Polls: 2})
		d := listed(t, s, s.moved(t), "GOODNIGHT")
		require.NoError(t, s.client.Rerun(ctx, d))
		st, _ := s.JobState(s.Running)
		require.Equal(t, opcontest.JobOnHold, st)
		require.Equal(t, 1, s.Count("markFailed", ""))
		require.Equal(t, 1, s.Count("restartOnHold", ""))
		err := s.client.Rerun(ctx, d)
		require.ErrorIs(t, err, failover.ErrPrecondition, "a second time it no longer fits")
		require.Equal(t, 1, s.Count("restartOnHold", ""))
		s.lawful(t)
	})
	t.Run("a running job is not restarted without that word", func(t *testing.T) {
		s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
		d := listed(t, s, s.moved(t), "GOODNIGHT")
		d.MarkFailedFirst = false
		err := s.client.Rerun(ctx, d)
		require.ErrorIs(t, err, failover.ErrPrecondition)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		require.Zero(t, s.Count("markFailed", ""))
	})
	t.Run("nobody decided", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		d := listed(t, s, s.moved(t), "GOODNIGHT")
		d.By = ""
		require.ErrorIs(t, s.client.Rerun(ctx, d), failover.ErrInvalid)
	})
	t.Run("started again since", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		d := listed(t, s, s.moved(t), "GOODNIGHT")
		d.Number--
		require.ErrorContains(t, s.client.Rerun(ctx, d), "started again since")
	})
	t.Run("unknown step", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		d := listed(t, s, s.moved(t), "GOODNIGHT")
		d.Action, d.Step = opcon.RerunRestart, "NOSUCH"
		require.ErrorContains(t, s.client.Rerun(ctx, d), "NOSUCH")
		d.Step = "STEP2"
		require.NoError(t, s.client.Rerun(ctx, d))
		require.Equal(t, 1, s.Count("restart", ""))
	})
	t.Run("it is as decided already", func(t *testing.T) {
		for action, status := range map[opcon.Rerun]opcontest.JobStatus{opcon.RerunHold: opcontest.JobOnHold,
			opcon.RerunCancel: opcontest.JobCancelled, opcon.RerunMarkFailed: opcontest.JobFailed,
			opcon.RerunMarkFinishedOK: opcontest.JobFinishedOK} {
			s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
			d := listed(t, s, s.moved(t), "GOODNIGHT")
			d.Action, d.MarkFailedFirst = action, false
			s.Change(func() { s.Running.Status = status })
			before := len(s.Effects())
			require.NoError(t, s.client.Rerun(ctx, d), action)
			require.Len(t, s.Effects(), before)
			d.Number--
			require.ErrorIs(t, s.client.Rerun(ctx, d), failover.ErrPrecondition, "of another run that says nothing")
		}
	})
	t.Run("it has ended well since", func(t *testing.T) {
		for _, status := range []opcontest.JobStatus{opcontest.JobFinishedOK, opcontest.JobCancelled} {
			s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
			d := listed(t, s, s.moved(t), "GOODNIGHT")
			require.True(t, d.MarkFailedFirst)
			s.Change(func() { s.Running.Status = status })
			err := s.client.Rerun(ctx, d)
			require.ErrorIs(t, err, failover.ErrPrecondition, "it was decided upon as one that runs")
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.Zero(t, s.Count("restartOnHold", ""))
		}
	})
	t.Run("a lost reply never starts a job twice", func(t *testing.T) {
		for _, kind := range []opcontest.InjectionKind{opcontest.InjectionCutBefore, opcontest.InjectionCutAfter,
			opcontest.InjectionLoseRecord,
			opcontest.InjectionNeverEnds} {
			s := newSite(t, opcontest.Config{}, withUser("failover_svc", secret("secret")),
				withTimeouts(time.Second, 200*time.Millisecond))
			rec := s.moved(t)
			d := listed(t, s, rec, "GOODNIGHT")
			d.Action = opcon.RerunRestart
			s.Inject(opcontest.Injection{Kind: kind, Verb: "restart"})
			err := s.client.Rerun(ctx, d)
			if kind == opcontest.InjectionCutAfter || kind == opcontest.InjectionLoseRecord {
				require.NoError(t, err)
				require.Equal(t, 1, s.Count("restart", ""))
			} else {
				require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
				require.Zero(t, s.Count("restart", ""))
				require.NotEmpty(t, failover.NextOf(err))
			}
		}
	})
	t.Run("a name with a slash", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		s.Change(func() { s.Alternant.Status = opcontest.JobFailed })
		err := s.client.Rerun(ctx, opcon.Decision{Job: opcon.JobID(s.Alternant.ID()), Action: opcon.RerunRestartOnHold,
			By: "jdoe", Reason: reason})
		require.NoError(t, err)
		st, _ := s.JobState(s.Alternant)
		require.Equal(t, opcontest.JobOnHold, st)
		s.lawful(t)
	})
}

func TestDecisionsWithinAProcedure(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	r := resumed()
	var given func([]opcon.Interrupted) []opcon.Decision
	r.Decide = func(_ context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
		if given == nil {
			return nil, fmt.Errorf("%w: the decision list is not written yet", failover.ErrWaiting)
		}
		return given(list), nil
	}
	j := journal(t)
	p := procedure(t, s, unplanned(), r)
	_, err := p.Run(ctx, options(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	require.Zero(t, s.Count("release", ""), "nothing is released before it is determined what runs")

	given = func(list []opcon.Interrupted) []opcon.Decision { return nil }
	_, err = p.Run(ctx, options(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	require.ErrorContains(t, err, "no decision for 2026-08-22 SYM NIGHTLY / CLOSEDAY")

	given = func(list []opcon.Interrupted) []opcon.Decision {
		var out []opcon.Decision
		for _, in := range list {
			d := in.Proposal
			d.By = "jdoe"
			if in.Job.Name == "CLOSEDAY" {
				d.Action = opcon.RerunLeave
			}
			out = append(out, d)
		}
		return out
	}
	var asked []string
	o := options(j)
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		asked = append(asked, q.Observation.Would)
		return failover.Approval{}, nil
	}
	_, err = p.Run(ctx, o)
	require.NoError(t, err)
	require.Contains(t, asked[0], "mark failed, then restart-on-hold 2026",
		"the gate sees exactly what will be restarted")
	require.Equal(t, 1, s.Count("restartOnHold", ""))
	require.Equal(t, 1, s.Count("markFailed", ""))
	st, _ := s.JobState(s.JustSent)
	require.Equal(t, opcontest.JobStartAttempted, st, "left as it is")
	s.lawful(t)

	_, err = p.Undo(ctx, options(j))
	require.ErrorIs(t, err, failover.ErrIrreversible, "a restart cannot be taken back")
}

func TestDecisionsSurviveACrash(t *testing.T) {
	ctx := context.Background()
	for _, verb := range []string{"markFailed", "restartOnHold"} {
		for _, kind := range []opcontest.InjectionKind{opcontest.InjectionMuteAfter, opcontest.InjectionMute} {
			s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
			r := resumed()
			r.Decide = func(_ context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
				var out []opcon.Decision
				for _, in := range list {
					d := in.Proposal
					d.By = "jdoe"
					out = append(out, d)
				}
				return out, nil
			}
			path := t.TempDir() + "/journal"
			first, err := failovertest.JournalAt(path)
			require.NoError(t, err)
			cut, cancel := context.WithCancel(ctx)
			s.Before("POST", "/api/jobactions", verb, 0, cancel)
			s.Inject(opcontest.Injection{Kind: kind, Verb: verb})
			_, err = procedure(t, s, unplanned(), r).Run(cut, options(first))
			cancel()
			require.Error(t, err)
			require.NoError(t, first.Close())
			_, err = procedure(t, s, unplanned(), r).Run(ctx, options(openJournal(t, path)))
			require.NoError(t, err)
			require.Equal(t, 2, s.Count("restartOnHold", ""))
			require.Equal(t, 2, s.Count("markFailed", ""))
			require.Zero(t, s.Count("start", ""))
			s.lawful(t)
		}
	}
}

func TestJobsThatWereDueMeanwhile(t *testing.T) {
	for _, zoneless := range []bool{false, true} {
		s := newSite(t, opcontest.Config{ZonelessTimes: zoneless})
		s.quiet()
		s.Change(func() { s.Waiting.Due = s.Now.Add(3 * time.Hour) })
		rec := s.moved(t)
		list, err := s.client.Interrupted(context.Background(), rec)
		require.NoError(t, err)
		require.Empty(t, list)
		s.Midnight()
		list, err = s.client.Interrupted(context.Background(), rec)
		require.NoError(t, err)
		in, ok := find(list, "STMT")
		require.True(t, ok)
		require.Equal(t, opcon.WhyDueMeanwhile, in.Why)
		require.Equal(t, opcon.RerunLeave, in.Proposal.Action)
	}
}

// TestTheServersClock: where the API does not tell its time, or not with an offset, the header Date does (RFC 9110,
// 6.6.1), and never the clock of this machine.
func TestTheServersClock(t *testing.T) {
	for name, wall := range map[string]bool{"no time": false, "a time without an offset": true} {
		t.Run(name, func(t *testing.T) {
			s, e := editedSite(t, opcontest.Config{})
			e.set(func(_ *http.Request, resp *http.Response, body string) string {
				text := resp.Header.Get("apiServerTime")
				resp.Header.Del("apiServerTime")
				if wall && text != "" {
					resp.Header.Set("apiServerTime", text[:len("2026-08-22T08:00:00")])
				}
				return body
			})
			s.quiet()
			s.Change(func() { s.Waiting.Due = s.Now.Add(3 * time.Hour) })
			rec := s.moved(t)
			s.Midnight()
			list, err := s.client.Interrupted(context.Background(), rec)
			require.NoError(t, err)
			in, ok := find(list, "STMT")
			require.True(t, ok)
			require.Equal(t, opcon.WhyDueMeanwhile, in.Why)
		})
	}
}

func TestRecordRoundTrip(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	raw, err := json.Marshal(rec)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "token-")
	var back opcon.Record
	require.NoError(t, json.Unmarshal(raw, &back))
	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.JSONEq(t, string(raw), string(again))
	require.Equal(t, opcon.Address{FQDN: oldHost, IP: "<Default>"}, back.Machine.Address)
	require.Len(t, back.Running, 2)
}

func TestRepointNeedsTheMachineDown(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	ctx := context.Background()
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	s.Change(func() { s.Machine.Asked, s.Machine.State = "U", "U" }) // somebody brought it up
	_, err = s.client.Reconnect(ctx, rec, resumed())
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.Zero(t, s.Count("address", ""))
	require.Empty(t, s.Violations())

	o := resumed()
	o.Address, o.Host = opcon.Address{IP: "192.0.2.2"}, "192.0.2.2"
	s.mu.Lock()
	s.agents["192.0.2.2"], s.primary = true, "192.0.2.2"
	s.mu.Unlock()
	s.Change(func() { s.Machine.Asked, s.Machine.State = "D", "D" })
	_, err = s.client.Reconnect(ctx, rec, o)
	require.NoError(t, err)
	_, _, address := s.MachineState(s.Machine)
	require.Equal(t, "192.0.2.2", address)
	require.Equal(t, "<Default>", s.Machine.FQDN)
}

func TestReleasePartlyRefused(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	ctx := context.Background()
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	s.FailItem("release", "SYM STATEMENTS", "no privilege", failover.DefaultAttempts)
	rec, err = s.client.Resume(ctx, rec, resumed())
	require.ErrorIs(t, err, opcon.ErrActionFailed)
	require.ErrorContains(t, err, "no privilege")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "three are released, one is not")
	action, ok := errors.AsType[*opcon.ActionError](err)
	require.True(t, ok)
	require.Equal(t, "2026-08-22 SYM STATEMENTS", action.Item)
	require.Equal(t, 3, s.Count("release", ""), "one that fails holds up no other")
	_, err = s.client.Resume(ctx, rec, resumed())
	require.NoError(t, err)
	require.Equal(t, 4, s.Count("release", ""))
	require.Equal(t, 1, s.Count("up", ""))
}

// TestOnlyOurHoldsAreReleased: others hold and release meanwhile; theirs stays as they left it.
func TestOnlyOurHoldsAreReleased(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	ctx := context.Background()
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	later := s.AddSchedule(&opcontest.Schedule{Name: "SYM LATER", Status: opcontest.ScheduleOnHold})
	s.AddJob(&opcontest.Job{Name: "JOB", Schedule: later, Primary: "SYMAIX1"})
	_, err = s.client.Resume(ctx, rec, resumed())
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(later))
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.HeldBefore))
	require.Equal(t, 4, s.Count("release", ""))
}

// TestAHoldThatSomebodyElseWasFasterWithIsNotOurs: an operator holds by hand at the same time, and ours is refused.
func TestAHoldThatSomebodyElseWasFasterWithIsNotOurs(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	s.Before("POST", "/api/scheduleactions", "hold", 0,
		func() { s.Change(func() { s.Statements.Status = opcontest.ScheduleOnHold }) })
	p, j := procedure(t, s, unplanned(), resumed()), journal(t)
	_, err := p.Run(context.Background(), options(j))
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Statements))
	require.Zero(t, s.Count("release", s.Statements.Date+" "+s.Statements.Name))
	require.Equal(t, 3, s.Count("release", ""))
	step, _ := j.Report().Step("opcon-release/schedules")
	require.Contains(t, jsonOf(t, step.Items), "its hold was refused, so it is not ours")
	s.lawful(t)
}
