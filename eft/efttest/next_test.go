package efttest_test

import (
	"context"
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

// The group went over by itself: nobody is told to stop the service that serves now.
func TestNobodyIsToldToStopTheServiceThatServes(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	o, err := w.Options()
	require.NoError(t, err)
	p, err := eft.Upgrade(o)
	require.NoError(t, err)
	c, err := w.Cluster()
	require.NoError(t, err)
	j := failovertest.Journal(t)
	_, err = p.Run(t.Context(), options(w, j, agree("", func(id string) {
		if id != "passive/install" {
			return
		}
		require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error { // somebody took the guard away
			s.Nodes[efttest.PassiveNode].StartMode = eft.StartManual
			return nil
		}))
		_, err := c.Move(t.Context(), efttest.Group, efttest.PassiveNode, o.Move)
		require.NoError(t, err)
	})))
	require.ErrorIs(t, err, cluster.ErrOtherOwner)
	require.NotErrorIs(t, err, eft.ErrServiceRunning)
	for _, check := range []string{"check/service", "passive/ready"} {
		require.ErrorContains(t, err, check)
	}
	require.NotContains(t, err.Error(), "stop the service")
	// As the text says: the group is moved back.
	_, err = c.Move(t.Context(), efttest.Group, efttest.ActiveNode, o.Move)
	require.NoError(t, err)
	require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
		s.Nodes[efttest.PassiveNode].StartMode = eft.StartDisabled
		return nil
	}))
	_, err = p.Run(t.Context(), options(w, j, nil))
	require.NoError(t, err)
	upgraded(t, w)
}

// A rollback finds a configuration that may be converted: a copy of that is no way back.
func TestARollbackAsksForNoNewCopy(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	require.NoError(t, w.Arm("setting-lost"))
	giveUp(t, w)
	p := rollback(t, w)
	require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
		s.Nodes[efttest.ActiveNode].Backups = nil
		return nil
	}))
	_, err := p.Run(t.Context(), options(w, failovertest.Journal(t), nil))
	require.ErrorIs(t, err, eft.ErrBackup)
	require.NotContains(t, failover.NextOf(err), "back up")
	require.Contains(t, failover.NextOf(err), "make no copy now")
}

// Where an entry of an old version was left over, no installation could be seen complete.
func TestALeftOverEntryIsFoundBeforeAnythingMoves(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
		n := s.Nodes[efttest.PassiveNode]
		n.Products = append(n.Products, eft.InstalledProduct{Name: "EFT Server", Version: eft.Version{7, 4, 13, 1}})
		return nil
	}))
	o, err := w.Options()
	require.NoError(t, err)
	require.ErrorIs(t, play(t, w, o, nil), eft.ErrWrongVersion)
	s, _, err := w.State()
	require.NoError(t, err)
	require.Empty(t, s.Counters.InstallerRuns)
	require.Equal(t, eft.StartManual, s.Nodes[efttest.PassiveNode].StartMode)
}

// A person who reboots the node and then runs the installer has not rebooted behind it.
func TestAnEarlierRebootIsNotTheOneThatTheInstallerAsksFor(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	o, err := w.Options()
	require.NoError(t, err)
	o.Installer.Mode, o.Installer.Args, o.Consoles = eft.ModeByOperator, nil, nil
	require.NoError(t, w.Arm("exit-3010"))
	p, err := eft.Upgrade(o)
	require.NoError(t, err)
	var asked []string
	ro := options(w, failovertest.Journal(t), nil)
	ro.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		asked = append(asked, q.Step.ID)
		if q.Step.ID == "passive/install" {
			require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
				s.Nodes[efttest.PassiveNode].Booted = time.Now()
				return nil
			}))
		}
		if q.Step.ID == "passive/reboot" { // an hour of installing and waiting later
			defer func() {
				require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
					s.Nodes[efttest.PassiveNode].Booted = time.Now().Add(time.Hour)
					return nil
				}))
			}()
		}
		return w.Confirm(ctx, q)
	}
	_, err = p.Run(t.Context(), ro)
	require.NoError(t, err)
	require.Equal(t, []string{"passive/install", "passive/reboot", "active/install", "active/reboot"}, asked)
	_, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
}

// A reboot sends the group to the other node, and with it the disk that the program lies on.
func TestAfterARebootTheGroupWithTheProgramHasToBeBack(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutShared)
	o, err := w.Options()
	require.NoError(t, err)
	o.Consoles, o.Installer.StopAfter = nil, 3*time.Second
	require.NoError(t, w.Arm("exit-3010"))
	p, err := eft.UpgradeShared(o)
	require.NoError(t, err)
	j := failovertest.Journal(t)
	ro := options(w, j, nil)
	ro.Confirm = func(_ context.Context, q failover.Request) (failover.Statement, error) {
		if !strings.HasSuffix(q.Step.ID, "/reboot") {
			t.Error(q.Step.ID)
		}
		require.Contains(t, q.Step.Help, "move the group back")
		return failover.Statement{By: "operator", Says: "rebooted", Reason: "did half of it"}, w.Reboot(efttest.ActiveNode)
	}
	report, err := p.Run(t.Context(), ro)
	require.ErrorContains(t, err, "the group with its disk is not on the node")
	require.Equal(t, failover.StatusFailed, status(report, "active/reboot"))
	require.NoError(t, w.Fetch(efttest.ActiveNode))
	_, err = p.Run(t.Context(), options(w, j, nil))
	require.NoError(t, err)
	upgraded(t, w)
}

// A third node is kept away as the error says.
func TestAThirdNodeIsKeptAwayAsTheErrorSays(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	require.NoError(t, w.Arm("third-node"))
	o, err := w.Options()
	require.NoError(t, err)
	err = play(t, w, o, nil)
	require.ErrorIs(t, err, eft.ErrOtherNodes)
	require.Contains(t, failover.NextOf(err), "pause them and waive check/nodes")
	require.NoError(t, w.Update(func(m *clustertest.Model, _ *efttest.State) error {
		m.Node("EFT03").State, m.Marks = cluster.NodePaused, map[string]string{}
		return nil
	}))
	p, err := eft.Upgrade(o)
	require.NoError(t, err)
	ro := options(w, failovertest.Journal(t), nil)
	_, err = p.Run(t.Context(), ro)
	require.ErrorIs(t, err, cluster.ErrNodePaused)
	ro.Journal, ro.Waive = failovertest.Journal(t), map[string]string{"check/nodes": "EFT03 is kept away"}
	require.NoError(t, w.Update(func(m *clustertest.Model, _ *efttest.State) error {
		m.Marks = map[string]string{}
		return nil
	}))
	_, err = p.Run(t.Context(), ro)
	require.NoError(t, err)
	upgraded(t, w)
}
