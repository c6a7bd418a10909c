package failover

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const openFlags = 0

// syncFolder does nothing: Windows flushes a file's name with the file.
func syncFolder(string) error { return nil }

// private does nothing: the folder's access list says who may write.
func private(fs.FileInfo) error { return nil }

func fileIdentity(_ fs.FileInfo, path string) string { return path }

// lockAt lies far behind the end of a journal: a locked range cannot be read by others, and a journal is read while it
// is written.
const lockAt = 1 << 30

func lockFile(file *os.File) (bool, error) {
	return lockRange(file, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
}

func lockHeld(file *os.File) (bool, error) {
	got, err := lockRange(file, windows.LOCKFILE_FAIL_IMMEDIATELY)
	return err == nil && !got, err
}

func lockRange(file *os.File, flags uint32) (bool, error) {
	err := windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: lockAt})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
