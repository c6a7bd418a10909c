package drivercfg

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/internal/badinput"
)

// Limits bound what a reader takes in. A zero field means the default.
type Limits struct {
	Value      int   // bytes of one value or tag; default 16 MiB
	Object     int   // bytes of the values of one object together; default 64 MiB
	Depth      int   // elements inside each other; default 200
	Attributes int   // attributes of one element; default 256
	Parts      int   // settings, values or placeholders inside of one element; default 20,000. Objects are not counted
	File       int64 // bytes of the file; default 1 GiB
}

func (l Limits) withDefaults() Limits {
	return Limits{Value: cmp.Or(l.Value, 16<<20), Object: cmp.Or(l.Object, 64<<20), Depth: cmp.Or(l.Depth, 200),
		Attributes: cmp.Or(l.Attributes, 256), Parts: cmp.Or(l.Parts, 20_000), File: cmp.Or(l.File, 1<<30)}
}

var (
	errValueTooLong = errors.New("value or tag longer than the limit")
	errFileTooLong  = errors.New("file longer than the limit")
)

// source hands the file to the decoder byte by byte, so that the decoder's offset is exact, and keeps the bytes
// since the last mark. It ends the reading when these grow over the limit, before they are in memory as a token.
type source struct {
	in     *bufio.Reader
	read   int64  // bytes handed over
	kept   []byte // the bytes since offset mark
	mark   int64
	limits Limits
	broken error // what the file itself failed with
}

func (s *source) ReadByte() (byte, error) {
	c, err := s.in.ReadByte()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			s.broken = err
		}
		return 0, err
	}
	s.read++
	switch {
	case s.read > s.limits.File:
		return 0, errFileTooLong
	case len(s.kept) >= s.limits.Value:
		return 0, errValueTooLong
	}
	s.kept = append(s.kept, c)
	return c, nil
}

// Read makes source an io.Reader; the decoder uses ReadByte.
func (s *source) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// forget drops what was kept before offset.
func (s *source) forget(offset int64) {
	n := copy(s.kept, s.kept[offset-s.mark:])
	s.kept, s.mark = s.kept[:n], offset
}

// since returns the bytes from offset up to end.
func (s *source) since(offset, end int64) []byte { return s.kept[offset-s.mark : end-s.mark] }

// open is an element that has not ended yet.
type open struct {
	name     string // as written, with prefix
	line     int
	prefixes []string // bound here
}

// scanner is a strict pull parser: it checks what encoding/xml lets pass.
type scanner struct {
	file    string
	src     *source
	dec     *xml.Decoder
	limits  Limits
	stack   []open
	hold    bool // keep bytes: a value is being cut out
	outside int  // elements of the stack that lie outside the value being cut out
	rooted  bool
	line    int // of the token at hand
	start   int64
}

func newScanner(file string, r io.Reader, limits Limits) *scanner {
	src := &source{in: bufio.NewReaderSize(r, 64<<10), limits: limits}
	return &scanner{file: file, src: src, dec: xml.NewDecoder(src), limits: limits}
}

func (s *scanner) refuse(line int, field, format string, args ...any) error {
	return &badinput.Error{File: s.file, Line: line, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// firstElement reads up to the first element.
func (s *scanner) firstElement() (xml.StartElement, error) {
	for {
		tok, err := s.next()
		if e, is := tok.(xml.StartElement); is || err != nil {
			return e, err
		}
	}
}

// next returns the next token: xml.StartElement, xml.EndElement, xml.CharData, xml.Comment, xml.ProcInst, or io.EOF
// after the end of the root element.
func (s *scanner) next() (xml.Token, error) {
	s.start = s.dec.InputOffset()
	if !s.hold {
		s.src.forget(s.start)
	}
	s.line, _ = s.dec.InputPos()
	tok, err := s.dec.RawToken()
	if err != nil {
		return nil, s.failed(err)
	}
	switch t := tok.(type) {
	case xml.StartElement:
		return t, s.opened(t)
	case xml.EndElement:
		return t, s.closed(t)
	case xml.CharData:
		if len(s.stack) == 0 && len(trimXML(bytes.TrimPrefix(t, bom))) > 0 {
			return nil, s.refuse(s.line, "", "text outside of the root element: not a driver configuration, or damaged")
		}
	case xml.Directive:
		return nil, s.refuse(s.line, "<!"+firstWord(string(t)), "document types and entities are refused")
	case xml.ProcInst:
		if t.Target == "xml" && s.start > int64(len(bom)) {
			return nil, s.refuse(s.line, "<?xml", "an XML declaration inside of the document")
		}
	}
	return tok, nil
}

var bom = []byte("\xef\xbb\xbf")

func firstWord(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return clip(word)
}

// tag is how errors name an element.
func tag(name string) string { return "<" + clip(name) + ">" }

func clip(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "?") + "…"
	}
	return s
}

