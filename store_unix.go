//go:build !windows

package failover

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFlags keeps an open from waiting for the other end of a queue that took the file's place.
const openFlags = syscall.O_NONBLOCK

// syncFolder makes a new file's name durable.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// private refuses a journal that other accounts can write: what it says decides what is done.
func private(info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%w: other accounts can write it (mode %04o)", fs.ErrPermission, mode)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if me := os.Geteuid(); ok && me != 0 && int(st.Uid) != me {
		return fmt.Errorf("%w: it belongs to the account with the number %d", fs.ErrPermission, st.Uid)
	}
	return nil
}

// fileIdentity differs for every copy of a file on a machine.
func fileIdentity(info fs.FileInfo, path string) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return path
}
