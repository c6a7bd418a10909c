package idm_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/internal/peers"
)

// Real directories: two OpenLDAP servers whose replication leaves the per-server attributes apart.

const (
	serverA = "cn=srv-a,ou=servers,o=system"
	serverB = "cn=srv-b,ou=servers,o=system"
	setDN   = "cn=Driver Set,o=system"
)

func connect(tb testing.TB, s *peers.Slapd) *idm.Server {
	tb.Helper()
	server, err := idm.Dial(tb.Context(), s.URL, idm.WithRoots(s.Roots), idm.WithLogin(s.RootDN, s.Password))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = server.Close() })
	return server
}

// tree starts one server of a tree and creates the server objects in it.
func tree(tb testing.TB, dsaName string) (*peers.Slapd, *idm.Server) {
	tb.Helper()
	slapd := peers.StartSlapd(tb, peers.SlapdOptions{DSAName: dsaName, Tree: "HARBOR"})
	server := connect(tb, slapd)
	ctx := tb.Context()
	require.NoError(tb, server.Add(ctx, "ou=servers,o=system", idm.Text("objectClass", "organizationalUnit"), idm.Text("ou", "servers")))
	for _, name := range []string{"srv-a", "srv-b"} {
		require.NoError(tb, server.Add(ctx, "cn="+name+",ou=servers,o=system", idm.Text("objectClass", "ndsServer"), idm.Text("cn", name)))
	}
	return slapd, server
}

// populate creates a driver set in the order a directory would never give it back in.
func populate(tb testing.TB, s *idm.Server, policies int) {
	tb.Helper()
	add := func(dn, class string, attributes ...idm.Attribute) {
		tb.Helper()
		name := strings.ReplaceAll(strings.TrimPrefix(strings.SplitN(dn, ",cn=", 2)[0], "cn="), `\,`, ",")
		require.NoError(tb, s.Add(tb.Context(), dn, append([]idm.Attribute{idm.Text("objectClass", "top", class), idm.Text("cn", strings.Split(name, ",o=")[0])}, attributes...)...))
	}
	add(setDN, "DirXML-DriverSet", idm.Text("DirXML-ServerList", serverA, serverB), idm.Text("DirXML-ConfigValues", "<configuration-values>\n</configuration-values>"),
		idm.Text("DirXML-JavaEnvironmentParameters", "-Xmx512m"), idm.Text("DirXML-JavaTraceFile", " /var/log/trace with a space "))
	library := "cn=Library," + setDN
	add(library, "DirXML-Library")
	for _, name := range []string{"zebra", "Active Directory", "HR"} {
		driver := "cn=" + name + "," + setDN
		add(driver, "DirXML-Driver", idm.Text("DirXML-ShimAuthID", "svc-"+name), idm.Text("DirXML-ShimAuthServer", "REMOTE(hostname=rl.example port=8090)"),
			idm.Text("DirXML-ShimConfigInfo", "<driver-config name=\""+name+"\"/>\r\n"), idm.Text("DirXML-DriverStartOption", "2"), idm.Text("DirXML-State", "2"),
			idm.Text("DirXML-JavaModule", "com.novell.nds.dirxml.remote.driver.DriverShimImpl"), idm.Text("DirXML-ShimAuthPassword", "\x01\x02enc"),
			idm.Text("DirXML-ConfigValues", `<configuration-values><definitions><definition name="k" type="password-ref" display-name="Key"><value>door-key</value></definition></definitions></configuration-values>`),
			idm.Text("DirXML-Policies", "cn=Match,cn=Subscriber,"+driver+"#0#6", "cn=p000000,"+library+"#1#4"), idm.Text("DirXML-DriverCacheLimit", "0"))
		add("cn=Subscriber,"+driver, "DirXML-Subscriber")
		add("cn=Publisher,"+driver, "DirXML-Publisher")
		add("cn=Match,cn=Subscriber,"+driver, "DirXML-Rule", idm.Text("XmlData", "\xef\xbb\xbf<?xml version=\"1.0\"?>\r\n<policy>\r\n\t<token-named-password name=\"smtp\"/>\r\n</policy>\n"))
		add("cn=Style,cn=Publisher,"+driver, "DirXML-StyleSheet", idm.Text("XmlData", "<xsl:stylesheet xmlns:xsl='http://www.w3.org/1999/XSL/Transform' version='1.0'/>"))
		add("cn=Sites,"+driver, "DirXML-GlobalConfigDef", idm.Text("DirXML-ConfigValues", "<configuration-values/>"))
		add("cn=Code,"+driver, "DirXML-Resource", idm.Text("DirXML-ContentType", "text/ecmascript"), idm.Text("DirXML-Data", "function f(a) { return a < 1; } // Zürich\n"))
		add("cn=Nightly,"+driver, "DirXML-Job", idm.Text("XmlData", "<job-definition/>"), idm.Text("DirXML-ServerList", serverA))
		add(`cn=Badge\, small,`+driver, "DirXML-Entitlement", idm.Text("XmlData", "<entitlement/>"))
	}
	for i := range policies {
		add(fmt.Sprintf("cn=p%06d,%s", i, library), "DirXML-Rule", idm.Text("XmlData", policy(i)))
	}
}

