package idm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

// Dialect holds what the vendor's texts leave open about the wire format. The zero value is the reading best supported
// by what is published. It is a plain value, a field of [Config].
//
// examples/labcheck settles both fields on a lab server and prints the value to use. Prove it there before the first
// real run: the wrong framing is refused, the wrong polarity is not, and "do not synchronize" then synchronizes
// everything.
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

// dirxmlOID is the arc of the engine's extended operations; the response to N is N+1.
const dirxmlOID = "2.16.840.1.113719.1.14.100."

type extop struct {
	number int
	words  string // for errors
	of     string // what it calls the DN that is its first argument
	effect effect
}

func (o extop) oid() string { return dirxmlOID + strconv.Itoa(o.number) }

// The operations failover needs, by their published numbers. Argument lists are at the methods that call them.
var (
	opGetDriverSet            = extop{1, "read the driver set of", "", reads}
	opSetDriverSet            = extop{3, "associate the server with driver set", "driver set", writes}
	opClearDriverSet          = extop{5, "take the server out of its driver set", "", writes}
	opGetStartOption          = extop{7, "read start option of", "driver", reads}
	opSetStartOption          = extop{9, "set start option of", "driver", writes}
	opGetVersion              = extop{11, "read engine version of", "", reads}
	opGetDriverState          = extop{13, "read state of", "driver", reads}
	opStartDriver             = extop{15, "start driver", "dn", writes}
	opStopDriver              = extop{17, "stop driver", "dn", writes}
	opGetDriverStats          = extop{19, "read statistics of", "driver", reads}
	opGetSchema               = extop{21, "read application schema of", "dn", writes}
	opResync                  = extop{23, "resynchronize", "driver", writes}
	opGetChunk                = extop{33, "fetch result from", "", reads}
	opCloseChunk              = extop{35, "close result on", "", reads}
	opInitDriver              = extop{39, "initialise driver object", "dn", writes}
	opViewCache               = extop{41, "view cache of", "driver", reads}
	opGetPasswordsState       = extop{45, "read passwords state of", "driver", reads}
	opNotifyJob               = extop{53, "announce job change", "dn", writes}
	opGetJobState             = extop{59, "read state of job", "job", reads}
	opSetAppPassword          = extop{67, "set application password of", "driver", writes}
	opClearAppPassword        = extop{69, "clear application password of", "dn", writes}
	opSetRemotePassword       = extop{71, "set Remote Loader password of", "driver", writes}
	opClearRemotePassword     = extop{73, "clear Remote Loader password of", "dn", writes}
	opSetNamedPassword        = extop{75, "set named password of", "dn", writes}
	opRemoveNamedPassword     = extop{77, "remove named password of", "dn", writes}
	opRemoveAllNamedPasswords = extop{79, "remove all named passwords of", "dn", writes}
	opListNamedPasswords      = extop{81, "list named passwords of", "dn", reads}
	opRestartDriver           = extop{101, "restart driver", "dn", writes}
)

// Raw is an answer whose layout nobody has published, as it came.
type Raw []byte

// String returns the bytes in hexadecimal.
func (r Raw) String() string { return hex.EncodeToString(r) }

// Answer is the answer to an extended operation as it came.
type Answer struct {
	Name  string // responseName, "" when the server left it out as RFC 4511 allows
	Value Raw    // responseValue, nil when there was none
}

// Extended sends any extended operation and returns the answer as it came. The SDK knows nothing about its effect and
// calls a lost answer in doubt.
func (s *Server) Extended(ctx context.Context, oid string, value []byte) (Answer, error) {
	return s.extended(ctx, request{op: "extended operation " + oid + " on", target: s.address, effect: writes}, oid, value)
}

func (s *Server) extended(ctx context.Context, r request, oid string, value []byte) (Answer, error) {
	req := ldap.NewExtendedRequest(oid, requestValue(value))
	var answer Answer
	err := s.do(ctx, r, func(c *ldap.Conn) error {
		answer = Answer{}
		resp, err := c.Extended(req)
		if err != nil {
			return err
		}
		answer.Name = resp.Name
		if resp.Value != nil && resp.Value.Data != nil {
			answer.Value = resp.Value.Data.Bytes()
		}
		return nil
	})
	return answer, err
}

// requestValue wraps an encoded value as the [1] field of RFC 4511 §4.12; no value, no field.
func requestValue(value []byte) *ber.Packet {
	if value == nil {
		return nil
	}
	return ber.NewString(ber.ClassContext, ber.TypePrimitive, 1, string(value), "")
}

func (s *Server) perform(ctx context.Context, o extop, target string, secrets []failover.Secret,
	args ...argument) ([]byte, error) {
	r := request{op: o.words, target: target, effect: o.effect, driverOp: true, secrets: secrets}
	answer, err := s.extended(ctx, r, o.oid(), s.conf.Dialect.encode(args...))
	return answer.Value, err
}

// about sends an operation about the object dn, its first argument.
func (s *Server) about(ctx context.Context, o extop, dn string, secrets []failover.Secret, args ...argument) ([]byte,
	error) {
	if err := checkDN(o.of, dn); err != nil {
		return nil, err
	}
	return s.perform(ctx, o, dn, secrets, append([]argument{octets(dn)}, args...)...)
}

