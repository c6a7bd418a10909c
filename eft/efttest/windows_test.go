package efttest_test

import (
	"context"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/remote"
)

func windows(t *testing.T, w *efttest.World, name string) (*efttest.WindowsNode, *eft.WindowsNode) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the simulated SFTP server needs a file system that takes a colon in names")
	}
	srv, err := w.ServeWindows(name)
	require.NoError(t, err)
	n, err := eft.NewWindowsNode(eft.WindowsNodeConfig{Name: name, SSH: srv.SSH()})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, n.Close())
		require.NoError(t, srv.Close())
	})
	return srv, n
}

// TestUpgradeOverSSHAndREST runs both procedures against Windows nodes behind SSH and the administration API over TLS,
// with the faults that touch the wire or the service.
func TestUpgradeOverSSHAndREST(t *testing.T) {
	for name, l := range layouts {
		for fault, shell := range map[string]string{"": "cmd", "lost-reply": "powershell", "resets-service": "pwsh",
			"renames-service": "bash", "exit-3010": "powershell"} {
			if l == efttest.LayoutShared && fault != "" {
				continue // the same wire
			}
			t.Run(name+"/"+fault+"/"+shell, func(t *testing.T) {
				t.Parallel()
				w := efttest.Start(t, l)
				under(t, w, shell)
				if fault != "" {
					require.NoError(t, w.Arm(fault))
				}
				o, err := w.Options()
				require.NoError(t, err)
				activeSrv, active := windows(t, w, efttest.ActiveNode)
				passiveSrv, passive := windows(t, w, efttest.PassiveNode)
				o.Active, o.Passive, o.Verify = active, passive, time.Minute
				o.Installer.StopAfter = time.Minute
				_, o.Admin = rest(t, w)
				p, err := eft.Upgrade(o)
				if l == efttest.LayoutShared {
					p, err = eft.UpgradeShared(o)
				}
				require.NoError(t, err)
				j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "j"))
				require.NoError(t, err)
				report, err := p.Run(t.Context(),
					failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm})
				require.NoError(t, j.Close())
				require.NoError(t, err)
				upgraded(t, w)
				raw, err := report.JSON()
				require.NoError(t, err)
				require.NotContains(t, string(raw), efttest.Password)
				for _, srv := range []*efttest.WindowsNode{activeSrv, passiveSrv} {
					require.Empty(t, srv.Refused(), "nothing but the embedded scripts was sent")
					for _, line := range srv.Commands() {
						require.NotContains(t, line, efttest.Password)
						require.Less(t, len(line), 8191-40)
					}
				}
			})
		}
	}
}

// under makes the machines' sshd hand command lines to this shell.
func under(t *testing.T, w *efttest.World, shell string) {
	t.Helper()
	require.NoError(t, w.Update(func(m *clustertest.Model, _ *efttest.State) error {
		m.Shell = clustertest.Shells()[shell]
		return nil
	}))
}

// What a script says stands in its document, whatever status a login shell makes of the script's own.
func TestARefusalKeepsItsWordsUnderEveryShell(t *testing.T) {
	for shell := range clustertest.Shells() {
		w := efttest.Start(t, efttest.LayoutShared)
		under(t, w, shell)
		_, n := windows(t, w, efttest.PassiveNode)
		_, err := n.Space(t.Context(), efttest.ConfigDir)
		require.ErrorContains(t, err, "does not have the shared disk", shell)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%s: %v", shell, err)
		err = n.Restore(t.Context(), eft.Backup{From: efttest.ConfigDir, To: `C:\nowhere`})
		require.ErrorContains(t, err, "is not there", shell)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%s: %v", shell, err)
	}
}

func TestTheSimulatedWindowsRefusesWhatItDoesNotKnow(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	srv, _ := windows(t, w, efttest.ActiveNode)
	host, err := remote.New(remote.Config{SSH: srv.SSH()})
	require.NoError(t, err)
	defer func() { require.NoError(t, host.Close()) }()
	res, err := host.Run(t.Context(), remote.Command{Line: "powershell.exe -Command Stop-Computer"})
	require.NoError(t, err)
	require.Equal(t, 1, res.Exit)
	require.Equal(t, []string{"powershell.exe -Command Stop-Computer"}, srv.Refused())
}

