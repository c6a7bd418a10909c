//go:build !windows

package localfile

import "syscall"

// openFlags keeps an open from waiting for the other end of a queue that took the file's place.
const openFlags = syscall.O_NONBLOCK
