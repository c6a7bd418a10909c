package cluster

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/internal/wsfc"
	"github.com/01b61c5c/failover/internal/powershell"
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
	require.NoError(t, json.Unmarshal([]byte(`{"nodes": {"code": "0", "drainCode": "0"},
		"groups": {"code": 0, "failback": "0", "info": "0"}, "backup": "0"}`), &s))
	v := windowsSnapshot(s, "n")
	require.Equal(t, NodeUp, v.Nodes[0].State)
	require.Equal(t, StateOnline, v.Groups[0].State)
	require.Equal(t, FailbackPrevented, v.Groups[0].Failback.Policy)
	require.False(t, v.BackupUnknown)
}

// The flags are those of clusapi.h. The largest unsigned number is what a 64-bit enumeration without a value shows.
func TestWhatWindowsSaysOfAGroupBesideItsState(t *testing.T) {
	for said, want := range map[string]Group{
		`"info": "0"`:                     {State: StateOnline},
		`"info": "32"`:                    {State: StateFailed},
		`"info": "128"`:                   {State: StateFailed},
		`"info": "256"`:                   {State: StateUnknown},
		`"info": null`:                    {State: StateUnknown},
		`"info": "1"`:                     {State: StateOnline, Locked: true},
		`"info": "20"`:                    {State: StateOnline, Queued: true},
		`"info": "18446744073709551615"`:  {State: StateUnknown, Locked: true, Queued: true},
		`"info": "0", "failed": "denied"`: {State: StateUnknown},
	} {
		var s wsfc.State
		require.NoError(t, json.Unmarshal([]byte(`{"groups": {"name": "g", "code": "0", "owner": "n", `+said+`}}`), &s))
		g := windowsSnapshot(s, "n").Groups[0]
		require.Equal(t, want, Group{State: g.State, Locked: g.Locked, Queued: g.Queued}, said)
	}
	var s wsfc.State
	require.NoError(t, json.Unmarshal([]byte(`{"groups": {"name": "g", "code": "0", "owner": "n", "info": "0"},
		"nodes": [{"name": "n", "code": "1", "drainCode": "0"}, {"name": "m", "code": "0", "drainCode": "0"}], "resources": [
		{"name": "r", "group": "g", "owner": "n", "code": "2", "possible": null}, {"name": "d", "group": "g", "code": "2", "possible": [],
		"failed": "being deleted"}]}`), &s))
	v := windowsSnapshot(s, "m")
	require.True(t, v.BackupUnknown)
	g := v.Groups[0]
	require.Equal(t, StateUnknown, g.State)
	require.Contains(t, g.String(), "d: being deleted")
	require.Nil(t, g.Members[0].Possible, "not said")
	require.NotNil(t, g.Members[1].Possible, "said to be nobody")
	// A resource that does not tell its group may be the service of this one: without it a service would look like a stray.
	var lost wsfc.State
	require.NoError(t, json.Unmarshal([]byte(`{"groups": {"name": "g", "code": "0", "owner": "n", "info": "0"},
		"resources": {"name": "svc", "group": "", "owner": "n", "code": "2", "service": "x", "failed": "OwnerGroup cannot be read"}}`), &lost))
	require.Equal(t, StateUnknown, windowsSnapshot(lost, "m").Groups[0].State)
	// A group whose node is down is not up, whatever its own number says.
	s.Resources = s.Resources[:1]
	require.Equal(t, StateUnknown, windowsSnapshot(s, "m").believed().Groups[0].State)
	require.Equal(t, StateOnline, windowsSnapshot(s, "m").Groups[0].State)
}

// A refusal counts for the change only when it answered the change and not what came after it.
func TestARefusalAfterTheChangeProvesNothing(t *testing.T) {
	for code := range windowsCodes {
		for _, changed := range []bool{false, true} {
			f := &powershell.Failure{Touched: true, Changed: changed, Chain: []powershell.Cause{{Win32: code}}}
			err := windowsError("swap mark", "n", f, failover.InDoubt)
			want := failover.InDoubt
			if windowsCodes[code].refused && !changed {
				want = failover.NotApplied
			}
			require.Equal(t, want, failover.OutcomeOf(err), "%d %t", code, changed)
		}
	}
}

// A move is a change of the whole cluster, also for groups that nobody named.
func TestOtherGroupsThatStandOtherwiseAreTold(t *testing.T) {
	move := transfer{o: TransferOptions{Group: "web"}}
	group := func(name, owner string, s State) Group { return Group{Name: name, Owner: owner, State: s} }
	before := move.others(Snapshot{Groups: []Group{group("web", "n1", StateOnline), group("app", "n2", StateOnline),
		group("ftp", "n2", StateOnline), group("old", "n1", StateOffline)}})
	require.Empty(t, differing(before, before))
	after := move.others(Snapshot{Groups: []Group{group("web", "n2", StateOnline), group("app", "", StateOffline),
		group("ftp", "n2", StateOnline), group("new", "n1", StateOnline)}})
	require.Equal(t, "; app was online on n2 and is offline on no single node; old was offline on n1 and is not there",
		differing(before, after))
}
