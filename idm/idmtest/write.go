package idmtest

import (
	"slices"
	"strings"
)

// target is an entry and the server whose per-server values count for the operation. With chaining that is not the
// server the client is connected to.
type target struct {
	n   *node
	srv *Server
}

// resolve finds an entry as the server sees it: a name in a partition the server does not hold ends in a referral, is
// chained or is refused, as the server is configured.
func (c *conn) resolve(text string) (target, *result) {
	t := c.srv.tree
	name, err := parseDN(text)
	if err != nil {
		return target{}, nds(-610)
	}
	n, deepest := t.lookup(name)
	srv := c.srv
	if root := deepest.partitionRoot(); !srv.holdsData(root) {
		other := t.holder(root)
		switch {
		case t.cfg.Traversal == TraversalRefuse:
			return target{}, nds(-601)
		case other == nil:
			return target{}, nds(-626)
		case t.cfg.Traversal == TraversalRefer:
			return target{}, &result{code: codeReferral, text: "NDS error: entry not local (-781)", nds: -781,
				referrals: []string{c.referralURL(other, text)}}
		}
		srv = other
	}
	if n == nil || n == t.root {
		return target{n: nil, srv: srv}, nds(-601)
	}
	return target{n: n, srv: srv}, nil
}

func (c *conn) add(req addRequest) *result {
	t := c.srv.tree
	name, err := parseDN(req.dn)
	if err != nil || len(name) == 0 {
		return nds(-610)
	}
	parent := target{n: t.root, srv: c.srv}
	if len(name) > 1 {
		var r *result
		if parent, r = c.resolve(name[1:].String()); r != nil {
			return r
		}
	}
	if !t.mayEntry(c.bound, parent.n, entryCreate) {
		return nds(-672)
	}
	if parent.n.byName[name[0].key] != nil {
		return nds(-606)
	}
	n := newNode(0, name[0], parent.n)
	w := &write{tree: t, srv: parent.srv, n: n, shared: attrSet{}, local: attrSet{}}
	for _, a := range req.attrs {
		at := t.schema.attr(a.name)
		if at == nil {
			return nds(-603)
		}
		if at.name == "objectClass" {
			w.shared["objectclass"] = attribute{name: at.name, values: a.values}
		}
	}
	if r := w.checkClasses(); r != nil {
		return r
	}
	for _, a := range req.attrs {
		if strings.EqualFold(a.name, "objectClass") {
			continue
		}
		if r := w.apply(change{kind: 0, attribute: a}); r != nil {
			return r
		}
	}
	if r := w.addNaming(name[0]); r != nil {
		return r
	}
	if r := w.checkMandatory(); r != nil {
		return r
	}
	if r := t.checkContainment(w.classes(), parent.n); r != nil {
		return r
	}
	t.nextID++
	n.id = t.nextID
	n.attach(parent.n)
	n.created = t.now()
	t.nodes[n.id] = n
	w.commit()
	return &result{}
}

func (c *conn) modify(req modifyRequest) *result {
	t := c.srv.tree
	to, r := c.resolve(req.dn)
	if r != nil {
		return r
	}
	w := newWrite(t, to)
	for _, ch := range req.changes {
		at := t.schema.attr(ch.name)
		if at == nil {
			return nds(-603)
		}
		if at.has(engineOwned) || at.has(rightsOnly) {
			return nds(-672)
		}
		if !t.mayWrite(c.bound, to.n, at.name) && !(at.name == "userPassword" && c.bound == to.n) {
			return nds(-672)
		}
		if r := w.apply(ch); r != nil {
			return r
		}
	}
	if r := w.checkClasses(); r != nil {
		return r
	}
	if r := w.checkMandatory(); r != nil {
		return r
	}
	for _, a := range to.n.name.attrs {
		at := t.schema.attr(a.name)
		if !slices.ContainsFunc(w.values(at), func(v []byte) bool { return at.equal(v, []byte(a.value)) }) {
			return refused(codeNotOnRDN, "NDS error: naming attribute cannot be removed (-627)")
		}
	}
	w.commit()
	return &result{}
}

