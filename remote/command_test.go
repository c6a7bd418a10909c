package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/faultnet"
	"github.com/01b61c5c/failover/remote/remotetest"
)

func TestHowCommandsEnd(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler remotetest.Handler
		fault   remotetest.Fault
		outcome failover.Outcome
		want    error // nil: an exit status came back
		ran     bool  // the server got the request
		check   func(*testing.T, Result)
	}{
		{"exit 0", exit(0), 0, 0, nil, true, nil},
		{"exit 255", exit(255), 0, 0, nil, true, func(t *testing.T, r Result) { require.Equal(t, 255, r.Exit) }},
		{"signal", end(remotetest.Signalled("KILL")), 0, failover.InDoubt, errSignalled, true, func(t *testing.T, r Result) {
			require.Equal(t, "KILL", r.Signal)
			require.False(t, r.Exited)
		}},
		{"no status", end(remotetest.NoStatus()), 0, failover.InDoubt, ErrNoExitStatus, true, nil},
		{"drop", end(remotetest.Drop()), 0, failover.InDoubt, ErrLineLost, true, nil},
		{"drop when the request arrives", nil, remotetest.FaultDropExec, failover.InDoubt, ErrLineLost, true, nil},
		{"drop after the start", exit(0), remotetest.FaultDropStarted, failover.InDoubt, ErrLineLost, true, nil},
		{"drop instead of the status", exit(0), remotetest.FaultDropStatus, failover.InDoubt, ErrLineLost, true, nil},
		{"request refused", nil, remotetest.FaultRefuseExec, failover.NotApplied, ErrRefused, true, nil},
		{"session refused", nil, remotetest.FaultRefuseSession, failover.NotApplied, ErrRefused, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, line := range []string{"fresh", "used"} {
				server := serve(t, tc.handler)
				host := open(t, server.SSH())
				if line == "used" {
					require.NoError(t, host.Connect(soon(t)))
				}
				if tc.fault != 0 {
					server.Inject(tc.fault, remotetest.Always)
				}
				res, err := host.Run(soon(t), Command{Name: "fire", Line: "once"})
				if tc.want == nil {
					require.NoError(t, err)
					require.True(t, res.Exited)
				} else {
					require.ErrorIs(t, err, tc.want)
					hasEnded(t, err, server.Address(), tc.outcome)
					require.ErrorContains(t, err, "fire")
				}
				require.Equal(t, tc.ran, res.Sent)
				if tc.check != nil {
					tc.check(t, res)
				}
				if tc.ran {
					require.Len(t, server.Commands(), 1, "what was sent is never sent again")
				} else {
					require.Empty(t, server.Commands())
				}
			}
		})
	}
}

func TestDeadlines(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler remotetest.Handler
		fault   remotetest.Fault
		outcome failover.Outcome
	}{
		{"mute when a session is asked for", nil, remotetest.FaultMuteSession, failover.NotApplied},
		{"mute after the request", nil, remotetest.FaultMuteExec, failover.InDoubt},
		{"the command does not end", end(remotetest.Hang()), 0, failover.InDoubt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := serve(t, tc.handler)
			host := open(t, server.SSH())
			require.NoError(t, host.Connect(soon(t)))
			if tc.fault != 0 {
				server.Inject(tc.fault, 1)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // enough to send the request
			defer cancel()
			_, err := host.Run(ctx, Command{Line: "x"})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			hasEnded(t, err, server.Address(), tc.outcome)
		})
	}
	t.Run("before the call", func(t *testing.T) {
		server := serve(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := open(t, server.SSH()).Run(ctx, Command{Line: "x"})
		require.ErrorIs(t, err, context.Canceled)
		hasEnded(t, err, server.Address(), failover.NotApplied)
		require.Zero(t, server.Counts().Connections)
	})
}

