package idmtest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// vault is what one engine keeps secret for one entry. Only digests are kept.
type vault struct {
	Application  string
	RemoteLoader string
	Named        map[string]namedPassword
}

type namedPassword struct {
	Name    string
	Display string
	Digest  string
}

func (e *engine) vaultOf(id int) *vault {
	v := e.vault[id]
	if v == nil {
		v = &vault{Named: map[string]namedPassword{}}
		e.vault[id] = v
	}
	return v
}

// startProblem is why a start fails, "" when it succeeds. The engine reads everything at the start and only then.
func (t *Tree) startProblem(s *Server, n *node, d *engineDriver) string {
	if d.Behaviour.FailStarts != 0 {
		if d.Behaviour.FailStarts > 0 {
			d.Behaviour.FailStarts--
		}
		if d.Behaviour.Reason != "" {
			return d.Behaviour.Reason
		}
		return "Code(-9005) The driver returned a \"fatal\" status indicating that the driver should be shut down"
	}
	read := func(name string) string { return n.first(t.schema.attr(name), s.name) }
	switch {
	case read("DirXML-JavaModule") == "" && read("DirXML-NativeModule") == "":
		return "Code(-9010) An exception occurred: no driver module is configured"
	case read("DirXML-ShimConfigInfo") == "":
		return "Code(-9005) The driver has no parameters on this server"
	}
	if reason := t.passwordProblem(s, n); reason != "" {
		return reason
	}
	return t.valueProblem(s, n)
}

func (t *Tree) passwordProblem(s *Server, n *node) string {
	v := s.engine.vaultOf(n.id)
	authID, authServer := n.first(t.schema.attr("DirXML-ShimAuthID"), s.name),
		n.first(t.schema.attr("DirXML-ShimAuthServer"), s.name)
	remote := strings.Contains(strings.ToUpper(authServer), "REMOTE(")
	expected := t.expected(n.id)
	switch {
	case remote && v.RemoteLoader == "":
		return "Code(-9006) No Remote Loader password is set on this server"
	case remote && expected.RemoteLoader != "" && v.RemoteLoader != expected.RemoteLoader:
		return "Code(-9006) The Remote Loader refused the connection: wrong password"
	case remote && n.password == "":
		return "Code(-9006) The driver object has no password"
	case remote && expected.Object != "" && n.password != expected.Object:
		return "Code(-9006) The Remote Loader does not know the driver object password"
	case authID != "" && v.Application == "":
		return "Code(-9005) No application password is set on this server"
	case authID != "" && expected.Application != "" && v.Application != expected.Application:
		return "Code(-9005) The application refused the login of " + authID
	}
	own, set := v.Named, s.engine.vaultOf(setOf(n).id).Named
	for _, name := range t.namedPasswordRefs(s, n) {
		key := foldCase(name)
		if own[key].Digest == "" && set[key].Digest == "" {
			return fmt.Sprintf("Code(-9010) Named password '%s' is not set on this server", name)
		}
	}
	return ""
}

var (
	gcvReference   = regexp.MustCompile(`~([A-Za-z][A-Za-z0-9._-]*)~`)
	namedPassToken = regexp.MustCompile(`<token-named-password\s+name="([^"]+)"`)
)

// valueProblem looks for global configuration values that are used and not defined on this server.
func (t *Tree) valueProblem(s *Server, n *node) string {
	defined := map[string]bool{"dirxml.auto.driverdn": true}
	for _, e := range t.valueHolders(n) {
		for _, d := range definitions(e.first(t.schema.attr("DirXML-ConfigValues"), s.name)) {
			defined[d.name] = true
		}
	}
	used := []string{n.first(t.schema.attr("DirXML-ShimConfigInfo"), s.name)}
	n.walk(func(e *node) { used = append(used, e.first(t.schema.attr("XmlData"), s.name)) })
	for _, text := range used {
		for _, m := range gcvReference.FindAllStringSubmatch(text, -1) {
			if !defined[m[1]] {
				return fmt.Sprintf("Code(-9131) Error in policy: the global configuration value '%s' is not defined on this server",
					m[1])
			}
		}
	}
	return ""
}

// valueHolders are the entries whose values apply to a driver: itself, its set, its own definition objects and the
// linked ones.
func (t *Tree) valueHolders(n *node) []*node {
	list := []*node{n}
	if set := setOf(n); set != nil {
		list = append(list, set)
	}
	add := func(e *node) {
		if e != nil && e.isA("DirXML-GlobalConfigDef") && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	n.walk(add)
	for _, v := range n.shared["dirxml-policies"].values {
		name, _, _ := strings.Cut(string(v), "#")
		add(t.find(name))
	}
	return list
}

// namedPasswordRefs lists the named passwords a driver uses on a server.
func (t *Tree) namedPasswordRefs(s *Server, n *node) []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	texts := []string{n.first(t.schema.attr("DirXML-ShimConfigInfo"), s.name)}
	for _, e := range t.valueHolders(n) {
		texts = append(texts, e.first(t.schema.attr("DirXML-ConfigValues"), s.name))
	}
	for _, text := range texts {
		for _, d := range definitions(text) {
			if d.kind == "password-ref" {
				add(d.value)
			}
		}
	}
	n.walk(func(e *node) {
		for _, m := range namedPassToken.FindAllStringSubmatch(e.first(t.schema.attr("XmlData"), s.name), -1) {
			add(m[1])
		}
	})
	return names
}

type definition struct{ name, kind, value string }

// definitions reads the definition elements of a configuration-values document; broken XML defines nothing.
func definitions(text string) []definition {
	dec := xml.NewDecoder(bytes.NewReader([]byte(text)))
	var list []definition
	inValue := false
	for {
		token, err := dec.Token()
		if err != nil {
			return list
		}
		switch e := token.(type) {
		case xml.StartElement:
			inValue = e.Name.Local == "value"
			if e.Name.Local == "definition" {
				var d definition
				for _, a := range e.Attr {
					switch a.Name.Local {
					case "name":
						d.name = a.Value
					case "type":
						d.kind = a.Value
					}
				}
				list = append(list, d)
			}
		case xml.CharData:
			if inValue && len(list) > 0 {
				list[len(list)-1].value += strings.TrimSpace(string(e))
			}
		case xml.EndElement:
			inValue = false
		}
	}
}
