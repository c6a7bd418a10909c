//go:build !windows

package runbook

import (
	"io/fs"
	"os"
	"syscall"
)

// openFlags keeps an open from waiting for the other end of a queue that took the file's place.
const openFlags = syscall.O_NONBLOCK

// foreign reports whether a file belongs neither to this account nor to root.
func foreign(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid != 0 && int(st.Uid) != os.Geteuid()
}
