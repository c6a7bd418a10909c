//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package runbook

import (
	"os"

	"golang.org/x/sys/unix"
)

// readQueue is FREAD of sys/fcntl.h: the queue of what was typed.
const readQueue = 1

// flushInput drops what was typed into a terminal and not read yet. On what is no terminal it does nothing.
func flushInput(in *os.File) { _ = unix.IoctlSetPointerInt(int(in.Fd()), unix.TIOCFLUSH, readQueue) }
