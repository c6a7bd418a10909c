package ldif

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	failover "github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/badinput"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func readAll(text string, limits Limits) ([]*Record, error) {
	r := NewReader("test.ldif", strings.NewReader(text), limits)
	var all []*Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, rec)
	}
}

func TestReadContent(t *testing.T) {
	const text = "version: 1\r\n" +
		"# a comment\n  that goes on\n" +
		"\n\n" +
		"dn: cn=Driver Set,\n o=system\n" +
		"objectClass: top\n" +
		"cn:Driver Set\n" +
		"objectclass: DirXML-DriverSet\n" +
		"description:\n" +
		"# between\n" +
		"XmlData:: PGE\n +PC9h\n Pgo=\n" +
		"\n" +
		"dn:: Y249TcO8bGxlcixvPXN5c3RlbQ==\n" +
		"sn: Müller\n"
	all, err := readAll(text, Limits{})
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "cn=Driver Set,o=system", all[0].DN)
	require.Equal(t, 6, all[0].Line)
	require.Equal(t, Content, all[0].Kind)
	require.Equal(t, []Attribute{
		{Name: "objectClass", Line: 8, Values: [][]byte{[]byte("top"), []byte("DirXML-DriverSet")}},
		{Name: "cn", Line: 9, Values: [][]byte{[]byte("Driver Set")}},
		{Name: "description", Line: 11, Values: [][]byte{nil}},
		{Name: "XmlData", Line: 13, Values: [][]byte{[]byte("<a></a>\n")}},
	}, normal(all[0].Attributes))
	require.Equal(t, "cn=Müller,o=system", all[1].DN)
	require.Equal(t, "Müller", string(all[1].Get("SN").Values[0]))
	require.Nil(t, all[1].Get("cn"))
}

// normal makes empty values comparable.
func normal(as []Attribute) []Attribute {
	for _, a := range as {
		for i, v := range a.Values {
			if len(v) == 0 {
				a.Values[i] = nil
			}
		}
	}
	return as
}

