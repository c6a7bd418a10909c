package idmtest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/stretchr/testify/require"
)

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// The request that the fact sheet spells out byte by byte.
func TestDecodeStartDriver(t *testing.T) {
	oid := hex.EncodeToString([]byte("2.16.840.1.113719.1.14.100.15"))
	frame := mustHex(t, "303a020105 7735 801d"+oid+"8114 0412 636e3d41442c636e3d6473312c6f3d737973")
	m, err := decodeMessage(frame)
	require.NoError(t, err)
	require.Equal(t, int64(5), m.id)
	req, ok := m.op.(extendedRequest)
	require.True(t, ok)
	require.Equal(t, "2.16.840.1.113719.1.14.100.15", req.oid)
	args, err := decodeArguments(req.value, "n", FramingConcatenated)
	require.NoError(t, err)
	require.Equal(t, "cn=AD,cn=ds1,o=sys", args[0].text())
}

func TestDecodeArguments(t *testing.T) {
	name := "0412636e3d41442c636e3d6473312c6f3d737973"
	tests := []struct {
		value, pattern string
		framing        Framing
		ok             bool
	}{
		{name + "020102020101", "nii", FramingConcatenated, true},
		{"301a" + name + "020102020101", "nii", FramingSequence, true},
		{"301a" + name + "020102020101", "nii", FramingConcatenated, false},
		{name + "020102020101", "nii", FramingSequence, false},
		{name + "02046955b900", "ni", FramingConcatenated, true},
		{name, "ni", FramingConcatenated, false},
		{name + "020102" + "00", "ni", FramingConcatenated, false},
		{name + "0400", "ni", FramingConcatenated, false},
		{"", "n", FramingConcatenated, false},
		{"", "", FramingConcatenated, true},
		{"0500", "", FramingConcatenated, false},
		{"0481" + "05", "o", FramingConcatenated, false},
	}
	for _, test := range tests {
		_, err := decodeArguments(mustHex(t, test.value), test.pattern, test.framing)
		require.Equal(t, test.ok, err == nil, "%s as %s: %v", test.value, test.pattern, err)
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	for name, h := range map[string]string{
		"nothing":                   "",
		"indefinite length":         "3080 020101 6000 0000",
		"no operation":              "3003 020101",
		"negative id":               "3005 0201ff 4200",
		"universal operation":       "3005 020101 0400",
		"unknown operation":         "3005 020101 7d00",
		"bind without content":      "3005 020101 6000",
		"length beyond the end":     "3010 020101 4200",
		"search with scope nine":    "3025 020101 6320 0400 0a0109 0a0100 020100 020100 010100 870b6f626a656374436c617373 3000",
		"delete constructed":        "3007 020101 6a02 0400",
		"modification kind nine":    "3014 020101 660f 0400 300b 3009 0a0109 3004 0400 3100",
		"filter without choice":     "301a 020101 6315 0400 0a0100 0a0100 020100 020100 010100 0400 3000",
		"controls not in context":   "3007 020101 4200 3000",
		"extended without a name":   "3005 020101 7700",
		"tag of more than one byte": "3006 020101 1f8100",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeMessage(mustHex(t, h))
			require.ErrorIs(t, err, errMalformed)
		})
	}
	inner := []byte{0x87, 0x01, 'x'}
	for range 200 {
		inner = append([]byte{0xa2, 0x82, byte(len(inner) >> 8), byte(len(inner))}, inner...)
	}
	require.ErrorIs(t, checkNesting(inner, 0), errMalformed)
}

func TestFrames(t *testing.T) {
	read := func(b []byte) ([]byte, error) { return readFrame(bufio.NewReader(bytes.NewReader(b))) }
	whole := mustHex(t, "3005 020101 4200")
	got, err := read(append(whole, 0x30))
	require.NoError(t, err)
	require.Equal(t, whole, got)
	_, err = read(mustHex(t, "3084 7fffffff 00"))
	require.ErrorIs(t, err, errMalformed, "a length alone reserves nothing")
	_, err = read(mustHex(t, "3005 0201"))
	require.ErrorContains(t, err, "unexpected EOF")
	_, err = read([]byte("GET / HTTP/1.1\r\n"))
	require.ErrorIs(t, err, errMalformed)
}

func FuzzDecodeMessage(f *testing.F) {
	bind := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tagBindRequest, nil, "")
	bind.AppendChild(newInteger(3))
	bind.AppendChild(newString("cn=admin"))
	bind.AppendChild(newContext(0, []byte("pw")))
	f.Add(encodeMessage(1, bind,
		[]control{{oid: oidPaging, critical: true, value: newSequence(newInteger(10), newString("c")).Bytes()}}))
	for _, seed := range []string{
		"30050201014200",
		"302502010163200400" + "0a01020a0100020100020100010100" + "870b6f626a656374436c617373" + "3000",
		"300c02010368070403613d623000",
		"300a0201044a05636e3d612c",
		"3012020105660d0403613d62300630040a01023000",
		"301402010677 0f800d312e332e362e312e342e312e31",
	} {
		if b, err := hex.DecodeString(strings.ReplaceAll(seed, " ", "")); err == nil {
			f.Add(b)
		}
	}
	s := newSchema()
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := readFrame(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		m, err := decodeMessage(frame)
		if err != nil {
			require.ErrorIs(t, err, errMalformed)
			return
		}
		switch op := m.op.(type) {
		case searchRequest:
			op.filter.match(virtualView{name: "cn=x", attrs: []attribute{textAttribute("cn", "x")}}, s)
		case extendedRequest:
			for _, framing := range []Framing{FramingConcatenated, FramingSequence} {
				_, _ = decodeArguments(op.value, "nio", framing)
			}
		case modifyDNRequest:
			_, _ = parseDN(op.newRDN)
		}
	})
}

func FuzzParseDN(f *testing.F) {
	for _, s := range []string{"cn=a,o=b", `cn=a\,b+sn=c\20,o=\23x`, "cn=ä", "cn=", ",", `cn=a\`, `cn=\41\4`,
		"cn = a , o = b "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := parseDN(s)
		if err != nil {
			return
		}
		again, err := parseDN(name.String())
		require.NoError(t, err, "%q", name.String())
		require.Equal(t, name.key(), again.key())
		fromKey, err := parseDN(name.key())
		require.NoError(t, err, "%q", name.key())
		require.Equal(t, name.key(), fromKey.key())
	})
}

func TestDNForms(t *testing.T) {
	same := [][2]string{
		{"cn=Drv,cn=Set,o=org", "CN=drv, CN=SET , O=Org"},
		{`cn=a\,b,o=x`, `cn=A\2CB,o=x`},
		{"cn=a+sn=b,o=x", "sn=B+cn=A,o=x"},
		{"cn=two  words,o=x", "cn=two words,o=x"},
	}
	for _, pair := range same {
		require.Equal(t, dnKey(pair[0]), dnKey(pair[1]))
	}
	for _, bad := range []string{"a", "cn=", "=x", "cn=a,", `cn=a\`, "cn=<a>", "c n=a", "cn=#0401"} {
		_, err := parseDN(bad)
		require.Error(t, err, bad)
	}
}
