package opcon_test

import (
	"context"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// asProposed decides as proposed, but for what change does to the decision on GOODNIGHT.
func asProposed(change func(*opcon.Decision)) opcon.Decider {
	return func(_ context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
		var out []opcon.Decision
		for _, in := range list {
			d := in.Proposal
			d.By = "jdoe"
			if in.Job.Name == "GOODNIGHT" {
				change(&d)
			}
			out = append(out, d)
		}
		return out, nil
	}
}

// TestDecisionsCanBeCorrected: a decision that does not fit, or that OpCon refuses, sends nothing for any job or says
// what it did; the corrected one completes the run in the same journal.
func TestDecisionsCanBeCorrected(t *testing.T) {
	for name, tc := range map[string]struct {
		wrong   func(*opcon.Decision)
		arrange func(*site)
		fixed   func(*opcon.Decision)
		want    string
		sent    bool // the wrong decision is found by sending it
	}{
		"restart of a running job": {wrong: func(d *opcon.Decision) {
			d.Action, d.MarkFailedFirst = opcon.RerunRestart,
				false
		}, want: "mark it failed first"},
		"another run of the job": {wrong: func(d *opcon.Decision) { d.Number-- }, want: "started again since"},
		"no such restart step": {wrong: func(d *opcon.Decision) { d.Action, d.Step = opcon.RerunRestart, "NOSUCH" },
			want: "NOSUCH"},
		"hold of a running job": {wrong: func(d *opcon.Decision) { d.Action = opcon.RerunHold },
			want: "cannot be changed so"},
		"no such job": {wrong: func(d *opcon.Decision) { d.Job = "20260822|227|1|NOSUCH" },
			want: "no decision for"},
		"nobody decided": {wrong: func(d *opcon.Decision) { d.By = "" }, want: "By"},
		"the server refuses": {arrange: func(s *site) {
			s.FailItem("restartOnHold", "GOODNIGHT",
				"restart is not licensed", 3)
		}, wrong: func(*opcon.Decision) {},
			fixed: func(d *opcon.Decision) {
				d.Action, d.MarkFailedFirst = opcon.RerunLeave,
					false
			}, want: "not licensed", sent: true},
		"a start whose end was not seen": {arrange: func(s *site) {
			s.Inject(opcontest.Injection{Kind: opcontest.InjectionOtherWordNever, Verb: "restart", Body: "queued"})
		}, wrong: func(d *opcon.Decision) { d.Action = opcon.RerunRestart },
			fixed: func(d *opcon.Decision) { d.Action, d.MarkFailedFirst = opcon.RerunLeave, false },
			want:  "settle it there", sent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, opcontest.Config{ReportAfter: 1_000_000}, withUser("failover_svc", secret("secret")),
				withTimeouts(time.Second, 50*time.Millisecond))
			if tc.arrange != nil {
				tc.arrange(s)
			}
			change := tc.wrong
			r := resumed()
			r.Decide = func(ctx context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
				return asProposed(change)(ctx, list)
			}
			p, j := procedure(t, s, unplanned(), r), journal(t)
			_, err := p.Run(context.Background(), options(j))
			require.ErrorContains(t, err, tc.want)
			require.NotEmpty(t, failover.NextOf(err))
			require.Zero(t, s.Count("release", ""))
			if !tc.sent {
				require.Zero(t, s.Count("markFailed", ""), "all are looked at before any is carried out")
				require.Zero(t, s.Count("restartOnHold", ""))
				require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			}
			if change = tc.fixed; change == nil {
				change = func(*opcon.Decision) {}
			}
			rep, err := p.Run(context.Background(), options(j))
			require.NoError(t, err, "%v", rep)
			require.Equal(t, 4, s.Count("release", ""))
			require.LessOrEqual(t, s.Count("markFailed", "2026-08-22 SYM NIGHTLY / GOODNIGHT"), 1)
			require.Zero(t, s.Count("start", ""))
			s.lawful(t)
		})
	}
}

