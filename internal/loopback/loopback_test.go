package loopback_test

import (
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/loopback"
)

func TestAHeldPortIsRefusedToEverybodyAndGivenBack(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("ports are not held on Windows")
	}
	l, err := loopback.Listen()
	require.NoError(t, err)
	address := l.Addr().String()
	client, err := net.Dial("tcp", address)
	require.NoError(t, err)
	served, err := l.Accept()
	require.NoError(t, err)

	require.NoError(t, l.Close())
	release := loopback.Hold(address) // while a line is open still
	require.NoError(t, served.Close())
	require.NoError(t, client.Close())
	_, err = net.Listen("tcp", address)
	require.ErrorIs(t, err, syscall.EADDRINUSE, "nobody else gets the port")
	_, err = net.Dial("tcp", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "and nobody answers on it")

	release()
	l, err = loopback.Again(address)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
