package runbook

import (
	"os"

	"golang.org/x/sys/windows"
)

// flushInput drops what was typed into a console and not read yet. On what is no console it does nothing.
func flushInput(in *os.File) { _ = windows.FlushConsoleInputBuffer(windows.Handle(in.Fd())) }
