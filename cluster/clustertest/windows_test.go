package clustertest_test

import (
	"errors"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
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
	for at, fault := range clustertest.Faults() {
		if fault.Name == "no-quorum" {
			continue // a Windows node without quorum does not answer at all
		}
		shells := slices.Sorted(maps.Keys(clustertest.Shells()))
		shell := shells[at%len(shells)] // what each shell does to each answer is another test
		t.Run(fault.Name+"/"+shell, func(t *testing.T) {
			m := clustertest.TwoNodes("EFT01", "EFT02", group, "EFT Server Enterprise")
			m.Shell = clustertest.Shells()[shell]
			sim, nodes, c := windows(t, m)
			require.NoError(t, sim.Arm(fault.Name, group))
			p, err := cluster.Transfer(c,
				cluster.TransferOptions{Group: group, Target: "EFT02", Move: slowMachine, Hold: time.Millisecond})
			require.NoError(t, err)
			err = run(t, t.Context(), p, filepath.Join(t.TempDir(), "j"), nil)
			after := state(t, sim)
			require.LessOrEqual(t, after.Counters.Moves[group], 1)
			require.Zero(t, after.Counters.TwoOwners)
			require.Empty(t, nodes.Refused())
			if fault.Ending == clustertest.EndingCompletes {
				require.NoError(t, err)
				require.Equal(t, "EFT02", after.Group(group).Owner)
				return
			}
			require.ErrorIs(t, err, fault.Err)
			if fault.Ending == clustertest.EndingRefused {
				require.ErrorIs(t, err, failover.ErrPrecondition)
				require.Zero(t, after.Counters.Moves[group])
			}
		})
	}
}

// A login shell may turn the exit status into another one (PowerShell: 0 or 1). What Windows says stands in the
// document, and that decides.
func TestARefusalKeepsItsWordsUnderEveryShell(t *testing.T) {
	o := cluster.StateOptions{Timeout: time.Minute, Poll: 5 * time.Millisecond, Settle: 300 * time.Millisecond}
	for name, shell := range clustertest.Shells() {
		t.Run(name, func(t *testing.T) {
			m := clustertest.TwoNodes("EFT01", "EFT02", group, "EFT Server Enterprise")
			m.Shell = shell
			sim, nodes, c := windows(t, m)
			ctx := t.Context()
			refused := func(err error, code int, symbol string, kind error) {
				t.Helper()
				said, ok := errors.AsType[*cluster.CodeError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, code, said.Code)
				require.Equal(t, symbol, said.Name)
				require.ErrorIs(t, err, kind)
				require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%v", err)
				require.NotErrorIs(t, err, cluster.ErrUnreachable, "the node answered")
			}
			require.NoError(t, sim.Arm("busy", group))
			_, err := c.Move(ctx, group, "EFT02", slowMachine)
			refused(err, 5908, "ERROR_CLUSTER_GROUP_MOVING", cluster.ErrBusy)
			refused(c.SetService(ctx, group+" Service", "Other"), 5019, "ERROR_RESOURCE_ONLINE", failover.ErrPrecondition)
			require.NoError(t, sim.Update(func(m *clustertest.Model) error {
				m.Broken = nil
				m.Group(group).Move = &clustertest.Move{From: "EFT01", To: "EFT02", Phase: "start", Left: 1000}
				return nil
			}))
			refused(c.OfflineResource(ctx, group+" Disk", o), 5908, "ERROR_CLUSTER_GROUP_MOVING", cluster.ErrBusy)
			require.Empty(t, nodes.Refused())

			require.NoError(t, sim.Update(func(m *clustertest.Model) error {
				m.Group(group).Move = nil
				for _, n := range m.Nodes {
					n.NoPowerShell = true
				}
				return nil
			}))
			_, err = c.Move(ctx, group, "EFT02", slowMachine)
			require.Error(t, err)
			require.Zero(t, state(t, sim).Counters.Moves[group])
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%v", err)
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