// TestNamesNeverBecomeCode sends names a careless program would execute: each arrives as one value of the document or
// is refused before anything is sent.
func TestNamesNeverBecomeCode(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	srv, n := windows(t, w, efttest.ActiveNode)
	for _, name := range []string{"$(Stop-Computer)", "it's", "it\u2019s", "\u201cdouble\u201d", "`n", "a\nb", "a*b",
		`a"b`, "a;b", "a|b", "%PATH%", "#<"} {
		path := `C:\Install\` + name
		before := len(srv.Ran())
		f, err := n.File(t.Context(), path)
		if err != nil {
			require.ErrorIs(t, err, failover.ErrInvalid, "%q", name)
			require.Len(t, srv.Ran(), before, "%q was sent", name)
			continue
		}
		require.Equal(t, eft.File{}, f)
		require.Empty(t, srv.Refused())
		service := n.StopService(t.Context(), name)
		require.NoError(t, service)
		for _, line := range srv.Commands() {
			require.False(t, strings.Contains(line, name), "%q is part of a command line", name)
		}
	}
}

func TestOptionsRefuseBadInput(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	source := func(context.Context) (io.ReadCloser, error) { return nil, io.EOF }
	for field, change := range map[string]func(*eft.Options){
		"Options.Cluster":       func(o *eft.Options) { o.Cluster = nil },
		"Options.Active":        func(o *eft.Options) { o.Active = nil },
		"Options.Passive":       func(o *eft.Options) { o.Passive = o.Active },
		"Options.ConfigDir":     func(o *eft.Options) { o.ConfigDir = "a\nb" },
		"Options.BackupDir":     func(o *eft.Options) { o.BackupDir = o.ConfigDir + `\Backup` },
		"Options.BackupExclude": func(o *eft.Options) { o.BackupExclude = []string{"/MIR"} },
		"BackupExclude":         func(o *eft.Options) { o.BackupExclude = []string{"Lo*s"} },
		"Installer.Env":         func(o *eft.Options) { o.Installer.Env = map[string]string{"-S x": "y"} },
		"Env":                   func(o *eft.Options) { o.Installer.Env = map[string]string{"A": "x\ny"} },
		"Options.Consoles":      func(o *eft.Options) { o.Consoles = []eft.Console{{Name: "a"}, {Name: "a"}} },
		"Options.Quiesce":       func(o *eft.Options) { o.Quiesce, o.Admin = 1, nil },
		"Options.Verify":        func(o *eft.Options) { o.Attempts = -1 },
		"Installer.Path":        func(o *eft.Options) { o.Installer.Path = `\\server\share\eft.exe` },
		"Installer.SHA256":      func(o *eft.Options) { o.Installer.SHA256 = "abc" },
		"Installer.Size":        func(o *eft.Options) { o.Installer.Size = 0 },
		"Installer.Version":     func(o *eft.Options) { o.Installer.Version = eft.Version{} },
		"Installer.URL":         func(o *eft.Options) { o.Installer.URL, o.Installer.Source = "http://x/eft.exe", nil },
		"Installer.Args":        func(o *eft.Options) { o.Installer.Args = nil },
		"Installer.Mode":        func(o *eft.Options) { o.Installer.Mode = 5 },
		"Installer.StopAfter":   func(o *eft.Options) { o.Installer.StopAfter = -1 },
		"Installer.Settle":      func(o *eft.Options) { o.Installer.Settle = time.Hour },
		"TransferOptions":       func(o *eft.Options) { o.Group = "" },
	} {
		o, err := w.Options()
		require.NoError(t, err)
		change(&o)
		for _, build := range []func(eft.Options) (failover.Procedure, error){eft.Upgrade, eft.UpgradeShared} {
			_, err = build(o)
			require.ErrorIs(t, err, failover.ErrInvalid, field)
			require.ErrorContains(t, err, field)
			require.NotEmpty(t, failover.NextOf(err), field)
		}
	}
	o, err := w.Options()
	require.NoError(t, err)
	o.Installer.URL, o.Installer.Source = "https://x/eft.exe", source
	_, err = eft.Upgrade(o)
	require.ErrorIs(t, err, failover.ErrInvalid)
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]eft.Version{"8.1.0.16": {8, 1, 0, 16}, "8.1": {8, 1}, " 7.4.5.6\n": {7, 4, 5, 6}} {
		v, err := eft.ParseVersion(text)
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	for _, text := range []string{"", "8.", "8.1.0.16.2", "8.1a", "-1", "8,1", "99999999999"} {
		_, err := eft.ParseVersion(text)
		require.ErrorIs(t, err, failover.ErrInvalid, text)
	}
	require.Positive(t, eft.Version{8, 10}.Compare(eft.Version{8, 9, 99}))
}
