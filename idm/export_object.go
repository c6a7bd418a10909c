package idm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover/internal/spool"
)

// object is a directory object on its way between a server and a file. What replicates, what names other objects and
// what belongs to one server are kept apart, because they are written at different times.
type object struct {
	dn    string
	line  int         // where its creation stands in the file; 0 when it comes from a server
	made  bool        // a record that creates it was seen, not only one that changes it
	plain []Attribute // replicated, naming nothing
	refs  []Attribute // naming other objects: written when all objects exist
	local []local     // values of one server each
	notes []Attribute // the engine's own, kept for the report; of a file, what an object gets only when it is created
}

// local holds the per-server values one server has for an object.
type local struct {
	server string
	line   int
	values []Attribute
}

func (o *object) valuesOf(server string) []Attribute {
	for i := range o.local {
		if SameDN(o.local[i].server, server) {
			return o.local[i].values
		}
	}
	return nil
}

// put adds an attribute where its role places it; server is whose value it is, of a per-server one.
func (o *object) put(role attributeRole, a Attribute, server string) {
	switch role {
	case roleReplicated:
		o.plain = append(o.plain, a)
	case roleReference:
		o.refs = append(o.refs, a)
	case rolePerServer:
		if o.local == nil {
			o.local = []local{{server: server, line: o.line}}
		}
		o.local[0].values = append(o.local[0].values, a)
	case roleNote:
		o.notes = append(o.notes, a)
	case roleOmit:
	}
}

func find(attributes []Attribute, name string) [][]byte {
	return Entry{Attributes: attributes}.Get(name)
}

// class returns the most telling object class: the first of this package's classes, else the last one named.
func (o *object) class() string {
	class := ""
	for _, v := range find(o.plain, "objectClass") {
		class = string(v)
		for _, known := range idmClasses {
			if strings.EqualFold(known, class) {
				return known
			}
		}
	}
	return class
}

// canonical puts attributes and values into the one order exports have, so that the same objects give the same bytes
// whatever order the server answers in.
func (o *object) canonical() {
	for _, list := range [][]Attribute{o.plain, o.refs, o.notes} {
		canonicalAttributes(list)
	}
	for i := range o.local {
		canonicalAttributes(o.local[i].values)
	}
	slices.SortFunc(o.local, func(a, b local) int { return byName(a.server, b.server) })
}

func canonicalAttributes(list []Attribute) {
	// rank says how far in front a name stands.
	rank := func(a Attribute) int {
		return slices.IndexFunc([]string{"cn", "objectClass"}, func(n string) bool { return strings.EqualFold(n, a.Name) })
	}
	slices.SortFunc(list, func(a, b Attribute) int { return cmp.Or(rank(b)-rank(a), byName(a.Name, b.Name)) })
	for _, a := range list {
		slices.SortFunc(a.Values, bytes.Compare)
	}
}

// sortKey makes the key by which objects are ordered: parents before children, siblings by name without case. Two
// DNs of one object have the same key. An object's subtree comes before the next sibling.
func sortKey(dn string) ([]byte, error) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return nil, fmt.Errorf("%q is no distinguished name: %w", dn, err)
	}
	var key []byte
	for i := len(parsed.RDNs) - 1; i >= 0; i-- {
		parts := make([]string, 0, 1)
		for _, a := range parsed.RDNs[i].Attributes {
			parts = append(parts, strings.ToLower(a.Type)+"="+fold(a.Value))
		}
		slices.Sort(parts)
		if len(key) > 0 {
			key = append(key, 0)
		}
		key = append(key, keyEscaper.Replace(strings.Join(parts, "+"))...)
	}
	return key, nil
}

var keyEscaper = strings.NewReplacer("\x00", "\x01\x01", "\x01", "\x01\x02")

// fold is how directories compare names: without case, and with runs of spaces as one.
func fold(s string) string {
	s = strings.ToLower(s)
	if strings.Contains(s, "  ") || strings.HasPrefix(s, " ") || strings.HasSuffix(s, " ") {
		s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
	}
	return s
}

// parentKey cuts the last name off a key; nil for a key of one name.
func parentKey(key []byte) []byte {
	if i := bytes.LastIndexByte(key, 0); i >= 0 {
		return key[:i]
	}
	return nil
}

// keyBelow reports whether key names base or an object below it.
func keyBelow(key, base []byte) bool {
	return bytes.HasPrefix(key, base) && (len(key) == len(base) || key[len(base)] == 0)
}

// pack and unpack carry objects through a spool.

func packBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

func packAttributes(b []byte, list []Attribute) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, a := range list {
		b = packBytes(b, []byte(a.Name))
		b = binary.AppendUvarint(b, uint64(len(a.Values)))
		for _, v := range a.Values {
			b = packBytes(b, v)
		}
	}
	return b
}

func (o *object) pack(b []byte) []byte {
	b = packBytes(b, []byte(o.dn))
	b = binary.AppendUvarint(b, uint64(o.line))
	made := byte(0)
	if o.made {
		made = 1
	}
	b = append(b, made)
	for _, list := range [][]Attribute{o.plain, o.refs, o.notes} {
		b = packAttributes(b, list)
	}
	b = binary.AppendUvarint(b, uint64(len(o.local)))
	for _, l := range o.local {
		b = packBytes(b, []byte(l.server))
		b = binary.AppendUvarint(b, uint64(l.line))
		b = packAttributes(b, l.values)
	}
	return b
}

var errPacked = errors.New("a spooled object is damaged")

// unpacker reads what pack wrote. The values it hands out are copies.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) number() int {
	n, size := binary.Uvarint(u.b)
	if size <= 0 || n > 1<<40 {
		u.bad = true
		return 0
	}
	u.b = u.b[size:]
	return int(n)
}

