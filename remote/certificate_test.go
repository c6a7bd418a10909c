package remote

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/peers"
)

// TestSSHDUserCertificate: ssh-keygen signs, sshd judges; the key itself is not authorized.
func TestSSHDUserCertificate(t *testing.T) {
	peers.Need(t, "sshd", "ssh-keygen")
	dir := t.TempDir()
	keygen := func(args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	keygen("-q", "-t", "ed25519", "-N", "", "-f", at("ca"))
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		keygen("-q", "-t", kind, "-N", "", "-f", at(kind))
	}
	server := peers.StartSSHD(t,
		peers.SSHDOptions{Lines: []string{"TrustedUserCAKeys " + at("ca.pub"), "AuthorizedKeysFile none"}})
	sign := func(name string, args ...string) {
		keygen(append(append([]string{"-q", "-s", at("ca"), "-I", "test"}, args...), at(name+".pub"))...)
	}
	private := func(name string) failover.SecretFunc {
		text, err := os.ReadFile(at(name))
		require.NoError(t, err)
		return secret(string(text))
	}
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		cfg := server.SSH()
		cfg.Key, cfg.Certificate = private(kind), at(kind+"-cert.pub")
		host := open(t, cfg)
		err := host.Connect(soon(t))
		require.ErrorIs(t, err, ErrCredentials, "there is no certificate yet")
		require.Equal(t, AnswerUnknown, AnswerOf(err))
		sign(kind, "-n", server.User)
		require.NoError(t, host.Connect(soon(t)), "the file is read at each login")

		text, err := os.ReadFile(at(kind))
		require.NoError(t, err)
		cfg.Key, cfg.Agent = nil, agentWith(t, string(text), "")
		require.NoError(t, open(t, cfg).Connect(soon(t)), "with the key in the agent")
	}
	for _, tc := range []struct {
		name string
		make func()
		file string
		want error
		text string
	}{
		{"expired", func() { sign("ed25519", "-n", server.User, "-V", "20200101:20200102") }, "ed25519-cert.pub",
			ErrCredentials, "expired at 2020"},
		{"not yet", func() { sign("ed25519", "-n", server.User, "-V", "20990101:20990102") }, "ed25519-cert.pub",
			ErrCredentials, "valid only from 2099"},
		{"for a host", func() { sign("ed25519", "-h", "-n", server.User) }, "ed25519-cert.pub", ErrCredentials, "for a host"},
		{"of another key", func() {}, "rsa-cert.pub", ErrCredentials, "none of the keys"},
		{"no certificate", func() {}, "ed25519.pub", ErrCredentials, "holds no certificate"},
		{"a folder", func() {}, ".", ErrCredentials, "no regular file"},
		{"for another user", func() { sign("ed25519", "-n", "somebody") }, "ed25519-cert.pub", ErrLogin, "login refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.make()
			cfg := server.SSH()
			cfg.Key, cfg.Certificate = private("ed25519"), at(tc.file)
			err := open(t, cfg).Connect(soon(t))
			require.ErrorIs(t, err, tc.want)
			require.ErrorContains(t, err, tc.text)
			hasEnded(t, err, server.Address, failover.NotApplied)
		})
	}
}
