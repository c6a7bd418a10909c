package idm

import (
	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/01b61c5c/failover/internal/enum"
)

// Dialect holds what the vendor's texts leave open about the wire format. The zero value is the reading best supported
// by what is published. It is a plain value, a field of [Config].
//
// examples/labcheck settles both fields on a lab server and prints the value to use. The framing it finds by reading
// the statistics of a driver both ways. The polarity it finds on a scratch driver: disabled and enabled with 1 and with
// 0, one leaves the driver's cache empty and the other makes it grow, on whichever of the two acts the flag counts.
// Prove it there before the first real run: the wrong framing is refused, the wrong polarity is not, and "do not
// synchronize" then synchronizes everything.
type Dialect struct {
	Framing Framing
	Resync  ResyncFlag
}

// Framing says how a request with several arguments is written. A request with one argument is the bare value in
// both framings (seen in published code and in the vendor's reference).
type Framing int

const (
	// FramingConcatenated writes the values one after the other (inferred; the convention of eDirectory's other
	// extensions).
	FramingConcatenated Framing = iota
	// FramingSequence wraps several values in a SEQUENCE (the fallback; one published reading speaks of it).
	FramingSequence
)

// String returns the word the configuration files of the reference programs use.
func (f Framing) String() string {
	return enum.Name([]string{FramingConcatenated: "concatenated", FramingSequence: "sequence"}, f)
}

// ResyncFlag is the polarity of the third argument of SetDriverStartOption.
type ResyncFlag int

const (
	// ResyncFlagOneSkips: 1 means "do not synchronize automatically" (inferred from dxcmd and from driver exports).
	ResyncFlagOneSkips ResyncFlag = iota
	// ResyncFlagOneSyncs: 1 means "synchronize" (two published clients can be read this way).
	ResyncFlagOneSyncs
)

// String returns the word the configuration files of the reference programs use.
func (r ResyncFlag) String() string {
	return enum.Name([]string{ResyncFlagOneSkips: "one-skips", ResyncFlagOneSyncs: "one-syncs"}, r)
}

// flag returns the integer that travels for the wanted behaviour.
func (d Dialect) flag(r Resync) int64 {
	skip := r == ResyncNone
	if skip == (d.Resync == ResyncFlagOneSkips) {
		return 1
	}
	return 0
}

type argument struct{ packet *ber.Packet }

func octets(s string) argument {
	return argument{ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")}
}

func integer(n int64) argument {
	return argument{ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, n, "")}
}

// encode returns the request value, or nil when there are no arguments.
func (d Dialect) encode(args ...argument) []byte {
	var value []byte
	for _, a := range args {
		value = append(value, a.packet.Bytes()...)
	}
	if d.Framing == FramingSequence && len(args) > 1 {
		seq := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		for _, a := range args {
			seq.AppendChild(a.packet)
		}
		value = seq.Bytes()
	}
	return value
}
