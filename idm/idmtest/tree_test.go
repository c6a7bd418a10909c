package idmtest_test

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestRootDSETellsTheServer(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	for _, s := range tree.Servers() {
		e := dial(t, tree, s).read("", "dsaName", "supportedExtension", "supportedControl")
		require.Equal(t, s.DN(), e.GetAttributeValue("dsaName"))
		require.Contains(t, e.GetAttributeValues("supportedExtension"), "2.16.840.1.113719.1.14.100.9")
		require.Contains(t, e.GetAttributeValues("supportedControl"), ldap.ControlTypePaging)
	}
}

func TestReplicatedValuesAreSharedAndPerServerValuesAreNot(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Prepared: true}}})
	one, two := admin(t, tree, tree.Server("srv1")), admin(t, tree, tree.Server("srv2"))
	driver := idmtest.DriverDN(0)

	change := ldap.NewModifyRequest(driver, nil)
	change.Replace("DirXML-TraceLevel", []string{"5"})
	change.Replace("DirXML-ShimAuthServer", []string{"moved.example.com"})
	require.NoError(t, one.Modify(change))

	require.Equal(t, "5", two.read(driver, "DirXML-TraceLevel").GetAttributeValue("DirXML-TraceLevel"))
	require.Equal(t, "moved.example.com", one.read(driver, "*").GetAttributeValue("DirXML-ShimAuthServer"))
	require.Equal(t, "app01.example.com:636", two.read(driver, "*").GetAttributeValue("DirXML-ShimAuthServer"))
	require.Empty(t, two.read(driver, "*", "+").GetAttributeValue("DirXML-State"), "state only when named")
	require.Equal(t, "0", two.read(driver, "DirXML-State").GetAttributeValue("DirXML-State"))
	require.Equal(t, "2", one.read(driver, "DirXML-State").GetAttributeValue("DirXML-State"))
}

func TestEngineOwnedAttributesRefuseAWrite(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	c := admin(t, tree, tree.Server("srv1"))
	change := ldap.NewModifyRequest(idmtest.DriverDN(0), nil)
	change.Replace("DirXML-DriverStartOption", []string{"0"})
	err := c.Modify(change)
	require.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights), "%v", err)
	require.ErrorContains(t, err, "NDS error: no access (-672)")
}

func TestSwitchADriverByHand(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Prepared: true}}})
	one, two := admin(t, tree, tree.Server("srv1")), admin(t, tree, tree.Server("srv2"))
	driver := idmtest.DriverDN(0)
	require.Equal(t, 2, one.number(13, driver))
	require.Equal(t, 2, one.number(7, driver))
	require.Equal(t, 0, two.number(7, driver))
	two.refuses("(-641)", 15, driver) // disabled

	one.run(17, driver)
	waitState(t, tree, "srv1", driver, idmtest.StateStopped)
	one.run(9, driver, 0, 1)
	two.run(9, driver, 1, 1)
	two.run(15, driver)
	waitState(t, tree, "srv2", driver, idmtest.StateRunning)
	require.Equal(t, 2, two.number(13, driver))

	require.Empty(t, tree.Overlaps())
	require.Equal(t, idmtest.Counters{Starts: 1, OptionChanges: 2, Connections: 2, MaxConnected: 1}, tree.Counters(driver))
}