// order sends an operation about the object dn whose answer says nothing.
func (s *Server) order(ctx context.Context, o extop, dn string, args ...argument) error {
	_, err := s.about(ctx, o, dn, nil, args...)
	return err
}

type reply struct {
	o        extop
	target   string
	raw      []byte
	elements []*ber.Packet
}

// sequence decodes an answer; on an error it is that of the operation.
func sequence(o extop, target string, answer []byte, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	p, err := decode(answer)
	if err != nil || p.ClassType != ber.ClassUniversal || p.Tag != ber.TagSequence || p.TagType != ber.TypeConstructed {
		return reply{}, unknownLayout(o, target, answer)
	}
	return reply{o, target, answer, p.Children}, nil
}

func (r reply) unknown() error { return unknownLayout(r.o, r.target, r.raw) }

// number returns the integer at place i.
func (r reply) number(i int) (int64, error) {
	if i < len(r.elements) {
		if n, ok := intElement(r.elements[i]); ok {
			return n, nil
		}
	}
	return 0, r.unknown()
}

// text returns the octets at place i.
func (r reply) text(i int) (string, error) {
	if s, ok := octetElement(r.elements[i]); ok {
		return s, nil
	}
	return "", r.unknown()
}

// decode reads exactly one BER element that fills the whole input.
func decode(b []byte) (*ber.Packet, error) {
	p, err := ber.DecodePacketErr(b)
	if err != nil {
		return nil, err
	}
	if n := len(p.Bytes()); n != len(b) {
		return nil, fmt.Errorf("%d bytes behind the value", len(b)-n)
	}
	return p, nil
}

func unknownLayout(o extop, target string, answer []byte) error {
	failed := notDone
	if o.effect == writes {
		failed = inDoubt
	}
	return failed(o.words, target, "compare with what examples/labcheck finds on this server",
		fmt.Errorf("%w: %s", ErrUnknownLayout, Raw(answer[:min(len(answer), 64)])))
}

func intElement(p *ber.Packet) (int64, bool) {
	n, ok := p.Value.(int64)
	return n, ok && p.ClassType == ber.ClassUniversal && (p.Tag == ber.TagInteger || p.Tag == ber.TagEnumerated)
}

func octetElement(p *ber.Packet) (string, bool) {
	if p.ClassType != ber.ClassUniversal || p.Tag != ber.TagOctetString || p.TagType != ber.TypePrimitive {
		return "", false
	}
	return p.Data.String(), true
}

// askInt asks for the first of the numbers an operation about dn answers.
func (s *Server) askInt(ctx context.Context, o extop, dn string) (int64, error) {
	answer, err := s.about(ctx, o, dn, nil)
	r, err := sequence(o, dn, answer, err)
	if err != nil {
		return 0, err
	}
	return r.number(0)
}

// maxChunk is the most the engine hands out in one piece (seen).
const maxChunk = 64512

// resultMinutes is how long the engine keeps a chunked result for fetching (documented range 0–10).
const resultMinutes = 5

// chunked is a result kept on the server: a handle, its size and what else the operation answered.
type chunked struct {
	handle, size int64
	rest         []int64
}

func (s *Server) askChunked(ctx context.Context, o extop, dn string, args ...argument) (chunked, error) {
	answer, err := s.about(ctx, o, dn, nil, args...)
	r, err := sequence(o, dn, answer, err)
	if err != nil {
		return chunked{}, err
	}
	numbers := make([]int64, max(2, len(r.elements)))
	for i := range numbers {
		if numbers[i], err = r.number(i); err != nil {
			return chunked{}, err
		}
	}
	if numbers[1] < 0 {
		return chunked{}, r.unknown()
	}
	return chunked{handle: numbers[0], size: numbers[1], rest: numbers[2:]}, nil
}

// fetch returns a chunked result of at most limit bytes and frees it on the server, also when fetching failed.
func (s *Server) fetch(ctx context.Context, target string, c chunked, limit int) (result []byte, err error) {
	if c.handle == 0 || c.size == 0 {
		return nil, nil
	}
	defer func() {
		// The result would otherwise stay in the server's memory for minutes; the caller's deadline is often what failed.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.conf.CallTimeout)
		defer cancel()
		if _, closeErr := s.perform(ctx, opCloseChunk, target, nil, integer(c.handle)); err == nil {
			err = closeErr
		}
	}()
	for int64(len(result)) < c.size {
		answer, err := s.perform(ctx, opGetChunk, target, nil, integer(c.handle),
			integer(min(c.size-int64(len(result)), maxChunk)), integer(0))
		r, err := sequence(opGetChunk, target, answer, err)
		if err != nil {
			return nil, err
		}
		if len(r.elements) == 0 {
			break
		}
		data, err := r.text(0)
		if err != nil {
			return nil, err
		}
		if data == "" {
			break
		}
		if result = append(result, data...); len(result) > limit {
			return nil, notDone("keep result of", target, "make room and repeat",
				errors.New("the result is larger than any such document"))
		}
	}
	return result, nil
}
