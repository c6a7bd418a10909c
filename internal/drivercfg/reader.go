package drivercfg

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Reader reads one file.
type Reader struct {
	*scanner
	header Header
	emit   func(*Object) error
	depth  []string    // names of the objects we are in
	parts  map[int]int // elements seen inside of the open element at that depth
	root   []Skipped   // what the root element itself carries and is not taken over
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
		if err := rd.begin(root); err != nil {
			return nil, err
		}
		return rd, nil
	}
}

// begin reads the root element.
func (r *Reader) begin(root xml.StartElement) error {
	field := "<" + clip(full(root.Name)) + ">"
	switch full(root.Name) {
	case "driver-configuration":
	case "driver-set-configuration":
		return r.refuse(r.line, field,
			"the file holds a whole driver set; export each driver by itself, or the set as LDIF")
	default:
		return r.refuse(r.line, field, "the root element is not <driver-configuration>")
	}
	h := Header{DN: attr(root, "dn"), DriverSetDN: attr(root, "driver-set-dn"), Name: attr(root, "name"),
		PackageID: attr(root, "package-id")}
	r.header = h
	if h.Name == "" {
		return r.refuse(r.line, field, "the attribute \"name\" is missing")
	}
	// In an export of one channel, policy or resource the DN is that of its parent.
	dn, err := ldap.ParseDN(h.DN)
	kind := attr(root, "config-type")
	if kind != "" || err == nil && len(dn.RDNs) > 0 && !strings.EqualFold(dn.RDNs[0].Attributes[0].Value, h.Name) {
		return r.refuse(r.line, field,
			"the file holds %q of %q%s, which is a part and no whole driver; "+
				"export the driver, or import the part with Designer",
			clip(h.Name), clip(h.DN), orNothing(" of type ", kind))
	}
	o := &Object{Line: r.line}
	o.unknown(root, r.line, "dn", "driver-set-dn", "name", "package-id", "package-version", "modified")
	r.root = o.Skipped
	return nil
}

func orNothing(before, text string) string {
	if text == "" {
		return ""
	}
	return before + clip(text)
}

// unknown reports the XML attributes of e that are none of known, and the package stamps of e together.
func (o *Object) unknown(e xml.StartElement, line int, known ...string) {
	stamped := false
	for _, a := range e.Attr {
		name := full(a.Name)
		switch {
		case slices.Contains(known, name), name == "xmlns", a.Name.Space == "xmlns", a.Name.Space == "xml":
		case slices.Contains(stamps, name):
			stamped = true
		default:
			o.skipped(line, full(e.Name), "unknown attribute "+clip(name))
		}
	}
	if stamped {
		o.skipped(line, full(e.Name), stampsLost)
	}
}

func (o *Object) skipped(line int, element, reason string) {
	o.Skipped = append(o.Skipped, Skipped{Line: line, Element: clip(element), Reason: reason})
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
	outside := &Object{Skipped: r.root}
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
			var filled bool
			if filled, err = r.skip(); filled {
				outside.skipped(line, name, stampsLost)
			}
		case "attributes":
			if driver {
				return r.refuse(line, "<attributes>", "the driver has two of them")
			}
			driver = true
			o := &Object{Line: line, Class: "DirXML-Driver", Skipped: outside.Skipped}
			outside = &Object{}
			o.unknown(*e, line, "package-id", "package-version")
			if err = r.attributes(o); err == nil {
				err = r.emit(o)
			}
		case "children":
			outside.unknown(*e, line)
			err = r.children()
		case "global-config-values":
			var filled bool
			if filled, err = r.skip(); filled {
				outside.skipped(line, name, "values of the driver set, for information; import them with the driver set")
			}
		default:
			outside.skipped(line, name, unknownElement)
			_, err = r.skip()
		}
		if err != nil {
			return err
		}
	}
	if !driver {
		outside.Line, outside.Class = 1, "DirXML-Driver"
	}
	if !driver || len(outside.Skipped) > 0 {
		if err := r.emit(outside); err != nil {
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

const unknownElement = "unknown element"

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
			o.query(e, line, QueryOther)
		} else {
			o.skipped(line, name, unknownElement)
		}
		_, err := r.skip()
		return err
	}
	if known.attribute != "" && o.Get(known.attribute) != nil {
		return r.refuse(line, "<"+name+">", "stands twice in one object")
	}
	switch known.form {
	case asXML:
		o.unknown(e, line)
		value, err := r.xmlValue(name)
		if err != nil || value == nil {
			return err
		}
		return r.add(o, b, line, known.attribute, value)
	case asValue:
		if name == startOption { // "no-resync" is no value of the directory: it belongs to the act of setting
			o.unknown(e, line, "value", "no-resync")
		} else {
			o.unknown(e, line, "value", "inherit")
		}
		value := attr(e, "value")
		if _, err := r.skip(); err != nil || attr(e, "inherit") == "true" || value == "" {
			return err
		}
		return r.add(o, b, line, known.attribute, []byte(value))
	case asBase64:
		return r.image(o, e, b, known.attribute)
	case asLinkage:
		o.unknown(e, line)
		return r.linkage(o, b, known.attribute)
	case asQuery, asPassword:
		o.unknown(e, line, "name", "display-name")
		o.query(e, line, known.query)
		q := &o.Queries[len(o.Queries)-1]
		q.InClear = known.form == asPassword
		if q.Kind == QueryNamedPassword && q.Name == "" {
			return r.refuse(line, "<"+name+">", "the attribute \"name\" is missing")
		}
	case asNothing:
		o.unknown(e, line, "value", "inherit")
		if attr(e, "inherit") != "true" {
			o.skipped(line, name, "owned by the engine; set it there")
		}
	case asStamps:
		filled, err := r.skip()
		if filled {
			o.skipped(line, name, stampsLost)
		}
		return err
	}
	_, err := r.skip()
	return err
}

