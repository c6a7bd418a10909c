package symhost

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/loopback"
	"github.com/01b61c5c/failover/internal/peers"
)

// Dropbear starts dropbear on the machine, in the namespaces of its OpenSSH server, and returns how to reach it with
// the same client key. It ends with the machine.
func (m *Machine) Dropbear(tb testing.TB) failover.SSH {
	tb.Helper()
	program, err := peers.Path("dropbear")
	must(tb, err)
	l, err := loopback.Listen() // a free port
	must(tb, err)
	address := l.Addr().String()
	must(tb, l.Close())
	key := filepath.Join(m.Dir, "etc/dropbear")
	out, err := exec.Command("dropbearkey", "-t", "ed25519", "-f", key).CombinedOutput() //nolint:gosec,noctx // a test's own call
	must(tb, err)
	var fingerprint string
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "SHA256:") {
			fingerprint = word
		}
	}
	public, err := os.ReadFile(filepath.Join(m.SSHD.Dir, "authorized_keys"))
	must(tb, err)
	must(tb, os.MkdirAll(filepath.Join(m.Dir, "home/.ssh"), 0o700))
	must(tb, os.WriteFile(filepath.Join(m.Dir, "home/.ssh/authorized_keys"), public, 0o600))
	m.Shell(tb, "/bin/sh -c '"+program+" -r "+Below+"/etc/dropbear -p "+address+
		" -P /dev/null </dev/null >/dev/null 2>&1'")
	for range 500 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			ssh := m.SSH()
			ssh.Address, ssh.HostKeys = address, []string{fingerprint}
			return ssh
		}
		time.Sleep(20 * time.Millisecond)
	}
	tb.Fatal("symhost: dropbear does not answer")
	return failover.SSH{}
}
