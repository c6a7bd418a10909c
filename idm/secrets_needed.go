package idm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/internal/drivercfg"
	"github.com/01b61c5c/failover/internal/enum"
)

// SecretKind is a kind of password no export carries.
type SecretKind int

const (
	// SecretApplication is the password with which the shim logs in to its application, per server.
	SecretApplication SecretKind = iota + 1
	// SecretRemoteLoader is the password of the Remote Loader, per server.
	SecretRemoteLoader
	// SecretDriverObject is the password of the driver object itself, by which the Remote Loader knows the driver; it
	// replicates.
	SecretDriverObject
	// SecretNamed is a named password of a driver, driver set, job or resource, per server.
	SecretNamed
)

var secretKindNames = []string{SecretApplication: "application password",
	SecretRemoteLoader: "Remote Loader password", SecretDriverObject: "driver object password",
	SecretNamed: "named password"}

// String returns the kind in words.
func (k SecretKind) String() string { return enum.Name(secretKindNames, k) }

// MarshalText implements encoding.TextMarshaler.
func (k SecretKind) MarshalText() ([]byte, error) { return enum.Marshal(secretKindNames, k) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *SecretKind) UnmarshalText(text []byte) error { return enum.Parse(secretKindNames, text, k) }

// SecretNeeded is one password that has to be set on a server, who needs it, and how that is known.
type SecretNeeded struct {
	Kind        SecretKind `json:"kind"`
	Object      string     `json:"object"` // DN it is set on
	Server      string     `json:"server,omitempty"`
	Name        string     `json:"name,omitempty"` // of a named password
	DisplayName string     `json:"displayName,omitempty"`
	NeededBy    []string   `json:"neededBy"` // DNs of the objects that ask for it
	Because     string     `json:"because"`
}

// title is the kind, with the name of a named one.
func (n SecretNeeded) title() string {
	if n.Name == "" {
		return n.Kind.String()
	}
	return fmt.Sprintf("%s %q", n.Kind, n.Name)
}

// String returns one line for people.
func (n SecretNeeded) String() string {
	text := n.title() + " of " + n.Object
	if n.Server != "" {
		text += " on " + n.Server
	}
	return text + ": " + n.Because
}

// SecretList is what passwords a server needs, and where that could not be found out.
type SecretList struct {
	Needs []SecretNeeded
	Gaps  []string
}

// SecretsNeeded computes which passwords have to be set on the server forServer before the drivers can start there, and
// who needs them: from the lists of named passwords this server has, from settings of type password-ref, from policies
// that ask for a named password, and from the settings of shim and Remote Loader. This server should be the one the
// drivers ran on; where it is gone, the lists of the other server together with an export's manifest are what is left.
// It changes nothing and never sees a password.
func (s *Server) SecretsNeeded(ctx context.Context, setDN string, drivers []string, forServer string) (SecretList,
	error) {
	o := ServerDataOptions{DriverSet: setDN, Drivers: drivers}
	if err := o.validate(); err != nil {
		return SecretList{}, err
	}
	sel, err := s.selection(ctx, o)
	if err != nil {
		return SecretList{}, err
	}
	roles := fallbackRoles() // every attribute asked for is in the table
	var needs secretList
	var holders []string
	q := Query{Base: setDN, Scope: ScopeSubtree, Attributes: []string{"objectClass", "XmlData", "DirXML-Data",
		"DirXML-ConfigValues", "DirXML-ShimConfigInfo", "DirXML-JavaModule", "DirXML-ShimAuthID", "DirXML-ShimAuthServer"}}
	for e, err := range s.Entries(ctx, q) {
		if err != nil {
			return SecretList{}, err
		}
		if !sel.includes(e.DN) {
			continue
		}
		object := roles.split(e, forServer)
		needs.collect(object, object.valuesOf(forServer), forServer, sel.holder(e.DN))
		if slices.ContainsFunc([]string{"DirXML-DriverSet", "DirXML-Driver", "DirXML-Job", "DirXML-Resource"}, e.HasClass) {
			holders = append(holders, e.DN)
		}
	}
	var list SecretList
	// What the engine lists is the only first-hand source.
	slices.Sort(holders)
	stored, failed := s.namedPasswordsOf(ctx, holders)
	for _, dn := range holders {
		if err := failed[dn]; err != nil {
			if ctx.Err() != nil || unanswered(err) {
				return SecretList{}, err
			}
			list.Gaps = append(list.Gaps, fmt.Sprintf("the named passwords of %s on %s cannot be listed: %v", dn, s.DN(), err))
		}
		for _, p := range stored[dn] {
			needs.add(SecretNeeded{Kind: SecretNamed, Object: dn, Server: forServer, Name: p.Name, DisplayName: p.DisplayName,
				Because: "it is set on " + s.DN()}, dn)
		}
	}
	// Those of a driver set are available to all its drivers (documented), and a library's policies work in a driver.
	set := func(dn, name string) bool {
		return slices.ContainsFunc(holders, func(h string) bool { return SameDN(h, dn) && isListed(stored[h], name) })
	}
	needs.list = slices.DeleteFunc(needs.list, func(n SecretNeeded) bool {
		switch {
		case n.Kind != SecretNamed || set(n.Object, n.Name):
			return false
		case !SameDN(n.Object, setDN):
			return set(setDN, n.Name)
		}
		return forServer != s.DN() && slices.ContainsFunc(sel.chosen, func(d string) bool { return set(d, n.Name) })
	})
	// For the password of mutual authentication no operation is published. Only whether there is one is asked.
	q.Filter, q.Attributes = "(DirXML-MutualAuthPassword=*)", []string{"1.1"}
	for e, err := range s.Entries(ctx, q) {
		if err != nil {
			return SecretList{}, err
		}
		if sel.includes(e.DN) {
			list.Gaps = append(list.Gaps, e.DN+" has a password for mutual authentication with its Remote Loader on "+s.DN()+
				": set it again in the administration tool, no operation for it is published")
		}
	}
	list.Needs, list.Gaps = needs.sorted(), append(list.Gaps, needs.gaps...)
	return list, nil
}

