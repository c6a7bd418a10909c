package symitar

import "syscall"

// What a connect that fails says about the other machine: Winsock's own numbers and those of package syscall.
var (
	noRoute         = []syscall.Errno{10065, 10051, 10064, syscall.EHOSTUNREACH, syscall.ENETUNREACH}
	connectTimedOut = []syscall.Errno{10060, syscall.ETIMEDOUT}
	answered        = []syscall.Errno{10061, 10054, syscall.ECONNREFUSED, syscall.ECONNRESET}
)
