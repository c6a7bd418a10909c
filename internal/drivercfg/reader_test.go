package drivercfg

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	failover "github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/badinput"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(in io.Reader, limits Limits) (Header, []*Object, error) {
	r, err := NewReader("test.xml", in, limits)
	if err != nil {
		return Header{}, nil, err
	}
	var all []*Object
	err = r.Each(func(o *Object) error {
		all = append(all, o)
		return nil
	})
	return r.Header(), all, err
}

func one(t *testing.T, all []*Object, path string) *Object {
	t.Helper()
	for _, o := range all {
		if strings.Join(o.Path, "/") == path && o.Class != "" {
			return o
		}
	}
	require.Fail(t, "no object "+path)
	return nil
}

func value(t *testing.T, o *Object, name string) string {
	t.Helper()
	a := o.Get(name)
	require.NotNil(t, a, name)
	require.Len(t, a.Values, 1)
	return string(a.Values[0])
}

func fixture(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/badge-office.xml")
	require.NoError(t, err)
	return data
}

func TestReadExport(t *testing.T) {
	h, all, err := read(bytes.NewReader(fixture(t)), Limits{})
	require.NoError(t, err)
	require.Equal(t, Header{DN: "cn=Badge Office,cn=Services,ou=idm,o=harbor", DriverSetDN: "cn=Services,ou=idm,o=harbor",
		Name: "Badge Office", PackageID: "HB1"}, h)

	d := one(t, all, "")
	require.Equal(t, "DirXML-Driver", d.Class)
	require.Equal(t, `<manifest name="Badge Office"><capability name="backlink"/></manifest>`,
		value(t, d, "DirXML-ConfigManifest"))
	require.True(t, strings.HasPrefix(value(t, d, "DirXML-DriverFilter"), "<filter>\n\t\t\t\t<filter-class"))
	require.Equal(t, "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", value(t, d, "DirXML-DriverImage"))
	require.Equal(t, "3", value(t, d, "DirXML-TraceLevel"))
	require.Nil(t, d.Get("DirXML-TraceFile"), "inherited")
	require.Nil(t, d.Get("DirXML-ApplicationSchema"), "empty")
	require.Equal(t, "com.novell.nds.dirxml.remote.driver.DriverShimImpl", value(t, d, "DirXML-JavaModule"))
	require.Equal(t, "svc-badge", value(t, d, "DirXML-ShimAuthID"))
	require.Equal(t, "2", value(t, d, "DirXML-DriverStartOption"))
	require.Equal(t, "<configuration-values><definitions/></configuration-values>",
		value(t, d, "DirXML-EngineControlValues"))
	require.Equal(t, [][]byte{
		[]byte("cn=Schema Map,cn=Badge Office,cn=Services,ou=idm,o=harbor#0#0"),
		[]byte("cn=Match,cn=Subscriber,cn=Badge Office,cn=Services,ou=idm,o=harbor#0#6"),
		[]byte("cn=Common,cn=Library,cn=Services,ou=idm,o=harbor#1#3")}, d.Get("DirXML-Policies").Values)
	require.Equal(t, []Query{
		{Kind: QueryApplicationPassword, Line: 31, Element: "shim-auth-password-query"},
		{Kind: QueryDriverPassword, Line: 32, Element: "driver-password-query"},
		{Kind: QueryNamedPassword, Line: 41, Element: "named-password-query", Name: "door-key",
			DisplayName: "Door controller key"},
		{Kind: QueryNamedPassword, Line: 42, Element: "named-password-query", Name: "smtp"}}, d.Queries)
	require.Equal(t, []Skipped{{Line: 3, Element: "packages", Reason: stampsLost},
		{Line: 44, Element: "future-setting", Reason: "unknown element"}}, d.Skipped)

	require.Equal(t, "<attr-name-map>\n\t<class-name><nds-name>User</nds-name><app-name>Holder</app-name></class-name>\n</attr-name-map>", value(t, one(t, all, "Schema Map"), "XmlData"))
	require.Equal(t, "function before(a, b) { return a < b && a != \"\"; }\n// Zürich\n",
		value(t, one(t, all, "Dates"), "DirXML-Data"))
	require.Equal(t, "text/ecmascript", value(t, one(t, all, "Dates"), "DirXML-ContentType"))
	require.Equal(t, `<doors><door id="1"/></doors>`, value(t, one(t, all, "Doors"), "DirXML-Data"))
	require.Equal(t, "DirXML-GlobalConfigDef", one(t, all, "Sites").Class)
	require.Equal(t, "DirXML-Publisher", one(t, all, "Publisher").Class)
	require.Equal(t, "DirXML-StyleSheet", one(t, all, "Publisher/Flip").Class)
	match := value(t, one(t, all, "Subscriber/Match"), "XmlData")
	require.True(t, strings.HasPrefix(match, "<?xml-note keep?><!-- first -->\n<policy xmlns:js="), match)
	require.Contains(t, match, "Find &#x201c;Holder&#x201d; &gt; 1",
		"the bytes of a policy are not parsed and printed again")
	require.Equal(t, "DirXML-Entitlement", one(t, all, "Badge").Class)
	job := one(t, all, "Nightly Count")
	require.Equal(t, "DirXML-Job", job.Class)
	require.Equal(t, `<job-definition display-name="Nightly"/>`, value(t, job, "XmlData"))
	require.Equal(t, "0", value(t, job, "DirXML-TraceLevel"))
	require.Equal(t, []QueryKind{QueryJobScope, QueryJobEmailServer, QueryJobServers},
		[]QueryKind{job.Queries[0].Kind, job.Queries[1].Kind, job.Queries[2].Kind})

	var skipped []string
	for _, o := range all {
		for _, s := range o.Skipped {
			skipped = append(skipped, s.Element)
		}
	}
	require.Equal(t, []string{"packages", "future-setting", "new-thing", "global-config-values"}, skipped)
}

