package idm

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSortKeyPutsParentsBeforeChildrenAndSubtreesTogether(t *testing.T) {
	ordered := []string{"o=x", "cn=a,o=x", "cn=z,cn=a,o=x", "cn=a b,o=x", "cn=x,cn=a b,o=x", "cn=ab,o=x",
		`cn=b\2Cc,o=x`, "o=y"}
	var keys [][]byte
	for _, dn := range ordered {
		k, err := sortKey(dn)
		require.NoError(t, err)
		keys = append(keys, k)
	}
	require.True(t, slices.IsSortedFunc(keys, bytes.Compare))
	for _, pair := range [][2]string{{"CN=A , O=x", "cn=a,o=X"}, {`cn=b\,c,o=x`, `cn=b\2cc,o=x`},
		{"cn=a  b,o=x", "cn=A b,o=x"}, {"cn=a+sn=b,o=x", "sn=b+cn=a,o=x"}} {
		a, err := sortKey(pair[0])
		require.NoError(t, err)
		b, err := sortKey(pair[1])
		require.NoError(t, err)
		require.Equal(t, a, b, pair)
	}
	a, err := sortKey("cn=a,o=x")
	require.NoError(t, err)
	ab, err := sortKey("cn=ab,o=x")
	require.NoError(t, err)
	require.False(t, keyBelow(ab, a))
	require.Equal(t, "o=x", string(parentKey(a)))
	require.Nil(t, parentKey([]byte("o=x")))
	_, err = sortKey("nonsense")
	require.Error(t, err)
}

func TestObjectsSurviveTheSpool(t *testing.T) {
	attributes := rapid.Custom(func(t *rapid.T) []Attribute {
		var list []Attribute
		for _, name := range rapid.SliceOfDistinct(rapid.StringMatching(`[a-z]{1,5}`),
			func(s string) string { return s }).Draw(t, "names") {
			list = append(list, Attribute{Name: name,
				Values: rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 3).Draw(t, "values")})
		}
		return list
	})
	rapid.Check(t, func(t *rapid.T) {
		o := &object{dn: "cn=a,o=x", line: rapid.IntRange(0, 1<<30).Draw(t, "line"), made: rapid.Bool().Draw(t, "made"),
			plain: attributes.Draw(t, "plain"), refs: attributes.Draw(t, "refs"), notes: attributes.Draw(t, "notes")}
		for _, server := range []string{"cn=s,o=x", "cn=t,o=x"}[:rapid.IntRange(0, 2).Draw(t, "servers")] {
			o.local = append(o.local, local{server, 7, attributes.Draw(t, "local")})
		}
		packed := o.pack(nil)
		var got object
		if err := got.unpack(packed); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packed, got.pack(nil)) {
			t.Fatal("not the same")
		}
		if n := rapid.IntRange(0, len(packed)-1).Draw(t, "cut"); got.unpack(packed[:n]) == nil {
			t.Fatal("a cut object is taken for a whole one")
		}
	})
}

func TestPartsOfAnObjectComeTogether(t *testing.T) {
	c := newObjects(t.TempDir())
	defer c.close()
	for _, o := range []*object{
		{dn: "cn=a,o=x", line: 1, made: true, plain: []Attribute{Text("objectClass", "top")}},
		{dn: "o=x", line: 9, made: true, plain: []Attribute{Text("objectClass", "top")}},
		{dn: "CN=A,o=x", refs: []Attribute{Text("DirXML-Policies", "b", "a")}},
		{dn: "cn=a,o=x", local: []local{{server: "cn=t,o=x", values: []Attribute{Text("v", "1")}}}},
		{dn: "cn=a,o=x", local: []local{{server: "cn=s,o=x", values: []Attribute{Text("v", "2")}}}},
	} {
		require.NoError(t, c.add(o))
	}
	w, err := c.walk(nil)
	require.NoError(t, err)
	o, _, err := w.take()
	require.NoError(t, err)
	require.Equal(t, "o=x", o.dn)
	o, _, err = w.take()
	require.NoError(t, err)
	require.Equal(t, "cn=a,o=x", o.dn)
	require.True(t, o.made)
	require.Equal(t, []string{"a", "b"}, Entry{Attributes: o.refs}.Texts("DirXML-Policies"))
	require.Equal(t, "cn=s,o=x", o.local[0].server)
	require.Equal(t, "1", string(first(o.valuesOf("CN=T,O=x"), "v")))
	o, _, err = w.take()
	require.NoError(t, err)
	require.Nil(t, o)

	require.NoError(t, c.add(&object{dn: "cn=a,o=x", line: 12, made: true}))
	w, err = c.walk(nil)
	require.NoError(t, err)
	_, _, err = w.take()
	require.NoError(t, err)
	_, _, err = w.take()
	twice, ok := errors.AsType[*duplicate](err)
	require.True(t, ok)
	require.Equal(t, 12, twice.second)
}
