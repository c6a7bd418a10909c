package failover_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// certificate makes a self-signed certificate for "server.example", and its key in PEM form.
func certificate(t *testing.T) (tls.Certificate, []byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		DNSNames: []string{"server.example"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// shake makes one handshake and returns the certificate the server saw and the client's error.
func shake(t *testing.T, server, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	seen := make(chan *x509.Certificate, 1)
	go func() {
		defer close(seen)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if c, ok := conn.(*tls.Conn); ok && c.HandshakeContext(t.Context()) == nil &&
			len(c.ConnectionState().PeerCertificates) > 0 {
			seen <- c.ConnectionState().PeerCertificates[0]
		}
	}()
	conn, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err == nil {
		defer func() { _ = conn.Close() }()
	}
	return <-seen, err
}

func TestTLSTrusts(t *testing.T) {
	cert, text, _ := certificate(t)
	_, other, _ := certificate(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	sum := sha256.Sum256(cert.Certificate[0])
	print := fmt.Sprintf("%x", sum)
	colons := strings.ToUpper(strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":"), ":"))
	for name, tc := range map[string]struct {
		tls  failover.TLS
		host string
		next string // of the refusal
	}{
		"roots":             {failover.TLS{Roots: pool}, "server.example", ""},
		"roots from a file": {failover.TLS{RootsFile: file("ca.pem", text)}, "server.example", ""},
		"file with a mark": {failover.TLS{RootsFile: file("bom.pem", append([]byte("\xef\xbb\xbf"), text...))},
			"server.example", ""},
		"file with CR LF": {failover.TLS{RootsFile: file("crlf.pem",
			bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))}, "server.example", ""},
		"both":                {failover.TLS{RootsFile: file("other.pem", other), Roots: pool}, "server.example", ""},
		"server name":         {failover.TLS{Roots: pool, ServerName: "server.example"}, "127.0.0.1", ""},
		"plain digits":        {failover.TLS{Fingerprints: []string{print}}, "127.0.0.1", ""},
		"colons":              {failover.TLS{Fingerprints: []string{strings.Repeat("0", 64), colons}}, "127.0.0.1", ""},
		"openssl 1":           {failover.TLS{Fingerprints: []string{"SHA256 Fingerprint=" + colons}}, "127.0.0.1", ""},
		"openssl 3":           {failover.TLS{Fingerprints: []string{"sha256 Fingerprint=" + colons + "\n"}}, "127.0.0.1", ""},
		"Windows":             {failover.TLS{Fingerprints: []string{"\u200e" + fmt.Sprintf("% x", sum)}}, "127.0.0.1", ""},
		"anything":            {failover.TLS{InsecureAnyCertificate: true}, "127.0.0.1", ""},
		"the system's roots":  {failover.TLS{}, "server.example", "authority"},
		"another root":        {failover.TLS{RootsFile: file("strange.pem", other)}, "server.example", "authority"},
		"another host":        {failover.TLS{Roots: pool}, "elsewhere.example", "server name"},
		"another name":        {failover.TLS{Roots: pool, ServerName: "elsewhere.example"}, "server.example", "server name"},
		"another fingerprint": {failover.TLS{Fingerprints: []string{strings.Repeat("0", 64)}}, "server.example", "compare"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := tc.tls.Config("x", tc.host)
			require.NoError(t, err)
			_, err = shake(t, &tls.Config{Certificates: []tls.Certificate{cert}}, config) //nolint:gosec // a test
			if tc.next == "" {
				require.NoError(t, err)
				require.Empty(t, failover.TLSNext(err))
				return
			}
			require.Error(t, err)
			require.Contains(t, failover.TLSNext(err), tc.next)
			require.Equal(t, name == "another fingerprint", strings.Contains(err.Error(), "has another fingerprint"))
		})
	}
	if openssl, err := exec.LookPath("openssl"); err == nil {
		out, err := exec.CommandContext(t.Context(), openssl, "x509", "-noout", "-fingerprint", "-sha256", "-in",
			filepath.Join(dir, "ca.pem")).Output()
		require.NoError(t, err)
		config, err := failover.TLS{Fingerprints: []string{string(out)}}.Config("x", "")
		require.NoError(t, err)
		_, err = shake(t, &tls.Config{Certificates: []tls.Certificate{cert}}, config) //nolint:gosec // a test
		require.NoError(t, err)
	}
}

