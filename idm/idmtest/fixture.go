package idmtest

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// The names and passwords of a tree.
const (
	AdminDN       = "cn=admin,o=system"
	AdminPassword = "admin-secret"
	DriverSetDN   = "cn=ds1,o=system"
	libraryDN     = "cn=Library,cn=ds1,o=system"
	UsersDN       = "ou=users,o=data"
)

// values are attribute values by name, for entries the simulator makes itself.
type values map[string][]string

// put creates an entry as the system would, rights and engine-owned attributes aside.
func (t *Tree) put(name, class string, v values) error {
	parsed, err := parseDN(name)
	if err != nil || len(parsed) == 0 {
		return fmt.Errorf("idmtest: %q is no name", name)
	}
	parent, _ := t.lookup(parsed[1:])
	if parent == nil || parent.byName[parsed[0].key] != nil {
		return fmt.Errorf("idmtest: %q has no parent or exists", name)
	}
	t.nextID++
	n := newNode(t.nextID, parsed[0], parent)
	n.created = t.now()
	n.modified = n.created
	set := func(attr string, list ...string) error {
		at := t.schema.attr(attr)
		if at == nil {
			return fmt.Errorf("idmtest: no attribute %q", attr)
		}
		a := attribute{name: at.name}
		for _, s := range list {
			a.values = append(a.values, []byte(s))
		}
		n.shared[strings.ToLower(at.name)] = a
		return nil
	}
	if err := set("objectClass", append([]string{"Top"}, strings.Fields(class)...)...); err != nil {
		return err
	}
	for _, a := range parsed[0].attrs {
		if err := set(a.name, a.value); err != nil {
			return err
		}
	}
	for attr, list := range v {
		if err := set(attr, list...); err != nil {
			return err
		}
	}
	n.attach(parent)
	t.nodes[n.id] = n
	t.markEntry(n)
	return nil
}

// setLocal gives one server its own value.
func (t *Tree) setLocal(s *Server, name, attr, value string) {
	n, at := t.find(name), t.schema.attr(attr)
	set := n.local[s.name].clone()
	set[strings.ToLower(at.name)] = attribute{name: at.name, values: [][]byte{[]byte(value)}}
	n.local[s.name] = set
	t.markEntry(n)
}

// build makes the tree of the configuration.
func (t *Tree) build() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &fixture{t: t}
	f.base()
	if !t.cfg.WithoutSet {
		f.driverSet()
	}
	if f.err != nil {
		return f.err
	}
	f.partitions()
	if !t.cfg.WithoutSet {
		f.engines()
	}
	clear(t.dirty)
	t.markAll()
	return nil
}

// fixture builds; the first error ends it.
type fixture struct {
	t   *Tree
	err error
}

func (f *fixture) put(name, class string, v values) {
	if f.err == nil {
		f.err = f.t.put(name, class, v)
	}
}

func (f *fixture) base() {
	t := f.t
	f.put("o=system", "Organization Partition", nil)
	f.put("ou=servers,o=system", "organizationalUnit", nil)
	f.put("o=data", "Organization Partition", nil)
	f.put(UsersDN, "organizationalUnit", nil)
	f.put(AdminDN, "inetOrgPerson", values{"sn": {"admin"}})
	for _, s := range t.servers {
		f.put(s.dn, "Server ncpServer", values{
			"version": {"LDAP Agent for NetIQ eDirectory 9.2.8 (simulated)"}, "status": {"1"},
			"networkAddress": {netAddress(1, 524), netAddress(9, 524)},
		})
		f.put("cn=LDAP Server - "+escapeValue(s.name)+",ou=servers,o=system", "ldapServer", values{"ldapHostServer": {s.dn}})
		f.put("cn="+remoteCertificate+" - "+escapeValue(s.name)+",ou=servers,o=system", "nDSPKIKeyMaterial",
			values{"hostServer": {s.dn}})
	}
	for i := range t.cfg.Users {
		f.put(fmt.Sprintf("cn=user%03d,%s", i+1, UsersDN), "inetOrgPerson", values{
			"sn": {fmt.Sprintf("User %d", i+1)}, "mail": {fmt.Sprintf("user%03d@example.com", i+1)},
		})
	}
	if f.err != nil {
		return
	}
	t.find(AdminDN).password = digest("bind", []byte(AdminPassword))
	t.root.shared["acl"] = attribute{name: "ACL", values: [][]byte{
		[]byte("16#subtree#" + AdminDN + "#" + entryRights),
		[]byte("1#subtree#" + publicTrustee + "#" + entryRights),
	}}
}

