//go:build linux || darwin

package localfile_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/localfile"
)

func TestReadDoesNotWaitForAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err := localfile.Read(pipe, 20)
	require.ErrorContains(t, err, "no regular file")
}
