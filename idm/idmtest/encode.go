package idmtest

import (
	ber "github.com/go-asn1-ber/asn1-ber"
)

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
