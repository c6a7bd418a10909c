package efttest_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// TestByHand leaves the installer and the comparison of settings to a person, as the vendor's page does: the run waits
// for their word, does not take it without the new version on the node, and asks for nothing twice.
func TestByHand(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	o, err := w.Options()
	require.NoError(t, err)
	o.Admin, o.Installer.Mode, o.Installer.Args = nil, eft.ModeByOperator, nil
	o.Consoles = []eft.Console{{Name: "ADMIN-PC"},
		{Name: "SEEN", Version: func(context.Context) (eft.Version, error) { return efttest.NewVersion, nil }}}
	p, err := eft.Upgrade(o)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "j")
	run := func(confirm func(context.Context, failover.Request) (failover.Statement, error)) error {
		j, err := failovertest.JournalAt(path)
		require.NoError(t, err)
		_, err = p.Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: confirm})
		require.NoError(t, j.Close())
		return err
	}
	require.ErrorIs(t, run(nil), failover.ErrWaiting)
	s, m, err := w.State()
	require.NoError(t, err)
	require.Empty(t, s.Counters.InstallerRuns)
	require.Empty(t, m.Counters.Moves)

	// An installer that is still at work has not ended, whatever it has written until then.
	busy := func(with []string) {
		require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
			s.Nodes[efttest.PassiveNode].Busy = with
			return nil
		}))
	}
	require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
		n := s.Nodes[efttest.PassiveNode]
		n.Program, n.Products[0].Version = efttest.NewVersion, efttest.NewVersion
		return nil
	}))
	busy([]string{"an installation by Windows Installer"})
	require.ErrorIs(t, run(nil), failover.ErrWaiting)
	_, m, err = w.State()
	require.NoError(t, err)
	require.Empty(t, m.Counters.Moves)
	busy(nil)

	var asked []string
	stop := errors.New("went to lunch")
	require.ErrorIs(t, run(func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		if q.Step.ID == "active/install" {
			return failover.Statement{}, stop
		}
		asked = append(asked, q.Step.ID)
		return w.Confirm(ctx, q)
	}), stop)
	require.NoError(t, run(func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		asked = append(asked, q.Step.ID)
		return w.Confirm(ctx, q)
	}))
	require.Equal(t, []string{"moved/settings", "active/install", "upgraded/settings", "home/settings",
		"consoles/ADMIN-PC"}, asked)
	s, _, err = w.State()
	require.NoError(t, err)
	require.Equal(t, map[string]int{efttest.ActiveNode: 1}, s.Counters.InstallerRuns)
}