func TestReadChanges(t *testing.T) {
	const text = `version: 1
dn: cn=a,o=x
control: 1.2.3 true: value
control: 2.16.840.1.113730.3.4.2 false
control: 1.2.840.113556.1.4.805
changetype: add
objectClass: top

dn: cn=a,o=x
changetype: modify
replace: description
description: new
-
delete: seeAlso
-
add: member
member: cn=b
member: cn=c
-
`
	all, err := readAll(text, Limits{})
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, []Control{{OID: "1.2.3", Critical: true, HasValue: true, Value: []byte("value")},
		{OID: "2.16.840.1.113730.3.4.2"}, {OID: "1.2.840.113556.1.4.805"}}, all[0].Controls)
	require.Equal(t, Add, all[0].Kind)
	require.Equal(t, []Change{
		{Op: OpReplace, Attribute: Attribute{Name: "description", Line: 11, Values: [][]byte{[]byte("new")}}},
		{Op: OpDelete, Attribute: Attribute{Name: "seeAlso", Line: 14}},
		{Op: OpAdd, Attribute: Attribute{Name: "member", Line: 16, Values: [][]byte{[]byte("cn=b"), []byte("cn=c")}}},
	}, all[1].Changes)
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		field      string
		reason     string
	}{
		{"version 2", "version: 2\n\ndn: o=x\no: x\n", 1, "version", "only 1"},
		{"no dn", "cn: a\n", 1, "cn", `begins with "dn:"`},
		{"wrong dn", "dn: o=x\no: x\n\ndn: nonsense\ncn: a\n", 4, "dn", "not a distinguished name"},
		{"wrong dn in base64", "dn:: bm9uc2Vuc2U=\ncn: a\n", 1, "dn", "not a distinguished name"},
		{"no colon", "dn: o=x\nrubbish\n", 2, "", "no colon"},
		{"bad attribute name", "dn: o=x\nb ad: 1\n", 2, "b ad", "not an attribute"},
		{"bad base64", "dn: o=x\nXmlData:: QUJD\n REV*\n", 3, "XmlData", "bad base64 at column 5"},
		{"base64 cut", "dn: o=x\nXmlData:: QUJDR\n", 2, "XmlData", "bad base64"},
		{"base64 with junk bits", "dn: o=x\nXmlData:: QUJDRB==\n", 2, "XmlData", "bad base64"},
		{"file url", "dn: o=x\nXmlData:< file:///etc/passwd\n", 2, "XmlData", "not followed"},
		{"nul", "dn: o=x\ndescription: a\x00b\n", 2, "description", "0x00"},
		{"bare carriage return", "dn: o=x\ndescription: a\n \rb\n", 3, "description", "0x0d"},
		{"latin 1", "dn: o=x\ndescription: M\xfcller\n", 2, "description", "UTF-8"},
		{"cut in a line", "dn: o=x\ndescription: abc", 2, "description", "cut off"},
		{"cut after dn", "dn: o=x", 1, "dn", "cut off"},
		{"continuation of nothing", " dn: o=x\n", 1, "", "continuation"},
		{"two records without a gap", "dn: o=x\no: x\ndn: o=y\no: y\n", 3, "dn", "empty line is missing"},
		{"mixed", "dn: o=x\no: x\n\ndn: o=y\nchangetype: add\n", 4, "changetype", "content records and change"},
		{"unknown changetype", "dn: o=x\nchangetype: destroy\n", 2, "changetype", `"destroy" is none of`},
		{"control alone", "dn: o=x\ncontrol: 1.2\no: x\n", 3, "control", "without a changetype"},
		{"control oid", "dn: o=x\ncontrol: abc\nchangetype: delete\n", 2, "control", "object identifier"},
		{"control criticality", "dn: o=x\ncontrol: 1.2 maybe\nchangetype: delete\n", 2, "control", "criticality"},
		{"delete", "dn: o=x\nchangetype: delete\n", 1, "changetype", "neither deletes nor renames"},
		{"modify without end", "dn: o=x\nchangetype: modify\nadd: o\no: y\n", 1, "o", "cut off"},
		{"modify of nothing", "dn: o=x\nchangetype: modify\n\n", 1, "changetype", "changes nothing"},
		{"modify verb", "dn: o=x\nchangetype: modify\nerase: o\n-\n", 3, "erase", "none of add"},
		{"modify other attribute", "dn: o=x\nchangetype: modify\nadd: o\ncn: y\n-\n", 4, "cn", "in a change of o"},
		{"modify adds nothing", "dn: o=x\nchangetype: modify\nadd: o\n-\n", 3, "o", "adds no value"},
		{"rename", "dn: o=x\nchangetype: modrdn\nnewrdn: o=y\ndeleteoldrdn: 1\n", 1, "changetype",
			"neither deletes nor renames"},
		{"move", "dn: o=x\nchangetype: ModDN\nnewrdn: o=y\n\n", 1, "changetype", "neither deletes nor renames"},
		{"not ldif at all", "<?xml version=\"1.0\"?>\n<driver-configuration/>\n", 1, "", "no colon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readAll(tt.text, Limits{})
			bad, ok := errors.AsType[*badinput.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, "test.ldif", bad.File)
			require.Equal(t, tt.line, bad.Line, bad.Reason)
			require.Equal(t, tt.field, bad.Field)
			require.Contains(t, bad.Reason, tt.reason)
			require.ErrorIs(t, err, failover.ErrInvalid)
		})
	}
}

func TestBase64ErrorInLine40000(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("dn: cn=big,o=x\nXmlData:: ")
	enc := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("<policy/>"), 300_000))
	line := 2
	for room := 60; len(enc) > 0; line++ {
		n := min(room, len(enc))
		if line == 40_000 {
			b.WriteString("!" + enc[1:n] + "\n ")
		} else {
			b.WriteString(enc[:n] + "\n ")
		}
		enc, room = enc[n:], 75
	}
	b.WriteString("\n")
	require.Greater(t, line, 40_000)
	_, err := readAll(b.String(), Limits{})
	require.EqualError(t, err, "test.ldif:40000: XmlData: bad base64 at column 2 of the line")
}

func TestLimits(t *testing.T) {
	big := strings.Repeat("x", 1000)
	limits := Limits{Value: 1000, Record: 2500, Lines: 10}
	_, err := readAll("dn: o=x\na: "+big+"\n", limits)
	require.NoError(t, err)
	_, err = readAll("dn: o=x\na: "+big+"x\n", limits)
	require.ErrorContains(t, err, "test.ldif:2: a: value of 1001 bytes")
	_, err = readAll("dn: o=x\na:: "+base64.StdEncoding.EncodeToString([]byte(big+"x"))+"\n", limits)
	require.ErrorContains(t, err, "test.ldif:2: a: value of 1001 bytes")
	_, err = readAll("dn: o=x\na: "+big+"\nb: "+big+"\nc: "+big+"\n", limits)
	require.ErrorContains(t, err, "test.ldif:4: c: record longer than")
	_, err = readAll("dn: o=x\n"+strings.Repeat("a: 1\n", 11), limits)
	require.ErrorContains(t, err, "test.ldif:12: a: record with more than 10 values")
	_, err = readAll("dn: o="+strings.Repeat("x", maxDN)+"\n", Limits{})
	require.ErrorContains(t, err, "distinguished name longer")
}

