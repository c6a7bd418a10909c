package drivercfg

import (
	"bytes"
	"encoding/xml"
	"math"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/internal/ldif"
)

// list reads the objects inside of the element just begun, which is none itself.
func (r *Reader) list(e xml.StartElement, line int) error {
	o := &Object{Line: line, Path: slices.Clone(r.path)}
	if o.unknown(e, line); len(o.Skipped) > 0 {
		if err := r.emit(o); err != nil {
			return err
		}
	}
	return r.each(math.MaxInt, r.object)
}

// newObject begins an object below the one we are in.
func (r *Reader) newObject(line int, name, class string) *Object {
	r.left = r.limits.Object
	return &Object{Line: line, Path: append(slices.Clone(r.path), name), Class: class}
}

func (r *Reader) object(e xml.StartElement, line int, kind string) error {
	switch kind {
	case "jobs":
		return r.list(e, line)
	case "ds-object":
		return r.generic(e, line)
	}
	fixed := containerNamed(kind)
	class := map[string]string{"resource": "DirXML-Resource", "publisher": "DirXML-Publisher",
		"subscriber": "DirXML-Subscriber"}[kind]
	if fixed != nil {
		class = fixed.class
	}
	name := attr(e, "name")
	switch {
	case class == "":
		o := &Object{Line: line, Path: slices.Clone(r.path)}
		o.skipped(line, kind, unknownElement)
		return r.emit(o)
	case name == "":
		return r.refuse(line, tag(kind), "the attribute \"name\" is missing")
	}
	o := r.newObject(line, name, class)
	if kind == "resource" {
		return r.resource(o, e)
	}
	o.unknown(e, line, "name")
	if fixed == nil {
		return r.channel(o)
	}
	value, err := r.xmlValue(kind)
	if err == nil {
		value, err = r.unwrap(o, line, kind, value, fixed.wrappers)
	}
	if err == nil {
		err = r.add(o, line, fixed.attribute, value)
	}
	if err != nil {
		return err
	}
	return r.emit(o)
}

// unwrap takes the elements off a value that the file puts around it and the directory does not hold, in whatever
// number they stand there. It returns nil when there is nothing inside.
func (r *Reader) unwrap(o *Object, line int, kind string, value []byte, wrappers []string) ([]byte, error) {
	for len(wrappers) > 0 && value != nil {
		in := newScanner(r.file, bytes.NewReader(value), r.limits)
		begin, err := in.firstElement()
		name := full(begin.Name)
		if err == nil && !slices.Contains(wrappers, name) {
			break
		}
		if err == nil {
			o.unknown(begin, line, "package-id", "package-version")
			value, err = in.xmlValue(name)
		}
		if err != nil {
			return nil, r.refuse(line, tag(kind), "%v", err)
		}
	}
	return value, nil
}

func (r *Reader) resource(o *Object, e xml.StartElement) error {
	o.unknown(e, o.Line, "name", "content-type")
	err := r.add(o, o.Line, "DirXML-ContentType", []byte(attr(e, "content-type")))
	if err == nil {
		err = r.parts(func(e xml.StartElement, line int, name string) error {
			if name != "content" {
				o.skipped(line, name, unknownElement)
				return nil
			}
			o.unknown(e, line, "contains")
			if o.Get("DirXML-Data") != nil {
				return r.refuse(line, "<content>", "stands twice in one resource")
			}
			c, err := r.inside()
			if err != nil {
				return err
			}
			return r.add(o, line, "DirXML-Data", c.value())
		})
	}
	if err != nil {
		return err
	}
	return r.emit(o)
}

// channel reads a publisher or subscriber. It is handed out before its children.
func (r *Reader) channel(o *Object) error {
	given := false
	give := func() error {
		if given {
			return nil
		}
		given = true
		return r.emit(o)
	}
	err := r.parts(func(e xml.StartElement, line int, name string) error {
		switch {
		case name == "attributes" && given:
			return r.refuse(line, "<attributes>", "stands behind the children")
		case name == "attributes":
			return r.attributes(o, e, line)
		case name == "children":
			if err := give(); err != nil {
				return err
			}
			outer := r.path
			defer func() { r.path = outer }()
			r.path = o.Path
			return r.list(e, line)
		}
		o.skipped(line, name, unknownElement)
		return nil
	})
	if err != nil {
		return err
	}
	return give()
}

// generic reads a ds-object, the form in which jobs stand in the file.
func (r *Reader) generic(e xml.StartElement, line int) error {
	name, class := attr(e, "ds-object-name"), attr(e, "ds-object-class")
	if name == "" || !ldif.ValidName(class) {
		return r.refuse(line, "<ds-object>", "the attribute \"ds-object-name\" or \"ds-object-class\" is missing or no name")
	}
	o := r.newObject(line, name, class)
	o.unknown(e, line, "ds-object-class", "ds-object-name")
	err := r.parts(func(e xml.StartElement, line int, name string) error {
		if name != "ds-attributes" {
			o.beside(e, line, name)
			return nil
		}
		o.unknown(e, line)
		return r.parts(func(e xml.StartElement, line int, name string) error { return r.dsAttribute(o, e, line, name) })
	})
	if err != nil {
		return err
	}
	return r.emit(o)
}

func (r *Reader) dsAttribute(o *Object, e xml.StartElement, line int, element string) error {
	if element != "ds-attribute" {
		o.beside(e, line, element)
		return nil
	}
	o.unknown(e, line, "ds-attr-name")
	name := attr(e, "ds-attr-name")
	if !ldif.ValidName(name) {
		return r.refuse(line, tag(element), "%q is not an attribute name", clip(name))
	}
	if o.Get(name) != nil {
		return r.refuse(line, name, "stands twice in one object")
	}
	return r.parts(func(e xml.StartElement, line int, kind string) error {
		switch {
		case kind == "ds-value":
			return r.dsValue(o, e, line, name)
		case !strings.HasSuffix(kind, "-query"):
			return r.refuse(line, name, "<%s> stands in the place of <ds-value>", clip(kind))
		}
		o.beside(e, line, kind)
		return nil
	})
}

func (r *Reader) dsValue(o *Object, e xml.StartElement, line int, name string) error {
	o.unknown(e, line, "base64-encoded")
	c, err := r.inside()
	if err != nil {
		return err
	}
	value := c.value()
	switch encoded := attr(e, "base64-encoded"); encoded {
	case "true":
		if value, err = decodeBase64(c.text); err != nil || c.elements > 0 {
			return r.refuse(line, name, "bad base64: %v", err)
		}
	case "", "false":
		if blank(value) {
			return nil
		}
	default:
		return r.refuse(line, name, "base64-encoded is %q, neither true nor false", clip(encoded))
	}
	return r.add(o, line, name, value)
}

func blank(text []byte) bool { return len(trimXML(text)) == 0 }