// TestWhatWasSentIsNotCalledUnsent: another decision in place of a start whose end was not seen does not fit, and was
// not without effect.
func TestWhatWasSentIsNotCalledUnsent(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000}, withUser("failover_svc", secret("secret")),
		withTimeouts(time.Second, 50*time.Millisecond))
	s.Inject(opcontest.Injection{Kind: opcontest.InjectionOtherWordNever, Verb: "restart", Body: "queued"})
	action, r := opcon.RerunRestart, resumed()
	r.Decide = func(ctx context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
		return asProposed(func(d *opcon.Decision) { d.Action = action })(ctx, list)
	}
	p, j := procedure(t, s, unplanned(), r), journal(t)
	_, err := p.Run(context.Background(), options(j))
	require.ErrorContains(t, err, "settle it there")
	action = opcon.RerunForceRestart
	_, err = p.Run(context.Background(), options(j))
	require.ErrorContains(t, err, "only leave can take its place")
	require.NotContains(t, failover.NextOf(err), "nothing was sent")
}

// TestJobsThatFellDueAreNotStartedWithoutADecision: the release of its schedule would start such a job by itself.
func TestJobsThatFellDueAreNotStartedWithoutADecision(t *testing.T) {
	for _, action := range []opcon.Rerun{0, opcon.RerunLeave, opcon.RerunHold, opcon.RerunCancel} {
		t.Run(action.String(), func(t *testing.T) {
			s := newSite(t, opcontest.Config{})
			s.quiet()
			s.Change(func() { s.Waiting.Due = s.Now.Add(3 * time.Hour) })
			s.Before("POST", "/api/machineactions", "down", 0, func() {
				s.Midnight()
				s.Change(func() { s.Waiting.Ready = true })
			})
			r := resumed()
			r.Decide = func(_ context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
				var out []opcon.Decision
				for _, in := range list {
					if d := in.Proposal; action != 0 {
						if d.By = "jdoe"; in.Job.Name == "STMT" {
							d.Action = action
						}
						out = append(out, d)
					}
				}
				return out, nil
			}
			p, j := procedure(t, s, unplanned(), r), journal(t)
			rep, err := p.Run(context.Background(), options(j))
			const job = "2026-08-22 SYM STATEMENTS / STMT"
			require.Contains(t, rep.String()+jsonOf(t, rep), job, "it stands in the report")
			if action == 0 {
				require.ErrorIs(t, err, failover.ErrWaiting)
				require.ErrorContains(t, err, job)
				require.Zero(t, s.Count("release", ""))
				return
			}
			require.NoError(t, err)
			for range 3 {
				_, err = s.client.Service(context.Background())
				require.NoError(t, err)
			}
			require.Equal(t, map[bool]int{true: 1}[action == opcon.RerunLeave], s.Count("start", job))
			s.lawful(t)
		})
	}
}

// TestTheListStandsInTheReport: where nobody decides beforehand, what a person has to decide upon is shown under one
// step, while the run goes on, in the text of the report, which the verb status prints too, and on its page.
func TestTheListStandsInTheReport(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	p, j := procedure(t, s, unplanned(), resumed()), journal(t)
	o := options(j)
	o.Confirm = nil
	var shown []string
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventProgress && e.Step.ID == "opcon-decide/interrupted" {
			shown = append(shown, e.Text)
		}
	}
	_, err := p.Run(context.Background(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	require.Zero(t, s.Count("release", ""))
	rep := j.Report()
	_, rows, found := strings.Cut(rep.String(), "(opcon-decide/interrupted):\n")
	require.True(t, found, rep)
	rows, _, _ = strings.Cut(rows, "\n\n")
	var page strings.Builder
	require.NoError(t, rep.WriteHTML(&page))
	for where, text := range map[string]string{"run": strings.Join(shown, "\n"), "report": rows,
		"page": html.UnescapeString(page.String())} {
		for _, row := range []string{
			"2026-08-22 SYM NIGHTLY / CLOSEDAY: sent, maybe never begun; OpCon shows it running (Start Attempted)",
			"2026-08-22 SYM NIGHTLY / GOODNIGHT: still shown running; OpCon shows it running (Job Running), before the move " +
				"running " +
				"(Job Running); proposed: mark failed, then restart-on-hold"} {
			require.Equal(t, 1, strings.Count(text, row), "%s: %s in %s", where, row, text)
		}
	}
}
