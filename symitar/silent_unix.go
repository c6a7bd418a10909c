//go:build !windows

package symitar

import "syscall"

// What a connect that fails says about the other machine.
var (
	noRoute         = []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN}
	connectTimedOut = []syscall.Errno{syscall.ETIMEDOUT}
	answered        = []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET}
)
