package clustertest_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

// ending is what a run says of a step that met a fault.
type ending struct {
	status failover.StepStatus
	result failover.Result
	undo   bool // the plan of the undo has the step
}

var (
	done    = ending{failover.StatusApplied, failover.ResultCompleted, true}
	doubt   = ending{failover.StatusInDoubt, failover.ResultInDoubt, true}
	partWay = ending{failover.StatusFailed, failover.ResultPartWay, false} // what was remembered before is in effect
)

// matrix is how each step that changes something in a Pacemaker cluster ends by what becomes of its request. What does
// not come within the time to settle is taken back.
var matrix = map[clustertest.Break]struct{ setting, move ending }{
	clustertest.BreakLosesReply: {done, done},
	clustertest.BreakLosesNodes: {doubt, doubt},
	clustertest.BreakUnsent:     {partWay, partWay},
	clustertest.BreakGarbles:    {done, done},
	clustertest.BreakIgnores:    {doubt, partWay},
	clustertest.BreakDelays:     {done, done},
}

// TestEveryStepUnderEveryFault breaks the request of each step that changes something in the cluster, in turn, and
// looks at what the run says of it, at the undo and at the lock; then the same journal goes on.
func TestEveryStepUnderEveryFault(t *testing.T) {
	verbs := map[string]string{"prepare/clear": "clear-move", "prepare/failback": "set-failback", "move/move": "move",
		"back/move": "move", "finish/failback": "set-failback"}
	for id, verb := range verbs {
		for how, row := range matrix {
			synctest.Test(t, func(t *testing.T) {
				want := row.setting
				if verb == "move" {
					want = row.move
				}
				sim, c := newSim(t, clustertest.StylePacemaker)
				require.NoError(t, sim.Update(func(m *clustertest.Model) error {
					m.Group(group).Standing = []cluster.MoveRequest{{ID: "cli-prefer-x", Node: "EFT01", Ours: true}}
					return nil
				}))
				p := transfer(t, c, cluster.AfterMoveBack)
				j := failovertest.Journal(t)
				broken := edit(t, p, id, func(s *failover.Step) {
					inner := s.Apply
					s.Apply = func(ctx context.Context) error {
						require.NoError(t, sim.Break(verb, how))
						return inner(ctx)
					}
				})
				report, err := broken.Run(t.Context(), by(j, nil))
				require.Equal(t, want.result == failover.ResultCompleted, err == nil, "%s %d: %v", id, how, err)
				require.Equal(t, want.result, report.Result, "%s %d: %v", id, how, err)
				require.Equal(t, want.status, status(report, id), "%s %d: %v", id, how, err)
				in := slices.ContainsFunc(p.UndoPlan(j).Steps, func(u failover.UndoStep) bool { return u.ID == id })
				if want.result != failover.ResultCompleted {
					require.Equal(t, want.undo, in, "%s %d", id, how)
					require.NotEmpty(t, failover.NextOf(err))
				}
				require.Equal(t, want.result != failover.ResultCompleted, len(state(t, sim).Marks) > 0,
					"%s %d: the lock is kept until nothing is half-way", id, how)
				require.NoError(t, sim.Heal())
				report, err = p.Run(t.Context(), by(j, nil))
				require.NoError(t, err, "%s %d", id, how)
				require.Equal(t, failover.ResultCompleted, report.Result)
				m := state(t, sim)
				require.Equal(t, map[string]int{group + " to EFT01": 1, group + " to EFT02": 1}, m.Counters.MovesByTarget,
					"%s %d", id, how)
				require.Equal(t, "EFT01", m.Group(group).Owner)
				require.Equal(t, cluster.FailbackAllowed, m.Group(group).Failback.Policy)
				require.Empty(t, m.Group(group).Standing)
				require.Empty(t, m.Marks)
			})
		}
	}
}

