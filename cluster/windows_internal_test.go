package cluster

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/cluster/internal/wsfc"
)

// In clusapi.h 0 is an online group and a node that is up; a number that was not said is neither.
func TestWhatWindowsDoesNotSayIsUnknown(t *testing.T) {
	for _, code := range []string{``, `"code": null,`, `"code": "77",`} {
		var s wsfc.State
		require.NoError(t, json.Unmarshal(
			[]byte(`{"cluster": "c", "nodes": {`+code+` "name": "n"}, "groups": [{`+code+` "name": "g", "owner": "n"}],
			"resources": [{`+code+` "name": "r", "group": "g"}]}`), &s))
		v := windowsSnapshot(s, "n")
		require.Equal(t, NodeUnknown, v.Nodes[0].State, code)
		require.Equal(t, StateUnknown, v.Groups[0].State, code)
		require.Equal(t, StateUnknown, v.Groups[0].Members[0].State, code)
		require.Equal(t, FailbackUnknown, v.Groups[0].Failback.Policy, code)
	}
	var s wsfc.State
	require.NoError(t, json.Unmarshal([]byte(`{"nodes": {"code": "0"}, "groups": {"code": 0, "failback": "0"}}`), &s))
	v := windowsSnapshot(s, "n")
	require.Equal(t, NodeUp, v.Nodes[0].State)
	require.Equal(t, StateOnline, v.Groups[0].State)
	require.Equal(t, FailbackPrevented, v.Groups[0].Failback.Policy)
}