func wrap(inside string) string {
	return `<driver-configuration name="D">` + "\n" + inside + "\n</driver-configuration>\n"
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		field      string
		reason     string
	}{
		{"empty", "", 1, "", "no root element"},
		{"ldif", "dn: o=x\no: x\n", 1, "", "text outside of the root"},
		{"other root", "<ds-object/>", 1, "<ds-object>", "not <driver-configuration>"},
		{"an encoding that is neither", wrap("<children><jobs><ds-object ds-object-class='a' ds-object-name='j'>" +
			"<ds-attributes><ds-attribute ds-attr-name='XmlData'><ds-value base64-encoded='yes'>PD94</ds-value>" +
			"</ds-attribute></ds-attributes></ds-object></jobs></children>"), 2, "XmlData", "neither true nor false"},
		{"no name", "<driver-configuration/>", 1, "<driver-configuration>", `"name" is missing`},
		{"entity bomb", "<?xml version=\"1.0\"?>\n<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 " +
			"\"&lol;&lol;&lol;&lol;\">]>\n" + wrap("<children>&lol2;</children>"), 2, "<!DOCTYPE", "refused"},
		{"external entity", "<!DOCTYPE d SYSTEM \"file:///etc/passwd\">" + wrap(""), 1, "<!DOCTYPE", "refused"},
		{"doctype inside a value", wrap("<children><rule name=\"r\"><!DOCTYPE x><policy/></rule></children>"), 2, "<!DOCTYPE",
			"refused"},
		{"unknown entity", wrap("<children><rule name=\"r\"><policy>&boom;</policy></rule></children>"), 2, "<policy>",
			"not well-formed"},
		{"utf-16", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>" + wrap(""), 1, "<?xml", "UTF-8"},
		{"xml 1.1", "<?xml version=\"1.1\"?>" + wrap(""), 1, "", "only version 1.0"},
		{"declaration inside", wrap("<children><rule name=\"r\"><?xml version=\"1.0\"?><policy/></rule></children>"), 2,
			"<?xml", "inside of the document"},
		{"cut in a tag", wrap("")[:20], 1, "", "in the middle of a tag"},
		{"cut in a value", "<driver-configuration name=\"D\">\n<children>\n<rule name=\"r\">\n<policy>\n", 5, "<policy>",
			"cut off"},
		{"cut between objects", "<driver-configuration name=\"D\">\n<children>\n<rule name=\"r\"/>\n", 4, "<children>",
			"began in line 2"},
		{"wrong end", wrap("<children></attributes>"), 2, "</attributes>", "expected </children> for line 2"},
		{"second root", wrap("") + "<x/>", 4, "<x>", "second root"},
		{"attribute twice", wrap("<children><rule name=\"a\" name=\"b\"/></children>"), 2, "<rule>", "stands twice"},
		{"undeclared prefix", wrap("<children><rule name=\"a\"><x:policy/></rule></children>"), 2, "<x:policy>",
			"not declared"},
		{"prefix declared outside", wrap("<children xmlns:x=\"u\">\n<rule name=\"a\"><x:policy/></rule></children>"), 3,
			"<x:policy>", "could not stand alone"},
		{"default namespace outside", wrap("<children xmlns=\"u\">\n<rule name=\"a\"><policy/></rule></children>"), 3,
			"<policy>", "could not stand alone"},
		{"two roots in a value", wrap("<children><rule name=\"a\"><policy/><policy/></rule></children>"), 2, "<rule>",
			"found 2"},
		{"text in a value", wrap("<children><rule name=\"a\">hello</rule></children>"), 2, "<rule>", "found text"},
		{"text beside a value", wrap("<children><rule name=\"a\"><policy/>hello<!-- x --></rule></children>"), 2, "<rule>",
			"found text"},
		{"rule without name", wrap("<children>\n<rule><policy/></rule></children>"), 3, "<rule>", `"name" is missing`},
		{"text between", wrap("<children>hello</children>"), 2, "<children>", "unexpected text"},
		{"attributes twice", wrap("<attributes/><attributes/>"), 2, "<attributes>", "two of them"},
		{"value twice", wrap("<attributes><trace-level value=\"1\"/><trace-level value=\"2\"/></attributes>"), 2,
			"<trace-level>", "stands twice"},
		{"image", wrap("<attributes><driver-image>&amp;</driver-image></attributes>"), 2, "<driver-image>", "base64"},
		{"job value", wrap("<children><jobs><ds-object ds-object-class=\"DirXML-Job\" " +
			"ds-object-name=\"j\"><ds-attributes>\n<ds-attribute ds-attr-name=\"XmlData\">\n<ds-value " +
			"base64-encoded=\"true\">PG==PG</ds-value></ds-attribute></ds-attributes></ds-object></jobs></children>"), 4,
			"XmlData", "base64"},
		{"job class", wrap("<children><jobs><ds-object ds-object-class=\"a b\" ds-object-name=\"j\"/></jobs></children>"), 2,
			"<ds-object>", "no name"},
		{"attribute name", wrap("<children><ds-object ds-object-class=\"a\" " +
			"ds-object-name=\"j\"><ds-attributes><ds-attribute ds-attr-name=\"a: b\"/></ds-attributes></ds-object></children>"),
			2, "<ds-attribute>", "not an attribute name"},
		{"link without dn", wrap("<attributes><policy-linkage><linkage-item order=\"0\" " +
			"policy-set=\"1\"/></policy-linkage></attributes>"), 2, "<linkage-item>", `"dn" is missing`},
		{"link order", wrap("<attributes><policy-linkage><linkage-item dn=\"cn=a\" order=\"x\" " +
			"policy-set=\"1\"/></policy-linkage></attributes>"), 2, "<linkage-item>", `"order" is "x"`},
		{"named password without name", wrap("<attributes><named-password-query/></attributes>"), 2, "<named-password-query>",
			`"name" is missing`},
		{"not utf-8", wrap("<children><rule name=\"M\xfcller\"/></children>"), 2, "<children>", "not well-formed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := read(strings.NewReader(tt.text), Limits{})
			bad, ok := errors.AsType[*badinput.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, "test.xml", bad.File)
			require.Contains(t, bad.Reason, tt.reason)
			require.Equal(t, tt.field, bad.Field)
			require.Equal(t, tt.line, bad.Line, bad.Reason)
			require.ErrorIs(t, err, failover.ErrInvalid)
		})
	}
}