// endless is a line without an end.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	if e.read == 0 {
		copy(p, "dn: o=x\nXmlData:: ")
	}
	e.read += int64(len(p))
	return len(p), nil
}

func TestEndlessValueIsRefusedEarly(t *testing.T) {
	e := &endless{}
	_, err := NewReader("evil", e, Limits{Value: 1 << 20}).Next()
	require.ErrorContains(t, err, "evil:2: XmlData: value longer than the limit of 1048576 bytes")
	require.Less(t, e.read, int64(2<<20))
}

// repeated is a file of one piece, over and over, that never ends.
type repeated struct {
	piece string
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		copied := copy(p[n:], r.piece[r.at:])
		n, r.at = n+copied, (r.at+copied)%len(r.piece)
	}
	return n, nil
}

// Lines folded into nothing take no byte of a value and still have to end somewhere.
func TestEndlessFoldingIsRefusedEarly(t *testing.T) {
	for name, begin := range map[string]string{"value": "dn: o=x\nobjectClass: top\ndescription: a\n",
		"comment": "# a\n"} {
		t.Run(name, func(t *testing.T) {
			_, err := NewReader("f", io.MultiReader(strings.NewReader(begin), &repeated{piece: " \n"}), Limits{}).Next()
			var bad *badinput.Error
			require.ErrorAs(t, err, &bad)
			require.Contains(t, bad.Reason, "folded into more than")
		})
	}
}

func TestReadErrorNamesTheLine(t *testing.T) {
	r := NewReader("f", io.MultiReader(strings.NewReader("dn: o=x\no: x\n\n"), iotest.ErrReader(io.ErrUnexpectedEOF)),
		Limits{})
	_, err := r.Next()
	require.NoError(t, err)
	_, err = r.Next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, "after line 3")
	_, again := r.Next()
	require.Equal(t, err, again)
}

// many makes n records without holding them.
type many struct {
	n, i int
	rest []byte
}

func (m *many) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.i == m.n {
			return 0, io.EOF
		}
		m.i++
		m.rest = fmt.Appendf(nil, "dn: cn=policy %d,cn=Library,o=system\nobjectClass: DirXML-Rule\nXmlData:: %s\n\n", m.i,
			base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("<x/>\n"), 40)))
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	r := NewReader("bench", &many{n: b.N}, Limits{})
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("version: 1\n\ndn: cn=a,o=x\nobjectClass: top\nXmlData:: QUJD\n REVG\n\n"))
	f.Add([]byte("dn: cn=a,o=x\ncontrol: 1.2.3 true: v\nchangetype: modify\nadd: o\no: y\n-\ndelete: a\n-\n\n"))
	f.Add([]byte("dn: cn=a,o=x\nchangetype: modrdn\nnewrdn: cn=b\ndeleteoldrdn: 1\nnewsuperior:\n"))
	f.Add([]byte("# c\n d\n\r\ndn:: bz14\r\no: x\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := readAll(string(data), Limits{Value: 1 << 12, Record: 1 << 14, Lines: 100})
		if err != nil {
			if _, ok := errors.AsType[*badinput.Error](err); !ok {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var out bytes.Buffer
		w := NewWriter(&out)
		for _, rec := range all {
			if err := w.Write(rec); err != nil {
				t.Fatalf("cannot write what was read: %v", err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again, err := readAll(out.String(), Limits{Value: 1 << 12, Record: 1 << 14, Lines: 100})
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, out.String())
		}
		forgetLines(all)
		forgetLines(again)
		require.Equal(t, all, again)
	})
}

func forgetLines(all []*Record) {
	for _, r := range all {
		r.Line = 0
		normal(r.Attributes)
		for i := range r.Attributes {
			r.Attributes[i].Line = 0
		}
		for i := range r.Changes {
			r.Changes[i].Line = 0
			for j, v := range r.Changes[i].Values {
				if len(v) == 0 {
					r.Changes[i].Values[j] = nil
				}
			}
		}
		for i := range r.Controls {
			if len(r.Controls[i].Value) == 0 {
				r.Controls[i].Value = nil
			}
		}
	}
}
