package remote

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/faultnet"
	"github.com/01b61c5c/failover/internal/peers"
)

// The tests of this file talk to real OpenSSH servers.

func TestSSHDRun(t *testing.T) {
	peers.Need(t, "sshd")
	server := peers.StartSSHD(t, peers.SSHDOptions{HostKeyTypes: []string{"ed25519", "ecdsa", "rsa"}})
	for i, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			cfg := server.SSH()
			cfg.HostKeys = server.Fingerprints()[i : i+1]
			host := open(t, cfg)
			res, err := host.Run(soon(t),
				Command{Line: ShellLine("/bin/sh", `cat; echo "$1 $X" >&2; exit 5`, "a b"), Stdin: []byte("secret")})
			require.NoError(t, err)
			require.Equal(t, 5, res.Exit)
			require.Equal(t, "secret", string(res.Stdout))
			require.Equal(t, "a b \n", string(res.Stderr))
		})
	}
	host := open(t, server.SSH())
	res, err := host.Run(soon(t), Command{Line: "kill -TERM $$"})
	require.ErrorIs(t, err, errSignalled)
	require.Equal(t, "TERM", res.Signal)
	hasEnded(t, err, server.Address, failover.InDoubt)

	res, err = host.Run(soon(t),
		Command{Line: "head -c 10485760 /dev/zero; head -c 10485760 /dev/zero >&2", MaxOutput: 100})
	require.NoError(t, err)
	require.True(t, res.Truncated)
	require.Len(t, res.Stderr, 100)

	res, err = host.Run(soon(t), Command{Line: "sleep 60 & echo launched"})
	require.NoError(t, err)
	require.True(t, res.StreamOpen, "the child holds the output")
	require.Equal(t, "launched\n", string(res.Stdout))
}

func TestSSHDManyAtOnce(t *testing.T) {
	peers.Need(t, "sshd")
	server := peers.StartSSHD(t, peers.SSHDOptions{})
	host := open(t, server.SSH())
	file := filepath.Join(t.TempDir(), "count")
	errs := make(chan error, 40)
	for range cap(errs) {
		go func() {
			_, err := host.Run(soon(t), Command{Line: "echo x >>" + Quote(file)})
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 80, len(text), "every command ran exactly once")
	// A session that has ended here may not have ended there yet: then the server refuses the next one, which takes
	// another line.
	require.Less(t, strings.Count(server.Log(), "Accepted publickey"), 10, "the commands share lines")
}

func TestSSHDMaxSessionsIsMetWithAnotherLine(t *testing.T) {
	peers.Need(t, "sshd")
	server := peers.StartSSHD(t, peers.SSHDOptions{Lines: []string{"MaxSessions 1"}})
	host := open(t, server.SSH())
	var both sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		both.Go(func() { _, errs[i] = host.Run(soon(t), Command{Line: "sleep 0.3"}) })
	}
	both.Wait()
	failed := 0
	for _, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, ErrRefused)
			hasEnded(t, err, server.Address, failover.NotApplied)
			failed++
		}
	}
	require.Less(t, failed, 3)
}

