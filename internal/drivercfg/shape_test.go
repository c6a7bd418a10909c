package drivercfg

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the directory holds, written by hand from the shape of published exports: no reader or writer of ours made it.
var toolRoom = map[string]string{
	"DirXML-ConfigManifest":      `<manifest/>`,
	"DirXML-DriverFilter":        `<filter><filter-class class-name="Tool"/></filter>`,
	"DirXML-ReciprocalAttrMap":   `<reciprocal-links><link-def><mapping/></link-def></reciprocal-links>`,
	"DirXML-DriverImage":         "GIF89a\x01",
	"DirXML-TraceFile":           "/var/log/tool.log",
	"DirXML-TraceLevel":          "3",
	"DirXML-JavaModule":          "com.novell.nds.dirxml.remote.driver.DriverShimImpl",
	"DirXML-TraceName":           "TOOL",
	"DirXML-DriverCacheLimit":    "0",
	"DirXML-ShimAuthID":          "svc-tool",
	"DirXML-ShimAuthServer":      "REMOTE(hostname= port=8090)",
	"DirXML-DriverStartOption":   "2",
	"DirXML-ApplicationSchema":   `<schema-def><class-def class-name="Tool"/></schema-def>`,
	"DirXML-EngineControlValues": `<configuration-values><definitions/></configuration-values>`,
	"DirXML-ShimConfigInfo": `<driver-config name="Tool Room"><driver-options><configuration-values><definitions/>` +
		`</configuration-values></driver-options></driver-config>`,
	"DirXML-ConfigValues": `<configuration-values><definitions><definition display-name="Rack" name="rack" ` +
		`type="string"><value xml:space="preserve"> A </value></definition></definitions></configuration-values>`,
}

func TestReadTheShapeOfPublishedExports(t *testing.T) {
	data, err := os.ReadFile("testdata/tool-room.xml")
	require.NoError(t, err)
	_, all, err := read(bytes.NewReader(data), Limits{})
	require.NoError(t, err)
	d := one(t, all, "")
	for name, want := range toolRoom {
		require.Equal(t, want, value(t, d, name), name)
	}
	require.Len(t, d.Attributes, len(toolRoom)+1, "and the policies")
	require.Equal(t, "cn=Flip,cn=Subscriber,cn=Tool Room,cn=Works,ou=idm,o=harbor#0#4",
		string(d.Get("DirXML-Policies").Values[1]))
	for path, want := range map[string][3]string{
		"Map":              {"DirXML-Rule", "XmlData", `<attr-name-map/>`},
		"Subscriber/Match": {"DirXML-Rule", "XmlData", `<policy><!-- first --><rule><?comment keep?></rule></policy>`},
		"Subscriber/Flip": {"DirXML-StyleSheet", "XmlData",
			`<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"/>`},
		"Sites": {"DirXML-GlobalConfigDef", "DirXML-ConfigValues",
			`<configuration-values><definitions display-name="Sites"/></configuration-values>`},
		"Dates": {"DirXML-Resource", "DirXML-Data", "a < b"},
		"Racks": {"DirXML-Resource", "DirXML-Data", `<mapping-table><row><col>1</col></row></mapping-table>`},
		"Tool": {"DirXML-Entitlement", "XmlData",
			`<entitlement conflict-resolution="union" description="" display-name="Tool"/>`},
		"Count": {"DirXML-Job", "XmlData", `<job-aggregation/>`},
	} {
		o := one(t, all, path)
		require.Equal(t, want[0], o.Class)
		require.Equal(t, want[2], value(t, o, want[1]))
	}
	for _, o := range all {
		require.Empty(t, o.Skipped, "all of it is known")
	}
}

// tokens returns the elements of a document with their attributes in order, and their text without white space around.
func tokens(t *testing.T, data []byte) string {
	t.Helper()
	var b strings.Builder
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		tok, err := d.RawToken()
		if err == io.EOF {
			return b.String()
		}
		require.NoError(t, err)
		switch tok := tok.(type) {
		case xml.StartElement:
			fmt.Fprintf(&b, "%s %q\n", full(tok.Name), tok.Attr)
		case xml.EndElement:
			fmt.Fprintf(&b, "/%s\n", full(tok.Name))
		case xml.CharData:
			if text := bytes.TrimSpace(tok); len(text) > 0 {
				fmt.Fprintf(&b, "%q\n", text)
			}
		case xml.Comment:
			fmt.Fprintf(&b, "!%s\n", tok)
		case xml.ProcInst:
			fmt.Fprintf(&b, "?%s %s\n", tok.Target, tok.Inst)
		}
	}
}

