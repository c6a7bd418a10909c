package drivercfg

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// Lost is a value the format has no place for.
type Lost struct {
	Path      []string
	Attribute string // empty: the whole object
}

// Writer writes one file. Objects come parents first: the driver, then what is directly or indirectly below it,
// children right behind their parents, and the driver's jobs last. Memory is that of one object.
type Writer struct {
	out    *bufio.Writer
	header Header
	stack  []string // names of the open channels
	kinds  []string // their elements
	state  writerState
	limits Limits
	lost   []Lost
}

type writerState int

const (
	beforeDriver writerState = iota
	inChildren
	inJobs
	closed
)

// NewWriter writes to w.
func NewWriter(w io.Writer, header Header) *Writer {
	return &Writer{out: bufio.NewWriterSize(w, 64<<10), header: header, limits: Limits{Value: 1 << 30}.withDefaults()}
}

// Lost returns what could not be written so far, for the report of an export: a file of this kind never holds
// everything.
func (w *Writer) Lost() []Lost { return w.lost }

// Object writes one object.
func (w *Writer) Object(o *Object) error {
	if len(o.Path) == 0 {
		return w.driver(o)
	}
	if w.state == beforeDriver || w.state == closed {
		return errors.New("drivercfg: objects stand behind the driver and before Close")
	}
	job := o.Class == "DirXML-Job" && len(o.Path) == 1
	if w.state == inJobs && !job {
		return fmt.Errorf("drivercfg: object %q behind the jobs", strings.Join(o.Path, "/"))
	}
	parent := o.Path[:len(o.Path)-1]
	for len(w.stack) > 0 && !under(w.stack, parent) {
		w.closeChannel()
	}
	if !slices.Equal(w.stack, parent) {
		return fmt.Errorf("drivercfg: object %q before its parent", strings.Join(o.Path, "/"))
	}
	if job && w.state == inChildren {
		w.state = inJobs
		w.print("\t\t<jobs>\n")
	}
	return w.child(o)
}

// under reports whether path is stack or lies below it.
func under(stack, path []string) bool {
	return len(path) >= len(stack) && slices.Equal(stack, path[:len(stack)])
}

func (w *Writer) print(parts ...string) {
	for _, p := range parts {
		_, _ = w.out.WriteString(p) // errors stay in out until Close
	}
}

func (w *Writer) lose(o *Object, attribute string) {
	w.lost = append(w.lost, Lost{Path: o.Path, Attribute: attribute})
}

// begin writes a start tag without its end. The attributes are names and values in turn; those without a value are left
// out.
func (w *Writer) begin(indent, element string, attributes ...string) {
	w.print(indent, "<", element)
	for pair := range slices.Chunk(attributes, 2) {
		if pair[1] != "" {
			w.print(" ", pair[0], `="`, escaper.Replace(pair[1]), `"`)
		}
	}
}

func (w *Writer) driver(o *Object) error {
	if w.state != beforeDriver {
		return errors.New("drivercfg: a second driver")
	}
	w.begin(`<?xml version="1.0" encoding="UTF-8"?>`, "driver-configuration", "dn", w.header.DN,
		"driver-set-dn", w.header.DriverSetDN, "name", w.header.Name, "package-id", w.header.PackageID)
	w.print(">\n")
	w.attributes(o, "\t")
	w.print("\t<children>\n")
	w.state = inChildren
	_, err := w.out.Write(nil)
	return err
}

func (w *Writer) attributes(o *Object, indent string) {
	w.print(indent, "<attributes>\n")
	in := indent + "\t"
	for i := range attributeElements {
		e := &attributeElements[i]
		if e.form == asQuery {
			for _, q := range o.Queries {
				if q.Kind == e.query {
					w.begin(in, e.name, "display-name", q.DisplayName, "name", q.Name)
					w.print("/>\n")
				}
			}
		}
		a := o.Get(e.attribute)
		stands := a != nil && w.attribute(o, in, e, a)
		if !stands && e.inherits && len(o.Path) == 0 {
			w.begin(in, e.name, "inherit", "true")
			w.print("/>\n")
		}
	}
	for _, a := range o.Attributes {
		if elementFor(a.Name) == nil {
			w.noElement(o, a.Name)
		}
	}
	w.print(indent, "</attributes>\n")
}

// noElement says of an attribute that it is not in the file, but for those that every object has and that the place in
// the file expresses. The stamps of packages are among them: Designer shows the content without its package.
func (w *Writer) noElement(o *Object, attribute string) {
	if !isNaming(attribute) {
		w.lose(o, attribute)
	}
}

func isNaming(name string) bool {
	return strings.EqualFold(name, "cn") || strings.EqualFold(name, "objectClass")
}

