package efttest_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
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

func rollback(t *testing.T, w *efttest.World) failover.Procedure {
	t.Helper()
	o, err := w.Options()
	require.NoError(t, err)
	return rollbackWith(t, w, o)
}

func rollbackWith(t *testing.T, w *efttest.World, o eft.Options) failover.Procedure {
	t.Helper()
	s, _, err := w.State()
	require.NoError(t, err)
	copies := s.Nodes[efttest.ActiveNode].Backups
	dir := slices.Collect(maps.Keys(copies))
	require.Len(t, dir, 1)
	p, err := eft.Rollback(eft.RollbackOptions{Options: o, Old: efttest.OldVersion, Copy: dir[0],
		Manifest: copies[dir[0]].Manifest.Hash,
		Failback: cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "1"}})
	require.NoError(t, err)
	return p
}

func TestRollback(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	require.NoError(t, w.Arm("setting-lost"))
	dir := t.TempDir()
	_, err := run(t, t.Context(), w, filepath.Join(dir, "up"), nil)
	require.ErrorIs(t, err, eft.ErrSettings)

	p := rollback(t, w)
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, plan.Blockers(), plan.String())
	require.Contains(t, plan.String(), "point of no return: restore/config")
	j, err := failovertest.JournalAt(filepath.Join(dir, "back"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	o := failover.RunOptions{Journal: j, Actor: "anna", Reason: "settings were lost", Confirm: w.Confirm}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrLocked, "the upgrade stands half-way and keeps its lock")
	holder, held, err := p.Lock.Holder(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, p.TakeOverLock(t.Context(), o, holder))
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)

	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
	require.Equal(t, eft.StartDisabled, s.Nodes[efttest.PassiveNode].StartMode)
	require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy, "as before the upgrade")
	require.Equal(t, settingsBefore(t, efttest.LayoutLocal), s.Config.Values, "as backed up")
	now, err := w.Admin().Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, efttest.OldVersion, now.Version)
	two, err := w.TwoActive()
	require.NoError(t, err)
	require.False(t, two)
}

func TestNoRollbackPastThePointOfNoReturn(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	_, err := run(t, t.Context(), w, filepath.Join(t.TempDir(), "up"), nil)
	require.NoError(t, err)
	_, before, err := w.State()
	require.NoError(t, err)
	j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "back"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	_, err = rollback(t, w).Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "too late"})
	require.ErrorIs(t, err, eft.ErrWrongVersion)
	_, after, err := w.State()
	require.NoError(t, err)
	require.Equal(t, before.Groups, after.Groups)
}

// copyReader is a node with a copy of many gigabytes: to read it takes more than a minute.
type copyReader struct {
	eft.Node
	read func() // before each reading
}

func (n copyReader) ReadBackup(ctx context.Context, dir string) (eft.Manifest, error) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 5*time.Minute {
		return eft.Manifest{}, context.DeadlineExceeded
	}
	n.read()
	return n.Node.ReadBackup(ctx, dir)
}

func TestALargeCopyIsReadBeforeTheRollbackAndBeforeItTakesThePlace(t *testing.T) {
	for spoiled, want := range map[int]failover.Result{0: failover.ResultCompleted, 1: failover.ResultFailed,
		2: failover.ResultPartWay} {
		w := efttest.Start(t, efttest.LayoutLocal)
		require.NoError(t, w.Arm("setting-lost"))
		giveUp(t, w)
		o, err := w.Options()
		require.NoError(t, err)
		readings := 0
		o.Active = &copyReader{o.Active, func() {
			if readings++; readings == spoiled {
				require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
					for dir, c := range s.Nodes[efttest.ActiveNode].Backups {
						c.Manifest = eft.NewManifest(append(c.Manifest.Files, eft.ManifestFile{Path: "strange", Size: 1}))
						s.Nodes[efttest.ActiveNode].Backups[dir] = c
					}
					return nil
				}))
			}
		}}
		report, err := rollbackWith(t, w, o).Run(t.Context(),
			failover.RunOptions{Journal: failovertest.Journal(t), Actor: "anna", Reason: "test", Confirm: w.Confirm})
		require.Equal(t, want, report.Result, "%d: %v", spoiled, err)
		if spoiled == 0 {
			rolledBack(t, w)
			continue
		}
		require.ErrorIs(t, err, eft.ErrBackup)
		_, m, err := w.State()
		require.NoError(t, err)
		require.Equal(t, spoiled == 1, m.GroupState(efttest.Group) == cluster.StateOnline, "%d", spoiled)
	}
}

// An installer of the upgrade that hangs on the node with the old version may go on at any time.
func TestNoRollbackBesideARunningInstaller(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	require.NoError(t, w.Arm("setting-lost"))
	giveUp(t, w)
	require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
		s.Nodes[efttest.ActiveNode].Busy = []string{"installer, process 7"}
		return nil
	}))
	_, before, err := w.State()
	require.NoError(t, err)
	_, err = rollback(t, w).Run(t.Context(), failover.RunOptions{Journal: failovertest.Journal(t), Actor: "anna", Reason: "test"})
	require.ErrorIs(t, err, eft.ErrNodeBusy)
	_, after, err := w.State()
	require.NoError(t, err)
	require.Equal(t, before.Groups, after.Groups)
}

