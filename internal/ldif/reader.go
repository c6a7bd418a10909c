package ldif

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/01b61c5c/failover/internal/badinput"
)

// Limits bound what a reader takes in. A zero field means the default.
type Limits struct {
	Value  int // bytes of one value, decoded; default 16 MiB
	Record int // bytes of one record's values together; default 64 MiB
	Lines  int // values of one record; default 200,000
}

func (l Limits) withDefaults() Limits {
	return Limits{Value: cmp.Or(l.Value, 16<<20), Record: cmp.Or(l.Record, 64<<20), Lines: cmp.Or(l.Lines, 200_000)}
}

const (
	maxName    = 1 << 10  // of an attribute description
	maxDN      = 16 << 10 // of a distinguished name
	maxComment = 1 << 20  // of a comment with its folded lines
	maxFolds   = 1 << 20  // lines one logical line may be folded into: 16 bytes in each at the largest value
)

// Reader reads the records of one file.
type Reader struct {
	file   string
	in     *bufio.Reader
	limits Limits

	line   int    // physical lines read so far
	buf    []byte // the logical line at hand
	starts []int  // where in buf each of its physical lines begins
	first  int    // its first physical line
	held   bool   // the logical line at hand was given back

	begun          bool  // something other than comments was seen
	content, other bool  // which kinds of record the file holds: content, changes
	err            error // sticky
}

// NewReader reads from r; file is the name errors carry.
func NewReader(file string, r io.Reader, limits Limits) *Reader {
	return &Reader{file: file, in: bufio.NewReaderSize(r, 64<<10), limits: limits.withDefaults()}
}

// Next returns the next record, or io.EOF after the last. Every other error is a *badinput.Error or the error of
// the underlying reader with the line added, and ends the reading.
func (r *Reader) Next() (*Record, error) {
	var rec *Record
	if r.err == nil {
		if rec, r.err = r.record(); r.err == nil {
			return rec, nil
		}
	}
	return nil, r.err
}