func TestWriteTheShapeOfPublishedExports(t *testing.T) {
	data, err := os.ReadFile("testdata/tool-room.xml")
	require.NoError(t, err)
	h, all, err := read(bytes.NewReader(data), Limits{})
	require.NoError(t, err)
	for _, o := range all { // as they stand in a directory: values with a declaration and an end of line
		for _, a := range o.Attributes {
			if v := a.Values[0]; bytes.HasPrefix(v, []byte("<")) && o.Class != "DirXML-Job" {
				a.Values[0] = []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + string(v) + "\n")
			}
		}
	}
	var out bytes.Buffer
	lost, err := write(&out, h, all)
	require.NoError(t, err)
	require.Empty(t, lost)
	require.Equal(t, tokens(t, data), tokens(t, out.Bytes()))
	require.True(t, strings.HasPrefix(out.String(), `<?xml version="1.0" encoding="UTF-8"?><driver-configuration dn=`))
}

func TestGlobalConfigurationObjects(t *testing.T) {
	const values = "<configuration-values><definitions/></configuration-values>"
	for inside, want := range map[string]string{
		"<attributes>\n<global-config-values>" + values + "</global-config-values></attributes>": values,
		"<global-config-values>" + values + "</global-config-values>":                            values,
		values: values,
		"<attributes><global-config-values/></attributes>": "",
		"<global-config-values/>":                          "",
		"<attributes/>":                                    "",
		"":                                                 "",
	} {
		_, all, err := read(strings.NewReader(wrap("<children><global-config-def name=\"g\">"+inside+
			"</global-config-def></children>")), Limits{})
		require.NoError(t, err, inside)
		o := one(t, all, "g")
		if want == "" {
			require.Empty(t, o.Attributes, "%s is an object without values", inside)
		} else {
			require.Equal(t, want, value(t, o, "DirXML-ConfigValues"))
		}
	}
}

func TestEmptyValuesAreNotSet(t *testing.T) {
	_, all, err := read(strings.NewReader(wrap(`<children><jobs><ds-object ds-object-class="DirXML-Job" `+
		`ds-object-name="j"><ds-attributes><ds-attribute ds-attr-name="DirXML-TraceLevel"><ds-value/></ds-attribute>`+
		`<ds-attribute ds-attr-name="a"><ds-value> </ds-value></ds-attribute>`+
		`<ds-attribute ds-attr-name="b"><ds-value base64-encoded="true"></ds-value></ds-attribute>`+
		`<ds-attribute ds-attr-name="DirXML-Scope"/></ds-attributes></ds-object></jobs></children>`)), Limits{})
	require.NoError(t, err)
	require.Empty(t, one(t, all, "j").Attributes)
}

func TestFilesThatAreNoWholeDriver(t *testing.T) {
	for text, reason := range map[string]string{
		`<driver-set-configuration dn="cn=ds1,o=system" name="ds1"/>`:                                              "holds a whole driver set",
		`<driver-configuration config-type="ECMAScriptResourceImpl" dn="cn=Shared,cn=ds1,o=system" name="Tools"/>`: `"Tools" of "cn=Shared,cn=ds1,o=system" of type ECMAScriptResourceImpl, which is a part`,
		`<driver-configuration dn="cn=D,cn=ds1,o=system" name="Publisher"/>`:                                       `"Publisher" of "cn=D,cn=ds1,o=system", which is a part`,
	} {
		_, _, err := read(strings.NewReader(text), Limits{})
		require.ErrorContains(t, err, reason)
	}
}

