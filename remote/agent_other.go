//go:build !windows

package remote

import (
	"context"
	"io"
	"net"
)

// dialAgent connects to an agent's socket.
func dialAgent(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}
