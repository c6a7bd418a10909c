package powershelltest

import (
	"os/exec"
	"testing"
)

// Need returns the path of a real PowerShell 7. Without one, and with -short, it skips the test: what it proves is then
// not proven.
func Need(tb testing.TB) string {
	tb.Helper()
	if testing.Short() {
		tb.Skip("a real PowerShell takes seconds")
	}
	path, err := exec.LookPath("pwsh")
	if err != nil {
		tb.Skip("needs pwsh, which this machine lacks; not proven here")
	}
	return path
}
