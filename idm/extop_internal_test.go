package idm

import (
	"encoding/hex"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"
)

// The driver of the byte examples: 18 octets.
const (
	exampleDriver = "cn=AD,cn=ds1,o=sys"
	exampleTLV    = "0412636e3d41442c636e3d6473312c6f3d737973"
)

func TestRequestValuesAreExact(t *testing.T) {
	d := octets(exampleDriver)
	sequenced := Dialect{Framing: FramingSequence}
	long := "cn=" + strings.Repeat("x", 200) + ",o=sys"
	tests := []struct {
		name    string
		dialect Dialect
		args    []argument
		want    string
	}{
		{"no argument", Dialect{}, nil, ""},
		{"one DN is bare", Dialect{}, []argument{d}, exampleTLV},
		{"one DN is bare in the other framing too", sequenced, []argument{d}, exampleTLV},
		{"set start option auto, flag 1", Dialect{}, []argument{d, integer(2), integer(1)}, exampleTLV + "020102020101"},
		{"the same as a sequence", sequenced, []argument{d, integer(2), integer(1)}, "301a" + exampleTLV + "020102020101"},
		{"resync since 2026-01-01", Dialect{}, []argument{d, integer(1767225600)}, exampleTLV + "02046955b900"},
		{"set named password", Dialect{}, []argument{d, octets("svc"), octets("Service pw"), octets("s3cret")},
			exampleTLV + "0403737663" + "040a53657276696365207077" + "0406733363726574"},
		{"a long DN takes the long length", Dialect{}, []argument{octets(long)}, "0481d1" + hex.EncodeToString([]byte(long))},
		{"an empty text", Dialect{}, []argument{octets("")}, "0400"},
		{"a number with a set high bit", Dialect{}, []argument{integer(64512)}, "020300fc00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, hex.EncodeToString(tt.dialect.encode(tt.args...)))
		})
	}
}

// The whole message of the fact sheet: StartDriver with message id 5.
func TestTheWholeMessageIsExact(t *testing.T) {
	value := requestValue(Dialect{}.encode(octets(exampleDriver)))
	message := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, int64(5), ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, opStartDriver.oid(), ""))
	op.AppendChild(value)
	message.AppendChild(op)
	require.Equal(t, "303a0201057735801d"+hex.EncodeToString([]byte("2.16.840.1.113719.1.14.100.15"))+"8114"+exampleTLV,
		hex.EncodeToString(message.Bytes()))
	require.Nil(t, requestValue(nil), "no argument, no field")
}

func TestOperationNumbers(t *testing.T) {
	want := map[int]extop{1: opGetDriverSet, 3: opSetDriverSet, 5: opClearDriverSet, 7: opGetStartOption,
		9: opSetStartOption, 11: opGetVersion,
		13: opGetDriverState, 15: opStartDriver, 17: opStopDriver, 19: opGetDriverStats, 21: opGetSchema, 23: opResync,
		33: opGetChunk, 35: opCloseChunk,
		39: opInitDriver, 41: opViewCache, 45: opGetPasswordsState, 53: opNotifyJob, 59: opGetJobState, 67: opSetAppPassword,
		69: opClearAppPassword,
		71: opSetRemotePassword, 73: opClearRemotePassword, 75: opSetNamedPassword, 77: opRemoveNamedPassword,
		79: opRemoveAllNamedPasswords,
		81: opListNamedPasswords, 101: opRestartDriver}
	for n, o := range want {
		require.Equal(t, n, o.number)
		require.Equal(t, 1, n%2, "requests have odd numbers, their responses follow")
	}
	require.Equal(t, "2.16.840.1.113719.1.14.100.101", opRestartDriver.oid())
}

