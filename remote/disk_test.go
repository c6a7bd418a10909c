//go:build linux

package remote

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/peers"
)

// TestSSHDUploadSaysWhatTheDiskSays: a real server answers "Failure" to a full disk and to a read-only one.
func TestSSHDUploadSaysWhatTheDiskSays(t *testing.T) {
	peers.Need(t, "sshd")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	server := peers.StartSSHD(t, peers.SSHDOptions{})
	host := open(t, server.SSH())
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))

	file, err := host.Upload(soon(t), bytes.NewReader(make([]byte, 1<<20)), path, UploadOptions{})
	require.ErrorIs(t, err, ErrNoSpace)
	require.Contains(t, failover.NextOf(err), "make room")
	require.NotZero(t, file.Size)
	hasEnded(t, err, server.Address, failover.NotApplied)
	require.Equal(t, []string{"f"}, names(t, dir), "what was sent is taken away again")
	_, err = host.Upload(soon(t), strings.NewReader("new"), path, UploadOptions{})
	require.NoError(t, err)

	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err = host.Upload(soon(t), strings.NewReader("newer"), path, UploadOptions{})
	require.ErrorIs(t, err, errReadOnly)
	hasEnded(t, err, server.Address, failover.NotApplied)

	_, err = host.Upload(soon(t), strings.NewReader("x"), "/nonexistent/f", UploadOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Contains(t, failover.NextOf(err), "folder")
}
