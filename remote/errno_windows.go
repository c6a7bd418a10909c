package remote

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// What the system says when the other machine refused a connection, and when nothing answered.
var (
	refusals = []syscall.Errno{windows.WSAECONNREFUSED, windows.WSAECONNRESET}
	silences = []syscall.Errno{windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAEHOSTDOWN, windows.WSAETIMEDOUT}
)
