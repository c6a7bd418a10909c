package eft_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/internal/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is the resource agent of a service that is a file: it runs where the file is. Starting it while it runs
// elsewhere is noted, and a disabled service does not start.
const agent = `#!/bin/sh
root=%s
own=$root/$(uname -n)
case $1 in
start)
	[ -e "$own/running" ] && exit 0
	[ "$(cat "$own/mode")" = disabled ] && exit 1
	ls "$root"/*/running >/dev/null 2>&1 && uname -n >>"$root/both"
	cat "$own/version" >>"$root/config/converted"
	: >"$own/running"
	exit 0 ;;
stop) rm -f "$own/running"; exit 0 ;;
monitor) [ -e "$own/running" ] && exit 0; exit 7 ;;
meta-data)
	cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="eft" version="1"><version>1</version><longdesc lang="en">eft</longdesc><shortdesc lang="en">eft</shortdesc>
<parameters/><actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/>
<action name="meta-data" timeout="5s"/></actions></resource-agent>
XML
	exit 0 ;;
esac
exit 3
`

const control = `#!/bin/sh
own=%s/$(uname -n)
case $1 in
status)
	state=stopped
	[ -e "$own/running" ] && state=running
	printf 'eft\t%%s\t%%s\troot\n' "$state" "$(cat "$own/mode")" ;;
stop) rm -f "$own/running" ;;
mode) echo "$2" >"$own/mode" ;;
*) exit 64 ;;
esac
`

// installer behaves like the real ones: it starts the service if that can be started, and sets it to automatic.
const installer = `#!/bin/sh
root=%s
own=$root/$(uname -n)
echo "$*" >>"$own/runs"
if [ "$(cat "$own/mode")" != disabled ]; then
	: >"$own/running"
	echo "the installer started it on $(uname -n)" >>"$root/both"
fi
sleep 1
echo 8.1.0.16 >"$own/version"
echo '8.1.0.16 EFT Server' >"$own/products"
echo automatic >"$own/mode"
echo Repair finished
`

const group = `<group id="eft"><primitive id="eft-disk" class="ocf" provider="pacemaker" type="Dummy"/>` +
	`<primitive id="eft-svc" class="ocf" provider="failover" type="eft"><operations><op id="eft-svc-mon" name="monitor" interval="5s"/>` +
	`<op id="eft-svc-stop" name="stop" interval="0" timeout="30s"/></operations></primitive></group>`

// settings reads what the running service would tell, through the cluster.
type settings struct {
	c    cluster.Cluster
	root string
}

func (s settings) Read(ctx context.Context) (eft.Settings, error) {
	g, err := s.c.Group(ctx, "eft")
	if err != nil {
		return eft.Settings{}, err
	}
	raw, err := os.ReadFile(filepath.Join(s.root, g.Owner, "version"))
	if err == nil {
		_, err = os.Stat(filepath.Join(s.root, g.Owner, "running"))
	}
	if err != nil {
		return eft.Settings{}, &failover.Error{Op: "read settings", Target: g.Owner, Outcome: failover.NotApplied,
			Next: "wait", Err: err}
	}
	config, err := os.ReadFile(filepath.Join(s.root, "config", "ServerConfig.db"))
	if err != nil {
		return eft.Settings{}, &failover.Error{Op: "read settings", Target: g.Owner, Outcome: failover.NotApplied,
			Next: "wait", Err: err}
	}
	v, err := eft.ParseVersion(string(raw))
	return eft.Settings{Version: v, Values: map[string]string{"config": string(config)},
		Licences: map[string]string{"EFTServer": "Registered"}}, err
}

