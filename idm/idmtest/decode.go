package idmtest

import (
	ber "github.com/go-asn1-ber/asn1-ber"
)

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
	if !is(p, ber.ClassUniversal, ber.TagSequence) || len(p.Children) != 2 ||
		!is(p.Children[1], ber.ClassUniversal, ber.TagSet) {
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
