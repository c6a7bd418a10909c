package runbook

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// foreign is not looked at: the access list of a file is the administrator's.
func foreign(fs.FileInfo) bool { return false }

// flushInput drops what was typed into a console and not read yet. On what is no console it does nothing.
func flushInput(in *os.File) { _ = windows.FlushConsoleInputBuffer(windows.Handle(in.Fd())) }
