package idm_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// What the directory shows of Remote Loaders, certificates and the partners of eDir-to-eDir drivers, driver by driver.
func TestReferencesAreCheckedAsFarAsTheDirectoryShowsThem(t *testing.T) {
	const edir, remote = "com.novell.nds.dirxml.driver.nds.DriverShimImpl",
		"com.novell.nds.dirxml.remote.driver.DriverShimImpl"
	m := newMove(t, idmtest.Config{Drivers: 14,
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
			idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: values},
			idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Attribute{Name: "DirXML-ShimAuthID"}}))
	}
	// The certificate wizard names the certificate in the authentication ID, and makes it for two years.
	certificate := func(i int, name string, ends time.Time) {
		t.Helper()
		require.NoError(t, two.Modify(t.Context(), idmtest.DriverDN(i),
			idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimAuthID", name)}))
		if ends.IsZero() {
			return
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: ends, NotBefore: ends.AddDate(-2, 0, 0)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
		require.NoError(t, err)
		require.NoError(t, two.Add(t.Context(), "cn="+name+" - srv2,ou=servers,o=system",
			idm.Text("objectClass", "nDSPKIKeyMaterial"), idm.Text("cn", name+" - srv2"),
			idm.Attribute{Name: "nDSPKIPublicKeyCertificate", Values: [][]byte{der}}))
	}
	for i, address := range map[int]string{9: "10.9.9.1:8200", 10: "10.9.9.2:8200", 11: "10.9.9.3:8201", 12: "partner",
		13: "10.9.9.4:8202"} {
		set(i, edir, address)
	}
	certificate(9, "No Such", time.Time{})
	certificate(11, "Ended", time.Date(2020, 1, 2, 3, 0, 0, 0, time.UTC))
	certificate(13, "Good", time.Date(2099, 1, 2, 3, 0, 0, 0, time.UTC))
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
		"good: local shim com.novell.nds.dirxml.driver.ldap.LDAPDriverShim; what it refers to was not looked at",
		"good: Remote Loader REMOTE(hostname=rl port=8090 kmo='IDM RL'), certificate IDM RL is on this server; when " +
			"it ends cannot be read",
		"bad: eDir-to-eDir driver to 10.9.9.1:8200, whose local port 8200 is also that of Driver11, certificate No Such is " +
			"not on this server: create it, or name another one",
		"bad: eDir-to-eDir driver to 10.9.9.2:8200, whose local port 8200 is also that of Driver10",
		"bad: eDir-to-eDir driver to 10.9.9.3:8201, certificate Ended has ended on 2020-01-02: create it again",
		"bad: eDir-to-eDir driver to partner, which is neither host:port nor host:port:port",
		"good: eDir-to-eDir driver to 10.9.9.4:8202, certificate Good is on this server and ends on 2099-01-02"} {
		require.Equal(t, want, found[idmtest.DriverDN(i)])
	}
}
