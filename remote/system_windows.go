package remote

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// What the system says when the other machine refused a connection, and when nothing answered.
var (
	refusals = []syscall.Errno{windows.WSAECONNREFUSED, windows.WSAECONNRESET}
	silences = []syscall.Errno{windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAEHOSTDOWN, windows.WSAETIMEDOUT}
)

// dialAgent connects to an agent's named pipe (the OpenSSH service, Pageant), or to a socket.
func dialAgent(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	if !strings.HasPrefix(strings.ReplaceAll(path, "/", `\`), `\\.\pipe\`) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	for {
		// The agent need not act for us, so whoever owns a pipe of that name may not either.
		handle, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_ANONYMOUS, 0)
		if err == nil {
			return os.NewFile(uintptr(handle), path), nil
		}
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		select { // every instance of the pipe serves somebody else
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
