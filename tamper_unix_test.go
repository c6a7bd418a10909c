//go:build !windows && !aix

package failover_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// Opening a queue waits for its other end, and opening a device can already do something.
func TestWhatIsNoRegularFileIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	for _, path := range []string{dir, fifo, os.DevNull} {
		_, err := failover.OpenJournal(path)
		require.ErrorIs(t, err, failover.ErrJournalDamaged, path)
		_, err = failover.ReadJournal(path)
		require.ErrorIs(t, err, failover.ErrJournalDamaged, path)
	}
}

func TestAJournalThatOthersCanWriteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared")
	j, err := failover.CreateJournal(path)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	require.NoError(t, os.Chmod(path, 0o666))
	_, err = failover.OpenJournal(path)
	require.ErrorIs(t, err, fs.ErrPermission)
}