func TestTLSClientCertificate(t *testing.T) {
	server, _, _ := certificate(t)
	client, text, key := certificate(t)
	_, _, wrong := certificate(t)
	file := filepath.Join(t.TempDir(), "client.pem")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	for name, tc := range map[string]struct {
		key failover.SecretFunc
		err string
	}{
		"its key": {func(context.Context) (failover.Secret, error) { return failover.NewSecret(string(key)), nil }, ""},
		"another key": {func(context.Context) (failover.Secret, error) { return failover.NewSecret(string(wrong)), nil },
			"private key does not match"},
		"no key": {func(context.Context) (failover.Secret, error) {
			return failover.Secret{}, errors.New("vault is sealed")
		}, "vault is sealed"},
		"no PEM": {func(context.Context) (failover.Secret, error) { return failover.NewSecret("hunter2"), nil },
			"failed to find any PEM data"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := failover.TLS{InsecureAnyCertificate: true, CertificateFile: file, Key: tc.key}.Config("x", "h")
			require.NoError(t, err)
			seen, err := shake(t, &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert}, config) //nolint:gosec // a test
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.NotContains(t, err.Error(), "hunter2")
				require.NotContains(t, err.Error(), "BEGIN")
				return
			}
			require.NoError(t, err)
			require.Equal(t, client.Certificate[0], seen.Raw)
		})
	}
}

func TestTLSNamesTheField(t *testing.T) {
	print, pool := strings.Repeat("0", 64), x509.NewCertPool()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o600))
	key := func(context.Context) (failover.Secret, error) { return failover.Secret{}, nil }
	for _, tc := range []struct {
		field string
		tls   failover.TLS
		text  string
		file  bool // Validate looks at no file
	}{
		{"x.Fingerprints", failover.TLS{Fingerprints: []string{print}, Roots: pool}, "beside roots", false},
		{"x.Fingerprints", failover.TLS{Fingerprints: []string{print}, RootsFile: "f"}, "beside roots", false},
		{"x.Fingerprints", failover.TLS{Fingerprints: []string{print, "abc"}}, "no SHA-256", false},
		{"x.Fingerprints", failover.TLS{Fingerprints: []string{"SHA256:uNiVztksCsDhcc0u9e8BrQvrIhBfcp7nOkDfWvPX12E"}},
			"no SHA-256", false},
		{"x.Fingerprints", failover.TLS{Fingerprints: []string{strings.Repeat("AA ", 20)}}, "SHA-1", false},
		{"x.InsecureAnyCertificate", failover.TLS{InsecureAnyCertificate: true, Roots: pool}, "beside", false},
		{"x.ServerName", failover.TLS{ServerName: "h:636"}, "no host name", false},
		{"x.Key", failover.TLS{CertificateFile: "f"}, "missing", false},
		{"x.CertificateFile", failover.TLS{Key: key}, "missing", false},
		{"x.RootsFile", failover.TLS{RootsFile: filepath.Join(dir, "nowhere")}, "nowhere", true},
		{"x.RootsFile", failover.TLS{RootsFile: dir}, "no regular file", true},
		{"x.RootsFile", failover.TLS{RootsFile: text}, "holds no certificate", true},
		{"x.CertificateFile", failover.TLS{CertificateFile: text, Key: key}, "holds no certificate", true},
	} {
		_, err := tc.tls.Config("x", "h")
		if !tc.file {
			require.Equal(t, err, tc.tls.Validate("x"))
		} else {
			require.NoError(t, tc.tls.Validate("x"))
		}
		require.ErrorIs(t, err, failover.ErrInvalid, "%s %s", tc.field, tc.text)
		require.ErrorContains(t, err, tc.text)
		var e *failover.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, tc.field, e.Target)
	}
	require.NoError(t, failover.TLS{ServerName: "fd00::1"}.Validate("x"))
	require.NoError(t, failover.TLS{}.Validate("x"))
}

func TestAServerNameMayBeAnyAddress(t *testing.T) {
	for name, fits := range map[string]bool{"eft.example.org": true, "10.0.0.1": true, "fe80::1": true,
		"2001:db8:1:2:3:4:5:6": true, "host:443": false, "[::1]": false, "a::b/c": false, "https://h": false} {
		err := failover.TLS{ServerName: name}.Validate("TLS")
		if fits {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, failover.ErrInvalid, name)
		}
	}
}
