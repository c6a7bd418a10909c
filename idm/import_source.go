package idm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/badinput"
	"github.com/01b61c5c/failover/internal/ldif"
)

// incoming is a file that was read to its end and found good in itself. Nothing of it is in memory but what is small.
type incoming struct {
	readOptions
	name    string
	format  ExportFormat
	base    string
	baseKey []byte
	objects *objects
	count   int64
	servers []string // whose per-server values it holds; "" for the values of whatever server they are written to
	partial bool     // absence of an attribute means nothing
	ours    bool     // it has a manifest: absence of an object says that there was none
	bare    string   // DN of a driver of which the file has no settings at all
	ignored map[string]int64
	skipped []string
	more    int // skipped parts beyond those listed
	secrets secretList
}

const maxSecrets = 100_000

// skip notes what was not taken over, the first 1000 of it.
func (in *incoming) skip(format string, args ...any) {
	if len(in.skipped) < maxDifferences {
		in.skipped = append(in.skipped, in.name+":"+fmt.Sprintf(format, args...))
	} else {
		in.more++
	}
}

func (in *incoming) close() { _ = in.objects.close() }

func (in *incoming) refuse(line int, field, format string, args ...any) error {
	return &badinput.Error{File: in.name, Line: line, Field: field, Reason: fmt.Sprintf(format, args...)}
}

type readOptions struct {
	roles      attributeRoles
	target     string // DN of the driver a driver configuration is written to; "" for the one it names
	jobServers []string
	server     string // DN of the connected server, for jobs that must have one; "" for none
	tempDir    string
}

// readSource reads a whole export and checks everything that can be checked without a server. It returns a refusal as
// a *failover.Error with NotApplied.
func readSource(ctx context.Context, src ExportSource, o readOptions) (*incoming, error) {
	if src.Content == nil {
		return nil, failover.Invalid("ExportSource.Content", "is nil", "open the export file")
	}
	in := &incoming{readOptions: o, name: cmp.Or(src.Name, "export"), objects: newObjects(o.tempDir),
		ours: src.Manifest != nil, ignored: map[string]int64{}}
	if err := in.read(ctx, src); err != nil {
		in.close()
		return nil, refused("read export", err)
	}
	return in, nil
}

func (in *incoming) read(ctx context.Context, src ExportSource) error {
	got := newMeter()
	content := bufio.NewReaderSize(io.TeeReader(&cancelReader{ctx, src.Content}, got), 64<<10)
	head, err := content.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	read := in.readLDIF
	in.format = FormatLDIF
	text, marked := bytes.CutPrefix(head, []byte("\xef\xbb\xbf"))
	switch {
	case bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("<")):
		in.format, read = FormatDriverConfiguration, in.readConfiguration
	case marked: // an editor wrote it
		_, _ = content.Discard(len(head) - len(text))
	}
	if src.Manifest != nil && src.Manifest.Format != in.format {
		return in.refuse(0, "", "is no %s, as the manifest says", src.Manifest.Format)
	}
	if err := read(content); err != nil {
		return err
	}
	if src.Manifest != nil {
		if wrong := src.Manifest.agrees(got); wrong != "" {
			return in.refuse(0, "", "%s", wrong)
		}
		if in.format == FormatLDIF {
			in.base = src.Manifest.Base
		}
	}
	if err := in.check(); err != nil {
		return err
	}
	if src.Manifest != nil && in.count != src.Manifest.Objects && in.format == FormatLDIF {
		return in.refuse(0, "", "holds %d objects where the manifest says %d", in.count, src.Manifest.Objects)
	}
	return nil
}

// cancelReader ends the reading when the context ends.
type cancelReader struct {
	ctx context.Context //nolint:containedctx // lives as long as the call
	r   io.Reader
}

func (c *cancelReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (in *incoming) readLDIF(content io.Reader) error {
	r := ldif.NewReader(in.name, content, ldif.Limits{Value: maxExportValue})
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		obj, err := in.fromRecord(rec)
		if err != nil {
			return err
		}
		if err := in.objects.add(obj); err != nil {
			return in.refuse(rec.Line, "dn", "%v", err)
		}
	}
}

