package idmtest

import (
	"slices"
	"strconv"
	"strings"
)

// write collects the new values of one entry; nothing is visible before commit.
type write struct {
	tree     *Tree
	srv      *Server
	n        *node
	shared   attrSet
	local    attrSet
	password *string
}

func newWrite(t *Tree, to target) *write {
	return &write{tree: t, srv: to.srv, n: to.n, shared: to.n.shared.clone(), local: to.n.local[to.srv.name].clone()}
}

func (w *write) set(at *attrType) attrSet {
	if at.has(perServer) {
		return w.local
	}
	return w.shared
}

func (w *write) values(at *attrType) [][]byte { return w.set(at)[strings.ToLower(at.name)].values }

func (w *write) put(at *attrType, values [][]byte) {
	key := strings.ToLower(at.name)
	if len(values) == 0 {
		delete(w.set(at), key)
		return
	}
	w.set(at)[key] = attribute{name: at.name, values: values}
}

func (w *write) classes() []string {
	var list []string
	for _, v := range w.shared["objectclass"].values {
		list = append(list, string(v))
	}
	return list
}

// structural reports whether a value of objectClass is one that an entry has from its creation, or never.
func (w *write) structural(class []byte) bool {
	c := w.tree.schema.class(string(class))
	return c != nil && !c.auxiliary && !slices.ContainsFunc(w.shared["objectclass"].values,
		func(v []byte) bool { return strings.EqualFold(string(v), string(class)) })
}

func (w *write) apply(ch change) *result {
	at := w.tree.schema.attr(ch.name)
	if at == nil {
		return nds(-603)
	}
	if at.has(engineOwned) || at.has(rightsOnly) {
		return nds(-672)
	}
	if at.name == "userPassword" {
		return w.applyPassword(ch)
	}
	if at.name == "objectClass" && slices.ContainsFunc(ch.values, w.structural) {
		return refused(codeClassMods, "")
	}
	if len(ch.values) > 0 && !w.allowed(at) {
		return nds(-608)
	}
	for i, v := range ch.values {
		if ch.kind == 3 || ch.kind == 1 {
			continue
		}
		if !at.wellFormed(v) {
			return nds(-613)
		}
		if name, _, ok := at.namedEntry(string(v)); ok && w.tree.find(name) == nil {
			return nds(-613)
		}
		for _, other := range ch.values[:i] {
			if at.equal(other, v) {
				return nds(-614)
			}
		}
	}
	return w.applyValues(at, ch)
}

func (w *write) applyValues(at *attrType, ch change) *result {
	old := w.values(at)
	switch ch.kind {
	case 0:
		for _, v := range ch.values {
			if slices.ContainsFunc(old, func(o []byte) bool { return at.equal(o, v) }) {
				return nds(-614)
			}
		}
		if len(ch.values) == 0 {
			return refused(codeProtocolError, "add without values")
		}
		w.put(at, append(slices.Clone(old), w.conceal(at, ch.values)...))
	case 1:
		if len(old) == 0 {
			return nds(-603)
		}
		if len(ch.values) == 0 {
			w.put(at, nil)
			break
		}
		kept := slices.Clone(old)
		for _, v := range ch.values {
			i := slices.IndexFunc(kept, func(o []byte) bool { return at.equal(o, v) })
			if i < 0 {
				return nds(-602)
			}
			kept = slices.Delete(kept, i, i+1)
		}
		w.put(at, kept)
	case 2:
		w.put(at, w.conceal(at, ch.values))
	case 3:
		return w.increment(at, old, ch)
	}
	if at.has(single) && len(w.values(at)) > 1 {
		return nds(-612)
	}
	return nil
}

// conceal turns the two password attributes of a driver into the eight opaque bytes a reader gets back. A raw write
// does not reach the engine: the value it starts the shim with comes from the extended operations.
func (w *write) conceal(at *attrType, values [][]byte) [][]byte {
	if at.name != "DirXML-ShimAuthPassword" && at.name != "DirXML-MutualAuthPassword" {
		return values
	}
	opaque := make([][]byte, len(values))
	for i, v := range values {
		opaque[i] = []byte(digest(w.srv.name, v))[:8]
	}
	return opaque
}

// increment is RFC 4525.
func (w *write) increment(at *attrType, old [][]byte, ch change) *result {
	if len(ch.values) != 1 {
		return refused(codeProtocolError, "increment takes one value")
	}
	by, err := strconv.ParseInt(string(ch.values[0]), 10, 64)
	if at.syntax != synInteger || err != nil {
		return refused(codeConstraint, "NDS error: syntax violation (-613)")
	}
	if len(old) == 0 {
		return nds(-603)
	}
	var raised [][]byte
	for _, v := range old {
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return nds(-613)
		}
		raised = append(raised, []byte(strconv.FormatInt(n+by, 10)))
	}
	w.put(at, raised)
	return nil
}

func (w *write) applyPassword(ch change) *result {
	set := func(s string) *result { w.password = &s; return nil }
	switch {
	case ch.kind == 3:
		return nds(-613)
	case ch.kind == 1 && len(ch.values) > 0:
		if w.n.password != digest("bind", ch.values[0]) {
			return nds(-669)
		}
		return set("")
	case len(ch.values) == 0:
		return set("")
	case len(ch.values) > 1:
		return nds(-612)
	}
	return set(digest("bind", ch.values[0]))
}

func (w *write) allowed(at *attrType) bool {
	if len(at.classes) == 0 {
		return true
	}
	return slices.ContainsFunc(w.classes(), func(c string) bool { return slices.Contains(at.classes, strings.ToLower(c)) })
}

func (w *write) checkClasses() *result {
	classes := w.classes()
	if len(classes) == 0 {
		return nds(-609)
	}
	for _, c := range classes {
		if w.tree.schema.class(c) == nil {
			return nds(-604)
		}
	}
	was, now := w.tree.schema.structural(w.n.classes()), w.tree.schema.structural(classes)
	if now == nil || was != nil && was != now {
		return refused(codeObjectClassViolation, "NDS error: illegal attribute (-608)")
	}
	return nil
}

func (w *write) checkMandatory() *result {
	for _, name := range w.classes() {
		for _, must := range w.tree.schema.class(name).must {
			if len(w.values(w.tree.schema.attr(must))) == 0 {
				return nds(-609)
			}
		}
	}
	return nil
}

// addNaming makes sure that the values of the name are values of the entry.
func (w *write) addNaming(name rdn) *result {
	for _, a := range name.attrs {
		at := w.tree.schema.attr(a.name)
		if at == nil {
			return nds(-603)
		}
		if slices.ContainsFunc(w.values(at), func(v []byte) bool { return at.equal(v, []byte(a.value)) }) {
			continue
		}
		if r := w.apply(change{kind: 0, attribute: attribute{name: at.name, values: [][]byte{[]byte(a.value)}}}); r != nil {
			return r
		}
	}
	return nil
}

func (w *write) commit() {
	w.n.shared = w.shared
	if len(w.local) > 0 {
		w.n.local[w.srv.name] = w.local
	} else {
		delete(w.n.local, w.srv.name)
	}
	if w.password != nil {
		w.n.password = *w.password
	}
	w.tree.touch(w.n)
}