func (u *unpacker) bytes() []byte {
	n := u.number()
	if n > len(u.b) {
		u.bad = true
	}
	if u.bad {
		return nil
	}
	v := bytes.Clone(u.b[:n:n])
	u.b = u.b[n:]
	return v
}

func (u *unpacker) attributes() []Attribute {
	var list []Attribute
	for n := u.number(); n > 0 && !u.bad; n-- {
		a := Attribute{Name: string(u.bytes())}
		for m := u.number(); m > 0 && !u.bad; m-- {
			a.Values = append(a.Values, u.bytes())
		}
		list = append(list, a)
	}
	return list
}

func (o *object) unpack(b []byte) error {
	u := &unpacker{b: b}
	*o = object{dn: string(u.bytes()), line: u.number(), made: u.number() == 1}
	o.plain, o.refs, o.notes = u.attributes(), u.attributes(), u.attributes()
	for n := u.number(); n > 0 && !u.bad; n-- {
		o.local = append(o.local, local{string(u.bytes()), u.number(), u.attributes()})
	}
	if u.bad || len(u.b) > 0 {
		return errPacked
	}
	return nil
}

// objects is a sorted collection of objects whose memory is bounded.
type objects struct {
	spool *spool.Spool
	buf   []byte
}

// spoolMemory is what one collection keeps in memory before it goes to temporary files.
const spoolMemory = 16 << 20

func newObjects(dir string) *objects { return &objects{spool: spool.New(dir, spoolMemory)} }

func (c *objects) add(o *object) error {
	key, err := sortKey(o.dn)
	if err != nil {
		return err
	}
	o.canonical()
	c.buf = o.pack(c.buf[:0])
	return c.spool.Add(key, c.buf)
}

func (c *objects) close() error { return c.spool.Close() }

// walker goes over a collection; parts of one object that stood apart in a file come as one.
type walker struct {
	it      *spool.Iterator
	scope   []byte // key of the topmost object wanted; nil for all
	key     []byte // of the object handed out last
	nextKey []byte
	next    object
	ready   bool
	done    bool
}

func (c *objects) walk(scope []byte) (*walker, error) {
	it, err := c.spool.Iterator()
	return &walker{it: it, scope: scope}, err
}

func (w *walker) fill() error {
	for !w.ready && !w.done {
		key, data, err := w.it.Next()
		switch {
		case errors.Is(err, io.EOF):
			w.done = true
		case err != nil:
			return err
		case w.scope == nil || keyBelow(key, w.scope):
			w.nextKey, w.ready = append(w.nextKey[:0], key...), true
			return w.next.unpack(data)
		}
	}
	return nil
}

// duplicate is the refusal of an object that a file creates twice.
type duplicate struct {
	dn            string
	first, second int
}

func (d *duplicate) Error() string {
	return fmt.Sprintf("%s stands twice, in line %d and in line %d", d.dn, d.first, d.second)
}

// take returns the next object with its key, or nil at the end. Both hold until the next call.
func (w *walker) take() (*object, []byte, error) {
	if err := w.fill(); err != nil || w.done {
		return nil, nil, err
	}
	o := w.next
	w.key = append(w.key[:0], w.nextKey...)
	w.ready = false
	for {
		if err := w.fill(); err != nil {
			return nil, nil, err
		}
		if w.done || !bytes.Equal(w.key, w.nextKey) {
			return &o, w.key, nil
		}
		if err := o.merge(&w.next); err != nil {
			return nil, nil, err
		}
		w.ready = false
	}
}

// merge adds what another record says about the same object.
func (o *object) merge(other *object) error {
	if o.made && other.made {
		return &duplicate{o.dn, min(o.line, other.line), max(o.line, other.line)}
	}
	if other.made {
		o.dn, o.line, o.made = other.dn, other.line, true
	}
	for _, pair := range [][2]*[]Attribute{{&o.plain, &other.plain}, {&o.refs, &other.refs}, {&o.notes, &other.notes}} {
		for _, a := range *pair[1] {
			if find(*pair[0], a.Name) != nil {
				return fmt.Errorf("%s: %s stands in two records", o.dn, a.Name)
			}
			*pair[0] = append(*pair[0], a)
		}
	}
	for _, l := range other.local {
		if o.valuesOf(l.server) != nil {
			return fmt.Errorf("%s: the values of %s stand twice, the second time in line %d", o.dn, l.server, l.line)
		}
		o.local = append(o.local, l)
	}
	o.canonical()
	return nil
}

// pairs walks over both collections and calls visit for each object of either side, within scope. The key holds until
// visit returns, the objects longer.
func pairs(ctx context.Context, want, have *objects, scope []byte,
	visit func(want, have *object, key []byte) error) error {
	x, err := want.walk(scope)
	if err != nil {
		return err
	}
	y, err := have.walk(scope)
	if err != nil {
		return err
	}
	w, key, err := x.take()
	if err != nil {
		return err
	}
	h, at, err := y.take()
	for err == nil && (w != nil || h != nil) {
		order := bytes.Compare(key, at)
		switch {
		case w == nil:
			order = 1
		case h == nil:
			order = -1
		}
		switch err = context.Cause(ctx); {
		case err != nil:
		case order < 0:
			err = visit(w, nil, key)
		case order > 0:
			err = visit(nil, h, at)
		default:
			err = visit(w, h, key)
		}
		if err == nil && order <= 0 {
			w, key, err = x.take()
		}
		if err == nil && order >= 0 {
			h, at, err = y.take()
		}
	}
	return err
}