func TestResyncPolarity(t *testing.T) {
	require.EqualValues(t, 1, Dialect{}.flag(ResyncNone))
	require.EqualValues(t, 0, Dialect{}.flag(ResyncEvents))
	require.EqualValues(t, 0, Dialect{Resync: ResyncFlagOneSyncs}.flag(ResyncNone))
	require.EqualValues(t, 1, Dialect{Resync: ResyncFlagOneSyncs}.flag(ResyncEvents))
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

func TestAnswersAreReadOrTypedAsUnknown(t *testing.T) {
	r, err := sequence(opGetDriverState, exampleDriver, bytesOf(t, "3003020102"), nil)
	require.NoError(t, err)
	n, err := r.number(0)
	require.NoError(t, err)
	require.EqualValues(t, StateRunning, n)

	for name, answer := range map[string]string{"nothing": "", "bare number": "020102", "rest behind": "300302010200",
		"cut": "3003", "indefinite junk": "308002"} {
		t.Run(name, func(t *testing.T) {
			_, err := sequence(opGetDriverState, exampleDriver, bytesOf(t, answer), nil)
			require.ErrorIs(t, err, ErrUnknownLayout)
		})
	}
}

func TestNamedPasswordListShapes(t *testing.T) {
	pair := "0403737663" + "04025057"
	want := []NamedPassword{{"svc", "PW"}}
	for name, answer := range map[string]string{"pairs wrapped": "300b" + "3009" + pair, "flat": "3009" + pair,
		"list in a wrapper": "300d300b3009" + pair} {
		t.Run(name, func(t *testing.T) {
			r, err := sequence(opListNamedPasswords, exampleDriver, bytesOf(t, answer), nil)
			require.NoError(t, err)
			list, ok := namedPasswords(r.elements)
			require.True(t, ok)
			require.Equal(t, want, list)
		})
	}
	r, err := sequence(opListNamedPasswords, exampleDriver, bytesOf(t, "3005"+"0403737663"), nil)
	require.NoError(t, err)
	_, ok := namedPasswords(r.elements)
	require.False(t, ok, "half a pair is not guessed at")
}

func TestNDSCodes(t *testing.T) {
	for text, want := range map[string]int{"NDS error: no such entry (-601)": -601,
		"NDS error: no access (-672)": -672, "NMAS (-16049)": -16049,
		"(-601) after all (-672)": -672, "no number": 0, "(-12)": 0, "-601": 0} {
		require.Equal(t, want, parseNDS(text), text)
	}
	require.Equal(t, "VRDIM not initialized", ndsReadings[-783].name)
}

func TestStatistics(t *testing.T) {
	const doc = `<driver-info driver-dn="cn=AD,cn=ds1,o=sys" server-dn="cn=srv1,o=sys"><subscriber><cache><size>1234</size><unprocessed-size>12</unprocessed-size>
<transactions><oldest>20260101120000123</oldest><newest>20260101120500</newest></transactions></cache></subscriber><publisher><cache><size>9</size></cache></publisher></driver-info>`
	s, err := parseStats([]byte(doc))
	require.NoError(t, err)
	require.Equal(t, "cn=srv1,o=sys", s.ServerDN)
	require.EqualValues(t, 1234, s.CacheBytes)
	require.Equal(t, "2026-01-01 12:00:00 +0000 UTC", s.Oldest.String())
	s, err = parseStats([]byte(`<driver-info timestamp="20260101121000.000Z"><subscriber><cache><size>7</size></cache>` +
		`<cache><size>0</size></cache></subscriber></driver-info>`))
	require.NoError(t, err)
	require.EqualValues(t, 7, s.CacheBytes, "of all caches: the last one alone does not say that nothing waits")
	require.Equal(t, "2026-01-01 12:10:00 +0000 UTC", s.At.String())
	for _, bad := range []string{"", "<driver-info>",
		"<driver-info><subscriber><cache><size>x</size></cache></subscriber></driver-info>",
		"<!DOCTYPE x [<!ENTITY a 'b'>]><driver-info>&a;</driver-info>"} {
		_, err := parseStats([]byte(bad))
		require.ErrorIs(t, err, ErrUnknownLayout, bad)
	}
}

func TestSchemaDefinitions(t *testing.T) {
	a := parseAttributeType(`( 2.16.840.1.113719.1.14.4.1.5 NAME ( 'DirXML-ShimAuthID' 'x' ) DESC 'a (b) NO-USER-MODIFICATION' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{64512} SINGLE-VALUE X-NDS_NEVER_SYNC '1' )`)
	require.Equal(t, AttributeType{Name: "DirXML-ShimAuthID", OID: "2.16.840.1.113719.1.14.4.1.5", Syntax: syntaxString,
		SingleValue: true, PerServer: true}, a)
}

func TestVersion(t *testing.T) {
	require.Equal(t, "4.8.7.0 build 3", Version(0x48070003).String())
	require.Equal(t, "4.8.6.0 build 3", Version(1208352771).String())
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{"3003020102", "300b3009040373766304025057", "", "308002", "3084ffffffff"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, answer []byte) {
		if r, err := sequence(opListNamedPasswords, exampleDriver, answer, nil); err == nil {
			namedPasswords(r.elements)
		}
		_, _ = parseStats(answer)
		parseAttributeType(string(answer))
	})
}

// A figure that is not there is not zero, and a number nobody has published is neither on nor off.
func TestWhatIsNotSaidIsNotRead(t *testing.T) {
	_, err := parseStats([]byte(`<driver-info driver-dn="d"><subscriber><cache/></subscriber></driver-info>`))
	require.ErrorIs(t, err, ErrUnknownLayout)
	for option, enabled := range map[StartOption]bool{StartDisabled: false, StartManual: true, StartAuto: true,
		StartOverflowManual: true, StartOverflowAuto: true, 5: false, -1: false} {
		require.Equal(t, enabled, option.enabled(), option.String())
	}
}
