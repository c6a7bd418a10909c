package peers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/01b61c5c/failover"
)

//go:embed idm.schema
var idmSchema []byte

// SlapdOptions place a server in a tree. The zero value is an empty server of its own.
type SlapdOptions struct {
	DSAName string // DN the root DSE gives as the server's own; empty means the root DSE has none
	Tree    string // name of the tree in the root DSE
	// From makes the server replicate from another one and accept writes of its own at the same time, as the replicas of
	// a tree do. Attributes in Apart are not replicated.
	From  *Slapd
	Apart []string
	Lines []string // further lines of slapd.conf, behind the database's
}

// Slapd is one running OpenLDAP server with the classes of Identity Manager, on 127.0.0.1 with TLS. Its suffix is
// o=system; it exists when the server was started without From.
type Slapd struct {
	Dir      string
	URL      string // ldaps
	ClearURL string // ldap, for OpenLDAP's own tools
	RootDN   string
	Roots    *x509.CertPool

	password failover.Secret
	args     []string
	process  *exec.Cmd
	exited   chan struct{}
	log      *os.File
}

// StartSlapd starts a server and ends it when the test is over.
func StartSlapd(tb testing.TB, opt SlapdOptions) *Slapd {
	tb.Helper()
	Need(tb, "slapd", "ldapadd", "ldapsearch")
	s := &Slapd{Dir: tb.TempDir(), RootDN: "cn=admin,o=system", password: failover.NewSecret(rand.Text())}
	if err := s.prepare(opt); err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	if opt.From == nil {
		out, err := s.Tool(tb.Context(), []byte("dn: o=system\nobjectClass: organization\no: system\n"), "ldapadd")
		if err != nil {
			tb.Fatalf("%v\n%s", err, out)
		}
	}
	return s
}

// Password returns the password of RootDN.
func (s *Slapd) Password(context.Context) (failover.Secret, error) { return s.password, nil }

// Tool runs one of OpenLDAP's programs against the server as RootDN and returns what it wrote. Both output and error
// output are in the text when it fails.
func (s *Slapd) Tool(ctx context.Context, stdin []byte, name string, args ...string) ([]byte, error) {
	program, err := Path(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-x", "-H", s.ClearURL, "-D", s.RootDN, "-y", filepath.Join(s.Dir, "password")}, args...)...) //nolint:gosec // names come from tests
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return append(out, stderr.Bytes()...), fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

func (s *Slapd) prepare(opt SlapdOptions) error {
	program, err := Path("slapd")
	if err != nil {
		return err
	}
	if err := s.certificate(); err != nil {
		return err
	}
	rootDSE := "dn:\nobjectClass: top\nobjectClass: extensibleObject\n"
	if opt.DSAName != "" {
		rootDSE += "dsaName: " + opt.DSAName + "\n"
	}
	if opt.Tree != "" {
		rootDSE += "directoryTreeName: " + opt.Tree + "\n"
	}
	for name, content := range map[string][]byte{"idm.schema": idmSchema, "rootdse.ldif": []byte(rootDSE),
		"password": []byte(s.password.Reveal())} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), content, 0o600); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "db"), 0o700); err != nil {
		return err
	}
	clear, err := freePort("127.0.0.1")
	if err != nil {
		return err
	}
	secure, err := freePort("127.0.0.1")
	if err != nil {
		return err
	}
	s.ClearURL, s.URL = fmt.Sprintf("ldap://127.0.0.1:%d", clear), fmt.Sprintf("ldaps://127.0.0.1:%d", secure)
	file := func(name string) string { return filepath.Join(s.Dir, name) }
	config := []string{"include /etc/ldap/schema/core.schema", "include " + file("idm.schema"), "modulepath /usr/lib/ldap",
		"moduleload back_mdb", "moduleload syncprov",
		"sizelimit unlimited", "sockbuf_max_incoming_auth 134217728", "rootDSE " + file("rootdse.ldif"),
		"TLSCertificateFile " + file("cert.pem"), "TLSCertificateKeyFile " + file("key.pem"),
		"TLSCACertificateFile " + file("cert.pem"), "TLSVerifyClient never"}
	id := 1
	if opt.From != nil {
		id = 2
	}
	config = append(config, fmt.Sprintf("serverID %d", id), "database mdb", "suffix o=system", "rootdn "+s.RootDN,
		"rootpw "+s.password.Reveal(),
		"directory "+file("db"), "maxsize 8589934592", "dbnosync", "checkpoint 0 0", "index objectClass eq",
		"index entryUUID,entryCSN eq")
	if opt.From != nil {
		sync := fmt.Sprintf("syncrepl rid=001 provider=%s type=refreshAndPersist retry=\"1 +\" searchbase=o=system "+
			"bindmethod=simple binddn=%s credentials=%s",
			opt.From.ClearURL, opt.From.RootDN, opt.From.password.Reveal())
		if len(opt.Apart) > 0 {
			sync += " exattrs=" + strings.Join(opt.Apart, ",")
		}
		config = append(config, sync, "mirrormode on")
	}
	config = append(config, opt.Lines...)
	config = append(config, "overlay syncprov")
	if err := os.WriteFile(file("slapd.conf"), []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	s.args = []string{program, "-f", file("slapd.conf"), "-h", s.ClearURL + " " + s.URL, "-d", "0"}
	return nil
}

func (s *Slapd) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	pemCert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	s.Roots = x509.NewCertPool()
	s.Roots.AppendCertsFromPEM(pemCert)
	if err := os.WriteFile(filepath.Join(s.Dir, "cert.pem"), pemCert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, "key.pem"),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// Start starts the server again after Kill, at the same address with the same data.
func (s *Slapd) Start() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.args[0], s.args[1:]...) //nolint:gosec,noctx // ended by Kill
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return fmt.Errorf("peers: start slapd: %w", err)
	}
	exited := make(chan struct{})
	s.process, s.exited, s.log = cmd, exited, log
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-exited:
			return fmt.Errorf("peers: slapd ended at once: %s", s.Log())
		default:
		}
		if accepts(strings.TrimPrefix(s.ClearURL, "ldap://")) && accepts(strings.TrimPrefix(s.URL, "ldaps://")) {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("peers: slapd does not answer at %s: %s", s.ClearURL, s.Log())
}

func accepts(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// Kill ends the server at once, as a power failure would.
func (s *Slapd) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	<-s.exited
	_ = s.log.Close()
	s.process = nil
}

// Log returns what the server wrote.
func (s *Slapd) Log() string {
	text, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
