package efttest_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// What belongs to an object and what a list only names are settings too.
func TestMembersAndDocumentsBehindAListAreCompared(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	srv, admin := rest(t, w)
	set := func(path, value string) {
		require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
			s.Config.Values[path] = value
			return nil
		}))
	}
	set("groups/Partners/member", "ann")
	set("admins/admin/role", "all")
	before, err := admin.Read(t.Context())
	require.NoError(t, err)
	require.Contains(t, before.Absent, "sites/MySite/custom-commands")
	require.Equal(t, "5", before.Values["sites/MySite/user-groups/Partners/quota"], "from the document behind the list")
	for path, change := range map[string]struct{ key, was, is string }{
		"sites/MySite/user-groups/Partners/relationships/users/data/ann/id": {"groups/Partners/member", "ann", "bob"},
		"server/admin-users/admin/role":                                     {"admins/admin/role", "all", "none"},
	} {
		set(change.key, change.is)
		after, err := admin.Read(t.Context())
		require.NoError(t, err)
		var changed []string
		for _, c := range eft.Diff(before, after) {
			changed = append(changed, c.Path)
		}
		require.Contains(t, changed, path)
		set(change.key, change.was)
	}
	require.Empty(t, srv.Unknown())
	// A part that may not be read is told, and the rest is read.
	srv.FailNext("/user-groups", 403)
	partly, err := admin.Read(t.Context())
	require.NoError(t, err)
	require.Contains(t, partly.Absent, "sites/MySite/user-groups (HTTP status 403)")
	require.NotEmpty(t, eft.Diff(before, partly), "what was there before is missing")
	srv.FailNext("/user-groups", 500)
	_, err = admin.Read(t.Context())
	require.ErrorIs(t, err, eft.ErrREST)
}

// An exit code proves nothing in either direction: a node that a person has finished by hand has the version.
func TestAnInstallationIsJudgedByItsEffect(t *testing.T) {
	for _, fault := range []string{"installer-fails", "installer-dies"} {
		w := efttest.Start(t, efttest.LayoutLocal)
		require.NoError(t, w.Arm(fault))
		o, err := w.Options()
		require.NoError(t, err)
		p, err := eft.Upgrade(o)
		require.NoError(t, err)
		j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "j"))
		require.NoError(t, err)
		run := failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm}
		_, err = p.Run(t.Context(), run)
		require.Error(t, err, fault)
		require.NotEqual(t, failover.Applied, failover.OutcomeOf(err))
		require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
			n := s.Nodes[efttest.PassiveNode]
			n.Program, n.Products = efttest.NewVersion, []eft.InstalledProduct{{Name: "EFT Server", Version: efttest.NewVersion}}
			return nil
		}))
		_, err = p.Run(t.Context(), run)
		require.NoError(t, err, fault)
		upgraded(t, w)
		require.NoError(t, j.Close())
	}
}

// Scanners and updaters leave pending renames nearly always, also right after a reboot (see inspect.ps1).
func TestAPendingRebootIsJudgedByAReboot(t *testing.T) {
	for name, c := range map[string]struct {
		fault         string
		before, after bool // a reboot is pending before the installation, and again after each reboot
		waive         string
		asked         []string
	}{
		"nothing is pending":               {"", false, false, "", nil},
		"the installer asks":               {"exit-3010", false, false, "", []string{"passive/reboot", "active/reboot"}},
		"it asks, and renames are pending": {"exit-3010", false, true, "check/reboot", []string{"passive/reboot", "active/reboot"}},
		"renames were pending before":      {"", true, true, "check/reboot", []string{"passive/reboot", "active/reboot"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := efttest.Start(t, efttest.LayoutLocal)
			pending := func(node string, is bool) {
				require.NoError(t, w.Update(func(m *clustertest.Model, s *efttest.State) error {
					s.Nodes[node].Reboot, m.Node(node).RebootPending = is, is
					return nil
				}))
			}
			pending(efttest.ActiveNode, c.before)
			pending(efttest.PassiveNode, c.before)
			if c.fault != "" {
				require.NoError(t, w.Arm(c.fault))
			}
			o, err := w.Options()
			require.NoError(t, err)
			o.Consoles = nil
			p, err := eft.Upgrade(o)
			require.NoError(t, err)
			var asked []string
			run := failover.RunOptions{Journal: failovertest.Journal(t), Actor: "anna", Reason: "test",
				Confirm: func(ctx context.Context, q failover.Request) (failover.Statement, error) {
					asked = append(asked, q.Step.ID)
					says, err := w.Confirm(ctx, q)
					if c.after {
						pending(map[string]string{"passive/reboot": efttest.PassiveNode, "active/reboot": efttest.ActiveNode}[q.Step.ID],
							true)
					}
					return says, err
				}}
			if c.waive != "" {
				run.Waive = map[string]string{c.waive: "renames of the scanner"}
			}
			_, err = p.Run(t.Context(), run)
			require.NoError(t, err)
			require.Equal(t, c.asked, asked)
			upgraded(t, w)
		})
	}
}
