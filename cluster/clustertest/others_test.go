package clustertest_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

// drives puts a group on the target that may not be there together with the one that moves.
func drives(t *testing.T, sim *clustertest.Sim) {
	t.Helper()
	require.NoError(t, sim.Update(func(m *clustertest.Model) error {
		m.Groups = append(m.Groups, &clustertest.Group{Name: "app", Owner: "EFT02", Wanted: cluster.StateOnline,
			Avoids: []string{group}})
		m.Resources = append(m.Resources, &clustertest.Resource{Name: "app-svc", Group: "app", State: cluster.StateOnline})
		return nil
	}))
}

func line(t *testing.T, p failover.Procedure, id string) (failover.Observation, failover.PlanHash) {
	t.Helper()
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	for _, s := range plan.Steps {
		if s.ID == id {
			return s.Observation, plan.Findings
		}
	}
	require.Fail(t, id)
	return failover.Observation{}, ""
}

// A move is a change of the whole cluster: who approves it sees which groups it drives off.
func TestThePlanTellsWhatTheMoveDoesToOtherGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StylePacemaker)
		p := transfer(t, c, cluster.AfterMoveStay)
		obs, before := line(t, p, "move/move")
		require.Contains(t, obs.Would, "foresees nothing for other groups")
		drives(t, sim)
		obs, after := line(t, p, "move/move")
		require.Contains(t, obs.Would, "app moves from EFT02 to EFT01")
		require.NotEqual(t, before, after, "it is part of what is approved")

		// Whoever approved the plan without it is asked again.
		j := failovertest.Journal(t)
		o := by(j, nil)
		o.Approved = before
		_, err := p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrPlanChanged)
		require.Zero(t, state(t, sim).Counters.Moves[group])

		report, err := p.Run(t.Context(), by(failovertest.Journal(t), nil))
		require.NoError(t, err)
		require.Equal(t, "EFT01", state(t, sim).Group("app").Owner, "the simulator does what it foresaw")
		last := report.Steps[len(report.Steps)-1]
		require.Contains(t, last.Found, "app was online on EFT02 and is online on EFT01")
	})
}

// A cluster that cannot be asked is not a cluster in which nothing happens.
func TestWhatCannotBeForeseenIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StyleWindows)
		drives(t, sim)
		obs, _ := line(t, transfer(t, c, cluster.AfterMoveStay), "move/move")
		require.Contains(t, obs.Would, "what other groups do then is not known beforehand")
		_, c = newSim(t, clustertest.StylePacemaker)
		obs, _ = line(t, transfer(t, c, cluster.AfterMoveBack), "back/move")
		require.Contains(t, obs.Would, "what other groups do then is not known beforehand")
	})
}