func TestEveryPrefixOfAnExportIsRefused(t *testing.T) {
	data := bytes.TrimSpace(fixture(t))
	for n := 0; n < len(data); n += 7 {
		_, _, err := read(bytes.NewReader(data[:n]), Limits{})
		require.ErrorIs(t, err, failover.ErrInvalid, "cut after %d bytes", n)
	}
}

// endless repeats its tail for ever.
type endless struct {
	head, tail string
	read       int
}

func (e *endless) Read(p []byte) (int, error) {
	src := e.head
	if src == "" {
		src = e.tail
	}
	n := copy(p, src)
	if e.head != "" {
		e.head = e.head[n:]
	}
	e.read += n
	return n, nil
}

func TestLimitsEndTheReadingEarly(t *testing.T) {
	tests := []struct {
		name, head, tail, reason string
		limits                   Limits
	}{
		{"value", "<driver-configuration name='D'><children><rule name='r'><policy>", "<rule/>",
			"value or tag longer than the limit of 1048576", Limits{Value: 1 << 20}},
		{"text", "<driver-configuration name='D'><packages>", "aaaaaaaa", "value or tag longer than the limit of 1048576",
			Limits{Value: 1 << 20}},
		{"tag", "<driver-configuration name='", "aaaaaaaa", "value or tag longer than the limit of 1048576",
			Limits{Value: 1 << 20}},
		{"depth", "<driver-configuration name='D'><children><rule name='r'>", "<a>", "more than 200 elements", Limits{}},
		{"depth outside of values", "<driver-configuration name='D'>", "<a>", "more than 200 elements", Limits{}},
		{"file", "<driver-configuration name='D'><packages>", "<a/>", "file longer than the limit of 1048576",
			Limits{File: 1 << 20}},
		{"object", "<driver-configuration name='D'><attributes><policy-linkage>",
			"<linkage-item dn='cn=a' order='0' policy-set='1'/>", "object longer than the limit of 1000", Limits{Object: 1000}},
	}
	for name, c := range map[string][2]string{
		"in the root":  {"<driver-configuration name='D'>", "<a/>"},
		"settings":     {"<driver-configuration name='D'><attributes>", "<a/>"},
		"placeholders": {"<driver-configuration name='D'><attributes>", "<named-password-query name='a'/>"},
		"links": {"<driver-configuration name='D'><attributes><policy-linkage>",
			"<linkage-item dn='a' order='0' policy-set='1'/>"},
		"parts of a job": {"<driver-configuration name='D'><children><jobs><ds-object ds-object-class='DirXML-Job' " +
			"ds-object-name='j'>",
			"<job-x-query/>"},
		"values of a job": {"<driver-configuration name='D'><children><jobs><ds-object ds-object-class='DirXML-Job' " +
			"ds-object-name='j'><ds-attributes><ds-attribute ds-attr-name='a'>",
			"<ds-value/>"},
		"parts of a channel": {"<driver-configuration name='D'><children><publisher name='p'>", "<a/>"},
	} {
		tests = append(tests, struct {
			name, head, tail, reason string
			limits                   Limits
		}{"many parts " + name, c[0], c[1], "more than 1000 elements in one", Limits{Parts: 1000}})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := &endless{head: tt.head, tail: tt.tail}
			_, _, err := read(in, tt.limits)
			require.ErrorContains(t, err, tt.reason)
			require.ErrorIs(t, err, failover.ErrInvalid)
			require.Less(t, in.read, 2<<20)
		})
	}
	many := `<driver-configuration name="D"`
	for i := range 300 {
		many += " a" + string(rune('a'+i%26)) + strings.Repeat("b", i/26) + `=""`
	}
	_, _, err := read(strings.NewReader(many+"/>"), Limits{})
	require.ErrorContains(t, err, "more than 256 attributes")
}

