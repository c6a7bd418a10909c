package efttest_test

import (
	"context"
	"maps"
	"os"
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
	s, _, err := w.State()
	require.NoError(t, err)
	copies := s.Nodes[efttest.ActiveNode].Backups
	dir := slices.Collect(maps.Keys(copies))
	require.Len(t, dir, 1)
	o, err := w.Options()
	require.NoError(t, err)
	p, err := eft.Rollback(eft.RollbackOptions{Options: o, Old: efttest.OldVersion, Copy: dir[0], Manifest: copies[dir[0]].Manifest.Hash,
		Failback: cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "1"}})
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
	require.NoError(t, p.TakeOverLock(t.Context(), holder, o))
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)

	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(t, cluster.Online, m.GroupState(efttest.Group))
	require.Equal(t, eft.Disabled, s.Nodes[efttest.PassiveNode].StartMode)
	require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy, "as before the upgrade")
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
	j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "back"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	_, err = rollback(t, w).Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "too late"})
	require.ErrorIs(t, err, eft.ErrNothingLeft)
	_, after, err := w.State()
	require.NoError(t, err)
	require.Equal(t, before.Groups, after.Groups)
}

func TestUndoBeforeTheFirstInstaller(t *testing.T) {
	for l, at := range map[efttest.Layout]struct{ step, node string }{
		efttest.LocalProgram: {"passive/guard", efttest.PassiveNode}, efttest.SharedProgram: {"active/guard", efttest.ActiveNode}} {
		w := open(t, t.TempDir(), l)
		p, err := w.Procedure()
		require.NoError(t, err)
		j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "j"))
		require.NoError(t, err)
		stop := make(chan struct{})
		o := failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Stop: stop, Observer: func(e failover.Event) {
			if e.Step.ID == at.step && e.Kind == failover.EventStepEnded {
				close(stop)
			}
		}}
		_, err = p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrStopped)
		s, _, err := w.State()
		require.NoError(t, err)
		require.Equal(t, eft.Disabled, s.Nodes[at.node].StartMode)
		_, err = p.Undo(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "changed our mind"})
		require.NoError(t, err)
		require.NoError(t, j.Close())
		s, m, err := w.State()
		require.NoError(t, err)
		require.Equal(t, eft.Manual, s.Nodes[at.node].StartMode)
		require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
		require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
		require.Equal(t, cluster.Online, m.GroupState(efttest.Group), "also the program on the shared disk serves again")
		require.Empty(t, m.Marks)
		now, err := w.Admin().Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, efttest.OldVersion, now.Version)
	}
}

// TestRollbackGoesOnAfterACrashAnywhere gives an upgrade up that lost a setting and renamed the service, and ends the
// first run of the rollback around every effect in turn, as a kill does.
func TestRollbackGoesOnAfterACrashAnywhere(t *testing.T) {
	base := t.TempDir()
	w := open(t, base, efttest.LocalProgram)
	for _, fault := range []string{"setting-lost", "renames-service"} {
		require.NoError(t, w.Arm(fault))
	}
	o, err := w.Options()
	require.NoError(t, err)
	o.Verify = 50 * time.Millisecond
	require.ErrorIs(t, play(t, w, o, nil), eft.ErrSettings)
	_, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, efttest.NewService, m.Resource(efttest.Group+" Service").Service)

	// killed rolls back in dir and kills the run at the given event; it returns how many such events there were.
	killed := func(dir string, at int) (events int, err error) {
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		w := open(t, filepath.Join(dir, "pair"), efttest.LocalProgram)
		p := rollback(t, w)
		j, err := failovertest.JournalAt(filepath.Join(dir, "j"))
		require.NoError(t, err)
		attempted := false
		o := failover.RunOptions{Journal: j, Actor: "anna", Reason: "settings were lost", Confirm: w.Confirm, Observer: func(e failover.Event) {
			after := attempted && e.Kind == failover.EventObserved
			if attempted = e.Kind == failover.EventAttempt; attempted || after {
				if events++; events == at {
					kill()
				}
			}
		}}
		holder, held, err := p.Lock.Holder(t.Context())
		require.NoError(t, err)
		if held && holder.Purpose != p.Name { // the upgrade's
			require.NoError(t, p.TakeOverLock(t.Context(), holder, o))
		}
		_, err = p.Run(ctx, o)
		require.NoError(t, j.Close())
		return events, err
	}
	fresh := func() string {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(dir, "pair"), os.DirFS(base)))
		return dir
	}
	rolledBack := func(dir string) {
		t.Helper()
		w := open(t, filepath.Join(dir, "pair"), efttest.LocalProgram)
		s, m, err := w.State()
		require.NoError(t, err)
		require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
		require.Equal(t, cluster.Online, m.GroupState(efttest.Group))
		require.Equal(t, efttest.OldService, m.Resource(efttest.Group+" Service").Service, "the old program registers the old name")
		require.Equal(t, eft.Disabled, s.Nodes[efttest.PassiveNode].StartMode)
		require.Equal(t, settingsBefore(t, efttest.LocalProgram), s.Config.Values)
		require.Empty(t, m.Marks)
		require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
		two, err := w.TwoActive()
		require.NoError(t, err)
		require.False(t, two)
	}
	dir := fresh()
	events, err := killed(dir, 0)
	require.NoError(t, err)
	rolledBack(dir)
	require.Greater(t, events, 10)
	for at := 1; at <= events; at++ {
		dir := fresh()
		_, _ = killed(dir, at)
		_, err := killed(dir, 0)
		require.NoError(t, err, "killed at event %d", at)
		rolledBack(dir)
	}
}

