package ldif

import (
	"bytes"
	"errors"
	"io"
	"strconv"
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
		if strings.EqualFold(name, "version") && !r.begun {
			r.begun = true
			if string(value) != "1" {
				return nil, r.refuse(r.first, "version", "%q is not a version this reads; only 1 is defined", clip(value))
			}
			continue
		}
		r.begun = true
		if key := strings.ToLower(name); key == "search" || key == "result" {
			return nil, r.refuse(r.first, clip([]byte(name)), "is no record: output of ldapsearch; take it with -LLL")
		}
		if strings.EqualFold(name, "include") {
			return nil, r.refuse(r.first, "include",
				"an extension of other tools that names another file; give that file itself")
		}
		if !strings.EqualFold(name, "dn") {
			return nil, r.refuse(r.first, clip([]byte(name)), "a record begins with \"dn:\"")
		}
		rec := &Record{Line: r.first, DN: string(value)}
		if err := r.checkDN("dn", rec.DN); err != nil {
			return nil, err
		}
		if err := r.body(rec); err != nil {
			return nil, err
		}
		return rec, r.sameKind(rec)
	}
}

func (r *Reader) checkDN(field, dn string) error {
	if len(dn) > maxDN {
		return r.refuse(r.first, field, "distinguished name longer than %d bytes", maxDN)
	}
	if !utf8.ValidString(dn) {
		return r.refuse(r.first, field, "distinguished name is not UTF-8")
	}
	if _, err := ldap.ParseDN(dn); err != nil {
		return r.refuse(r.first, field, "%q is not a distinguished name: %v", clip([]byte(dn)), err)
	}
	return nil
}

func (r *Reader) sameKind(rec *Record) error {
	kind := rec.Kind
	if kind != Content {
		kind = Add
	}
	if r.kindSet && kind != r.kind {
		return r.refuse(rec.Line, "changetype", "content records and change records in one file")
	}
	r.kind, r.kindSet = kind, true
	return nil
}

// body reads what follows the "dn:" line up to the separator.
func (r *Reader) body(rec *Record) error {
	more, err := r.more()
	if err != nil || !more {
		return err
	}
	for strings.EqualFold(fieldOf(r.buf), "control") {
		if err := r.control(rec); err != nil {
			return err
		}
		if more, err = r.more(); err != nil {
			return err
		}
		if !more {
			return r.refuse(rec.Line, "control", "a control without a changetype")
		}
	}
	if !strings.EqualFold(fieldOf(r.buf), "changetype") {
		if len(rec.Controls) > 0 {
			return r.refuse(r.first, "control", "a control without a changetype")
		}
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
	case "modrdn", "moddn":
		rec.Kind = Rename
		return r.rename(rec)
	case "delete":
		rec.Kind = Delete
		if more, err = r.more(); err == nil && more {
			err = r.refuse(r.first, fieldOf(r.buf), "nothing may follow \"changetype: delete\"")
		}
		return err
	}
	return r.refuse(r.first, "changetype", "%q is none of add, delete, modify, modrdn, moddn", clip(value))
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
	line := r.first
	rest := r.buf[len("control:"):]
	off := len(r.buf) - len(rest) + leadingSpaces(rest)
	end := off
	for end < len(r.buf) && (r.buf[end] == '.' || (r.buf[end] >= '0' && r.buf[end] <= '9')) {
		end++
	}
	c := Control{OID: string(r.buf[off:end])}
	if !validOID(c.OID) {
		return r.refuse(line, "control", "does not begin with an object identifier")
	}
	if end < len(r.buf) && r.buf[end] == ' ' {
		end += leadingSpaces(r.buf[end:])
		switch {
		case bytes.HasPrefix(r.buf[end:], []byte("true")):
			c.Critical, end = true, end+4
		case bytes.HasPrefix(r.buf[end:], []byte("false")):
			end += 5
		default:
			return r.refuse(line, "control", "criticality is neither true nor false")
		}
	}
	if end < len(r.buf) {
		if r.buf[end] != ':' {
			return r.refuse(line, "control", "unexpected %q after the criticality", clip(r.buf[end:]))
		}
		value, err := r.value("control", end+1)
		if err != nil {
			return err
		}
		c.HasValue, c.Value = true, value
	}
	if len(rec.Controls) == 32 {
		return r.refuse(line, "control", "more than 32 controls")
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

func (r *Reader) attributes(rec *Record) error {
	var spent budget
	index := map[string]int{}
	for {
		more, err := r.more()
		if err != nil || !more {
			return err
		}
		name, value, err := r.spec()
		if err != nil {
			return err
		}
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
	}
}

func (r *Reader) changes(rec *Record) error {
	var spent budget
	for {
		more, err := r.more()
		if err != nil {
			return err
		}
		if !more {
			if len(rec.Changes) == 0 {
				return r.refuse(rec.Line, "changetype", "a modify record that changes nothing")
			}
			return nil
		}
		verb, attr, err := r.spec()
		if err != nil {
			return err
		}
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
	}
}

func (r *Reader) changeValues(rec *Record, change *Change, spent *budget) error {
	for {
		more, err := r.more()
		if err != nil {
			return err
		}
		if !more {
			return r.refuse(rec.Line, change.Name,
				"the change does not end with a line \"-\": the record was cut off, or lacks its last \"-\"")
		}
		if string(r.buf) == "-" {
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

func (r *Reader) rename(rec *Record) error {
	var seenOld bool
	for step := 0; ; step++ {
		more, err := r.more()
		if err != nil {
			return err
		}
		if !more {
			if rec.NewRDN == "" || !seenOld {
				return r.refuse(rec.Line, "changetype", "a rename needs newrdn and deleteoldrdn")
			}
			return nil
		}
		name, value, err := r.spec()
		if err != nil {
			return err
		}
		switch {
		case step == 0 && strings.EqualFold(name, "newrdn"):
			rec.NewRDN = string(value)
			err = r.checkDN("newrdn", rec.NewRDN)
		case step == 1 && strings.EqualFold(name, "deleteoldrdn"):
			n, perr := strconv.Atoi(string(value))
			if perr != nil || n < 0 || n > 1 {
				return r.refuse(r.first, "deleteoldrdn", "%q is neither 0 nor 1", clip(value))
			}
			rec.DeleteOldRDN, seenOld = n == 1, true
		case step == 2 && strings.EqualFold(name, "newsuperior"):
			rec.NewSuperior, rec.Moves = string(value), true
			err = r.checkDN("newsuperior", rec.NewSuperior)
		default:
			return r.refuse(r.first, clip([]byte(name)),
				"out of place in a rename: newrdn, deleteoldrdn, newsuperior in this order")
		}
		if err != nil {
			return err
		}
	}
}
