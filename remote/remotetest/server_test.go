package remotetest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/remote/remotetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, server *remotetest.Server, line string) (remote.Result, error) {
	t.Helper()
	host, err := remote.New(remote.Config{SSH: server.SSH()})
	require.NoError(t, err)
	defer func() { _ = host.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return host.Run(ctx, remote.Command{Line: line})
}

func TestShellEndsWhatItStarted(t *testing.T) {
	dir := t.TempDir()
	shell := &remotetest.Shell{Dir: dir}
	server, err := remotetest.NewServer(shell.Handle)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	res, err := run(t, server, "nohup sh -c 'echo $$ >pid; exec sleep 600' >/dev/null 2>&1 </dev/null & while test ! -s "+
		"pid; do sleep 0.01; done; pwd")
	require.NoError(t, err)
	require.Contains(t, string(res.Stdout), filepath.Base(dir))
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	require.NoError(t, err)
	stat := "/proc/" + strings.TrimSpace(string(text)) + "/cmdline"
	alive := func() bool { // a killed process may stay for a moment as a zombie with an empty command line
		line, err := os.ReadFile(stat)
		return err == nil && len(line) > 0
	}
	if _, err := os.Stat("/proc/self/cmdline"); err == nil {
		require.True(t, alive(), "the background process outlives its command")
	}
	shell.Kill()
	require.Eventually(t, func() bool { return !alive() }, 10*time.Second, 5*time.Millisecond)
}

func TestShellTellsSignals(t *testing.T) {
	shell := &remotetest.Shell{Dir: t.TempDir()}
	server, err := remotetest.NewServer(shell.Handle)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	res, err := run(t, server, "kill -KILL $$")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	require.Equal(t, "KILL", res.Signal)
}

// TestCloseWithACommandUnderWay must not hang, and leaves no process.
func TestCloseWithACommandUnderWay(t *testing.T) {
	dir := t.TempDir()
	shell := &remotetest.Shell{Dir: dir}
	server, err := remotetest.NewServer(shell.Handle)
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() {
		_, err := run(t, server, "echo >started; sleep 600")
		result <- err
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "started"))
		return err == nil
	}, 10*time.Second, time.Millisecond)
	server.Close()
	require.Error(t, <-result)
	shell.Kill()
}

// TestOpenSSHIsAClient checks the server against a client that is not ours.
func TestOpenSSHIsAClient(t *testing.T) {
	peers.Need(t, "ssh", "ssh-keygen")
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key")
	require.NoError(t, exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
		keyFile).Run())
	text, err := os.ReadFile(keyFile + ".pub")
	require.NoError(t, err)
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	require.NoError(t, err)
	shell := &remotetest.Shell{Dir: dir}
	server, err := remotetest.NewServer(shell.Handle, remotetest.WithAuthorizedKey(key), remotetest.WithFiles(dir))
	require.NoError(t, err)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Address())
	require.NoError(t, err)
	options := []string{"-F", "none", "-i", keyFile, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o",
		"UserKnownHostsFile=" + filepath.Join(dir, "known")}

	cmd := exec.CommandContext(t.Context(), "ssh",
		append(options, "-p", port, "-l", remotetest.User, "127.0.0.1", "cat; echo err >&2; exit 7")...)
	cmd.Stdin = strings.NewReader("through stdin")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, exit.ExitCode())
	require.Equal(t, "through stdin", string(out))
	require.Contains(t, stderr.String(), "err\n")

	if _, err := peers.Path("sftp"); err == nil {
		batch := fmt.Sprintf("put %s /copy\nrename /copy /moved\nls /\n", keyFile)
		cmd := exec.CommandContext(t.Context(), "sftp",
			append(options, "-P", port, "-b", "-", remotetest.User+"@127.0.0.1")...)
		cmd.Stdin = strings.NewReader(batch)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.FileExists(t, filepath.Join(dir, "moved"))
	}
}
