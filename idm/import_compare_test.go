package idm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Shims exist that keep a password in their settings, and policies that carry one.
func TestADiffShowsNoLineThatMayHoldASecret(t *testing.T) {
	long := strings.Repeat("<a/>\n", 50)
	for name, d := range map[string]delta{
		"short settings": {name: "DirXML-ShimConfigInfo", perServer: true,
			have: values(`<password>old-s3cret</password>`), want: values(`<password>new-s3cret</password>`)},
		"settings only in file": {name: "DirXML-ShimConfigInfo", perServer: true, want: values(`<pwd>new-s3cret</pwd>`)},
		"settings only there": {name: "DirXML-ConfigValues", perServer: true,
			have: values(`<api-token>old-s3cret</api-token>`)},
		"one of several values": {name: "DirXML-JavaEnvironmentParameters", perServer: true,
			have: values("-Xmx1g", "-Dkeystore.password=old-s3cret"), want: values("-Xmx2g", "-Dkeystore.password=new-s3cret")},
		"one line of many": {name: "DirXML-ShimConfigInfo", perServer: true,
			have: values(long + "<secret>old-s3cret</secret>"), want: values(long + "<secret>new-s3cret</secret>")},
		"a policy": {name: "XmlData", have: values(long + `<arg-password>old-s3cret</arg-password>`),
			want: values(long + `<arg-password>new-s3cret</arg-password>`)},
		"a short policy": {name: "XmlData", have: values(`<arg-password>old-s3cret</arg-password>`),
			want: values(`<a/>`)},
		"a value that is added": {name: "ACL", want: values("x"), have: values("y"), missing: values("passwort#old-s3cret")},
		"a short line of a long": {name: "XmlData", have: values(long + "x\n" + `<credential>old-s3cret</credential>`),
			want: values(long + "y\n" + `<credential>new-s3cret</credential>`)},
		"under its name": {name: "DirXML-ShimConfigInfo", perServer: true,
			have: values(long + "<definition name=\"password\" type=\"string\">\n<value>old-s3cret</value>"),
			want: values(long + "<definition name=\"password\" type=\"string\">\n<value>new-s3cret</value>")},
		"in the policy's argument": {name: "XmlData",
			have: values(long + "<arg-password>\n\t<token-text>old-s3cret</token-text>"),
			want: values(long + "<arg-password>\n\t<token-text>new-s3cret</token-text>")},
		"far below its name": {name: "DirXML-ConfigValues", perServer: true,
			have: values(long + "<definition name=\"password\">\n<a>\nb\nc\nd</a>\n<value>old-s3cret</value>"),
			want: values(long + "<definition name=\"password\">\n<a>\nb\nc\nd</a>\n<value>new-s3cret</value>")},
		"a key": {name: "DirXML-ShimConfigInfo", perServer: true,
			have: values(long + "<definition name=\"api.key\">\n<value>old-s3cret</value>"),
			want: values(long + "<definition name=\"api.key\">\n<value>new-s3cret</value>")},
		"a pass phrase": {name: "DirXML-ShimConfigInfo", perServer: true,
			have: values(`<phrase name="keystore.passphrase">old-s3cret</phrase>`),
			want: values(`<phrase name="keystore.passphrase">new-s3cret</phrase>`)},
	} {
		t.Run(name, func(t *testing.T) {
			require.NotContains(t, d.describe(), "s3cret")
			require.NotEmpty(t, d.describe())
		})
	}
	harmless := delta{name: "XmlData", have: values(long + "<token-text>a</token-text>"),
		want: values(long + "<token-text>b</token-text>")}
	require.Contains(t, harmless.describe(), `line 51: "<token-text>a</token-text>" → "<token-text>b</token-text>"`,
		"policies are full of tokens")
}

func values(list ...string) [][]byte {
	out := make([][]byte, len(list))
	for i, v := range list {
		out[i] = []byte(v)
	}
	return out
}
