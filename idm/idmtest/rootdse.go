package idmtest

import (
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

func textAttribute(name string, values ...string) attribute {
	a := attribute{name: name}
	for _, v := range values {
		a.values = append(a.values, []byte(v))
	}
	return a
}

// rootDSE is what the server says of itself.
func (s *Server) rootDSE() virtualEntry {
	t := s.tree
	extensions := []string{oidStartTLS}
	for _, n := range []int{17, 19, 31, 33} {
		extensions = append(extensions, ndsPrefix+strconv.Itoa(n), ndsPrefix+strconv.Itoa(n+1))
	}
	if s.engine.Mode != EngineAbsent {
		for _, n := range sortedKeys(extOps) {
			extensions = append(extensions, dirxmlPrefix+strconv.Itoa(n), dirxmlPrefix+strconv.Itoa(n+1))
		}
	}
	controls := []string{oidManageDSA, oidTypedName}
	if !t.cfg.NoPaging {
		controls = append(controls, oidPaging)
	}
	var contexts []string
	for _, id := range sortedKeys(s.replicas) {
		if n := t.nodes[id]; n != nil && s.holdsData(n) {
			contexts = append(contexts, n.String())
		}
	}
	return virtualEntry{attrs: []attribute{
		textAttribute("objectClass", "top", "rootDSE"),
		textAttribute("dsaName", s.dn),
		textAttribute("directoryTreeName", t.cfg.Name),
		textAttribute("namingContexts", contexts...),
		textAttribute("subschemaSubentry", "cn=schema"),
		textAttribute("supportedLDAPVersion", "2", "3"),
		textAttribute("supportedExtension", extensions...),
		textAttribute("supportedControl", controls...),
		textAttribute("supportedFeatures", "1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.1.14", "2.16.840.1.113719.1.27.99.1"),
		textAttribute("vendorName", "NetIQ Corporation"),
		textAttribute("vendorVersion", "LDAP Agent for NetIQ eDirectory 9.2.8 (simulated)"),
	}}
}

// virtualEntries are the entries outside the tree that a search can hit: the subschema and the monitor.
func (s *Server) virtualEntries(caller *node, req searchRequest) ([]virtualEntry, bool) {
	base, err := parseDN(req.base)
	if err != nil || len(base) == 0 {
		return nil, false
	}
	key := base.key()
	switch {
	case key == "cn=schema":
		if req.scope == scopeOne {
			return nil, true
		}
		return []virtualEntry{s.subschema()}, true
	case key == "cn=monitor" || strings.HasSuffix(key, ",cn=monitor"):
		return slices.DeleteFunc(s.monitor(caller), func(e virtualEntry) bool { return !inScope(base, e.name, req.scope) }),
			true
	}
	return nil, false
}

func inScope(base dn, name string, scope int64) bool {
	entry, err := parseDN(name)
	depth := len(entry) - len(base)
	if err != nil || depth < 0 || entry[depth:].key() != base.key() {
		return false
	}
	return scope == scopeSubtree || int64(depth) == scope
}

func (s *Server) subschema() virtualEntry {
	attrs := textAttribute("attributeTypes")
	for _, t := range s.tree.schema.attrList {
		attrs.values = append(attrs.values, []byte(t.definition()))
	}
	classes := textAttribute("objectClasses")
	for _, c := range s.tree.schema.classIDs {
		classes.values = append(classes.values, []byte(c.definition()))
	}
	return virtualEntry{name: "cn=schema",
		attrs: []attribute{textAttribute("objectClass", "top", "subschema"), textAttribute("cn", "schema"), classes, attrs}}
}

// monitor needs write on NDSRightsToMonitor of the server object.
func (s *Server) monitor(caller *node) []virtualEntry {
	t := s.tree
	me := t.find(s.dn)
	if me == nil || !t.mayWrite(caller, me, "NDSRightsToMonitor") {
		return nil
	}
	list := []virtualEntry{{name: "cn=monitor",
		attrs: []attribute{textAttribute("objectClass", "top"), textAttribute("cn", "monitor")}}}
	for _, id := range sortedKeys(s.replicas) {
		n := t.nodes[id]
		if n == nil {
			continue
		}
		list = append(list, virtualEntry{name: "cn=" + escapeValue(n.String()) + ",cn=Partition,cn=monitor",
			attrs: []attribute{
				textAttribute("objectClass", "top"), textAttribute("MaxRingDelta", strconv.Itoa(s.ringDelta)),
				textAttribute("PerishableData", "0"),
			}})
	}
	for _, id := range sortedKeys(s.engine.drivers) {
		n := t.nodes[id]
		if d := s.engine.serving(n); d != nil {
			list = append(list, virtualEntry{
				name: "cn=" + escapeValue(n.name.attrs[0].value) + ",cn=drivers,cn=driverset_stats,cn=idm,cn=monitor",
				attrs: []attribute{textAttribute("objectClass", "top"), textAttribute("cn", n.name.attrs[0].value),
					textAttribute("driver-state", d.State.String())},
			})
		}
	}
	return list
}

// ndsOperation is eDirectory's own family of extended operations. Answers are elements without a SEQUENCE around them,
// except for the list of replicas.
func (c *conn) ndsOperation(req extendedRequest) *result {
	t := c.srv.tree
	number, err := strconv.Atoi(strings.TrimPrefix(req.oid, ndsPrefix))
	if err != nil {
		return refused(codeProtocolError, "unrecognized extended operation "+req.oid)
	}
	r := &result{name: ndsPrefix + strconv.Itoa(number+1)}
	patterns := map[int]string{17: "oo", 19: "o", 31: "", 33: "ooo"}
	pattern, ok := patterns[number]
	if !ok {
		return refused(codeProtocolError, "unrecognized extended operation "+req.oid)
	}
	args, err := decodeArguments(req.value, pattern, FramingConcatenated)
	if err != nil {
		return refused(codeProtocolError, err.Error())
	}
	if c.bound == nil && number != 31 {
		return nds(-672)
	}
	switch number {
	case 17, 19:
		s := t.serverByDN(args[0].text())
		if s == nil {
			return nds(-601)
		}
		if number == 19 {
			r.value = s.replicaList()
			return r
		}
		n := t.find(args[1].text())
		kind, held := ReplicaType(0), false
		if n != nil {
			kind, held = s.replicas[n.id]
		}
		if !held {
			return nds(-673)
		}
		for _, p := range []*ber.Packet{newInteger(int64(n.id)), newInteger(0), newInteger(n.modified.Unix()), newInteger(0),
			newInteger(int64(n.id)), newString(n.String()), newInteger(int64(kind))} {
			r.value = append(r.value, p.Bytes()...)
		}
	case 31:
		name := ""
		if c.bound != nil {
			name = c.bound.String()
		}
		r.value = newString(name).Bytes()
	case 33:
		n, trustee := t.find(args[0].text()), t.find(args[1].text())
		if n == nil || trustee == nil {
			return nds(-601)
		}
		r.value = newInteger(int64(t.granted(trustee, n, args[2].text()))).Bytes()
	}
	return r
}

func (t *Tree) serverByDN(name string) *Server {
	for _, s := range t.servers {
		if dnKey(s.dn) == dnKey(name) {
			return s
		}
	}
	return nil
}

func (s *Server) replicaList() []byte {
	list := ber.NewSequence("")
	for _, id := range sortedKeys(s.replicas) {
		if n := s.tree.nodes[id]; n != nil {
			list.AppendChild(newString(n.String()))
		}
	}
	return list.Bytes()
}
