package drivercfg

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Reader reads one file.
type Reader struct {
	*scanner
	header Header
	emit   func(*Object) error
	depth  []string    // names of the objects we are in
	parts  map[int]int // elements seen inside of the open element at that depth
}

// NewReader reads up to the root element of r; file is the name errors carry.
func NewReader(file string, r io.Reader, limits Limits) (*Reader, error) {
	rd := &Reader{scanner: newScanner(file, r, limits.withDefaults()), parts: map[int]int{}}
	for {
		tok, err := rd.next()
		if err != nil {
			return nil, err
		}
		root, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if full(root.Name) != "driver-configuration" {
			return nil, rd.refuse(rd.line, "<"+clip(full(root.Name))+">", "the root element is not <driver-configuration>")
		}
		rd.header = Header{DN: attr(root, "dn"), DriverSetDN: attr(root, "driver-set-dn"), Name: attr(root, "name"),
			PackageID: attr(root, "package-id")}
		if rd.header.Name == "" {
			return nil, rd.refuse(rd.line, "<driver-configuration>", "the attribute \"name\" is missing")
		}
		return rd, nil
	}
}

// Header returns what the root element says.
func (r *Reader) Header() Header { return r.header }

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if full(a.Name) == name {
			return a.Value
		}
	}
	return ""
}

