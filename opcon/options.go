package opcon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// Option sets one thing about a [Client].
type Option func(*settings) error

type settings struct {
	roots        *x509.CertPool
	pins         [][]byte
	anyCert      bool
	clearText    bool
	transport    http.RoundTripper
	login        login
	logger       *slog.Logger
	callTimeout  time.Duration
	actionWait   time.Duration
	pollFirst    time.Duration
	pollMax      time.Duration
	consumerID   string
	transportSet bool
}

func defaults() settings {
	return settings{
		logger:      slog.New(slog.DiscardHandler),
		callTimeout: 30 * time.Second,
		actionWait:  time.Minute,
		pollFirst:   time.Second,
		pollMax:     3 * time.Second,
	}
}

// WithRootCAs trusts the certificates in pool instead of the system's. The API's installer makes a self-signed
// certificate unless it is given another (documented); put that one into the pool or pin it.
func WithRootCAs(pool *x509.CertPool) Option {
	return func(s *settings) error {
		if pool == nil {
			return failover.Invalid("WithRootCAs", "the pool is nil", "give a pool with the certificate that signed the server's")
		}
		s.roots = pool
		return nil
	}
}

// WithPinnedCertificate trusts exactly the server certificates with these SHA-256 fingerprints, as openssl and Windows
// show them: hexadecimal, with or without colons, blanks and "sha256 Fingerprint=". Name and expiry are not
// looked at: the pin says more than they do.
func WithPinnedCertificate(fingerprints ...string) Option {
	return func(s *settings) error {
		if len(fingerprints) == 0 {
			return failover.Invalid("WithPinnedCertificate", "no fingerprint was given", "give the SHA-256 fingerprint of the server's certificate")
		}
		for _, f := range fingerprints {
			sum, err := readFingerprint(f)
			if err != nil {
				return err
			}
			s.pins = append(s.pins, sum)
		}
		return nil
	}
}

// WithInsecureAnyCertificate accepts whatever certificate the server shows. For a lab only: whoever answers gets the
// password or the token.
func WithInsecureAnyCertificate() Option {
	return func(s *settings) error { s.anyCert = true; return nil }
}

// WithInsecureClearText allows an http:// address, as releases before 20 had it. For a lab only: password and token
// travel readable.
func WithInsecureClearText() Option {
	return func(s *settings) error { s.clearText = true; return nil }
}

// WithUser logs in with a user's name and password. Such a token lives about 20 minutes (documented) and is renewed
// when the server no longer takes it. A password that was refused is not sent again by this client.
func WithUser(name string, password failover.SecretFunc) Option {
	return withLogin(login{kind: loginUser, user: name, secret: password})
}

// WithApplication logs in with name and password for an application token, which does not expire; asking again for
// the same application gives the existing token back (documented). A password that was refused is not sent again by
// this client.
func WithApplication(application, name string, password failover.SecretFunc) Option {
	return withLogin(login{kind: loginApplication, application: application, user: name, secret: password})
}

// WithToken uses a token made elsewhere: an external token or an application token from a secret store, the id alone or as
// the vendor's tools write it ("Token <id>"). When the
// server refuses it, the function is asked once more; the same token again means [ErrAuth], not a loop.
func WithToken(token failover.SecretFunc) Option {
	return withLogin(login{kind: loginFixed, secret: token})
}

func withLogin(l login) Option {
	return func(s *settings) error {
		switch {
		case s.login.kind != loginNone:
			return failover.Invalid("login", "is set twice", "use one of WithUser, WithApplication and WithToken")
		case l.secret == nil:
			return failover.Invalid("login", "has no secret", "give a function that returns the password or the token")
		case l.kind != loginFixed && strings.TrimSpace(l.user) == "":
			return failover.Invalid("login", "has no user name", "name the service account")
		case l.kind == loginApplication && strings.TrimSpace(l.application) == "":
			return failover.Invalid("login", "has no application name", "name the application, for example symitar-failover")
		}
		l.user, l.application = strings.TrimSpace(l.user), strings.TrimSpace(l.application)
		s.login = l
		return nil
	}
}

// WithLogger sends one debug line per request to l: method, path, status, duration. Tokens and bodies are not logged.
func WithLogger(l *slog.Logger) Option {
	return func(s *settings) error {
		if l == nil {
			return failover.Invalid("WithLogger", "the logger is nil", "give a logger or leave the option out")
		}
		s.logger = l
		return nil
	}
}

// WithTransport sends requests through rt. It must not repeat a request on its own and must not follow redirects;
// trust options belong to it then and are refused here. A transport that supports net/http/httptrace lets the client
// prove that a request never left.
func WithTransport(rt http.RoundTripper) Option {
	return func(s *settings) error {
		if rt == nil {
			return failover.Invalid("WithTransport", "the transport is nil", "give a transport or leave the option out")
		}
		s.transport, s.transportSet = rt, true
		return nil
	}
}

// WithTimeouts limits a single request and the wait for the result of one action; zero keeps the default, 30 s and
// 60 s.
func WithTimeouts(request, action time.Duration) Option {
	return func(s *settings) error {
		if request < 0 || action < 0 {
			return failover.Invalid("WithTimeouts", "a time is negative", "use zero for the default")
		}
		if request > 0 {
			s.callTimeout = request
		}
		if action > 0 {
			s.actionWait = action
		}
		return nil
	}
}

// WithPolling sets the pause before the first look at an action and the longest pause between two looks; the pause
// grows from one to the other. The default is 1 s and 3 s. Shorter pauses exhausted the database connections of
// servers before 25.3 (documented).
func WithPolling(first, longest time.Duration) Option {
	return func(s *settings) error {
		if first <= 0 || longest < first {
			return failover.Invalid("WithPolling", fmt.Sprintf("%v and %v are not a first and a longest pause", first, longest), "give two positive times in order")
		}
		s.pollFirst, s.pollMax = first, longest
		return nil
	}
}

// WithConsumerID sends the ApiConsumerId header, which some sites ask of trusted consumers (seen in client code).
func WithConsumerID(id string) Option {
	return func(s *settings) error { s.consumerID = id; return nil }
}

var errPin = errors.New("the server's certificate is none of the pinned ones")

// roundTripper builds the transport: HTTP/1.1 only, so that "the headers were never written" proves that the server
// saw nothing, and no proxy from the environment.
func (s settings) roundTripper() (http.RoundTripper, error) {
	if s.transportSet {
		if s.roots != nil || s.pins != nil || s.anyCert {
			return nil, failover.Invalid("WithTransport", "trust options are set as well", "configure trust in the transport")
		}
		return s.transport, nil
	}
	if s.anyCert && (s.roots != nil || s.pins != nil) {
		return nil, failover.Invalid("WithInsecureAnyCertificate", "roots or pins are set as well", "drop one of them")
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots}
	if s.anyCert || s.pins != nil {
		conf.InsecureSkipVerify = true // replaced below by the pins, or asked for by name
	}
	if s.pins != nil {
		conf.VerifyConnection = s.verifyPin
	}
	return &http.Transport{
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxConnsPerHost:       maxRequests,
		MaxIdleConnsPerHost:   maxRequests,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: s.callTimeout,
		Protocols:             httpOne(),
	}, nil
}

func httpOne() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}
