package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover/examples/internal/edir"
)

const handshakeTime = 20 * time.Second

// transport is item 12: which TLS the server offers and what its certificate says.
func (r *result) transport(ctx context.Context, s edir.Server) {
	var old []uint16
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if strings.HasPrefix(suite.Name, "TLS_RSA_WITH_AES") {
			old = append(old, suite.ID)
		}
	}
	var offered []string
	var seen *tls.ConnectionState
	for _, try := range []struct {
		name     string
		min, max uint16
		suites   []uint16
	}{
		{"TLS 1.3", tls.VersionTLS13, tls.VersionTLS13, nil},
		{"TLS 1.2", tls.VersionTLS12, tls.VersionTLS12, nil},
		{"TLS 1.2 with RSA key exchange (legacy_tls)", tls.VersionTLS12, tls.VersionTLS12, old},
	} {
		state, err := handshake(ctx, s, try.min, try.max, try.suites)
		if err != nil {
			offered = append(offered, fmt.Sprintf("%s: no (%v)", try.name, err))
			continue
		}
		offered = append(offered, fmt.Sprintf("%s: %s", try.name, tls.CipherSuiteName(state.CipherSuite)))
		seen = state
	}
	v := learned
	if seen == nil {
		v = open
	}
	r.add(12, "TLS offered", v, "%s", strings.Join(offered, "\n"))
	if seen == nil || len(seen.PeerCertificates) == 0 {
		return
	}
	c := seen.PeerCertificates[0]
	sum := sha256.Sum256(c.Raw)
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	alternatives := strings.Join(names, ", ")
	if len(names) == 0 {
		alternatives = "none: pin the certificate by its fingerprint, its common name is not looked at"
	}
	r.add(12, "certificate", learned, "subject %s, issuer %s, valid until %s\nalternative names: %s\nfingerprint %s",
		c.Subject, c.Issuer, c.NotAfter.UTC().Format(time.DateOnly), alternatives, hex.EncodeToString(sum[:]))
}

// handshake makes a TLS connection, to a server that is trusted as the file says, and ends it.
func handshake(ctx context.Context, s edir.Server, lowest, highest uint16, suites []uint16) (*tls.ConnectionState,
	error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	config, err := s.TLS("server", u.Hostname())
	if err != nil {
		return nil, err
	}
	config.MinVersion, config.MaxVersion, config.CipherSuites = lowest, highest, suites
	port := u.Port()
	if port == "" {
		port = map[string]string{"ldaps": ldap.DefaultLdapsPort, "ldap": ldap.DefaultLdapPort}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if u.Scheme == "ldap" {
		l := ldap.NewConn(conn, false)
		l.Start()
		defer func() { _ = l.Close() }()
		if err := l.StartTLS(config); err != nil {
			return nil, err
		}
		state, _ := l.TLSConnectionState()
		return &state, nil
	}
	secured := tls.Client(conn, config)
	defer func() { _ = secured.Close() }()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := secured.ConnectionState()
	return &state, nil
}
