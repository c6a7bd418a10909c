package failover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/01b61c5c/failover/internal/localfile"
)

// TLS says which server to trust over TLS, and with which certificate to show ourselves. It is plain data, the twin of
// [SSH]. The zero value trusts what the system trusts and looks at the name in the certificate; a package that asks for
// more says so. Give either roots or fingerprints.
type TLS struct {
	// RootsFile is the path of a PEM file with the authorities to trust in place of the system's. It is read when the
	// settings are used.
	RootsFile string
	// Roots are authorities to trust in place of the system's, beside those of RootsFile.
	Roots *x509.CertPool

	// Fingerprints are the SHA-256 fingerprints of the server certificates to trust, and no others. Names, dates and
	// authorities are not looked at then. The forms of openssl ("sha256 Fingerprint=AA:BB:…") and of Windows ("AA BB …")
	// are understood, and plain hexadecimal digits.
	Fingerprints []string

	// ServerName is expected in the certificate in place of the host that is dialled, for example behind a tunnel.
	ServerName string

	// CertificateFile is the path of a PEM file with the client certificate and its chain. It is read when the
	// settings are used. Key is its private key in PEM form, not encrypted; it is fetched when a server asks for the
	// certificate.
	CertificateFile string
	Key             SecretFunc

	// LegacyAlgorithms also offers RSA key exchange, which some old servers need and which lacks forward secrecy. It
	// adds neither RC4 nor 3DES, and nothing below TLS 1.2.
	LegacyAlgorithms bool

	// InsecureAnyCertificate accepts whatever certificate the server shows: anybody between here and there can read
	// the password. For a lab only.
	InsecureAnyCertificate bool
}

// errUntrusted: the server's certificate is not the pinned one. For the other reasons not to trust a certificate see
// the errors of crypto/tls and crypto/x509; [TLSNext] knows them all.
var errUntrusted = errors.New("the certificate has another fingerprint")

// maxPEM bounds a certificate file. The bundle of all public authorities has about 250 KB.
const maxPEM = 8 << 20

// Validate refuses settings that contradict each other or cannot be read. The error wraps ErrInvalid and names the
// field behind the name given. Files are not looked at.
func (t TLS) Validate(field string) error {
	rooted := t.RootsFile != "" || t.Roots != nil
	switch {
	case rooted && len(t.Fingerprints) > 0:
		return Invalid(field+".Fingerprints", "are given beside roots", "choose one: roots, or the certificate itself")
	case t.InsecureAnyCertificate && (rooted || len(t.Fingerprints) > 0):
		return Invalid(field+".InsecureAnyCertificate", "is set beside roots or fingerprints", "leave it out")
	case strings.ContainsAny(t.ServerName, "/: \t\r\n") && net.ParseIP(t.ServerName) == nil:
		return Invalid(field+".ServerName", fmt.Sprintf("%q is no host name", t.ServerName),
			"give the DNS name or address in the certificate, without a port")
	case t.CertificateFile != "" && t.Key == nil:
		return Invalid(field+".Key", "is missing", "give the private key of the client certificate")
	case t.CertificateFile == "" && t.Key != nil:
		return Invalid(field+".CertificateFile", "is missing", "give the certificate that belongs to the key")
	}
	for _, fp := range t.Fingerprints {
		if _, err := parseFingerprint(field+".Fingerprints", fp); err != nil {
			return err
		}
	}
	return nil
}

// fingerprintLabel is what openssl x509 -fingerprint prints in front; its spelling differs by version.
var fingerprintLabel = regexp.MustCompile(`^(?i:sha-?256)(?i: fingerprint)?\s*[=:]`)

