//go:build !windows && !aix

package failover

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock of the file itself, which ends with the last descriptor of this opening. The bool is false
// when somebody else has it.
func lockFile(file *os.File) (bool, error) { return flock(file, syscall.LOCK_EX) }

// lockHeld reports whether somebody has the lock.
func lockHeld(file *os.File) (bool, error) {
	got, err := flock(file, syscall.LOCK_SH)
	return err == nil && !got, err
}

func flock(file *os.File, how int) (bool, error) {
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		}
		return err == nil, err
	}
}
