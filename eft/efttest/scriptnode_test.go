package efttest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/internal/peers"
)

// TestScriptNode runs every script on a real sshd and shell, in a folder whose name a careless script would execute.
func TestScriptNode(t *testing.T) {
	peers.Need(t, "sshd", "sha256sum", "setsid")
	dir := filepath.Join(t.TempDir(), "it's $(touch pwned) `x` * \u2019 \n nasty")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "config", "Logs"), 0o755))
	for name, text := range map[string]string{"config/ServerConfig.db": "precious", "config/a file": "1",
		"config/Logs/x": "noise", "version": "8.0.6.16\n",
		"products": "8.0.6.16 EFT Server\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)) //nolint:gosec // the test's own
	}
	plain := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(plain, name), []byte(text), 0o755)) //nolint:gosec // a program
	}
	write("control", "#!/bin/sh\ncd "+plain+"\ncase $1 in status) printf 'eft\\tstopped\\t%s\\troot\\n' \"$(cat mode)\" "+
		";; mode) echo $2 >mode ;; esac\n")
	write("mode", "manual")
	srv := peers.StartSSHD(t, peers.SSHDOptions{})
	// A path of ours may hold a line break; a configured one may not.
	_, err := efttest.NewScriptNode(efttest.ScriptNodeConfig{Name: "n", SSH: srv.SSH(), VersionFile: filepath.Join(dir, "version"),
		ProductsFile: "/p", RunsDir: "/r", Control: "/c"})
	require.ErrorIs(t, err, failover.ErrInvalid)
	require.NoError(t, os.Symlink(dir, filepath.Join(plain, "it's $(touch pwned) `x`")))
	dir = filepath.Join(plain, "it's $(touch pwned) `x`")
	n, err := efttest.NewScriptNode(efttest.ScriptNodeConfig{Name: "n", SSH: srv.SSH(), VersionFile: filepath.Join(dir, "version"),
		ProductsFile: filepath.Join(dir, "products"),
		RunsDir:      filepath.Join(dir, "runs"), Control: filepath.Join(plain, "control")})
	require.NoError(t, err)
	defer func() { require.NoError(t, n.Close()) }()
	ctx := t.Context()

	f, err := n.Facts(ctx)
	require.NoError(t, err)
	require.Equal(t, eft.Version{8, 0, 6, 16}, f.Program)
	require.Equal(t, []eft.InstalledProduct{{Name: "EFT Server", Version: eft.Version{8, 0, 6, 16}}}, f.Products)
	require.Equal(t, []eft.Service{{Name: "eft", StartMode: eft.StartManual, Account: "root"}}, f.Services)
	require.NoError(t, n.ConfigureService(ctx, "eft", eft.ServiceConfig{StartMode: eft.StartDisabled}))
	f, err = n.Facts(ctx)
	require.NoError(t, err)
	require.Equal(t, eft.StartDisabled, f.Services[0].StartMode)

	config, backup := filepath.Join(dir, "config"), filepath.Join(dir, "backup")
	space, err := n.Space(ctx, config)
	require.NoError(t, err)
	require.Positive(t, space.Used)
	require.Positive(t, space.Free)
	m, err := n.ReadBackup(ctx, backup)
	require.NoError(t, err)
	require.True(t, m.IsZero())
	require.Equal(t, failover.NotApplied,
		failover.OutcomeOf(n.Backup(ctx, eft.Backup{From: filepath.Join(dir, "nothing"), To: backup})))
	b := eft.Backup{From: config, To: backup, Exclude: []string{"Logs"}}
	require.NoError(t, n.Backup(ctx, b))
	require.NoError(t, n.Backup(ctx, b), "safe to repeat")
	m, err = n.ReadBackup(ctx, backup)
	require.NoError(t, err)
	require.Len(t, m.Files, 2)
	require.Equal(t, "ServerConfig.db", m.Files[0].Path)
	require.NoError(t, os.WriteFile(filepath.Join(config, "ServerConfig.db"), []byte("changed"), 0o600))
	require.NoError(t, n.Restore(ctx, b))
	raw, err := os.ReadFile(filepath.Join(config, "ServerConfig.db"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(raw))
	require.NoError(t, os.WriteFile(filepath.Join(backup, "files", "a file"), []byte("2"), 0o600))
	_, err = n.ReadBackup(ctx, backup)
	require.ErrorIs(t, err, eft.ErrBackup)
	require.NoError(t, os.WriteFile(filepath.Join(config, "ServerConfig.db"), []byte("in use"), 0o600))
	err = n.Restore(ctx, b)
	require.ErrorIs(t, err, eft.ErrBackup)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	raw, err = os.ReadFile(filepath.Join(config, "ServerConfig.db"))
	require.NoError(t, err)
	require.Equal(t, "in use", string(raw), "a copy that is not what its list says takes nothing's place")

	text := "#!/bin/sh\nprintf '%s|' \"$@\" >>'" + plain + "/ran'\nsleep 1\necho done $SPECIAL\nexit 3\n"
	sum := sha256.Sum256([]byte(text))
	i := eft.Installer{Path: filepath.Join(dir, "installer"), SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text)),
		Source: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	wrong := i
	wrong.Source = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte("other"))), nil
	}
	require.Error(t, n.Stage(ctx, wrong))
	file, err := n.File(ctx, i.Path)
	require.NoError(t, err)
	require.Equal(t, eft.File{}, file, "what is wrong never appears at the path")
	require.NoError(t, n.Stage(ctx, i))
	file, err = n.File(ctx, i.Path)
	require.NoError(t, err)
	require.Equal(t, i.SHA256, file.SHA256)

	start := eft.Start{ID: "abc-passive", Path: i.Path, SHA256: i.SHA256, Args: []string{"it's", "$(touch pwned)", ""},
		Env: map[string]string{"SPECIAL": "`x`"}}
	bad := start
	bad.SHA256 = strings.Repeat("0", 64)
	require.ErrorIs(t, n.StartInstaller(ctx, bad), eft.ErrInstallerDiffers)
	run, err := n.InstallerRun(ctx, start.ID)
	require.NoError(t, err)
	require.Equal(t, eft.RunNotStarted, run.State)
	// A start that is lost is kept from coming later; one of the next turn may.
	run, err = n.VoidInstaller(ctx, start.ID)
	require.NoError(t, err)
	require.Equal(t, eft.InstallerRun{State: eft.RunNotStarted, Turn: 1}, run)
	require.ErrorIs(t, n.StartInstaller(ctx, start), eft.ErrNodeBusy)
	start.Turn = run.Turn
	var wg sync.WaitGroup
	errs := make([]error, 5)
	for k := range errs {
		wg.Go(func() { errs[k] = n.StartInstaller(ctx, start) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	for range 300 {
		run, err = n.InstallerRun(ctx, start.ID)
		require.NoError(t, err)
		if run.State != eft.RunRunning {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Equal(t, eft.RunEnded, run.State)
	require.Equal(t, 3, run.Exit)
	require.Equal(t, "done `x`\n", run.Log)
	require.NoError(t, n.StartInstaller(ctx, start))
	raw, err = os.ReadFile(filepath.Join(plain, "ran"))
	require.NoError(t, err)
	require.Equal(t, "it's|$(touch pwned)||", string(raw), "five starts together and a late one: one run")
	found, err := filepath.Glob(filepath.Join(plain, "pwned"))
	require.NoError(t, err)
	require.Empty(t, found)

	// A run under the claim of a later turn is seen as long as it runs.
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "runs", "other.claim.next"), fmt.Appendf(nil, "%d\n1\n%s", os.Getpid(), boot), 0o600))
	f, err = n.Facts(ctx)
	require.NoError(t, err)
	require.Len(t, f.Busy, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "runs", "other.exit"), []byte("0\n1\n"), 0o600))
	f, err = n.Facts(ctx)
	require.NoError(t, err)
	require.Empty(t, f.Busy)
}
