package remote

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// TestALimitHoldsForAFileThatHidesItsSize reads one of the kernel's, which all say that they are empty.
func TestALimitHoldsForAFileThatHidesItsSize(t *testing.T) {
	host := open(t, serve(t, nil, remotetest.WithFiles("/proc/self")).SSH())
	for _, limit := range []int64{0, 10} {
		_, err := host.ReadFile(soon(t), "/status", limit)
		require.ErrorIs(t, err, ErrTooLarge, "limit %d", limit)
	}
	text, err := host.ReadFile(soon(t), "/status", 1<<20)
	require.NoError(t, err)
	require.NotEmpty(t, text)
}

// TestARevokedKeyThatIsCutOff must not be passed over: nobody could recognise it.
func TestARevokedKeyThatIsCutOff(t *testing.T) {
	for _, line := range []string{"@revoked", "@revoked *", "@revoked * ssh-ed25519", "@revoked * ssh-ed25519 AAAAC3Nz"} {
		path := filepath.Join(t.TempDir(), "known_hosts")
		require.NoError(t, os.WriteFile(path, []byte("# kept by hand\n"+line), 0o600))
		_, err := readKnownHosts(path)
		require.ErrorContains(t, err, ":2: ", line)
	}
}

// TestCloseEndsACallThatWaitsForAPerson who never types the password.
func TestCloseEndsACallThatWaitsForAPerson(t *testing.T) {
	cfg := serve(t, nil).SSH()
	asked := make(chan struct{})
	cfg.Password = func(ctx context.Context) (failover.Secret, error) {
		close(asked)
		select {
		case <-ctx.Done():
			return failover.Secret{}, ctx.Err()
		case <-time.After(time.Minute):
			return failover.NewSecret("late"), nil
		}
	}
	host := open(t, cfg)
	result := make(chan error, 1)
	go func() { result <- host.Connect(context.WithoutCancel(t.Context())) }()
	<-asked
	begun := time.Now()
	require.NoError(t, host.Close())
	require.Less(t, time.Since(begun), 30*time.Second)
	require.ErrorIs(t, <-result, ErrCredentials)
}

// TestAServerThatCannotReplaceAFile has only the rename of the protocol's version 3, which does not replace. It answers
// "Failure", as to a full disk.
func TestAServerThatCannotReplaceAFile(t *testing.T) {
	require.NoError(t, sftp.SetSFTPExtensions("hardlink@openssh.com"))
	t.Cleanup(func() {
		require.NoError(t, sftp.SetSFTPExtensions("hardlink@openssh.com", "posix-rename@openssh.com", "statvfs@openssh.com"))
	})
	dir := t.TempDir()
	host := open(t, serve(t, nil, remotetest.WithFiles(dir)).SSH())
	_, err := host.Upload(soon(t), strings.NewReader("old"), "/setup.exe", UploadOptions{})
	require.NoError(t, err)
	_, err = host.Upload(soon(t), strings.NewReader("new"), "/setup.exe", UploadOptions{})
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.ErrorContains(t, err, "cannot replace")
	require.Contains(t, failover.NextOf(err), "remove")
	text, err := os.ReadFile(filepath.Join(dir, "setup.exe"))
	require.NoError(t, err)
	require.Equal(t, "old", string(text))
	require.Equal(t, []string{"setup.exe"}, names(t, dir))
}
