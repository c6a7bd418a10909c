package idmtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Protocol operation tags (RFC 4511 §4.2 ff.), all of class APPLICATION.
const (
	tagBindRequest     = 0
	tagBindResponse    = 1
	tagUnbindRequest   = 2
	tagSearchRequest   = 3
	tagSearchEntry     = 4
	tagSearchDone      = 5
	tagModifyRequest   = 6
	tagModifyResponse  = 7
	tagAddRequest      = 8
	tagAddResponse     = 9
	tagDelRequest      = 10
	tagDelResponse     = 11
	tagModDNRequest    = 12
	tagModDNResponse   = 13
	tagCompareRequest  = 14
	tagCompareResponse = 15
	tagAbandonRequest  = 16
	tagSearchReference = 19
	tagExtRequest      = 23
	tagExtResponse     = 24
)

// maxMessage bounds one request, so that a hostile length cannot make the simulator reserve memory.
const maxMessage = 256 << 20

// maxDepth bounds nesting; the deepest legal message is a search filter.
const maxDepth = 64

var errMalformed = errors.New("malformed LDAP message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
}

// readFrame reads the bytes of one LDAPMessage. io.EOF means the client went away between two messages.
func readFrame(r *bufio.Reader) ([]byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	if first != 0x30 {
		return nil, malformed("message begins with %#02x, not with a SEQUENCE", first)
	}
	head := []byte{first}
	b, err := r.ReadByte()
	if err != nil {
		return nil, unexpected(err)
	}
	head = append(head, b)
	length := int(b)
	if b >= 0x80 {
		n := int(b & 0x7f)
		if n == 0 || n > 4 {
			return nil, malformed("length of %d bytes", n)
		}
		length = 0
		for range n {
			if b, err = r.ReadByte(); err != nil {
				return nil, unexpected(err)
			}
			head = append(head, b)
			length = length<<8 | int(b)
		}
	}
	if length > maxMessage {
		return nil, malformed("message of %d bytes, at most %d are taken", length, maxMessage)
	}
	// The buffer grows with what arrives: a length alone reserves nothing.
	body, err := io.ReadAll(io.LimitReader(r, int64(length)))
	if err == nil && len(body) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, unexpected(err)
	}
	return append(head, body...), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkNesting refuses what the BER library would take: indefinite lengths, which LDAP forbids, and deep nesting,
// which costs it time in the square of the depth.
func checkNesting(data []byte, depth int) error {
	if depth > maxDepth {
		return malformed("nested deeper than %d", maxDepth)
	}
	for len(data) > 0 {
		tag := data[0]
		if tag&0x1f == 0x1f {
			return malformed("tag of more than one byte")
		}
		if len(data) < 2 {
			return malformed("element without length")
		}
		length, used := int(data[1]), 2
		if data[1] >= 0x80 {
			n := int(data[1] & 0x7f)
			if n == 0 || n > 4 || len(data) < 2+n {
				return malformed("length of %d bytes", n)
			}
			length = 0
			for _, b := range data[2 : 2+n] {
				length = length<<8 | int(b)
			}
			used += n
		}
		if length > len(data)-used {
			return malformed("element of %d bytes where %d are left", length, len(data)-used)
		}
		if tag&0x20 != 0 {
			if err := checkNesting(data[used:used+length], depth+1); err != nil {
				return err
			}
		}
		data = data[used+length:]
	}
	return nil
}

// decodeMessage reads one framed message.
func decodeMessage(frame []byte) (*message, error) {
	if err := checkNesting(frame, 0); err != nil {
		return nil, err
	}
	p, err := ber.DecodePacketErr(frame)
	if err != nil {
		return nil, malformed("%v", err)
	}
	if !is(p, ber.ClassUniversal, ber.TagSequence) || len(p.Children) < 2 || len(p.Children) > 3 {
		return nil, malformed("not an LDAPMessage")
	}
	id, err := integer(p.Children[0], ber.TagInteger)
	if err != nil || id < 0 || id > 1<<31-1 {
		return nil, malformed("bad message id")
	}
	m := &message{id: id}
	if len(p.Children) == 3 {
		if m.controls, err = decodeControls(p.Children[2]); err != nil {
			return nil, err
		}
	}
	op := p.Children[1]
	if op.ClassType != ber.ClassApplication {
		return nil, malformed("operation is not of class APPLICATION")
	}
	m.op, err = decodeOperation(op)
	return m, err
}

func is(p *ber.Packet, class ber.Class, tag ber.Tag) bool {
	return p.ClassType == class && p.Tag == tag
}

// content returns the bytes of a primitive; never nil, because absent and empty are not the same.
func content(p *ber.Packet) []byte { return append([]byte{}, p.Data.Bytes()...) }

func octets(p *ber.Packet) ([]byte, error) {
	if !is(p, ber.ClassUniversal, ber.TagOctetString) || p.TagType != ber.TypePrimitive {
		return nil, malformed("OCTET STRING expected")
	}
	return content(p), nil
}

func integer(p *ber.Packet, tag ber.Tag) (int64, error) {
	if !is(p, ber.ClassUniversal, tag) || p.TagType != ber.TypePrimitive || p.Data.Len() == 0 {
		return 0, malformed("number expected")
	}
	n, err := ber.ParseInt64(p.Data.Bytes())
	if err != nil {
		return 0, malformed("number: %v", err)
	}
	return n, nil
}

func boolean(p *ber.Packet) (bool, error) {
	if !is(p, ber.ClassUniversal, ber.TagBoolean) || p.TagType != ber.TypePrimitive || p.Data.Len() != 1 {
		return false, malformed("BOOLEAN expected")
	}
	return p.Data.Bytes()[0] != 0, nil
}