// attribute writes one attribute and reports whether it stands in the file.
func (w *Writer) attribute(o *Object, indent string, e *element, a *Attribute) bool {
	if e.form == asLinkage {
		w.linkage(o, indent, e, a)
		return true
	}
	value := bytes.Join(a.Values, nil)
	doc, embeds := w.split(value)
	switch {
	case len(a.Values) != 1, e.form == asXML && !embeds, e.form == asValue && !clean(value):
		w.lose(o, a.Name)
		return false
	case e.form == asXML:
		w.print(indent, "<", e.name, ">")
		w.document(doc)
		w.print("</", e.name, ">\n")
	case e.form == asBase64:
		w.print(indent, "<", e.name, ">", base64.StdEncoding.EncodeToString(value), "</", e.name, ">\n")
	default:
		noResync := ""
		if e.name == startOption {
			noResync = "true" // without it another importer may synchronize everything
		}
		w.begin(indent, e.name, "no-resync", noResync, "value", string(value))
		w.print("/>\n")
	}
	return true
}

func (w *Writer) linkage(o *Object, indent string, e *element, a *Attribute) {
	var items []linkageItem
	for _, v := range a.Values {
		if item, ok := parseLinkage(v); ok {
			items = append(items, item)
		} else {
			w.lose(o, a.Name)
		}
	}
	slices.SortStableFunc(items, func(a, b linkageItem) int {
		return cmp.Or(cmp.Compare(a.set, b.set), cmp.Compare(a.order, b.order))
	})
	w.print(indent, "<", e.name, ">\n")
	for _, item := range items {
		set := ""
		if item.set < len(policySets) {
			set = policySets[item.set]
		}
		w.begin(indent+"\t", "linkage-item", "dn", item.dn, "order", strconv.Itoa(item.order),
			"policy-set", strconv.Itoa(item.set), "policy-set-name", set)
		w.print("/>\n")
	}
	w.print(indent, "</", e.name, ">\n")
}

type linkageItem struct {
	dn         string
	order, set int
}

// parseLinkage reads "dn#order#set".
func parseLinkage(v []byte) (linkageItem, bool) {
	parts := strings.Split(string(v), "#")
	n := len(parts)
	if n < 3 || parts[0] == "" || !clean(v) {
		return linkageItem{}, false
	}
	order, err1 := strconv.ParseUint(parts[n-2], 10, 31)
	set, err2 := strconv.ParseUint(parts[n-1], 10, 31)
	return linkageItem{strings.Join(parts[:n-2], "#"), int(order), int(set)}, err1 == nil && err2 == nil
}

func (w *Writer) child(o *Object) error {
	indent := strings.Repeat("\t\t", len(o.Path))
	name := o.Path[len(o.Path)-1]
	if !clean([]byte(name)) {
		w.lose(o, "")
		return nil
	}
	switch o.Class {
	case "DirXML-Publisher", "DirXML-Subscriber":
		kind := strings.ToLower(strings.TrimPrefix(o.Class, "DirXML-"))
		w.begin(indent, kind, "name", name)
		w.print(">\n")
		w.attributes(o, indent+"\t")
		w.print(indent, "\t<children>\n")
		w.stack = append(slices.Clone(w.stack), name)
		w.kinds = append(w.kinds, kind)
	case "DirXML-Resource":
		w.resource(o, indent, name)
	default:
		w.leaf(o, indent, name)
	}
	_, err := w.out.Write(nil)
	return err
}

func (w *Writer) closeChannel() {
	last := len(w.stack) - 1
	indent := strings.Repeat("\t\t", len(w.stack))
	w.print(indent, "\t</children>\n", indent, "</", w.kinds[last], ">\n")
	w.stack, w.kinds = w.stack[:last], w.kinds[:last]
}

func (w *Writer) leaf(o *Object, indent, name string) {
	c := first(containers, func(c *container) bool { return c.class == o.Class })
	if c == nil {
		w.generic(o, indent, name)
		return
	}
	var doc document
	if a := o.Get(c.attribute); a != nil {
		var embeds bool
		if doc, embeds = w.split(a.Values[0]); !embeds || len(a.Values) > 1 {
			w.generic(o, indent, name) // no one XML value that can stand inside: the general form takes any bytes
			return
		}
	}
	w.begin(indent, c.name, "name", name)
	w.print(">")
	for _, wrapper := range c.wrappers {
		w.print("<", wrapper, ">")
	}
	w.document(doc)
	for _, wrapper := range slices.Backward(c.wrappers) {
		w.print("</", wrapper, ">")
	}
	w.print("</", c.name, ">\n")
	for _, other := range o.Attributes {
		if other.Name != c.attribute {
			w.noElement(o, other.Name)
		}
	}
}

func (w *Writer) resource(o *Object, indent, name string) {
	data, kind := o.Get("DirXML-Data"), ""
	for _, a := range o.Attributes {
		switch own := a.Name == "DirXML-Data" || a.Name == "DirXML-ContentType"; {
		case !own && (isNaming(a.Name) || strings.HasPrefix(strings.ToLower(a.Name), "dirxml-pkg")):
			w.noElement(o, a.Name)
		case !own || len(a.Values) != 1 || !clean(a.Values[0]):
			w.generic(o, indent, name)
			return
		case a.Name == "DirXML-ContentType":
			kind = string(a.Values[0])
		}
	}
	w.begin(indent, "resource", "content-type", kind, "name", name)
	w.print(">\n")
	if data != nil {
		if doc, embeds := w.split(data.Values[0]); embeds {
			w.print(indent, "\t", `<content contains="xml">`)
			w.document(doc)
		} else {
			w.print(indent, "\t", `<content contains="text">`, textEscaper.Replace(string(data.Values[0])))
		}
		w.print("</content>\n")
	}
	w.print(indent, "</resource>\n")
}