func TestUnknownAttributesAreReported(t *testing.T) {
	channel := func(inside string) string {
		return "<children><publisher name='P'>" + inside + "</publisher></children>"
	}
	job := func(inside string) string {
		return "<children><jobs><ds-object ds-object-class='DirXML-Job' ds-object-name='j'>" + inside +
			"</ds-object></jobs></children>"
	}
	inside := map[string]string{
		"root": "", "attributes": "<attributes x='1'/>", "children": "<children x='1'/>",
		"item":     "<attributes><policy-linkage><linkage-item x='1' dn='cn=a' order='0' policy-set='0'/></policy-linkage></attributes>",
		"resource": "<children><resource name='r' x='1'/></children>",
		"content":  "<children><resource name='r'><content x='1'>a</content></resource></children>",
		"channel":  "<children><publisher name='P' x='1'/></children>", "of a channel": channel("<attributes x='1'/>"),
		"ds-object":     "<children><ds-object ds-object-class='a' ds-object-name='j' x='1'/></children>",
		"ds-attributes": job("<ds-attributes x='1'/>"),
		"ds-attribute":  job("<ds-attributes><ds-attribute ds-attr-name='a' x='1'/></ds-attributes>"),
		"ds-value":      job("<ds-attributes><ds-attribute ds-attr-name='a'><ds-value x='1'>b</ds-value></ds-attribute></ds-attributes>"),
		"query":         job("<ds-attributes><job-scope-query x='1'/></ds-attributes>"),
	}
	gcv := func(attributes, values string) string {
		return "<children><global-config-def name='g'><attributes" + attributes + "><global-config-values" + values +
			"><configuration-values/></global-config-values></attributes></global-config-def></children>"
	}
	inside["jobs"] = "<children><jobs x='1'/></children>"
	inside["children of a channel"] = channel("<children x='1'/>")
	inside["attributes of a global-config-def"], inside["values of it"] = gcv(" x='1'", ""), gcv("", " x='1'")
	for _, e := range attributeElements {
		if e.form != asStamps {
			inside[e.name] = "<attributes><" + e.name + " x='1' name='n' inherit='true'/></attributes>"
		}
	}
	for _, c := range containers {
		inside[c.name] = "<children><" + c.name + " name='n' x='1'/></children>"
	}
	for name, text := range inside {
		text = wrap(text)
		if name == "root" {
			text = `<driver-configuration name="D" x='1'/>`
		}
		_, all, err := read(strings.NewReader(text), Limits{})
		require.NoError(t, err, name)
		found := 0
		for _, o := range all {
			for _, s := range o.Skipped {
				if s.Reason == "unknown attribute x" {
					found++
				}
			}
		}
		require.Equal(t, 1, found, name)
	}
}

// An element whose value is in an attribute may hold something else all the same.
func TestWhatStandsInsideOfAValueIsReported(t *testing.T) {
	for _, content := range []string{"cn=svc", "<variable-ref var-name='v'/>", "<![CDATA[ cn=svc ]]>"} {
		for _, e := range attributeElements {
			if e.form != asValue && e.form != asQuery && e.form != asNothing {
				continue
			}
			_, all, err := read(strings.NewReader(wrap("<attributes><"+e.name+" name='n' inherit='true'>"+content+"</"+e.name+
				"></attributes>")), Limits{})
			require.NoError(t, err)
			found := 0
			for _, s := range one(t, all, "").Skipped {
				if s.Element == e.name && s.Reason == insideLost {
					found++
				}
			}
			require.Equal(t, 1, found, e.name)
		}
	}
}

func TestPackageStampsAreReportedByObject(t *testing.T) {
	_, all, err := read(strings.NewReader(wrap(`<packages><package id="P"/></packages><attributes package-id="P" `+
		`package-version="1"><pkg-initial-states><pkg-initial-state package-id="P" pkg-assoc-id="Q">PD94</pkg-initial-state>`+
		`</pkg-initial-states></attributes><children><rule checksum="12" name="R" package-id="P" pkg-assoc-id="Q"/>`+
		`</children>`)), Limits{})
	require.NoError(t, err)
	var elements []string
	for _, o := range all {
		for _, s := range o.Skipped {
			require.Equal(t, stampsLost, s.Reason)
			elements = append(elements, s.Element)
		}
	}
	require.Equal(t, []string{"packages", "pkg-initial-states", "rule"}, elements)
}

func TestPasswordsInTheFileAreNeedsWithoutTheirValue(t *testing.T) {
	const canary = "Kanari3nvogel"
	_, all, err := read(strings.NewReader(wrap("<attributes><shim-auth-password>"+canary+
		"</shim-auth-password><driver-password>"+canary+"</driver-password><named-password display-name='Mail' name='smtp'>"+
		canary+"</named-password></attributes>")), Limits{})
	require.NoError(t, err)
	d := one(t, all, "")
	var kinds []QueryKind
	for _, q := range d.Queries {
		require.True(t, q.InClear)
		kinds = append(kinds, q.Kind)
	}
	require.Equal(t, []QueryKind{QueryApplicationPassword, QueryDriverPassword, QueryNamedPassword}, kinds)
	require.Equal(t, "smtp", d.Queries[2].Name)
	require.NotContains(t, fmt.Sprintf("%+v", *d), canary)
}
