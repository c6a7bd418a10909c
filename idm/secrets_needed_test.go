package idm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPasswordRefs(t *testing.T) {
	doc := `<configuration-values><definitions>
	<definition display-name="Key of the door" name="a" type="password-ref"><value> door </value></definition>
	<definition name="b" type="password-ref"><value/></definition>
	<definition name="c" type="string"><value>not-this</value></definition>
	<group><definition name="d" type="password-ref" display-name="D"><description>x</description><value>second</value></definition></group>
	<subordinates value="true"><definition name="e" type="password-ref"><value>third</value></definition></subordinates>
</definitions></configuration-values>`
	var names, shown []string
	for _, n := range passwordRefs([]byte(doc)) {
		names, shown = append(names, n.Name), append(shown, n.DisplayName)
	}
	require.Equal(t, []string{"door", "second", "third"}, names)
	require.Equal(t, []string{"Key of the door", "D", ""}, shown)
	require.Equal(t, "HR", passwordRefs([]byte(
		`<driver-options><cert-id-password display-name="Certifier" type="password-ref">HR</cert-id-password></driver-options>`))[0].Name)
	require.Empty(t, passwordRefs([]byte("no xml with password-ref <")))
}

func TestNamedPasswordTokens(t *testing.T) {
	found := namedPasswordTokens(
		[]byte(`<policy><rule><token-named-password name="a"/><token-named-password/></rule><!-- <token-named-password name="no"/> --></policy>`))
	require.Len(t, found, 1)
	require.Equal(t, "a", found[0].Name)
}

func TestNeedsAreJoined(t *testing.T) {
	var l secretList
	driver := &object{dn: "cn=d,cn=ds,o=x",
		plain: []Attribute{Text("objectClass", "top", "DirXML-Driver"), Text("DirXML-JavaModule", remoteLoaderShim)}}
	values := []Attribute{Text("DirXML-ConfigValues",
		`<d><definition type="password-ref" display-name="K"><value>key</value></definition></d>`)}
	l.collect(driver, values, "cn=s,o=x", driver.dn)
	rule := &object{dn: "cn=r,cn=d,cn=ds,o=x",
		plain: []Attribute{Text("objectClass", "DirXML-Rule"), Text("XmlData", `<p><token-named-password name="key"/></p>`)}}
	l.collect(rule, nil, "cn=s,o=x", driver.dn)
	all := l.sorted()
	require.Len(t, all, 3, "Remote Loader, driver object, one named password")
	require.Equal(t, SecretRemoteLoader, all[0].Kind)
	require.Equal(t, SecretDriverObject, all[1].Kind)
	require.Empty(t, all[1].Server, "the driver object's password replicates")
	require.Equal(t, "key", all[2].Name)
	require.Equal(t, []string{driver.dn, rule.dn}, all[2].NeededBy)
	require.Equal(t, "K", all[2].DisplayName)
	require.Contains(t, all[2].String(), `named password "key" of cn=d,cn=ds,o=x on cn=s,o=x`)
}

// Style sheets and scripts ask by a call, policies by an element; a document in another encoding asks as well.
func TestEveryWayToAskForANamedPassword(t *testing.T) {
	for doc, want := range map[string][]string{
		`<x select="query:getNamedPassword($srcQueryProcessor,'smtp')"/>`:               {"smtp"},
		`<x select="query:getNamedPassword($srcQueryProcessor, &apos;smtp&apos;)"/>`:    {"smtp"},
		"var p = q.getNamedPassword(srcQueryProcessor, \"a\") + getNamedPassword('b');": {"a", "b"},
		`<x select="query:getNamedPassword($srcQueryProcessor,$name)"/>`:                {""},
		`<?xml version="1.0" encoding="ISO-8859-1"?><token-named-password name="a"/>`:   {"a"},
	} {
		var names []string
		for _, n := range namedPasswordTokens([]byte(doc)) {
			names = append(names, n.Name)
		}
		require.Equal(t, want, names, doc)
	}
}

// What cannot be read to its end, or is computed, may ask for anything.
func TestWhatCannotBeReadIsAGap(t *testing.T) {
	for doc, gap := range map[string]string{
		`<p><a>x<1</a><token-named-password name="b"/></p>`:     "cannot be read to its end",
		`<p><token-named-password name="b"/><token-text>`:       "cannot be read to its end",
		`<x select="getNamedPassword($srcQueryProcessor,$n)"/>`: "computed",
		`<p><token-named-password name="b"/></p>`:               "",
		`a text with token-named-password < in it`:              "",
	} {
		var l secretList
		l.collect(&object{dn: "cn=r,cn=d,o=x", plain: []Attribute{Text("XmlData", doc)}}, nil, "cn=s,o=x", "cn=d,o=x")
		if gap == "" {
			require.Empty(t, l.gaps, doc)
			continue
		}
		require.Len(t, l.gaps, 1, doc)
		require.Contains(t, l.gaps[0], "cn=r,cn=d,o=x")
		require.Contains(t, l.gaps[0], gap)
	}
}

// A server may answer in the case that it was asked in. A file of the vendor's form would lack what is named so.
func TestNamesAreThoseOfTheSchema(t *testing.T) {
	o := fallbackRoles().split(Entry{DN: "cn=r,o=x", Attributes: []Attribute{Text("objectClass", "DirXML-Rule"),
		Text("xmldata", "<p/>"), Text("dirxml-shimauthid", "u"), Text("other", "o")}}, "cn=s,o=x")
	require.Equal(t, [][]byte{[]byte("<p/>")}, o.plain[1].Values)
	require.Equal(t, "XmlData", o.plain[1].Name)
	require.Equal(t, "other", o.plain[2].Name)
	require.Equal(t, "DirXML-ShimAuthID", o.local[0].values[0].Name)
}