// generic writes the form in which jobs stand in the file; it takes any object and any bytes.
func (w *Writer) generic(o *Object, indent, name string) {
	w.begin(indent, "ds-object", "ds-object-class", o.Class, "ds-object-name", name)
	w.print(">\n", indent, "\t<ds-attributes>\n")
	for _, a := range o.Attributes {
		if isNaming(a.Name) || a.Name == "DirXML-ServerList" {
			continue // asked for at import: the servers of another tree mean nothing there
		}
		w.begin(indent+"\t\t", "ds-attribute", "ds-attr-name", a.Name)
		w.print(">\n")
		for _, v := range a.Values {
			if a.Name != "XmlData" && clean(v) && !blank(v) {
				w.print(indent, "\t\t\t<ds-value>", textEscaper.Replace(string(v)), "</ds-value>\n")
				continue
			}
			w.print(indent, "\t\t\t", `<ds-value base64-encoded="true">`, base64.StdEncoding.EncodeToString(v), "</ds-value>\n")
		}
		w.print(indent, "\t\t</ds-attribute>\n")
	}
	if o.Class == "DirXML-Job" {
		w.begin(indent+"\t\t", "job-servers-query", "job-display-name", name, "job-name", w.dn(o.Path))
		w.print("/>\n")
	}
	w.print(indent, "\t</ds-attributes>\n", indent, "</ds-object>\n")
}

// dn is the name of an object of the driver in the directory.
func (w *Writer) dn(path []string) string {
	dn := w.header.DN
	for _, name := range path {
		dn = "cn=" + ldap.EscapeDN(name) + "," + dn
	}
	return dn
}

// document is an XML value taken apart into what can stand inside an element and what cannot.
type document struct{ prolog, core []byte }

// front is what may stand in front of the document of a value.
var front = regexp.MustCompile(`^\x{FEFF}?(?:<\?xml (?s:.*?)\?>)?[ \t\r\n]*`)

// split takes value apart and proves that its core can stand inside another document unchanged.
func (w *Writer) split(value []byte) (document, bool) {
	prolog := front.Find(value)
	d := document{prolog: prolog, core: trimXML(value[len(prolog):])}
	return d, clean(value) && w.embeddable(d.prolog, d.core)
}

// plainDeclaration says what the file's own declaration says, and what XML means without one.
var plainDeclaration = regexp.MustCompile(
	`^\x{FEFF}?(?:<\?xml version=["']1\.0["'](?: encoding=["'](?i:utf-8)["'])?\s*\?>)?`)

// Core cuts off what a value has around its document and no file keeps: the declaration that the file itself has, and
// white space. Values with the same core are the same document.
func Core(value []byte) []byte { return trimXML(value[len(plainDeclaration.Find(value)):]) }

// embeddable reads the core back the way a reader of the file would: it must be one element, hold no markup that would
// be taken for the file's own, and not end the element it stands in.
func (w *Writer) embeddable(prolog, core []byte) bool {
	in := io.MultiReader(bytes.NewReader(bytes.TrimPrefix(bytes.TrimSpace(prolog), bom)), strings.NewReader("<v>"),
		bytes.NewReader(core), strings.NewReader("</v>"))
	s := newScanner("value", in, w.limits)
	if _, err := s.firstElement(); err != nil {
		return false
	}
	c, err := s.inside()
	if err != nil || c.elements != 1 || c.loose || len(c.prolog) > 0 || !bytes.Equal(c.raw, core) {
		return false
	}
	_, err = s.next()
	return errors.Is(err, io.EOF)
}

func (w *Writer) document(d document) {
	if len(Core(d.prolog)) > 0 {
		w.print("<?", piProlog, " ", base64.StdEncoding.EncodeToString(d.prolog), "?>")
	}
	_, _ = w.out.Write(d.core)
}

// clean reports whether XML can carry the bytes as characters.
func clean(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}

var textEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;")

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\t", "&#9;", "\n", "&#10;",
	"\r", "&#13;")

// Close ends the file. The driver must have been written.
func (w *Writer) Close() error {
	switch w.state {
	case beforeDriver:
		return errors.New("drivercfg: no driver was written")
	case closed:
		return nil
	}
	for len(w.stack) > 0 {
		w.closeChannel()
	}
	if w.state == inJobs {
		w.print("\t\t</jobs>\n")
	}
	w.state = closed
	w.print("\t</children>\n</driver-configuration>\n")
	return w.out.Flush()
}
