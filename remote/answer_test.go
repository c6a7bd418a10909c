package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/loopback"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// tcpServer is a server that is no SSH server: it sends text and then hangs up or stays as it is.
func tcpServer(t *testing.T, text string, hangUp bool) string {
	t.Helper()
	l, err := loopback.Listen()
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			if !hangUp {
				_, _ = io.Copy(io.Discard, conn)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// TestEveryWayALivingServerFails: whatever a machine does that is up, it is never taken for silent, and what went wrong
// has a name of its own.
func TestEveryWayALivingServerFails(t *testing.T) {
	closed, err := loopback.Listen()
	require.NoError(t, err)
	gone := closed.Addr().String()
	require.NoError(t, closed.Close())
	release := loopback.Hold(gone)
	defer release()
	for _, tc := range []struct {
		name    string
		fault   remotetest.Fault
		options []remotetest.Option
		address string // instead of a remotetest server's
		want    error
		text    string
		slow    bool // it takes the whole time
	}{
		{name: "port closed", address: gone, want: errPortClosed, text: "port is closed"},
		{name: "accepts and says nothing", fault: remotetest.FaultMute, want: errNotServed, text: "it sent nothing",
			slow: true},
		{name: "accepts and hangs up", fault: remotetest.FaultHangUp, want: errNotServed, text: "without a word"},
		{name: "full, as OpenSSH says it", address: tcpServer(t, "Exceeded MaxStartups\r\n", true), want: errNotServed,
			text: "Exceeded MaxStartups"},
		{name: "penalty, as OpenSSH says it", address: tcpServer(t, "Not allowed at this time\r\n", true), want: errNotServed,
			text: "Not allowed"},
		{name: "another protocol", address: tcpServer(t, "220 mail\x1b[2J ready\r\n", false), want: errNotServed,
			text: `220 mail\x1b[2J ready`, slow: true},
		{name: "version, then nothing", fault: remotetest.FaultMuteKex, want: ErrHandshake, text: "handshake", slow: true},
		{name: "version, then hangs up", address: tcpServer(t, "SSH-2.0-OpenSSH_7.5\r\n", true), want: ErrHandshake,
			text: "handshake"},
		{name: "no common algorithm", options: []remotetest.Option{remotetest.WithConfig(func(c *ssh.ServerConfig) {
			c.KeyExchanges = []string{ssh.InsecureKeyExchangeDH1SHA1}
		})}, want: ErrNoCommonAlgorithm, text: "no common algorithm"},
		{name: "refuses the login", fault: remotetest.FaultRefuseLogin, want: ErrLogin, text: "login refused"},
		{name: "drops the login", fault: remotetest.FaultDropLogin, want: ErrLoginUnfinished, text: "line lost"},
		{name: "does not answer the login", fault: remotetest.FaultMuteLogin, want: ErrLoginUnfinished,
			text: "login not finished", slow: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := serve(t, nil, tc.options...)
			if tc.fault != 0 {
				server.Inject(tc.fault, remotetest.Always)
			}
			cfg := server.SSH()
			if tc.slow {
				cfg.ConnectTimeout = 200 * time.Millisecond
			}
			if tc.address != "" {
				cfg.Address = tc.address
			}
			_, err := open(t, cfg).Run(soon(t), Command{Line: "x"})
			require.ErrorIs(t, err, tc.want)
			require.Contains(t, err.Error(), tc.text)
			require.NotErrorIs(t, err, errNoAnswer)
			require.Equal(t, AnswerSome, AnswerOf(err))
			require.Equal(t, AnswerSome, AnswerOf(fmt.Errorf("step: %w", err)))
			require.Equal(t, tc.want == ErrLogin, errors.Is(err, ErrLogin), "a slow login is not a refused one")
			require.Equal(t, tc.slow, errors.Is(err, context.DeadlineExceeded))
			require.Equal(t, AnswerSome, AnswerOf(open(t, cfg).Reach(soon(t))),
				"also where nobody asks for more than a connection")
			hasEnded(t, err, cfg.Address, failover.NotApplied)
			if !tc.slow {
				return
			}
			require.Contains(t, err.Error(), "200ms")
			cfg.ConnectTimeout = time.Hour
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("operator pressed stop")) })
			_, err = open(t, cfg).Run(ctx, Command{Line: "x"})
			require.ErrorContains(t, err, "operator pressed stop")
			require.NotErrorIs(t, err, errNoAnswer)
			hasEnded(t, err, cfg.Address, failover.NotApplied)
		})
	}
}

// full is a listening socket whose queue is full: the system answers no further connection.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 20 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("needs a system that stops answering when the queue of a socket is full; this one does not")
	return ""
}

// TestOnlyTheWholeConnectTimeoutIsSilence uses a port at which the system answers no connection.
func TestOnlyTheWholeConnectTimeoutIsSilence(t *testing.T) {
	cfg := serve(t, nil).SSH()
	cfg.Address, cfg.ConnectTimeout = full(t), 300*time.Millisecond
	host := open(t, cfg)
	require.Equal(t, AnswerNone, AnswerOf(host.Reach(soon(t))))
	_, err := host.Run(soon(t), Command{Line: "x"})
	require.ErrorIs(t, err, errNoAnswer)
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, AnswerNone, AnswerOf(err))
	hasEnded(t, err, cfg.Address, failover.NotApplied)

	cfg.ConnectTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = open(t, cfg).Run(ctx, Command{Line: "x"})
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, AnswerUnknown, AnswerOf(err), "the caller's own patience proves nothing")
}

