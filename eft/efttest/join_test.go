package efttest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// pair is two clusters with a group each, one with the program on each node and one with a shared one.
type pair map[string]*efttest.World

func openPair(t *testing.T) pair {
	t.Helper()
	return pair{"local": efttest.Start(t, efttest.LayoutLocal), "shared": efttest.Start(t, efttest.LayoutShared)}
}

func (w pair) procedure(t *testing.T) failover.Procedure {
	t.Helper()
	p, err := failover.Join(failover.JoinOptions{Name: "both"},
		failover.Part{Name: "local", Procedure: fromWorld(t, w["local"])},
		failover.Part{Name: "shared", Procedure: fromWorld(t, w["shared"])})
	require.NoError(t, err)
	return p
}

// options have the person of each part, who knows the steps by the names they have there.
func (w pair) options(j *failover.Journal, gate failover.Gate) failover.RunOptions {
	return failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Gate: gate,
		Confirm: func(ctx context.Context, q failover.Request) (failover.Statement, error) {
			part, id, _ := strings.Cut(q.Step.ID, "/")
			q.Step.ID = id
			return w[part].Confirm(ctx, q)
		}}
}

// TestTwoUpgradesInOneProcedure dies at some records; more of them are tried where an upgrade is alone.
func TestTwoUpgradesInOneProcedure(t *testing.T) {
	for _, at := range []int{-1, 60, 101, 150} {
		w, store := openPair(t), failovertest.NewStore("run")
		run := func(j *failover.Journal) error {
			_, err := w.procedure(t).Run(t.Context(), w.options(j, nil))
			return err
		}
		died, err := store.Crash(t, at, failovertest.Durability(at&1), run)
		require.Equal(t, at >= 0, died)
		require.NoError(t, err, "died at record %d", at)
		for _, world := range w {
			upgraded(t, world)
		}
	}
}

// TestTheUndoOfTwoUpgrades stops before everything that happens once, takes back what was prepared, and dies in
// between.
func TestTheUndoOfTwoUpgrades(t *testing.T) {
	no := func(_ context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.Kind == failover.Once {
			return failover.Approval{}, failover.ErrRejected
		}
		return failover.Approval{}, nil
	}
	for at, died := 0, true; died; at += 5 {
		w, store := openPair(t), failovertest.NewStore("undo")
		_, err := store.Crash(t, -1, failovertest.DurabilityKept, func(j *failover.Journal) error {
			_, err := w.procedure(t).Run(t.Context(), w.options(j, no))
			return err
		})
		require.ErrorIs(t, err, failover.ErrRejected)
		undo := func(j *failover.Journal) error {
			_, err := w.procedure(t).Undo(t.Context(), w.options(j, nil))
			return err
		}
		died, err = store.Crash(t, at, failovertest.Durability(at%2), undo)
		require.NoError(t, err, "died at record %d", at)
		for _, world := range w {
			s, m, err := world.State()
			require.NoError(t, err)
			require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
			require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
			require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
			require.Empty(t, m.Marks, "the locks are released")
			require.Empty(t, s.Counters.InstallerRuns)
		}
	}
}