// TestRollbackFromTheLastMomentBeforeThePointOfNoReturn: the service that shall run again is disabled for an installation
// that did not come.
func TestRollbackFromTheLastMomentBeforeThePointOfNoReturn(t *testing.T) {
	w := open(t, t.TempDir(), efttest.LocalProgram)
	p, err := w.Procedure()
	require.NoError(t, err)
	dir := t.TempDir()
	j, err := failovertest.JournalAt(filepath.Join(dir, "up"))
	require.NoError(t, err)
	stop := make(chan struct{})
	_, err = p.Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm, Stop: stop, Observer: func(e failover.Event) {
		if e.Step.ID == "active/guard" && e.Kind == failover.EventStepEnded {
			close(stop)
		}
	}})
	require.ErrorIs(t, err, failover.ErrStopped)
	require.NoError(t, j.Close())
	s, _, err := w.State()
	require.NoError(t, err)
	require.Equal(t, eft.Disabled, s.Nodes[efttest.ActiveNode].StartMode)

	back := rollback(t, w)
	j, err = failovertest.JournalAt(filepath.Join(dir, "back"))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	o := failover.RunOptions{Journal: j, Actor: "anna", Reason: "given up", Confirm: w.Confirm}
	holder, _, err := back.Lock.Holder(t.Context())
	require.NoError(t, err)
	require.NoError(t, back.TakeOverLock(t.Context(), holder, o))
	_, err = back.Run(t.Context(), o)
	require.NoError(t, err)
	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, eft.Manual, s.Nodes[efttest.ActiveNode].StartMode, "the cluster can start it")
	require.Equal(t, eft.Disabled, s.Nodes[efttest.PassiveNode].StartMode)
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(t, cluster.Online, m.GroupState(efttest.Group))
}

// TestRollbackOfAnUpgradeThatNeverMoved gives up after the installer failed on the first node. The old program served all
// the time, so nothing is taken offline and nothing that was changed since the backup is lost, unless that is asked for.
func TestRollbackOfAnUpgradeThatNeverMoved(t *testing.T) {
	for when, restored := range map[eft.RestoreWhen]bool{eft.RestoreWhenMoved: false, eft.RestoreAlways: true} {
		w := open(t, t.TempDir(), efttest.LocalProgram)
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
		p, err := eft.Rollback(eft.RollbackOptions{Options: o, Old: efttest.OldVersion, Copy: dir, Manifest: copies[dir].Manifest.Hash,
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
		require.NoError(t, p.TakeOverLock(t.Context(), holder, ro))
		_, err = p.Run(t.Context(), ro)
		require.NoError(t, err)
		require.NoError(t, j.Close())
		s, m, err := w.State()
		require.NoError(t, err)
		offline := slices.ContainsFunc(m.Requests, func(r clustertest.Request) bool { return r.Verb == "offline" })
		require.Equal(t, restored, offline)
		require.Equal(t, !restored, s.Config.Values["sites/MySite/users/carl/enabled"] == "true")
		require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
		require.Equal(t, cluster.Online, m.GroupState(efttest.Group))
		require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
		require.Equal(t, eft.Disabled, s.Nodes[efttest.PassiveNode].StartMode)
		require.Empty(t, m.Marks)
	}
}
