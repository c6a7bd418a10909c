package idm_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// Against the simulator, which is as strict as eDirectory about references, engine-owned attributes and rights.

func openAs(t *testing.T, tree *idmtest.Tree, server, user string) *idm.Server {
	t.Helper()
	s, err := idm.Dial(t.Context(),
		asAdmin(tree, server, func(c *idm.Config) { c.UserDN, c.Password = user, secret("test") }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestTreeExportComesBackInAnEmptyTree(t *testing.T) {
	full := idmtest.Start(t, idmtest.Config{Drivers: 12, Policies: 10})
	one := open(t, full, "srv1")
	text, m := exported(t, one, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.Equal(t, int64(12), m.Classes["DirXML-Driver"])
	require.NotEmpty(t, m.EngineVersion)
	require.Equal(t, one.DN(), m.Server)
	require.Equal(t, "IDMTEST", m.Tree)
	require.NotEmpty(t, m.Secrets)
	for _, d := range m.Drivers {
		require.Equal(t, "auto", d.StartOption)
	}
	for _, class := range []string{"DirXML-DriverSet", "DirXML-Publisher", "DirXML-Subscriber", "DirXML-Rule",
		"DirXML-StyleSheet", "DirXML-Library",
		"DirXML-Resource", "DirXML-GlobalConfigDef", "DirXML-Job", "DirXML-Entitlement"} {
		require.NotZero(t, m.Classes[class], class)
	}

	empty := idmtest.Start(t, idmtest.Config{WithoutSet: true})
	to := open(t, empty, "srv1")
	_, err := to.PlanImport(t.Context(), source(text, &m), idm.ImportOptions{})
	require.NoError(t, err)
	require.False(t, empty.Exists(idmtest.DriverSetDN))
	report, err := to.Import(t.Context(), source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
	require.NoError(t, err)
	require.Equal(t, m.Objects, report.Created)
	require.True(t, report.RightsVerified)
	again, _ := exported(t, to, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.Equal(t, text, again)
	for _, driver := range empty.Drivers() {
		require.Empty(t, empty.Active(driver), "an import starts nothing")
	}
}

func TestTreeImportOnTheOtherServer(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one, two := open(t, tree, "srv1"), open(t, tree, "srv2")
	text, m := exported(t, one, idm.ExportOptions{Base: idmtest.DriverSetDN})
	driver := idmtest.DriverDN(0)
	require.NotEqual(t, tree.Get("srv1", driver, "DirXML-ShimConfigInfo"),
		tree.Get("srv2", driver, "DirXML-ShimConfigInfo"))
	drift, err := two.Verify(t.Context(), source(text, &m), idm.ImportOptions{ValuesOf: one.DN()})
	require.NoError(t, err)
	require.False(t, drift.Equal())
	before := tree.Get("srv1", driver, "DirXML-ShimConfigInfo")
	report, err := two.Import(t.Context(), source(text, &m), idm.ImportOptions{ValuesOf: one.DN()})
	require.NoError(t, err)
	require.Zero(t, report.Created)
	require.Equal(t, before, tree.Get("srv2", driver, "DirXML-ShimConfigInfo"))
	require.Equal(t, before, tree.Get("srv1", driver, "DirXML-ShimConfigInfo"))
	require.Empty(t, tree.Get("srv2", driver, "DirXML-DriverStorage"), "the shim's own state only on request")
	for _, s := range tree.Drivers() {
		require.Equal(t, []string{"srv1"}, tree.Active(s))
	}
	drift, err = two.Verify(t.Context(), source(text, &m), idm.ImportOptions{ValuesOf: one.DN()})
	require.NoError(t, err)
	require.True(t, drift.Equal(), drift.String())
}

func TestTreeMissingRightIsFoundBeforeTheFirstWrite(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	require.NoError(t, tree.AddUser("cn=reader,o=system", "test"))
	require.NoError(t, tree.AddUser("cn=writer,o=system", "test",
		idmtest.Grant{On: idmtest.DriverSetDN, Rights: 4, Attribute: "XmlData"}))
	one := open(t, tree, "srv1")
	text, m := exported(t, one, idm.ExportOptions{Base: idmtest.DriverSetDN})
	policy := "cn=Policy001,cn=Subscriber," + idmtest.DriverDN(0)
	require.NoError(t, one.Modify(t.Context(), policy,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("XmlData", "<policy><changed/></policy>")}))
	_, err := openAs(t, tree, "srv1", "cn=reader,o=system").Import(t.Context(), source(text, &m), idm.ImportOptions{})
	require.ErrorIs(t, err, idm.ErrNoAccess)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.ErrorContains(t, err, "cn=reader,o=system may not write XmlData")
	require.Equal(t, []string{"<policy><changed/></policy>"}, tree.Get("srv1", policy, "XmlData"))
	report, err := openAs(t, tree, "srv1", "cn=writer,o=system").Import(t.Context(), source(text, &m), idm.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(1), report.Changed)

	require.NoError(t, one.Delete(t.Context(), policy))
	_, err = openAs(t, tree, "srv1", "cn=writer,o=system").Import(t.Context(), source(text, &m), idm.ImportOptions{})
	require.ErrorIs(t, err, idm.ErrNoAccess)
	require.ErrorContains(t, err, "create objects below")
}

// A file that has its new content and not its manifest is not an export that was not taken.
func TestAnExportWhoseManifestCannotBePutDownIsInDoubt(t *testing.T) {
	tree := idmtest.Start(t, pair())
	path := filepath.Join(t.TempDir(), "drivers.ldif")
	require.NoError(t, os.MkdirAll(filepath.Join(path+".manifest.json", "in-the-way"), 0o700))
	_, err := open(t, tree, "srv1").SaveExport(t.Context(), path, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	require.FileExists(t, path)
	require.False(t, idm.CheckExport(path, time.Now(), time.Hour).Good())
}

// A server that does not tell rights in a known form keeps no import from its first write, which then tells.
func TestTreeRightsThatAreNotToldKeepNoImport(t *testing.T) {
	tree := idmtest.Start(t, pair())
	one := open(t, tree, "srv1")
	text, m := exported(t, one, idm.ExportOptions{Base: idmtest.DriverDN(0)})
	policy := "cn=SchemaMap," + idmtest.DriverDN(0)
	require.NoError(t, one.Modify(t.Context(), policy,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("XmlData", "<attr-name-map><x/></attr-name-map>")}))
	tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Times: -1, Code: 2, Text: "unrecognized extended operation",
		If: func(r idmtest.Request) bool { return strings.HasSuffix(r.OID, ".27.100.33") }})
	report, err := one.Import(t.Context(), source(text, &m), idm.ImportOptions{})
	require.NoError(t, err)
	require.False(t, report.RightsVerified)
	require.Equal(t, int64(1), report.Changed)
}

// The class of an entry does not change: a policy that became a style sheet cannot be imported over the old one, which
// is seen before the first write.
func TestTreeAnObjectOfAnotherClassIsRefused(t *testing.T) {
	tree := idmtest.Start(t, pair())
	one, driver := open(t, tree, "srv1"), idmtest.DriverDN(0)
	text, m := exported(t, one, idm.ExportOptions{Base: driver})
	sheet := "cn=InputTransform," + driver
	require.NoError(t, one.Modify(t.Context(), driver,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Attribute{Name: "DirXML-Policies"}}))
	require.NoError(t, one.Delete(t.Context(), sheet))
	require.NoError(t, one.Add(t.Context(), sheet, idm.Text("objectClass", "Top", "DirXML-Rule"),
		idm.Text("cn", "InputTransform"), idm.Text("XmlData", "<policy/>")))
	require.ErrorIs(t, one.Modify(t.Context(), sheet,
		idm.AttributeChange{Kind: idm.ChangeAdd, Attribute: idm.Text("objectClass", "DirXML-StyleSheet")}), idm.ErrSchema)
	tree.ForgetRequests()
	_, err := one.Import(t.Context(), source(text, &m), idm.ImportOptions{})
	require.ErrorIs(t, err, failover.ErrInvalid)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.ErrorContains(t, err, sheet+" is a DirXML-Rule in the directory and a DirXML-StyleSheet in the file")
	require.Empty(t, tree.Asked(movesSomething))
}

func TestTreeDriverConfigurations(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one := open(t, tree, "srv1")
	driver := idmtest.DriverDN(1)
	text, m := exported(t, one, idm.ExportOptions{Base: driver, Format: idm.FormatDriverConfiguration})
	src := func() idm.ExportSource {
		return idm.ExportSource{Name: "driver.xml", Content: strings.NewReader(text), Manifest: &m}
	}
	drift, err := one.Verify(t.Context(), src(), idm.ImportOptions{})
	require.NoError(t, err)
	require.True(t, drift.Equal(), drift.String())
	// Our own file has every object; that of another tool does not say so.
	newer := "cn=Newer," + driver
	require.NoError(t, one.Add(t.Context(), newer, idm.Text("objectClass", "Top", "DirXML-Rule"), idm.Text("cn", "Newer"),
		idm.Text("XmlData", "<policy/>")))
	drift, err = one.Verify(t.Context(), src(), idm.ImportOptions{})
	require.NoError(t, err)
	require.False(t, drift.Equal())
	require.Contains(t, drift.String(), "- "+newer+" (DirXML-Rule)")
	drift, err = one.Verify(t.Context(), idm.ExportSource{Content: strings.NewReader(text)}, idm.ImportOptions{})
	require.NoError(t, err)
	require.True(t, drift.Equal())
	require.Contains(t, drift.String(), "1 objects below "+driver+" on the server are not in the file")
	require.NoError(t, one.Delete(t.Context(), newer))

	two := open(t, tree, "srv2")
	report, err := two.Import(t.Context(), src(), idm.ImportOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Created)
	require.Equal(t, tree.Get("srv1", driver, "DirXML-ShimConfigInfo"), tree.Get("srv2", driver, "DirXML-ShimConfigInfo"))
	job := "cn=Check," + driver
	require.Equal(t, []string{one.DN()}, tree.Get("srv1", job, "DirXML-ServerList"),
		"a job that is there runs where it ran: on two servers it would run twice")
	require.NoError(t, one.Delete(t.Context(), job))
	_, err = two.Import(t.Context(), src(), idm.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{two.DN()}, tree.Get("srv1", job, "DirXML-ServerList"),
		"a new job needs a server, and the file names none")
	drift, err = one.Verify(t.Context(), src(), idm.ImportOptions{})
	require.NoError(t, err)
	require.True(t, drift.Equal(), "the file says nothing of servers: %s", drift)
	require.NotEmpty(t, report.Secrets)
	for _, need := range report.Secrets {
		require.True(t, need.Server == two.DN() || need.Kind == idm.SecretDriverObject, need.String())
	}
	_, err = one.Export(t.Context(), io.Discard, idm.ExportOptions{Base: idmtest.DriverDN(77)})
	require.ErrorIs(t, err, idm.ErrNoEntry)
}

// Every fault at several writes: the import ends well or says that it is in doubt, and the same import again ends well.
func TestTreeImportSurvivesEveryFault(t *testing.T) {
	full := idmtest.Start(t, idmtest.Config{Drivers: 2})
	text, m := exported(t, open(t, full, "srv1"), idm.ExportOptions{Base: idmtest.DriverSetDN})
	for _, kind := range idmtest.FaultKinds() {
		for _, op := range []idmtest.Operation{idmtest.OperationAdd, idmtest.OperationModify} {
			for _, skip := range []int{int(kind) % 2 * 5} { // the first write, or one in the middle
				t.Run(fmt.Sprintf("%s/%s/%d", kind, op, skip), func(t *testing.T) {
					t.Parallel()
					tree := idmtest.Start(t, idmtest.Config{WithoutSet: true})
					limit := time.Minute
					if kind == idmtest.FaultMuteRequest || kind == idmtest.FaultMuteReply || kind == idmtest.FaultWrongMessageID {
						limit = 2 * time.Second
					}
					to := open(t, tree, "srv1", callTimeout(limit))
					fault := tree.Inject(idmtest.Injection{Kind: kind, Op: op, Skip: skip, Delay: time.Millisecond})
					_, err := to.Import(t.Context(), source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
					require.Equal(t, 1, fault.Hits())
					if err != nil {
						want := failover.InDoubt
						if skip == 0 && op == idmtest.OperationAdd && (kind == idmtest.FaultRefusal || kind == idmtest.FaultKillRequest) {
							want = failover.OutcomeOf(err) // nothing may have been written yet
						}
						require.Equal(t, want, failover.OutcomeOf(err), err)
						require.NotEmpty(t, failover.NextOf(err))
					}
					for _, s := range tree.Servers() {
						if !s.Up() {
							require.NoError(t, s.Start())
						}
					}
					to = open(t, tree, "srv1")
					_, err = to.Import(t.Context(), source(text, &m), idm.ImportOptions{Storage: idm.StorageWrite})
					require.NoError(t, err)
					again, _ := exported(t, to, idm.ExportOptions{Base: idmtest.DriverSetDN})
					require.Equal(t, text, again)
				})
			}
		}
	}
}
