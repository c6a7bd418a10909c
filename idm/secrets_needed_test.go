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
