package efttest_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// play runs an upgrade with these options on a journal of its own.
func play(t *testing.T, w *efttest.World, o eft.Options, observer func(failover.Event)) error {
	t.Helper()
	build := eft.Upgrade
	if s, _, err := w.State(); err == nil && s.Layout == efttest.LayoutShared {
		build = eft.UpgradeShared
	}
	p, err := build(o)
	require.NoError(t, err)
	j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "j"))
	require.NoError(t, err)
	_, err = p.Run(t.Context(),
		failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm, Observer: observer})
	require.NoError(t, j.Close())
	return err
}

// TestRefusedBeforeAnythingMoves holds what the faults do not arm: wrong options and odd installations. Each has its
// own error, and nothing but the lock was asked for.
func TestRefusedBeforeAnythingMoves(t *testing.T) {
	file := func(change func(*eft.File)) func(*clustertest.Model, *efttest.State, *eft.Options) {
		return func(_ *clustertest.Model, s *efttest.State, o *eft.Options) {
			f := eft.File{Size: o.Installer.Size, SHA256: o.Installer.SHA256, Product: o.Installer.Product,
				Version: o.Installer.Version}
			change(&f)
			s.Nodes[efttest.PassiveNode].Files[efttest.InstallerPath] = f
		}
	}
	for name, tt := range map[string]struct {
		arrange func(*clustertest.Model, *efttest.State, *eft.Options)
		want    error
	}{
		"the nodes are exchanged": {func(_ *clustertest.Model, _ *efttest.State, o *eft.Options) {
			o.Active, o.Passive = o.Passive, o.Active
		}, cluster.ErrOtherOwner},
		"the file is of another size":    {file(func(f *eft.File) { f.Size++ }), eft.ErrInstallerDiffers},
		"the file is of another product": {file(func(f *eft.File) { f.Product = "Mail Express" }), eft.ErrWrongProduct},
		"the file is of another version": {file(func(f *eft.File) { f.Version[3]++ }), eft.ErrWrongVersion},
		"the installer is nowhere": {func(_ *clustertest.Model, _ *efttest.State,
			o *eft.Options) {
			o.Installer.Source = nil
		}, eft.ErrInstallerMissing},
		"no password of the account": {func(_ *clustertest.Model, _ *efttest.State,
			o *eft.Options) {
			o.AccountPassword = nil
		}, eft.ErrAccount},
		"another configuration directory": {func(_ *clustertest.Model, _ *efttest.State,
			o *eft.Options) {
			o.ConfigDir = `E:\Other`
		}, eft.ErrConfigDir},
		"nothing installed": {func(_ *clustertest.Model, s *efttest.State, _ *eft.Options) {
			s.Nodes[efttest.PassiveNode].Products = nil
		}, eft.ErrNotInstalled},
		"no service": {func(_ *clustertest.Model, s *efttest.State, _ *eft.Options) {
			s.Nodes[efttest.PassiveNode].Service = ""
		}, eft.ErrNotInstalled},
		"the service is disabled": {func(_ *clustertest.Model, s *efttest.State, _ *eft.Options) {
			s.Nodes[efttest.PassiveNode].StartMode = eft.StartDisabled
		}, eft.ErrServiceSettings},
		"the service is stopped behind the cluster": {func(m *clustertest.Model, _ *efttest.State, _ *eft.Options) {
			m.Node(efttest.ActiveNode).Services = nil
		}, cluster.ErrNotOnline},
		"a node that is down": {func(m *clustertest.Model, _ *efttest.State, _ *eft.Options) {
			m.Nodes = append(m.Nodes, &clustertest.Node{Name: "EFT03", State: cluster.NodeDown, Build: m.Nodes[0].Build})
		}, cluster.ErrNodeDown},
		"the other node has no room for the installer": {func(_ *clustertest.Model, s *efttest.State,
			_ *eft.Options) {
			s.Nodes[efttest.PassiveNode].Free = 5
		}, eft.ErrNoSpace},
		"another group runs the service": {func(m *clustertest.Model, _ *efttest.State, _ *eft.Options) {
			m.Resource(efttest.Group + " Service").Service = "other"
		}, cluster.ErrNotFound},
		"a member in maintenance": {func(m *clustertest.Model, _ *efttest.State, _ *eft.Options) {
			m.Resource(efttest.Group + " Disk").Maintenance = true
		}, cluster.ErrUnmanaged},
		"too little time to stop": {func(_ *clustertest.Model, _ *efttest.State, o *eft.Options) { o.StopTime = time.Hour },
			cluster.ErrStopTime},
	} {
		t.Run(name, func(t *testing.T) {
			w := efttest.Start(t, efttest.LayoutLocal)
			o, err := w.Options()
			require.NoError(t, err)
			require.NoError(t, w.Update(func(m *clustertest.Model, s *efttest.State) error {
				tt.arrange(m, s, &o)
				return nil
			}))
			before, _, err := w.State()
			require.NoError(t, err)
			err = play(t, w, o, nil)
			require.ErrorIs(t, err, tt.want)
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.NotEmpty(t, failover.NextOf(err))
			after, m, err := w.State()
			require.NoError(t, err)
			require.Equal(t, before.Nodes, after.Nodes)
			for _, r := range m.Requests {
				require.Equal(t, "swap-mark", r.Verb, "only the lock is taken")
			}
		})
	}
}

