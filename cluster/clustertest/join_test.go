package clustertest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

const mail = "MAIL SERVICE"

// twoGroups is a cluster with two groups, and how a procedure that moves both is built.
func twoGroups(t testing.TB) (*clustertest.Sim, func(testing.TB) failover.Procedure) {
	t.Helper()
	m, second := clustertest.TwoNodes("EFT01", "EFT02", group, "EFT Server Enterprise"),
		clustertest.TwoNodes("EFT01", "EFT02", mail, "mailsvc")
	m.Groups = append(m.Groups, second.Group(mail))
	m.Resources = append(m.Resources, second.Members(mail)...)
	m.Nodes[0].Services["mailsvc"] = true
	sim := clustertest.Start(t, m)
	return sim, func(t testing.TB) failover.Procedure {
		t.Helper()
		c, err := sim.Cluster()
		require.NoError(t, err)
		var parts []failover.Part
		for part, name := range map[string]string{"eft": group, "mail": mail} {
			p, err := cluster.Transfer(c,
				cluster.TransferOptions{Group: name, Target: "EFT02", From: "EFT01", Move: quick, Hold: time.Millisecond})
			require.NoError(t, err)
			parts = append(parts, failover.Part{Name: part, Procedure: p})
		}
		if parts[0].Name != "eft" {
			parts[0], parts[1] = parts[1], parts[0]
		}
		p, err := failover.Join(failover.JoinOptions{Name: "both"}, parts...)
		require.NoError(t, err)
		return p
	}
}

// both requires that both groups stand as wanted, and that nothing is left of the locks.
func both(t testing.TB, sim *clustertest.Sim, owner string, moves int) {
	t.Helper()
	m, err := sim.Model()
	require.NoError(t, err)
	for _, name := range []string{group, mail} {
		require.Equal(t, owner, m.Group(name).Owner, name)
		require.Equal(t, cluster.StateOnline, m.GroupState(name), name)
		require.Equal(t, cluster.FailbackAllowed, m.Group(name).Failback.Policy, name)
		require.Equal(t, moves, m.Counters.Moves[name], name)
	}
	require.Zero(t, m.Counters.TwoOwners)
	require.Empty(t, m.Marks, "the locks are released")
}

// TestTwoGroupsInOneProcedure dies at every third record; every one of them is tried where the group is alone.
func TestTwoGroupsInOneProcedure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for at, died := 0, true; died; at += 3 {
			sim, build := twoGroups(t)
			store := failovertest.NewStore("run")
			run := func(j *failover.Journal) error {
				_, err := build(t).Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test"})
				return err
			}
			var err error
			died, err = store.Crash(t, at, failovertest.Durability(at%2), run)
			require.NoError(t, err, "died at record %d", at)
			both(t, sim, "EFT02", 1)
		}
	})
}

// TestTheUndoOfTwoGroups stops before both moves, takes back what was prepared, and dies at each record of that.
func TestTheUndoOfTwoGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := func(_ context.Context, q failover.Request) (failover.Approval, error) {
			if q.Step.Kind == failover.Once {
				return failover.Approval{}, failover.ErrRejected
			}
			return failover.Approval{}, nil
		}
		deaths := 0
		for at, died := 0, true; died; at++ {
			sim, build := twoGroups(t)
			store := failovertest.NewStore("undo")
			_, err := store.Crash(t, -1, failovertest.DurabilityKept, func(j *failover.Journal) error {
				_, err := build(t).Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Gate: no})
				return err
			})
			require.ErrorIs(t, err, failover.ErrRejected)
			undo := func(j *failover.Journal) error {
				_, err := build(t).Undo(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test"})
				return err
			}
			if died, err = store.Crash(t, at, failovertest.Durability(at%2), undo); died {
				deaths++
			}
			require.NoError(t, err, "died at record %d", at)
			both(t, sim, "EFT01", 0)
		}
		require.Greater(t, deaths, 8)
	})
}
