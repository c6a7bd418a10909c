package idm

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
)

// Server is one eDirectory server, reached over LDAP with TLS. Per-server values are read and written only through a
// connection to that very server, so every new connection checks by the root DSE's dsaName which server answers; a load
// balancer or a changed DNS alias is refused instead of believed. A Server is safe for concurrent use.
type Server struct {
	address     string
	startTLS    bool
	trust       failover.TLS
	tls         *tls.Config
	bindDN      string
	password    failover.SecretFunc
	dialect     Dialect
	log         *slog.Logger
	callTimeout time.Duration
	dialer      func(ctx context.Context, network, address string) (net.Conn, error)
	expected    string
	assumed     string

	slots  chan struct{} // one token per connection in use
	closed chan struct{}

	mu      sync.Mutex
	idle    []*link
	rootDSE RootDSE
	known   bool
	shut    bool
}

// Defaults of a Server.
const (
	// DefaultCallTimeout limits one request to the server and, in a search, the wait for each entry.
	DefaultCallTimeout = time.Minute
	// DefaultConnections is how many connections a Server uses at most at the same time.
	DefaultConnections = 4
)

// Option sets one property of a Server.
type Option func(*Server) error

// WithTLS says which server to trust. Roots, as a rule the CA of the tree, or fingerprints are mandatory.
func WithTLS(trust failover.TLS) Option {
	return func(s *Server) error {
		s.trust = trust
		return nil
	}
}

// WithLogin logs in as the user with this LDAP DN. The password is fetched for each new connection and never sent
// before the server's certificate was checked.
func WithLogin(userDN string, password failover.SecretFunc) Option {
	return func(s *Server) error {
		if _, err := ldap.ParseDN(userDN); err != nil || userDN == "" {
			return failover.Invalid("WithLogin", fmt.Sprintf("%q is no LDAP DN", userDN), "write it like cn=admin,ou=sa,o=system")
		}
		if password == nil {
			return failover.Invalid("WithLogin", "has no password function", "give a function that returns the password")
		}
		s.bindDN, s.password = userDN, password
		return nil
	}
}

// WithExpectedServer refuses any server whose dsaName is not this DN, with [ErrWrongServer].
func WithExpectedServer(serverDN string) Option {
	return func(s *Server) error {
		if err := checkDN("WithExpectedServer", serverDN); err != nil {
			return err
		}
		s.expected = serverDN
		return nil
	}
}

// WithAssumedServer names the server where the root DSE holds no dsaName. It is for directories that are not
// eDirectory, such as an OpenLDAP used as a copy or in tests: nothing then proves which server answers.
func WithAssumedServer(serverDN string) Option {
	return func(s *Server) error {
		if err := checkDN("WithAssumedServer", serverDN); err != nil {
			return err
		}
		s.assumed = serverDN
		return nil
	}
}

// WithDialect sets what the vendor's texts leave open about the wire format.
func WithDialect(d Dialect) Option {
	return func(s *Server) error {
		if d.Framing < FramingConcatenated || d.Framing > FramingSequence || d.Resync < ResyncFlagOneSkips || d.Resync > ResyncFlagOneSyncs {
			return failover.Invalid("WithDialect", fmt.Sprintf("%+v has an unknown value", d), "use the constants of this package")
		}
		s.dialect = d
		return nil
	}
}

// WithLogger logs every request at debug level, without values.
func WithLogger(log *slog.Logger) Option {
	return func(s *Server) error {
		if log != nil {
			s.log = log
		}
		return nil
	}
}

// WithCallTimeout limits each single request in addition to the context of the call; in a search it limits the wait
// for each entry. The default is [DefaultCallTimeout].
func WithCallTimeout(d time.Duration) Option {
	return func(s *Server) error {
		if d <= 0 {
			return failover.Invalid("WithCallTimeout", fmt.Sprintf("is %s", d), "give a time above zero")
		}
		s.callTimeout = d
		return nil
	}
}