func policy(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<policy>\n\t<rule><description>policy %d</description>\n", i)
	for b.Len() < 3200+i%800 {
		fmt.Fprintf(&b, "\t\t<do-set-dest-attr-value name=\"attr%d\"><arg-value><token-text xml:space=\"preserve\">Zürich &gt; %d</token-text></arg-value></do-set-dest-attr-value>\n", b.Len(), i)
	}
	b.WriteString("\t</rule>\n</policy>\n")
	return b.String()
}

func exported(tb testing.TB, s *idm.Server, o idm.ExportOptions) (string, idm.Manifest) {
	tb.Helper()
	var out bytes.Buffer
	m, err := s.Export(tb.Context(), &out, o)
	require.NoError(tb, err)
	return out.String(), m
}

func source(text string, m *idm.Manifest) idm.ExportSource {
	return idm.ExportSource{Name: "export.ldif", Content: strings.NewReader(text), Manifest: m}
}

func TestOpenLDAPRoundTripIsEqualByteByByte(t *testing.T) {
	_, from := tree(t, serverA)
	populate(t, from, 20)
	ctx := t.Context()
	text, m := exported(t, from, idm.ExportOptions{Base: setDN})
	require.Equal(t, int64(len(text)), m.Size)
	require.Equal(t, int64(1+1+3*9+20), m.Objects)
	require.Equal(t, int64(3), m.Classes["DirXML-Driver"])
	require.Equal(t, map[string]int64{serverA: 1 + 3*2}, m.PerServer)
	require.Equal(t, "HARBOR", m.Tree)
	require.Equal(t, serverA, m.Server)
	require.Len(t, m.Drivers, 3)
	require.Equal(t, "cn=Active Directory,"+setDN, m.Drivers[0].DN)
	require.Equal(t, "auto", m.Drivers[0].StartOption)
	require.Equal(t, int64(9), m.Drivers[0].Objects)
	require.NotContains(t, text, "ShimAuthPassword")
	require.NotContains(t, text, "DirXML-State")

	_, to := tree(t, serverA)
	plan, err := to.PlanImport(ctx, source(text, &m), idm.ImportOptions{Storage: idm.WriteStorage})
	require.NoError(t, err)
	require.Equal(t, m.Objects, plan.OnlyInExport)
	exists, err := to.Exists(ctx, setDN)
	require.NoError(t, err)
	require.False(t, exists, "a dry run writes nothing")

	report, err := to.Import(ctx, source(text, &m), idm.ImportOptions{Storage: idm.WriteStorage})
	require.NoError(t, err)
	require.Equal(t, m.Objects, report.Created)
	require.Equal(t, int64(0), report.Changed)

	again, m2 := exported(t, to, idm.ExportOptions{Base: setDN})
	require.Equal(t, text, again)
	require.Equal(t, m.SHA256, m2.SHA256)

	drift, err := to.Verify(ctx, source(text, &m), idm.VerifyOptions{Storage: idm.WriteStorage})
	require.NoError(t, err)
	require.True(t, drift.Equal(), drift.String())

	report, err = to.Import(ctx, source(text, &m), idm.ImportOptions{Storage: idm.WriteStorage})
	require.NoError(t, err)
	require.Zero(t, report.Created+report.Changed, "the second import writes nothing")
}
