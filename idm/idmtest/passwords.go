package idmtest

import (
	"slices"

	ber "github.com/go-asn1-ber/asn1-ber"
)

func setAppPassword(k *call) *result {
	if len(k.args[0].octets) == 0 {
		return nds(-641)
	}
	k.srv.engine.vaultOf(k.n.id).Application = digest("application", k.args[0].octets)
	k.showPassword([]byte(digest(k.srv.name, k.args[0].octets))[:8])
	return k.kept()
}

func clearAppPassword(k *call) *result {
	k.srv.engine.vaultOf(k.n.id).Application = ""
	k.showPassword(nil)
	return k.kept()
}

// showPassword sets what a reader of DirXML-ShimAuthPassword sees: eight bytes, useless on any other server.
func (k *call) showPassword(value []byte) {
	set := k.n.local[k.srv.name].clone()
	delete(set, "dirxml-shimauthpassword")
	if value != nil {
		set["dirxml-shimauthpassword"] = attribute{name: "DirXML-ShimAuthPassword", values: [][]byte{value}}
	}
	k.n.local[k.srv.name] = set
	k.tree.markEntry(k.n)
}

func setRemotePassword(k *call) *result {
	if len(k.args[0].octets) == 0 {
		return nds(-641)
	}
	k.srv.engine.vaultOf(k.n.id).RemoteLoader = digest("remote loader", k.args[0].octets)
	return k.kept()
}

func clearRemotePassword(k *call) *result {
	k.srv.engine.vaultOf(k.n.id).RemoteLoader = ""
	return k.kept()
}

func setNamedPassword(k *call) *result {
	name, display, value := k.args[0].text(), k.args[1].text(), k.args[2].octets
	if name == "" || len(value) == 0 {
		return nds(-641)
	}
	k.srv.engine.vaultOf(k.n.id).Named[foldCase(name)] = namedPassword{Name: name, Display: display,
		Digest: digest("named", value)}
	return k.kept()
}

func removeNamedPassword(k *call) *result {
	v, key := k.srv.engine.vaultOf(k.n.id), foldCase(k.args[0].text())
	if _, ok := v.Named[key]; !ok {
		return nds(-602)
	}
	delete(v.Named, key)
	return k.kept()
}

func removeNamedPasswords(k *call) *result {
	k.srv.engine.vaultOf(k.n.id).Named = map[string]namedPassword{}
	return k.kept()
}

func listNamedPasswords(k *call) *result {
	v := k.srv.engine.vaultOf(k.n.id)
	list := []*ber.Packet{}
	for _, p := range v.sorted() {
		list = append(list, newSequence(newString(p.Name), newString(p.Display)))
	}
	return valueOf(list...)
}

func (v *vault) sorted() []namedPassword {
	list := make([]namedPassword, 0, len(v.Named))
	for _, p := range v.Named {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b namedPassword) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

func (k *call) kept() *result {
	k.tree.markServer(k.srv)
	return &result{}
}

// Passwords are the secrets of one driver.
type Passwords struct {
	Application  string
	RemoteLoader string
	Object       string
	Named        map[string]string
}

// expected are digests of what the application and the Remote Loader of a driver want to hear.
type expected struct{ Application, RemoteLoader, Object string }

func (t *Tree) expected(driver int) expected { return t.app(driver).Expected }

// Expect sets the passwords the application and the Remote Loader of a driver accept; empty ones accept any. A start
// with other passwords fails.
func (t *Tree) Expect(driver string, p Passwords) {
	t.lock()
	defer t.mu.Unlock()
	n := t.find(driver)
	if n == nil {
		return
	}
	var e expected
	set := func(field *string, scope, value string) {
		if value != "" {
			*field = digest(scope, []byte(value))
		}
	}
	set(&e.Application, "application", p.Application)
	set(&e.RemoteLoader, "remote loader", p.RemoteLoader)
	set(&e.Object, "bind", p.Object)
	t.app(n.id).Expected = e
	t.markApp(n.id)
	t.commit()
}

// HasPassword tells whether the named secret of an entry is set on this server to the given value. Kind is
// "application", "remote loader", "object" or "named".
func (s *Server) HasPassword(entry, kind, name, value string) bool {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	n := s.tree.find(entry)
	if n == nil {
		return false
	}
	v := s.engine.vault[n.id]
	if v == nil {
		v = &vault{}
	}
	switch kind {
	case "application":
		return v.Application == digest(kind, []byte(value))
	case "remote loader":
		return v.RemoteLoader == digest(kind, []byte(value))
	case "object":
		return n.password == digest("bind", []byte(value))
	case "named":
		return v.Named[foldCase(name)].Digest == digest(kind, []byte(value))
	}
	return false
}