func (c *conn) remove(req deleteRequest) *result {
	t := c.srv.tree
	to, r := c.resolve(req.dn)
	if r != nil {
		return r
	}
	if !t.mayEntry(c.bound, to.n, entryDelete) {
		return nds(-672)
	}
	if len(to.n.kids) > 0 || to.n.partition {
		return nds(-629)
	}
	t.drop(to.n)
	return &result{}
}

// drop takes a leaf out of the tree.
func (t *Tree) drop(n *node) {
	key := n.dn().key()
	for _, s := range t.servers {
		s.engine.forget(s, n)
	}
	n.detach()
	delete(t.nodes, n.id)
	t.dropReferences(key)
	t.markGone(n)
}

func (c *conn) modifyDN(req modifyDNRequest) *result {
	t := c.srv.tree
	to, r := c.resolve(req.dn)
	if r != nil {
		return r
	}
	name, err := parseDN(req.newRDN)
	if err != nil || len(name) != 1 {
		return nds(-610)
	}
	parent := to.n.parent
	if req.newSuperior != nil {
		p, r := c.resolve(*req.newSuperior)
		if r != nil {
			return r
		}
		parent = p.n
	}
	if !t.mayEntry(c.bound, to.n, entryRename) || parent != to.n.parent && !t.mayEntry(c.bound, parent, entryCreate) {
		return nds(-672)
	}
	if parent != to.n.parent {
		// eDirectory moves a container only when it is the root of a partition of its own, and never by this operation.
		if len(to.n.kids) > 0 || to.n.partition || parent == to.n {
			return nds(-629)
		}
		if r := t.checkContainment(to.n.classes(), parent); r != nil {
			return r
		}
	}
	if other := parent.byName[name[0].key]; other != nil && other != to.n {
		return nds(-606)
	}
	w := newWrite(t, to)
	if req.deleteOld {
		for _, a := range to.n.name.attrs {
			if r := w.apply(change{kind: 1, attribute: attribute{name: a.name, values: [][]byte{[]byte(a.value)}}}); r != nil {
				return r
			}
		}
	}
	if r := w.addNaming(name[0]); r != nil {
		return r
	}
	oldKey := to.n.dn().key()
	to.n.detach()
	to.n.name = name[0]
	to.n.attach(parent)
	w.commit()
	t.respell(oldKey, to.n.String())
	return &result{}
}

func (c *conn) compare(req compareRequest) *result {
	t := c.srv.tree
	to, r := c.resolve(req.dn)
	if r != nil {
		return r
	}
	at := t.schema.attr(req.attr)
	if at == nil {
		return nds(-603)
	}
	if at.name == "userPassword" {
		return truthResult(to.n.password != "" && to.n.password == digest("bind", req.value))
	}
	if !t.mayRead(c.bound, to.n, at) && t.granted(c.bound, to.n, at.name)&rightCompare == 0 {
		return nds(-672)
	}
	values := t.values(to.n, at, to.srv)
	if len(values) == 0 {
		return nds(-603)
	}
	return truthResult(slices.ContainsFunc(values, func(v []byte) bool { return at.equal(v, req.value) }))
}

func truthResult(b bool) *result {
	if b {
		return &result{code: codeCompareTrue}
	}
	return &result{code: codeCompareFalse}
}

func (t *Tree) checkContainment(classes []string, parent *node) *result {
	c := t.schema.structural(classes)
	p := t.schema.structural(parent.classes())
	if p != nil && p.leaf {
		return nds(-611)
	}
	if len(c.in) > 0 {
		if p == nil || !slices.Contains(c.in, strings.ToLower(p.name)) {
			return nds(-611)
		}
		return nil
	}
	if p != nil && strings.HasPrefix(strings.ToLower(p.name), "dirxml-") {
		return nds(-611)
	}
	return nil
}