// netAddress is the "type#port and address" form of networkAddress.
func netAddress(kind int, port uint16) string {
	b := binary.BigEndian.AppendUint16(nil, port)
	return fmt.Sprintf("%d#%s", kind, append(b, net.IPv4(127, 0, 0, 1).To4()...))
}

// partitions are those of the entries marked so, and the replicas every server holds of them.
func (f *fixture) partitions() {
	t := f.t
	t.root.walk(func(n *node) { n.partition = n.isA("Partition") })
	for i, s := range t.servers {
		s.replicas[t.root.id] = ReplicaReadWrite
		t.root.walk(func(n *node) {
			if n.partition && !slices.ContainsFunc(t.cfg.Servers[i].Without,
				func(w string) bool { return dnKey(w) == n.dn().key() }) {
				s.replicas[n.id] = ReplicaReadWrite
			}
		})
		if i == 0 {
			for id := range s.replicas {
				s.replicas[id] = ReplicaMaster
			}
		}
	}
}

// driverName is the common name of driver number i, counted from 0.
func driverName(i int) string { return fmt.Sprintf("Driver%02d", i+1) }

// DriverDN is the distinguished name of driver number i, counted from 0.
func DriverDN(i int) string { return "cn=" + driverName(i) + "," + DriverSetDN }

// remoteCertificate is the certificate that the drivers with a Remote Loader name; every server has one of its own.
const remoteCertificate = "IDM RL"

// remoteDriver tells which drivers of the fixture run through a Remote Loader: every second one.
func remoteDriver(i int) bool { return i%2 == 1 }

// DriverPasswords are the secrets driver number i needs on every server. Remote Loader and object password are empty
// for a driver that runs inside the engine.
func DriverPasswords(i int) Passwords {
	p := Passwords{
		Application: "app-" + driverName(i),
		Named:       map[string]string{"svc-account": "svc-" + driverName(i), "policy-token": "token-" + driverName(i)},
	}
	if remoteDriver(i) {
		p.RemoteLoader, p.Object = "rl-"+driverName(i), "obj-"+driverName(i)
	}
	return p
}

// SetPassword is the value of the named password "set-wide" of the driver set, which every driver of the fixture uses.
const SetPassword = "set-wide-secret"

func (f *fixture) driverSet() {
	t := f.t
	var list []string
	for i, s := range t.servers {
		if !t.cfg.Servers[i].OutsideSet {
			list = append(list, s.dn)
		}
	}
	v := values{"DirXML-DriverTraceLevel": {"0"}}
	if len(list) > 0 {
		v["DirXML-ServerList"] = list
	}
	f.put(DriverSetDN, "DirXML-DriverSet Partition", v)
	f.put(libraryDN, "DirXML-Library", nil)
	f.put("cn=lib-common,"+libraryDN, "DirXML-Rule", values{"XmlData": {policyXML("common checks", 0)}})
	f.put("cn=lib-report,"+libraryDN, "DirXML-StyleSheet", values{"XmlData": {styleSheetXML}})
	f.put("cn=lib-mapping,"+libraryDN, "DirXML-Resource",
		values{"DirXML-Data": {"<mapping-table/>"},
			"DirXML-ContentType": {"application/vnd.novell.dirxml.mapping-table+xml"}})
	f.put("cn=SetGCV,"+DriverSetDN, "DirXML-GlobalConfigDef", nil)
	f.put("cn=Nightly,"+DriverSetDN, "DirXML-Job",
		values{"XmlData": {jobXML("nightly")}, "DirXML-ServerList": {t.servers[0].dn}})
	for i := range t.cfg.Drivers {
		f.driver(i)
	}
}

