package idm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

func readText(t *testing.T, text string, m *Manifest, o readOptions) (*incoming, error) {
	t.Helper()
	o.roles = fallbackRoles()
	o.tempDir = t.TempDir()
	in, err := readSource(t.Context(), ExportSource{Name: "file", Content: strings.NewReader(text), Manifest: m}, o)
	if in != nil {
		t.Cleanup(in.close)
	}
	return in, err
}

const (
	ldifSet    = "dn: cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-DriverSet\ncn: ds\n\n"
	ldifDriver = "dn: cn=d,cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-Driver\ncn: d\n\n"
	ldifRule   = "dn: cn=r,cn=d,cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-Rule\ncn: r\n\n"
	markOfA    = "control: " + perServerMark + " false: cn=a,o=x\n"
)

func configuration(inside string) string {
	return "<driver-configuration dn=\"cn=d,cn=ds,o=x\" driver-set-dn=\"cn=ds,o=x\" name=\"d\">\n" + inside +
		"\n</driver-configuration>"
}

func TestBadFilesAreRefusedWithFileLineFieldAndReason(t *testing.T) {
	big := strings.Repeat("QUJD", 100<<20/3)
	tests := []struct {
		name, text string
		line       int
		field      string
		reason     string
	}{
		{"empty", "", 0, "", "holds no object"},
		{"duplicate object", ldifSet + ldifDriver + ldifRule + strings.ToUpper(ldifDriver[:4]) + ldifDriver[4:], 16, "dn",
			"was created in line 6 already"},
		{"duplicate object in other writing",
			ldifSet + ldifDriver + "dn: CN=D , cn=DS,o=X\nchangetype: add\nobjectClass: DirXML-Driver\n\n", 11, "dn",
			"was created in line 6 already"},
		{"outside of the base", ldifDriver + ldifSet + "dn: cn=e,cn=other,o=x\nchangetype: add\nobjectClass: DirXML-Driver\n",
			11, "dn", "lies outside of cn=ds,o=x"},
		{"wrong dn", ldifSet + "dn: cn=d,,o=x\nchangetype: add\nobjectClass: top\n", 6, "dn", "not a distinguished name"},
		{"no class", "dn: cn=ds,o=x\nchangetype: add\ncn: ds\n", 1, "objectClass", "is missing"},
		{"value twice", "dn: cn=ds,o=x\nchangetype: add\nobjectClass: top\nDirXML-JavaTraceFile: a\nDirXML-JavaTraceFile: a\n", 4, "DirXML-JavaTraceFile", "same value twice"},
		{"no number", ldifSet + "dn: cn=d,cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-Driver\nDirXML-TraceLevel: high\n",
			9, "DirXML-TraceLevel", `must be a number, and is "high"`},
		{"two values of one", ldifSet +
			"dn: cn=d,cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-Driver\nDirXML-TraceLevel: 1\nDirXML-TraceLevel: 2\n", 9,
			"DirXML-TraceLevel", "has 2 values and may have one"},
		{"no number in xml", configuration("<attributes><trace-level value=\"high\"/></attributes>"), 2, "DirXML-TraceLevel",
			"must be a number"},
		{"a whole set in xml", "<driver-set-configuration dn=\"cn=ds,o=x\" name=\"ds\"/>", 1, "<driver-set-configuration>",
			"export each driver by itself"},
		{"a part in xml", "<driver-configuration dn=\"cn=lib,cn=ds,o=x\" name=\"Tools\"/>", 1, "<driver-configuration>",
			"a part and no whole driver"},
		{"delete", ldifSet + "dn: cn=d,cn=ds,o=x\nchangetype: delete\n", 6, "changetype", "neither deletes nor renames"},
		{"rename", ldifSet + "dn: cn=d,cn=ds,o=x\nchangetype: modrdn\nnewrdn: cn=e\ndeleteoldrdn: 1\n", 6, "changetype",
			"neither deletes nor renames"},
		{"delete of values", ldifSet + "dn: cn=ds,o=x\nchangetype: modify\ndelete: description\n-\n", 8, "description",
			"deletes no values"},
		{"change of content", ldifSet + "dn: cn=ds,o=x\nchangetype: modify\nreplace: description\ndescription: a\n-\n", 8,
			"description", "only references"},
		{"values of nobody", ldifSet + "dn: cn=ds,o=x\nchangetype: modify\nreplace: " +
			"DirXML-ConfigValues\nDirXML-ConfigValues: <a/>\n-\n",
			8, "DirXML-ConfigValues", "nothing says of which server"},
		{"replicated among per-server",
			ldifSet + "dn: cn=ds,o=x\n" + markOfA + "changetype: modify\nreplace: description\ndescription: a\n-\n", 9,
			"description", "no per-server attribute"},
		{"mark without server", ldifSet + "dn: cn=ds,o=x\ncontrol: " + perServerMark + " true: nobody\nchangetype: " +
			"modify\nreplace: DirXML-ConfigValues\nDirXML-ConfigValues: <a/>\n-\n",
			6, "control", "no DN of a server"},
		{"foreign control", ldifSet + "dn: cn=ds,o=x\ncontrol: 1.2.3 true\nchangetype: modify\nreplace: " +
			"DirXML-ConfigValues\nDirXML-ConfigValues: <a/>\n-\n",
			6, "control", "no export has"},
		{"changes of what is not created",
			ldifSet + "dn: cn=d,cn=ds,o=x\n" + markOfA + "changetype: modify\nreplace: " +
				"DirXML-ConfigValues\nDirXML-ConfigValues: <a/>\n-\n",
			6, "dn", "never created"},
		{"policy link without set",
			ldifSet + "dn: cn=ds,o=x\nchangetype: modify\nreplace: DirXML-Policies\nDirXML-Policies: cn=r,cn=ds,o=x\n-\n", 8,
			"DirXML-Policies", "does not name an object"},
		{"policy link to nonsense",
			ldifSet + "dn: cn=ds,o=x\nchangetype: modify\nreplace: DirXML-Policies\nDirXML-Policies: nonsense#0#1\n-\n", 8,
			"DirXML-Policies", "no distinguished name"},
		{"server list of nonsense", "dn: cn=ds,o=x\nobjectClass: DirXML-DriverSet\nDirXML-ServerList: nonsense\n", 3,
			"DirXML-ServerList", "no distinguished name"},
		{"100 MB value", ldifSet + "dn: cn=r,cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-Rule\nXmlData:: " + big + "\n",
			9, "XmlData", "longer than the limit"},
		{"endless tag in xml", configuration("<children><rule name=\"r\"><policy " + strings.Repeat("<", 1000)), 2, "<rule>",
			"not well-formed"},
		{"entity bomb", "<?xml version=\"1.0\"?>\n<!DOCTYPE d [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\n" +
			configuration("&b;"), 2, "<!DOCTYPE", "refused"},
		{"cut ldif", ldifSet[:len(ldifSet)-5], 4, "cn", "cut off"},
		{"cut xml", configuration("<children><rule name=\"r\"><policy/></rule></children>")[:110], 2, "<rule>", "cut off"},
		{"duplicate in xml", configuration("<children><rule name=\"r\"/><publisher name=\"p\"/>\n<style-sheet " +
			"name=\"R\"/></children>"), 3, "dn", "was created in line 2 already"},
		{"naming in xml", configuration("<children><jobs><ds-object ds-object-class=\"DirXML-Job\" " +
			"ds-object-name=\"j\"><ds-attributes>\n<ds-attribute " +
			"ds-attr-name=\"CN\"><ds-value>k</ds-value></ds-attribute></ds-attributes></ds-object></jobs></children>"), 3, "CN",
			"cannot stand in it"},
		{"link in xml", configuration("<attributes><policy-linkage><linkage-item dn=\"nonsense\" order=\"0\" " +
			"policy-set=\"1\"/></policy-linkage></attributes>"), 2, "DirXML-Policies", "no distinguished name"},
		{"xml of nobody", "<driver-configuration name=\"d\"></driver-configuration>", 1, "<driver-configuration>",
			"name it in ImportOptions.Driver"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readText(t, tt.text, nil, readOptions{})
			bad, ok := errors.AsType[*InputError](err)
			require.True(t, ok, "%v", err)
			require.Contains(t, bad.Reason, tt.reason)
			require.Equal(t, "file", bad.File)
			require.Equal(t, tt.line, bad.Line, bad.Reason)
			require.Equal(t, tt.field, bad.Field)
			require.ErrorIs(t, err, failover.ErrInvalid)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.NotEmpty(t, failover.NextOf(err))
		})
	}
}

