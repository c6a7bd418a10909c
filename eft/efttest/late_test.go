package efttest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// A start whose answer was lost comes when the run has long said that nothing was started: the node refuses it.
func TestAStartThatComesLaterThanEveryLimit(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	o, err := w.Options()
	require.NoError(t, err)
	p, err := eft.Upgrade(o)
	require.NoError(t, err)
	require.NoError(t, w.Update(func(m *clustertest.Model, _ *efttest.State) error {
		m.Delay = 1000000
		return nil
	}))
	require.NoError(t, w.Break("start-installer", clustertest.BreakDelays))
	options := failover.RunOptions{Journal: failovertest.Journal(t), Actor: "anna", Reason: "test", Confirm: w.Confirm}
	report, err := p.Run(t.Context(), options)
	require.Error(t, err)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%v", err)
	require.Equal(t, failover.ResultPartWay, report.Result)
	_, err = p.Undo(t.Context(), options)
	require.NoError(t, err)
	require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
		require.Len(t, s.Delayed, 1)
		s.Delayed[0].Left = 1
		return nil
	}))
	_, err = w.Node(efttest.PassiveNode).Facts(t.Context())
	require.NoError(t, err)
	s, _, err := w.State()
	require.NoError(t, err)
	require.Empty(t, s.Delayed, "it has come")
	require.Empty(t, s.Counters.InstallerRuns)
}
