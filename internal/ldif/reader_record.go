package ldif

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

func (r *Reader) record() (*Record, error) {
	for {
		if err := r.logical(); err != nil {
			return nil, err
		}
		if len(r.buf) == 0 {
			continue
		}
		name, value, err := r.spec()
		if err != nil {
			return nil, err
		}
		first := !r.begun
		r.begun = true
		switch key := strings.ToLower(name); {
		case key == "version" && first:
			if string(value) != "1" {
				return nil, r.refuse(r.first, "version", "%q is not a version this reads; only 1 is defined", clip(value))
			}
			continue
		case key == "search" || key == "result":
			return nil, r.refuse(r.first, clip([]byte(name)), "is no record: output of ldapsearch; take it with -LLL")
		case key == "include":
			return nil, r.refuse(r.first, "include",
				"an extension of other tools that names another file; give that file itself")
		case key != "dn":
			return nil, r.refuse(r.first, clip([]byte(name)), "a record begins with \"dn:\"")
		}
		rec := &Record{Line: r.first, DN: string(value)}
		if err := r.checkDN(rec.DN); err != nil {
			return nil, err
		}
		if err := r.body(rec); err != nil {
			return nil, err
		}
		r.content, r.other = r.content || rec.Kind == Content, r.other || rec.Kind != Content
		if r.content && r.other {
			return nil, r.refuse(rec.Line, "changetype", "content records and change records in one file")
		}
		return rec, nil
	}
}

func (r *Reader) checkDN(dn string) error {
	if len(dn) > maxDN {
		return r.refuse(r.first, "dn", "distinguished name longer than %d bytes", maxDN)
	}
	if !utf8.ValidString(dn) {
		return r.refuse(r.first, "dn", "distinguished name is not UTF-8")
	}
	if _, err := ldap.ParseDN(dn); err != nil {
		return r.refuse(r.first, "dn", "%q is not a distinguished name: %v", clip([]byte(dn)), err)
	}
	return nil
}

// body reads what follows the "dn:" line up to the separator.
func (r *Reader) body(rec *Record) error {
	more, err := r.more()
	for more && strings.EqualFold(fieldOf(r.buf), "control") {
		if err = r.control(rec); err == nil {
			more, err = r.more()
		}
		if err != nil {
			return err
		}
	}
	change := more && strings.EqualFold(fieldOf(r.buf), "changetype")
	switch {
	case err != nil:
		return err
	case !change && len(rec.Controls) > 0:
		line := rec.Line
		if more {
			line = r.first
		}
		return r.refuse(line, "control", "a control without a changetype")
	case !more:
		return nil
	case !change:
		r.held = true
		return r.attributes(rec)
	}
	_, value, err := r.spec()
	if err != nil {
		return err
	}
	switch strings.ToLower(string(value)) {
	case "add":
		rec.Kind = Add
		return r.attributes(rec)
	case "modify":
		rec.Kind = Modify
		return r.changes(rec)
	case "modrdn", "moddn", "delete":
		return r.refuse(rec.Line, "changetype", "an export neither deletes nor renames")
	}
	return r.refuse(r.first, "changetype", "%q is none of add, modify, delete, modrdn, moddn", clip(value))
}

// more reads a logical line and reports whether the record goes on.
func (r *Reader) more() (bool, error) {
	err := r.logical()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil && len(r.buf) > 0, err
}

func (r *Reader) control(rec *Record) error {
	rest := bytes.TrimLeft(r.buf[len("control:"):], " ")
	number := rest[:len(rest)-len(bytes.TrimLeft(rest, ".0123456789"))]
	if !oid.Match(number) {
		return r.refuse(r.first, "control", "does not begin with an object identifier")
	}
	c := Control{OID: string(number)}
	if rest = rest[len(number):]; bytes.HasPrefix(rest, []byte(" ")) {
		rest = bytes.TrimLeft(rest, " ")
		var known bool
		if rest, c.Critical = bytes.CutPrefix(rest, []byte("true")); !c.Critical {
			if rest, known = bytes.CutPrefix(rest, []byte("false")); !known {
				return r.refuse(r.first, "control", "criticality is neither true nor false")
			}
		}
	}
	if len(rest) > 0 {
		if rest[0] != ':' {
			return r.refuse(r.first, "control", "unexpected %q after the criticality", clip(rest))
		}
		value, err := r.value("control", len(r.buf)-len(rest)+1)
		if err != nil {
			return err
		}
		c.HasValue, c.Value = true, value
	}
	if len(rec.Controls) == 32 {
		return r.refuse(r.first, "control", "more than 32 controls")
	}
	rec.Controls = append(rec.Controls, c)
	return nil
}

