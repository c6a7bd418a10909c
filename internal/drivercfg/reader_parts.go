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
			o.Skipped = append(o.Skipped, Skipped{Line: line, Element: clip(name), Reason: "unknown element"})
			if err := r.skip(); err != nil {
				return err
			}
			continue
		}
		if o.Get("DirXML-Data") != nil {
			return r.refuse(line, "<content>", "stands twice in one resource")
		}
		c, err := r.inside()
		if err != nil {
			return err
		}
		value := c.text
		if c.elements > 0 {
			value = append(append(c.prolog, trimXML(c.raw)...), c.epilog...)
		}
		if len(value) > 0 {
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
			o.Skipped = append(o.Skipped, Skipped{Line: line, Element: clip(name), Reason: "unknown element"})
			err = r.skip()
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
		line, kind := r.line, full(child.Name)
		if kind == "ds-attributes" {
			err = r.dsAttributes(o, &b)
		} else if !r.jobQuery(o, kind, line) {
			o.Skipped = append(o.Skipped, Skipped{Line: line, Element: clip(kind), Reason: "unknown element"})
			err = r.skip()
		} else {
			err = r.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (r *Reader) jobQuery(o *Object, kind string, line int) bool {
	q, known := jobQueries[kind]
	if !known {
		if !strings.HasSuffix(kind, "-query") {
			return false
		}
		q = QueryOther
	}
	o.Queries = append(o.Queries, Query{Kind: q, Line: line, Element: kind})
	return true
}

func (r *Reader) dsAttributes(o *Object, b *budget) error {
	depth := len(r.stack)
	for {
		e, err := r.part(depth)
		if err != nil || e == nil {
			return err
		}
		line, kind := r.line, full(e.Name)
		if kind != "ds-attribute" {
			if !r.jobQuery(o, kind, line) {
				o.Skipped = append(o.Skipped, Skipped{Line: line, Element: clip(kind), Reason: "unknown element"})
			}
			if err := r.skip(); err != nil {
				return err
			}
			continue
		}
		name := attr(*e, "ds-attr-name")
		if !ldif.ValidName(name) {
			return r.refuse(line, "<ds-attribute>", "%q is not an attribute name", clip(name))
		}
		if o.Get(name) != nil {
			return r.refuse(line, name, "stands twice in one object")
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
			if !r.jobQuery(o, kind, line) {
				return r.refuse(line, name, "<%s> stands in the place of <ds-value>", clip(kind))
			}
			if err := r.skip(); err != nil {
				return err
			}
			continue
		}
		c, err := r.inside()
		if err != nil {
			return err
		}
		value := c.text
		switch {
		case attr(*e, "base64-encoded") == "true":
			if value, err = decodeBase64(c.text); err != nil || c.elements > 0 {
				return r.refuse(line, name, "bad base64: %v", err)
			}
		case c.elements > 0:
			value = append(append(c.prolog, trimXML(c.raw)...), c.epilog...)
		}
		if err := r.add(o, b, line, name, value); err != nil {
			return err
		}
	}
}