func TestGivingUpOneCallLeavesTheOthersAlone(t *testing.T) {
	release := make(chan struct{})
	server := serve(t, func(ctx context.Context, cmd *remotetest.Command) remotetest.Ending {
		switch cmd.Line {
		case "long":
			<-release
			return remotetest.Exit(7)
		case "hang":
			return remotetest.Hang()
		}
		return remotetest.Exit(0)
	})
	host := open(t, server.SSH())
	var long sync.WaitGroup
	var res Result
	var err error
	long.Go(func() { res, err = host.Run(soon(t), Command{Line: "long"}) })
	require.Eventually(t, func() bool { return len(server.Commands()) == 1 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	var hang sync.WaitGroup
	var hung error
	hang.Go(func() { _, hung = host.Run(ctx, Command{Line: "hang"}) })
	require.Eventually(t, func() bool { return len(server.Commands()) == 2 }, 10*time.Second, time.Millisecond)
	cancel()
	hang.Wait()
	hasEnded(t, hung, server.Address(), failover.InDoubt)
	_, next := host.Run(soon(t), Command{Line: "next"})
	require.NoError(t, next)
	close(release)
	long.Wait()
	require.NoError(t, err, "the call beside it was not put in doubt")
	require.Equal(t, 7, res.Exit)
}

func TestADeadLineIsReplaced(t *testing.T) {
	server := serve(t, exit(0))
	host := open(t, server.SSH())
	for range 3 {
		_, err := host.Run(soon(t), Command{Line: "x"})
		require.NoError(t, err)
		server.DropLines()
	}
	require.Len(t, server.Commands(), 3)

	server.Stop()
	_, err := host.Run(soon(t), Command{Line: "x"})
	require.ErrorIs(t, err, ErrUnreachable)
	hasEnded(t, err, server.Address(), failover.NotApplied)
	require.NoError(t, server.Start())
	_, err = host.Run(soon(t), Command{Line: "x"})
	require.NoError(t, err)
	require.Len(t, server.Commands(), 4)
}

// TestCutAtEveryByte cuts the line after every few bytes once the client is logged in: what it sends, what comes back,
// on the way or before this machine's own kernel takes it, with and without another line to turn to. Whatever the
// client then says must be true, and the command must never arrive twice.
func TestCutAtEveryByte(t *testing.T) {
	for _, tc := range []struct {
		name  string
		dir   faultnet.Direction
		local bool // the fault strikes in this process, not in a proxy
		again bool // a second connection is possible
	}{
		{"out", faultnet.Out, false, false},
		{"out, may reconnect", faultnet.Out, false, true},
		{"in", faultnet.In, false, false},
		{"in, may reconnect", faultnet.In, false, true},
		{"out, before the kernel", faultnet.Out, true, false},
		{"out, before the kernel, may reconnect", faultnet.Out, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seen := map[string]int{}
			for after := int64(0); after < 900 && seen["undisturbed"] == 0; after += 5 {
				seen[cutOnce(t, tc.dir, tc.local, tc.again, after)]++
			}
			require.NotZero(t, seen["undisturbed"], "%v", seen)
			require.NotZero(t, seen["in-doubt"], "%v", seen)
			if tc.again {
				require.NotZero(t, seen["second line"], "%v", seen)
				require.Zero(t, seen["not-applied"], "%v", seen)
			} else if tc.dir == faultnet.Out {
				require.NotZero(t, seen["not-applied"], "%v", seen)
			}
		})
	}
}

func cutOnce(t *testing.T, dir faultnet.Direction, local, again bool, after int64) string {
	t.Helper()
	server := serve(t, exit(0))
	defer server.Close()
	proxy, err := faultnet.NewProxy(server.Address())
	require.NoError(t, err)
	defer proxy.Close()
	faults := &proxy.Net
	cfg := server.SSH()
	cfg.Address = proxy.Address()
	with := Config{SSH: cfg}
	if local {
		faults = &faultnet.Net{}
		with.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return faults.Wrap(conn), nil
		}
	}
	host := openWith(t, with)
	require.NoError(t, host.Connect(soon(t)))
	if !again {
		proxy.Refuse()
	}
	faults.Add(faultnet.Fault{Kind: faultnet.Cut, Dir: dir, After: after})
	res, err := host.Run(soon(t), Command{Line: "once"})
	require.NoError(t, host.Close())
	proxy.Close()
	server.Close()
	commands := len(server.Commands())
	require.LessOrEqual(t, commands, 1, "cut after %d bytes: sent twice", after)
	switch {
	case err == nil && server.Counts().Logins == 2:
		require.Equal(t, 1, commands)
		return "second line"
	case err == nil:
		require.Equal(t, 1, commands)
		return "undisturbed"
	case failover.OutcomeOf(err) == failover.NotApplied:
		require.Zero(t, commands, "cut after %d bytes: said not applied, but it arrived", after)
		require.False(t, res.Sent)
	default:
		require.True(t, res.Sent)
		require.Equal(t, 1, server.Counts().Logins, "nothing is repeated in doubt")
	}
	return failover.OutcomeOf(err).String()
}

