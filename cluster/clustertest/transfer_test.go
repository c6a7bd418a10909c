package clustertest_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

func transfer(t *testing.T, c cluster.Cluster, then cluster.AfterMove) failover.Procedure {
	t.Helper()
	p, err := cluster.Transfer(c,
		cluster.TransferOptions{Group: group, Target: "EFT02", From: "EFT01", Then: then, Move: quick,
			Hold: time.Millisecond})
	require.NoError(t, err)
	return p
}

func run(t *testing.T, ctx context.Context, p failover.Procedure, journal string, observer func(failover.Event)) error { //nolint:revive // t first reads better in tests
	t.Helper()
	j, err := failovertest.JournalAt(journal)
	require.NoError(t, err)
	_, err = p.Run(ctx, failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Observer: observer})
	require.NoError(t, j.Close())
	return err
}

func TestTransferThereAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, style := range []clustertest.Style{clustertest.StyleWindows, clustertest.StylePacemaker} {
			sim, c := newSim(t, style)
			before := state(t, sim)
			p := transfer(t, c, cluster.AfterMoveBack)
			plan, err := p.Plan(t.Context(), nil)
			require.NoError(t, err)
			for _, s := range plan.Steps {
				require.NotEqual(t, failover.ActionBlock, s.Action, "%s: %s", s.ID, s.Error)
			}
			require.Empty(t, state(t, sim).Requests, "a plan asks for nothing")
			require.NoError(t, run(t, t.Context(), p, filepath.Join(t.TempDir(), "j"), nil))
			after := state(t, sim)
			require.Equal(t, before.Group(group).Owner, after.Group(group).Owner)
			require.Equal(t, before.Group(group).Failback, after.Group(group).Failback)
			require.Empty(t, after.Group(group).Standing)
			require.Equal(t, map[string]int{group + " to EFT01": 1, group + " to EFT02": 1}, after.Counters.MovesByTarget)
			require.Empty(t, after.Marks, "the lock is released")
			require.Zero(t, after.Counters.TwoOwners)
		}
	})
}

func TestTransferEndsAsEachFaultSays(t *testing.T) {
	for _, fault := range clustertest.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, c := newSim(t, clustertest.StyleWindows)
				require.NoError(t, sim.Arm(fault.Name, group))
				err := run(t, t.Context(), transfer(t, c, cluster.AfterMoveStay), filepath.Join(t.TempDir(), "j"), nil)
				m := state(t, sim)
				require.Zero(t, m.Counters.TwoOwners)
				require.LessOrEqual(t, m.Counters.Moves[group], 1)
				switch fault.Ending {
				case clustertest.EndingCompletes:
					require.NoError(t, err)
					require.Equal(t, "EFT02", m.Group(group).Owner)
					require.Equal(t, cluster.FailbackAllowed, m.Group(group).Failback.Policy)
				case clustertest.EndingRefused:
					require.ErrorIs(t, err, fault.Err)
					require.ErrorIs(t, err, failover.ErrPrecondition)
					require.Zero(t, m.Counters.Moves[group])
					require.Equal(t, cluster.FailbackAllowed, m.Group(group).Failback.Policy, "nothing was touched")
				case clustertest.EndingStops:
					require.ErrorIs(t, err, fault.Err)
					require.NotEmpty(t, failover.NextOf(err))
				}
			})
		})
	}
}

func TestTransferRefusesBadInput(t *testing.T) {
	_, c := newSim(t, clustertest.StyleWindows)
	for field, o := range map[string]cluster.TransferOptions{
		"Group":  {Target: "b"},
		"Target": {Group: "g", Target: "a\nb"},
		"From":   {Group: "g", Target: "b", From: "b"},
		"Hold":   {Group: "g", Target: "b", Hold: time.Hour},
		"Expect": {Group: "g", Target: "b", Move: cluster.MoveOptions{Expect: "x"}},
		"Then":   {Group: "g", Target: "b", Then: 7},
		"Stop":   {Group: "g", Target: "b", StopTime: -1},
		"Back":   {Group: "g", Target: "b", Failback: cluster.Failback{Policy: 7}},
		"Move":   {Group: "g", Target: "b", Move: cluster.MoveOptions{Poll: -1}},
	} {
		_, err := cluster.Transfer(c, o)
		require.ErrorIs(t, err, failover.ErrInvalid, field)
	}
	_, err := cluster.Transfer(nil, cluster.TransferOptions{Group: "g", Target: "b"})
	require.ErrorIs(t, err, failover.ErrInvalid)
}

// A failback setting that cannot be read could not be put back: it is not replaced by ours.
func TestASettingThatCannotBeReadIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, style := range []clustertest.Style{clustertest.StyleWindows, clustertest.StylePacemaker} {
			sim, c := newSim(t, style)
			require.NoError(t, sim.Update(func(m *clustertest.Model) error {
				m.Group(group).Failback = cluster.Failback{}
				return nil
			}))
			journal := filepath.Join(t.TempDir(), "j")
			err := run(t, t.Context(), transfer(t, c, cluster.AfterMoveStay), journal, nil)
			require.ErrorIs(t, err, cluster.ErrNotTold)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			m := state(t, sim)
			require.False(t, slices.ContainsFunc(m.Requests, func(r clustertest.Request) bool {
				return r.Verb == "set-failback" || r.Verb == "move"
			}))
			require.NoError(t, sim.Update(func(m *clustertest.Model) error { // as the error says
				m.Group(group).Failback = cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "5"}
				return nil
			}))
			require.NoError(t, run(t, t.Context(), transfer(t, c, cluster.AfterMoveStay), journal, nil))
			require.Equal(t, cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "5"}, state(t, sim).Group(group).Failback)
		}
	})
}
