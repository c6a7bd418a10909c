package peers

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/loopback"
)

// SSHDOptions restrict a server or place it somewhere. The zero value is a modern server on a free port.
type SSHDOptions struct {
	HostKeyTypes      []string // "ed25519", "ecdsa", "rsa"; empty means ed25519
	KexAlgorithms     []string
	HostKeyAlgorithms []string
	Ciphers           []string
	MACs              []string

	Address string   // where it listens; empty means 127.0.0.1
	Port    int      // 0 means a free one
	Prefix  []string // put before the command line, for example nsenter with its flags
	Lines   []string // further lines of sshd_config; they replace those of the same keyword, but for HostKey
}

// SSHD is one running OpenSSH server. Logging in with its key gives a session as the test's own user.
type SSHD struct {
	Address string
	User    string
	Dir     string // its configuration, keys and log

	fingerprints []string
	key          failover.Secret
	public       ssh.PublicKey
	args         []string
	mark         string
	process      *exec.Cmd
	exited       chan struct{}
}

// StartSSHD starts a server and ends it, with every process its sessions left behind, when the test is over.
func StartSSHD(tb testing.TB, opt SSHDOptions) *SSHD {
	tb.Helper()
	Need(tb, "sshd")
	s := &SSHD{Dir: tb.TempDir(), mark: "FAILOVER_PEER=" + rand.Text()}
	if err := s.prepare(opt); err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

func (s *SSHD) prepare(opt SSHDOptions) error {
	account, err := user.Current()
	if err != nil {
		return err
	}
	s.User = account.Username
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // sshd's own choice; it refuses to start without
			return err
		}
	}
	// The account's own start files are none of the tests' business: some take a second, or wait for a lock.
	home := filepath.Join(s.Dir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil { //nolint:gosec // any account may log in
		return err
	}
	types := opt.HostKeyTypes
	if len(types) == 0 {
		types = []string{"ed25519"}
	}
	config := []string{"UsePAM no", "StrictModes no", "PasswordAuthentication no", "PermitRootLogin prohibit-password",
		"PidFile none",
		"MaxStartups 200", "LogLevel VERBOSE", "Subsystem sftp internal-sftp", "SetEnv " + s.mark + " HOME=" + home,
		"AuthorizedKeysFile " + filepath.Join(s.Dir, "authorized_keys")}
	for _, kind := range types {
		private, err := newKey(kind)
		if err != nil {
			return err
		}
		path := filepath.Join(s.Dir, "host_"+kind)
		public, _, err := writeKey(path, private)
		if err != nil {
			return err
		}
		s.fingerprints = append(s.fingerprints, ssh.FingerprintSHA256(public))
		config = append(config, "HostKey "+path)
	}
	client, err := newKey("ed25519")
	if err != nil {
		return err
	}
	public, text, err := writeKey(filepath.Join(s.Dir, "client"), client)
	if err != nil {
		return err
	}
	s.key, s.public = failover.NewSecret(text), public
	if err := os.WriteFile(filepath.Join(s.Dir, "authorized_keys"), ssh.MarshalAuthorizedKey(public), 0o600); err != nil {
		return err
	}
	for name, list := range map[string][]string{"KexAlgorithms": opt.KexAlgorithms,
		"HostKeyAlgorithms": opt.HostKeyAlgorithms, "Ciphers": opt.Ciphers, "MACs": opt.MACs} {
		if len(list) > 0 {
			config = append(config, name+" "+strings.Join(list, ","))
		}
	}
	address, port := opt.Address, opt.Port
	if address == "" {
		address = "127.0.0.1"
	}
	if port == 0 {
		if port, err = freePort(address); err != nil {
			return err
		}
	}
	s.Address = net.JoinHostPort(address, fmt.Sprint(port))
	config = append(config, "ListenAddress "+address, fmt.Sprintf("Port %d", port))
	config = append(slices.DeleteFunc(config, func(line string) bool { // most keywords count the first time, some the last
		return slices.ContainsFunc(opt.Lines,
			func(l string) bool { return keyword(l) == keyword(line) && keyword(l) != "HostKey" })
	}), opt.Lines...)
	path := filepath.Join(s.Dir, "sshd_config")
	if err := os.WriteFile(path, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	program, err := Path("sshd")
	if err != nil {
		return err
	}
	s.args = append(append([]string{}, opt.Prefix...), program, "-D", "-f", path, "-E", filepath.Join(s.Dir, "log"))
	return nil
}

func keyword(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}

// Start starts the server again after Kill, at the same address with the same keys.
func (s *SSHD) Start() error {
	cmd := exec.Command(s.args[0], s.args[1:]...) //nolint:gosec,noctx // ended by Kill
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("peers: start sshd: %w", err)
	}
	exited := make(chan struct{})
	s.process, s.exited = cmd, exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-exited:
			return fmt.Errorf("peers: sshd ended at once: %s", s.Log())
		default:
		}
		if answers(s.Address) {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("peers: sshd does not answer at %s: %s", s.Address, s.Log())
}

// Kill ends the server, its connections and everything its sessions started, also what runs on in the background:
// to the client it looks like a machine that went down.
func (s *SSHD) Kill() {
	if s.process == nil {
		return
	}
	pids := descendants(s.process.Process.Pid)
	_ = s.process.Process.Kill()
	<-s.exited
	s.process = nil
	for _, pid := range pids {
		kill(pid)
	}
	// A process may fork while the list is read, so the list is read until it is empty.
	for range 100 {
		left := marked(s.mark)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			kill(pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// SSH returns settings that reach the server: its keys pinned, the client key to log in with.
func (s *SSHD) SSH() failover.SSH {
	return failover.SSH{Address: s.Address, User: s.User, HostKeys: append([]string{}, s.fingerprints...),
		Key: func(context.Context) (failover.Secret, error) { return s.key, nil }}
}

// Fingerprints returns the host keys' fingerprints in the order of HostKeyTypes.
func (s *SSHD) Fingerprints() []string { return append([]string{}, s.fingerprints...) }

// ClientKeyFile returns the path of the private key to log in with, for other clients.
func (s *SSHD) ClientKeyFile() string { return filepath.Join(s.Dir, "client") }

// Log returns what the server has logged.
func (s *SSHD) Log() string {
	text, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func answers(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "SSH-2.0-")
}

// freePort finds a port for a program that listens a moment later. No outgoing connection is given it meanwhile.
func freePort(address string) (int, error) {
	l, err := loopback.ListenOn(address)
	if err != nil {
		return 0, fmt.Errorf("peers: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // a TCP listener has a TCP address
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("peers: no host key type %q", kind)
}

func writeKey(path string, private crypto.Signer) (ssh.PublicKey, string, error) {
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, "", err
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return nil, "", err
	}
	text := pem.EncodeToMemory(block)
	return public, string(text), os.WriteFile(path, text, 0o600)
}
