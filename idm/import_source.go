package idm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/badinput"
	"github.com/01b61c5c/failover/internal/drivercfg"
	"github.com/01b61c5c/failover/internal/ldif"
	"github.com/01b61c5c/failover/internal/spool"
)

// incoming is a file that was read to its end and found good in itself. Nothing of it is in memory but what is small.
type incoming struct {
	name    string
	format  ExportFormat
	base    string
	baseKey []byte
	objects *objects
	count   int64
	servers []string // whose per-server values it holds; "" for the values of whatever server they are written to
	partial bool     // absence of an attribute means nothing
	ignored map[string]int64
	skipped []string
	more    int // skipped parts beyond those listed
	secrets secretList
}

// maxSecrets is how many passwords one file may ask for.
const maxSecrets = 100_000

// skip notes what was not taken over, the first MaxDifferences of it.
func (in *incoming) skip(format string, args ...any) {
	if len(in.skipped) < MaxDifferences {
		in.skipped = append(in.skipped, in.name+":"+fmt.Sprintf(format, args...))
	} else {
		in.more++
	}
}

func (in *incoming) close() {
	_ = in.objects.close()
}

func (in *incoming) refuse(line int, field, format string, args ...any) error {
	return &badinput.Error{File: in.name, Line: line, Field: field, Reason: fmt.Sprintf(format, args...)}
}

func (in *incoming) hasServer(server string) bool {
	return slices.ContainsFunc(in.servers, func(s string) bool { return SameDN(s, server) })
}

// readOptions is what the reading of a file needs to know.
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
	in := &incoming{name: src.Name, objects: newObjects(o.tempDir), ignored: map[string]int64{}}
	if in.name == "" {
		in.name = "export"
	}
	if err := in.read(ctx, src, o); err != nil {
		in.close()
		if _, ok := errors.AsType[*failover.Error](err); ok {
			return nil, err
		}
		return nil, refused("read export", err)
	}
	return in, nil
}

func (in *incoming) read(ctx context.Context, src ExportSource, o readOptions) error {
	got := newMeter()
	content := bufio.NewReaderSize(io.TeeReader(&cancelReader{ctx, src.Content}, got), 64<<10)
	head, err := content.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	in.format = FormatLDIF
	if bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"), []byte("<")) {
		in.format = FormatDriverConfiguration
	}
	if src.Manifest != nil && src.Manifest.Format != in.format {
		return in.refuse(0, "", "is no %s, as the manifest says", src.Manifest.Format)
	}
	if in.format == FormatLDIF {
		err = in.readLDIF(content, o)
	} else {
		err = in.readConfiguration(content, o)
	}
	if err != nil {
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

func (in *incoming) readLDIF(content io.Reader, o readOptions) error {
	r := ldif.NewReader(in.name, content, ldif.Limits{Value: maxExportValue})
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		obj, err := in.fromRecord(rec, o.roles)
		if err != nil {
			return err
		}
		if err := in.objects.add(obj); err != nil {
			return in.refuse(rec.Line, "dn", "%v", err)
		}
	}
}

func (in *incoming) note(server string) {
	if !in.hasServer(server) {
		in.servers = append(in.servers, server)
	}
}

