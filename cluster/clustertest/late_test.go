package clustertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

// A request whose answer was lost comes later than every limit. A time without a change is no proof that it will not:
// the move stays in doubt and nothing is taken back, unless the request was taken back wherever it is.
func TestARequestThatComesLaterThanEveryLimit(t *testing.T) {
	for _, style := range []clustertest.Style{clustertest.StyleWindows, clustertest.StylePacemaker} {
		synctest.Test(t, func(t *testing.T) {
			sim, c := newSim(t, style)
			require.NoError(t, sim.Break("move", clustertest.BreakDelays))
			require.NoError(t, sim.Update(func(m *clustertest.Model) error {
				m.Delay = 100000
				return nil
			}))
			arrive := func() {
				t.Helper()
				require.NoError(t, sim.Heal())
				require.NoError(t, sim.Update(func(m *clustertest.Model) error {
					for i := range m.Delayed {
						m.Delayed[i].Left = 1
					}
					return nil
				}))
				for range 10 {
					_, err := c.Group(t.Context(), group)
					require.NoError(t, err)
				}
			}
			p := transfer(t, c, cluster.AfterMoveStay)
			j := failovertest.Journal(t)
			report, err := p.Run(t.Context(), by(j, nil))
			require.ErrorIs(t, err, cluster.ErrNotStarted)
			if style == clustertest.StyleWindows {
				require.Equal(t, failover.StatusInDoubt, status(report, "move/move"), "%v", err)
				require.Equal(t, failover.ResultInDoubt, report.Result)
				// Also when the run goes on and asks what became of it.
				report, err = p.Run(t.Context(), by(j, nil))
				require.Error(t, err)
				require.Equal(t, failover.ResultInDoubt, report.Result, "%v", err)
				require.ErrorIs(t, err, cluster.ErrNotSupported)
				_, err = p.Undo(t.Context(), by(j, nil))
				require.Error(t, err, "the guard stays as long as the move may come")
				require.Equal(t, cluster.FailbackPrevented, state(t, sim).Group(group).Failback.Policy)
				arrive()
				report, err = p.Run(t.Context(), by(j, nil))
				require.NoError(t, err)
				require.Equal(t, failover.ResultCompleted, report.Result)
				require.Equal(t, "EFT02", state(t, sim).Group(group).Owner)
				require.Equal(t, 1, state(t, sim).Counters.Moves[group])
				return
			}
			require.Equal(t, failover.StatusFailed, status(report, "move/move"), "%v", err)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%v", err)
			_, err = p.Undo(t.Context(), by(j, nil))
			require.NoError(t, err)
			arrive()
			require.Equal(t, "EFT01", state(t, sim).Group(group).Owner, "what was taken back does not act")
			require.Zero(t, state(t, sim).Counters.Moves[group])
		})
	}
}

// The same for a run that was killed: only the probe can tell.
func TestAProbeTakesTheRequestBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StylePacemaker)
		require.NoError(t, sim.Break("move", clustertest.BreakDelays))
		require.NoError(t, sim.Update(func(m *clustertest.Model) error {
			m.Delay = 100000
			m.Group(group).Standing = []cluster.MoveRequest{{ID: "cli-prefer-x", Node: "EFT02", Ours: true, Inert: true}}
			m.Delayed = nil
			return nil
		}))
		require.NoError(t, c.Withdraw(t.Context(), group))
		require.Empty(t, state(t, sim).Group(group).Standing)
		for _, s := range transfer(t, c, cluster.AfterMoveStay).AllSteps() {
			if s.ID == "move/move" {
				began := time.Now()
				got, err := s.Probe(t.Context())
				require.NoError(t, err)
				require.Equal(t, failover.NotApplied, got)
				require.GreaterOrEqual(t, time.Since(began), quick.Settle, "what acted just before shows itself")
			}
		}
	})
}
