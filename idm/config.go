package idm

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
)

// Defaults of a [Config].
const (
	defaultCallTimeout = time.Minute
	defaultConnections = 4
)

// Config says how to reach one eDirectory server and how to log in to it. The zero value of a field but URL and TLS is
// the default that its comment names.
type Config struct {
	// URL is the server's own address, "ldaps://host[:port]" or "ldap://host[:port]". The latter is secured by StartTLS
	// before anything else is sent: there is no way to log in over a clear connection. Without a port it is 636 or 389.
	URL string
	// TLS says which server to trust. Roots, usually the CA of the tree, or fingerprints are mandatory.
	TLS failover.TLS

	// UserDN is the LDAP DN of the user to log in as, and Password fetches the password. It is fetched for each new
	// connection and never sent before the server's certificate was checked. With neither, nobody is logged in.
	UserDN   string
	Password failover.SecretFunc

	// ExpectedServer is a DN: any server whose dsaName is another is refused with [ErrWrongServer]. "" takes the server
	// that answers first, and later connections must reach the same one.
	ExpectedServer string
	// AssumedServer is the server's DN where the root DSE holds no dsaName. It is for directories that are not
	// eDirectory, such as an OpenLDAP used as a copy or in tests: nothing then proves which server answers. "" refuses
	// a server without dsaName.
	AssumedServer string
	// Dialect sets what the vendor's texts leave open about the wire format. The zero value is [FramingConcatenated]
	// with [ResyncFlagOneSkips].
	Dialect Dialect

	// Logger gets one debug line per request, without values. Nil is silent.
	Logger *slog.Logger
	// CallTimeout limits each single request, and the first connection, in addition to the context of the call; in a
	// search it limits the wait for each entry. 0 means a minute.
	CallTimeout time.Duration
	// Connections is how many connections are used at most at the same time. 0 means 4.
	Connections int
	// Dial opens the TCP connections, for example through a tunnel; nil means net.Dialer. What fails before the server
	// itself is asked, such as the tunnel, should wrap [ErrLineLost]: else the server counts as not being there.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Validate refuses what could not work, before anything is asked. The error wraps failover.ErrInvalid and names the
// field. Files are not looked at.
func (c Config) Validate() error {
	if _, err := c.endpoint(); err != nil {
		return err
	}
	t, d := c.TLS, c.Dialect
	switch {
	case t.RootsFile == "" && t.Roots == nil && len(t.Fingerprints) == 0 && !t.InsecureAnyCertificate:
		return failover.Invalid("Config.TLS", "names neither roots nor a fingerprint",
			"give the CA of the tree, or the fingerprint of the server's certificate")
	case c.UserDN == "" && c.Password != nil:
		return failover.Invalid("Config.UserDN", "is empty, and there is a Password", "write it like cn=admin,ou=sa,o=system")
	case c.UserDN != "" && c.Password == nil:
		return failover.Invalid("Config.Password", "is missing", "give a function that returns the password")
	case d.Framing < FramingConcatenated || d.Framing > FramingSequence || d.Resync < ResyncFlagOneSkips ||
		d.Resync > ResyncFlagOneSyncs:
		return failover.Invalid("Config.Dialect", fmt.Sprintf("%+v has an unknown value", d),
			"use the constants of this package")
	case c.CallTimeout < 0:
		return failover.Invalid("Config.CallTimeout", fmt.Sprintf("is %s", c.CallTimeout),
			"give a time above zero, or zero for the default")
	case c.Connections < 0:
		return failover.Invalid("Config.Connections", fmt.Sprintf("is %d", c.Connections),
			"allow at least one, or give zero for the default")
	}
	if _, err := ldap.ParseDN(c.UserDN); err != nil {
		return failover.Invalid("Config.UserDN", fmt.Sprintf("%q is no LDAP DN", c.UserDN),
			"write it like cn=admin,ou=sa,o=system")
	}
	for _, s := range [][2]string{{"Config.ExpectedServer", c.ExpectedServer}, {"Config.AssumedServer", c.AssumedServer}} {
		if err := checkDN(s[0], s[1]); s[1] != "" && err != nil {
			return err
		}
	}
	return t.Validate("Config.TLS")
}

type endpoint struct {
	host, port string
	startTLS   bool
}

func (c Config) endpoint() (endpoint, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil {
		return endpoint{}, failover.Invalid("Config.URL", fmt.Sprintf("%q is no LDAP URL", c.URL),
			"write ldaps://host:636 or ldap://host:389")
	}
	at := endpoint{host: u.Hostname(), port: u.Port()}
	usual := ldap.DefaultLdapsPort
	switch u.Scheme {
	case "ldaps":
	case "ldap":
		at.startTLS, usual = true, ldap.DefaultLdapPort
	default:
		return endpoint{}, failover.Invalid("Config.URL", fmt.Sprintf("has the unknown scheme %q", u.Scheme),
			"use ldaps, or ldap for StartTLS")
	}
	at.port = cmp.Or(at.port, usual)
	return at, nil
}

func (c Config) withDefaults() Config {
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.CallTimeout = cmp.Or(c.CallTimeout, defaultCallTimeout)
	c.Connections = cmp.Or(c.Connections, defaultConnections)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	return c
}
