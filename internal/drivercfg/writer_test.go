package drivercfg

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// depthFirst puts objects in the order a writer wants and reports whether that can be done.
func depthFirst(all []*Object) bool {
	if len(all) == 0 || len(all[0].Path) > 0 {
		return false
	}
	open := map[string]bool{"": true}
	for _, o := range all {
		if o.Class == "" {
			continue
		}
		path := strings.Join(o.Path, "\x00")
		if len(o.Path) > 0 && (open[path] || !open[strings.Join(o.Path[:len(o.Path)-1], "\x00")]) {
			return false
		}
		open[path] = o.Class == "DirXML-Publisher" || o.Class == "DirXML-Subscriber"
		for _, a := range o.Attributes {
			if isNaming(a.Name) || a.Name == "DirXML-ServerList" {
				return false // expressed by the place in the file, or asked for at import
			}
		}
	}
	return true
}

// write writes what was read, the jobs last.
func write(out io.Writer, h Header, all []*Object) ([]Lost, error) {
	w := NewWriter(out, h)
	for _, jobs := range []bool{false, true} {
		for _, o := range all {
			if o.Class == "" || (o.Class == "DirXML-Job" && len(o.Path) == 1) != jobs {
				continue
			}
			if err := w.Object(o); err != nil {
				return nil, err
			}
		}
	}
	return w.Lost(), w.Close()
}

// comparable strips what a second file may have differently: lines, what was skipped, the order of attributes and
// values, what stands around a document, and objects that are none.
func comparable(all []*Object) map[string]string {
	m := map[string]string{}
	for _, o := range all {
		if o.Class == "" {
			continue
		}
		var lines []string
		for _, a := range o.Attributes {
			values := make([]string, len(a.Values))
			for i, v := range a.Values {
				values[i] = string(Core(v))
			}
			slices.Sort(values)
			lines = append(lines, fmt.Sprintf("%s=%q", a.Name, values))
		}
		slices.Sort(lines)
		m[strings.Join(o.Path, "\x00")] = o.Class + "\n" + strings.Join(lines, "\n")
	}
	return m
}

func TestWriteWhatWasRead(t *testing.T) {
	h, all, err := read(bytes.NewReader(fixture(t)), Limits{})
	require.NoError(t, err)
	var out bytes.Buffer
	lost, err := write(&out, h, all)
	require.NoError(t, err)
	require.Empty(t, lost)
	h2, again, err := read(bytes.NewReader(out.Bytes()), Limits{})
	require.NoError(t, err, out.String())
	require.Equal(t, h, h2)
	require.Equal(t, comparable(all), comparable(again))
	require.Equal(t, len(one(t, all, "").Queries), len(one(t, again, "").Queries))
	require.Equal(t, QueryJobServers, one(t, again, "Nightly Count").Queries[0].Kind)

	var third bytes.Buffer
	_, err = write(&third, h2, again)
	require.NoError(t, err)
	require.Equal(t, out.String(), third.String(), "the same objects give the same bytes")
}

func TestValuesKeepTheirBytes(t *testing.T) {
	values := []string{
		"<policy/>",
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?><policy/>",
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<policy>\r\n</policy>\r\n",
		"\xef\xbb\xbf<policy/>",
		"  <policy/>\n\n",
		"<!-- note --><policy a='1'  b = \"2\" ><x></x><y /></policy><!-- end -->",
		"<policy><![CDATA[ a < b ]]>&#13;&lt;</policy>",
		"<policy xmlns:a='u'><a:x/></policy>",
		// These cannot stand inside another document and go as base64.
		"<!DOCTYPE policy SYSTEM \"x\"><policy/>",
		"<policy>",
		"</v><v>",
		"<a/><b/>",
		"plain text",
		"<x:policy/>",
		"<?failover-prolog Cg==?><policy/>",
		"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><policy/>",
		"<policy>M\xfcller</policy>",
		"\x00\x01\x02",
		"<policy>\x0b</policy>",
	}
	for i, v := range values {
		for _, o := range []*Object{
			{Path: []string{"p"}, Class: "DirXML-Rule", Attributes: []Attribute{{Name: "XmlData", Values: [][]byte{[]byte(v)}}}},
			{Path: []string{"p"}, Class: "DirXML-Resource",
				Attributes: []Attribute{{Name: "DirXML-Data", Values: [][]byte{[]byte(v)}}}},
			{Path: []string{"p"}, Class: "DirXML-Job", Attributes: []Attribute{{Name: "XmlData", Values: [][]byte{[]byte(v)}}}},
		} {
			var out bytes.Buffer
			lost, err := write(&out, Header{Name: "D"}, []*Object{{Class: "DirXML-Driver"}, o})
			require.NoError(t, err)
			require.Empty(t, lost)
			_, all, err := read(bytes.NewReader(out.Bytes()), Limits{})
			require.NoError(t, err, out.String())
			got := one(t, all, "p").Attributes[0].Values
			require.Len(t, got, 1)
			require.Equal(t, string(Core([]byte(v))), string(Core(got[0])), "value %d as %s", i, o.Class)
		}
	}
}

func TestWriterSaysWhatItLoses(t *testing.T) {
	d := &Object{Class: "DirXML-Driver", Attributes: []Attribute{
		{Name: "cn", Values: [][]byte{[]byte("D")}},
		{Name: "DirXML-PersistentData", Values: [][]byte{[]byte("<x/>")}},
		{Name: "DirXML-ConfigValues", Values: [][]byte{[]byte("no xml")}},
		{Name: "DirXML-Policies", Values: [][]byte{[]byte("cn=a#0#6"), []byte("cn=b")}},
		{Name: "DirXML-TraceLevel", Values: [][]byte{[]byte("1"), []byte("2")}},
		{Name: "DirXML-ShimAuthID", Values: [][]byte{{0}}}}}
	bad := &Object{Path: []string{"a\x01"}, Class: "DirXML-Rule"}
	extra := &Object{Path: []string{"r"}, Class: "DirXML-Rule",
		Attributes: []Attribute{{Name: "ACL", Values: [][]byte{[]byte("1#x")}}}}
	lost, err := write(io.Discard, Header{Name: "D"}, []*Object{d, bad, extra})
	require.NoError(t, err)
	var names []string
	for _, l := range lost {
		names = append(names, strings.Join(l.Path, "/")+":"+l.Attribute)
	}
	require.ElementsMatch(t, []string{":DirXML-PersistentData", ":DirXML-ConfigValues", ":DirXML-Policies",
		":DirXML-TraceLevel", ":DirXML-ShimAuthID", "a\x01:", "r:ACL"}, names)
}

func TestWriterWantsParentsFirst(t *testing.T) {
	d := &Object{Class: "DirXML-Driver"}
	pub := &Object{Path: []string{"P"}, Class: "DirXML-Publisher"}
	below := &Object{Path: []string{"P", "r"}, Class: "DirXML-Rule"}
	job := &Object{Path: []string{"j"}, Class: "DirXML-Job"}
	rule := &Object{Path: []string{"r"}, Class: "DirXML-Rule"}
	for name, order := range map[string][]*Object{
		"before the driver": {pub}, "before its parent": {d, below}, "parent left": {d, pub, rule, below},
		"behind the jobs": {d, job, rule}, "two drivers": {d, d},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWriter(io.Discard, Header{Name: "D"})
			var err error
			for _, o := range order {
				if err == nil {
					err = w.Object(o)
				}
			}
			require.Error(t, err)
		})
	}
	require.Error(t, NewWriter(io.Discard, Header{}).Close())
}
