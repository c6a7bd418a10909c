package idmtest

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// node is one entry. Its replicated values are shared by all servers, its per-server values are kept by server name.
// Values are never changed in place, so that a search may keep hold of them.
type node struct {
	id     int
	name   rdn
	parent *node
	kids   []*node
	byName map[string]*node

	shared    attrSet
	local     map[string]attrSet
	lag       map[string]attrSet // what a server still shows in the place of what is shared, see Server.Lag
	password  string             // digest; the clear text is not kept
	partition bool               // root of a partition
	created   time.Time
	modified  time.Time
	revision  int
}

// attrSet maps the lower-case attribute name to its values.
type attrSet map[string]attribute

func (a attrSet) clone() attrSet {
	c := make(attrSet, len(a))
	for k, v := range a {
		c[k] = v
	}
	return c
}

func newNode(id int, name rdn, parent *node) *node {
	return &node{id: id, name: name, parent: parent, byName: map[string]*node{}, shared: attrSet{},
		local: map[string]attrSet{}}
}

func (n *node) dn() dn {
	var name dn
	for e := n; e.parent != nil; e = e.parent {
		name = append(name, e.name)
	}
	return name
}

func (n *node) String() string { return n.dn().String() }

func (n *node) attach(parent *node) {
	n.parent = parent
	parent.kids = append(parent.kids, n)
	parent.byName[n.name.key] = n
}

func (n *node) detach() {
	p := n.parent
	delete(p.byName, n.name.key)
	for i, k := range p.kids {
		if k == n {
			p.kids = append(p.kids[:i:i], p.kids[i+1:]...)
			break
		}
	}
}

// partitionRoot is the entry at the top of n's partition.
func (n *node) partitionRoot() *node {
	e := n
	for !e.partition && e.parent != nil {
		e = e.parent
	}
	return e
}

// stored returns the values as they are kept for one server.
func (n *node) stored(t *attrType, server string) [][]byte {
	key := strings.ToLower(t.name)
	if t.has(perServer) {
		return n.local[server][key].values
	}
	if old, lags := n.lag[server][key]; lags {
		return old.values
	}
	return n.shared[key].values
}

func (n *node) first(t *attrType, server string) string {
	if v := n.stored(t, server); len(v) > 0 {
		return string(v[0])
	}
	return ""
}

