package ldif

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// width is where lines are folded; the same as the OpenLDAP tools use.
const width = 76

// Writer writes records. What it writes is a function of the records alone: the same records give the same bytes.
type Writer struct {
	out  *bufio.Writer
	line []byte
	any  bool
}

// NewWriter writes to w. Call Flush at the end.
func NewWriter(w io.Writer) *Writer { return &Writer{out: bufio.NewWriterSize(w, 64<<10)} }

// Comment writes text as comment lines.
func (w *Writer) Comment(text string) error {
	w.begin()
	for _, l := range strings.Split(strings.ReplaceAll(text, "\r", ""), "\n") {
		w.line = append(append(w.line[:0], "# "...), l...)
		w.end()
	}
	_, err := w.out.WriteString("\n")
	return err
}

func (w *Writer) begin() {
	if !w.any {
		w.any = true
		_, _ = w.out.WriteString("version: 1\n\n") // errors stay in out and come back with the next write
	}
}

// Write writes one record. It refuses records that no reader would take.
func (w *Writer) Write(r *Record) error {
	w.begin()
	w.spec("dn", []byte(r.DN))
	for _, c := range r.Controls {
		w.control(c)
	}
	switch {
	case r.Kind == Content && len(r.Controls) > 0:
		return fmt.Errorf("ldif: content record %q with controls", r.DN)
	case r.Kind == Modify && len(r.Changes) == 0:
		return fmt.Errorf("ldif: modify record %q changes nothing", r.DN)
	case r.Kind == Content:
	case r.Kind == Add:
		w.spec("changetype", []byte("add"))
	case r.Kind == Modify:
		w.spec("changetype", []byte("modify"))
		for _, c := range r.Changes {
			if !ValidName(c.Name) || c.Op < OpAdd || c.Op > OpReplace || c.Op == OpAdd && len(c.Values) == 0 {
				return fmt.Errorf("ldif: record %q: bad change of %q", r.DN, c.Name)
			}
			w.spec(opNames[c.Op], []byte(c.Name))
			for _, v := range c.Values {
				w.spec(c.Name, v)
			}
			_, _ = w.out.WriteString("-\n")
		}
	default:
		return fmt.Errorf("ldif: record %q of unknown kind %d", r.DN, r.Kind)
	}
	for _, a := range r.Attributes {
		if !ValidName(a.Name) {
			return fmt.Errorf("ldif: record %q: %q is not an attribute description", r.DN, a.Name)
		}
		for _, v := range a.Values {
			w.spec(a.Name, v)
		}
	}
	_, err := w.out.WriteString("\n")
	return err
}

func (w *Writer) control(c Control) {
	w.line = append(append(w.line[:0], "control: "...), c.OID...)
	w.line = strconv.AppendBool(append(w.line, ' '), c.Critical)
	if c.HasValue {
		w.line = appendValue(w.line, c.Value)
	}
	w.end()
}

// spec writes one folded "name: value" line.
func (w *Writer) spec(name string, value []byte) {
	w.line = appendValue(append(w.line[:0], name...), value)
	w.end()
}

func appendValue(line, value []byte) []byte {
	switch {
	case len(value) == 0:
		return append(line, ':')
	case safe(value):
		return append(append(line, ": "...), value...)
	}
	return base64.StdEncoding.AppendEncode(append(line, ":: "...), value)
}

func (w *Writer) end() {
	line, room := w.line, width
	for len(line) > room {
		_, _ = w.out.Write(line[:room])
		_, _ = w.out.WriteString("\n ")
		line, room = line[room:], width-1
	}
	_, _ = w.out.Write(line)
	_ = w.out.WriteByte('\n')
}

// safe reports whether a value may stand in clear.
func safe(v []byte) bool {
	return !strings.ContainsRune(" :<", rune(v[0])) && v[len(v)-1] != ' ' &&
		!bytes.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' })
}

// Flush hands everything to the underlying writer.
func (w *Writer) Flush() error {
	w.begin()
	return w.out.Flush()
}