// Each calls fn for each object of the file, in file order, and returns after the end of the file. An object is
// handed out when it is complete; the memory in use is that of one object. What stood in the root element and was
// not taken over is reported with the driver object, which comes last if it has not come before.
//
// An error of fn ends the reading and is returned as it is. All other errors name file, line and element.
func (r *Reader) Each(fn func(*Object) error) error {
	r.emit = fn
	root := len(r.stack)
	var skipped []Skipped
	driver := false
	for {
		e, err := r.part(root)
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		line, name := r.line, full(e.Name)
		switch name {
		case "packages":
			err = r.skip()
		case "attributes":
			if driver {
				return r.refuse(line, "<attributes>", "the driver has two of them")
			}
			driver = true
			o := &Object{Line: line, Class: "DirXML-Driver", Skipped: skipped}
			skipped = nil
			if err = r.attributes(o); err == nil {
				err = r.emit(o)
			}
		case "children":
			err = r.children()
		case "global-config-values":
			skipped = append(skipped,
				Skipped{Line: line, Element: name,
					Reason: "values of the driver set, for information; import them with the driver set"})
			err = r.skip()
		default:
			skipped = append(skipped, Skipped{Line: line, Element: clip(name), Reason: "unknown element"})
			err = r.skip()
		}
		if err != nil {
			return err
		}
	}
	if !driver {
		if err := r.emit(&Object{Line: 1, Class: "DirXML-Driver", Skipped: skipped}); err != nil {
			return err
		}
	} else if len(skipped) > 0 {
		if err := r.emit(&Object{Class: "", Skipped: skipped}); err != nil {
			return err
		}
	}
	for {
		if _, err := r.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// part returns the next element inside of the one at depth, as child does, and ends the reading of an element that has
// more parts than anything real: each of them may be remembered and compared with the others.
func (r *Reader) part(depth int) (*xml.StartElement, error) {
	e, err := r.child(depth)
	if err != nil || e == nil {
		delete(r.parts, depth)
		return nil, err
	}
	if r.parts[depth]++; r.parts[depth] > r.limits.Parts {
		return nil, r.refuse(r.line, "<"+clip(full(e.Name))+">", "more than %d elements in one", r.limits.Parts)
	}
	return e, nil
}

// budget counts the bytes of an object's values.
type budget struct{ left int }

func (r *Reader) add(o *Object, b *budget, line int, name string, value []byte) error {
	if b.left -= len(value); b.left < 0 {
		return r.refuse(line, name, "object longer than the limit of %d bytes", r.limits.Object)
	}
	for i := range o.Attributes {
		if strings.EqualFold(o.Attributes[i].Name, name) {
			o.Attributes[i].Values = append(o.Attributes[i].Values, value)
			return nil
		}
	}
	o.Attributes = append(o.Attributes, Attribute{Name: name, Line: line, Values: [][]byte{value}})
	return nil
}

// attributes reads the element <attributes> just begun into o.
func (r *Reader) attributes(o *Object) error {
	depth := len(r.stack)
	b := budget{left: r.limits.Object}
	for {
		e, err := r.part(depth)
		if err != nil || e == nil {
			return err
		}
		if err := r.attribute(o, *e, &b); err != nil {
			return err
		}
	}
}

func (r *Reader) attribute(o *Object, e xml.StartElement, b *budget) error {
	line, name := r.line, full(e.Name)
	known := elementNamed(name)
	if known == nil {
		if strings.HasSuffix(name, "-query") {
			o.Queries = append(o.Queries,
				Query{Kind: QueryOther, Line: line, Element: name, Name: attr(e, "name"), DisplayName: attr(e, "display-name")})
		} else {
			o.Skipped = append(o.Skipped, Skipped{Line: line, Element: clip(name), Reason: "unknown element"})
		}
		return r.skip()
	}
	if known.form != asQuery && known.form != asNothing && o.Get(known.attribute) != nil {
		return r.refuse(line, "<"+name+">", "stands twice in one object")
	}
	switch known.form {
	case asXML:
		value, err := r.xmlValue(name)
		if err != nil || value == nil {
			return err
		}
		return r.add(o, b, line, known.attribute, value)
	case asValue:
		value := attr(e, "value")
		if err := r.skip(); err != nil || attr(e, "inherit") == "true" || value == "" {
			return err
		}
		return r.add(o, b, line, known.attribute, []byte(value))
	case asBase64:
		c, err := r.inside()
		if err != nil {
			return err
		}
		value, err := decodeBase64(c.text)
		if err != nil || c.elements > 0 {
			return r.refuse(line, "<"+name+">", "bad base64: %v", err)
		}
		if len(value) == 0 {
			return nil
		}
		return r.add(o, b, line, known.attribute, value)
	case asLinkage:
		return r.linkage(o, b, known.attribute)
	case asQuery:
		q := Query{Kind: known.query, Line: line, Element: name, Name: attr(e, "name"), DisplayName: attr(e, "display-name")}
		if q.Kind == QueryNamedPassword && q.Name == "" {
			return r.refuse(line, "<"+name+">", "the attribute \"name\" is missing")
		}
		o.Queries = append(o.Queries, q)
	case asNothing:
		if attr(e, "inherit") != "true" {
			o.Skipped = append(o.Skipped, Skipped{Line: line, Element: name, Reason: "owned by the engine; set it there"})
		}
	}
	return r.skip()
}

func (r *Reader) linkage(o *Object, b *budget, attribute string) error {
	depth := len(r.stack)
	for {
		e, err := r.part(depth)
		if err != nil || e == nil {
			return err
		}
		line := r.line
		if full(e.Name) != "linkage-item" {
			return r.refuse(line, "<"+clip(full(e.Name))+">", "only <linkage-item> stands in <policy-linkage>")
		}
		dn, order, set := attr(*e, "dn"), attr(*e, "order"), attr(*e, "policy-set")
		if dn == "" {
			return r.refuse(line, "<linkage-item>", "the attribute \"dn\" is missing")
		}
		for field, number := range map[string]string{"order": order, "policy-set": set} {
			if _, err := strconv.ParseUint(number, 10, 31); err != nil {
				return r.refuse(line, "<linkage-item>", "the attribute %q is %q and no number", field, clip(number))
			}
		}
		if err := r.add(o, b, line, attribute, []byte(dn+"#"+order+"#"+set)); err != nil {
			return err
		}
		if err := r.skip(); err != nil {
			return err
		}
	}
}

// xmlValue reads the element just begun, whose content is one XML document, and returns its bytes, or nil when the
// element is empty.
func (r *Reader) xmlValue(name string) ([]byte, error) {
	line := r.line
	c, err := r.inside()
	if err != nil {
		return nil, err
	}
	core := trimXML(c.raw)
	switch {
	case len(core) == 0 && len(c.prolog) == 0 && len(c.epilog) == 0:
		return nil, nil
	case c.loose:
		return nil, r.refuse(line, "<"+clip(name)+">", "expected one XML element inside, found text")
	case c.elements != 1:
		return nil, r.refuse(line, "<"+clip(name)+">", "expected one XML element inside, found %d", c.elements)
	}
	return append(append(c.prolog, core...), c.epilog...), nil
}

func (r *Reader) children() error {
	depth := len(r.stack)
	for {
		e, err := r.child(depth)
		if err != nil || e == nil {
			return err
		}
		if err := r.object(*e); err != nil {
			return err
		}
	}
}

// object reads one element of <children>.
func (r *Reader) object(e xml.StartElement) error {
	line, kind := r.line, full(e.Name)
	switch kind {
	case "jobs":
		return r.children()
	case "ds-object":
		return r.generic(e)
	}
	o := &Object{Line: line}
	if name := attr(e, "name"); name != "" {
		o.Path = append(append([]string(nil), r.depth...), name)
	}
	fixed := containerNamed(kind)
	switch {
	case fixed == nil && kind != "resource" && kind != "publisher" && kind != "subscriber":
		o.Class, o.Path = "", append([]string(nil), r.depth...)
		o.Skipped = []Skipped{{Line: line, Element: clip(kind), Reason: "unknown element"}}
		if err := r.skip(); err != nil {
			return err
		}
		return r.emit(o)
	case o.Path == nil:
		return r.refuse(line, "<"+kind+">", "the attribute \"name\" is missing")
	case fixed != nil:
		o.Class = fixed.class
		value, err := r.xmlValue(kind)
		if err != nil {
			return err
		}
		if value != nil {
			o.Attributes = []Attribute{{Name: fixed.attribute, Line: line, Values: [][]byte{value}}}
		}
		return r.emit(o)
	case kind == "resource":
		o.Class = "DirXML-Resource"
		return r.resource(o, e)
	}
	o.Class = map[string]string{"publisher": "DirXML-Publisher", "subscriber": "DirXML-Subscriber"}[kind]
	return r.channel(o)
}

func containerNamed(name string) *container {
	for i := range containers {
		if containers[i].name == name {
			return &containers[i]
		}
	}
	return nil
}

// decodeBase64 decodes strictly, apart from white space, which exports fold their values with.
func decodeBase64(text []byte) ([]byte, error) {
	enc := make([]byte, 0, len(text))
	for _, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			enc = append(enc, c)
		}
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(enc)))
	n, err := base64.StdEncoding.Strict().Decode(out, enc)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	return out[:n:n], nil
}
