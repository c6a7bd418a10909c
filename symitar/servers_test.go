//go:build linux

package symitar_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// look makes the preflight and returns what the first check for a purpose has found.
func (b *bench) look(t *testing.T, purpose symitar.Purpose) failover.PlanStep {
	t.Helper()
	pair, err := symitar.NewPair(b.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	plan, err := pair.Preflight(t.Context(), purpose)
	require.NoError(t, err)
	return plan.Steps[0]
}

// TestAFullServerIsAlive takes the only place of a server for logins, as many others do at a bad moment.
func TestAFullServerIsAlive(t *testing.T) {
	b, machines := realMachines(t, "/bin/bash", "MaxStartups 1:100:1")
	require.Eventually(t, func() bool { // whoever looked whether the server is up may have the place for a moment
		conn, err := net.Dial("tcp", machines[symitartest.Home].Address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		word := make([]byte, 4)
		_, err = io.ReadFull(conn, word)
		return err == nil && string(word) == "SSH-"
	}, 10*time.Second, 10*time.Millisecond)
	b.cfg.Home.SSH.Address = machines[symitartest.Home].Address // past the proxy, which would take the connection itself
	found := b.look(t, symitar.PurposeFailover)
	require.Equal(t, failover.ActionBlock, found.Action)
	require.Empty(t, found.Error)
	require.Contains(t, found.Observation.Found, "its address answers")
	require.Contains(t, found.Observation.Found, "does not serve this connection")
	_, err := b.run(t, gone)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Zero(t, b.sim.MacroRuns())
}

// TestHostCertificates goes through servers that show nothing but a certificate, signed by ssh-keygen: known by their
// authority, and by the key inside.
func TestHostCertificates(t *testing.T) {
	peers.Need(t, "ssh-keygen")
	keygen := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	authority := filepath.Join(t.TempDir(), "authority")
	keygen("-q", "-t", "ed25519", "-N", "", "-f", authority)
	pins := map[string]string{}
	b, _ := preparedMachines(t, "/bin/bash", func(dir string) []string {
		key := filepath.Join(dir, "etc/host_ecdsa")
		keygen("-q", "-t", "ecdsa", "-N", "", "-f", key)
		keygen("-q", "-s", authority, "-I", "host", "-h", "-n", "127.0.0.1", key+".pub")
		pins[filepath.Base(dir)] = strings.Fields(keygen("-l", "-f", key))[1]
		return []string{"HostKey " + key, "HostCertificate " + key + "-cert.pub",
			"HostKeyAlgorithms ecdsa-sha2-nistp256-cert-v01@openssh.com"}
	})
	public, err := os.ReadFile(authority + ".pub")
	require.NoError(t, err)
	known := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(known, append([]byte("@cert-authority * "), public...), 0o600))
	hosts := []*symitar.HostConfig{&b.cfg.Home, &b.cfg.Partner}
	require.Contains(t, b.look(t, symitar.PurposeSwitchover).Error, remote.ErrHostKeyChanged.Error(), "a pin of another key")
	for _, h := range hosts {
		h.SSH.HostKeys, h.SSH.KnownHosts = nil, known
	}
	found := b.look(t, symitar.PurposeSwitchover)
	require.Equal(t, failover.ActionNone, found.Action, found.Observation.Found+found.Error)
	for _, h := range hosts {
		h.SSH.HostKeys, h.SSH.KnownHosts = []string{pins[h.Name]}, ""
	}
	b.fireOnce(t)
}

// TestTheServerAsksQuestions logs in by keyboard-interactive through the real PAM: one question for the password is
// answered, a second one, as for a one-time code, is named before anything is changed.
func TestTheServerAsksQuestions(t *testing.T) {
	const password = "correct horse"
	for name, more := range map[string]string{"one question": "",
		"two questions": "auth required pam_ftp.so users=root\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := preparedMachines(t, "/bin/bash", func(dir string) []string {
				check := filepath.Join(dir, "etc/check")
				require.NoError(t, os.WriteFile(check, []byte("#!/bin/sh\n[ \"$(tr -d '\\000')\" = '"+password+"' ]\n"), 0o755))
				stack := "auth required pam_exec.so quiet expose_authtok " + check + "\n" + more +
					"auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
				require.NoError(t, os.WriteFile(filepath.Join(dir, "etc/pam"), []byte(stack), 0o644))
				return []string{"UsePAM yes", "PermitRootLogin yes", "PubkeyAuthentication no", "KbdInteractiveAuthentication yes",
					"AuthenticationMethods keyboard-interactive"}
			})
			for _, h := range []*symitar.HostConfig{&b.cfg.Home, &b.cfg.Partner} {
				h.SSH.Key = nil
				h.SSH.Password = func(context.Context) (failover.Secret, error) { return failover.NewSecret(password), nil }
			}
			if more == "" {
				b.fireOnce(t)
				return
			}
			found := b.look(t, symitar.PurposeSwitchover)
			require.Contains(t, found.Error, remote.ErrLoginIncomplete.Error())
			require.Contains(t, found.Error, "which is not answered")
			require.Contains(t, found.Error, "log in by hand")
			require.NoDirExists(t, filepath.Join(b.sim.HostDir(symitartest.Home), "var/tmp/failover"))
		})
	}
}
