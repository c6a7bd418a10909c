package efttest_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
)

func rollback(t *testing.T, w *efttest.World) failover.Procedure {
	t.Helper()
	s, _, err := w.State()
	require.NoError(t, err)
	copies := s.Nodes[efttest.ActiveNode].Backups
	dir := slices.Collect(maps.Keys(copies))
	require.Len(t, dir, 1)
	o, err := w.Options()
	require.NoError(t, err)
	p, err := eft.Rollback(eft.RollbackOptions{Options: o, Old: efttest.OldVersion, Copy: dir[0], Manifest: copies[dir[0]].Manifest.Hash})
	require.NoError(t, err)
	return p
}

func TestRollback(t *testing.T) {
	w := open(t, t.TempDir(), efttest.LocalProgram)
	require.NoError(t, w.Arm("setting-lost"))
	dir := t.TempDir()
	_, err := run(t, t.Context(), w, filepath.Join(dir, "up"), nil)
	require.ErrorIs(t, err, eft.ErrSettings)

	p := rollback(t, w)
	plan, err := p.Plan(t.Context())
	require.NoError(t, err)
	require.Empty(t, plan.Blockers(), plan.String())
	require.Contains(t, plan.String(), "point of no return: restore/config")
	j, err := failover.OpenJournal(filepath.Join(dir, "back"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	o := failover.RunOptions{Journal: j, Actor: "anna", Reason: "settings were lost", Confirm: w.Confirm}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrLocked, "the upgrade stands half-way and keeps its lock")
	holder, held, err := p.Lock.Holder(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, p.TakeOverLock(t.Context(), holder, o))
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)

	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(t, cluster.Online, m.GroupState(efttest.Group))
	require.Equal(t, eft.Disabled, s.Nodes[efttest.PassiveNode].StartMode)
	require.Equal(t, settingsBefore(t, efttest.LocalProgram), s.Config.Values, "as backed up")
	now, err := w.Admin().Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, efttest.OldVersion, now.Version)
	two, err := w.TwoActive()
	require.NoError(t, err)
	require.False(t, two)
}

func TestNoRollbackPastThePointOfNoReturn(t *testing.T) {
	w := open(t, t.TempDir(), efttest.LocalProgram)
	_, err := run(t, t.Context(), w, filepath.Join(t.TempDir(), "up"), nil)
	require.NoError(t, err)
	_, before, err := w.State()
	require.NoError(t, err)
	j, err := failover.OpenJournal(filepath.Join(t.TempDir(), "back"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	_, err = rollback(t, w).Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "too late"})
	require.ErrorIs(t, err, eft.ErrNothingLeft)
	_, after, err := w.State()
	require.NoError(t, err)
	require.Equal(t, before.Groups, after.Groups)
}

func TestUndoBeforeTheFirstInstaller(t *testing.T) {
	w := open(t, t.TempDir(), efttest.LocalProgram)
	p, err := w.Procedure()
	require.NoError(t, err)
	j, err := failover.OpenJournal(filepath.Join(t.TempDir(), "j"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	stop := make(chan struct{})
	o := failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Stop: stop, Observer: func(e failover.Event) {
		if e.Step.ID == "passive/guard" && e.Kind == failover.EventStepEnded {
			close(stop)
		}
	}}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrStopped)
	s, _, err := w.State()
	require.NoError(t, err)
	require.Equal(t, eft.Disabled, s.Nodes[efttest.PassiveNode].StartMode)
	_, err = p.Undo(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "changed our mind"})
	require.NoError(t, err)
	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, eft.Manual, s.Nodes[efttest.PassiveNode].StartMode)
	require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
	require.Empty(t, m.Marks)
}