func TestKeepalive(t *testing.T) {
	t.Run("never answered", func(t *testing.T) {
		server := serve(t, end(remotetest.Hang()))
		server.Inject(remotetest.FaultMuteKeepalive, remotetest.Always)
		cfg := server.SSH()
		cfg.KeepaliveEvery, cfg.KeepaliveMisses = 10*time.Millisecond, 2
		_, err := open(t, cfg).Run(soon(t), Command{Line: "x"})
		require.ErrorIs(t, err, ErrLineLost)
		require.ErrorContains(t, err, "answered nothing")
		hasEnded(t, err, server.Address(), failover.InDoubt)
	})
	t.Run("packets vanish in the middle", func(t *testing.T) {
		var proxy *faultnet.Proxy
		server := serve(t, func(context.Context, *remotetest.Command) remotetest.Ending {
			proxy.SilenceAll()
			return remotetest.Hang()
		})
		proxy, err := faultnet.NewProxy(server.Address())
		require.NoError(t, err)
		t.Cleanup(proxy.Close)
		cfg := server.SSH()
		cfg.Address, cfg.KeepaliveEvery = proxy.Address(), 10*time.Millisecond
		host := open(t, cfg)
		_, err = host.Run(soon(t), Command{Line: "x"})
		require.ErrorIs(t, err, ErrLineLost)
		hasEnded(t, err, proxy.Address(), failover.InDoubt)
	})
	t.Run("a refusal is a sign of life", func(t *testing.T) {
		server := serve(t, func(context.Context, *remotetest.Command) remotetest.Ending {
			time.Sleep(150 * time.Millisecond) // several intervals
			return remotetest.Exit(0)
		})
		cfg := server.SSH()
		cfg.KeepaliveEvery, cfg.KeepaliveMisses = 20*time.Millisecond, 2
		_, err := open(t, cfg).Run(soon(t), Command{Line: "x"})
		require.NoError(t, err)
	})
}

func TestOutputIsDrainedAndCapped(t *testing.T) {
	const size = 10 << 20
	server := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
		block := bytes.Repeat([]byte("x"), 64<<10)
		var both sync.WaitGroup
		for _, w := range []io.Writer{cmd.Stdout, cmd.Stderr} {
			both.Go(func() {
				for range size / len(block) {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			})
		}
		both.Wait()
		return remotetest.Exit(0)
	})
	res, err := open(t, server.SSH()).Run(soon(t), Command{Line: "x", MaxOutput: 1000})
	require.NoError(t, err)
	require.True(t, res.Truncated)
	require.Len(t, res.Stdout, 1000)
	require.Len(t, res.Stderr, 1000)

	res, err = open(t, server.SSH()).Run(soon(t), Command{Line: "x", MaxOutput: size})
	require.NoError(t, err)
	require.False(t, res.Truncated, "exactly the cap is not too much")
	require.Len(t, res.Stdout, size)
}

func TestStdinLargerThanTheWindow(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	server := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
		if cmd.Line == "ignore" {
			return remotetest.Exit(3) // the command ends without reading what it is given
		}
		got, _ := io.ReadAll(cmd.Stdin)
		if !bytes.Equal(got, data) {
			return remotetest.Exit(1)
		}
		return remotetest.Exit(0)
	})
	host := open(t, server.SSH())
	res, err := host.Run(soon(t), Command{Line: "read", Stdin: data})
	require.NoError(t, err)
	require.Zero(t, res.Exit)
	res, err = host.Run(soon(t), Command{Line: "ignore", Stdin: data})
	require.NoError(t, err)
	require.Equal(t, 3, res.Exit)
}

