package remote

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/faultnet"
	"github.com/01b61c5c/failover/internal/loopback"
	"github.com/01b61c5c/failover/internal/peers"
)

func TestSSHDJump(t *testing.T) {
	peers.Need(t, "sshd")
	first, second, target := peers.StartSSHD(t, peers.SSHDOptions{}), peers.StartSSHD(t, peers.SSHDOptions{}),
		peers.StartSSHD(t, peers.SSHDOptions{})
	cfg := target.SSH()
	cfg.Jump = []failover.SSH{first.SSH(), second.SSH()}
	host := open(t, cfg)
	for range 3 {
		res, err := host.Run(soon(t), Command{Line: ShellLine("/bin/sh", `cat; printf %s "$1"`, "a b"), Stdin: []byte("in ")})
		require.NoError(t, err)
		require.Equal(t, "in a b", string(res.Stdout))
	}
	path := filepath.Join(t.TempDir(), "f")
	file, err := host.Upload(soon(t), strings.NewReader(strings.Repeat("x", 3<<20)), path, UploadOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 3<<20, file.Size)
	for _, s := range []*peers.SSHD{first, second} {
		require.Equal(t, 1, strings.Count(s.Log(), "Accepted publickey"), "one line through each hop")
	}

	started := filepath.Join(t.TempDir(), "started")
	result := make(chan error, 1)
	go func() {
		_, err := host.Run(soon(t), Command{Line: "echo >" + Quote(started) + "; sleep 60"})
		result <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(started); return err == nil }, 10*time.Second,
		5*time.Millisecond)
	second.Kill()
	err = <-result
	require.ErrorIs(t, err, ErrLineLost)
	hasEnded(t, err, target.Address, failover.InDoubt)
	require.NoError(t, second.Start())
	_, err = host.Run(soon(t), Command{Line: "exit 0"})
	require.NoError(t, err, "the hop is dialled anew")
}

func TestSSHDJumpFails(t *testing.T) {
	peers.Need(t, "sshd")
	hop, target := peers.StartSSHD(t, peers.SSHDOptions{}), peers.StartSSHD(t, peers.SSHDOptions{})
	closed := peers.StartSSHD(t, peers.SSHDOptions{Lines: []string{"AllowTcpForwarding no"}})
	l, err := loopback.Listen()
	require.NoError(t, err)
	free := l.Addr().String()
	require.NoError(t, l.Close())
	defer loopback.Hold(free)()
	for _, tc := range []struct {
		name   string
		set    func(target, hop *failover.SSH)
		want   error
		not    []error
		answer Answer
	}{
		{"hop has a wrong key", func(_, hop *failover.SSH) { hop.HostKeys = target.Fingerprints() }, ErrJumpHost,
			[]error{ErrHostKeyChanged}, AnswerUnknown},
		{"hop shows the key of its partner",
			func(_, hop *failover.SSH) { hop.HostKeys, hop.PeerKeys = target.Fingerprints(), hop.HostKeys }, ErrJumpHost,
			[]error{ErrPeerHostKey}, AnswerUnknown},
		{"hop refuses the login", func(_, hop *failover.SSH) { hop.Key = target.SSH().Key }, ErrJumpHost, []error{ErrLogin},
			AnswerUnknown},
		{"hop is not there", func(_, hop *failover.SSH) { hop.Address = free }, ErrJumpHost,
			[]error{errPortClosed, errNoAnswer}, AnswerUnknown},
		{"hop forbids it", func(_, hop *failover.SSH) { *hop = closed.SSH() }, ErrJumpHost,
			[]error{errPortClosed, errNoAnswer}, AnswerUnknown},
		{"name unknown to the hop", func(target, _ *failover.SSH) { target.Address = "no.such.name.invalid:22" }, ErrJumpHost,
			[]error{errNoAnswer}, AnswerUnknown},
		{"target refuses the connection", func(target, _ *failover.SSH) { target.Address = free }, errPortClosed, nil,
			AnswerSome},
		{"target has a wrong key", func(target, _ *failover.SSH) { target.HostKeys = hop.Fingerprints() }, ErrHostKeyChanged,
			[]error{ErrJumpHost}, AnswerSome},
		{"target refuses the login", func(target, _ *failover.SSH) { target.Key = hop.SSH().Key }, ErrLogin,
			[]error{ErrJumpHost}, AnswerSome},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, via := target.SSH(), hop.SSH()
			tc.set(&cfg, &via)
			cfg.Jump = []failover.SSH{via}
			err := open(t, cfg).Connect(soon(t))
			require.ErrorIs(t, err, tc.want)
			for _, not := range tc.not {
				require.NotErrorIs(t, err, not)
			}
			require.Equal(t, tc.answer, AnswerOf(err), "%v", err)
			hasEnded(t, err, cfg.Address, failover.NotApplied)
		})
	}
	require.NotContains(t, target.Log(), "Accepted", "what goes wrong before the target never reaches its login")

	t.Run("hop falls silent", func(t *testing.T) {
		proxy, err := faultnet.NewProxy(hop.Address)
		require.NoError(t, err)
		t.Cleanup(proxy.Close)
		cfg, via := target.SSH(), hop.SSH()
		via.Address = proxy.Address()
		cfg.Jump = []failover.SSH{via}
		host := open(t, cfg)
		require.NoError(t, host.Connect(soon(t)))
		proxy.SilenceAll()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err = host.Run(ctx, Command{Line: "exit 0"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		again := target.SSH()
		again.Jump, again.ConnectTimeout = []failover.SSH{via}, 300*time.Millisecond
		silent := open(t, again)
		proxy.Add(faultnet.Fault{Kind: faultnet.Silence, Dir: faultnet.In, After: 100})
		err = silent.Connect(soon(t))
		require.ErrorIs(t, err, ErrJumpHost)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, AnswerUnknown, AnswerOf(err))
	})
}

