package peers

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is a testing.TB that notes how a test would have ended.
type record struct {
	testing.TB
	skipped, failed string
}

func (r *record) Helper()           {}
func (r *record) Skip(args ...any)  { r.skipped = args[0].(string) }
func (r *record) Fatal(args ...any) { r.failed = args[0].(string) }

func TestNeed(t *testing.T) {
	t.Setenv("PEERS", "")
	r := &record{TB: t}
	Need(r, "sh", "no-such-program")
	require.Contains(t, r.skipped, "no-such-program")
	require.NotContains(t, r.skipped, "sh,")
	require.Empty(t, r.failed)

	t.Setenv("PEERS", "required")
	r = &record{TB: t}
	Need(r, "no-such-program")
	require.Contains(t, r.failed, "no-such-program")
	require.Empty(t, r.skipped)

	r = &record{TB: t}
	Need(r, "sh")
	require.Empty(t, r.failed+r.skipped)
}

// client runs OpenSSH's own client, so that the server is proven without our code.
func client(t *testing.T, s *SSHD, command string) (string, error) {
	t.Helper()
	_, port, _ := strings.Cut(s.Address, ":")
	out, err := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-i", s.ClientKeyFile(), "-p", port, "-l", s.User,
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "known"), "-o",
		"BatchMode=yes",
		"127.0.0.1", command).Output()
	return string(out), err
}

func TestSSHDRunsAndLeavesNothingBehind(t *testing.T) {
	Need(t, "sshd", "ssh")
	s := StartSSHD(t, SSHDOptions{HostKeyTypes: []string{"ed25519", "rsa"}})
	require.Len(t, s.Fingerprints(), 2)
	out, err := client(t, s, "nohup sleep 600 >/dev/null 2>&1 </dev/null & echo hello")
	require.NoError(t, err, s.Log())
	require.Equal(t, "hello\n", out)
	require.NotEmpty(t, marked(s.mark), "the background process carries the mark")

	s.Kill()
	require.Empty(t, marked(s.mark))
	require.False(t, answers(s.Address))
	require.NoError(t, s.Start())
	out, err = client(t, s, "echo again")
	require.NoError(t, err, s.Log())
	require.Equal(t, "again\n", out)
}

func TestTwoServersHaveTheirOwnKeys(t *testing.T) {
	a, b := StartSSHD(t, SSHDOptions{}),
		StartSSHD(t, SSHDOptions{KexAlgorithms: []string{"diffie-hellman-group-exchange-sha256"}})
	require.NotEqual(t, a.Fingerprints(), b.Fingerprints())
	require.NotEqual(t, a.Address, b.Address)
	for _, s := range []*SSHD{a, b} {
		require.NoError(t, s.SSH().Validate("SSH"))
	}
	require.Eventually(t, func() bool { return answers(b.Address) }, 5*time.Second, 10*time.Millisecond)
}