func TestSSHDGivingUpLeavesTheCommandRunning(t *testing.T) {
	peers.Need(t, "sshd")
	server := peers.StartSSHD(t, peers.SSHDOptions{})
	host := open(t, server.SSH())
	done := filepath.Join(t.TempDir(), "done")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := host.Run(ctx, Command{Line: "echo begun; sleep 3; echo ended >" + Quote(done),
		OnLine: func(string) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	hasEnded(t, err, server.Address, failover.InDoubt)
	// OpenSSH answers the closing of a session only when its process has ended: the line is given up for a new one.
	_, err = host.Run(soon(t), Command{Line: "exit 0"})
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(server.Log(), "Accepted publickey"))
	require.Eventually(t, func() bool {
		_, err := os.Stat(done)
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "giving up does not stop the command")
}

func TestSSHDWrongKeys(t *testing.T) {
	peers.Need(t, "sshd")
	a := peers.StartSSHD(t, peers.SSHDOptions{HostKeyTypes: []string{"ed25519", "rsa"}})
	b := peers.StartSSHD(t, peers.SSHDOptions{HostKeyTypes: []string{"ed25519", "rsa"}})
	cfg := a.SSH()
	cfg.Address = b.Address
	err := open(t, cfg).Connect(soon(t))
	require.ErrorIs(t, err, ErrHostKeyChanged)
	hasEnded(t, err, b.Address, failover.NotApplied)
	cfg.PeerKeys = b.Fingerprints()[1:] // only the RSA key of the partner is known
	err = open(t, cfg).Connect(soon(t))
	require.ErrorIs(t, err, ErrPeerHostKey)
	hasEnded(t, err, b.Address, failover.NotApplied)
	require.NotContains(t, b.Log(), "Accepted")
	require.NotContains(t, b.Log(), "Failed")
}

func TestSSHDRefusedLogin(t *testing.T) {
	peers.Need(t, "sshd")
	a, b := peers.StartSSHD(t, peers.SSHDOptions{}), peers.StartSSHD(t, peers.SSHDOptions{})
	cfg := a.SSH()
	cfg.Key = b.SSH().Key
	err := open(t, cfg).Connect(soon(t))
	require.ErrorIs(t, err, ErrLogin)
	hasEnded(t, err, a.Address, failover.NotApplied)
}

func TestSSHDLikeOldAIX(t *testing.T) {
	peers.Need(t, "sshd")
	for _, tc := range []struct {
		name   string
		opt    peers.SSHDOptions
		legacy bool
	}{
		{"group-exchange-sha256 only", peers.SSHDOptions{KexAlgorithms: []string{ssh.KeyExchangeDHGEXSHA256}}, false},
		{"group16-sha512 only", peers.SSHDOptions{KexAlgorithms: []string{ssh.KeyExchangeDH16SHA512}}, false},
		{"group1-sha1 only", peers.SSHDOptions{KexAlgorithms: []string{ssh.InsecureKeyExchangeDH1SHA1}}, true},
		{"group-exchange-sha1 only", peers.SSHDOptions{KexAlgorithms: []string{ssh.InsecureKeyExchangeDHGEXSHA1}}, true},
		{"aes128-cbc only", peers.SSHDOptions{Ciphers: []string{ssh.InsecureCipherAES128CBC}}, true},
		{"ssh-rsa host key only",
			peers.SSHDOptions{HostKeyTypes: []string{"rsa"}, HostKeyAlgorithms: []string{ssh.KeyAlgoRSA}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := peers.StartSSHD(t, tc.opt)
			cfg := server.SSH()
			err := open(t, cfg).Connect(soon(t))
			if !tc.legacy {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrNoCommonAlgorithm)
			require.Contains(t, failover.NextOf(err), "LegacyAlgorithms")
			cfg.LegacyAlgorithms = true
			_, err = open(t, cfg).Run(soon(t), Command{Line: "exit 0"})
			require.NoError(t, err)
		})
	}
}

func TestSSHDCutAndReboot(t *testing.T) {
	peers.Need(t, "sshd")
	server := peers.StartSSHD(t, peers.SSHDOptions{})
	proxy, err := faultnet.NewProxy(server.Address)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	cfg := server.SSH()
	cfg.Address = proxy.Address()
	host := open(t, cfg)
	dir := t.TempDir()
	for i, cut := range []func(){proxy.CutAll, proxy.ResetAll} {
		started, ended := filepath.Join(dir, fmt.Sprint("started", i)), filepath.Join(dir, fmt.Sprint("ended", i))
		result := make(chan error, 1)
		go func() {
			_, err := host.Run(soon(t),
				Command{Line: fmt.Sprintf("echo >%s; sleep 0.5; echo >%s", Quote(started), Quote(ended))})
			result <- err
		}()
		exists := func(path string) func() bool {
			return func() bool { _, err := os.Stat(path); return err == nil }
		}
		require.Eventually(t, exists(started), 10*time.Second, 5*time.Millisecond)
		cut()
		err := <-result
		require.ErrorIs(t, err, ErrLineLost)
		hasEnded(t, err, proxy.Address(), failover.InDoubt)
		require.Eventually(t, exists(ended), 10*time.Second, 10*time.Millisecond, "the command outlives its line")
	}
	_, err = host.Run(soon(t), Command{Line: "exit 0"})
	require.NoError(t, err)

	server.Kill()
	_, err = host.Run(soon(t), Command{Line: "exit 0"})
	require.Error(t, err)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.NoError(t, server.Start())
	_, err = host.Run(soon(t), Command{Line: "exit 0"})
	require.NoError(t, err)
}

func TestSSHDFiles(t *testing.T) {
	peers.Need(t, "sshd")
	server := peers.StartSSHD(t, peers.SSHDOptions{})
	host := open(t, server.SSH())
	path := filepath.Join(t.TempDir(), "sub file")
	data := bytes.Repeat([]byte("0123456789"), 500_000)
	for range 2 {
		file, err := host.Upload(soon(t), bytes.NewReader(data), path, UploadOptions{Mode: 0o750})
		require.NoError(t, err)
		require.Equal(t, sum(data), file.SHA256)
		data = data[1:]
	}
	got, err := host.ReadFile(soon(t), path, 10<<20)
	require.NoError(t, err)
	require.Equal(t, sum(got), sum(append([]byte{'1'}, data...)))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o750), info.Mode().Perm())
}

// TestSSHDWhatCameAfterWeGaveUpSaysNothing: giving a session up closes the command's output, so that one that keeps
// writing dies of SIGPIPE, and the server reports that. It is our doing and no word about the command.
func TestSSHDWhatCameAfterWeGaveUpSaysNothing(t *testing.T) {
	peers.Need(t, "sshd")
	server := peers.StartSSHD(t, peers.SSHDOptions{})
	host := open(t, server.SSH())
	host.limits.closeGrace = 5 * time.Second // time enough for the server to report
	for name, line := range map[string]string{
		"dies of a signal":         "while :; do echo x; done",
		"has a shell that reports": "(while :; do echo x; done) 2>/dev/null; exit $?",
		"exits when it cannot":     "trap '' PIPE; while echo x; do :; done 2>/dev/null; exit 3",
	} {
		t.Run(name, func(t *testing.T) {
			for _, want := range []error{context.DeadlineExceeded, context.Canceled} {
				ctx := &endsWith{Context: t.Context(), done: make(chan struct{}), err: want}
				begun := sync.OnceFunc(func() { close(ctx.done) })
				res, err := host.Run(ctx, Command{Line: line, MaxOutput: 10, OnLine: func(string) { begun() }})
				require.ErrorIs(t, err, want)
				require.NotErrorIs(t, err, errSignalled)
				hasEnded(t, err, server.Address, failover.InDoubt)
				require.True(t, res.Sent)
				require.False(t, res.Exited)
				require.Zero(t, res.Exit)
				require.Empty(t, res.Signal)
			}
		})
	}
}

// endsWith is a context that ends when done is closed, and not before.
type endsWith struct {
	context.Context
	done chan struct{}
	err  error
}

func (c *endsWith) Done() <-chan struct{} { return c.done }

func (c *endsWith) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}