func TestAnswersOfDialers(t *testing.T) {
	op := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	noRoute, refused := op(syscall.EHOSTUNREACH), op(syscall.ECONNREFUSED)
	for name, tc := range map[string]struct {
		err  error
		want Answer
	}{
		"no route":                   {noRoute, AnswerNone},
		"no network":                 {op(syscall.ENETUNREACH), AnswerNone},
		"the kernel gave up":         {op(syscall.ETIMEDOUT), AnswerNone},
		"refused":                    {refused, AnswerSome},
		"reset":                      {op(syscall.ECONNRESET), AnswerSome},
		"no permission":              {op(syscall.EPERM), AnswerUnknown},
		"no address of our own":      {op(syscall.EADDRNOTAVAIL), AnswerUnknown},
		"all addresses silent":       {errors.Join(noRoute, op(syscall.ENETUNREACH)), AnswerNone},
		"one of the addresses alive": {errors.Join(noRoute, refused), AnswerSome},
		"one not known":              {errors.Join(noRoute, op(syscall.EPERM)), AnswerUnknown},
		"a name that is not known": {&net.OpError{Op: "dial", Net: "tcp",
			Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}, AnswerUnknown},
		"a name server that is slow": {&net.OpError{Op: "dial", Net: "tcp",
			Err: &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}}, AnswerUnknown},
		"a proxy that is not there":   {&net.OpError{Op: "socks connect", Net: "tcp", Err: noRoute}, AnswerUnknown},
		"a dialer's own words":        {errors.New("no route to host"), AnswerUnknown},
		"a dialer that only gives up": {context.DeadlineExceeded, AnswerUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := serve(t, nil).SSH()
			host := openWith(t, Config{SSH: cfg,
				Dial: func(context.Context, string, string) (net.Conn, error) { return nil, tc.err }})
			require.Equal(t, tc.want, AnswerOf(host.Reach(soon(t))))
			_, err := host.Run(soon(t), Command{Line: "x"})
			require.ErrorIs(t, err, tc.err)
			require.ErrorIs(t, err, ErrUnreachable)
			require.Equal(t, tc.want == AnswerNone, errors.Is(err, errNoAnswer))
			require.Equal(t, tc.want == AnswerSome, errors.Is(err, errPortClosed))
			require.Equal(t, tc.want, AnswerOf(err))
			hasEnded(t, err, cfg.Address, failover.NotApplied)
		})
	}
	require.Equal(t, AnswerSome, AnswerOf(nil))
	require.Equal(t, AnswerUnknown, AnswerOf(errors.New("x")))
	require.Equal(t, "unknown none some", fmt.Sprint(AnswerUnknown, AnswerNone, AnswerSome))
}

// takePlace takes the only place of a server with a connection that does not log in. The server may need a moment to
// free it from whoever looked before whether it is up.
func takePlace(t *testing.T, address string) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		t.Cleanup(func() { _ = conn.Close() })
		word := make([]byte, 4)
		_, err = io.ReadFull(conn, word)
		return err == nil && string(word) == "SSH-"
	}, 10*time.Second, 10*time.Millisecond)
}

// TestSSHDRefusesInItsOwnWords: every way a real server is alive and does not let us in.
func TestSSHDRefusesInItsOwnWords(t *testing.T) {
	peers.Need(t, "sshd")
	for _, tc := range []struct {
		name string
		opt  peers.SSHDOptions
		want error
		text string
	}{
		{"only an unknown key exchange", peers.SSHDOptions{KexAlgorithms: []string{"diffie-hellman-group18-sha512"}},
			ErrNoCommonAlgorithm, "diffie-hellman-group18-sha512"},
		{"only old algorithms", peers.SSHDOptions{KexAlgorithms: []string{ssh.InsecureKeyExchangeDH14SHA1},
			Ciphers: []string{ssh.InsecureCipherAES128CBC}}, ErrNoCommonAlgorithm, "group14-sha1"},
		{"wants a password after the key",
			peers.SSHDOptions{Lines: []string{"PasswordAuthentication yes", "AuthenticationMethods publickey,password"}},
			ErrLoginIncomplete, "the server accepted publickey, it wants password, which is not configured"},
		{"wants a password only",
			peers.SSHDOptions{Lines: []string{"PasswordAuthentication yes", "KbdInteractiveAuthentication no",
				"PubkeyAuthentication no"}}, ErrLoginIncomplete, "it wants password, which is not configured"},
		{"lets this user in never", peers.SSHDOptions{Lines: []string{"DenyUsers *"}}, ErrLogin, "login refused"},
		{"one try only", peers.SSHDOptions{Lines: []string{"MaxAuthTries 1", "AuthorizedKeysFile none"}}, ErrLogin,
			"login refused"},
		{"full", peers.SSHDOptions{Lines: []string{"MaxStartups 1:100:1"}}, errNotServed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := peers.StartSSHD(t, tc.opt)
			if tc.want == errNotServed {
				takePlace(t, server.Address)
			}
			err := open(t, server.SSH()).Connect(soon(t))
			require.ErrorIs(t, err, tc.want)
			require.Contains(t, err.Error(), tc.text)
			require.Equal(t, AnswerSome, AnswerOf(err))
			require.Equal(t, tc.want == ErrLogin, errors.Is(err, ErrLogin))
			require.NotEqual(t, "", strings.TrimSpace(failover.NextOf(err)))
			hasEnded(t, err, server.Address, failover.NotApplied)
		})
	}
}