func TestLines(t *testing.T) {
	long := strings.Repeat("y", maxLineLength+10)
	server := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
		for _, piece := range []string{"on", "e\r\ntwo\n\nthr", "ee\n", long + "\n", "last"} {
			_, _ = io.WriteString(cmd.Stdout, piece)
		}
		_, _ = io.WriteString(cmd.Stderr, "warn\n")
		return remotetest.Exit(0)
	})
	var out []string
	warned := false
	_, err := open(t, server.SSH()).Run(soon(t), Command{Line: "x", OnLine: func(line string) {
		if line != "warn" { // of stderr, at any time
			out = append(out, line)
			return
		}
		warned = true
	}})
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two", "", "three", long[:maxLineLength], long[maxLineLength:], "last"}, out)
	require.True(t, warned)
}

func TestAChildKeepsTheOutputOpen(t *testing.T) {
	never := make(chan struct{})
	server := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
		_, _ = io.WriteString(cmd.Stdout, "@@LAUNCHED\n")
		return remotetest.ExitOpen(0, never)
	})
	res, err := open(t, server.SSH()).Run(soon(t), Command{Line: "x"})
	require.NoError(t, err)
	require.True(t, res.Exited && res.StreamOpen)
	require.Equal(t, "@@LAUNCHED\n", string(res.Stdout))
}

func TestExpiredPassword(t *testing.T) {
	refuse := func(cmd *remotetest.Command) remotetest.Ending {
		_, _ = io.WriteString(cmd.Stderr, "WARNING: Your password has expired.\n"+expiredText+"\n")
		return remotetest.Exit(1)
	}
	t.Run("the server says it to everything", func(t *testing.T) {
		server := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending { return refuse(cmd) })
		_, err := open(t, server.SSH()).Run(soon(t), Command{Line: "macro"})
		require.ErrorIs(t, err, ErrPasswordExpired)
		require.ErrorIs(t, err, ErrLogin)
		hasEnded(t, err, server.Address(), failover.NotApplied)
		require.Equal(t, []string{"macro", "exit 0"}, server.Commands())
	})
	t.Run("the command says it of another machine", func(t *testing.T) {
		server := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
			if cmd.Line == "macro" {
				return refuse(cmd)
			}
			return remotetest.Exit(0)
		})
		res, err := open(t, server.SSH()).Run(soon(t), Command{Line: "macro"})
		require.NoError(t, err, "a command that ran is not called refused")
		require.Equal(t, 1, res.Exit)
	})
}

func TestSecretsStayOut(t *testing.T) {
	server := serve(t, end(remotetest.Drop()))
	_, err := open(t, server.SSH()).Run(soon(t), Command{Line: "x", Stdin: []byte("hunter2")})
	require.NotContains(t, err.Error(), "hunter2")
	require.NotContains(t, err.Error(), remotetest.Password)
	require.Equal(t, []string{"x"}, server.Commands())
}

func TestDialFailureIsUnreachable(t *testing.T) {
	server := serve(t, nil)
	broken := errors.New("no route to host")
	host := openWith(t, Config{SSH: server.SSH(),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, broken }})
	_, err := host.Run(soon(t), Command{Line: "x"})
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorIs(t, err, broken)
}

func TestShellLineIsReadBackByRealShells(t *testing.T) {
	args := []string{"", "plain", "it's", `"double" $HOME $(id) \n`, "line\nbreak", "-n", "tab\tand  spaces", "ünïcode",
		`'\''`, "*", "~", "a;b&c|d"}
	want := strings.Join(args, "\x01") + "\x01"
	for _, shell := range []string{"/bin/sh", "/bin/dash", "/bin/bash", "/bin/ksh"} {
		t.Run(shell, func(t *testing.T) {
			if _, err := os.Stat(shell); err != nil {
				t.Skipf("needs %s, which this machine lacks", shell)
			}
			outer := &remotetest.Shell{Path: shell, Dir: t.TempDir()}
			host := open(t, serve(t, outer.Handle).SSH())
			line := EnvLine(ShellLine(shell, `for a in "$@"; do printf '%s\001' "$a"; done; printf %s "$X"`, args...), "X=it's")
			res, err := host.Run(soon(t), Command{Line: line})
			require.NoError(t, err)
			require.Equal(t, want+"it's", string(res.Stdout), string(res.Stderr))
		})
	}
}
