package runbook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/01b61c5c/failover"
)

// TestWhatIsNoFileOfOursIsRefused has the files that another account, or a device, can put in the place of a secret.
func TestWhatIsNoFileOfOursIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, unix.Mkfifo(path("queue"), 0o600))
	require.NoError(t, os.WriteFile(path("open"), []byte("s\n"), 0o640))
	require.NoError(t, os.WriteFile(path("large"), []byte(strings.Repeat("x", 1<<20)), 0o600))
	wants := map[string]string{path("queue"): "no regular file", "/dev/zero": "no regular file",
		path("open"): "is open to others", path("large"): "more than 65536 bytes",
		dir: "is a folder", path("none"): "is not there"}
	if os.Geteuid() == 0 { // only root can give a file away
		require.NoError(t, os.WriteFile(path("theirs"), []byte("s\n"), 0o600))
		require.NoError(t, os.Chown(path("theirs"), 12345, 12345))
		require.NoError(t, os.WriteFile(path("ours"), []byte("s\n"), 0o600))
		require.NoError(t, os.Symlink(path("ours"), path("their-link")))
		require.NoError(t, os.Lchown(path("their-link"), 12345, 12345))
		wants[path("theirs")], wants[path("their-link")] = "belongs to another account", "belongs to another account"
	}
	for file, want := range wants {
		_, err := secretFile("admin.password.file", file)
		require.ErrorIs(t, err, failover.ErrInvalid, file)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "admin.password.file")
		require.NotEmpty(t, failover.NextOf(err), file)
	}
}
