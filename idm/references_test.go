package idm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// What the directory shows of Remote Loaders, certificates and the partners of eDir-to-eDir drivers, driver by driver.
func TestReferencesAreCheckedAsFarAsTheDirectoryShowsThem(t *testing.T) {
	const edir, remote = "com.novell.nds.dirxml.driver.nds.DriverShimImpl",
		"com.novell.nds.dirxml.remote.driver.DriverShimImpl"
	m := newMove(t, idmtest.Config{Drivers: 9,
		Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true}}})
	one, two := open(t, m.tree, "srv1"), open(t, m.tree, "srv2")
	set := func(i int, module, address string) {
		t.Helper()
		require.NoError(t, one.Modify(t.Context(), idmtest.DriverDN(i),
			idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-JavaModule", module)}))
		values := idm.Text("DirXML-ShimAuthServer", address)
		if address == "" {
			values.Values = nil
		}
		require.NoError(t, two.Modify(t.Context(), idmtest.DriverDN(i),
			idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: values}))
	}
	set(0, edir, "10.0.0.9:8196:8196")
	set(1, edir, "10.0.0.9:8197:8196")
	set(2, edir, "10.0.0.9:8198:8198")
	set(3, edir, "")
	set(4, remote, "REMOTE(hostname=rl port=8090)")
	set(5, remote, "")
	set(6, remote, "REMOTE(hostname=rl port=8090 kmo='No Such')")
	set(8, remote, "REMOTE(hostname=rl port=8090 kmo='IDM RL')")
	set(7, "com.novell.nds.dirxml.driver.ldap.LDAPDriverShim", "app:636")

	plan, err := m.failover(nil).Plan(t.Context(), nil)
	require.NoError(t, err)
	found := map[string]string{}
	for _, s := range plan.Steps {
		if s.ID != "prepare/references" {
			continue
		}
		for _, row := range s.Observation.Items {
			found[row.Target] = map[bool]string{true: "good: ", false: "bad: "}[row.Done] + row.Found
		}
	}
	for i, want := range []string{"bad: eDir-to-eDir driver to 10.0.0.9:8196:8196, whose local port 8196 is also that of " +
		"Driver02",
		"bad: eDir-to-eDir driver to 10.0.0.9:8197:8196, whose local port 8196 is also that of Driver01",
		"good: eDir-to-eDir driver to 10.0.0.9:8198:8198",
		"bad: eDir-to-eDir driver to an address that is not set on this server",
		"good: Remote Loader REMOTE(hostname=rl port=8090)",
		"bad: works through a Remote Loader, whose address is not set on this server",
		"bad: Remote Loader REMOTE(hostname=rl port=8090 kmo='No Such'), certificate No Such is not on this server: create " +
			"it, or name another one",
		"good: local shim com.novell.nds.dirxml.driver.ldap.LDAPDriverShim",
		"good: Remote Loader REMOTE(hostname=rl port=8090 kmo='IDM RL'), certificate IDM RL is on this server"} {
		require.Equal(t, want, found[idmtest.DriverDN(i)])
	}
}
