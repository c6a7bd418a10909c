package efttest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
)

// A third node that is not known to be away may take the group while the two are worked on.
func TestAThirdNodeOfWhichNothingIsKnown(t *testing.T) {
	for state, counts := range map[cluster.NodeState]bool{cluster.NodeUp: true, cluster.NodeJoining: true,
		cluster.NodeUnknown: true, cluster.NodePaused: false, cluster.NodeDown: false} {
		w := efttest.Start(t, efttest.LayoutLocal)
		require.NoError(t, w.Arm("third-node"))
		require.NoError(t, w.Update(func(m *clustertest.Model, _ *efttest.State) error {
			m.Node("EFT03").State = state
			return nil
		}))
		o, err := w.Options()
		require.NoError(t, err)
		p, err := eft.Upgrade(o)
		require.NoError(t, err)
		looked := false
		for _, s := range p.AllSteps() {
			if s.ID == "check/other-nodes" {
				looked = true
				obs, err := s.Observe(t.Context())
				require.Equal(t, counts, err != nil, "%s: %v", state, obs)
				if counts {
					require.ErrorIs(t, err, eft.ErrOtherNodes)
				}
			}
		}
		require.True(t, looked)
	}
}
