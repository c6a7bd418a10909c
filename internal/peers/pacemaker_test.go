package peers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/peers"
)

func TestPacemakerComesUp(t *testing.T) {
	c := peers.StartPacemaker(t, peers.PacemakerOptions{})
	for _, n := range c.Nodes {
		out, err := n.Run("crm_node", "-n")
		require.NoError(t, err)
		require.Equal(t, n.Name+"\n", out)
	}
}