func (in *incoming) fromRecord(rec *ldif.Record, roles attributeRoles) (*object, error) {
	o := &object{dn: rec.DN, line: rec.Line}
	switch rec.Kind {
	case ldif.Content, ldif.Add:
		return in.creation(o, rec, roles)
	case ldif.Modify:
	case ldif.Delete, ldif.Rename:
		return nil, in.refuse(rec.Line, "changetype", "an export neither deletes nor renames")
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
		if c.Op == ldif.OpDelete || len(c.Values) == 0 {
			return nil, in.refuse(c.Line, c.Name, "an export deletes no values")
		}
		a := Attribute{Name: c.Name, Values: c.Values}
		if err := in.distinct(c.Line, a); err != nil {
			return nil, err
		}
		switch role := roles.of(c.Name); {
		case role == roleOmit || role == roleNote:
			in.ignored[c.Name]++
		case marked && role == rolePerServer:
			o.local[0].values = append(o.local[0].values, a)
		case !marked && role == roleReference:
			if err := in.references(c.Line, a); err != nil {
				return nil, err
			}
			o.refs = append(o.refs, a)
		case marked:
			return nil, in.refuse(c.Line, c.Name, "stands among the values of %s and is no per-server attribute", server)
		case role == rolePerServer:
			return nil, in.refuse(c.Line, c.Name, "is a per-server attribute, and nothing says of which server")
		default:
			return nil, in.refuse(c.Line, c.Name, "is changed where only references are: not an export of this kind")
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
func (in *incoming) creation(o *object, rec *ldif.Record, roles attributeRoles) (*object, error) {
	o.made = true
	if len(rec.Controls) > 0 {
		return nil, in.refuse(rec.Line, "control", "carries controls no export has")
	}
	class := rec.Get("objectClass")
	if class == nil {
		return nil, in.refuse(rec.Line, "objectClass", "is missing")
	}
	job := slices.ContainsFunc(class.Values, func(v []byte) bool { return strings.EqualFold(string(v), "DirXML-Job") })
	var values []Attribute
	for _, from := range rec.Attributes {
		a := Attribute{Name: from.Name, Values: from.Values}
		if err := in.distinct(from.Line, a); err != nil {
			return nil, err
		}
		switch roles.in(a.Name, job) {
		case roleReplicated:
			o.plain = append(o.plain, a)
		case roleReference:
			if err := in.references(from.Line, a); err != nil {
				return nil, err
			}
			o.refs = append(o.refs, a)
		case rolePerServer:
			values = append(values, a)
		case roleNote, roleOmit:
			in.ignored[a.Name]++
		}
	}
	if len(values) > 0 { // a file of another tool, which does not say whose values these are
		in.note("")
		o.local = []local{{line: rec.Line, values: values}}
	}
	return o, nil
}

func (in *incoming) distinct(line int, a Attribute) error {
	if len(a.Values) < 2 {
		return nil
	}
	seen := make(map[string]bool, len(a.Values))
	for _, v := range a.Values {
		if seen[string(v)] {
			return in.refuse(line, a.Name, "has the same value twice")
		}
		seen[string(v)] = true
	}
	return nil
}

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

// readConfiguration reads the XML of one driver.
func (in *incoming) readConfiguration(content io.Reader, o readOptions) error {
	in.partial = true
	r, err := drivercfg.NewReader(in.name, content, drivercfg.Limits{Value: maxExportValue})
	if err != nil {
		return err
	}
	h := r.Header()
	in.base = o.target
	if in.base == "" {
		in.base = h.DN
	}
	if checkDN("dn", in.base) != nil {
		return in.refuse(1, "<driver-configuration>", "the file does not say which driver it is (dn is %q): name it in ImportOptions.Driver", h.DN)
	}
	err = r.Each(func(from *drivercfg.Object) error {
		for _, s := range from.Skipped {
			in.skip("%d: <%s>: %s", s.Line, s.Element, s.Reason)
		}
		if from.Class == "" {
			return nil
		}
		obj, err := in.fromConfiguration(from, h, o)
		if err != nil {
			return err
		}
		if err := in.queries(from, obj.dn); err != nil {
			return err
		}
		in.note("")
		if err := in.objects.add(obj); err != nil {
			return in.refuse(from.Line, "name", "%v", err)
		}
		return nil
	})
	if in.more > 0 {
		in.skipped = append(in.skipped, fmt.Sprintf("… and %d more parts", in.more))
	}
	return err
}

func (in *incoming) fromConfiguration(from *drivercfg.Object, h drivercfg.Header, o readOptions) (*object, error) {
	obj := &object{dn: in.base, line: from.Line, made: true}
	for _, name := range from.Path {
		obj.dn = childDN(obj.dn, name)
	}
	class := from.Class
	obj.plain = []Attribute{Text("objectClass", "Top", class), Text("cn", commonName(obj.dn))}
	job := class == "DirXML-Job"
	var values []Attribute
	for _, a := range from.Attributes {
		attribute := Attribute{Name: a.Name, Values: a.Values}
		if strings.EqualFold(a.Name, "cn") || strings.EqualFold(a.Name, "objectClass") {
			return nil, in.refuse(a.Line, a.Name, "follows from the place in the file and cannot stand in it")
		}
		if err := in.distinct(a.Line, attribute); err != nil {
			return nil, err
		}
		switch o.roles.in(a.Name, job) {
		case roleReplicated:
			obj.plain = append(obj.plain, attribute)
		case roleReference:
			attribute.Values = moved(a.Name, a.Values, h, in.base)
			if err := in.references(a.Line, attribute); err != nil {
				return nil, err
			}
			obj.refs = append(obj.refs, attribute)
		case rolePerServer:
			values = append(values, attribute)
		case roleNote, roleOmit:
			in.ignored[a.Name]++
		}
	}
	if len(values) > 0 {
		obj.local = []local{{line: from.Line, values: values}}
	}
	if job && find(obj.plain, serverList) == nil {
		switch {
		case len(o.jobServers) > 0:
			obj.plain = append(obj.plain, Text(serverList, o.jobServers...))
		case o.server != "":
			// Only for a job that has to be created: one that is there keeps its servers, or it would run on two.
			obj.notes = append(obj.notes, Text(serverList, o.server))
		}
	}
	return obj, nil
}

// childDN puts a name below a DN.
func childDN(parent, name string) string {
	rdn := ldap.RelativeDN{Attributes: []*ldap.AttributeTypeAndValue{{Type: "cn", Value: name}}}
	text := rdn.String()
	if printable(name) {
		text = "cn=" + ldap.EscapeDN(name)
	}
	return text + "," + parent
}

// printable reports whether a name needs no hexadecimal escapes, which would only make it unreadable.
func printable(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
}

// moved rewrites references from the tree of the file to where its driver is written: into the driver, and into its
// driver set.
func moved(attribute string, values [][]byte, h drivercfg.Header, base string) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = v
		dn, ok := referenceTarget(attribute, string(v))
		if !ok || dn == "" {
			continue
		}
		tail := string(v)[len(dn):]
		for _, from := range [][2]string{{h.DN, base}, {h.DriverSetDN, ParentDN(base)}} {
			if to, ok := rebase(dn, from[0], from[1]); ok {
				out[i] = []byte(to + tail)
				break
			}
		}
	}
	return out
}

// rebase replaces the ancestor from of dn by to. It leaves the names below as they are written.
func rebase(dn, from, to string) (string, bool) {
	if from == "" || to == "" || !SameDN(dn, from) && !BelowDN(dn, from) {
		return "", false
	}
	head := dn
	rest, err := ldap.ParseDN(dn)
	above, err2 := ldap.ParseDN(from)
	if err != nil || err2 != nil {
		return "", false
	}
	keep := len(rest.RDNs) - len(above.RDNs)
	cut := 0
	for ; keep > 0; keep-- { // find the comma behind the last name that stays
		n := nextComma(head[cut:])
		cut += n + 1
	}
	return head[:cut] + to, true
}

// nextComma returns where the first RDN of dn ends.
func nextComma(dn string) int {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',', ';':
			return i
		}
	}
	return len(dn) - 1
}

