package idm

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
)

// dirxmlOID is the arc of the engine's extended operations; the response to N is N+1.
const dirxmlOID = "2.16.840.1.113719.1.14.100."

// extop is one extended operation of the engine: its number, the words for errors, and whether it changes anything.
type extop struct {
	number int
	words  string
	effect effect
}

func (o extop) oid() string { return dirxmlOID + strconv.Itoa(o.number) }

// The operations failover needs, by their published numbers. Argument lists are at the methods that call them.
var (
	opGetDriverSet            = extop{1, "read the driver set of", reads}
	opSetDriverSet            = extop{3, "associate the server with driver set", writes}
	opClearDriverSet          = extop{5, "take the server out of its driver set", writes}
	opGetStartOption          = extop{7, "read start option of", reads}
	opSetStartOption          = extop{9, "set start option of", writes}
	opGetVersion              = extop{11, "read engine version of", reads}
	opGetDriverState          = extop{13, "read state of", reads}
	opStartDriver             = extop{15, "start driver", writes}
	opStopDriver              = extop{17, "stop driver", writes}
	opGetDriverStats          = extop{19, "read statistics of", reads}
	opGetSchema               = extop{21, "read application schema of", writes}
	opResync                  = extop{23, "resynchronize", writes}
	opGetChunk                = extop{33, "fetch result from", reads}
	opCloseChunk              = extop{35, "close result on", reads}
	opInitDriver              = extop{39, "initialise driver object", writes}
	opViewCache               = extop{41, "view cache of", reads}
	opGetPasswordsState       = extop{45, "read passwords state of", reads}
	opNotifyJob               = extop{53, "announce job change", writes}
	opGetJobState             = extop{59, "read state of job", reads}
	opSetAppPassword          = extop{67, "set application password of", writes}
	opClearAppPassword        = extop{69, "clear application password of", writes}
	opSetRemotePassword       = extop{71, "set Remote Loader password of", writes}
	opClearRemotePassword     = extop{73, "clear Remote Loader password of", writes}
	opSetNamedPassword        = extop{75, "set named password of", writes}
	opRemoveNamedPassword     = extop{77, "remove named password of", writes}
	opRemoveAllNamedPasswords = extop{79, "remove all named passwords of", writes}
	opListNamedPasswords      = extop{81, "list named passwords of", reads}
	opRestartDriver           = extop{101, "restart driver", writes}
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
	err := s.do(ctx, r, func(_ context.Context, c *ldap.Conn) error {
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

// perform sends one of the engine's operations about target, which is the first argument unless it is the server
// itself.
func (s *Server) perform(ctx context.Context, o extop, target string, secrets []failover.Secret,
	args ...argument) ([]byte, error) {
	answer, err := s.extended(ctx,
		request{op: o.words, target: target, effect: o.effect, driverOp: true, secrets: secrets}, o.oid(),
		s.conf.Dialect.encode(args...))
	return answer.Value, err
}

// sequence decodes an answer that is a SEQUENCE and returns its elements.
func sequence(o extop, target string, answer []byte) ([]*ber.Packet, error) {
	p, err := decode(answer)
	if err != nil || p.ClassType != ber.ClassUniversal || p.Tag != ber.TagSequence || p.TagType != ber.TypeConstructed {
		return nil, unknownLayout(o, target, answer)
	}
	return p.Children, nil
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
	outcome := failover.NotApplied
	if o.effect == writes {
		outcome = failover.InDoubt
	}
	shown := Raw(answer[:min(len(answer), 64)])
	return &failover.Error{Op: o.words, Target: target, Outcome: outcome,
		Next: "compare with what examples/labcheck finds on this server",
		Err:  fmt.Errorf("%w: %s", ErrUnknownLayout, shown)}
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

// askInt performs an operation that answers SEQUENCE { INTEGER … } and returns the first.
func (s *Server) askInt(ctx context.Context, o extop, target string, args ...argument) (int64, error) {
	answer, err := s.perform(ctx, o, target, nil, args...)
	if err != nil {
		return 0, err
	}
	elements, err := sequence(o, target, answer)
	if err != nil {
		return 0, err
	}
	if len(elements) == 0 {
		return 0, unknownLayout(o, target, answer)
	}
	n, ok := intElement(elements[0])
	if !ok {
		return 0, unknownLayout(o, target, answer)
	}
	return n, nil
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

func (s *Server) askChunked(ctx context.Context, o extop, target string, args ...argument) (chunked, error) {
	answer, err := s.perform(ctx, o, target, nil, args...)
	if err != nil {
		return chunked{}, err
	}
	elements, err := sequence(o, target, answer)
	if err != nil {
		return chunked{}, err
	}
	var numbers []int64
	for _, e := range elements {
		n, ok := intElement(e)
		if !ok {
			return chunked{}, unknownLayout(o, target, answer)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) < 2 || numbers[1] < 0 {
		return chunked{}, unknownLayout(o, target, answer)
	}
	return chunked{handle: numbers[0], size: numbers[1], rest: numbers[2:]}, nil
}

// fetch writes a chunked result to w and frees it on the server, also when fetching failed.
func (s *Server) fetch(ctx context.Context, target string, c chunked, w io.Writer) (err error) {
	if c.handle == 0 || c.size == 0 {
		return nil
	}
	defer func() {
		// The result would otherwise stay in the server's memory for minutes; the caller's deadline is often what failed.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.conf.CallTimeout)
		defer cancel()
		if _, closeErr := s.perform(ctx, opCloseChunk, target, nil, integer(c.handle)); err == nil {
			err = closeErr
		}
	}()
	for left := c.size; left > 0; {
		answer, err := s.perform(ctx, opGetChunk, target, nil, integer(c.handle), integer(min(left, maxChunk)), integer(0))
		if err != nil {
			return err
		}
		elements, err := sequence(opGetChunk, target, answer)
		if err != nil {
			return err
		}
		if len(elements) == 0 {
			return nil
		}
		data, ok := octetElement(elements[0])
		if !ok {
			return unknownLayout(opGetChunk, target, answer)
		}
		if data == "" {
			return nil
		}
		if _, err := io.WriteString(w, data); err != nil {
			return &failover.Error{Op: "keep result of", Target: target, Outcome: failover.NotApplied,
				Next: "make room and repeat", Err: err}
		}
		left -= int64(len(data))
	}
	return nil
}
