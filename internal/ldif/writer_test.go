package ldif

import (
	"bytes"
	"strings"
	"testing"

	oracle "github.com/go-ldap/ldif"
	"github.com/stretchr/testify/require"
)

func written(t *testing.T, records ...*Record) string {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, r := range records {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Flush())
	return b.String()
}

func TestWriteExactBytes(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	require.NoError(t, w.Comment("two\nlines"))
	require.NoError(t, w.Write(
		&Record{DN: "cn=Müller,o=x", Kind: Add,
			Controls: []Control{{OID: "1.2.3", HasValue: true, Value: []byte("srv")}, {OID: "1.2.4", Critical: true}},
			Attributes: []Attribute{{Name: "objectClass", Values: [][]byte{[]byte("top")}},
				{Name: "description", Values: [][]byte{nil, []byte(" x"), []byte("<x"), []byte(":x"), []byte("x "), []byte("x\n"),
					[]byte("a:b")}}}}))
	require.NoError(t, w.Write(
		&Record{DN: "o=x", Kind: Modify, Changes: []Change{{Op: OpReplace, Attribute: Attribute{Name: "o"}}}}))
	require.NoError(t, w.Flush())
	require.Equal(t, "version: 1\n\n# two\n# lines\n\n"+
		"dn:: Y249TcO8bGxlcixvPXg=\ncontrol: 1.2.3 false: srv\ncontrol: 1.2.4 true\nchangetype: add\nobjectClass: top\n"+
		"description:\ndescription:: IHg=\ndescription:: PHg=\ndescription:: Ong=\ndescription:: eCA=\ndescription:: "+
		"eAo=\ndescription: a:b\n\n"+
		"dn: o=x\nchangetype: modify\nreplace: o\n-\n\n", b.String())
}

func TestLinesAreFoldedAt76(t *testing.T) {
	text := written(t, &Record{DN: "o=x",
		Attributes: []Attribute{{Name: "a",
			Values: [][]byte{bytes.Repeat([]byte("0123456789"), 100), bytes.Repeat([]byte{0}, 1000)}}}})
	for _, line := range strings.Split(text, "\n") {
		require.LessOrEqual(t, len(line), width)
	}
	all, err := readAll(text, Limits{})
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte("0123456789"), 100), all[0].Attributes[0].Values[0])
	require.Equal(t, make([]byte, 1000), all[0].Attributes[0].Values[1])
}

// The LDIF module of the go-ldap family reads what this package writes, apart from what it is known not to take.
func TestSecondReaderAgrees(t *testing.T) {
	policy := []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<policy>\n\t<rule/>\n</policy>\n")
	text := written(t,
		&Record{DN: "cn=Drvr\\, one,o=x", Kind: Add,
			Attributes: []Attribute{{Name: "objectClass", Values: [][]byte{[]byte("DirXML-Rule")}},
				{Name: "XmlData", Values: [][]byte{policy}}}},
		&Record{DN: "cn=Drvr\\, one,o=x", Kind: Modify,
			Changes: []Change{{Op: OpAdd,
				Attribute: Attribute{Name: "DirXML-Policies", Values: [][]byte{[]byte("cn=p,o=x#0#4")}}}}})
	l, err := oracle.Parse(text)
	require.NoError(t, err)
	require.Len(t, l.Entries, 2)
	require.Equal(t, "cn=Drvr\\, one,o=x", l.Entries[0].Add.DN)
	for _, a := range l.Entries[0].Add.Attributes {
		if a.Type == "XmlData" {
			require.Equal(t, []string{string(policy)}, a.Vals)
		}
	}
	require.Equal(t, []string{"cn=p,o=x#0#4"}, l.Entries[1].Modify.Changes[0].Modification.Vals)
}

func TestWriterRefuses(t *testing.T) {
	for _, r := range []*Record{
		{DN: "o=x", Controls: []Control{{OID: "1.2"}}},
		{DN: "o=x", Attributes: []Attribute{{Name: "bad name", Values: [][]byte{nil}}}},
		{DN: "o=x", Kind: Modify},
		{DN: "o=x", Kind: Modify, Changes: []Change{{Op: OpAdd, Attribute: Attribute{Name: "o"}}}},
		{DN: "o=x", Kind: 99},
	} {
		require.Error(t, NewWriter(&bytes.Buffer{}).Write(r))
	}
}
