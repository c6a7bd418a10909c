package remote

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote/remotetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a simulated server; the handler may be nil where no command is to run.
func serve(t *testing.T, handler remotetest.Handler, opts ...remotetest.Option) *remotetest.Server {
	t.Helper()
	if handler == nil {
		handler = func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
			t.Errorf("a command ran that must not run: %s", cmd.Line)
			return remotetest.Exit(99)
		}
	}
	server, err := remotetest.NewServer(handler, opts...)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

func exit(code int) remotetest.Handler {
	return func(context.Context, *remotetest.Command) remotetest.Ending { return remotetest.Exit(code) }
}

func end(e remotetest.Ending) remotetest.Handler {
	return func(context.Context, *remotetest.Command) remotetest.Ending { return e }
}

func open(t *testing.T, cfg failover.SSH) *Host {
	t.Helper()
	return openWith(t, Config{SSH: cfg})
}

func openWith(t *testing.T, cfg Config) *Host {
	t.Helper()
	host, err := New(cfg)
	require.NoError(t, err)
	host.limits = limits{closeGrace: 50 * time.Millisecond, lingerIdle: 100 * time.Millisecond, lingerMax: 2 * time.Second}
	t.Cleanup(func() { _ = host.Close() })
	return host
}

// soon is the limit of calls that are expected to end by themselves.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// hasEnded asserts what every error must carry.
func hasEnded(t *testing.T, err error, target string, outcome failover.Outcome) {
	t.Helper()
	var e *failover.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, outcome, e.Outcome, "%v", err)
	require.Equal(t, target, e.Target)
	require.NotEmpty(t, e.Next)
	require.NotEmpty(t, e.Op)
	require.NotContains(t, err.Error(), remotetest.Password)
}

func TestRunSharesOneConnection(t *testing.T) {
	shell := &remotetest.Shell{Dir: t.TempDir()}
	server := serve(t, shell.Handle)
	host := open(t, server.SSH())
	res, err := host.Run(soon(t),
		Command{Line: ShellLine("/bin/sh", `cat; echo "$1"; echo oops >&2; exit 3`, "it's"), Stdin: []byte("in\n")})
	require.NoError(t, err)
	require.Equal(t, Result{Sent: true, Exited: true, Exit: 3, Stdout: []byte("in\nit's\n"), Stderr: []byte("oops\n")},
		res)
	errs := make(chan error, 40)
	for range cap(errs) {
		go func() {
			_, err := host.Run(soon(t), Command{Line: "exit 0"})
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	counts := server.Counts()
	require.Equal(t, 1, counts.Connections)
	require.Equal(t, 1, counts.LoginTries)
	require.LessOrEqual(t, counts.MostSessions, 2*maxSessions,
		"the server counts a session a little longer than the client")
}

func TestNewRefusesBadInput(t *testing.T) {
	good := serve(t, nil).SSH()
	for name, spoil := range map[string]func(*failover.SSH){
		"no port":          func(c *failover.SSH) { c.Address = "host" },
		"no user":          func(c *failover.SSH) { c.User = "" },
		"no host key":      func(c *failover.SSH) { c.HostKeys = nil },
		"no login":         func(c *failover.SSH) { c.Password = nil },
		"peer key is ours": func(c *failover.SSH) { c.PeerKeys = c.HostKeys },
		"no known_hosts":   func(c *failover.SSH) { c.HostKeys, c.KnownHosts = nil, "/nonexistent/known_hosts" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			spoil(&cfg)
			_, err := New(Config{SSH: cfg})
			require.ErrorIs(t, err, failover.ErrInvalid)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		})
	}
}

func TestRunRefusesBadCommands(t *testing.T) {
	server := serve(t, nil)
	host := open(t, server.SSH())
	for _, cmd := range []Command{{}, {Line: " \n"}, {Line: "a\x00b"}, {Line: string(make([]byte, maxCommandLine+1))},
		{Line: "x", MaxOutput: -1}} {
		_, err := host.Run(soon(t), cmd)
		require.ErrorIs(t, err, failover.ErrInvalid)
	}
	require.Zero(t, server.Counts().Connections)
}

func TestClose(t *testing.T) {
	started := make(chan struct{})
	server := serve(t, func(context.Context, *remotetest.Command) remotetest.Ending {
		close(started)
		return remotetest.Hang()
	})
	host := open(t, server.SSH())
	result := make(chan error, 1)
	go func() {
		_, err := host.Run(soon(t), Command{Line: "hang"})
		result <- err
	}()
	<-started
	require.NoError(t, host.Close())
	err := <-result
	require.ErrorIs(t, err, ErrLineLost)
	hasEnded(t, err, server.Address(), failover.InDoubt)
	_, err = host.Run(soon(t), Command{Line: "late"})
	require.ErrorIs(t, err, errClosed)
	hasEnded(t, err, server.Address(), failover.NotApplied)
	require.NoError(t, host.Close())
	require.Len(t, server.Commands(), 1)
}

func TestCloseEndsADial(t *testing.T) {
	server := serve(t, nil)
	server.Inject(remotetest.FaultMute, remotetest.Always)
	host := open(t, server.SSH())
	result := make(chan error, 1)
	go func() { result <- host.Connect(soon(t)) }()
	require.Eventually(t, func() bool { return server.Counts().Connections == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, host.Close())
	hasEnded(t, <-result, server.Address(), failover.NotApplied)
}
