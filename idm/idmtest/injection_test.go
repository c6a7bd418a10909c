package idmtest_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
)

// dialShort is a client that gives a request up after a moment.
func dialShort(t *testing.T, tree *idmtest.Tree, s *idmtest.Server) *client {
	t.Helper()
	c := admin(t, tree, s)
	c.SetTimeout(150 * time.Millisecond)
	return c
}

// Each fault, on an operation that changes something: whether the effect happened and whether the client heard of it.
func TestFaultsOnAStartOptionChange(t *testing.T) {
	tests := map[idmtest.FaultKind]struct {
		effect, success, dead bool
	}{
		idmtest.FaultSlowRequest:    {effect: true, success: true},
		idmtest.FaultSlowReply:      {effect: true, success: true},
		idmtest.FaultDropRequest:    {},
		idmtest.FaultDropReply:      {effect: true},
		idmtest.FaultMuteRequest:    {},
		idmtest.FaultMuteReply:      {effect: true},
		idmtest.FaultRefusal:        {},
		idmtest.FaultGarbage:        {effect: true},
		idmtest.FaultWrongMessageID: {effect: true},
		idmtest.FaultTruncated:      {effect: true},
		idmtest.FaultDuplicate:      {effect: true, success: true},
		idmtest.FaultEmptySuccess:   {success: true},
		idmtest.FaultKillRequest:    {dead: true},
		idmtest.FaultKillReply:      {effect: true, dead: true},
		idmtest.FaultUnknownReply:   {effect: true},
	}
	require.Len(t, tests, len(idmtest.FaultKinds()), "a fault without a test")
	for kind, want := range tests {
		t.Run(kind.String(), func(t *testing.T) {
			tree, _ := pair(t, nil)
			two := tree.Server("srv2")
			driver := idmtest.DriverDN(0)
			c := admin(t, tree, two)
			switch kind {
			case idmtest.FaultMuteRequest, idmtest.FaultMuteReply, idmtest.FaultWrongMessageID:
				c = dialShort(t, tree, two) // nothing but its patience ends the wait
			}
			f := tree.Inject(idmtest.Injection{Kind: kind, Server: "srv2", Extended: 9, DN: driver, NDS: -641,
				Delay: time.Millisecond})
			_, err := c.ext(9, driver, 1, 1)
			require.Equal(t, want.success, err == nil, "%v", err)
			require.Equal(t, 1, f.Hits())
			if kind == idmtest.FaultRefusal {
				require.ErrorContains(t, err, "invalid request (-641)")
			}
			option := idmtest.StartDisabled
			if want.effect {
				option = idmtest.StartManual
			}
			require.Equal(t, option, two.StartOption(driver))
			require.Equal(t, !want.dead, two.Up())
			if !want.dead {
				require.NoError(t, admin(t, tree, two).replaceErr(driver, "DirXML-TraceLevel", "1"), "the next request is served")
			}
			asked := tree.Asked(func(r idmtest.Request) bool { return r.Extended == 9 })
			require.Len(t, asked, 1)
			require.Equal(t, kind, asked[0].Fault)
			require.Equal(t, []string{"1", "1"}, asked[0].Arguments)
		})
	}
}

func (c *client) replaceErr(dn, attr string, values ...string) error {
	change := ldap.NewModifyRequest(dn, nil)
	change.Replace(attr, values)
	return c.Modify(change)
}

func TestSlowRequestTakesEffectAfterTheClientHasGone(t *testing.T) {
	tree, _ := pair(t, nil)
	two, driver := tree.Server("srv2"), idmtest.DriverDN(0)
	c := dialShort(t, tree, two)
	tree.Inject(idmtest.Injection{Kind: idmtest.FaultSlowRequest, Extended: 9, Delay: 2 * time.Second})
	_, err := c.ext(9, driver, 1, 1)
	require.Error(t, err)
	require.NoError(t, c.Close())
	require.Equal(t, idmtest.StartDisabled, two.StartOption(driver))
	require.Eventually(t, func() bool { return two.StartOption(driver) == idmtest.StartManual }, 10*time.Second,
		5*time.Millisecond)
}

func TestFaultsOnASearch(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Users: 20})
	s := tree.Server("srv1")
	search := func(c *client) (*ldap.SearchResult, error) {
		return c.Search(ldap.NewSearchRequest(idmtest.UsersDN, ldap.ScopeSingleLevel, 0, 0, 0, false, "(cn=*)", nil, nil))
	}
	tree.Inject(idmtest.Injection{Kind: idmtest.FaultTruncated, Op: idmtest.OperationSearch})
	_, err := search(admin(t, tree, s))
	require.Error(t, err)
	tree.Inject(idmtest.Injection{Kind: idmtest.FaultEmptySuccess, Op: idmtest.OperationSearch})
	c := admin(t, tree, s)
	res, err := search(c)
	require.NoError(t, err)
	require.Empty(t, res.Entries)
	res, err = search(c)
	require.NoError(t, err)
	require.Len(t, res.Entries, 20)
}

func TestFaultSelection(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := tree.Server("srv1")
	c := admin(t, tree, s)
	f := tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Op: idmtest.OperationModify, Skip: 1, Times: 2, Code: 51,
		Text: "try later", If: func(r idmtest.Request) bool { return strings.HasSuffix(r.DN, idmtest.UsersDN) }})
	user, driver := tree.Users()[0], idmtest.DriverDN(0)
	require.NoError(t, c.replaceErr(driver, "DirXML-TraceLevel", "1"))
	require.NoError(t, c.replaceErr(user, "title", "a"))
	require.True(t, ldap.IsErrorWithCode(c.replaceErr(user, "title", "b"), ldap.LDAPResultBusy))
	require.ErrorContains(t, c.replaceErr(user, "title", "c"), "try later")
	require.NoError(t, c.replaceErr(user, "title", "d"))
	require.Equal(t, 2, f.Hits())
	f = tree.Inject(idmtest.Injection{Kind: idmtest.FaultDropReply, Times: -1})
	f.Remove()
	require.NoError(t, c.replaceErr(user, "title", "e"))
}

func TestKillCutsConnectionsAndStartTakesThemAgain(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := tree.Server("srv1")
	c := admin(t, tree, s)
	s.Kill()
	s.Kill()
	require.Error(t, c.replaceErr(idmtest.DriverDN(0), "DirXML-TraceLevel", "1"))
	_, err := ldap.DialURL(s.URL(),
		ldap.DialWithTLSConfig(&tls.Config{RootCAs: tree.Roots(), MinVersion: tls.VersionTLS12}))
	require.Error(t, err)
	require.NoError(t, s.Start())
	require.NoError(t, s.Start())
	require.NoError(t, admin(t, tree, s).replaceErr(idmtest.DriverDN(0), "DirXML-TraceLevel", "1"))
}