func TestReadErrorIsNoRefusal(t *testing.T) {
	_, _, err := read(io.MultiReader(strings.NewReader("<driver-configuration name='d'>\n<children>"),
		iotest.ErrReader(io.ErrNoProgress)), Limits{})
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.NotErrorIs(t, err, failover.ErrInvalid)
	require.ErrorContains(t, err, "after line 2")
}

func TestErrorOfTheCallbackComesBack(t *testing.T) {
	r, err := NewReader("f", bytes.NewReader(fixture(t)), Limits{})
	require.NoError(t, err)
	require.Equal(t, io.ErrShortWrite, r.Each(func(*Object) error { return io.ErrShortWrite }))
}

func FuzzReader(f *testing.F) {
	data, err := os.ReadFile("testdata/badge-office.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(wrap("<attributes><trace-level value='1'/></attributes><children><rule name='a'><?failover-prolog " +
		"PD94?><p/></rule></children>")))
	f.Add([]byte(wrap("<children><jobs><ds-object ds-object-class='DirXML-Job' " +
		"ds-object-name='j'><ds-attributes><ds-attribute ds-attr-name='XmlData'><ds-value " +
		"base64-encoded='true'>PG==</ds-value></ds-attribute></ds-attributes></ds-object></jobs></children>")))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, all, err := read(bytes.NewReader(data),
			Limits{Value: 1 << 14, Object: 1 << 15, Depth: 30, Attributes: 20, File: 1 << 16})
		if err != nil {
			if !errors.Is(err, failover.ErrInvalid) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !depthFirst(all) {
			return
		}
		var out bytes.Buffer
		lost, err := write(&out, h, all)
		if err != nil {
			t.Fatal(err)
		}
		_, again, err := read(bytes.NewReader(out.Bytes()), Limits{})
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, out.String())
		}
		if len(lost) == 0 {
			require.Equal(t, comparable(all), comparable(again))
		}
	})
}
