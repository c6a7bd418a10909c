//go:build !windows

package remote

import (
	"context"
	"io"
	"net"
	"syscall"
)

// What the system says when the other machine refused a connection, and when nothing answered.
var (
	refusals = []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET}
	silences = []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ETIMEDOUT}
)

// dialAgent connects to an agent's socket.
func dialAgent(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}
