package clustertest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const group = "EFT Server"

// quick are times for a model in which time passes by readings.
var quick = cluster.MoveOptions{Timeout: 5 * time.Second, Poll: time.Millisecond, Grace: 10 * time.Millisecond,
	Settle: 30 * time.Millisecond}

func newSim(t *testing.T, style clustertest.Style) (*clustertest.Sim, cluster.Cluster) {
	t.Helper()
	m := clustertest.TwoNodes("EFT01", "EFT02", group, "EFT Server Enterprise")
	m.Style = style
	sim := clustertest.Start(t, m)
	c, err := sim.Cluster()
	require.NoError(t, err)
	return sim, c
}

func state(t *testing.T, sim *clustertest.Sim) *clustertest.Model {
	t.Helper()
	m, err := sim.Model()
	require.NoError(t, err)
	return m
}

func TestMoveIsOverWhenOwnerAndStateAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, style := range []clustertest.Style{clustertest.StyleWindows, clustertest.StylePacemaker} {
			sim, c := newSim(t, style)
			res, err := c.Move(t.Context(), group, "EFT02", quick)
			require.NoError(t, err)
			require.Equal(t, "EFT01", res.From)
			require.True(t, res.Moved)
			require.Positive(t, res.Outage)
			m := state(t, sim)
			require.Equal(t, "EFT02", m.Group(group).Owner)
			require.Equal(t, cluster.StateOnline, m.GroupState(group))
			require.Empty(t, m.Group(group).Standing, "the move request is cleared")
			require.Zero(t, m.Counters.TwoOwners)

			res, err = c.Move(t.Context(), group, "EFT02", quick)
			require.NoError(t, err, "being there already is success")
			require.False(t, res.Moved)
			require.Equal(t, 1, state(t, sim).Counters.Moves[group])
		}
	})
}

func TestFaultsEndAsNamed(t *testing.T) {
	kinds := map[string]struct {
		kind    error
		outcome failover.Outcome
		moves   int
	}{
		"slow":          {nil, failover.Applied, 1},
		"queued":        {nil, failover.Applied, 1},
		"lost-reply":    {nil, failover.Applied, 1},
		"node-dies":     {nil, failover.Applied, 1},
		"unreachable":   {nil, failover.Applied, 1},
		"garbage":       {nil, failover.Applied, 1},
		"lost-request":  {cluster.ErrNotStarted, failover.NotApplied, 0},
		"fails":         {cluster.ErrFailed, failover.Applied, 1},
		"partial":       {cluster.ErrPartial, failover.Applied, 1},
		"returns":       {cluster.ErrReturned, failover.NotApplied, 1},
		"elsewhere":     {cluster.ErrReturned, failover.NotApplied, 1},
		"busy":          {cluster.ErrBusy, failover.NotApplied, 0},
		"locked":        {cluster.ErrGroupLocked, failover.NotApplied, 0},
		"stranded-disk": {cluster.ErrFailed, failover.Applied, 1}, // Transfer's preflight refuses it; a bare move cannot know
		"paused":        {cluster.ErrNodePaused, failover.NotApplied, 0},
		"quarantined":   {cluster.ErrTargetUnfit, failover.NotApplied, 0},
		"not-possible":  {cluster.ErrTargetUnfit, failover.NotApplied, 0},
		"no-quorum":     {cluster.ErrNoQuorum, failover.NotApplied, 0},
		"owner-unknown": {cluster.ErrOwnerUnknown, failover.NotApplied, 0},
		// Only the preflight of Transfer looks at these two.
		"backup":         {nil, failover.Applied, 1},
		"reboot-pending": {nil, failover.Applied, 1},
	}
	for _, fault := range clustertest.Faults() {
		for style, name := range []string{"windows", "pacemaker"} {
			t.Run(fault.Name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					want, ok := kinds[fault.Name]
					require.True(t, ok, "the table names every fault")
					sim, c := newSim(t, clustertest.Style(style))
					require.NoError(t, sim.Arm(fault.Name, group))
					_, err := c.Move(t.Context(), group, "EFT02", quick)
					if fault.Name == "lost-request" && name == "windows" {
						want.outcome = failover.InDoubt // what cannot be taken back may come later
					}
					require.Equal(t, want.outcome, failover.OutcomeOf(err), "%v", err)
					require.ErrorIs(t, err, want.kind)
					m := state(t, sim)
					require.Equal(t, want.moves, m.Counters.Moves[group])
					require.Zero(t, m.Counters.TwoOwners)
					require.Empty(t, m.Group(group).Standing)
				})
			})
		}
	}
}

func TestThirdNodeIsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StyleWindows)
		require.NoError(t, sim.Update(func(m *clustertest.Model) error {
			m.Nodes = append(m.Nodes, &clustertest.Node{Name: "EFT03", State: cluster.NodeUp})
			return nil
		}))
		require.NoError(t, sim.Arm("elsewhere", group))
		_, err := c.Move(t.Context(), group, "EFT02", quick)
		require.ErrorIs(t, err, cluster.ErrElsewhere)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	})
}

func TestDeadlineIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StyleWindows)
		require.NoError(t, sim.Arm("slow", group))
		o := quick
		o.Timeout = 15 * time.Millisecond
		_, err := c.Move(t.Context(), group, "EFT02", o)
		require.ErrorIs(t, err, cluster.ErrTimeout)
		require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
		_, err = c.Move(t.Context(), group, "EFT02", quick)
		require.ErrorIs(t, err, cluster.ErrBusy, "nothing is asked for while the group is moving")
		require.Equal(t, 1, state(t, sim).Counters.Moves[group])
	})
}

func TestLeftoverIsClearedAndAForeignRequestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StylePacemaker)
		put := func(ours bool) {
			require.NoError(t, sim.Update(func(m *clustertest.Model) error {
				m.Group(group).Standing = []cluster.MoveRequest{{ID: "cli-prefer-x", Node: "EFT01", Ours: ours}}
				return nil
			}))
		}
		put(true)
		_, err := c.Move(t.Context(), group, "EFT02", quick)
		require.NoError(t, err)
		put(true)
		require.NoError(t, c.ClearMove(t.Context(), group))
		require.NoError(t, c.ClearMove(t.Context(), group))
		require.Empty(t, state(t, sim).Group(group).Standing)
		put(false)
		_, err = c.Move(t.Context(), group, "EFT01", quick)
		require.ErrorIs(t, err, cluster.ErrStandingRequest)
		require.Len(t, state(t, sim).Group(group).Standing, 1, "another's request is left alone")
	})
}

func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StyleWindows)
		o := cluster.StateOptions{Timeout: time.Second, Poll: time.Millisecond, Settle: 20 * time.Millisecond}
		require.NoError(t, c.Offline(t.Context(), group, o))
		require.NoError(t, c.Offline(t.Context(), group, o))
		require.NoError(t, c.OnlineResource(t.Context(), group+" Disk", o))
		g, err := c.Group(t.Context(), group)
		require.NoError(t, err)
		require.Equal(t, cluster.StatePartial, g.State, "the disk alone is up")
		require.NoError(t, c.SetService(t.Context(), group+" Service", "EFT Server"))
		require.NoError(t, c.OfflineResource(t.Context(), group+" Disk", o))
		_, err = c.Move(t.Context(), group, "EFT02", quick)
		require.NoError(t, err, "an offline group can be moved and stays offline")
		require.Equal(t, cluster.StateOffline, state(t, sim).GroupState(group))
		require.NoError(t, c.Online(t.Context(), group, o))
		require.True(t, state(t, sim).Node("EFT02").Services["EFT Server"])
		list, err := c.ServiceResources(t.Context(), "eft server")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, group, list[0].Group)

		require.NoError(t, c.Pause(t.Context(), "EFT02", cluster.StateOptions{Timeout: time.Second, Poll: time.Millisecond}))
		require.Equal(t, "EFT01", state(t, sim).Group(group).Owner, "drained")
		require.Equal(t, cluster.StateOnline, state(t, sim).GroupState(group),
			"what was drained is up again before the call ends")
		require.NoError(t, c.Resume(t.Context(), "EFT02", o))
		require.Equal(t, "EFT01", state(t, sim).Group(group).Owner, "nothing is brought back")

		before, err := c.Group(t.Context(), group)
		require.NoError(t, err)
		require.NoError(t, c.SetFailback(t.Context(), group, cluster.NoFailback))
		require.NoError(t, c.SetFailback(t.Context(), group, before.Failback))
		require.Equal(t, before.Failback, state(t, sim).Group(group).Failback)

		list, err = c.ServiceResources(t.Context(), "Nothing")
		require.NoError(t, err)
		require.Empty(t, list)
	})
}

func TestAnotherProcessGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		open := func() (*clustertest.Sim, cluster.Cluster) {
			sim, err := clustertest.Open(dir, clustertest.TwoNodes("a", "b", group, "svc"))
			require.NoError(t, err)
			c, err := sim.Cluster()
			require.NoError(t, err)
			return sim, c
		}
		sim, c := open()
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, sim.Arm("slow", group))
		o := quick
		o.Poll = time.Hour
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := c.Move(ctx, group, "b", o)
		require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
		_, c = open()
		require.Eventually(t, func() bool {
			g, err := c.Group(t.Context(), group)
			return err == nil && g.Owner == "b" && g.State == cluster.StateOnline
		}, 5*time.Second, time.Millisecond)
		require.Equal(t, 1, state(t, sim).Counters.Moves[group])
	})
}

// TestALeftoverIsClearedWhereTheGroupIsAlready moves to where a killed run has brought the group: nothing is asked for
// but the removal of what that run left, and a group that goes home then has not stayed.
func TestALeftoverIsClearedWhereTheGroupIsAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StylePacemaker)
		require.NoError(t, sim.Update(func(m *clustertest.Model) error {
			m.Group(group).Standing = []cluster.MoveRequest{{ID: "cli-prefer-x", Node: "EFT01", Ours: true}}
			return nil
		}))
		res, err := c.Move(t.Context(), group, "EFT01", quick)
		require.NoError(t, err)
		require.False(t, res.Moved)
		m := state(t, sim)
		require.Empty(t, m.Group(group).Standing)
		require.Empty(t, m.Counters.Moves)
	})
}

// The cluster still says online of a group whose node it does not reach; nothing ends on that.
func TestAGroupOnANodeThatIsCutOffIsNotUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StyleWindows)
		require.NoError(t, sim.Update(func(m *clustertest.Model) error {
			m.Node("EFT01").State = cluster.NodeDown
			return nil
		}))
		require.Equal(t, cluster.StateOnline, state(t, sim).GroupState(group))
		g, err := c.Group(t.Context(), group)
		require.NoError(t, err)
		require.Equal(t, cluster.StateUnknown, g.State)
		for _, node := range []string{"EFT01", "EFT02"} {
			_, err = c.Move(t.Context(), group, node, quick)
			require.ErrorIs(t, err, cluster.ErrNotOnline)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		}
		require.Empty(t, state(t, sim).Counters.Moves)
		o := cluster.StateOptions{Timeout: time.Second, Poll: time.Millisecond, Settle: 20 * time.Millisecond}
		require.Error(t, c.Online(t.Context(), group, o), "it is not seen online")
	})
}

// A request that stands still acts on its own later: a move that came back under it is not over.
func TestAMoveWhoseRequestStandsIsNotOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newSim(t, clustertest.StylePacemaker)
		require.NoError(t, sim.Arm("returns", group))
		require.NoError(t, sim.Break("clear-move", clustertest.BreakUnsent))
		_, err := c.Move(t.Context(), group, "EFT02", quick)
		require.ErrorIs(t, err, cluster.ErrReturned)
		require.ErrorIs(t, err, cluster.ErrUnreachable)
		require.NotEmpty(t, state(t, sim).Group(group).Standing)
		require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	})
}
