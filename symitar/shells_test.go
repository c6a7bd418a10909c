//go:build linux

package symitar_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// posix are shells of the Bourne family; others are login shells that read nothing of that kind.
var (
	posix  = []string{"dash", "bash", "ksh93", "mksh", "zsh", "yash", "posh", "busybox"}
	others = []string{"bsd-csh", "tcsh", "rc", "fish"}
)

// shellPath finds a shell on this machine, which is where the machines' namespaces see it too.
func shellPath(t *testing.T, name string) string {
	t.Helper()
	peers.Need(t, name)
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	if name == "busybox" {
		link := filepath.Join(t.TempDir(), "ash")
		require.NoError(t, os.Symlink(path, link))
		return link
	}
	return path
}

// TestEveryLoginShell fires through real OpenSSH with each shell as the account's login shell, start-up files that
// print included.
func TestEveryLoginShell(t *testing.T) {
	for _, name := range append(append([]string{}, posix...), others...) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := realMachines(t, shellPath(t, name))
			b.fireOnce(t)
		})
	}
}

// TestEveryScriptShell has each shell of the Bourne family run our scripts.
func TestEveryScriptShell(t *testing.T) {
	for _, name := range posix {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := realMachines(t, "/bin/bash")
			b.cfg.Shell = shellPath(t, name)
			b.fireOnce(t)
		})
	}
}

// TestWhatIsNoShellIsSaid: where our scripts cannot run, the first check says what is in the way, and nothing was
// changed.
func TestWhatIsNoShellIsSaid(t *testing.T) {
	menu := filepath.Join(t.TempDir(), "menu")
	require.NoError(t, os.WriteFile(menu, []byte("#!/bin/sh\nprintf '  3 - SYM 000\\nSelection : '\nread x\n"), 0o755))
	csh := filepath.Join(t.TempDir(), "shell") // under a name that does not tell
	require.NoError(t, os.Symlink(shellPath(t, "bsd-csh"), csh))
	for name, c := range map[string]struct {
		login, shell, force, want string
	}{
		"rbash":               {login: "rbash", want: "restricted shell"},
		"nologin":             {login: "/usr/sbin/nologin", want: "closed for logins"},
		"a menu for a shell":  {login: menu, want: "a menu stands before the shell"},
		"a forced menu":       {login: "bash", force: menu, want: "a menu stands before the shell"},
		"a forced command":    {login: "bash", force: "/bin/date", want: "forced command"},
		"csh for the scripts": {login: "bash", shell: csh, want: "no POSIX shell"},
		"no such shell":       {login: "bash", shell: "/usr/local/bin/no-such-shell", want: "does not find or run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := func(shell string) string {
				if filepath.IsAbs(shell) {
					return shell
				}
				return shellPath(t, shell)
			}
			var lines []string
			if c.force != "" {
				lines = append(lines, "ForceCommand "+c.force)
			}
			b, _ := realMachines(t, path(c.login), lines...)
			if c.shell != "" {
				b.cfg.Shell = path(c.shell)
			}
			pair, err := symitar.NewPair(b.cfg)
			require.NoError(t, err)
			defer func() { require.NoError(t, pair.Close()) }()
			plan, err := pair.Preflight(t.Context(), symitar.PurposeSwitchover)
			require.NoError(t, err)
			shell := plan.Steps[0]
			require.Equal(t, "preflight/shell", shell.ID)
			require.Empty(t, shell.Error)
			require.Equal(t, failover.ActionBlock, shell.Action)
			require.Contains(t, shell.Observation.Found, c.want)
			t.Log(shell.Observation.Found)
			run := symitar.NewRunID()
			_, err = pair.Fire(t.Context(), run, symitar.PurposeSwitchover)
			require.Error(t, err)
			require.Zero(t, b.sim.MacroRuns())
			require.NoDirExists(t, filepath.Join(b.sim.HostDir(symitartest.Home), "var/tmp/failover"))
		})
	}
}

// TestServerSettings fires through servers that allow little.
func TestServerSettings(t *testing.T) {
	pass := filepath.Join(t.TempDir(), "pass")
	require.NoError(t, os.WriteFile(pass, []byte("#!/bin/sh\necho passed on\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n"),
		0o755))
	for name, lines := range map[string][]string{
		"MaxSessions 1":              {"MaxSessions 1"},
		"a forced command passes on": {"ForceCommand " + pass},
		"RekeyLimit":                 {"RekeyLimit 1K"},
		"PermitTTY no":               {"PermitTTY no"},
		"ClientAliveInterval":        {"ClientAliveInterval 1", "ClientAliveCountMax 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := realMachines(t, "/bin/bash", lines...)
			b.fireOnce(t)
		})
	}
}

// TestDropbear fires through servers of another make, with a C shell for the account.
func TestDropbear(t *testing.T) {
	peers.Need(t, "dropbear", "dropbearkey")
	b, hosts := realMachines(t, shellPath(t, "tcsh"))
	for _, h := range []*symitar.HostConfig{&b.cfg.Home, &b.cfg.Partner} {
		h.SSH = hosts[h.Name].Dropbear(t)
	}
	b.fireOnce(t)
}