// flaky refuses the first requests of one kind, as a line does that drops before anything is sent.
type flaky struct {
	eft.Node
	left *int
}

func (f flaky) Stage(ctx context.Context, i eft.Installer) error {
	if *f.left > 0 {
		*f.left--
		return &failover.Error{Op: "stage", Target: f.Name(), Outcome: failover.NotApplied, Next: "try again",
			Err: errors.New("no route to host")}
	}
	return f.Node.Stage(ctx, i)
}

func TestHarmlessStepsAreTriedAgain(t *testing.T) {
	for attempts, wants := range map[int]bool{1: false, 2: false, 3: true} {
		w := efttest.Start(t, efttest.LayoutLocal)
		o, err := w.Options()
		require.NoError(t, err)
		left := 2
		o.Passive, o.Attempts = flaky{o.Passive, &left}, attempts
		if err := play(t, w, o, nil); wants {
			require.NoError(t, err)
			upgraded(t, w)
		} else {
			require.ErrorContains(t, err, "no route to host")
			require.Equal(t, 2-attempts, left, "tried as often as allowed")
		}
	}
}

// TestALongInstallerIsToldAndLeftAlone warns, then stops following it; the installer itself is not touched.
func TestALongInstallerIsToldAndLeftAlone(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	require.NoError(t, w.Arm("hangs"))
	o, err := w.Options()
	require.NoError(t, err)
	o.Installer.WarnAfter, o.Installer.StopAfter = time.Millisecond, 300*time.Millisecond
	var slow []string
	err = play(t, w, o, func(e failover.Event) {
		if e.Kind == failover.EventSlow {
			slow = append(slow, e.Step.ID)
		}
	})
	require.ErrorIs(t, err, failover.ErrNotObserved)
	require.Equal(t, []string{"passive/install"}, slow)
	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, map[string]int{efttest.PassiveNode: 1}, s.Counters.InstallerRuns)
	for _, r := range s.Nodes[efttest.PassiveNode].Runs {
		require.Equal(t, eft.RunRunning, r.State)
	}
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
}

// TestLicencesAreLookedAtOnEachNode loses the one of the node that is upgraded last.
func TestLicencesAreLookedAtOnEachNode(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	o, err := w.Options()
	require.NoError(t, err)
	o.Verify = 500 * time.Millisecond
	var failed []string
	err = play(t, w, o, func(e failover.Event) {
		switch {
		case e.Kind == failover.EventStepEnded && e.Step.ID == "active/verify":
			require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
				s.Nodes[efttest.ActiveNode].Licence = "Evaluation period"
				return nil
			}))
		case e.Kind == failover.EventStepEnded && e.Err != nil:
			failed = append(failed, e.Step.ID)
		}
	})
	require.ErrorIs(t, err, eft.ErrLicence)
	require.Equal(t, []string{"home/licence"}, failed)
}

// TestEachNodeCanFetchTheInstaller stages by URL: the node is told where it lies and what it must be, and nothing is
// sent.
func TestEachNodeCanFetchTheInstaller(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	o, err := w.Options()
	require.NoError(t, err)
	srv, n := windows(t, w, efttest.PassiveNode)
	i := o.Installer
	i.Source, i.URL = nil, "https://files.example.net/it's $(x).exe"
	require.NoError(t, n.Stage(t.Context(), i))
	require.True(t, slices.ContainsFunc(srv.Ran(), func(s string) bool {
		return strings.HasPrefix(s, "fetch ") && strings.Contains(s, i.SHA256) && strings.Contains(s, "files.example.net")
	}), srv.Ran())
	f, err := n.File(t.Context(), i.Path)
	require.NoError(t, err)
	require.Equal(t, i.SHA256, f.SHA256)
	require.Equal(t, i.Size, f.Size)
}