// queries turns placeholders into the secrets someone has to set.
func (in *incoming) queries(from *drivercfg.Object, dn string) error {
	for _, q := range from.Queries {
		n := SecretNeeded{Object: dn, Name: q.Name, DisplayName: q.DisplayName, Because: fmt.Sprintf("%s:%d: the file asks for it (%s)", in.name, q.Line, q.Element)}
		switch q.Kind {
		case drivercfg.QueryApplicationPassword:
			n.Kind = SecretApplication
		case drivercfg.QueryDriverPassword:
			n.Kind = SecretDriverObject
		case drivercfg.QueryRemoteLoaderPassword:
			n.Kind = SecretRemoteLoader
		case drivercfg.QueryNamedPassword:
			n.Kind = SecretNamed
		case drivercfg.QueryJobServers, drivercfg.QueryJobScope, drivercfg.QueryJobEmailServer, drivercfg.QueryOther:
			in.skip("%d: <%s> of %s: to be set by hand", q.Line, q.Element, dn)
			continue
		}
		in.secrets.add(n, dn)
		if len(in.secrets.list) > maxSecrets {
			return in.refuse(q.Line, "<"+q.Element+">", "the file asks for more than %d passwords", maxSecrets)
		}
	}
	return nil
}

// check goes over all objects in order: doubles, objects outside of the base, and records that change what the file
// does not create.
func (in *incoming) check() error {
	w, err := in.objects.walk()
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
		if in.count == 0 && !keyEqual(key, in.baseKey) {
			return in.refuse(line, "dn", "%s stands in the file and %s, above it, does not", o.dn, in.base)
		}
		in.count++
	}
	if in.count == 0 {
		return in.refuse(0, "", "holds no object")
	}
	return nil
}

// targets collects what the objects in scope name, for a check against what exists.
type targets struct{ spool *spool.Spool }

func newTargets(dir string) *targets { return &targets{spool.New(dir, spoolMemory/4)} }

func (t *targets) add(o *object) error {
	lists := [][]Attribute{o.refs}
	if servers := find(o.plain, "DirXML-ServerList"); servers != nil {
		lists = append(lists, []Attribute{{Name: "DirXML-ServerList", Values: servers}})
	}
	for _, list := range lists {
		for _, a := range list {
			for _, v := range a.Values {
				dn, ok := referenceTarget(a.Name, string(v))
				if !ok || dn == "" {
					continue
				}
				key, err := sortKey(dn)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", o.dn, a.Name, err)
				}
				what := packBytes(packBytes(packBytes(nil, []byte(dn)), []byte(a.Name)), []byte(strconv.Itoa(o.line)))
				if err := t.spool.Add(key, what); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t *targets) close() { _ = t.spool.Close() }
