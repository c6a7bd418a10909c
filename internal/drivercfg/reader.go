package drivercfg

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
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
	path   []string  // names of the objects we are in
	left   int       // how many bytes of values the object at hand may still have
	root   []Skipped // what the root element itself carries and is not taken over
}

// NewReader reads up to the root element of r; file is the name errors carry.
func NewReader(file string, r io.Reader, limits Limits) (*Reader, error) {
	rd := &Reader{scanner: newScanner(file, r, limits.withDefaults())}
	root, err := rd.firstElement()
	if err != nil {
		return nil, err
	}
	return rd, rd.begin(root)
}

func (r *Reader) begin(root xml.StartElement) error {
	name := full(root.Name)
	refuse := func(format string, args ...any) error { return r.refuse(r.line, tag(name), format, args...) }
	switch name {
	case "driver-configuration":
	case "driver-set-configuration":
		return refuse("the file holds a whole driver set; export each driver by itself, or the set as LDIF")
	default:
		return refuse("the root element is not <driver-configuration>")
	}
	h := Header{DN: attr(root, "dn"), DriverSetDN: attr(root, "driver-set-dn"), Name: attr(root, "name"),
		PackageID: attr(root, "package-id")}
	r.header = h
	if h.Name == "" {
		return refuse("the attribute \"name\" is missing")
	}
	// In an export of one channel, policy or resource the DN is that of its parent.
	dn, err := ldap.ParseDN(h.DN)
	kind := attr(root, "config-type")
	if kind != "" || err == nil && len(dn.RDNs) > 0 && !strings.EqualFold(dn.RDNs[0].Attributes[0].Value, h.Name) {
		if kind != "" {
			kind = " of type " + clip(kind)
		}
		return refuse("the file holds %q of %q%s, which is a part and no whole driver; "+
			"export the driver, or import the part with Designer", clip(h.Name), clip(h.DN), kind)
	}
	o := &Object{}
	o.unknown(root, r.line, "dn", "driver-set-dn", "name", "package-id", "package-version", "modified")
	r.root = o.Skipped
	return nil
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
	outside := &Object{Skipped: r.root}
	driver := false
	err := r.parts(func(e xml.StartElement, line int, name string) error {
		switch name {
		case "packages":
			return r.pass(outside, line, name, stampsLost)
		case "attributes":
			if driver {
				return r.refuse(line, "<attributes>", "the driver has two of them")
			}
			driver = true
			o := &Object{Line: line, Class: "DirXML-Driver", Skipped: outside.Skipped}
			outside, r.left = &Object{}, r.limits.Object
			if err := r.attributes(o, e, line); err != nil {
				return err
			}
			return r.emit(o)
		case "children":
			return r.list(e, line)
		case "global-config-values":
			return r.pass(outside, line, name, "values of the driver set, for information; import them with the driver set")
		}
		outside.skipped(line, name, unknownElement)
		return nil
	})
	if err != nil {
		return err
	}
	if !driver {
		outside.Line, outside.Class = 1, "DirXML-Driver"
	}
	if !driver || len(outside.Skipped) > 0 {
		if err := r.emit(outside); err != nil {
			return err
		}
	}
	for err == nil {
		_, err = r.next()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

const (
	unknownElement = "unknown element"
	insideLost     = "what stands inside of it is not taken over"
)

// parts calls fn for each element inside of the one just begun. It ends the reading of an element that has more of them
// than anything real: each may be remembered and compared with the others.
func (r *Reader) parts(fn func(e xml.StartElement, line int, name string) error) error {
	return r.each(r.limits.Parts, fn)
}

// each calls fn for each of at most limit elements inside of the one just begun, and passes over what fn leaves of it.
func (r *Reader) each(limit int, fn func(e xml.StartElement, line int, name string) error) error {
	depth := len(r.stack)
	for n := 1; ; n++ {
		e, err := r.child(depth)
		if err != nil || e == nil {
			return err
		}
		name := full(e.Name)
		if n > limit {
			return r.refuse(r.line, tag(name), "more than %d elements in one", limit)
		}
		if err := fn(*e, r.line, name); err != nil {
			return err
		}
		for len(r.stack) > depth {
			if _, err := r.next(); err != nil {
				return err
			}
		}
	}
}

// pass reads to the end of the element just begun, and reports it with the reason when anything stood in it.
func (r *Reader) pass(o *Object, line int, name, reason string) error {
	filled := false
	for depth := len(r.stack); len(r.stack) >= depth; {
		tok, err := r.next()
		if err != nil {
			return err
		}
		text, isText := tok.(xml.CharData)
		filled = filled || len(r.stack) > depth || isText && !blank(text)
	}
	if filled {
		o.skipped(line, name, reason)
	}
	return nil
}

// add takes a value in. One of zero bytes is not set: the directory has none.
func (r *Reader) add(o *Object, line int, name string, value []byte) error {
	if len(value) == 0 {
		return nil
	}
	if r.left -= len(value); r.left < 0 {
		return r.refuse(line, name, "object longer than the limit of %d bytes", r.limits.Object)
	}
	a := first(o.Attributes, func(a *Attribute) bool { return strings.EqualFold(a.Name, name) })
	if a == nil {
		o.Attributes = append(o.Attributes, Attribute{Name: name, Line: line})
		a = &o.Attributes[len(o.Attributes)-1]
	}
	a.Values = append(a.Values, value)
	return nil
}

// attributes reads the element <attributes> just begun into o.
func (r *Reader) attributes(o *Object, e xml.StartElement, line int) error {
	o.unknown(e, line, "package-id", "package-version")
	return r.parts(func(e xml.StartElement, line int, name string) error {
		known := elementNamed(name)
		if known == nil {
			o.beside(e, line, name)
			return nil
		}
		if known.attribute != "" && o.Get(known.attribute) != nil {
			return r.refuse(line, tag(name), "stands twice in one object")
		}
		return r.attribute(o, e, line, known)
	})
}

func (r *Reader) attribute(o *Object, e xml.StartElement, line int, known *element) error {
	switch known.form {
	case asXML:
		o.unknown(e, line)
		value, err := r.xmlValue(known.name)
		if err != nil {
			return err
		}
		return r.add(o, line, known.attribute, value)
	case asValue:
		also := "inherit"
		if known.name == startOption {
			also = "no-resync" // is no value of the directory: it belongs to the act of setting
		}
		o.unknown(e, line, "value", also)
		if attr(e, "inherit") != "true" {
			if err := r.add(o, line, known.attribute, []byte(attr(e, "value"))); err != nil {
				return err
			}
		}
		return r.pass(o, line, known.name, insideLost)
	case asBase64:
		return r.image(o, e, line, known)
	case asLinkage:
		o.unknown(e, line)
		return r.linkage(o, known.attribute)
	case asQuery, asPassword:
		o.unknown(e, line, "name", "display-name")
		q := o.query(e, line, known.query)
		q.InClear = known.form == asPassword
		if q.Kind == QueryNamedPassword && q.Name == "" {
			return r.refuse(line, tag(known.name), "the attribute \"name\" is missing")
		}
		if known.form == asQuery {
			return r.pass(o, line, known.name, insideLost)
		}
	case asNothing:
		o.unknown(e, line, "value", "inherit")
		if attr(e, "inherit") != "true" {
			o.skipped(line, known.name, "owned by the engine; set it there")
		}
		return r.pass(o, line, known.name, insideLost)
	case asStamps:
		return r.pass(o, line, known.name, stampsLost)
	}
	return nil
}

func (o *Object) query(e xml.StartElement, line int, kind QueryKind) *Query {
	o.Queries = append(o.Queries, Query{Kind: kind, Line: line, Element: full(e.Name), Name: attr(e, "name"),
		DisplayName: attr(e, "display-name")})
	return &o.Queries[len(o.Queries)-1]
}

// beside notes what stands in an object and is no attribute: something to ask for, or unknown.
func (o *Object) beside(e xml.StartElement, line int, name string) {
	q, ofJob := jobQueries[name]
	switch {
	case ofJob:
		o.unknown(e, line, "job-name", "job-display-name")
		o.query(e, line, q)
	case strings.HasSuffix(name, "-query"):
		o.query(e, line, QueryOther)
	default:
		o.skipped(line, name, unknownElement)
	}
}

func (r *Reader) image(o *Object, e xml.StartElement, line int, known *element) error {
	o.unknown(e, line, "delete-value")
	c, err := r.inside()
	if err != nil {
		return err
	}
	value, err := decodeBase64(c.text)
	if err != nil || c.elements > 0 {
		return r.refuse(line, tag(known.name), "bad base64: %v", err)
	}
	if attr(e, "delete-value") == "true" {
		o.skipped(line, known.name, "the file says that there is none; an import removes nothing")
		return nil
	}
	return r.add(o, line, known.attribute, value)
}

func (r *Reader) linkage(o *Object, attribute string) error {
	return r.parts(func(e xml.StartElement, line int, name string) error {
		if name != "linkage-item" {
			return r.refuse(line, tag(name), "only <linkage-item> stands in <policy-linkage>")
		}
		o.unknown(e, line, "dn", "order", "policy-set", "policy-set-name")
		dn, order, set := attr(e, "dn"), attr(e, "order"), attr(e, "policy-set")
		if dn == "" {
			return r.refuse(line, tag(name), "the attribute \"dn\" is missing")
		}
		for field, number := range map[string]string{"order": order, "policy-set": set} {
			if _, err := strconv.ParseUint(number, 10, 31); err != nil {
				return r.refuse(line, tag(name), "the attribute %q is %q and no number", field, clip(number))
			}
		}
		return r.add(o, line, attribute, []byte(dn+"#"+order+"#"+set))
	})
}

// decodeBase64 decodes strictly, apart from white space, which exports fold their values with.
func decodeBase64(text []byte) ([]byte, error) {
	enc := make([]byte, 0, len(text))
	for _, c := range text {
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			enc = append(enc, c)
		}
	}
	return base64.StdEncoding.Strict().AppendDecode(nil, enc)
}