func TestHundredMegabytesInXML(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long under the race detector; not proven in short mode")
	}
	_, err := readText(t, configuration("<children><rule name=\"r\"><policy>"+strings.Repeat("text", 25<<20)+
		"</policy></rule></children>"), nil, readOptions{})
	require.ErrorContains(t, err, "file:2: <policy>: value or tag longer than the limit of 16777216 bytes")
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
}

func TestBase64ErrorFarDown(t *testing.T) {
	var b strings.Builder
	b.WriteString(ldifSet)
	line := 6
	for i := 0; line+4 < 40_000; i++ {
		fmt.Fprintf(&b, "dn: cn=r%d,cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-Rule\nXmlData:: PGEvPg==\n\n", i)
		line += 5
	}
	b.WriteString("dn: cn=last,cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-Rule\nXmlData:: PG?vPg==\n\n")
	require.Equal(t, 39_996, line)
	_, err := readText(t, b.String(), nil, readOptions{})
	require.ErrorContains(t, err, "file:39999: XmlData: bad base64")
}

func manifestOf(text string, objects int64) *Manifest {
	got := newMeter()
	_, _ = io.WriteString(got, text)
	return &Manifest{Version: 1, Format: FormatLDIF, Base: "cn=ds,o=x", Server: "cn=a,o=x", Time: time.Now(), Size: got.n,
		SHA256: got.hex(), Objects: objects}
}