func (f *fixture) driver(i int) {
	t := f.t
	name, dn := driverName(i), DriverDN(i)
	v := values{
		"DirXML-DriverFilter": {"<filter><filter-class class-name=\"User\" publisher=\"sync\" " +
			"subscriber=\"sync\"/></filter>"},
		"DirXML-ApplicationSchema": {"<schema-def hierarchical=\"true\"/>"},
		"DirXML-ConfigManifest":    {"<manifest name=\"" + name + "\"/>"},
		"DirXML-TraceLevel":        {"3"},
		"DirXML-JavaModule":        {"com.novell.nds.dirxml.driver.ldap.LDAPDriverShim"},
	}
	if remoteDriver(i) {
		v["DirXML-JavaModule"] = []string{"com.novell.nds.dirxml.remote.driver.DriverShimImpl"}
	}
	f.put(dn, "DirXML-Driver", v)
	f.put("cn=Publisher,"+dn, "DirXML-Publisher", nil)
	f.put("cn=Subscriber,"+dn, "DirXML-Subscriber", nil)
	f.put("cn=SchemaMap,"+dn, "DirXML-Rule", values{"XmlData": {"<attr-name-map/>"}})
	f.put("cn=InputTransform,"+dn, "DirXML-StyleSheet", values{"XmlData": {styleSheetXML}})
	f.put("cn=GCV,"+dn, "DirXML-GlobalConfigDef", nil)
	f.put("cn=Template,"+dn, "DirXML-Resource",
		values{"DirXML-Data": {"plain text of " + name}, "DirXML-ContentType": {"text/plain"}})
	f.put("cn=Account,"+dn, "DirXML-Entitlement",
		values{"XmlData": {"<entitlement conflict-resolution=\"priority\" display-name=\"Account\"/>"}})
	f.put("cn=Check,"+dn, "DirXML-Job",
		values{"XmlData": {jobXML("check " + name)}, "DirXML-ServerList": {t.servers[0].dn}})
	var links []string
	link := func(policy string, order, set int) {
		links = append(links, fmt.Sprintf("%s#%d#%d", policy, order, set))
	}
	link("cn=SchemaMap,"+dn, 0, 0)
	link("cn=InputTransform,"+dn, 0, 1)
	link("cn=lib-common,"+libraryDN, 1, 1)
	for p := range t.cfg.Policies {
		channel, set := "Subscriber", 4
		if p%2 == 1 {
			channel, set = "Publisher", 5
		}
		policy := fmt.Sprintf("cn=Policy%03d,cn=%s,%s", p+1, channel, dn)
		f.put(policy, "DirXML-Rule", values{"XmlData": {padded(policyXML(name, p), t.cfg.PolicyBytes)}})
		link(policy, p, set)
	}
	link("cn=GCV,"+dn, 0, 14)
	if f.err == nil {
		f.t.find(dn).shared["dirxml-policies"] = attribute{name: "DirXML-Policies", values: bytesOf(links)}
	}
}

// engines sets what each server has of its own.
func (f *fixture) engines() {
	t := f.t
	for i := range t.cfg.Drivers {
		p, n := DriverPasswords(i), t.find(DriverDN(i))
		e := expected{Application: digest("application", []byte(p.Application))}
		if remoteDriver(i) {
			n.password = digest("bind", []byte(p.Object))
			e.Object, e.RemoteLoader = n.password, digest("remote loader", []byte(p.RemoteLoader))
		}
		t.app(n.id).Expected = e
	}
	for i, s := range t.servers {
		if t.cfg.Servers[i].Prepared || i == 0 {
			f.prepare(s)
		}
		s.engine.load(s)
		if i != 0 || t.cfg.Idle || t.cfg.Servers[i].OutsideSet {
			continue
		}
		for _, id := range sortedKeys(s.engine.drivers) {
			d := s.engine.drivers[id]
			d.Option, d.State = StartAuto, StateRunning
			t.counters(id).Connections, t.counters(id).MaxConnected = 1, 1
		}
	}
}

