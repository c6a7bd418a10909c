package clustertest_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/remote"
)

// windows serves a model behind SSH.
func windows(t *testing.T, m clustertest.Model) (*clustertest.Sim, *clustertest.WindowsNodes, cluster.Cluster) {
	t.Helper()
	sim := clustertest.Start(t, m)
	nodes, err := sim.ServeWindows()
	require.NoError(t, err)
	t.Cleanup(nodes.Close)
	c, err := cluster.NewWindows(cluster.WindowsConfig{Nodes: nodes.Addresses()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return sim, nodes, c
}

// slowMachine has times that hold on a machine with much else to do.
var slowMachine = cluster.MoveOptions{Timeout: time.Minute, Poll: 5 * time.Millisecond, Grace: 50 * time.Millisecond,
	Settle: 300 * time.Millisecond}

func TestWindowsFaultsOverSSH(t *testing.T) {
	for _, fault := range clustertest.Faults() {
		if fault.Name == "no-quorum" {
			continue // a Windows node without quorum does not answer at all
		}
		t.Run(fault.Name, func(t *testing.T) {
			sim, nodes, c := windows(t, clustertest.TwoNodes("EFT01", "EFT02", group, "EFT Server Enterprise"))
			require.NoError(t, sim.Arm(fault.Name, group))
			p, err := cluster.Transfer(c,
				cluster.TransferOptions{Group: group, Target: "EFT02", Move: slowMachine, Hold: time.Millisecond})
			require.NoError(t, err)
			err = run(t, t.Context(), p, filepath.Join(t.TempDir(), "j"), nil)
			m := state(t, sim)
			require.LessOrEqual(t, m.Counters.Moves[group], 1)
			require.Zero(t, m.Counters.TwoOwners)
			require.Empty(t, nodes.Refused())
			if fault.Ending == clustertest.EndingCompletes {
				require.NoError(t, err)
				require.Equal(t, "EFT02", m.Group(group).Owner)
				return
			}
			require.ErrorIs(t, err, fault.Err)
			if fault.Ending == clustertest.EndingRefused {
				require.ErrorIs(t, err, failover.ErrPrecondition)
				require.Zero(t, m.Counters.Moves[group])
			}
		})
	}
}

func TestWindowsStatesOverSSH(t *testing.T) {
	sim, _, c := windows(t, clustertest.TwoNodes("EFT01", "EFT02", group, "EFT Server Enterprise"))
	o := cluster.StateOptions{Timeout: time.Minute, Poll: 5 * time.Millisecond, Settle: 300 * time.Millisecond}
	ctx := t.Context()
	require.NoError(t, c.Offline(ctx, group, o))
	require.ErrorIs(t, c.SetService(ctx, "No Such Resource", "x"), cluster.ErrNotFound)
	require.NoError(t, c.SetService(ctx, group+" Service", "EFT Server"))
	require.NoError(t, c.OnlineResource(ctx, group+" Disk", o))
	require.NoError(t, c.OfflineResource(ctx, group+" Disk", o))
	require.NoError(t, c.Online(ctx, group, o))
	require.ErrorIs(t, c.SetService(ctx, group+" Service", "Other"), failover.ErrPrecondition,
		"a service resource that is online is left alone")
	list, err := c.ServiceResources(ctx, "EFT Server")
	require.NoError(t, err)
	require.Equal(t, group, list[0].Group)
	require.NoError(t, c.Pause(ctx, "EFT01", cluster.StateOptions{Timeout: time.Minute, Poll: 5 * time.Millisecond}))
	require.Equal(t, "EFT02", state(t, sim).Group(group).Owner)
	require.NoError(t, c.Resume(ctx, "EFT01", o))
	require.NoError(t, c.SetFailback(ctx, group, cluster.NoFailback))
	require.NoError(t, c.SetFailback(ctx, group, cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "1"}))
	claim := failover.Claim{ID: "1", Owner: "O'Brien “$x”", Purpose: "test"}
	require.NoError(t, c.Lock().Acquire(ctx, claim))
	require.ErrorIs(t, c.Lock().Acquire(ctx, failover.Claim{ID: "2"}), failover.ErrLocked)
	require.NoError(t, c.Lock().Release(ctx, claim))
}

// TestNamesAreNeverExecuted gives groups names that a careless program would run. The command line is the same for
// each and holds none of it; what could not be a name is refused.
func TestNamesAreNeverExecuted(t *testing.T) {
	line := ""
	for _, name := range []string{"O'Brien", "it‘s", "“x”", `"x"`, "$(Stop-Computer)", "$env:PATH", "`n",
		"';Stop-Computer;'", "EFT*", "EFT?", "[abc]", "#c", "<#",
		"@'", "--%", "%PATH%", "a&b", "a|b", "日本", "a; rm -rf /", "-Name"} {
		sim, nodes, c := windows(t, clustertest.TwoNodes("EFT01", "EFT02", name, "svc"))
		// A wildcard must not reach the others.
		require.NoError(t, sim.Update(func(m *clustertest.Model) error {
			m.Groups = append(m.Groups, &clustertest.Group{Name: "EFT Other", Owner: "EFT01", Wanted: cluster.StateOffline})
			return nil
		}))
		res, err := c.Move(t.Context(), name, "EFT02", slowMachine)
		require.NoError(t, err, "%q", name)
		require.True(t, res.Moved)
		require.Equal(t, map[string]int{name: 1}, state(t, sim).Counters.Moves)
		for _, sent := range nodes.Sent() {
			if line == "" {
				line = sent
			}
			require.Equal(t, line, sent, "the command line is the same whatever the names are")
			require.Regexp(t, regexp.MustCompile(`\A[A-Za-z0-9 .+/=-]+\z`), sent)
		}
	}
	sim, nodes, c := windows(t, clustertest.TwoNodes("EFT01", "EFT02", group, "svc"))
	for _, name := range []string{"", "a\nb", "a\x00b", "a\rb", "\xff", strings.Repeat("x", 2000)} {
		_, err := c.Move(t.Context(), name, "EFT02", slowMachine)
		require.ErrorIs(t, err, failover.ErrInvalid, "%q", name)
	}
	for _, node := range []string{"EFT*", "EFT02; x", "$x", "EFT[12]", "a b"} {
		_, err := c.Move(t.Context(), group, node, slowMachine)
		require.ErrorIs(t, err, failover.ErrInvalid, "%q", node)
	}
	require.Empty(t, nodes.Sent())
	require.Empty(t, state(t, sim).Requests)
}

func TestWindowsNodeRefusesWhatItDoesNotKnow(t *testing.T) {
	_, nodes, _ := windows(t, clustertest.TwoNodes("EFT01", "EFT02", group, "svc"))
	host, err := remote.New(remote.Config{SSH: nodes.Addresses()[0].SSH})
	require.NoError(t, err)
	defer func() { require.NoError(t, host.Close()) }()
	res, err := host.Run(t.Context(), remote.Command{Line: "powershell.exe -Command Stop-Computer"})
	require.NoError(t, err)
	require.Equal(t, 9009, res.Exit)
	require.Len(t, nodes.Refused(), 1)
}

func TestSwappedAddressesAreNoticed(t *testing.T) {
	_, nodes, _ := windows(t, clustertest.TwoNodes("EFT01", "EFT02", group, "svc"))
	list := nodes.Addresses()
	list[0].Node, list[1].Node = list[1].Node, list[0].Node
	c, err := cluster.NewWindows(cluster.WindowsConfig{Nodes: list})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = c.Snapshot(t.Context())
	require.ErrorIs(t, err, cluster.ErrWrongNode)
}
