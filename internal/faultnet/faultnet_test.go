package faultnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers every byte and ends with the client.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return l.Addr().String()
}

func proxied(t *testing.T) (*Proxy, net.Conn) {
	t.Helper()
	p, err := NewProxy(echo(t))
	require.NoError(t, err)
	t.Cleanup(p.Close)
	c, err := net.Dial("tcp", p.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return p, c
}

func exchange(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := c.Write([]byte(text))
	require.NoError(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

func TestProxyPassesEverything(t *testing.T) {
	p, c := proxied(t)
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	var write sync.WaitGroup
	write.Go(func() {
		_, _ = c.Write(big)
		_ = c.(*net.TCPConn).CloseWrite()
	})
	got, err := io.ReadAll(c)
	write.Wait()
	require.NoError(t, err)
	require.True(t, bytes.Equal(big, got))
	require.EqualValues(t, len(big), p.Passed(Out))
	require.EqualValues(t, len(big), p.Passed(In))
}

func TestFaultStrikesAtItsByteOnce(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault Fault
		want  string
	}{
		{"cut on the way out", Fault{Kind: Cut, Dir: Out, After: 4}, "0123"},
		{"cut on the way in", Fault{Kind: Cut, Dir: In, After: 3}, "012"},
		{"cut at the first byte", Fault{Kind: Cut, Dir: Out}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, c := proxied(t)
			p.Add(tc.fault)
			_, err := c.Write([]byte("0123456789"))
			require.NoError(t, err)
			got, err := io.ReadAll(c)
			if tc.fault.Dir == In {
				require.NoError(t, err)
				require.Equal(t, tc.want, string(got))
			} else {
				// What was already delivered may or may not have been echoed before the cut; never more.
				require.LessOrEqual(t, len(got), len(tc.want))
				require.Equal(t, tc.want[:len(got)], string(got))
				require.EqualValues(t, len(tc.want), p.Passed(Out))
			}
			require.Zero(t, p.Pending())

			again, err := net.Dial("tcp", p.Address())
			require.NoError(t, err)
			defer func() { _ = again.Close() }()
			exchange(t, again, "hello")
		})
	}
}

func TestSilence(t *testing.T) {
	p, c := proxied(t)
	p.Add(Fault{Kind: Silence, Dir: In, After: 2})
	_, err := c.Write([]byte("abcd"))
	require.NoError(t, err)
	got := make([]byte, 2)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "ab", string(got))
	require.Zero(t, p.Pending())

	p.SilenceAll()
	_, err = c.Write([]byte("lost"))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
	_, err = c.Read(got)
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "%v", err)
	p.CutAll()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err = c.Read(got)
	require.Error(t, err)
}

func TestResetAll(t *testing.T) {
	p, c := proxied(t)
	exchange(t, c, "in")
	p.ResetAll()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestRefuse(t *testing.T) {
	p, c := proxied(t)
	exchange(t, c, "in")
	p.Refuse()
	late, err := net.Dial("tcp", p.Address())
	require.NoError(t, err)
	defer func() { _ = late.Close() }()
	require.NoError(t, late.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = late.Read(make([]byte, 1))
	require.Error(t, err)
	exchange(t, c, "still there")
}

func TestWrapClient(t *testing.T) {
	raw, err := net.Dial("tcp", echo(t))
	require.NoError(t, err)
	var faults Net
	c := faults.Wrap(raw)
	faults.Add(Fault{Kind: Cut, Dir: Out, After: 5})
	n, err := c.Write([]byte("0123456"))
	require.ErrorIs(t, err, ErrCut)
	require.Equal(t, 5, n)
}
