//go:build unix

package loopback

import (
	"net"
	"syscall"
)

// Hold keeps the port of address, on which nobody listens any more, from being given to somebody else. Connections to
// it are refused. release gives it back. A port that cannot be held is not.
func Hold(address string) (release func()) {
	nothing := func() {}
	at, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil || at.Port == 0 || at.IP.To4() == nil {
		return nothing
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nothing
	}
	where := &syscall.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())}
	// The lines that were cut leave the port in a state in which it can only be bound with this option. While it is set,
	// others with the option, as every listener has it, would get the port too.
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, where)
	}
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return nothing
	}
	return func() { _ = syscall.Close(fd) }
}