func TestAnswersOfJumpHosts(t *testing.T) {
	for text, want := range map[string]Answer{
		"Connection refused": AnswerSome, "No route to host": AnswerNone, "Network is unreachable": AnswerNone,
		"Connection timed out": AnswerNone,
		// AIX
		"A remote host refused an attempted connect operation.":    AnswerSome,
		"A remote host did not respond within the timeout period.": AnswerNone,
		"A route to the remote host is not available.":             AnswerNone,
		"Name or service not known":                                AnswerUnknown, "": AnswerUnknown, "Permission denied": AnswerUnknown,
	} {
		require.Equal(t, want, answerOfRefusal(&ssh.OpenChannelError{Reason: ssh.ConnectionFailed, Message: text}), text)
		require.Equal(t, AnswerUnknown, answerOfRefusal(&ssh.OpenChannelError{Reason: ssh.Prohibited, Message: text}), text)
	}
}

func TestNewRefusesBadHops(t *testing.T) {
	good := serve(t, nil).SSH()
	for field, spoil := range map[string]func(*failover.SSH){
		"SSH.Jump[0].Address":    func(c *failover.SSH) { c.Jump[0].Address = "hop" },
		"SSH.Jump[0].Jump":       func(c *failover.SSH) { c.Jump[0].Jump = []failover.SSH{good} },
		"SSH.Jump[0].KnownHosts": func(c *failover.SSH) { c.Jump[0].HostKeys, c.Jump[0].KnownHosts = nil, "/nonexistent" },
		"SSH.Jump[0].PeerKeys":   func(c *failover.SSH) { c.Jump[0].PeerKeys = c.Jump[0].HostKeys },
	} {
		cfg := good
		cfg.Jump = []failover.SSH{good}
		spoil(&cfg)
		_, err := New(Config{SSH: cfg})
		require.ErrorIs(t, err, failover.ErrInvalid)
		var e *failover.Error
		require.True(t, errors.As(err, &e))
		require.Equal(t, field, e.Target)
	}
}
