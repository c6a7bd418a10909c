//go:build linux

package remote

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoRouteIsSilence asks the system itself, in a network name space without a single route.
func TestNoRouteIsSilence(t *testing.T) {
	cfg := serve(t, nil).SSH()
	cfg.Address = "198.51.100.1:22" // for documentation (RFC 5737)
	host := open(t, cfg)
	result, denied := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its name space
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			denied <- err
			return
		}
		result <- host.Connect(soon(t))
	}()
	select {
	case err := <-denied:
		t.Skipf("needs the right to make a network name space: %v", err)
	case err := <-result:
		require.ErrorIs(t, err, errNoAnswer)
		require.ErrorIs(t, err, syscall.ENETUNREACH)
		require.Equal(t, AnswerNone, AnswerOf(err))
	}
}
