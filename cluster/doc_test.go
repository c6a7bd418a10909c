package cluster_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

// TestTheDocumentationListsTheSteps compares the numbered list in doc.go with the procedure.
func TestTheDocumentationListsTheSteps(t *testing.T) {
	sim := clustertest.Start(t, clustertest.TwoNodes("a", "the target", "g", "s"))
	c, err := sim.Cluster()
	require.NoError(t, err)
	p, err := cluster.Transfer(c, cluster.TransferOptions{Group: "g", Target: "the target", Then: cluster.AfterMoveBack})
	require.NoError(t, err)
	require.NoError(t, p.Validate())
	failovertest.Documented(t, "doc.go", map[string]failover.Procedure{"Transfer": p})
}