func TestManifestAndFileMustAgree(t *testing.T) {
	text := ldifSet + ldifDriver + ldifRule
	in, err := readText(t, text, manifestOf(text, 3), readOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(3), in.count)

	_, err = readText(t, ldifSet+ldifDriver, manifestOf(text, 3), readOptions{})
	require.ErrorContains(t, err, "it was cut off")
	_, err = readText(t, strings.Replace(text, "cn: r", "cn: R", 1), manifestOf(text, 3), readOptions{})
	require.ErrorContains(t, err, "was altered")
	_, err = readText(t, text+"# more\n", manifestOf(text, 3), readOptions{})
	require.ErrorContains(t, err, "bytes where the manifest says")
	_, err = readText(t, text, manifestOf(text, 4), readOptions{})
	require.ErrorContains(t, err, "holds 3 objects where the manifest says 4")
	m := manifestOf(text, 3)
	m.Format = FormatDriverConfiguration
	_, err = readText(t, text, m, readOptions{})
	require.ErrorContains(t, err, "is no driver-configuration")
	m = manifestOf(text, 3)
	m.Base = "cn=other,o=x"
	_, err = readText(t, text, m, readOptions{})
	require.ErrorContains(t, err, "lies outside of cn=other,o=x")
}

func TestCancelledReading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := readSource(ctx, ExportSource{Name: "f", Content: strings.NewReader(ldifSet)},
		readOptions{roles: fallbackRoles()})
	require.ErrorIs(t, err, context.Canceled)
	_, err = readSource(t.Context(), ExportSource{Name: "f"}, readOptions{})
	require.ErrorIs(t, err, failover.ErrInvalid)
}

