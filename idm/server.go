package idm

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
)

// Server is one eDirectory server, reached over LDAP with TLS. Per-server values are read and written only through a
// connection to that very server, so every new connection checks by the root DSE's dsaName which server answers; a load
// balancer or a changed DNS alias is refused instead of believed. A Server is safe for concurrent use.
type Server struct {
	conf     Config // with its defaults filled in
	address  string
	startTLS bool
	tls      *tls.Config

	slots  chan struct{} // one token per connection in use
	closed chan struct{}

	mu      sync.Mutex
	idle    []*link
	rootDSE RootDSE
	known   bool
	shut    bool
}

// Dial connects to the eDirectory server that c names. It changes nothing on the server.
//
// Errors: failover.ErrInvalid, [ErrUnreachable], [ErrLineLost], [ErrUntrusted], [ErrLogin],
// [ErrWrongServer].
func Dial(ctx context.Context, c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	at, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	trust, err := c.TLS.Config("Config.TLS", at.host)
	if err != nil {
		return nil, err
	}
	c = c.withDefaults()
	s := &Server{conf: c, address: net.JoinHostPort(at.host, at.port), startTLS: at.startTLS, tls: trust,
		slots: make(chan struct{}, c.Connections), closed: make(chan struct{})}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	l, _, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s.release(l, true)
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
	DSAName    string   // DN of the NCP server object: which server this is
	TreeName   string   // directoryTreeName
	Vendor     string   // vendorName and vendorVersion
	Extensions []string // supportedExtension
	Controls   []string // supportedControl
	Schema     string   // subschemaSubentry, as a rule cn=schema
}

// HasExtension reports whether the server lists the extended operation.
func (r RootDSE) HasExtension(oid string) bool { return slices.Contains(r.Extensions, oid) }

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
func (s *Server) Dialect() Dialect { return s.conf.Dialect }

// errOtherName is ErrWrongServer that is proven: the server said a name, and it is another one.
var errOtherName = fmt.Errorf("%w by its name", ErrWrongServer)

// identify reads the root DSE and refuses a server that is not the expected one or not the one of the last connection.
func (s *Server) identify(ctx context.Context, l *link) error {
	fail := func(err error, next string) error { return notDone("identify", s.address, next, err) }
	result, err := l.ldap.Search(&ldap.SearchRequest{Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)",
		Attributes: []string{"dsaName", "directoryTreeName", "vendorName", "vendorVersion",
			"supportedExtension", "supportedControl", "subschemaSubentry"}})
	if err != nil {
		if r := refusal(err, false, nil); r != nil {
			return fail(r, r.next())
		}
		return fail(fmt.Errorf("%w: %w", ErrLineLost, ended(ctx, err)), "check that the server answers")
	}
	if len(result.Entries) != 1 {
		return fail(fmt.Errorf("%w: the root DSE cannot be read", ErrWrongServer),
			"check that this is an LDAP server and the user may read its root DSE")
	}
	e := fromLDAP(result.Entries[0])
	dse := RootDSE{DSAName: cmp.Or(e.Text("dsaName"), s.conf.AssumedServer), TreeName: e.Text("directoryTreeName"),
		Vendor:     strings.TrimSpace(e.Text("vendorName") + " " + e.Text("vendorVersion")),
		Extensions: e.Texts("supportedExtension"), Controls: e.Texts("supportedControl"), Schema: e.Text("subschemaSubentry")}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case dse.DSAName == "":
		return fail(fmt.Errorf("%w: the root DSE has no dsaName", ErrWrongServer),
			"connect to an eDirectory server, as a user who may read its root DSE")
	case s.conf.ExpectedServer != "" && !SameDN(dse.DSAName, s.conf.ExpectedServer):
		return fail(fmt.Errorf("%w: %s answers, expected %s", errOtherName, dse.DSAName, s.conf.ExpectedServer),
			"connect to the server itself, not to a load balancer or an alias")
	case s.known && !SameDN(dse.DSAName, s.rootDSE.DSAName):
		return fail(fmt.Errorf("%w: %s answers, earlier it was %s", ErrWrongServer, dse.DSAName, s.rootDSE.DSAName),
			"connect to the server itself, not to a load balancer or an alias")
	}
	s.rootDSE, s.known = dse, true
	return nil
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

// belowDN reports whether dn lies below ancestor.
func belowDN(dn, ancestor string) bool {
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
