package efttest_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var layouts = map[string]efttest.Layout{"local": efttest.LayoutLocal, "shared": efttest.LayoutShared}

func open(t *testing.T, dir string, l efttest.Layout) *efttest.World {
	t.Helper()
	w, err := efttest.Open(dir, l)
	require.NoError(t, err)
	return w
}

func run(t *testing.T, ctx context.Context, w *efttest.World, journal string, observer func(failover.Event)) (*failover.Report, error) { //nolint:revive // t first reads better in tests
	t.Helper()
	p, err := w.Procedure()
	require.NoError(t, err)
	j, err := failovertest.JournalAt(journal)
	require.NoError(t, err)
	report, err := p.Run(ctx,
		failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm, Observer: observer})
	require.NoError(t, j.Close())
	return report, err
}

// upgraded wants everything as an undisturbed run leaves it.
func upgraded(t *testing.T, w *efttest.World) {
	t.Helper()
	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner, "ends on the node it began on")
	require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
	require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
	require.Empty(t, m.Marks, "the lock is released")
	require.Equal(t, map[string]int{efttest.ActiveNode: 1, efttest.PassiveNode: 1}, s.Counters.InstallerRuns,
		"one installer run per node")
	two, err := w.TwoActive()
	require.NoError(t, err)
	require.False(t, two)
	for name, n := range s.Nodes {
		require.Equal(t, eft.StartManual, n.StartMode, name)
		require.Equal(t, efttest.Account, n.Account, name)
		require.Equal(t, efttest.NewVersion, n.Products[0].Version, name)
		require.Len(t, n.Runs, 1, name)
	}
	now, err := w.Admin().Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, efttest.NewVersion, now.Version)
	for path, value := range settingsBefore(t, s.Layout) {
		require.Equal(t, value, now.Values[path], path)
	}
}

func TestUpgrade(t *testing.T) {
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			w := efttest.Start(t, l)
			p, err := w.Procedure()
			require.NoError(t, err)
			plan, err := p.Plan(t.Context(), nil)
			require.NoError(t, err)
			require.Empty(t, plan.Blockers(), plan.String())
			_, m, err := w.State()
			require.NoError(t, err)
			require.Empty(t, m.Requests, "a plan asks for nothing")
			_, err = run(t, t.Context(), w, filepath.Join(t.TempDir(), "j"), nil)
			require.NoError(t, err)
			upgraded(t, w)
		})
	}
}

func settingsBefore(t *testing.T, l efttest.Layout) map[string]string {
	t.Helper()
	s, err := efttest.Start(t, l).Admin().Read(t.Context())
	require.NoError(t, err)
	return s.Values
}