func (s *scanner) failed(err error) error {
	line, _ := s.dec.InputPos()
	where := ""
	if n := len(s.stack); n > 0 {
		where = tag(s.stack[n-1].name)
	}
	syntax, isSyntax := errors.AsType[*xml.SyntaxError](err)
	switch {
	case errors.Is(err, errValueTooLong):
		return s.refuse(s.line, where, "value or tag longer than the limit of %d bytes", s.limits.Value)
	case errors.Is(err, errFileTooLong):
		return s.refuse(line, where, "file longer than the limit of %d bytes", s.limits.File)
	case errors.Is(err, io.EOF) && len(s.stack) == 0 && s.rooted:
		return io.EOF
	case errors.Is(err, io.EOF) && len(s.stack) == 0:
		return s.refuse(line, "", "no root element: the file is empty or cut off")
	case isSyntax && syntax.Msg == "unexpected EOF" && len(s.stack) == 0:
		return s.refuse(line, "", "the file ends in the middle of a tag: it was cut off")
	case errors.Is(err, io.EOF), isSyntax && syntax.Msg == "unexpected EOF":
		return s.refuse(line, where, "the file ends inside of this element, which began in line %d: it was cut off",
			s.stack[len(s.stack)-1].line)
	case isSyntax:
		return s.refuse(syntax.Line, where, "not well-formed: %s", syntax.Msg)
	case strings.Contains(err.Error(), "declared but Decoder.CharsetReader is nil"):
		return s.refuse(s.line, "<?xml", "an encoding other than UTF-8 is declared; save the file as UTF-8")
	}
	if s.src.broken != nil {
		return fmt.Errorf("%s: read after line %d: %w", s.file, line, err)
	}
	return s.refuse(line, where, "not well-formed: %v", err)
}