// secretList collects needs without doubles.
type secretList struct {
	list  []SecretNeeded
	index map[string]int
	gaps  []string // where it could not be found out what is needed
}

func (l *secretList) add(n SecretNeeded, by string) {
	key := fmt.Sprintf("%d\x00%s\x00%s\x00%s", n.Kind, strings.ToLower(n.Object), strings.ToLower(n.Server), n.Name)
	if l.index == nil {
		l.index = map[string]int{}
	}
	i, known := l.index[key]
	if !known {
		i = len(l.list)
		l.index[key] = i
		l.list = append(l.list, n)
	}
	have := &l.list[i]
	have.DisplayName = cmp.Or(have.DisplayName, n.DisplayName)
	if by != "" && !slices.Contains(have.NeededBy, by) && len(have.NeededBy) < 100 {
		have.NeededBy = append(have.NeededBy, by)
	}
}

// joined makes one need of those that are the same.
func joined(needs []SecretNeeded) []SecretNeeded {
	var l secretList
	for _, n := range needs {
		by := n.NeededBy
		n.NeededBy = nil
		l.add(n, "")
		for _, dn := range by {
			l.add(n, dn)
		}
	}
	return l.sorted()
}

func (l *secretList) sorted() []SecretNeeded {
	slices.SortStableFunc(l.list, func(a, b SecretNeeded) int {
		return cmp.Or(byName(a.Object, b.Object), cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Server, b.Server))
	})
	return l.list
}

// remoteLoaderShim is the Java class of a driver that works through a Remote Loader.
const remoteLoaderShim = "com.novell.nds.dirxml.remote.driver.DriverShimImpl"

// collect adds what object o needs on server. driver is the DN of the driver it belongs to, or of the driver set.
// Objects come parents first, so that the driver is known before its policies.
//
// The rules are those published for cloning a vault (seen): a login name or address of the shim needs the application
// password, REMOTE( or the Remote Loader shim needs two more, each password-ref definition with a value, each
// token-named-password and each call of getNamedPassword (documented for style sheets) needs a named password.
func (l *secretList) collect(o *object, values []Attribute, server, driver string) {
	if o.class() == "DirXML-Driver" {
		auth, address := string(first(values, "DirXML-ShimAuthID")), string(first(values, "DirXML-ShimAuthServer"))
		remote := strings.Contains(address, "REMOTE(") || string(first(o.plain, "DirXML-JavaModule")) == remoteLoaderShim
		need := func(kind SecretKind, server, because string) {
			l.add(SecretNeeded{Kind: kind, Object: o.dn, Server: server, Because: because}, o.dn)
		}
		if auth != "" || address != "" {
			need(SecretApplication, server, "the driver logs in to its application")
		}
		if remote {
			need(SecretRemoteLoader, server, "the driver works through a Remote Loader")
			need(SecretDriverObject, "", "the Remote Loader knows the driver by it; it replicates")
		}
	}
	if driver == "" {
		return
	}
	settings := slices.Concat(find(values, "DirXML-ConfigValues"), find(values, "DirXML-ShimConfigInfo"))
	policies := slices.Concat(find(o.plain, "XmlData"), find(o.plain, "DirXML-Data"))
	var found []SecretNeeded
	for _, v := range settings {
		found = append(found, passwordRefs(v)...)
	}
	for _, v := range policies {
		found = append(found, namedPasswordTokens(v)...)
	}
	for _, v := range slices.Concat(settings, policies) {
		asks := bytes.HasPrefix(drivercfg.Core(v), []byte("<")) &&
			(bytes.Contains(v, []byte(typePasswordRef)) || bytes.Contains(v, []byte(namedPasswordToken)))
		if err := eachToken(v, func(xml.Token, int) {}); asks && err != nil {
			l.gaps = append(l.gaps, fmt.Sprintf("which passwords %s asks for: it cannot be read to its end: %v", o.dn, err))
		}
	}
	for _, n := range found {
		if n.Name == "" {
			l.gaps = append(l.gaps, "which password "+o.dn+" asks for: "+n.Because)
			continue
		}
		n.Kind, n.Object, n.Server = SecretNamed, driver, server
		l.add(n, o.dn)
	}
}