func TestDriverConfigurationIsMovedToItsDriver(t *testing.T) {
	text := configuration(`<attributes>
<policy-linkage><linkage-item dn="cn=r,cn=Sub\, scriber,cn=d,cn=ds,o=x" order="0" policy-set="6"/><linkage-item dn="cn=c,cn=lib,CN=DS,o=x" order="1" policy-set="3"/><linkage-item dn="cn=far,o=elsewhere" order="2" policy-set="3"/></policy-linkage>
<shim-auth-id value="svc"/><shim-auth-password-query/><driver-password-query/><driver-start-option value="2"/>
<named-password-query name="smtp" display-name="Mail"/><surprise-query/>
</attributes><children>
<subscriber name="Sub, scriber"><attributes/><children><rule name="r"><policy/></rule></children></subscriber>
<jobs><ds-object ds-object-class="DirXML-Job" ds-object-name="j"><ds-attributes/><job-servers-query/></ds-object></jobs>
</children>`)
	in, err := readText(t, text, nil, readOptions{target: "cn=New,cn=Set,ou=idm,o=y", jobServers: []string{"cn=srv,o=y"}})
	require.NoError(t, err)
	require.True(t, in.partial)
	require.Equal(t, []string{""}, in.servers)
	require.Equal(t, map[string]int64{"DirXML-DriverStartOption": 1}, in.ignored)
	require.Len(t, in.skipped, 2, in.skipped)
	require.Contains(t, in.skipped[0], "surprise-query")
	require.Contains(t, in.skipped[1], "job-servers-query")
	needs := in.secrets.sorted()
	for i, line := range []string{"file:4: ", "file:4: ", "file:5: "} {
		require.Equal(t, "cn=New,cn=Set,ou=idm,o=y", needs[i].Object)
		require.Contains(t, needs[i].Because, line, "each placeholder names its line")
	}
	require.Equal(t, []SecretKind{SecretApplication, SecretDriverObject, SecretNamed},
		[]SecretKind{needs[0].Kind, needs[1].Kind, needs[2].Kind})
	require.Equal(t, "smtp", needs[2].Name)
	require.Len(t, in.secrets.list, 3)

	got := map[string]*object{}
	w, err := in.objects.walk(nil)
	require.NoError(t, err)
	for {
		o, _, err := w.take()
		require.NoError(t, err)
		if o == nil {
			break
		}
		got[o.dn] = o
	}
	driver := got["cn=New,cn=Set,ou=idm,o=y"]
	require.NotNil(t, driver)
	require.Equal(t, []string{"cn=c,cn=lib,cn=Set,ou=idm,o=y#1#3", "cn=far,o=elsewhere#2#3",
		`cn=r,cn=Sub\, scriber,cn=New,cn=Set,ou=idm,o=y#0#6`}, Entry{Attributes: driver.refs}.Texts("DirXML-Policies"))
	require.Equal(t, "svc", string(first(driver.valuesOf(""), "DirXML-ShimAuthID")))
	rule := got[`cn=r,cn=Sub\, scriber,cn=New,cn=Set,ou=idm,o=y`]
	require.NotNil(t, rule, got)
	require.Equal(t, "<policy/>", string(first(rule.plain, "XmlData")))
	require.Equal(t, "cn=srv,o=y", string(first(got["cn=j,cn=New,cn=Set,ou=idm,o=y"].plain, "DirXML-ServerList")))
}

func TestValuesOfZeroBytesAreNotSet(t *testing.T) {
	for _, text := range []string{
		"dn: cn=ds,o=x\nchangetype: add\nobjectClass: DirXML-DriverSet\nDirXML-JavaTraceFile:\nDirXML-DriverTraceLevel:: \n",
		"dn: cn=ds,o=x\nobjectClass: DirXML-DriverSet\nDirXML-ConfigValues:\nDirXML-ServerList:\n",
		"dn: cn=ds,o=x\nobjectClass: DirXML-DriverSet\n\n",
		"\ufeffdn: cn=ds,o=x\nobjectClass: DirXML-DriverSet\n", // an editor's mark in front
	} {
		in, err := readText(t, text, nil, readOptions{})
		require.NoError(t, err)
		w, err := in.objects.walk(nil)
		require.NoError(t, err)
		o, _, err := w.take()
		require.NoError(t, err)
		require.Equal(t, []Attribute{Text("objectClass", "DirXML-DriverSet")}, o.plain)
		require.Empty(t, o.refs)
		require.Empty(t, o.local)
	}
}

