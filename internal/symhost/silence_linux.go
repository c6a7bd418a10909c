package symhost

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// Silence returns an address at which nothing answers: a connect neither comes about nor is refused, as with a machine
// that has no power. It is a port whose queue of connections is full.
func Silence(tb testing.TB) string {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(tb, err)
	tb.Cleanup(func() { _ = syscall.Close(fd) })
	must(tb, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(tb, syscall.Listen(fd, 0))
	at, err := syscall.Getsockname(fd)
	must(tb, err)
	address := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port) //nolint:forcetypeassert // it was bound as one
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return address
		}
		must(tb, err)
		tb.Cleanup(func() { _ = conn.Close() })
	}
	tb.Fatal("symhost: the queue of the port does not fill up")
	return ""
}