// What asks for a named password.
const (
	typePasswordRef    = "password-ref"
	namedPasswordToken = "token-named-password"
)

func first(list []Attribute, name string) []byte { return Entry{Attributes: list}.Value(name) }

// passwordRefs finds the definitions of type password-ref that have a value, and the elements of that type that older
// drivers have in its place (documented): it is the name of a named password.
func passwordRefs(doc []byte) []SecretNeeded {
	if !bytes.Contains(doc, []byte(typePasswordRef)) {
		return nil
	}
	var found []SecretNeeded
	var display string
	inRef, old, inValue := 0, false, false
	var text strings.Builder
	_ = eachToken(doc, func(tok xml.Token, depth int) {
		switch t := tok.(type) {
		case xml.StartElement:
			if xmlAttr(t, "type") == typePasswordRef {
				inRef, display, old = depth, xmlAttr(t, "display-name"), t.Name.Local != "definition"
			}
			inValue = inRef > 0 && (t.Name.Local == "value" || old && depth == inRef)
			text.Reset()
		case xml.CharData:
			if inValue {
				text.Write(t)
			}
		case xml.EndElement:
			if name := strings.TrimSpace(text.String()); inValue && name != "" {
				found = append(found, SecretNeeded{Name: name, DisplayName: display,
					Because: "a setting of type password-ref names it"})
			}
			inValue = false
			text.Reset()
			if depth < inRef {
				inRef = 0
			}
		}
	})
	return found
}

// namedPasswordCall is how style sheets and scripts ask for a named password; the name is the last argument.
var (
	namedPasswordCall = regexp.MustCompile(`getNamedPassword\s*\(([^()]*)\)`)
	lastLiteral       = regexp.MustCompile(`(?:'([^']+)'|"([^"]+)")\s*$`)
)

// namedPasswordTokens finds the named passwords a policy, a style sheet or a script asks for. One without a name is asked
// for by a name that is computed.
func namedPasswordTokens(doc []byte) []SecretNeeded {
	var found []SecretNeeded
	if bytes.Contains(doc, []byte(namedPasswordToken)) {
		_ = eachToken(doc, func(tok xml.Token, _ int) {
			if t, ok := tok.(xml.StartElement); ok && t.Name.Local == namedPasswordToken {
				if name := xmlAttr(t, "name"); name != "" {
					found = append(found, SecretNeeded{Name: name, Because: "a policy asks for it (token-named-password)"})
				}
			}
		})
	}
	for _, call := range namedPasswordCall.FindAllSubmatch(doc, -1) {
		n := SecretNeeded{Because: "getNamedPassword is called with a name that is computed"}
		if name := lastLiteral.FindStringSubmatch(html.UnescapeString(string(call[1]))); name != nil {
			n = SecretNeeded{Name: name[1] + name[2], Because: "a style sheet or script asks for it (getNamedPassword)"}
		}
		found = append(found, n)
	}
	return found
}

// eachToken reads a document; depth counts the open elements after the token. The error says that it could not be read
// to its end.
func eachToken(doc []byte, fn func(tok xml.Token, depth int)) error {
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.Strict = false
	d.AutoClose = nil
	// What is looked for is ASCII, and so are the marks around it in every encoding that is not of two bytes.
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	depth := 0
	for {
		tok, err := d.RawToken()
		switch {
		case errors.Is(err, io.EOF) && depth == 0:
			return nil
		case err != nil:
			return err
		}
		switch tok.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		fn(tok, depth)
	}
}

func xmlAttr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}
