package idmtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// authority is the tree's own certificate authority.
type authority struct {
	key    crypto.Signer
	cert   *x509.Certificate
	legacy bool
}

// newKey is an elliptic key, which is quick to make, unless old servers are to be shown.
func newKey(legacy bool) (crypto.Signer, error) {
	if legacy {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func newAuthority(tree string, legacy bool) (*authority, error) {
	key, err := newKey(legacy)
	if err != nil {
		return nil, fmt.Errorf("idmtest: key of the authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: tree + " Organizational CA", Organization: []string{tree}},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("idmtest: certificate of the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("idmtest: certificate of the authority: %w", err)
	}
	return &authority{key: key, cert: cert, legacy: legacy}, nil
}

// issue makes the certificate of one server, valid for 127.0.0.1 and localhost.
func (a *authority) issue(name string, serial int64) (*tls.Certificate, error) {
	key, err := newKey(a.legacy)
	if err != nil {
		return nil, fmt.Errorf("idmtest: key of %s: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(2, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("idmtest: certificate of %s: %w", name, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("idmtest: certificate of %s: %w", name, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func (s *Server) tlsConfig() *tls.Config {
	cfg := &tls.Config{Certificates: []tls.Certificate{*s.cert}, MinVersion: tls.VersionTLS12}
	if s.tree.cfg.LegacyTLS {
		cfg.MaxVersion = tls.VersionTLS12
		cfg.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	}
	return cfg
}

// Roots holds the certificate of the tree's authority.
func (t *Tree) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(t.ca.cert)
	return pool
}

// RootPEM is the certificate of the tree's authority as a file would hold it.
func (t *Tree) RootPEM() []byte {
	var b bytes.Buffer
	// Writing to a buffer cannot fail.
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: t.ca.cert.Raw})
	return b.Bytes()
}

// Fingerprint is the SHA-256 of the server's certificate, in lower-case hex.
func (s *Server) Fingerprint() string {
	sum := sha256.Sum256(s.cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}