// query notes what an importer has to ask for.
func (o *Object) query(e xml.StartElement, line int, kind QueryKind) {
	o.Queries = append(o.Queries, Query{Kind: kind, Line: line, Element: full(e.Name), Name: attr(e, "name"),
		DisplayName: attr(e, "display-name")})
}

// image reads an element whose text is base64.
func (r *Reader) image(o *Object, e xml.StartElement, b *budget, attribute string) error {
	line, name := r.line, full(e.Name)
	o.unknown(e, line, "delete-value")
	c, err := r.inside()
	if err != nil {
		return err
	}
	value, err := decodeBase64(c.text)
	if err != nil || c.elements > 0 {
		return r.refuse(line, "<"+name+">", "bad base64: %v", err)
	}
	if attr(e, "delete-value") == "true" {
		o.skipped(line, name, "the file says that there is none; an import removes nothing")
		return nil
	}
	if len(value) == 0 {
		return nil
	}
	return r.add(o, b, line, attribute, value)
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
		o.unknown(*e, line, "dn", "order", "policy-set", "policy-set-name")
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
		if _, err := r.skip(); err != nil {
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
		o.skipped(line, kind, unknownElement)
		if _, err := r.skip(); err != nil {
			return err
		}
		return r.emit(o)
	case o.Path == nil:
		return r.refuse(line, "<"+kind+">", "the attribute \"name\" is missing")
	case fixed != nil:
		o.Class = fixed.class
		o.unknown(e, line, "name")
		value, err := r.xmlValue(kind)
		if err == nil {
			value, err = r.unwrap(line, kind, value, fixed.wrappers)
		}
		if err != nil {
			return err
		}
		if value != nil {
			o.Attributes = []Attribute{{Name: fixed.attribute, Line: line, Values: [][]byte{value}}}
		}
		return r.emit(o)
	case kind == "resource":
		o.Class = "DirXML-Resource"
		o.unknown(e, line, "name", "content-type")
		return r.resource(o, e)
	}
	o.Class = map[string]string{"publisher": "DirXML-Publisher", "subscriber": "DirXML-Subscriber"}[kind]
	o.unknown(e, line, "name")
	return r.channel(o)
}

// unwrap takes the elements off a value that the file puts around it and the directory does not hold, in whatever
// number they stand there. It returns nil when there is nothing inside.
func (r *Reader) unwrap(line int, kind string, value []byte, wrappers []string) ([]byte, error) {
	for len(wrappers) > 0 && value != nil {
		in := &Reader{scanner: newScanner(r.file, bytes.NewReader(value), r.limits)}
		var begin xml.StartElement
		for begin.Name.Local == "" {
			tok, err := in.next()
			if err != nil {
				return nil, r.refuse(line, "<"+kind+">", "%v", err)
			}
			begin, _ = tok.(xml.StartElement)
		}
		name := full(begin.Name)
		if !slices.Contains(wrappers, name) {
			break
		}
		inner, err := in.xmlValue(name)
		if err != nil {
			return nil, r.refuse(line, "<"+kind+">", "%v", err)
		}
		value = inner
	}
	return value, nil
}

func containerNamed(name string) *container {
	for i := range containers {
		if c := &containers[i]; c.name == name || c.old != "" && c.old == name {
			return c
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
