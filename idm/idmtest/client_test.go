package idmtest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
)

// client is go-ldap bound to one server.
type client struct {
	t *testing.T
	*ldap.Conn
}

func dial(t *testing.T, tree *idmtest.Tree, s *idmtest.Server) *client {
	t.Helper()
	conn, err := ldap.DialURL(s.URL(),
		ldap.DialWithTLSConfig(&tls.Config{RootCAs: tree.Roots(), MinVersion: tls.VersionTLS12}))
	require.NoError(t, err)
	conn.SetTimeout(5 * time.Second)
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, Conn: conn}
}

func admin(t *testing.T, tree *idmtest.Tree, s *idmtest.Server) *client {
	t.Helper()
	c := dial(t, tree, s)
	require.NoError(t, c.Bind(idmtest.AdminDN, idmtest.AdminPassword))
	return c
}

// ext sends the DirXML operation n with the given arguments one after the other.
func (c *client) ext(n int, args ...any) (*ber.Packet, error) {
	v := ber.Encode(ber.ClassContext, ber.TypePrimitive, 1, nil, "")
	for _, a := range args {
		v.AppendChild(element(a))
	}
	if len(args) == 0 {
		v = nil
	}
	resp, err := c.Extended(ldap.NewExtendedRequest(fmt.Sprintf("2.16.840.1.113719.1.14.100.%d", n), v))
	if err != nil || resp.Value == nil {
		return nil, err
	}
	return ber.DecodePacketErr(resp.Value.Data.Bytes())
}

func element(a any) *ber.Packet {
	switch a := a.(type) {
	case string:
		return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, a, "")
	case int:
		return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, a, "")
	}
	panic(fmt.Sprintf("argument of type %T", a))
}

func (c *client) number(n int, args ...any) int {
	c.t.Helper()
	p, err := c.ext(n, args...)
	require.NoError(c.t, err)
	require.NotNil(c.t, p)
	require.Len(c.t, p.Children, 1)
	return int(p.Children[0].Value.(int64))
}

func (c *client) run(n int, args ...any) {
	c.t.Helper()
	_, err := c.ext(n, args...)
	require.NoError(c.t, err)
}

// refuses checks that the operation is refused with the NDS code.
func (c *client) refuses(nds string, n int, args ...any) {
	c.t.Helper()
	_, err := c.ext(n, args...)
	require.ErrorContains(c.t, err, nds)
}

func (c *client) read(dn string, attrs ...string) *ldap.Entry {
	c.t.Helper()
	res, err := c.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=*)", attrs, nil))
	require.NoError(c.t, err)
	require.Len(c.t, res.Entries, 1)
	return res.Entries[0]
}

func waitState(t *testing.T, tree *idmtest.Tree, server, driver string, want idmtest.State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	require.NoError(t, tree.WaitState(ctx, server, driver, want))
}
