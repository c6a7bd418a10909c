//go:build linux || aix

package runbook

import (
	"os"

	"golang.org/x/sys/unix"
)

// flushInput drops what was typed into a terminal and not read yet. On what is no terminal it does nothing.
func flushInput(in *os.File) { _ = unix.IoctlSetInt(int(in.Fd()), unix.TCFLSH, unix.TCIFLUSH) }
