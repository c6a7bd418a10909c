package idmtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
)

// What each fault leads to is shown where a procedure meets it, in examples/drill.
func TestFaultsAreArmedByName(t *testing.T) {
	require.NotEmpty(t, idmtest.Faults())
	for _, f := range idmtest.Faults() {
		tree := idmtest.Start(t, idmtest.Config{Drivers: 6,
			Servers: []idmtest.ServerConfig{{Name: "old"}, {Name: "new", Prepared: true}}})
		require.NotEmpty(t, f.Title, f.Name)
		require.NoError(t, tree.Arm(f.Name))
		require.Error(t, tree.Arm("no "+f.Name))
	}
	require.Error(t, idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "alone"}}}).
		Arm("garbage"))
}
