package idmtest

import (
	"bytes"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// filterKind is the choice of an RFC 4511 filter, numbered by its tag.
type filterKind int

const (
	filterAnd filterKind = iota
	filterOr
	filterNot
	filterEqual
	filterSubstrings
	filterGreater
	filterLess
	filterPresent
	filterApprox
	filterExtensible
)

type filter struct {
	kind  filterKind
	subs  []*filter
	attr  string
	value []byte

	initial []byte // substrings; nil: absent
	middle  [][]byte
	final   []byte

	rule    string // extensible match
	dnAttrs bool
}

func decodeFilter(p *ber.Packet) (*filter, error) {
	if p.ClassType != ber.ClassContext || p.Tag > ber.Tag(filterExtensible) {
		return nil, malformed("filter")
	}
	f := &filter{kind: filterKind(p.Tag)}
	var err error
	switch f.kind {
	case filterAnd, filterOr:
		for _, c := range p.Children {
			sub, err := decodeFilter(c)
			if err != nil {
				return nil, err
			}
			f.subs = append(f.subs, sub)
		}
	case filterNot:
		if len(p.Children) != 1 {
			return nil, malformed("not filter")
		}
		sub, err := decodeFilter(p.Children[0])
		if err != nil {
			return nil, err
		}
		f.subs = []*filter{sub}
	case filterPresent:
		if p.TagType != ber.TypePrimitive {
			return nil, malformed("presence filter")
		}
		f.attr = string(content(p))
	case filterSubstrings:
		err = f.decodeSubstrings(p.Children)
	case filterExtensible:
		err = f.decodeExtensible(p.Children)
	default:
		f.attr, f.value, err = assertion(p.Children)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (f *filter) decodeSubstrings(c []*ber.Packet) error {
	if len(c) != 2 || !is(c[1], ber.ClassUniversal, ber.TagSequence) || len(c[1].Children) == 0 {
		return malformed("substring filter")
	}
	name, err := octets(c[0])
	if err != nil {
		return err
	}
	f.attr = string(name)
	parts := c[1].Children
	for i, part := range parts {
		if part.ClassType != ber.ClassContext || part.TagType != ber.TypePrimitive {
			return malformed("substring")
		}
		switch {
		case part.Tag == 0 && i == 0:
			f.initial = content(part)
		case part.Tag == 1:
			f.middle = append(f.middle, content(part))
		case part.Tag == 2 && i == len(parts)-1:
			f.final = content(part)
		default:
			return malformed("substring order")
		}
	}
	return nil
}

func (f *filter) decodeExtensible(c []*ber.Packet) error {
	haveValue := false
	for _, part := range c {
		if part.ClassType != ber.ClassContext || part.TagType != ber.TypePrimitive {
			return malformed("extensible filter")
		}
		switch part.Tag {
		case 1:
			f.rule = string(content(part))
		case 2:
			f.attr = string(content(part))
		case 3:
			f.value, haveValue = content(part), true
		case 4:
			f.dnAttrs = part.Data.Len() > 0 && part.Data.Bytes()[0] != 0
		default:
			return malformed("extensible filter")
		}
	}
	if !haveValue || f.rule == "" && f.attr == "" {
		return malformed("extensible filter")
	}
	return nil
}

// truth is three-valued: a filter over an attribute the schema does not know is neither true nor false (RFC 4511
// §4.5.1.7).
type truth int

const (
	isFalse truth = iota
	isUndefined
	isTrue
)

func truthOf(b bool) truth {
	if b {
		return isTrue
	}
	return isFalse
}

// filterView is what a filter sees of one entry: only what the caller may read.
type filterView interface {
	filterValues(attr string) [][]byte
	filterName() dn
}

func (f *filter) match(v filterView, s *schema) truth {
	switch f.kind {
	case filterAnd:
		result := isTrue
		for _, sub := range f.subs {
			result = min(result, sub.match(v, s))
		}
		return result
	case filterOr:
		result := isFalse
		for _, sub := range f.subs {
			result = max(result, sub.match(v, s))
		}
		return result
	case filterNot:
		return isTrue - f.subs[0].match(v, s)
	case filterExtensible:
		return f.matchExtensible(v, s)
	}
	t := s.attr(f.attr)
	if t == nil {
		return isUndefined
	}
	values := v.filterValues(f.attr)
	if f.kind == filterPresent {
		return truthOf(len(values) > 0)
	}
	if t.syntax == synBinary { // streams cannot be searched by content
		return isUndefined
	}
	for _, value := range values {
		if f.matchValue(t, value) {
			return isTrue
		}
	}
	return isFalse
}

func (f *filter) matchValue(t *attrType, value []byte) bool {
	switch f.kind {
	case filterEqual, filterApprox:
		return t.equal(value, f.value)
	case filterGreater:
		return t.compare(value, f.value) >= 0
	case filterLess:
		return t.compare(value, f.value) <= 0
	case filterSubstrings:
		return f.matchSubstrings(t, value)
	}
	return false
}

func (f *filter) matchSubstrings(t *attrType, value []byte) bool {
	fold := func(b []byte) []byte {
		if t.syntax == synOctets {
			return b
		}
		return bytes.ToLower(b)
	}
	rest := fold(value)
	if f.initial != nil {
		start := fold(f.initial)
		if !bytes.HasPrefix(rest, start) {
			return false
		}
		rest = rest[len(start):]
	}
	for _, m := range f.middle {
		m = fold(m)
		i := bytes.Index(rest, m)
		if i < 0 {
			return false
		}
		rest = rest[i+len(m):]
	}
	return f.final == nil || bytes.HasSuffix(rest, fold(f.final))
}

// matchExtensible knows the rules a directory tool uses on names; any other rule is undefined.
func (f *filter) matchExtensible(v filterView, s *schema) truth {
	switch strings.ToLower(f.rule) {
	case "", "caseignorematch", "2.5.13.2", "distinguishednamematch", "2.5.13.1", "caseexactmatch", "2.5.13.5":
	default:
		return isUndefined
	}
	exact := strings.EqualFold(f.rule, "caseExactMatch") || f.rule == "2.5.13.5"
	equal := func(t *attrType, value []byte) bool {
		if exact {
			return bytes.Equal(value, f.value)
		}
		return t.equal(value, f.value)
	}
	if f.attr != "" {
		t := s.attr(f.attr)
		if t == nil {
			return isUndefined
		}
		for _, value := range v.filterValues(f.attr) {
			if equal(t, value) {
				return isTrue
			}
		}
	}
	if f.dnAttrs {
		for _, r := range v.filterName() {
			for _, a := range r.attrs {
				t := s.attr(a.name)
				if t != nil && (f.attr == "" || s.attr(f.attr) == t) && equal(t, []byte(a.value)) {
					return isTrue
				}
			}
		}
	}
	return isFalse
}
