package symhost

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/faultnet"
	"github.com/01b61c5c/failover/internal/loopback"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// Below is where a machine sees its folder; use symitartest's ConfigBelow with it.
const Below = "/mnt"

// Machine is a simulated host's folder behind a real OpenSSH server, in namespaces of its own: it sees its folder at
// Below, a password file in which root has the login shell that is wanted, etc/pam for sshd's PAM where there is one,
// and no process but its own. Killing the server ends all of them, and starting it again begins with low process
// numbers, as a reboot does.
type Machine struct {
	*peers.SSHD
	Proxy *faultnet.Proxy // the line to it, which can be cut
	Dir   string
}

// Start starts one over a host's folder. lines are further ones of sshd_config. It ends with the test.
func Start(tb testing.TB, dir, login string, lines ...string) *Machine {
	tb.Helper()
	peers.Need(tb, "root", "sshd", "ssh", "unshare", "mount", "ps")
	Furnish(tb, dir, login)
	mounts := "mount --bind " + dir + " " + Below + " && mount --bind " + dir + "/etc/passwd /etc/passwd &&" +
		" if [ -f " + dir + "/etc/pam ]; then mount --bind " + dir + "/etc/pam /etc/pam.d/sshd; fi &&" +
		" if [ -f " + dir + "/etc/statefs ]; then mount -t tmpfs -o $(cat " + dir + "/etc/statefs) tmpfs " + Below +
		"/var/tmp; fi && exec \"$@\""
	server := peers.StartSSHD(tb,
		peers.SSHDOptions{Lines: lines,
			Prefix: []string{"unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-c", mounts, "sh"}})
	proxy, err := faultnet.NewProxy(server.Address)
	must(tb, err)
	tb.Cleanup(proxy.Close)
	return &Machine{SSHD: server, Proxy: proxy, Dir: dir}
}

// Furnish prepares a host's folder for a real server: a password file, start-up files of shells that print, and the
// real ps.
func Furnish(tb testing.TB, dir, login string) {
	tb.Helper()
	passwd, err := os.ReadFile("/etc/passwd")
	must(tb, err)
	var users []string
	for line := range strings.Lines(string(passwd)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && f[0] == "root" {
			f[5], f[6] = Below+"/home", login
			line = strings.Join(f, ":") + "\n"
		}
		users = append(users, line)
	}
	write(tb, dir, "etc/passwd", strings.Join(users, ""), 0o644)
	// The machine's own list of processes, and the agent, which is simulated.
	write(tb, dir, "bin/ps", `#!/bin/sh
PATH=/usr/bin:/bin ps "$@" || exit $?
[ "$2" != pid ] && [ "$(cat `+Below+
		`/etc/agent)" = running ] && printf '%s\n' '17301780 1 17301780 root 10:00 sma_lsam' '17301781 1 17301780 root 10:00 sma_disp' '17301782 1 17301780 root 10:00 sma_log'
exit 0
`, 0o755)
	for _, name := range []string{".bashrc", ".cshrc", ".tcshrc", ".zshenv", ".kshrc", ".mkshrc", ".yashrc", ".profile",
		".config/fish/config.fish", ".rcrc"} {
		write(tb, dir, "home/"+name, "echo welcome from "+name+"\n", 0o644)
	}
}

// Reboot ends everything that runs on the machine and starts it again. The roles are what the site's start-up makes of
// them: role is "primary" or "secondary".
func (m *Machine) Reboot(tb testing.TB, role string) {
	tb.Helper()
	m.Kill()
	write(tb, m.Dir, "etc/role", role+"\n", 0o600)
	write(tb, m.Dir, "etc/boot", time.Now().UTC().Format("Jan 02 15:04")+"\n", 0o600)
	write(tb, m.Dir, "etc/agent", "stopped\n", 0o600)
	must(tb, os.RemoveAll(filepath.Join(filepath.Dir(m.Dir), "macro-active")))
	must(tb, m.SSHD.Start())
}

// Shell runs a command line on the machine, past everything that is tested, and returns what it printed.
func (m *Machine) Shell(tb testing.TB, line string) string {
	tb.Helper()
	host, port, _ := strings.Cut(m.Address, ":")
	out, err := exec.Command("ssh", "-F", "none", "-i", m.ClientKeyFile(), "-p", port, "-l", m.User, "-o", "StrictHostKeyChecking=no", //nolint:gosec,noctx // a test's own call
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", host, line).Output()
	if err != nil {
		tb.Fatalf("symhost: %s: %v: %s", line, err, out)
	}
	return string(out)
}

// Pair starts both hosts of a simulated pair.
func Pair(tb testing.TB, sim *symitartest.Pair, login string, lines ...string) map[string]*Machine {
	tb.Helper()
	list := map[string]*Machine{}
	for _, name := range []string{symitartest.Home, symitartest.Partner} {
		list[name] = Start(tb, sim.HostDir(name), login, lines...)
	}
	return list
}

func write(tb testing.TB, dir, name, text string, mode os.FileMode) {
	tb.Helper()
	path := filepath.Join(dir, name)
	must(tb, os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // a folder of the test
	must(tb, os.WriteFile(path, []byte(text), mode))
	must(tb, os.Chmod(path, mode))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

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

// Silence returns an address at which nothing answers: a connect neither comes about nor is refused, as with a machine
// that has no power. It is a port whose queue of connections is full.
func Silence(tb testing.TB) string {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(tb, err)
	tb.Cleanup(func() { _ = syscall.Close(fd) })
	must(tb, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(tb, syscall.Listen(fd, 0))
	at, err := syscall.Getsockname(fd)
	must(tb, err)
	address := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port) //nolint:forcetypeassert // it was bound as one
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return address
		}
		must(tb, err)
		tb.Cleanup(func() { _ = conn.Close() })
	}
	tb.Fatal("symhost: the queue of the port does not fill up")
	return ""
}