func TestAPasswordInTheFileIsANeedAndNeverShown(t *testing.T) {
	const canary = "Kanari3nvogel"
	in, err := readText(t, configuration("<attributes><shim-auth-password>"+canary+"</shim-auth-password>"+
		"<named-password name=\"smtp\">"+canary+"</named-password></attributes>"), nil, readOptions{})
	require.NoError(t, err)
	needs := in.secrets.sorted()
	require.Len(t, needs, 2)
	require.Equal(t, []SecretKind{SecretApplication, SecretNamed}, []SecretKind{needs[0].Kind, needs[1].Kind})
	for _, n := range needs {
		require.Contains(t, n.String(), "the file carries it in clear text")
	}
	require.NotContains(t, fmt.Sprintf("%+v", in), canary)
	w, err := in.objects.walk(nil)
	require.NoError(t, err)
	o, _, err := w.take()
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%+v", o), canary)
}

func TestADeclarationInFrontIsNoDifference(t *testing.T) {
	have := []Attribute{Text("XmlData", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<policy/>\n")}
	want := []Attribute{{Name: "XmlData", Values: [][]byte{[]byte("<policy/>")}}}
	require.Empty(t, compareAttributes(want, have, true, false))
	require.NotEmpty(t, compareAttributes(want, have, false, false), "LDIF keeps every byte")
	want[0].Values[0] = []byte("<policy />")
	require.NotEmpty(t, compareAttributes(want, have, true, false))
}

func TestWhatIsSkippedIsListedUpToALimit(t *testing.T) {
	in, err := readText(t, configuration("<children>"+strings.Repeat("<unknown-thing/>", 1500)+"</children>"), nil,
		readOptions{})
	require.NoError(t, err)
	require.Len(t, in.skipped, maxDifferences+1)
	require.Equal(t, "file:2: <unknown-thing>: unknown element", in.skipped[0])
	require.Equal(t, "… and 500 more parts", in.skipped[maxDifferences])
}

func FuzzReadSource(f *testing.F) {
	f.Add([]byte(ldifSet + ldifDriver + ldifRule + "dn: cn=d,cn=ds,o=x\n" + markOfA + "changetype: modify\nreplace: " +
		"DirXML-ConfigValues\nDirXML-ConfigValues: <a/>\n-\n"))
	f.Add([]byte("dn: cn=ds,o=x\nobjectClass: DirXML-DriverSet\nDirXML-ServerList: cn=a,o=x\nDirXML-Policies: " +
		"cn=r,o=x#0#1\n"))
	f.Add([]byte(configuration("<attributes><shim-auth-id value='x'/><policy-linkage><linkage-item " +
		"dn='cn=r,cn=d,cn=ds,o=x' order='0' policy-set='1'/></policy-linkage></attributes><children><rule " +
		"name='r'><p/></rule></children>")))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := readSource(context.Background(), ExportSource{Name: "f", Content: bytes.NewReader(data)},
			readOptions{roles: fallbackRoles(), target: "cn=d,cn=ds,o=x"})
		if err != nil {
			if !errors.Is(err, failover.ErrInvalid) || failover.OutcomeOf(err) != failover.NotApplied {
				t.Fatalf("%v", err)
			}
			return
		}
		in.close()
	})
}

// An export without a value of the source helps nobody when that is gone, whichever server it was taken from.
func TestAKeptExportHoldsTheSourcesValues(t *testing.T) {
	text := ldifSet + ldifDriver
	path := filepath.Join(t.TempDir(), "drivers.ldif")
	m := manifestOf(text, 2)
	m.Drivers = []ManifestDriver{{DN: "cn=d,cn=ds,o=x"}}
	look := func() bool {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		f, err := os.Create(path + manifestSuffix)
		require.NoError(t, err)
		require.NoError(t, m.Write(f))
		require.NoError(t, f.Close())
		k := KeptExport{Path: path, MaxAge: time.Hour}
		return k.check(time.Now(), "cn=a,o=x", []string{"cn=d,cn=ds,o=x"}).Done
	}
	require.False(t, look())
	m.PerServer = map[string]int64{"CN=a,O=x": 1}
	require.True(t, look())
}