func parseFingerprint(field, text string) (sum [sha256.Size]byte, err error) {
	digits := fingerprintLabel.ReplaceAllString(strings.TrimSpace(text), "")
	digits = strings.Map(func(r rune) rune {
		// Windows' certificate dialog puts an invisible mark in front of what is copied from it.
		if r == ':' || r == '-' || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, digits)
	raw, err := hex.DecodeString(digits)
	right := "use the form of openssl x509 -noout -fingerprint -sha256"
	switch {
	case err == nil && len(raw) == 20:
		return sum, Invalid(field, fmt.Sprintf("%q is a SHA-1 fingerprint", text),
			right+"; the thumbprint that Windows shows is not enough")
	case err != nil || len(raw) != len(sum):
		return sum, Invalid(field, fmt.Sprintf("%q is no SHA-256 fingerprint", text), right)
	}
	copy(sum[:], raw)
	return sum, nil
}

// Config reads the files and returns settings for crypto/tls, TLS 1.2 or newer. host is the name or address that is
// dialled, without a port; ServerName goes before it. Errors wrap ErrInvalid and name the field behind the name given.
// A server that is not trusted fails the handshake before anything else is sent.
func (t TLS) Config(field, host string) (*tls.Config, error) {
	if err := t.Validate(field); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, RootCAs: t.Roots}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if t.LegacyAlgorithms {
		c.CipherSuites = legacySuites()
	}
	if t.RootsFile != "" {
		pem, err := localfile.Read(t.RootsFile, maxPEM)
		if err != nil {
			return nil, Invalid(field+".RootsFile", err.Error(), "give the certificate of the authority in PEM form")
		}
		c.RootCAs = x509.NewCertPool()
		if t.Roots != nil {
			c.RootCAs = t.Roots.Clone()
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Invalid(field+".RootsFile", t.RootsFile+" holds no certificate",
				"give the certificate of the authority in PEM form")
		}
	}
	if len(t.Fingerprints) > 0 {
		var pins [][sha256.Size]byte
		for _, fp := range t.Fingerprints {
			sum, err := parseFingerprint(field+".Fingerprints", fp)
			if err != nil {
				return nil, err
			}
			pins = append(pins, sum)
		}
		// VerifyConnection is called for every connection, resumed ones too.
		c.InsecureSkipVerify = true //nolint:gosec // the fingerprint is what is verified
		c.VerifyConnection = func(s tls.ConnectionState) error { return pinned(s, pins) }
	}
	if t.InsecureAnyCertificate {
		c.InsecureSkipVerify = true //nolint:gosec // asked for loudly
	}
	if t.CertificateFile != "" {
		chain, err := localfile.Read(t.CertificateFile, maxPEM)
		if err != nil {
			return nil, Invalid(field+".CertificateFile", err.Error(), "give the client certificate in PEM form")
		}
		if !bytes.Contains(chain, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, Invalid(field+".CertificateFile", t.CertificateFile+" holds no certificate",
				"give the client certificate in PEM form")
		}
		c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return t.clientCertificate(info.Context(), chain)
		}
	}
	return c, nil
}

func pinned(s tls.ConnectionState, pins [][sha256.Size]byte) error {
	if len(s.PeerCertificates) == 0 {
		return fmt.Errorf("%w: it showed none", errUntrusted)
	}
	sum := sha256.Sum256(s.PeerCertificates[0].Raw)
	if !slices.Contains(pins, sum) {
		return fmt.Errorf("%w: %x", errUntrusted, sum)
	}
	return nil
}

func (t TLS) clientCertificate(ctx context.Context, chain []byte) (*tls.Certificate, error) {
	key, err := t.Key(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch the private key of the client certificate: %w", err)
	}
	cert, err := tls.X509KeyPair(chain, []byte(key.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("use the client certificate %s with its key: %w", t.CertificateFile, err)
	}
	return &cert, nil
}

// TLSNext returns what to do about a TLS handshake that failed because the certificate is not trusted, or "" when err
// is something else.
func TLSNext(err error) string {
	if errors.Is(err, errUntrusted) {
		return "compare the fingerprint with the one on the server's console before trusting the new one"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "give the certificate of the authority that signed the server's as root, or pin the server's certificate by " +
			"its fingerprint"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "name the host in the certificate as server name, or pin the certificate by its fingerprint where it names none"
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return "renew the certificate of the server"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "check the certificate of the server"
	}
	return ""
}

// legacySuites are every suite of today plus RSA key exchange with AES.
func legacySuites() []uint16 {
	var ids []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !strings.Contains(suite.Name, "RC4") && !strings.Contains(suite.Name, "3DES") {
			ids = append(ids, suite.ID)
		}
	}
	return ids
}