// WithConnections sets how many connections are used at most at the same time. The default is [DefaultConnections].
func WithConnections(n int) Option {
	return func(s *Server) error {
		if n < 1 {
			return failover.Invalid("WithConnections", fmt.Sprintf("is %d", n), "allow at least one")
		}
		s.slots = make(chan struct{}, n)
		return nil
	}
}

// WithDialer opens TCP connections with dial, for example through a tunnel.
func WithDialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(s *Server) error {
		if dial == nil {
			return failover.Invalid("WithDialer", "is nil", "give a dial function")
		}
		s.dialer = dial
		return nil
	}
}

// Dial connects to the eDirectory server at rawURL, "ldaps://host[:port]" or "ldap://host[:port]"; the latter is secured by StartTLS
// before anything else is sent, there is no way to log in over a clear connection. [WithTLS] is
// mandatory. It changes nothing on the server.
//
// Errors: failover.ErrInvalid, [ErrUnreachable], [ErrUntrusted], [ErrLogin], [ErrWrongServer].
func Dial(ctx context.Context, rawURL string, opts ...Option) (*Server, error) {
	s, err := newServer(rawURL, opts)
	if err != nil {
		return nil, err
	}
	l, _, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s.release(l, true)
	return s, nil
}

func newServer(rawURL string, opts []Option) (*Server, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, failover.Invalid("url", fmt.Sprintf("%q is no LDAP URL", rawURL), "write ldaps://host:636 or ldap://host:389")
	}
	s := &Server{log: slog.New(slog.DiscardHandler),
		callTimeout: DefaultCallTimeout, slots: make(chan struct{}, DefaultConnections), closed: make(chan struct{})}
	s.dialer = (&net.Dialer{}).DialContext
	port := u.Port()
	switch u.Scheme {
	case "ldaps":
		if port == "" {
			port = ldap.DefaultLdapsPort
		}
	case "ldap":
		s.startTLS = true
		if port == "" {
			port = ldap.DefaultLdapPort
		}
	default:
		return nil, failover.Invalid("url", fmt.Sprintf("the scheme %q is unknown", u.Scheme), "use ldaps, or ldap for StartTLS")
	}
	s.address = net.JoinHostPort(u.Hostname(), port)
	for _, opt := range opts {
		if err := opt(s); err != nil {
			return nil, err
		}
	}
	if t := s.trust; t.RootsFile == "" && t.Roots == nil && len(t.Fingerprints) == 0 && !t.InsecureAnyCertificate {
		return nil, failover.Invalid("WithTLS", "names neither roots nor a fingerprint", "give the CA of the tree, or the fingerprint of the server's certificate")
	}
	if s.tls, err = s.trust.Config("WithTLS", u.Hostname()); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends all connections. Calls under way end as their evidence says.
func (s *Server) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	if !s.shut {
		s.shut = true
		close(s.closed)
	}
	s.mu.Unlock()
	for _, l := range idle {
		l.cut()
	}
	return nil
}

// RootDSE is what the server says about itself.
type RootDSE struct {
	DSAName        string // DN of the NCP server object: which server this is
	TreeName       string // directoryTreeName
	Vendor         string // vendorName and vendorVersion
	NamingContexts []string
	Extensions     []string // supportedExtension
	Controls       []string // supportedControl
	Schema         string   // subschemaSubentry, as a rule cn=schema
}

// HasExtension reports whether the server lists the extended operation.
func (r RootDSE) HasExtension(oid string) bool { return slices.Contains(r.Extensions, oid) }

// HasControl reports whether the server lists the control.
func (r RootDSE) HasControl(oid string) bool { return slices.Contains(r.Controls, oid) }

// HasEngine reports whether the DirXML LDAP extension is loaded (seen: the OIDs are listed only there). Ask
// [Server.EngineVersion] to be sure.
func (r RootDSE) HasEngine() bool { return r.HasExtension(opGetDriverState.oid()) }

// DN returns the DN of the NCP server object, as the server's dsaName gave it.
func (s *Server) DN() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rootDSE.DSAName
}

// Address returns host and port.
func (s *Server) Address() string { return s.address }