// TestUpgradeOnARealCluster runs the same procedure on corosync and Pacemaker, each node behind its own sshd, with a
// shell script standing in for the installer. The first process is stopped while the installer runs.
func TestUpgradeOnARealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a real cluster takes a minute")
	}
	peers.NeedPacemaker(t)
	root, err := os.MkdirTemp("", "eft it's $(x) ") // every script must survive such a path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	plain, err := os.MkdirTemp("", "eft")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(plain) })
	write := func(path, text string, mode os.FileMode) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), mode)) //nolint:gosec // in a folder of the test's own
	}
	for _, node := range []string{"n1", "n2"} {
		write(filepath.Join(plain, node, "version"), "8.0.6.16\n", 0o644)
		write(filepath.Join(plain, node, "products"), "8.0.6.16 EFT Server\n", 0o644)
		write(filepath.Join(plain, node, "mode"), "manual\n", 0o644)
	}
	write(filepath.Join(plain, "config", "ServerConfig.db"), "precious", 0o644)
	write(filepath.Join(plain, "config", "Logs", "EFT.log"), "noise", 0o644)
	write(filepath.Join(plain, "control"), fmt.Sprintf(control, plain), 0o755)

	p := peers.StartPacemaker(t,
		peers.PacemakerOptions{Agents: map[string]string{"eft": fmt.Sprintf(agent, plain)}, Resources: group})
	var addresses []cluster.Address
	nodes := map[string]eft.Node{}
	for _, n := range p.Nodes {
		addresses = append(addresses, cluster.Address{Node: n.Name, SSH: n.SSHD.SSH()})
		own := filepath.Join(plain, n.Name)
		node, err := efttest.NewScriptNode(
			efttest.ScriptNodeConfig{Name: n.Name, SSH: n.SSHD.SSH(), VersionFile: filepath.Join(own, "version"),
				ProductsFile: filepath.Join(own, "products"), RunsDir: filepath.Join(root, n.Name, "runs"),
				Control: filepath.Join(plain, "control")})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, node.Close()) })
		nodes[n.Name] = node
		require.NoError(t, os.MkdirAll(filepath.Join(root, n.Name), 0o755))
	}
	c, err := cluster.NewPacemaker(
		cluster.PacemakerConfig{Nodes: addresses, Services: map[string]string{"eft-svc": "eft"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	var g cluster.Group
	for range 100 {
		if g, err = c.Group(t.Context(), "eft"); err == nil && g.State == cluster.StateOnline {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	require.Equal(t, cluster.StateOnline, g.State, "%s %v", g, err)
	active, passive := nodes[g.Owner], nodes["n1"]
	if g.Owner == "n1" {
		passive = nodes["n2"]
	}

	text := fmt.Sprintf(installer, plain)
	sum := sha256.Sum256([]byte(text))
	// The installer lies in the node's own folder; both nodes see one file system here, so it is one file.
	proc, err := eft.Upgrade(eft.Options{Cluster: c, Group: "eft", Active: active, Passive: passive,
		Admin: settings{c, plain},
		Installer: eft.Installer{Path: filepath.Join(root, "installer"), SHA256: hex.EncodeToString(sum[:]),
			Size: int64(len(text)), Version: eft.Version{8, 1, 0, 16},
			Mode: eft.ModeSilent, Args: []string{"--repair", "it's `quoted` $(here)"}, StopAfter: time.Minute,
			Settle: time.Second,
			Source: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }},
		ConfigDir: filepath.Join(plain, "config"), BackupDir: filepath.Join(root, "backup"), Poll: 100 * time.Millisecond,
		Verify: 20 * time.Second, Hold: 200 * time.Millisecond,
		Move: cluster.MoveOptions{Timeout: 40 * time.Second, Poll: 100 * time.Millisecond, Grace: 3 * time.Second,
			Settle: 4 * time.Second},
		State: cluster.StateOptions{Timeout: 40 * time.Second, Poll: 100 * time.Millisecond, Settle: 5 * time.Second}})
	require.NoError(t, err)

	journal := filepath.Join(t.TempDir(), "j")
	run := func(ctx context.Context, proc failover.Procedure) error {
		j, err := failovertest.JournalAt(journal)
		require.NoError(t, err)
		_, err = proc.Run(ctx, failover.RunOptions{Journal: j, Actor: "anna", Reason: "test"})
		require.NoError(t, j.Close())
		return err
	}
	// The process ends right after it has started the installer.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps := proc.AllSteps()
	install := steps[slices.IndexFunc(steps, func(s failover.Step) bool { return s.ID == "passive/install" })]
	start := install.Apply
	install.ID, install.Apply = "install", func(ctx context.Context) error {
		defer cancel()
		return start(ctx)
	}
	ends, err := proc.Replace("passive/install", install)
	require.NoError(t, err)
	require.ErrorIs(t, run(ctx, ends), context.Canceled)
	require.NoError(t, run(t.Context(), proc))

	after, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	require.Equal(t, g.Owner, after.Owner, "ends on the node it began on")
	require.Equal(t, cluster.StateOnline, after.State)
	require.Empty(t, after.Standing)
	for name, n := range nodes {
		f, err := n.Facts(t.Context())
		require.NoError(t, err)
		require.Equal(t, eft.Version{8, 1, 0, 16}, f.Program)
		require.Equal(t, eft.StartManual, f.Services[0].StartMode, name)
		require.Equal(t, name == g.Owner, f.Services[0].Running, name)
		runs, err := os.ReadFile(filepath.Join(plain, name, "runs"))
		require.NoError(t, err)
		require.Equal(t, "--repair it's `quoted` $(here)\n", string(runs), "once, with its arguments as given")
	}
	require.NoFileExists(t, filepath.Join(plain, "both"),
		"the service never ran on both nodes, and no installer started it")
	copies, err := filepath.Glob(filepath.Join(root, "backup", "eft-*", "files", "*"))
	require.NoError(t, err)
	var names []string
	for _, path := range copies {
		names = append(names, filepath.Base(path))
	}
	require.Equal(t, "ServerConfig.db converted", strings.Join(names, " "), "Logs is left out")
}
