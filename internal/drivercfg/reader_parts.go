package drivercfg

import (
	"encoding/xml"
	"strings"

	"github.com/01b61c5c/failover/internal/ldif"
)

func (r *Reader) resource(o *Object, e xml.StartElement) error {
	if t := attr(e, "content-type"); t != "" {
		o.Attributes = append(o.Attributes, Attribute{Name: "DirXML-ContentType", Line: o.Line, Values: [][]byte{[]byte(t)}})
	}
	depth := len(r.stack)
	for {
		child, err := r.part(depth)
		if err != nil {
			return err
		}
		if child == nil {
			return r.emit(o)
		}
		line, name := r.line, full(child.Name)
		if name != "content" {
			o.skipped(line, name, unknownElement)
			if _, err := r.skip(); err != nil {
				return err
			}
			continue
		}
		o.unknown(*child, line, "contains")
		if o.Get("DirXML-Data") != nil {
			return r.refuse(line, "<content>", "stands twice in one resource")
		}
		c, err := r.inside()
		if err != nil {
			return err
		}
		if value := c.value(); len(value) > 0 {
			o.Attributes = append(o.Attributes, Attribute{Name: "DirXML-Data", Line: line, Values: [][]byte{value}})
		}
	}
}

// channel reads a publisher or subscriber. It is handed out before its children.
func (r *Reader) channel(o *Object) error {
	depth := len(r.stack)
	given := false
	give := func() error {
		if given {
			return nil
		}
		given = true
		return r.emit(o)
	}
	for {
		child, err := r.part(depth)
		if err != nil {
			return err
		}
		if child == nil {
			return give()
		}
		line, name := r.line, full(child.Name)
		switch {
		case name == "attributes" && !given:
			o.unknown(*child, line, "package-id", "package-version")
			err = r.attributes(o)
		case name == "attributes":
			err = r.refuse(line, "<attributes>", "stands behind the children")
		case name == "children":
			if err = give(); err == nil {
				outer := r.depth
				r.depth = o.Path
				err = r.children()
				r.depth = outer
			}
		default:
			o.skipped(line, name, unknownElement)
			_, err = r.skip()
		}
		if err != nil {
			return err
		}
	}
}

// generic reads a ds-object, the form in which jobs stand in the file.
func (r *Reader) generic(e xml.StartElement) error {
	name, class := attr(e, "ds-object-name"), attr(e, "ds-object-class")
	if name == "" || !ldif.ValidName(class) {
		return r.refuse(r.line, "<ds-object>",
			"the attribute \"ds-object-name\" or \"ds-object-class\" is missing or no name")
	}
	o := &Object{Line: r.line, Path: append(append([]string(nil), r.depth...), name), Class: class}
	o.unknown(e, r.line, "ds-object-class", "ds-object-name")
	b := budget{left: r.limits.Object}
	depth := len(r.stack)
	for {
		child, err := r.part(depth)
		if err != nil {
			return err
		}
		if child == nil {
			return r.emit(o)
		}
		if full(child.Name) == "ds-attributes" {
			o.unknown(*child, r.line)
			err = r.dsAttributes(o, &b)
		} else {
			err = r.besideAttributes(o, *child)
		}
		if err != nil {
			return err
		}
	}
}

// besideAttributes reads what stands in an object and is no attribute: something to ask for, or unknown.
func (r *Reader) besideAttributes(o *Object, e xml.StartElement) error {
	kind := full(e.Name)
	if q, known := jobQueries[kind]; known {
		o.unknown(e, r.line, "job-name", "job-display-name")
		o.query(e, r.line, q)
	} else if strings.HasSuffix(kind, "-query") {
		o.query(e, r.line, QueryOther)
	} else {
		o.skipped(r.line, kind, unknownElement)
	}
	_, err := r.skip()
	return err
}

func (r *Reader) dsAttributes(o *Object, b *budget) error {
	depth := len(r.stack)
	for {
		e, err := r.part(depth)
		if err != nil || e == nil {
			return err
		}
		if full(e.Name) != "ds-attribute" {
			if err := r.besideAttributes(o, *e); err != nil {
				return err
			}
			continue
		}
		o.unknown(*e, r.line, "ds-attr-name")
		name := attr(*e, "ds-attr-name")
		if !ldif.ValidName(name) {
			return r.refuse(r.line, "<ds-attribute>", "%q is not an attribute name", clip(name))
		}
		if o.Get(name) != nil {
			return r.refuse(r.line, name, "stands twice in one object")
		}
		if err := r.dsValues(o, b, name); err != nil {
			return err
		}
	}
}

func (r *Reader) dsValues(o *Object, b *budget, name string) error {
	depth := len(r.stack)
	for {
		e, err := r.part(depth)
		if err != nil || e == nil {
			return err
		}
		line := r.line
		if kind := full(e.Name); kind != "ds-value" {
			if !strings.HasSuffix(kind, "-query") {
				return r.refuse(line, name, "<%s> stands in the place of <ds-value>", clip(kind))
			}
			if err := r.besideAttributes(o, *e); err != nil {
				return err
			}
			continue
		}
		o.unknown(*e, line, "base64-encoded")
		c, err := r.inside()
		if err != nil {
			return err
		}
		value := c.value()
		if attr(*e, "base64-encoded") == "true" {
			if value, err = decodeBase64(c.text); err != nil || c.elements > 0 {
				return r.refuse(line, name, "bad base64: %v", err)
			}
		} else if blank(value) {
			value = nil
		}
		if len(value) == 0 {
			continue // not set: the directory has no values of zero bytes
		}
		if err := r.add(o, b, line, name, value); err != nil {
			return err
		}
	}
}

func blank(text []byte) bool { return len(trimXML(text)) == 0 }
