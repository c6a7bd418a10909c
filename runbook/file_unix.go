//go:build !windows

package runbook

import (
	"io/fs"
	"os"
	"syscall"
)

// foreign reports whether a file belongs neither to this account nor to root.
func foreign(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid != 0 && int(st.Uid) != os.Geteuid()
}
