package idm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/internal/drivercfg"
	"github.com/01b61c5c/failover/internal/peers"
)

// Real directories: two OpenLDAP servers whose replication leaves the per-server attributes apart.

// matchPolicy is a policy with a byte order mark, a declaration and the ends of lines of Windows.
const matchPolicy = "\xef\xbb\xbf<?xml version=\"1.0\"?>\r\n<policy>\r\n\t<token-named-password " +
	"name=\"smtp\"/>\r\n</policy>\n"

const (
	serverA = "cn=srv-a,ou=servers,o=system"
	serverB = "cn=srv-b,ou=servers,o=system"
	setDN   = "cn=Driver Set,o=system"

	waitTime = 30 * time.Second
	pollTime = 20 * time.Millisecond
)

func connect(tb testing.TB, s *peers.Slapd) *idm.Server {
	tb.Helper()
	server, err := idm.Dial(tb.Context(),
		idm.Config{URL: s.URL, TLS: failover.TLS{Roots: s.Roots}, UserDN: s.RootDN, Password: s.Password})
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
	require.NoError(tb, server.Add(ctx, "ou=servers,o=system", idm.Text("objectClass", "organizationalUnit"),
		idm.Text("ou", "servers")))
	for _, name := range []string{"srv-a", "srv-b"} {
		require.NoError(tb, server.Add(ctx, "cn="+name+",ou=servers,o=system", idm.Text("objectClass", "ndsServer"),
			idm.Text("cn", name)))
	}
	return slapd, server
}

// populate creates a driver set in the order a directory would never give it back in.
func populate(tb testing.TB, s *idm.Server, policies int) {
	tb.Helper()
	add := func(dn, class string, attributes ...idm.Attribute) {
		tb.Helper()
		name := strings.ReplaceAll(strings.TrimPrefix(strings.SplitN(dn, ",cn=", 2)[0], "cn="), `\,`, ",")
		require.NoError(tb, s.Add(tb.Context(), dn,
			append([]idm.Attribute{idm.Text("objectClass", "top", class), idm.Text("cn", strings.Split(name, ",o=")[0])},
				attributes...)...))
	}
	add(setDN, "DirXML-DriverSet", idm.Text("DirXML-ServerList", serverA, serverB),
		idm.Text("DirXML-ConfigValues", "<configuration-values>\n</configuration-values>"),
		idm.Text("DirXML-JavaEnvironmentParameters", "-Xmx512m"),
		idm.Text("DirXML-JavaTraceFile", " /var/log/trace with a space "))
	library := "cn=Library," + setDN
	add(library, "DirXML-Library")
	for _, name := range []string{"zebra", "Active Directory", "HR"} {
		driver := "cn=" + name + "," + setDN
		add(driver, "DirXML-Driver", idm.Text("DirXML-ShimAuthID", "svc-"+name),
			idm.Text("DirXML-ShimAuthServer", "REMOTE(hostname=rl.example port=8090)"),
			idm.Text("DirXML-ShimConfigInfo", "<driver-config name=\""+name+"\"/>\r\n"),
			idm.Text("DirXML-DriverStartOption", "2"), idm.Text("DirXML-State", "2"),
			idm.Text("DirXML-JavaModule", "com.novell.nds.dirxml.remote.driver.DriverShimImpl"),
			idm.Text("DirXML-ShimAuthPassword", "\x01\x02enc"),
			idm.Text("DirXML-ConfigValues",
				`<configuration-values><definitions><definition name="k" type="password-ref" display-name="Key"><value>door-key</value></definition></definitions></configuration-values>`),
			idm.Text("DirXML-Policies", "cn=Match,cn=Subscriber,"+driver+"#0#6", "cn=p000000,"+library+"#1#4"),
			idm.Text("DirXML-DriverCacheLimit", "0"))
		add("cn=Subscriber,"+driver, "DirXML-Subscriber")
		add("cn=Publisher,"+driver, "DirXML-Publisher")
		add("cn=Match,cn=Subscriber,"+driver, "DirXML-Rule",
			idm.Text("XmlData", matchPolicy))
		add("cn=Style,cn=Publisher,"+driver, "DirXML-StyleSheet",
			idm.Text("XmlData", "<xsl:stylesheet xmlns:xsl='http://www.w3.org/1999/XSL/Transform' version='1.0'/>"))
		add("cn=Sites,"+driver, "DirXML-GlobalConfigDef", idm.Text("DirXML-ConfigValues", "<configuration-values/>"))
		add("cn=Code,"+driver, "DirXML-Resource", idm.Text("DirXML-ContentType", "text/ecmascript"),
			idm.Text("DirXML-Data", "function f(a) { return a < 1; } // Zürich\n"))
		add("cn=Nightly,"+driver, "DirXML-Job", idm.Text("XmlData", "<job-definition/>"),
			idm.Text("DirXML-ServerList", serverA))
		add(`cn=Badge\, small,`+driver, "DirXML-Entitlement", idm.Text("XmlData", "<entitlement/>"))
	}
	for i := range policies {
		add(fmt.Sprintf("cn=p%06d,%s", i, library), "DirXML-Rule", idm.Text("XmlData", policy(i)))
	}
}