// TestAnUndoAfterEveryFault takes back what a fault left of the guard: it refuses while the guard may still come.
func TestAnUndoAfterEveryFault(t *testing.T) {
	for how, row := range matrix {
		synctest.Test(t, func(t *testing.T) {
			sim, c := newSim(t, clustertest.StyleWindows)
			p := transfer(t, c, cluster.AfterMoveStay)
			j := failovertest.Journal(t)
			broken := edit(t, p, "prepare/failback", func(s *failover.Step) {
				inner := s.Apply
				s.Apply = func(ctx context.Context) error {
					require.NoError(t, sim.Break("set-failback", how))
					return inner(ctx)
				}
			})
			_, err := broken.Run(t.Context(), by(j, park("move/move")))
			require.Error(t, err)
			require.NoError(t, sim.Heal())
			report, err := p.Undo(t.Context(), by(j, nil))
			if how == clustertest.BreakIgnores {
				require.ErrorIs(t, err, failover.ErrInDoubt)
				_, err = p.Run(t.Context(), by(j, park("move/move")))
				require.ErrorIs(t, err, failover.ErrWaiting)
				report, err = p.Undo(t.Context(), by(j, nil))
			}
			require.NoError(t, err, "%d %v", how, row.setting)
			require.Equal(t, failover.ResultUndone, report.Result)
			m := state(t, sim)
			require.Equal(t, cluster.FailbackAllowed, m.Group(group).Failback.Policy, "%d", how)
			require.Empty(t, m.Marks)
			require.Empty(t, m.Counters.Moves)
		})
	}
}

// TestEveryChangeOfStateUnderEveryFault is the same for the calls that no step of a transfer makes.
func TestEveryChangeOfStateUnderEveryFault(t *testing.T) {
	const inDoubt, applied, not = failover.InDoubt, failover.Applied, failover.NotApplied
	outcomes := map[clustertest.Break]failover.Outcome{clustertest.BreakLosesReply: applied,
		clustertest.BreakLosesNodes: inDoubt, clustertest.BreakUnsent: not,
		clustertest.BreakGarbles: applied, clustertest.BreakIgnores: inDoubt, clustertest.BreakDelays: applied}
	o := cluster.StateOptions{Timeout: quick.Timeout, Poll: quick.Poll, Settle: quick.Settle}
	calls := map[string]func(context.Context, cluster.Cluster) error{
		"offline": func(ctx context.Context, c cluster.Cluster) error { return c.Offline(ctx, group, o) },
		"resource-offline": func(ctx context.Context,
			c cluster.Cluster) error {
			return c.OfflineResource(ctx, group+" Service", o)
		},
		"pause": func(ctx context.Context, c cluster.Cluster) error {
			return c.Pause(ctx, "EFT02", o)
		},
		"online": func(ctx context.Context, c cluster.Cluster) error { return c.Online(ctx, group, o) },
		"resource-online": func(ctx context.Context,
			c cluster.Cluster) error {
			return c.OnlineResource(ctx, group+" Service", o)
		},
		"resume": func(ctx context.Context, c cluster.Cluster) error { return c.Resume(ctx, "EFT02", o) },
	}
	for verb, call := range calls {
		for how, want := range outcomes {
			synctest.Test(t, func(t *testing.T) {
				sim, c := newSim(t, clustertest.StyleWindows)
				switch verb {
				case "online", "resource-online":
					require.NoError(t, c.Offline(t.Context(), group, o))
				case "resume":
					require.NoError(t, sim.Update(func(m *clustertest.Model) error {
						m.Node("EFT02").State = cluster.NodePaused
						return nil
					}))
				}
				require.NoError(t, sim.Break(verb, how))
				err := call(t.Context(), c)
				require.Equal(t, want, failover.OutcomeOf(err), "%s %d: %v", verb, how, err)
				require.NoError(t, sim.Heal())
				require.NoError(t, call(t.Context(), c), "%s %d", verb, how)
			})
		}
	}
}