func (s *scanner) opened(t xml.StartElement) error {
	name := full(t.Name)
	switch {
	case len(s.stack) == 0 && s.rooted:
		return s.refuse(s.line, tag(name), "a second root element")
	case len(s.stack) >= s.limits.Depth:
		return s.refuse(s.line, tag(name), "more than %d elements inside each other", s.limits.Depth)
	case len(t.Attr) > s.limits.Attributes:
		return s.refuse(s.line, tag(name), "more than %d attributes", s.limits.Attributes)
	}
	s.rooted = true
	o := open{name: name, line: s.line}
	for i, a := range t.Attr {
		for _, b := range t.Attr[:i] {
			if a.Name == b.Name {
				return s.refuse(s.line, tag(name), "attribute %q stands twice", clip(full(a.Name)))
			}
		}
		switch {
		case a.Name.Space == "xmlns":
			o.prefixes = append(o.prefixes, a.Name.Local)
		case a.Name.Space == "" && a.Name.Local == "xmlns" && a.Value != "":
			o.prefixes = append(o.prefixes, "")
		}
	}
	s.stack = append(s.stack, o)
	if err := s.bound(name, t.Name.Space, true); err != nil {
		return err
	}
	for _, a := range t.Attr {
		if a.Name.Space != "" && a.Name.Space != "xmlns" {
			if err := s.bound(name, a.Name.Space, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// bound checks that a namespace prefix is declared, and declared inside of the value when one is being cut out: the
// value has to stand alone in the directory. The default namespace needs no declaration, but an outer one counts.
func (s *scanner) bound(element, prefix string, isElement bool) error {
	if prefix == "xml" || prefix == "" && !isElement {
		return nil
	}
	for i := len(s.stack) - 1; i >= 0; i-- {
		if slices.Contains(s.stack[i].prefixes, prefix) {
			if s.hold && i < s.outside {
				return s.refuse(s.line, tag(element),
					"namespace prefix %q is declared in line %d, outside of the value, which could not stand alone",
					clip(prefix), s.stack[i].line)
			}
			return nil
		}
	}
	if prefix == "" {
		return nil
	}
	return s.refuse(s.line, tag(element), "namespace prefix %q is not declared", clip(prefix))
}

func (s *scanner) closed(t xml.EndElement) error {
	name := full(t.Name)
	if len(s.stack) == 0 {
		return s.refuse(s.line, "</"+clip(name)+">", "ends an element that was not begun")
	}
	last := s.stack[len(s.stack)-1]
	if last.name != name {
		return s.refuse(s.line, "</"+clip(name)+">", "expected </%s> for line %d", clip(last.name), last.line)
	}
	s.stack = s.stack[:len(s.stack)-1]
	return nil
}

func full(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// trimXML cuts white space as XML knows it, and no other.
func trimXML(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// child returns the next child element of the element at depth, or nil at its end. Text between the children is
// refused, comments and processing instructions are passed over.
func (s *scanner) child(depth int) (*xml.StartElement, error) {
	for {
		tok, err := s.next()
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			if len(s.stack) < depth {
				return nil, nil
			}
		case xml.CharData:
			if len(trimXML(t)) > 0 {
				return nil, s.refuse(s.line, tag(s.stack[len(s.stack)-1].name), "unexpected text %q", clip(string(trimXML(t))))
			}
		}
	}
}

// xmlValue reads the element just begun, whose content is one XML document, and returns its bytes, or nil when the
// element is empty.
func (s *scanner) xmlValue(name string) ([]byte, error) {
	line := s.line
	c, err := s.inside()
	if err != nil {
		return nil, err
	}
	core := trimXML(c.raw)
	switch {
	case len(core) == 0 && len(c.prolog) == 0:
		return nil, nil
	case c.loose:
		return nil, s.refuse(line, tag(name), "expected one XML element inside, found text")
	case c.elements != 1:
		return nil, s.refuse(line, tag(name), "expected one XML element inside, found %d", c.elements)
	}
	return append(c.prolog, core...), nil
}

// content is what stood inside of an element.
type content struct {
	raw      []byte // the bytes between its tags
	text     []byte // its text, with references resolved
	elements int
	loose    bool   // text beside the elements
	prolog   []byte // what our own writer could not put inside
}

// value is what stood inside: the one element as it is written, or the text.
func (c content) value() []byte {
	if c.elements == 0 {
		return c.text
	}
	return append(c.prolog, trimXML(c.raw)...)
}

// piProlog is the processing instruction for what the format has no room for.
const piProlog = "failover-prolog"

// inside reads to the end of the element just begun and returns what stood in it.
func (s *scanner) inside() (content, error) {
	var c content
	depth := len(s.stack)
	from := s.dec.InputOffset()
	s.src.forget(from)
	s.hold, s.outside = true, depth
	defer func() { s.hold = false }()
	for {
		tok, err := s.next()
		if err != nil {
			return c, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if len(s.stack) == depth+1 {
				c.elements++
			}
		case xml.EndElement:
			if len(s.stack) < depth {
				c.raw = bytes.Clone(s.src.since(from, s.start))
				return c, nil
			}
		case xml.CharData:
			c.text = append(c.text, t...)
			c.loose = c.loose || len(s.stack) == depth && len(trimXML(t)) > 0
		case xml.ProcInst:
			if len(s.stack) != depth || t.Target != piProlog {
				break
			}
			if c.prolog, err = decodeBase64(t.Inst); err != nil {
				return c, s.refuse(s.line, "<?"+t.Target, "bad base64: %v", err)
			}
			from = s.dec.InputOffset()
		}
	}
}
