package remote

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover/internal/sshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunHappyPath(t *testing.T) {
	shell := &sshtest.Shell{Dir: t.TempDir()}
	server, err := sshtest.NewServer(shell.Handle)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	host, err := New(server.SSH())
	require.NoError(t, err)
	t.Cleanup(func() { _ = host.Close() })

	res, err := host.Run(context.Background(), Command{Line: ShellLine("/bin/sh", `cat; echo "$1"; echo oops >&2; exit 3`, "it's"), Stdin: []byte("in\n")})
	require.NoError(t, err)
	require.Equal(t, 3, res.Exit)
	require.Equal(t, "in\nit's\n", string(res.Stdout))
	require.Equal(t, "oops\n", string(res.Stderr))
	_, err = host.Run(context.Background(), Command{Line: "true"})
	require.NoError(t, err)
	require.Equal(t, 1, server.Counts().Connections)
}
