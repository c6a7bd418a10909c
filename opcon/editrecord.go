package opcon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// editRecord replaces the two address fields in a machine's record and leaves every other byte as it is. It refuses a
// record that lacks one of them, names one twice or says "type": null, which some releases take as an order
// (documented).
func editRecord(raw json.RawMessage, to Address) ([]byte, error) {
	fields, err := fieldsOf(raw)
	if err != nil {
		return nil, err
	}
	values := map[string]string{"fullyqualifieddomainname": to.FQDN, "tcpipaddress": to.IP}
	found := map[string]bool{}
	var out []byte
	at := 0
	for _, f := range fields {
		key := strings.ToLower(f.name)
		if key == "type" && string(raw[f.from:f.to]) == "null" {
			return nil, errors.New("the record says type null; sending that back would damage it")
		}
		value, ok := values[key]
		if !ok {
			continue
		}
		if found[key] {
			return nil, fmt.Errorf("the record names %s twice", f.name)
		}
		found[key] = true
		out = append(append(out, raw[at:f.from]...), quoteJSON(value)...)
		at = f.to
	}
	for key := range values {
		if !found[key] {
			return nil, fmt.Errorf("the record lacks %s: the account may not see it, or the release names it otherwise", key)
		}
	}
	return append(out, raw[at:]...), nil
}

type field struct {
	name     string
	from, to int // the value's bytes
}

// fieldsOf finds the values of an object's own fields.
func fieldsOf(raw json.RawMessage) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("the record is not an object")
	}
	var fields []field
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		fields = append(fields, field{name: name, from: end - len(value), to: end})
	}
	return fields, nil
}

// quoteJSON writes a string without escaping < and >, which the server's own "<Default>" holds.
func quoteJSON(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSpace(b.Bytes())
}