func (in *incoming) note(server string) {
	if !containsDN(in.servers, server) {
		in.servers = append(in.servers, server)
	}
}

func (in *incoming) fromRecord(rec *ldif.Record) (*object, error) {
	o := &object{dn: rec.DN, line: rec.Line}
	if rec.Kind != ldif.Modify {
		return in.creation(o, rec)
	}
	server, marked, err := in.markOf(rec)
	if err != nil {
		return nil, err
	}
	if marked {
		in.note(server)
		o.local = []local{{server: server, line: rec.Line}}
	}
	for _, c := range rec.Changes {
		role := in.roles.of(c.Name)
		noted := role == roleOmit || role == roleNote
		switch {
		case c.Op == ldif.OpDelete || len(c.Values) == 0:
			return nil, in.refuse(c.Line, c.Name, "an export deletes no values")
		case len(withoutEmpty(c.Values)) == 0:
			continue
		case noted, marked && role == rolePerServer, !marked && role == roleReference:
		case marked:
			return nil, in.refuse(c.Line, c.Name, "stands among the values of %s and is no per-server attribute", server)
		case role == rolePerServer:
			return nil, in.refuse(c.Line, c.Name, "is a per-server attribute, and nothing says of which server")
		default:
			return nil, in.refuse(c.Line, c.Name, "is changed where only references are: not an export of this kind")
		}
		if err := in.take(o, c.Attribute, role); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// markOf returns whose per-server values a change record holds.
func (in *incoming) markOf(rec *ldif.Record) (string, bool, error) {
	switch {
	case len(rec.Controls) == 0:
		return "", false, nil
	case len(rec.Controls) > 1 || rec.Controls[0].OID != perServerMark:
		return "", false, in.refuse(rec.Line, "control", "carries controls no export has")
	}
	server := string(rec.Controls[0].Value)
	if checkDN("control", server) != nil {
		return "", false, in.refuse(rec.Line, "control", "%q is no DN of a server", server)
	}
	return server, true, nil
}

// creation reads a record that holds an object as it is.
func (in *incoming) creation(o *object, rec *ldif.Record) (*object, error) {
	o.made = true
	if len(rec.Controls) > 0 {
		return nil, in.refuse(rec.Line, "control", "carries controls no export has")
	}
	class := rec.Get("objectClass")
	if class == nil {
		return nil, in.refuse(rec.Line, "objectClass", "is missing")
	}
	job := slices.ContainsFunc(class.Values, func(v []byte) bool { return strings.EqualFold(string(v), "DirXML-Job") })
	for _, a := range rec.Attributes {
		a.Values = withoutLocks(a.Values)
		if err := in.take(o, a, in.roles.in(a.Name, job)); err != nil {
			return nil, err
		}
	}
	if o.local != nil { // a file of another tool, which does not say whose values these are
		in.note("")
	}
	return o, nil
}

func (in *incoming) take(o *object, from ldif.Attribute, role attributeRole) error {
	line, a := from.Line, Attribute{Name: from.Name, Values: withoutEmpty(from.Values)}
	if len(a.Values) == 0 {
		return nil
	}
	if err := in.acceptable(line, a); err != nil {
		return err
	}
	switch role {
	case roleNote, roleOmit:
		in.ignored[a.Name]++
		return nil
	case roleReference:
		if err := in.references(line, a); err != nil {
			return err
		}
	case roleReplicated, rolePerServer:
	}
	o.put(role, a, "")
	return nil
}

// withoutEmpty leaves out values of zero bytes. They mean "not set", and a server refuses to be given one.
func withoutEmpty(values [][]byte) [][]byte {
	return without(values, func(v []byte) bool { return len(v) == 0 })
}

// without leaves the list itself as it is.
func without(values [][]byte, drop func([]byte) bool) [][]byte {
	if !slices.ContainsFunc(values, drop) {
		return values
	}
	return slices.DeleteFunc(slices.Clone(values), drop)
}

// acceptable refuses what a server would refuse when half of the file is written: values that stand twice, that are too
// many, or that the syntax does not allow.
func (in *incoming) acceptable(line int, a Attribute) error {
	seen := make(map[string]bool, len(a.Values))
	for _, v := range a.Values {
		if len(a.Values) > 1 && seen[string(v)] {
			return in.refuse(line, a.Name, "has the same value twice")
		}
		seen[string(v)] = true
	}
	if role := in.roles.of(a.Name); role == roleNote || role == roleOmit {
		return nil // it is not written
	}
	t, _ := in.roles.schema.Attribute(a.Name)
	if t.SingleValue && len(a.Values) > 1 {
		return in.refuse(line, a.Name, "has %d values and may have one", len(a.Values))
	}
	for _, v := range a.Values {
		switch {
		case t.Syntax == syntaxInteger && !integerText.Match(v):
			return in.refuse(line, a.Name, "must be a number, and is %q", clipText(string(v), 40))
		case t.Syntax == syntaxBoolean && string(v) != "TRUE" && string(v) != "FALSE":
			return in.refuse(line, a.Name, "must be TRUE or FALSE, and is %q", clipText(string(v), 40))
		}
	}
	return nil
}

// integerText is a number as RFC 4517 section 3.3.16 writes it.
var integerText = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// references checks that what names other objects does.
func (in *incoming) references(line int, a Attribute) error {
	for _, v := range a.Values {
		dn, ok := referenceTarget(a.Name, string(v))
		if !ok {
			return in.refuse(line, a.Name, "%q does not name an object the way this attribute does", clipText(string(v), 80))
		}
		if dn == "" {
			continue
		}
		if parsed, err := ldap.ParseDN(dn); err != nil || len(parsed.RDNs) == 0 {
			return in.refuse(line, a.Name, "%q is no distinguished name", clipText(dn, 80))
		}
	}
	return nil
}

// referenceTarget returns the DN a value names, "" for values that name no particular object.
func referenceTarget(attribute, value string) (string, bool) {
	switch strings.ToLower(attribute) {
	case "dirxml-policies": // <policy DN>#<order>#<set>
		set := strings.LastIndexByte(value, '#')
		if set < 0 {
			return "", false
		}
		order := strings.LastIndexByte(value[:set], '#')
		if order <= 0 {
			return "", false
		}
		_, err1 := strconv.ParseUint(value[order+1:set], 10, 31)
		_, err2 := strconv.ParseUint(value[set+1:], 10, 31)
		return value[:order], err1 == nil && err2 == nil
	case "acl": // the trustee may be no object at all, such as [Public]
		return "", true
	}
	return value, value != ""
}

func clipText(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// check goes over all objects in order: doubles, objects outside of the base, and records that change what the file
// does not create.
func (in *incoming) check() error {
	w, err := in.objects.walk(nil)
	if err != nil {
		return err
	}
	if in.base != "" {
		if in.baseKey, err = sortKey(in.base); err != nil {
			return in.refuse(0, "base", "%v", err)
		}
	}
	for {
		o, key, err := w.take()
		if d, ok := errors.AsType[*duplicate](err); ok {
			return in.refuse(d.second, "dn", "%s was created in line %d already", d.dn, d.first)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", in.name, err)
		}
		if o == nil {
			break
		}
		line := o.line
		if line == 0 && len(o.local) > 0 {
			line = o.local[0].line
		}
		if !o.made {
			return in.refuse(line, "dn", "%s is changed and never created in this file", o.dn)
		}
		if in.base == "" {
			in.base, in.baseKey = o.dn, bytes.Clone(key)
		}
		if !keyBelow(key, in.baseKey) {
			return in.refuse(line, "dn", "%s lies outside of %s", o.dn, in.base)
		}
		if in.count == 0 && !bytes.Equal(key, in.baseKey) {
			return in.refuse(line, "dn", "%s stands in the file and %s, above it, does not", o.dn, in.base)
		}
		in.count++
	}
	if in.count == 0 {
		return in.refuse(0, "", "holds no object")
	}
	return nil
}
