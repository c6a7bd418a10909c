//go:build linux

package symitar_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/faultnet"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// below is where a real host sees its folder.
const below = "/mnt"

// machine is a simulated host's folder behind a real OpenSSH server, in namespaces of its own: it sees its folder at below, a
// password file in which the account has the login shell that is wanted, and no process but its own. Killing the server
// ends all of them, and starting it again begins with low process numbers, as a reboot does.
type machine struct {
	*peers.SSHD
	proxy *faultnet.Proxy
	dir   string
}

// realMachine starts one. lines are further ones of sshd_config.
func realMachine(t *testing.T, dir, login string, lines ...string) *machine {
	t.Helper()
	peers.Need(t, "root", "sshd", "unshare", "mount", "ps")
	write := func(name, text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), mode))
		require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	passwd, err := os.ReadFile("/etc/passwd")
	require.NoError(t, err)
	var users []string
	for line := range strings.Lines(string(passwd)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && f[0] == "root" {
			f[5], f[6] = below+"/home", login
			line = strings.Join(f, ":") + "\n"
		}
		users = append(users, line)
	}
	write("etc/passwd", strings.Join(users, ""), 0o644)
	// The machine's own list of processes, and the agent, which is simulated.
	write("bin/ps", `#!/bin/sh
PATH=/usr/bin:/bin ps "$@" || exit $?
[ "$2" != pid ] && [ "$(cat `+below+`/etc/agent)" = running ] && printf '%s\n' '30001 1 30001 root 10:00 sma_lsam' '30002 1 30001 root 10:00 sma_disp' '30003 1 30001 root 10:00 sma_log'
exit 0
`, 0o755)
	for _, name := range []string{".bashrc", ".cshrc", ".tcshrc", ".zshenv", ".kshrc", ".mkshrc", ".yashrc", ".profile", ".config/fish/config.fish", ".rcrc"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, "home", name)), 0o755))
		write("home/"+name, "echo welcome from "+name+"\n", 0o644)
	}
	mounts := "mount --bind " + dir + " " + below + " && mount --bind " + dir + "/etc/passwd /etc/passwd && exec \"$@\""
	server := peers.StartSSHD(t, peers.SSHDOptions{Lines: lines, Prefix: []string{"unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-c", mounts, "sh"}})
	proxy, err := faultnet.NewProxy(server.Address)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	return &machine{server, proxy, dir}
}

// realMachines is a simulated pair behind two real OpenSSH servers.
func realMachines(t *testing.T, login string, lines ...string) (*bench, map[string]*machine) {
	t.Helper()
	b := newBench(t, "")
	b.cfg = b.sim.ConfigBelow(below)
	b.cfg.Dialer = nil
	list := map[string]*machine{}
	for _, h := range []*symitar.HostConfig{&b.cfg.Home, &b.cfg.Partner} {
		m := realMachine(t, b.sim.HostDir(h.Name), login, lines...)
		h.SSH = m.SSH()
		h.SSH.Address = m.proxy.Address()
		list[h.Name] = m
	}
	return b, list
}

// fireOnce looks at the shells, fires, and wants the macro to have run once, with its arguments as they were given.
func (b *bench) fireOnce(t *testing.T) {
	t.Helper()
	b.cfg.Macro.SwitchoverArgs = []string{"it's", `"$HOME"`, "a  b", "`id`", "x!y", "*", `back\slash`}
	pair, err := symitar.NewPair(b.cfg, symitar.WithPolling(poll))
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	findings, err := pair.Preflight(t.Context(), symitar.ForSwitchover)
	require.NoError(t, err)
	for _, f := range findings {
		require.True(t, f.OK(), "%s: %s %v", f.Check, f.Found, f.Err)
	}
	run, err := symitar.NewRunID()
	require.NoError(t, err)
	res, err := pair.Fire(t.Context(), run, symitar.ForSwitchover)
	require.NoError(t, err)
	require.Equal(t, symitar.Succeeded, res.State)
	require.Contains(t, res.LogTail, "FAILOVER started with arguments: "+strings.Join(b.cfg.Macro.SwitchoverArgs, " "))
	require.Equal(t, 1, b.sim.MacroRuns())
	require.False(t, b.sim.EverTwoPrimaries())
	require.Equal(t, []string{symitartest.Partner}, b.sim.Primaries())
}
