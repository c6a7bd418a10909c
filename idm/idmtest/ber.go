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

// message is one decoded LDAPMessage.
type message struct {
	id       int64
	op       any // bindRequest, searchRequest, …
	controls []control
}

type control struct {
	oid      string
	critical bool
	value    []byte // nil: absent
}

type bindRequest struct {
	version  int64
	dn       string
	simple   bool
	password []byte
	sasl     string
}

type unbindRequest struct{}

type abandonRequest struct{ id int64 }

type searchRequest struct {
	base      string
	scope     int64
	deref     int64
	sizeLimit int64
	timeLimit int64
	typesOnly bool
	filter    *filter
	attrs     []string
}

type attribute struct {
	name   string
	values [][]byte
}

type change struct {
	kind int64 // 0 add, 1 delete, 2 replace, 3 increment
	attribute
}

type modifyRequest struct {
	dn      string
	changes []change
}

type addRequest struct {
	dn    string
	attrs []attribute
}

type deleteRequest struct{ dn string }

type modifyDNRequest struct {
	dn          string
	newRDN      string
	deleteOld   bool
	newSuperior *string
}

type compareRequest struct {
	dn, attr string
	value    []byte
}

type extendedRequest struct {
	oid   string
	value []byte // nil: absent
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

func decodeOperation(op *ber.Packet) (any, error) {
	c := op.Children
	switch op.Tag {
	case tagBindRequest:
		return decodeBind(c)
	case tagUnbindRequest:
		return unbindRequest{}, nil
	case tagSearchRequest:
		return decodeSearch(c)
	case tagModifyRequest:
		return decodeModify(c)
	case tagAddRequest:
		return decodeAdd(c)
	case tagDelRequest:
		if op.TagType != ber.TypePrimitive {
			return nil, malformed("delete request")
		}
		return deleteRequest{dn: string(content(op))}, nil
	case tagModDNRequest:
		return decodeModifyDN(c)
	case tagCompareRequest:
		return decodeCompare(c)
	case tagAbandonRequest:
		id, err := ber.ParseInt64(content(op))
		if err != nil || op.TagType != ber.TypePrimitive {
			return nil, malformed("abandon request")
		}
		return abandonRequest{id: id}, nil
	case tagExtRequest:
		return decodeExtended(c)
	}
	return nil, malformed("unknown operation %d", op.Tag)
}

func decodeControls(p *ber.Packet) ([]control, error) {
	if !is(p, ber.ClassContext, 0) || p.TagType != ber.TypeConstructed {
		return nil, malformed("controls")
	}
	var list []control
	for _, child := range p.Children {
		if !is(child, ber.ClassUniversal, ber.TagSequence) || len(child.Children) < 1 || len(child.Children) > 3 {
			return nil, malformed("control")
		}
		oid, err := octets(child.Children[0])
		if err != nil {
			return nil, err
		}
		ctl := control{oid: string(oid)}
		rest := child.Children[1:]
		if len(rest) > 0 && is(rest[0], ber.ClassUniversal, ber.TagBoolean) {
			if ctl.critical, err = boolean(rest[0]); err != nil {
				return nil, err
			}
			rest = rest[1:]
		}
		if len(rest) > 0 {
			if ctl.value, err = octets(rest[0]); err != nil {
				return nil, err
			}
			rest = rest[1:]
		}
		if len(rest) > 0 {
			return nil, malformed("control %s", ctl.oid)
		}
		list = append(list, ctl)
	}
	return list, nil
}

func decodeBind(c []*ber.Packet) (any, error) {
	if len(c) != 3 {
		return nil, malformed("bind request")
	}
	version, err := integer(c[0], ber.TagInteger)
	if err != nil {
		return nil, err
	}
	name, err := octets(c[1])
	if err != nil {
		return nil, err
	}
	req := bindRequest{version: version, dn: string(name)}
	switch {
	case is(c[2], ber.ClassContext, 0) && c[2].TagType == ber.TypePrimitive:
		req.simple, req.password = true, content(c[2])
	case is(c[2], ber.ClassContext, 3) && len(c[2].Children) > 0:
		mechanism, err := octets(c[2].Children[0])
		if err != nil {
			return nil, err
		}
		req.sasl = string(mechanism)
	default:
		return nil, malformed("bind authentication")
	}
	return req, nil
}

func decodeSearch(c []*ber.Packet) (any, error) {
	if len(c) != 8 {
		return nil, malformed("search request")
	}
	base, err := octets(c[0])
	if err != nil {
		return nil, err
	}
	req := searchRequest{base: string(base)}
	for i, target := range []*int64{&req.scope, &req.deref, &req.sizeLimit, &req.timeLimit} {
		tag := ber.Tag(ber.TagInteger)
		if i < 2 {
			tag = ber.TagEnumerated
		}
		if *target, err = integer(c[1+i], tag); err != nil {
			return nil, err
		}
		if *target < 0 {
			return nil, malformed("negative limit")
		}
	}
	if req.scope > 2 || req.deref > 3 {
		return nil, malformed("scope %d, dereferencing %d", req.scope, req.deref)
	}
	if req.typesOnly, err = boolean(c[5]); err != nil {
		return nil, err
	}
	if req.filter, err = decodeFilter(c[6]); err != nil {
		return nil, err
	}
	if !is(c[7], ber.ClassUniversal, ber.TagSequence) {
		return nil, malformed("attribute selection")
	}
	for _, a := range c[7].Children {
		name, err := octets(a)
		if err != nil {
			return nil, err
		}
		req.attrs = append(req.attrs, string(name))
	}
	return req, nil
}

func decodeModify(c []*ber.Packet) (any, error) {
	if len(c) != 2 || !is(c[1], ber.ClassUniversal, ber.TagSequence) {
		return nil, malformed("modify request")
	}
	name, err := octets(c[0])
	if err != nil {
		return nil, err
	}
	req := modifyRequest{dn: string(name)}
	for _, child := range c[1].Children {
		if !is(child, ber.ClassUniversal, ber.TagSequence) || len(child.Children) != 2 {
			return nil, malformed("modification")
		}
		kind, err := integer(child.Children[0], ber.TagEnumerated)
		if err != nil {
			return nil, err
		}
		if kind < 0 || kind > 3 {
			return nil, malformed("modification kind %d", kind)
		}
		a, err := decodeAttribute(child.Children[1])
		if err != nil {
			return nil, err
		}
		req.changes = append(req.changes, change{kind: kind, attribute: a})
	}
	return req, nil
}

func decodeAttribute(p *ber.Packet) (attribute, error) {
	if !is(p, ber.ClassUniversal, ber.TagSequence) || len(p.Children) != 2 || !is(p.Children[1], ber.ClassUniversal, ber.TagSet) {
		return attribute{}, malformed("attribute")
	}
	name, err := octets(p.Children[0])
	if err != nil {
		return attribute{}, err
	}
	a := attribute{name: string(name)}
	for _, v := range p.Children[1].Children {
		value, err := octets(v)
		if err != nil {
			return attribute{}, err
		}
		a.values = append(a.values, value)
	}
	return a, nil
}

func decodeAdd(c []*ber.Packet) (any, error) {
	if len(c) != 2 || !is(c[1], ber.ClassUniversal, ber.TagSequence) {
		return nil, malformed("add request")
	}
	name, err := octets(c[0])
	if err != nil {
		return nil, err
	}
	req := addRequest{dn: string(name)}
	for _, child := range c[1].Children {
		a, err := decodeAttribute(child)
		if err != nil {
			return nil, err
		}
		if len(a.values) == 0 {
			return nil, malformed("attribute %q without value", a.name)
		}
		req.attrs = append(req.attrs, a)
	}
	return req, nil
}

func decodeModifyDN(c []*ber.Packet) (any, error) {
	if len(c) < 3 || len(c) > 4 {
		return nil, malformed("modify DN request")
	}
	name, err := octets(c[0])
	if err != nil {
		return nil, err
	}
	newRDN, err := octets(c[1])
	if err != nil {
		return nil, err
	}
	req := modifyDNRequest{dn: string(name), newRDN: string(newRDN)}
	if req.deleteOld, err = boolean(c[2]); err != nil {
		return nil, err
	}
	if len(c) == 4 {
		if !is(c[3], ber.ClassContext, 0) || c[3].TagType != ber.TypePrimitive {
			return nil, malformed("new superior")
		}
		superior := string(content(c[3]))
		req.newSuperior = &superior
	}
	return req, nil
}

func decodeCompare(c []*ber.Packet) (any, error) {
	if len(c) != 2 {
		return nil, malformed("compare request")
	}
	name, err := octets(c[0])
	if err != nil {
		return nil, err
	}
	attr, value, err := assertion(c[1].Children)
	if err != nil {
		return nil, err
	}
	return compareRequest{dn: string(name), attr: attr, value: value}, nil
}

func decodeExtended(c []*ber.Packet) (any, error) {
	if len(c) < 1 || len(c) > 2 || !is(c[0], ber.ClassContext, 0) || c[0].TagType != ber.TypePrimitive {
		return nil, malformed("extended request")
	}
	req := extendedRequest{oid: string(content(c[0]))}
	if len(c) == 2 {
		if !is(c[1], ber.ClassContext, 1) || c[1].TagType != ber.TypePrimitive {
			return nil, malformed("extended request value")
		}
		req.value = content(c[1])
	}
	return req, nil
}

func assertion(c []*ber.Packet) (name string, value []byte, err error) {
	if len(c) != 2 {
		return "", nil, malformed("attribute value assertion")
	}
	n, err := octets(c[0])
	if err != nil {
		return "", nil, err
	}
	value, err = octets(c[1])
	return string(n), value, err
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

// Encoding.

func newSequence(children ...*ber.Packet) *ber.Packet {
	p := ber.NewSequence("")
	for _, c := range children {
		p.AppendChild(c)
	}
	return p
}

func newOctets(value []byte) *ber.Packet {
	p := ber.Encode(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, nil, "")
	p.Data.Write(value)
	return p
}

func newString(value string) *ber.Packet { return newOctets([]byte(value)) }

func newInteger(value int64) *ber.Packet {
	return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, value, "")
}

func newContext(tag ber.Tag, value []byte) *ber.Packet {
	p := ber.Encode(ber.ClassContext, ber.TypePrimitive, tag, nil, "")
	p.Data.Write(value)
	return p
}

// encodeResult builds the final answer of an operation.
func encodeResult(id int64, tag ber.Tag, r *result) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, r.code, ""))
	op.AppendChild(newString(""))
	op.AppendChild(newString(r.text))
	if len(r.referrals) > 0 {
		ref := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
		for _, url := range r.referrals {
			ref.AppendChild(newString(url))
		}
		op.AppendChild(ref)
	}
	if tag == tagExtResponse {
		if r.name != "" {
			op.AppendChild(newContext(10, []byte(r.name)))
		}
		if r.value != nil {
			op.AppendChild(newContext(11, r.value))
		}
	}
	return encodeMessage(id, op, r.controls)
}

func encodeMessage(id int64, op *ber.Packet, controls []control) []byte {
	m := newSequence(newInteger(id), op)
	if len(controls) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range controls {
			seq := newSequence(newString(c.oid))
			if c.critical {
				seq.AppendChild(ber.NewLDAPBoolean(ber.ClassUniversal, ber.TypePrimitive, ber.TagBoolean, true, ""))
			}
			if c.value != nil {
				seq.AppendChild(newOctets(c.value))
			}
			list.AppendChild(seq)
		}
		m.AppendChild(list)
	}
	return m.Bytes()
}

func encodeEntry(id int64, name string, attrs []attribute, typesOnly bool) []byte {
	list := ber.NewSequence("")
	for _, a := range attrs {
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		if !typesOnly {
			for _, v := range a.values {
				set.AppendChild(newOctets(v))
			}
		}
		list.AppendChild(newSequence(newString(a.name), set))
	}
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tagSearchEntry, nil, "")
	op.AppendChild(newString(name))
	op.AppendChild(list)
	return encodeMessage(id, op, nil)
}

func encodeReference(id int64, urls []string) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tagSearchReference, nil, "")
	for _, u := range urls {
		op.AppendChild(newString(u))
	}
	return encodeMessage(id, op, nil)
}
