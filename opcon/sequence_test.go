package opcon_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// Whichever request is refused: a step, or an undo, that has changed something is not told as if it had not.
func TestNothingIsCalledUnchangedBehindARequestThatWasTaken(t *testing.T) {
	for _, undo := range []bool{false, true} {
		t.Run(fmt.Sprintf("undo %t", undo), func(t *testing.T) {
			for skip := 0; ; skip++ {
				s := newSite(t, opcontest.Config{})
				s.quiet()
				q := unplanned()
				q.HoldTimeout = 10 * time.Second // what is refused is looked for in vain
				p, j := procedure(t, s, q, resumed()), journal(t)
				before, changing := 0, ""
				o, stop := options(j), make(chan struct{})
				if undo {
					o.Stop = stop
				}
				o.Observer = func(e failover.Event) {
					switch {
					case e.Kind == failover.EventIntent:
						before, changing = len(s.Effects()), e.Step.ID
						if undo && !e.Undo && changing == "opcon-down/machine" {
							close(stop)
						}
					case e.Kind == failover.EventStepStarted && e.Step.ID == "opcon-down/machine" && !e.Undo:
						x := s.AddSchedule(&opcontest.Schedule{Name: "BUILT LATE", Status: opcontest.ScheduleInProcess})
						s.AddJob(&opcontest.Job{Name: "LATE", Schedule: x, Primary: "SYMAIX1"})
					}
				}
				play := p.Run
				if undo {
					_, err := p.Run(context.Background(), o)
					require.ErrorIs(t, err, failover.ErrStopped)
					o.Stop, play = nil, p.Undo
				}
				s.Inject(opcontest.Injection{Kind: opcontest.InjectionStatus, Method: http.MethodPost,
					Code: http.StatusForbidden, Skip: skip, Times: -1})
				rep, err := play(context.Background(), o)
				if err == nil {
					require.GreaterOrEqual(t, skip, 3)
					return
				}
				for _, step := range rep.Steps {
					unchanged := step.Status == failover.StatusFailed || undo && step.Status == failover.StatusApplied
					if step.ID == changing && step.Error != "" && unchanged {
						require.Len(t, s.Effects(), before, "%s is %s behind %d requests: %v", step.ID, step.Status, skip, err)
					}
				}
				s.Heal()
				_, err = play(context.Background(), o)
				require.NoError(t, err, "behind %d requests", skip)
			}
		})
	}
}

// TestAnAgentThatFallsSilentUndoesNothing: the order of the undo is lost, and the agent does not answer. The machine is
// still asked to start jobs on it, as soon as it does.
func TestAnAgentThatFallsSilentUndoesNothing(t *testing.T) {
	for _, step := range []string{"opcon-release/machine", "opcon-prove/line"} {
		t.Run(step, func(t *testing.T) {
			s := newSite(t, opcontest.Config{}, withUser("failover_svc", secret("secret")),
				withTimeouts(time.Second, 60*time.Millisecond))
			s.quiet()
			r := resumed()
			r.UpTimeout = 500 * time.Millisecond
			if step == "opcon-prove/line" {
				r.Decide = func(context.Context, []opcon.Interrupted) ([]opcon.Decision, error) { return nil, failover.ErrWaiting }
			}
			s.FailItem("release", s.Statements.Name, "not allowed", -1)
			p, o := procedure(t, s, unplanned(), r), options(journal(t))
			_, err := p.Run(context.Background(), o)
			require.Error(t, err)
			s.silence(newHost)
			s.Inject(opcontest.Injection{Kind: opcontest.InjectionCutBefore, Method: http.MethodPost,
				Path: "/api/machineactions", Times: -1})
			rep, err := p.Undo(context.Background(), o)
			require.ErrorIs(t, err, failover.ErrInDoubt)
			require.ErrorContains(t, err, step)
			_, asked, _ := s.MachineState(s.Machine)
			require.NotEqual(t, "D", asked, rep)
		})
	}
}

// TestALostRecordIsNoRefusal: the order was taken, its record is gone (404), and a second order is refused. That
// refusal says nothing of the first order, which takes effect a moment later.
func TestALostRecordIsNoRefusal(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	s.Inject(opcontest.Injection{Kind: opcontest.InjectionLoseRecord, Verb: "hold"})
	s.Inject(opcontest.Injection{Kind: opcontest.InjectionStatus, Method: http.MethodPost, Path: "/api/scheduleactions",
		Code: http.StatusConflict, Skip: 1, Times: -1})
	s.Before(http.MethodPost, "/api/scheduleactions", "hold", 0, func() {
		s.Change(func() { s.Statements.Says = &opcontest.Words{Category: "Waiting", Description: "Wait to Start"} })
	})
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.Error(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Statements), "the first order took effect")
	for _, h := range rec.Held {
		require.True(t, h.Ours(), "%s is held by us: %v", h.Name, err)
	}
}