// prepare gives a server its own copy of everything that does not replicate.
func (f *fixture) prepare(s *Server) {
	t := f.t
	t.setLocal(s, DriverSetDN, "DirXML-ConfigValues", configValues("set.environment", "production", "set-wide"))
	t.setLocal(s, "cn=SetGCV,"+DriverSetDN, "DirXML-ConfigValues", configValues("set.mail", "idm@example.com", ""))
	set := t.find(DriverSetDN)
	s.engine.vaultOf(set.id).Named["set-wide"] = namedPassword{Name: "set-wide", Display: "Used by every driver",
		Digest: digest("named", []byte(SetPassword))}
	for i := range t.cfg.Drivers {
		dn := DriverDN(i)
		t.setLocal(s, dn, "DirXML-ShimAuthID", "cn=idm-"+strings.ToLower(driverName(i)))
		address := fmt.Sprintf("app%02d.example.com:636", i+1)
		if remoteDriver(i) {
			address = fmt.Sprintf("REMOTE(hostname=rl%02d.example.com port=8090 kmo='"+remoteCertificate+"')", i+1) + address
		}
		t.setLocal(s, dn, "DirXML-ShimAuthServer", address)
		t.setLocal(s, dn, "DirXML-ShimConfigInfo", shimConfig(driverName(i)))
		t.setLocal(s, dn, "DirXML-ConfigValues", configValues("driver.base", "ou="+driverName(i)+",o=app", ""))
		t.setLocal(s, dn, "DirXML-EngineControlValues", engineControl)
		t.setLocal(s, dn, "DirXML-DriverStorage", "<driver-state><changelog position=\""+s.name+"-4711\"/></driver-state>")
		t.setLocal(s, "cn=GCV,"+dn, "DirXML-ConfigValues", configValues("driver.prefix", strings.ToLower(driverName(i)), ""))
		p, n := DriverPasswords(i), t.find(dn)
		v := s.engine.vaultOf(n.id)
		v.Application = digest("application", []byte(p.Application))
		t.setLocal(s, dn, "DirXML-ShimAuthPassword", digest(s.name, []byte(p.Application))[:8])
		if p.RemoteLoader != "" {
			v.RemoteLoader = digest("remote loader", []byte(p.RemoteLoader))
		}
		for name, value := range p.Named {
			v.Named[foldCase(name)] = namedPassword{Name: name, Display: name + " of " + driverName(i),
				Digest: digest("named", []byte(value))}
		}
	}
}

// padded lengthens a document by a comment, which no reader may touch.
func padded(xml string, size int) string {
	if len(xml) >= size {
		return xml
	}
	return xml + "<!-- " + strings.Repeat("x", max(size-len(xml)-9, 0)) + " -->"
}

func bytesOf(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, s := range list {
		out[i] = []byte(s)
	}
	return out
}

var fixtureTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func policyXML(owner string, number int) string {
	token := ""
	if strings.HasPrefix(owner, "Driver") && number == 0 {
		token = "\t\t\t<do-set-local-variable name=\"token\"><arg-string><token-named-password " +
			"name=\"policy-token\"/></arg-string></do-set-local-variable>\n"
	}
	return fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<policy>\n\t<rule>\n\t\t<description>Rule %d of "+
		"%s</description>\n\t\t<comment>ä &lt; ö — %s</comment>\n"+
		"\t\t<actions>\n\t\t\t<do-set-local-variable "+
		"name=\"env\"><arg-string><token-text>~set.environment~</token-text></arg-string></do-set-local-variable>\n%s\t\t</actions>\n\t</rule>\n</policy>\n",
		number+1, owner, fixtureTime.Format(time.DateOnly), token)
}

const styleSheetXML = "<?xml version=\"1.0\"?>\r\n<xsl:stylesheet version=\"1.0\" " +
	"xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\">\r\n<xsl:template match=\"node()|@*\"><xsl:copy/></xsl:template>\r\n</xsl:stylesheet>  \n"

func jobXML(name string) string {
	return "<job-definition display-name=\"" + name + "\" type=\"java\"><schedule>0 2 * * *</schedule></job-definition>"
}

func configValues(name, value, passwordRef string) string {
	s := "<configuration-values><definitions><definition display-name=\"" + name + "\" name=\"" + name +
		"\" type=\"string\"><value>" + value + "</value></definition>"
	if passwordRef != "" {
		s += "<definition display-name=\"secret\" name=\"" + name + ".secret\" type=\"password-ref\"><value>" + passwordRef +
			"</value></definition>"
	}
	return s + "</definitions></configuration-values>"
}

func shimConfig(name string) string {
	return "<driver-config name=\"" + name + "\"><driver-options><configuration-values><definitions>" +
		"<definition display-name=\"Service account\" name=\"svc\" " +
		"type=\"password-ref\"><value>svc-account</value></definition>" +
		"<definition display-name=\"Base\" name=\"base\" type=\"string\"><value>~driver.base~</value></definition>" +
		"</definitions></configuration-values></driver-options><subscriber-options/><publisher-options>" +
		"<configuration-values><definitions><definition display-name=\"Polling\" name=\"poll\" " +
		"type=\"integer\"><value>10</value></definition></definitions></configuration-values>" +
		"</publisher-options></driver-config>"
}

const engineControl = "<configuration-values><definitions><definition display-name=\"Retry interval\" " +
	"name=\"dirxml.engine.retry\" type=\"integer\"><value>30</value></definition></definitions></configuration-values>"
