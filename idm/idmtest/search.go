package idmtest

import (
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

const (
	scopeBase    = 0
	scopeOne     = 1
	scopeSubtree = 2

	oidPaging    = "1.2.840.113556.1.4.319"
	oidManageDSA = "2.16.840.1.113730.3.4.2"
	oidTypedName = "2.16.840.1.113719.1.27.101.5"
)

// found is the answer of a search before it is encoded: entries are read one by one while they are sent, so that a
// large result costs no memory.
type found struct {
	nodes      []target
	virtual    []virtualEntry
	references [][]string
	pick       selection
	typesOnly  bool
	done       *result
}

type virtualEntry struct {
	name  string
	attrs []attribute
	// operational lists attributes that only appear when asked for by "+" or by name.
	operational []attribute
}

// selection says which attributes a search returns.
type selection struct {
	user, oper bool
	names      []*attrType
	raw        []string
}

func (t *Tree) selection(attrs []string) selection {
	var pick selection
	if len(attrs) == 0 {
		pick.user = true
	}
	for _, a := range attrs {
		switch a {
		case "*":
			pick.user = true
		case "+":
			pick.oper = true
		case "1.1":
		default:
			pick.raw = append(pick.raw, a)
			if at := t.schema.attr(a); at != nil && !slices.Contains(pick.names, at) {
				pick.names = append(pick.names, at)
			}
		}
	}
	return pick
}

// readable is what one caller sees of one entry.
type readable struct {
	t      *Tree
	to     target
	caller *node
	super  bool
}

func (v readable) filterName() dn { return v.to.n.dn() }

func (v readable) filterValues(attr string) [][]byte {
	at := v.t.schema.attr(attr)
	if at == nil || !v.super && !v.t.mayRead(v.caller, v.to.n, at) &&
		v.t.granted(v.caller, v.to.n, at.name)&rightCompare == 0 {
		return nil
	}
	return v.t.values(v.to.n, at, v.to.srv)
}

// attributes returns what the selection picks. Attributes of directory operations do not come with "*"; those the
// engine owns do not come with "+" either and have to be named.
func (v readable) attributes(pick selection) []attribute {
	var list []attribute
	put := func(at *attrType) {
		if slices.ContainsFunc(list, func(a attribute) bool { return a.name == at.name }) {
			return
		}
		if !v.super && !v.t.mayRead(v.caller, v.to.n, at) {
			return
		}
		if values := v.t.values(v.to.n, at, v.to.srv); len(values) > 0 {
			list = append(list, attribute{name: at.name, values: values})
		}
	}
	if pick.user {
		for _, set := range []attrSet{v.to.n.shared, v.to.n.local[v.to.srv.name]} {
			keys := make([]string, 0, len(set))
			for k := range set {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			if i := slices.Index(keys, "objectclass"); i > 0 {
				keys = append([]string{"objectclass"}, slices.Delete(keys, i, i+1)...)
			}
			for _, k := range keys {
				if at := v.t.schema.attr(k); at != nil && !at.has(operational) && !at.has(engineOwned) {
					put(at)
				}
			}
		}
	}
	if pick.oper {
		for _, at := range v.t.schema.attrList {
			if at.has(operational) && !strings.HasPrefix(at.name, "DirXML-") {
				put(at)
			}
		}
	}
	for _, at := range pick.names {
		put(at)
	}
	return list
}

func (c *conn) search(req searchRequest, ctls []control) *found {
	t := c.srv.tree
	pick := t.selection(req.attrs)
	if strings.TrimSpace(req.base) == "" && req.scope == scopeBase {
		return c.virtual(req, pick, c.srv.rootDSE())
	}
	if v, ok := c.srv.virtualEntries(c.bound, req); ok {
		return c.virtual(req, pick, v...)
	}
	base := target{n: t.root, srv: c.srv}
	if strings.TrimSpace(req.base) != "" {
		var r *result
		if base, r = c.resolve(req.base); r != nil {
			return &found{done: r}
		}
	}
	f := &found{pick: pick, typesOnly: req.typesOnly, done: &result{}}
	p, err := c.paging(ctls)
	if err != nil {
		return &found{done: refused(codeProtocolError, err.Error())}
	}
	if p == nil || p.cookie == "" {
		w := &walk{c: c, req: req, f: f}
		w.visit(base, 0)
	}
	if p == nil {
		return c.limit(f, req)
	}
	return c.page(f, p)
}

type walk struct {
	c   *conn
	req searchRequest
	f   *found
}

// visit goes down the tree, parents first.
func (w *walk) visit(to target, depth int) {
	t := w.c.srv.tree
	inScope := w.req.scope == scopeSubtree || int(w.req.scope) == depth
	if inScope && to.n != t.root {
		super := t.supervisor(w.c.bound, to.n)
		if super || t.mayEntry(w.c.bound, to.n, entryBrowse) {
			if w.req.filter.match(readable{t: t, to: to, caller: w.c.bound, super: super}, t.schema) == isTrue {
				w.f.nodes = append(w.f.nodes, to)
			}
		}
	}
	if w.req.scope == scopeBase || w.req.scope == scopeOne && depth == 1 {
		return
	}
	for _, kid := range to.n.kids {
		next := target{n: kid, srv: to.srv}
		if kid.partition && !to.srv.holdsData(kid) {
			other := t.holder(kid)
			switch {
			case other == nil || t.cfg.Traversal == TraversalRefuse:
				continue
			case t.cfg.Traversal == TraversalRefer:
				w.f.references = append(w.f.references, []string{w.c.referralURL(other, kid.String())})
				continue
			}
			next.srv = other
		}
		w.visit(next, depth+1)
	}
}

// virtual filters and limits entries that do not stand in the tree.
func (c *conn) virtual(req searchRequest, pick selection, entries ...virtualEntry) *found {
	f := &found{pick: pick, typesOnly: req.typesOnly, done: &result{}}
	for _, e := range entries {
		if req.filter.match(virtualView(e), c.srv.tree.schema) == isTrue {
			f.virtual = append(f.virtual, e)
		}
	}
	return f
}

type virtualView virtualEntry

func (v virtualView) filterName() dn {
	name, err := parseDN(v.name)
	if err != nil {
		return nil
	}
	return name
}

func (v virtualView) filterValues(attr string) [][]byte {
	for _, list := range [][]attribute{v.attrs, v.operational} {
		for _, a := range list {
			if strings.EqualFold(a.name, attr) {
				return a.values
			}
		}
	}
	return nil
}

func (v virtualEntry) pick(pick selection) []attribute {
	var list []attribute
	named := func(a attribute) bool {
		return slices.ContainsFunc(pick.raw, func(s string) bool { return strings.EqualFold(s, a.name) })
	}
	for _, a := range v.attrs {
		if pick.user || named(a) {
			list = append(list, a)
		}
	}
	for _, a := range v.operational {
		if pick.oper || named(a) {
			list = append(list, a)
		}
	}
	return list
}

// limit applies the lower of the client's and the server's size limit. A paged search is not limited.
func (c *conn) limit(f *found, req searchRequest) *found {
	limit := int(req.sizeLimit)
	if own := c.srv.tree.cfg.SizeLimit; own > 0 && (limit == 0 || own < limit) {
		limit = own
	}
	if limit > 0 && len(f.nodes) > limit {
		f.nodes = f.nodes[:limit]
		f.done = refused(codeSizeLimit, "")
	}
	return f
}

// paged is the paged results control of RFC 2696.
type paged struct {
	size   int
	cookie string
}

// savedSearch is what is left of a paged search.
type savedSearch struct {
	rest  []target
	total int
}

// paging reads the control, nil when there is none.
func (c *conn) paging(ctls []control) (*paged, error) {
	i := slices.IndexFunc(ctls, func(k control) bool { return k.oid == oidPaging })
	if i < 0 || c.srv.tree.cfg.NoPaging {
		return nil, nil //nolint:nilnil // no control is not an error
	}
	if err := checkNesting(ctls[i].value, 0); err != nil {
		return nil, err
	}
	p, err := ber.DecodePacketErr(ctls[i].value)
	if err != nil || len(p.Children) != 2 {
		return nil, malformed("paged results control")
	}
	n, err := integer(p.Children[0], ber.TagInteger)
	if err != nil || n < 0 || n > 1<<31-1 {
		return nil, malformed("paged results control")
	}
	cookie, err := octets(p.Children[1])
	return &paged{size: int(n), cookie: string(cookie)}, err
}

// page cuts the next page off a search and keeps the rest for the cookie it gives out.
func (c *conn) page(f *found, p *paged) *found {
	s := savedSearch{rest: f.nodes, total: len(f.nodes)}
	if p.cookie != "" {
		saved, ok := c.pages[p.cookie]
		if !ok {
			return &found{done: refused(codeUnwilling, "NDS error: invalid request (-641)")}
		}
		delete(c.pages, p.cookie)
		s = saved
	}
	next := ""
	switch {
	case p.size == 0: // the client gives the search up
		s.rest = nil
	case p.size < len(s.rest):
		next = c.newCookie()
		if c.pages == nil {
			c.pages = map[string]savedSearch{}
		}
		c.pages[next] = savedSearch{rest: s.rest[p.size:], total: s.total}
		s.rest = s.rest[:p.size]
	}
	f.nodes = s.rest
	f.done.controls = []control{{oid: oidPaging, value: newSequence(newInteger(int64(s.total)), newString(next)).Bytes()}}
	return f
}