func (n *node) classes() []string {
	values := n.shared["objectclass"].values
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

func (n *node) isA(class string) bool {
	for _, v := range n.shared["objectclass"].values {
		if strings.EqualFold(string(v), class) {
			return true
		}
	}
	return false
}

// structural is the class that decides where the entry may stand.
func (s *schema) structural(classes []string) *classType {
	var found *classType
	for _, name := range classes {
		c := s.class(name)
		if c == nil || c.auxiliary {
			continue
		}
		if found == nil || isGeneric(found) {
			found = c
		}
	}
	return found
}

// isGeneric marks the classes that others derive from.
func isGeneric(c *classType) bool {
	switch strings.ToLower(c.name) {
	case "top", "person", "organizationalperson", "ndsloginproperties", "server":
		return true
	}
	return false
}

// configuration tells entries of the engine and of the servers from the objects that drivers synchronize.
func (n *node) configuration() bool {
	for e := n; e.parent != nil; e = e.parent {
		for _, c := range e.classes() {
			lower := strings.ToLower(c)
			if strings.HasPrefix(lower, "dirxml-") && lower != "dirxml-pkgitemaux" || lower == "ncpserver" ||
				lower == "ldapserver" || lower == "ldapgroup" {
				return true
			}
		}
	}
	return false
}

// lookup finds the entry of a name; deepest is the last ancestor that exists.
func (t *Tree) lookup(name dn) (found, deepest *node) {
	e := t.root
	for i := len(name) - 1; i >= 0; i-- {
		next := e.byName[name[i].key]
		if next == nil {
			return nil, e
		}
		e = next
	}
	return e, e
}

// find returns the entry with the given name, nil when there is none.
func (t *Tree) find(text string) *node {
	name, err := parseDN(text)
	if err != nil {
		return nil
	}
	n, _ := t.lookup(name)
	return n
}

// values returns what a server shows for an attribute, computed attributes included.
func (t *Tree) values(n *node, at *attrType, srv *Server) [][]byte {
	text := func(s string) [][]byte { return [][]byte{[]byte(s)} }
	switch at.name {
	case "entryDN":
		return text(n.String())
	case "localEntryID":
		// The number is the server's own: another server counts differently.
		return text(strconv.Itoa(32768 + n.id + srv.index*1000))
	case "GUID":
		sum := sha256.Sum256([]byte(t.cfg.Name + "/" + strconv.Itoa(n.id)))
		return [][]byte{sum[:16]}
	case "subordinateCount":
		return text(strconv.Itoa(len(n.kids)))
	case "structuralObjectClass":
		if c := t.schema.structural(n.classes()); c != nil {
			return text(c.name)
		}
		return nil
	case "subschemaSubentry":
		return text("cn=schema")
	case "createTimestamp":
		return text(n.created.UTC().Format("20060102150405Z"))
	case "modifyTimestamp":
		return text(n.modified.UTC().Format("20060102150405Z"))
	case "revision":
		return text(strconv.Itoa(n.revision))
	case "DirXML-State":
		if d := srv.engine.serving(n); d != nil {
			return text(strconv.Itoa(int(d.State)))
		}
		return nil
	case "DirXML-DriverStartOption":
		if d := srv.engine.drivers[n.id]; d != nil {
			return text(strconv.Itoa(int(d.Option)))
		}
		return nil
	}
	if at.has(hidden) || at.has(rightsOnly) {
		return nil
	}
	return n.stored(at, srv.name)
}

// digest is how passwords are kept: good enough to compare, useless to read.
func digest(scope string, password []byte) string {
	sum := sha256.Sum256(append([]byte(scope+"\x00"), password...))
	return hex.EncodeToString(sum[:])
}

// touch marks an entry as changed by a write.
func (t *Tree) touch(n *node) {
	n.modified = t.now()
	n.revision++
	t.markEntry(n)
	if !n.configuration() && n.parent != nil {
		t.emit(n)
	}
}

// respell rewrites the tail of every name value that pointed below an entry which has been renamed.
func (t *Tree) respell(oldKey, newName string) {
	t.rewriteNames(func(value string) (string, bool) {
		name, err := parseDN(value)
		if err != nil {
			return value, true
		}
		for i := range name {
			if name[i:].key() == oldKey {
				if i == 0 {
					return newName, true
				}
				return name[:i].String() + "," + newName, true
			}
		}
		return value, true
	})
}

// dropReferences removes the name values that pointed to a deleted entry, as the obituary process does.
func (t *Tree) dropReferences(key string) {
	t.rewriteNames(func(value string) (string, bool) {
		k, ok := t.nameKeys[value]
		if !ok {
			k = dnKey(value)
			t.nameKeys[value] = k
		}
		return value, k != key
	})
}

// noteNames keeps the list of entries that name others, so that a rename or a deletion need not look at all.
func (t *Tree) noteNames(n *node) {
	delete(t.namers, n.id)
	sets := []attrSet{n.shared}
	for _, set := range n.local {
		sets = append(sets, set)
	}
	for _, set := range sets {
		for key := range set {
			if at := t.schema.attr(key); at != nil {
				if _, _, ok := at.namedEntry("x#0#0"); ok {
					t.namers[n.id] = n
					return
				}
			}
		}
	}
}

func (t *Tree) rewriteNames(rewrite func(string) (string, bool)) {
	for _, n := range t.namers {
		changed := t.rewriteSet(n.shared, rewrite)
		for _, set := range n.local {
			changed = t.rewriteSet(set, rewrite) || changed
		}
		if changed {
			t.markEntry(n)
		}
	}
}

func (t *Tree) rewriteSet(set attrSet, rewrite func(string) (string, bool)) bool {
	changed := false
	for key, a := range set {
		at := t.schema.attr(key)
		if at == nil {
			continue
		}
		if _, _, ok := at.namedEntry("x#0#0"); !ok {
			continue
		}
		var kept [][]byte
		differs := false
		for _, v := range a.values {
			name, rest, ok := at.namedEntry(string(v))
			if !ok {
				kept = append(kept, v)
				continue
			}
			respelt, keep := rewrite(name)
			differs = differs || !keep || respelt != name
			if keep {
				kept = append(kept, []byte(respelt+rest))
			}
		}
		if !differs {
			continue
		}
		changed = true
		if len(kept) == 0 {
			delete(set, key)
		} else {
			set[key] = attribute{name: a.name, values: kept}
		}
	}
	return changed
}
