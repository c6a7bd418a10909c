package opcon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// speaksNoTLS reports whether err says that something without TLS answered.
func speaksNoTLS(err error) bool {
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok || (err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"))
}

// untrusted reports whether err says that the server's certificate was not accepted.
func untrusted(err error) bool {
	if errors.Is(err, errPin) {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok
}