// RootDSE returns what the server said about itself when the last connection was made.
func (s *Server) RootDSE() RootDSE {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rootDSE
}

// Dialect returns the dialect in use.
func (s *Server) Dialect() Dialect { return s.dialect }

// identify reads the root DSE and refuses a server that is not the expected one or not the one of the last connection.
func (s *Server) identify(ctx context.Context, l *link) error {
	fail := func(err error, next string) error {
		return &failover.Error{Op: "identify", Target: s.address, Outcome: failover.NotApplied, Next: next, Err: err}
	}
	result, err := l.ldap.Search(&ldap.SearchRequest{Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"dsaName",
		"directoryTreeName", "vendorName", "vendorVersion", "namingContexts", "supportedExtension", "supportedControl", "subschemaSubentry"}})
	if err != nil {
		if r := refusal(err, false, nil); r != nil {
			return fail(r, r.next())
		}
		return fail(fmt.Errorf("%w: %w", ErrUnreachable, ended(ctx, err)), "check that the server answers")
	}
	if len(result.Entries) != 1 {
		return fail(fmt.Errorf("%w: the root DSE cannot be read", ErrWrongServer), "check that this is an LDAP server and the user may read its root DSE")
	}
	e := result.Entries[0]
	dse := RootDSE{DSAName: e.GetEqualFoldAttributeValue("dsaName"), TreeName: e.GetEqualFoldAttributeValue("directoryTreeName"),
		Vendor:         strings.TrimSpace(e.GetEqualFoldAttributeValue("vendorName") + " " + e.GetEqualFoldAttributeValue("vendorVersion")),
		NamingContexts: e.GetEqualFoldAttributeValues("namingContexts"), Extensions: e.GetEqualFoldAttributeValues("supportedExtension"),
		Controls: e.GetEqualFoldAttributeValues("supportedControl"), Schema: e.GetEqualFoldAttributeValue("subschemaSubentry")}
	if dse.DSAName == "" {
		dse.DSAName = s.assumed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.expected != "" && !SameDN(dse.DSAName, s.expected):
		return fail(fmt.Errorf("%w: %s answers, expected %s", ErrWrongServer, orNobody(dse.DSAName), s.expected), "connect to the server itself, not to a load balancer or an alias")
	case dse.DSAName == "":
		return fail(fmt.Errorf("%w: the root DSE has no dsaName", ErrWrongServer), "connect to an eDirectory server")
	case s.known && !SameDN(dse.DSAName, s.rootDSE.DSAName):
		return fail(fmt.Errorf("%w: %s answers, earlier it was %s", ErrWrongServer, dse.DSAName, s.rootDSE.DSAName), "connect to the server itself, not to a load balancer or an alias")
	}
	s.rootDSE, s.known = dse, true
	return nil
}

func orNobody(dn string) string {
	if dn == "" {
		return "a server without a name"
	}
	return dn
}

// SameDN reports whether two LDAP DNs name the same entry: case and spaces around separators do not count.
func SameDN(a, b string) bool {
	x, errX := ldap.ParseDN(a)
	y, errY := ldap.ParseDN(b)
	if errX != nil || errY != nil {
		return strings.EqualFold(a, b)
	}
	return x.EqualFold(y)
}

// BelowDN reports whether dn lies below ancestor.
func BelowDN(dn, ancestor string) bool {
	x, errX := ldap.ParseDN(dn)
	y, errY := ldap.ParseDN(ancestor)
	return errX == nil && errY == nil && y.AncestorOfFold(x)
}

// ParentDN returns the DN of the entry above dn, "" for the root and for what is no DN.
func ParentDN(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) < 2 {
		return ""
	}
	parent := ldap.DN{RDNs: parsed.RDNs[1:]}
	return parent.String()
}

// commonName returns the value of the first RDN, for people's eyes.
func commonName(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
		return dn
	}
	return parsed.RDNs[0].Attributes[0].Value
}

func checkDN(field, dn string) error {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return failover.Invalid(field, fmt.Sprintf("%q is no LDAP DN", dn), "write it like cn=Driver,cn=Driver Set,o=system")
	}
	return nil
}