func (r *Reader) refuse(line int, field, format string, args ...any) error {
	return &badinput.Error{File: r.file, Line: line, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// logical reads the next logical line (unfolded, comments skipped) into r.buf. An empty r.buf is a separator.
func (r *Reader) logical() error {
	if r.held {
		r.held = false
		return nil
	}
	for {
		r.buf, r.starts = r.buf[:0], r.starts[:0]
		r.first = r.line + 1
		if err := r.physical(); err != nil {
			return err
		}
		if len(r.buf) == 0 {
			return nil
		}
		comment := r.buf[0] == '#'
		if !comment && r.buf[0] == ' ' {
			return r.refuse(r.first, "", "a continuation line without a line before it")
		}
		if err := r.continuation(comment); err != nil {
			return err
		}
		if !comment {
			return nil
		}
	}
}

func (r *Reader) continuation(comment bool) error {
	for {
		next, err := r.in.Peek(1)
		if errors.Is(err, io.EOF) || (err == nil && next[0] != ' ') {
			return nil
		}
		if err != nil {
			return r.broken(err)
		}
		if _, err := r.in.Discard(1); err != nil {
			return r.broken(err)
		}
		if comment {
			r.buf = r.buf[:0] // nobody reads it
		}
		if err := r.physical(); err != nil {
			return err
		}
	}
}

func (r *Reader) broken(err error) error {
	return fmt.Errorf("%s: read after line %d: %w", r.file, r.line, err)
}

// physical appends one physical line to r.buf, without its end.
func (r *Reader) physical() error {
	begin := len(r.buf)
	if len(r.starts) >= maxFolds {
		return r.refuse(r.first, fieldOf(r.buf), "folded into more than %d lines", maxFolds)
	}
	r.starts = append(r.starts, begin)
	longest := r.limits.Value/3*4 + 8 + maxName
	for {
		part, err := r.in.ReadSlice('\n')
		r.buf = append(r.buf, part...)
		if len(r.buf) > 0 && r.buf[0] == '#' && len(r.buf) > maxComment {
			return r.refuse(r.line+1, "comment", "longer than %d bytes", maxComment)
		}
		if len(r.buf) > longest {
			return r.refuse(r.first, fieldOf(r.buf), "value longer than the limit of %d bytes", r.limits.Value)
		}
		switch {
		case err == nil:
			r.line++
			end := len(r.buf) - 1
			if end > begin && r.buf[end-1] == '\r' {
				end--
			}
			r.buf = r.buf[:end]
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(r.buf) == begin && begin == 0:
			return io.EOF
		case errors.Is(err, io.EOF):
			r.line++
			return r.refuse(r.line, fieldOf(r.buf),
				"the file ends in the middle of a line: it was cut off, or lacks its last line end")
		default:
			return r.broken(err)
		}
	}
}

func fieldOf(line []byte) string {
	if i := bytes.IndexByte(line, ':'); i > 0 && i <= maxName {
		return string(line[:i])
	}
	return ""
}

// lineOf returns the physical line in which byte offset off of r.buf stands.
func (r *Reader) lineOf(off int) int {
	return r.first + sort.SearchInts(r.starts, off+1) - 1
}

// spec splits the logical line at hand into its name and value.
func (r *Reader) spec() (name string, value []byte, err error) {
	i := bytes.IndexByte(r.buf, ':')
	if i < 0 {
		return "", nil, r.refuse(r.first, "", "no colon after the attribute name")
	}
	if i > maxName {
		return "", nil, r.refuse(r.first, "", "attribute name longer than %d bytes", maxName)
	}
	name = string(r.buf[:i])
	value, err = r.value(name, i+1)
	return name, value, err
}

// value decodes the value-spec that begins at offset off, the place after the first colon.
func (r *Reader) value(name string, off int) ([]byte, error) {
	rest := r.buf[off:]
	switch {
	case len(rest) > 0 && rest[0] == ':':
		enc := bytes.TrimLeft(rest[1:], " ")
		out := make([]byte, base64.StdEncoding.DecodedLen(len(enc)))
		n, err := base64.StdEncoding.Strict().Decode(out, enc)
		if bad, ok := errors.AsType[base64.CorruptInputError](err); ok {
			at := len(r.buf) - len(enc) + min(int(bad), max(len(enc)-1, 0))
			line := r.lineOf(at)
			column := at - r.starts[line-r.first] + 1
			if line > r.first {
				column++ // the space in front of a folded line
			}
			return nil, r.refuse(line, name, "bad base64 at column %d of the line", column)
		}
		if err != nil {
			return nil, r.refuse(r.first, name, "bad base64: %v", err)
		}
		if bytes.ContainsAny(enc, "\r\n") {
			return nil, r.refuse(r.first, name, "bad base64: a carriage return inside the value")
		}
		if n > r.limits.Value {
			return nil, r.refuse(r.first, name, "value of %d bytes, longer than the limit of %d", n, r.limits.Value)
		}
		return out[:n:n], nil
	case len(rest) > 0 && rest[0] == '<':
		return nil, r.refuse(r.first, name,
			"a value by URL is not followed: it would read a file of this machine; give the value itself, in base64")
	}
	rest = bytes.TrimLeft(rest, " ")
	if len(rest) > r.limits.Value {
		return nil, r.refuse(r.first, name, "value of %d bytes, longer than the limit of %d", len(rest), r.limits.Value)
	}
	if i := bytes.IndexAny(rest, "\x00\r"); i >= 0 {
		return nil, r.refuse(r.lineOf(len(r.buf)-len(rest)+i), name, "byte 0x%02x in a clear value: it must be base64",
			rest[i])
	}
	if !utf8.Valid(rest) {
		return nil, r.refuse(r.first, name, "clear value is not UTF-8: it must be base64")
	}
	return bytes.Clone(rest), nil
}

func clip(b []byte) string {
	const most = 60
	text := strings.ToValidUTF8(string(b[:min(len(b), most)]), "?")
	if len(b) > most {
		text += "…"
	}
	return text
}

// Object identifiers and attribute descriptions as RFC 4512 section 1.4 and 2.5 write them.
var (
	oid         = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*$`)
	description = regexp.MustCompile(`^([0-9]+(\.[0-9]+)*|[A-Za-z][A-Za-z0-9-]*)(;[A-Za-z0-9-]+)*$`)
)

// ValidName reports whether name is an attribute description: a name or object identifier, with options.
func ValidName(name string) bool { return len(name) <= maxName && description.MatchString(name) }
