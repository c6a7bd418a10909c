//go:build !windows

package remote

import "syscall"

// What the system says when the other machine refused a connection, and when nothing answered.
var (
	refusals = []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET}
	silences = []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ETIMEDOUT}
)
