package clustertest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

// TestLockKeepsTheRules opens the lock of one cluster as several machines do: in memory, and over SSH to Windows nodes.
func TestLockKeepsTheRules(t *testing.T) {
	for name, style := range map[string]clustertest.Style{"windows": clustertest.StyleWindows,
		"pacemaker": clustertest.StylePacemaker} {
		t.Run(name, func(t *testing.T) {
			sim, _ := newSim(t, style)
			failovertest.TestLock(t, func(tb testing.TB) failover.Lock {
				c, err := sim.Cluster()
				require.NoError(tb, err)
				return c.Lock()
			})
		})
	}
	t.Run("over SSH", func(t *testing.T) {
		_, nodes, _ := windows(t, clustertest.TwoNodes("EFT01", "EFT02", group, "EFT Server Enterprise"))
		failovertest.TestLock(t, func(tb testing.TB) failover.Lock {
			c, err := cluster.NewWindows(cluster.WindowsConfig{Nodes: nodes.Addresses()})
			require.NoError(tb, err)
			tb.Cleanup(func() { require.NoError(tb, c.Close()) })
			return c.Lock()
		})
	})
}
