package opcon_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestDoubtIsNotOverwritten: the request takes effect, its reply is lost, and from then on nothing answers, so that the
// later attempts are refused. The step stays in doubt, an undo does not pass it, and once OpCon answers again the run
// goes on or the undo takes everything back.
func TestDoubtIsNotOverwritten(t *testing.T) {
	for step, post := range map[string]struct{ method, path, verb string }{
		"opcon-hold/schedules":    {"POST", "/api/scheduleactions", "hold"},
		"opcon-drain/limited":     {"POST", "/api/machineactions", "limited"},
		"opcon-down/machine":      {"POST", "/api/machineactions", "down"},
		"opcon-repoint/machine":   {"PUT", "/api/machines", ""},
		"opcon-prove/line":        {"POST", "/api/machineactions", "limited"},
		"opcon-release/machine":   {"POST", "/api/machineactions", "up"},
		"opcon-release/schedules": {"POST", "/api/scheduleactions", "release"},
	} {
		for _, back := range []bool{false, true} {
			t.Run(step+map[bool]string{true: "/undo", false: "/run"}[back], func(t *testing.T) {
				t.Parallel()
				s := newSite(t, opcontest.Config{}, withUser("failover_svc", secret("secret")),
					withTimeouts(time.Second, 100*time.Millisecond))
				s.quiet()
				skip := 0
				if step == "opcon-prove/line" {
					skip = 1 // the first one is the quiesce's
				}
				s.Before(post.method, post.path, post.verb, skip, func() {
					s.Inject(opcontest.Injection{Kind: opcontest.InjectionCutAfter, Method: post.method, Path: post.path,
						Verb: post.verb})
					s.Inject(opcontest.Injection{Kind: opcontest.InjectionCutBefore, Times: -1})
				})
				p, j := procedure(t, s, planned(), resumed()), journal(t)
				rep, err := p.Run(context.Background(), options(j))
				require.ErrorIs(t, err, failover.ErrInDoubt)
				require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
				require.NotEmpty(t, failover.NextOf(err))
				for _, st := range rep.Steps {
					if st.ID == step {
						require.Equal(t, failover.StatusInDoubt, st.Status)
					}
				}
				_, err = p.Undo(context.Background(), options(j))
				require.ErrorIs(t, err, failover.ErrInDoubt, "an undo does not pass what may be in effect")
				s.Heal()
				if !back {
					_, err = p.Run(context.Background(), options(j))
					require.NoError(t, err)
					s.ended(t)
					return
				}
				s.goesBack()
				_, err = p.Undo(context.Background(), options(j))
				require.NoError(t, err)
				s.asItWas(t)
			})
		}
	}
}