// addPolicies adds many policies to the library with OpenLDAP's own client, which takes a tenth of the time.
func addPolicies(tb testing.TB, slapd *peers.Slapd, from, to int) {
	tb.Helper()
	var text bytes.Buffer
	for i := from; i < to; i++ {
		fmt.Fprintf(&text, "dn: cn=p%06d,cn=Library,%s\nobjectClass: top\nobjectClass: DirXML-Rule\ncn: p%06d\nXmlData:: %s\n\n", i, setDN, i, base64.StdEncoding.EncodeToString([]byte(policy(i))))
	}
	out, err := slapd.Tool(tb.Context(), text.Bytes(), "ldapadd")
	require.NoError(tb, err, string(out[max(0, len(out)-500):]))
}

func policy(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<policy>\n\t<rule><description>policy %d</description>\n",
		i)
	for b.Len() < 3200+i%800 {
		fmt.Fprintf(&b, "\t\t<do-set-dest-attr-value name=\"attr%d\"><arg-value><token-text xml:space=\"preserve\">Zürich "+
			"&gt; %d</token-text></arg-value></do-set-dest-attr-value>\n",
			b.Len(), i)
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
	plan, err := to.PlanImport(ctx, source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
	require.NoError(t, err)
	require.Equal(t, m.Objects, plan.OnlyInExport)
	exists, err := to.Exists(ctx, setDN)
	require.NoError(t, err)
	require.False(t, exists, "a dry run writes nothing")

	report, err := to.Import(ctx, source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
	require.NoError(t, err)
	require.Equal(t, m.Objects, report.Created)
	require.Equal(t, int64(0), report.Changed)

	again, m2 := exported(t, to, idm.ExportOptions{Base: setDN})
	require.Equal(t, text, again)
	require.Equal(t, m.SHA256, m2.SHA256)

	drift, err := to.Verify(ctx, source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
	require.NoError(t, err)
	require.True(t, drift.Equal(), drift.String())

	report, err = to.Import(ctx, source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
	require.NoError(t, err)
	require.Zero(t, report.Created+report.Changed, "the second import writes nothing")
}

func TestOpenLDAPToolsTakeTheLDIF(t *testing.T) {
	slapdA, from := tree(t, serverA)
	populate(t, from, 5)
	text, m := exported(t, from, idm.ExportOptions{Base: setDN})

	for _, tool := range []string{"ldapadd", "ldapmodify"} {
		slapd, to := tree(t, serverA)
		out, err := slapd.Tool(t.Context(), []byte(text), tool)
		require.NoError(t, err, string(out))
		again, _ := exported(t, to, idm.ExportOptions{Base: setDN})
		require.Equal(t, text, again, tool)
		drift, err := to.Verify(t.Context(), source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
		require.NoError(t, err)
		require.True(t, drift.Equal(), drift.String())
	}

	// Ours reads what ldapsearch writes, with and without folding.
	for _, wrap := range []string{"76", "no"} {
		out, err := slapdA.Tool(t.Context(), nil, "ldapsearch", "-LLL", "-o", "ldif-wrap="+wrap, "-b", setDN, "*", "+")
		require.NoError(t, err, string(out))
		_, to := tree(t, serverA)
		report, err := to.Import(t.Context(), source(string(out), nil), idm.ImportOptions{Storage: idm.StorageWrite})
		require.NoError(t, err)
		require.Equal(t, m.Objects, report.Created)
		require.NotZero(t, report.Ignored["DirXML-ShimAuthPassword"], "what belongs to the engine is left alone and said")
		require.Contains(t, report.String(), "! left alone: DirXML-ShimAuthPassword, on 3 objects")
		again, _ := exported(t, to, idm.ExportOptions{Base: setDN})
		require.Equal(t, text, again)
	}
}

func TestOpenLDAPTenThousandPolicies(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute; not proven in short mode")
	}
	slapd, from := tree(t, serverA)
	populate(t, from, 1)
	policies, size := 10_000, 40<<20
	if raceDetector {
		policies, size = 1_000, 4<<20
	}
	addPolicies(t, slapd, 1, policies)
	text, m := exported(t, from, idm.ExportOptions{Base: setDN, TempDir: t.TempDir()})
	require.Greater(t, len(text), size)
	_, to := tree(t, serverA)
	report, err := to.Import(t.Context(), source(text, &m), idm.ImportOptions{TempDir: t.TempDir()})
	require.NoError(t, err)
	require.Equal(t, m.Objects, report.Created)
	again, _ := exported(t, to, idm.ExportOptions{Base: setDN, TempDir: t.TempDir()})
	require.True(t, text == again, "equal byte by byte")
	found, err := from.Find(t.Context(),
		idm.Query{Base: setDN, Scope: idm.ScopeSubtree, Filter: "(objectClass=DirXML-Rule)", Attributes: []string{"1.1"}})
	require.NoError(t, err)
	require.Len(t, found, policies+3)
}

func TestOpenLDAPPerServerValuesByServer(t *testing.T) {
	apart := []string{"DirXML-ShimAuthID", "DirXML-ShimAuthServer", "DirXML-ShimConfigInfo", "DirXML-ConfigValues",
		"DirXML-EngineControlValues",
		"DirXML-ShimAuthPassword", "DirXML-DriverStartOption", "DirXML-State", "DirXML-DriverStorage",
		"DirXML-JavaEnvironmentParameters", "DirXML-DriverCacheLimit"}
	slapdA, a := tree(t, serverA)
	slapdB := peers.StartSlapd(t, peers.SlapdOptions{DSAName: serverB, Tree: "HARBOR", From: slapdA, Apart: apart})
	b := connect(t, slapdB)
	populate(t, a, 3)
	ctx := t.Context()
	last := "cn=p000002,cn=Library," + setDN
	require.Eventually(t, func() bool {
		ok, err := b.Exists(ctx, last)
		return err == nil && ok
	}, waitTime, pollTime)
	driver := "cn=HR," + setDN
	require.NoError(t, b.Modify(ctx, driver,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimAuthID", "of-b")}))

	both, m := exported(t, a, idm.ExportOptions{Base: setDN, Others: []*idm.Server{b}})
	require.Equal(t, map[string]int64{serverA: 7, serverB: 1}, m.PerServer)
	unfolded := strings.ReplaceAll(both, "\n ", "")
	require.True(t, strings.Contains(unfolded, "control: 2.25.222793712540183369823214475519430927751 true: "+serverB))
	require.True(t, strings.Contains(unfolded, "control: 2.25.222793712540183369823214475519430927751 false: "+serverA))

	// A tool that does not know the mark must not write the values of b to another server.
	plain, to := tree(t, serverA)
	out, err := plain.Tool(ctx, []byte(both), "ldapmodify")
	require.Error(t, err)
	require.Contains(t, string(out), "Critical extension is unavailable (12)")
	_, err = plain.Tool(ctx, []byte(both), "ldapmodify", "-c")
	require.Error(t, err, "the refused records remain an error")
	only, _ := exported(t, a, idm.ExportOptions{Base: setDN})
	got, _ := exported(t, to, idm.ExportOptions{Base: setDN})
	require.Equal(t, only, got)

	// Verify compares each server with its own values.
	for _, s := range []*idm.Server{a, b} {
		drift, err := s.Verify(ctx, source(both, &m), idm.ImportOptions{})
		require.NoError(t, err)
		require.True(t, drift.Equal(), drift.String())
		require.Equal(t, s.DN(), drift.ValuesOf)
	}

	// The server is lost; its values go to the other one, from the export, over the objects that are there.
	onlyA, mA := exported(t, a, idm.ExportOptions{Base: setDN})
	_, err = b.PlanImport(ctx, source(onlyA, &mA), idm.ImportOptions{})
	require.ErrorIs(t, err, idm.ErrNotInExport)
	require.ErrorContains(t, err, serverA)
	plan, err := b.PlanImport(ctx, source(onlyA, &mA), idm.ImportOptions{ValuesOf: serverA})
	require.NoError(t, err)
	require.Contains(t, plan.String(), `~ `+driver+`: DirXML-ShimAuthID (per server): "of-b" → "svc-HR"`)
	report, err := b.Import(ctx, source(onlyA, &mA), idm.ImportOptions{ValuesOf: serverA})
	require.NoError(t, err)
	require.Zero(t, report.Created)
	require.Equal(t, int64(7), report.Changed)
	e, err := b.Read(ctx, driver, "DirXML-ShimAuthID", "DirXML-DriverStartOption", "DirXML-State")
	require.NoError(t, err)
	require.Equal(t, "svc-HR", e.Text("DirXML-ShimAuthID"))
	require.Empty(t, e.Text("DirXML-DriverStartOption"), "the engine's own attributes are left alone")
	needed := map[string]bool{}
	for _, n := range report.Secrets {
		require.True(t, n.Server == serverB || n.Kind == idm.SecretDriverObject && n.Server == "", n.String())
		if n.Object == driver {
			needed[n.Kind.String()+" "+n.Name] = true
		}
	}
	require.Equal(t, map[string]bool{"application password ": true, "Remote Loader password ": true,
		"driver object password ": true, "named password door-key": true, "named password smtp": true}, needed)
}

func TestOpenLDAPImportOverExistingObjects(t *testing.T) {
	_, s := tree(t, serverA)
	populate(t, s, 3)
	ctx := t.Context()
	text, m := exported(t, s, idm.ExportOptions{Base: setDN})
	driver := "cn=HR," + setDN
	policyDN := "cn=p000001,cn=Library," + setDN
	replace := func(dn, name string, values ...string) {
		t.Helper()
		require.NoError(t, s.Modify(ctx, dn,
			idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text(name, values...)}))
	}
	replace(policyDN, "XmlData", strings.Replace(policy(1), "policy 1", "policy one", 1))
	replace(driver, "DirXML-Policies", "cn=Match,cn=Subscriber,"+driver+"#0#6")
	replace(driver, "DirXML-TraceLevel", "5")
	replace(driver, "DirXML-DriverStartOption", "0")
	replace(setDN, "DirXML-ServerList", serverA)
	require.NoError(t, s.Delete(ctx, "cn=p000002,cn=Library,"+setDN))
	require.NoError(t, s.Add(ctx, "cn=new,cn=Library,"+setDN, idm.Text("objectClass", "top", "DirXML-Rule"),
		idm.Text("cn", "new")))

	plan, err := s.PlanImport(ctx, source(text, &m), idm.ImportOptions{})
	require.NoError(t, err)
	require.Contains(t, plan.String(),
		`line 3: "…rule><description>policy one</description>" → "…rule><description>policy 1</description>"`)
	require.Contains(t, plan.String(), "+ cn=p000002,cn=Library,"+setDN+" (DirXML-Rule)")
	require.Contains(t, plan.String(), "- cn=new,cn=Library,"+setDN+" (DirXML-Rule)")
	require.Contains(t, plan.String(), "- "+driver+": DirXML-TraceLevel: \"5\"")
	require.Contains(t, plan.String(), "~ "+setDN+": DirXML-ServerList: adds \""+serverB+"\"")

	report, err := s.Import(ctx, source(text, &m), idm.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(1), report.Created)
	require.Equal(t, int64(3), report.Changed)
	drift, err := s.Verify(ctx, source(text, &m), idm.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(1), drift.OnlyOnServer)
	require.Equal(t, int64(1), drift.Differing)
	require.Len(t, drift.Differences, 2, "what the export does not have stays and is told: %s", drift)
	e, err := s.Read(ctx, driver, "DirXML-DriverStartOption")
	require.NoError(t, err)
	require.Equal(t, "0", e.Text("DirXML-DriverStartOption"))
}

func TestOpenLDAPOneDriverOutOfASet(t *testing.T) {
	_, from := tree(t, serverA)
	populate(t, from, 3)
	text, m := exported(t, from, idm.ExportOptions{Base: setDN})
	driver := "cn=HR," + setDN
	ctx := t.Context()
	_, err := from.PlanImport(ctx, source(text, &m), idm.ImportOptions{Driver: "cn=Gone," + setDN})
	require.ErrorIs(t, err, idm.ErrNotInExport)

	_, to := tree(t, serverA)
	_, err = to.Import(ctx, source(text, &m), idm.ImportOptions{Driver: driver})
	require.ErrorContains(t, err, "has no parent")
	require.NoError(t, to.Add(ctx, setDN, idm.Text("objectClass", "top", "DirXML-DriverSet"),
		idm.Text("cn", "Driver Set")))
	_, err = to.Import(ctx, source(text, &m), idm.ImportOptions{Driver: driver})
	require.ErrorContains(t, err, "names cn=p000000,cn=Library,"+setDN+", which is not in the file and not to be seen in the directory")
	require.NoError(t, to.Add(ctx, "cn=Library,"+setDN, idm.Text("objectClass", "top", "DirXML-Library"),
		idm.Text("cn", "Library")))
	require.NoError(t, to.Add(ctx, "cn=p000000,cn=Library,"+setDN, idm.Text("objectClass", "top", "DirXML-Rule"),
		idm.Text("cn", "p000000")))
	report, err := to.Import(ctx, source(text, &m), idm.ImportOptions{Driver: driver})
	require.NoError(t, err)
	require.Equal(t, int64(9), report.Created)
	one, _ := exported(t, from, idm.ExportOptions{Base: driver})
	got, _ := exported(t, to, idm.ExportOptions{Base: driver})
	require.Equal(t, one, got)
}

// writes tells of each write on a connection before it is made.
type writes struct {
	net.Conn
	told func()
}

func (w writes) Write(b []byte) (int, error) {
	w.told()
	return w.Conn.Write(b)
}

func TestOpenLDAPBreakInTheMiddleAndResume(t *testing.T) {
	_, from := tree(t, serverA)
	populate(t, from, 800)
	text, m := exported(t, from, idm.ExportOptions{Base: setDN})
	slapd, _ := tree(t, serverA)
	var requests atomic.Int64
	at := func() {} // what happens at the 150th request
	to, err := idm.Dial(t.Context(),
		idm.Config{URL: slapd.URL, TLS: failover.TLS{Roots: slapd.Roots}, UserDN: slapd.RootDN, Password: slapd.Password,
			Connections: 1, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return writes{conn, func() {
					if requests.Add(1) == 150 {
						at()
					}
				}}, err
			}})
	require.NoError(t, err)
	defer func() { _ = to.Close() }()
	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		at = func() {
			if round%2 == 0 {
				slapd.Kill()
			}
			cancel()
		}
		requests.Store(0)
		_, err := to.Import(ctx, source(text, &m), idm.ImportOptions{})
		cancel()
		require.GreaterOrEqual(t, requests.Load(), int64(150), "%v", err)
		require.Error(t, err)
		require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
		require.Contains(t, failover.NextOf(err), "run the same import again")
		if round%2 == 0 {
			require.NoError(t, slapd.Start())
		}
	}
	requests.Store(150)
	report, err := to.Import(t.Context(), source(text, &m), idm.ImportOptions{})
	require.NoError(t, err)
	require.NotZero(t, report.Same)
	again, _ := exported(t, to, idm.ExportOptions{Base: setDN})
	require.Equal(t, text, again)
}

func TestOpenLDAPMissingRightWritesNothing(t *testing.T) {
	_, from := tree(t, serverA)
	populate(t, from, 3)
	text, m := exported(t, from, idm.ExportOptions{Base: setDN})
	slapd := peers.StartSlapd(t,
		peers.SlapdOptions{DSAName: serverA, Tree: "HARBOR",
			Lines: []string{"access to attrs=userPassword by anonymous auth", "access to * by * read"}})
	admin := connect(t, slapd)
	ctx := t.Context()
	require.NoError(t, admin.Add(ctx, "ou=servers,o=system", idm.Text("objectClass", "organizationalUnit"),
		idm.Text("ou", "servers")))
	for _, dn := range []string{serverA, serverB} {
		require.NoError(t, admin.Add(ctx, dn, idm.Text("objectClass", "ndsServer"), idm.Text("cn", dn[3:8])))
	}
	require.NoError(t, admin.Add(ctx, "cn=reader,o=system", idm.Text("objectClass", "person"), idm.Text("cn", "reader"),
		idm.Text("sn", "r"), idm.Text("userPassword", "reader")))
	reader, err := idm.Dial(ctx,
		idm.Config{URL: slapd.URL, TLS: failover.TLS{Roots: slapd.Roots}, UserDN: "cn=reader,o=system",
			Password: secret("reader")})
	require.NoError(t, err)
	defer reader.Close()
	_, err = reader.Import(ctx, source(text, &m), idm.ImportOptions{})
	require.ErrorIs(t, err, idm.ErrNoAccess)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.ErrorContains(t, err, "export.ldif:")
	exists, err := admin.Exists(ctx, setDN)
	require.NoError(t, err)
	require.False(t, exists)
}

func TestOpenLDAPDriverConfigurationRoundTrip(t *testing.T) {
	_, s := tree(t, serverA)
	populate(t, s, 3)
	ctx := t.Context()
	driver := "cn=HR," + setDN
	text, m := exported(t, s, idm.ExportOptions{Base: driver, Format: idm.FormatDriverConfiguration})
	require.True(t, strings.HasPrefix(text,
		`<?xml version="1.0" encoding="UTF-8"?><driver-configuration dn="`+driver+`" driver-set-dn="`+setDN+
			`" name="HR">`), text)
	require.Equal(t, int64(9), m.Objects)
	require.Empty(t, m.LeftOut["DirXML-ShimConfigInfo"])
	require.Contains(t, text, "<shim-auth-password-query/>")
	require.Contains(t, text, `<named-password-query display-name="Key" name="door-key"/>`)
	require.Contains(t, text, `<driver-start-option no-resync="true" value="2"/>`)
	whole, _ := exported(t, s, idm.ExportOptions{Base: driver})

	// Over the driver it came from nothing changes; over a damaged one everything comes back.
	src := func() idm.ExportSource {
		return idm.ExportSource{Name: "HR.xml", Content: strings.NewReader(text), Manifest: &m}
	}
	report, err := s.Import(ctx, src(), idm.ImportOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Created+report.Changed, report.String())
	require.NoError(t, s.Modify(ctx, driver,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimConfigInfo", "<broken/>")},
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-Policies")}))
	require.NoError(t, s.Delete(ctx, "cn=Match,cn=Subscriber,"+driver))
	report, err = s.Import(ctx, src(), idm.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(1), report.Created)
	require.Equal(t, int64(1), report.Changed)
	// What stands around a document is no part of it, and the format has no room for it.
	match, err := s.Read(ctx, "cn=Match,cn=Subscriber,"+driver, "XmlData")
	require.NoError(t, err)
	require.Equal(t, string(drivercfg.Core([]byte(matchPolicy))), match.Text("XmlData"))
	require.NoError(t, s.Modify(ctx, match.DN,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("XmlData", matchPolicy)}))
	after, _ := exported(t, s, idm.ExportOptions{Base: driver})
	whole = strings.Replace(whole, "PGRyaXZlci1jb25maWcgbmFtZT0iSFIiLz4NCg==", "PGRyaXZlci1jb25maWcgbmFtZT0iSFIiLz4=", 1)
	require.Equal(t, whole, strings.ReplaceAll(after, "objectClass: Top", "objectClass: top"))
	names := map[string]bool{}
	for _, n := range report.Secrets {
		names[n.Kind.String()+" "+n.Name] = true
		require.Equal(t, driver, n.Object)
	}
	require.Equal(t, map[string]bool{"application password ": true, "Remote Loader password ": true,
		"driver object password ": true, "named password door-key": true, "named password smtp": true}, names)

	// As a new driver under another name: links inside the driver follow it.
	copied := "cn=HR copy," + setDN
	report, err = s.Import(ctx, idm.ExportSource{Name: "HR.xml", Content: strings.NewReader(text)},
		idm.ImportOptions{Driver: copied, JobServers: []string{serverB}})
	require.NoError(t, err)
	require.Equal(t, int64(9), report.Created)
	e, err := s.Read(ctx, copied, "DirXML-Policies", "DirXML-DriverStartOption")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"cn=Match,cn=Subscriber," + copied + "#0#6",
		"cn=p000000,cn=Library," + setDN + "#1#4"}, e.Texts("DirXML-Policies"))
	require.Empty(t, e.Text("DirXML-DriverStartOption"))
	job, err := s.Read(ctx, "cn=Nightly,"+copied, "DirXML-ServerList")
	require.NoError(t, err)
	require.Equal(t, []string{serverB}, job.Texts("DirXML-ServerList"))
	a, err := s.Read(ctx, "cn=Match,cn=Subscriber,"+driver, "XmlData")
	require.NoError(t, err)
	b, err := s.Read(ctx, "cn=Match,cn=Subscriber,"+copied, "XmlData")
	require.NoError(t, err)
	require.Equal(t, drivercfg.Core(a.Value("XmlData")), b.Value("XmlData"),
		"the bytes of a policy are those of the directory it came from")

	_, err = s.Export(ctx, io.Discard, idm.ExportOptions{Base: setDN, Format: idm.FormatDriverConfiguration})
	require.Error(t, err)
	_, err = s.Export(ctx, io.Discard, idm.ExportOptions{Base: "cn=Gone," + setDN})
	require.ErrorIs(t, err, idm.ErrNoEntry)
}

// What Designer and iManager write, in the shape of published exports.
func TestOpenLDAPImportsADesignerExport(t *testing.T) {
	_, s := tree(t, serverA)
	populate(t, s, 1)
	ctx := t.Context()
	data, err := os.ReadFile("../internal/drivercfg/testdata/badge-office.xml")
	require.NoError(t, err)
	driver := "cn=Badge Office," + setDN
	require.NoError(t, s.Add(ctx, "cn=Common,cn=Library,"+setDN, idm.Text("objectClass", "top", "DirXML-Rule"),
		idm.Text("cn", "Common")))
	require.NoError(t, s.Add(ctx, driver, idm.Text("objectClass", "top", "DirXML-Driver"), idm.Text("cn", "Badge Office"),
		idm.Text("DirXML-DriverStartOption", "0"), idm.Text("DirXML-TraceLevel", "0")))
	options := idm.ImportOptions{Driver: driver}
	src := func() idm.ExportSource {
		return idm.ExportSource{Name: "badge-office.xml", Content: bytes.NewReader(data)}
	}
	plan, err := s.PlanImport(ctx, src(), options)
	require.NoError(t, err)
	require.Contains(t, plan.String(), `~ `+driver+`: DirXML-TraceLevel: "0" → "3"`)
	report, err := s.Import(ctx, src(), options)
	require.NoError(t, err)
	require.Equal(t, int64(10), report.Created)
	require.Equal(t, int64(1), report.Changed)
	e, err := s.Read(ctx, driver, "DirXML-DriverStartOption", "DirXML-ShimAuthServer")
	require.NoError(t, err)
	require.Equal(t, "0", e.Text("DirXML-DriverStartOption"), "belongs to the engine")
	require.Equal(t, "REMOTE(hostname=badge.harbor.example port=8090)", e.Text("DirXML-ShimAuthServer"))
	var missing []string
	for _, n := range report.Secrets {
		missing = append(missing, n.Kind.String()+" "+n.Name)
		if n.Kind != idm.SecretRemoteLoader { // which the file has no placeholder for
			require.Contains(t, n.Because, "badge-office.xml:")
		}
	}
	require.Subset(t, missing,
		[]string{"application password ", "driver object password ", "named password door-key", "named password smtp"})
	drift, err := s.Verify(ctx, src(), idm.ImportOptions{Driver: driver})
	require.NoError(t, err)
	require.True(t, drift.Equal(), drift.String())
}

func TestOpenLDAPBadExportsWriteNothing(t *testing.T) {
	_, from := tree(t, serverA)
	populate(t, from, 3)
	text, m := exported(t, from, idm.ExportOptions{Base: setDN})
	_, to := tree(t, serverA)
	ctx := t.Context()
	other, old, ahead := m, m, m
	other.Tree = "ELSEWHERE"
	ahead.Time = time.Now().Add(48 * time.Hour)
	old.Time = time.Now().Add(-48 * time.Hour)
	sum := func(text string) *idm.Manifest {
		cut := m
		cut.Size, cut.SHA256 = int64(len(text)), fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		return &cut
	}
	broken := strings.Replace(text, "IC92YXIv", "IC92Y?Iv", 1)
	lost := strings.Replace(text, "cn=p000000,cn=Library,"+setDN+"#1#4", "cn=p999999,cn=Library,"+setDN+"#1#4", 1)
	tests := []struct {
		name    string
		src     idm.ExportSource
		options idm.ImportOptions
		is      error
		text    string
	}{
		{"truncated", source(text[:len(text)/2], &m), idm.ImportOptions{}, failover.ErrInvalid, "export.ldif:"},
		{"truncated between records", source(text[:strings.LastIndex(text, "\n\ndn:")+2], &m), idm.ImportOptions{},
			failover.ErrInvalid, "cut off"},
		{"base64", source(broken, sum(broken)), idm.ImportOptions{}, failover.ErrInvalid, "DirXML-JavaTraceFile: bad base64"},
		{"reference to nothing", source(lost, sum(lost)), idm.ImportOptions{}, failover.ErrInvalid,
			"DirXML-Policies: names cn=p999999"},
		{"other tree", source(text, &other), idm.ImportOptions{}, idm.ErrOtherTree, "ELSEWHERE"},
		{"too old", source(text, &old), idm.ImportOptions{MaxAge: 24 * time.Hour}, idm.ErrExportTooOld, "48h"},
		{"from the future", source(text, &ahead), idm.ImportOptions{MaxAge: 24 * time.Hour}, idm.ErrExportTooOld,
			"lies in the future"},
		{"age unknown", source(text, nil), idm.ImportOptions{MaxAge: 24 * time.Hour}, idm.ErrExportTooOld, "no manifest"},
		{"missing driver", source(text, &m), idm.ImportOptions{Driver: "cn=Gone," + setDN}, idm.ErrNotInExport, "cn=Gone"},
		{"values of an unknown server", source(text, &m), idm.ImportOptions{ValuesOf: "cn=srv-z,o=system"},
			idm.ErrNotInExport, "cn=srv-z"},
		{"bad driver", source(text, &m), idm.ImportOptions{Driver: "nonsense"}, failover.ErrInvalid, "ImportOptions.Driver"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := to.Import(ctx, tt.src, tt.options)
			require.ErrorIs(t, err, tt.is)
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.NotEmpty(t, failover.NextOf(err))
			exists, err := to.Exists(ctx, setDN)
			require.NoError(t, err)
			require.False(t, exists)
		})
	}
}

func TestOpenLDAPSaveExport(t *testing.T) {
	_, s := tree(t, serverA)
	populate(t, s, 3)
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "set.ldif")
	m, err := s.SaveExport(ctx, path, idm.ExportOptions{Base: setDN})
	require.NoError(t, err)
	check := idm.CheckExport(path, time.Now(), time.Hour)
	require.True(t, check.Good(), check.String())
	require.Equal(t, m, check.Manifest)
	src, closer, err := idm.OpenExport(path)
	require.NoError(t, err)
	drift, err := s.Verify(ctx, src, idm.ImportOptions{MaxAge: time.Hour})
	require.NoError(t, err)
	require.True(t, drift.Equal(), drift.String())
	require.NoError(t, closer.Close())

	// A failed export leaves the one that was there.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.SaveExport(gone, path, idm.ExportOptions{Base: setDN})
	require.Error(t, err)
	require.True(t, idm.CheckExport(path, time.Now(), time.Hour).Good())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing unfinished stays behind")
	_, _, err = idm.OpenExport(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestOpenLDAPKeepsTheRulesOfTheLock(t *testing.T) {
	slapd, server := tree(t, serverA)
	require.NoError(t, server.Add(t.Context(), setDN, idm.Text("objectClass", "top", "DirXML-DriverSet"),
		idm.Text("cn", "Driver Set")))
	failovertest.TestLock(t, func(tb testing.TB) failover.Lock {
		return idm.DirectoryLock{Server: connect(tb, slapd), Entry: setDN}
	})
}