// budget counts what a record holds.
type budget struct{ bytes, lines int }

func (r *Reader) spend(b *budget, name string, value []byte) error {
	b.bytes += len(value)
	b.lines++
	switch {
	case b.bytes > r.limits.Record:
		return r.refuse(r.first, name, "record longer than the limit of %d bytes", r.limits.Record)
	case b.lines > r.limits.Lines:
		return r.refuse(r.first, name, "record with more than %d values", r.limits.Lines)
	}
	return nil
}

// each calls fn with name and value of each line up to the end of the record.
func (r *Reader) each(fn func(name string, value []byte) error) error {
	for {
		more, err := r.more()
		if err != nil || !more {
			return err
		}
		name, value, err := r.spec()
		if err == nil {
			err = fn(name, value)
		}
		if err != nil {
			return err
		}
	}
}

func (r *Reader) attributes(rec *Record) error {
	var spent budget
	index := map[string]int{}
	return r.each(func(name string, value []byte) error {
		if !ValidName(name) {
			return r.refuse(r.first, clip([]byte(name)), "not an attribute description")
		}
		if err := r.spend(&spent, name, value); err != nil {
			return err
		}
		key := strings.ToLower(name)
		switch key {
		case "dn", "changetype", "control":
			return r.refuse(r.first, name, "stands inside a record; an empty line is missing before it, or it is out of place")
		}
		i, known := index[key]
		if !known {
			i = len(rec.Attributes)
			index[key] = i
			rec.Attributes = append(rec.Attributes, Attribute{Name: name, Line: r.first})
		}
		rec.Attributes[i].Values = append(rec.Attributes[i].Values, value)
		return nil
	})
}

func (r *Reader) changes(rec *Record) error {
	var spent budget
	err := r.each(func(verb string, attr []byte) error {
		change := Change{Attribute: Attribute{Name: string(attr), Line: r.first}}
		switch strings.ToLower(verb) {
		case "add":
			change.Op = OpAdd
		case "delete":
			change.Op = OpDelete
		case "replace":
			change.Op = OpReplace
		default:
			return r.refuse(r.first, clip([]byte(verb)), "is none of add, delete, replace (increment is an extension, RFC 4525)")
		}
		if !ValidName(change.Name) {
			return r.refuse(r.first, clip(attr), "not an attribute description")
		}
		if err := r.spend(&spent, change.Name, attr); err != nil {
			return err
		}
		if err := r.changeValues(rec, &change, &spent); err != nil {
			return err
		}
		if change.Op == OpAdd && len(change.Values) == 0 {
			return r.refuse(change.Line, change.Name, "adds no value")
		}
		rec.Changes = append(rec.Changes, change)
		return nil
	})
	if err == nil && len(rec.Changes) == 0 {
		err = r.refuse(rec.Line, "changetype", "a modify record that changes nothing")
	}
	return err
}

func (r *Reader) changeValues(rec *Record, change *Change, spent *budget) error {
	for {
		more, err := r.more()
		switch {
		case err != nil:
			return err
		case !more:
			return r.refuse(rec.Line, change.Name,
				"the change does not end with a line \"-\": the record was cut off, or lacks its last \"-\"")
		case string(r.buf) == "-":
			return nil
		}
		name, value, err := r.spec()
		if err != nil {
			return err
		}
		if !strings.EqualFold(name, change.Name) {
			return r.refuse(r.first, clip([]byte(name)), "stands in a change of %s", change.Name)
		}
		if err := r.spend(spent, name, value); err != nil {
			return err
		}
		change.Values = append(change.Values, value)
	}
}