func TestUndoBeforeTheFirstInstaller(t *testing.T) {
	for l, at := range map[efttest.Layout]struct{ step, node string }{
		efttest.LayoutLocal:  {"passive/install", efttest.PassiveNode},
		efttest.LayoutShared: {"active/install", efttest.ActiveNode}} {
		w := efttest.Start(t, l)
		p, err := w.Procedure()
		require.NoError(t, err)
		j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "j"))
		require.NoError(t, err)
		_, err = p.Run(t.Context(), options(w, j, agree(at.step, nil)))
		require.ErrorIs(t, err, failover.ErrWaiting)
		s, _, err := w.State()
		require.NoError(t, err)
		require.Equal(t, eft.StartDisabled, s.Nodes[at.node].StartMode)
		_, err = p.Undo(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "changed our mind"})
		require.NoError(t, err)
		require.NoError(t, j.Close())
		s, m, err := w.State()
		require.NoError(t, err)
		require.Equal(t, eft.StartManual, s.Nodes[at.node].StartMode)
		require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
		require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
		require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group), "also the program on the shared disk serves again")
		require.Empty(t, m.Marks)
		now, err := w.Admin().Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, efttest.OldVersion, now.Version)
	}
}

// TestRollbackFromTheLastMomentBeforeThePointOfNoReturn: the service that shall run again is disabled for an
// installation that did not come.
func TestRollbackFromTheLastMomentBeforeThePointOfNoReturn(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	p, err := w.Procedure()
	require.NoError(t, err)
	dir := t.TempDir()
	j, err := failovertest.JournalAt(filepath.Join(dir, "up"))
	require.NoError(t, err)
	_, err = p.Run(t.Context(), options(w, j, agree("active/install", nil)))
	require.ErrorIs(t, err, failover.ErrWaiting)
	require.NoError(t, j.Close())
	s, _, err := w.State()
	require.NoError(t, err)
	require.Equal(t, eft.StartDisabled, s.Nodes[efttest.ActiveNode].StartMode)

	back := rollback(t, w)
	j, err = failovertest.JournalAt(filepath.Join(dir, "back"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	o := failover.RunOptions{Journal: j, Actor: "anna", Reason: "given up", Confirm: w.Confirm}
	holder, _, err := back.Lock.Holder(t.Context())
	require.NoError(t, err)
	require.NoError(t, back.TakeOverLock(t.Context(), o, holder))
	_, err = back.Run(t.Context(), o)
	require.NoError(t, err)
	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, eft.StartManual, s.Nodes[efttest.ActiveNode].StartMode, "the cluster can start it")
	require.Equal(t, eft.StartDisabled, s.Nodes[efttest.PassiveNode].StartMode)
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
}

// TestRollbackOfAnUpgradeThatNeverMoved gives up after the installer failed on the first node. The old program served
// all the time, so nothing is taken offline and nothing that was changed since the backup is lost, unless that is asked
// for.
func TestRollbackOfAnUpgradeThatNeverMoved(t *testing.T) {
	for when, restored := range map[eft.RestoreWhen]bool{eft.RestoreWhenMoved: false, eft.RestoreAlways: true} {
		w := efttest.Start(t, efttest.LayoutLocal)
		require.NoError(t, w.Arm("installer-fails"))
		o, err := w.Options()
		require.NoError(t, err)
		require.ErrorIs(t, play(t, w, o, nil), eft.ErrInstallerFailed)
		require.NoError(t, w.Update(func(m *clustertest.Model, s *efttest.State) error {
			s.Config.Values["sites/MySite/users/carl/enabled"] = "true"
			m.Requests = nil
			return nil
		}))
		s, _, err := w.State()
		require.NoError(t, err)
		copies := s.Nodes[efttest.ActiveNode].Backups
		dir := slices.Collect(maps.Keys(copies))[0]
		p, err := eft.Rollback(eft.RollbackOptions{Options: o, Old: efttest.OldVersion, Copy: dir,
			Manifest: copies[dir].Manifest.Hash,
			Failback: cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "1"}, Restore: when})
		require.NoError(t, err)
		plan, err := p.Plan(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, plan.Blockers(), plan.String())
		for _, step := range plan.Steps {
			if step.ID == "offline/group" || step.ID == "restore/config" {
				require.Equal(t, restored, step.Action == failover.ActionApply, "%s: %s", step.ID, step.Observation.Found)
			}
		}
		j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "back"))
		require.NoError(t, err)
		ro := failover.RunOptions{Journal: j, Actor: "anna", Reason: "given up", Confirm: w.Confirm}
		holder, _, err := p.Lock.Holder(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.TakeOverLock(t.Context(), ro, holder))
		_, err = p.Run(t.Context(), ro)
		require.NoError(t, err)
		require.NoError(t, j.Close())
		s, m, err := w.State()
		require.NoError(t, err)
		offline := slices.ContainsFunc(m.Requests, func(r clustertest.Request) bool { return r.Verb == "offline" })
		require.Equal(t, restored, offline)
		require.Equal(t, !restored, s.Config.Values["sites/MySite/users/carl/enabled"] == "true")
		require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
		require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
		require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
		require.Equal(t, eft.StartDisabled, s.Nodes[efttest.PassiveNode].StartMode)
		require.Empty(t, m.Marks)
	}
}
