package idm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
)

// Attribute is a name with its values, as bytes: XML attributes are never normalised.
type Attribute struct {
	Name   string
	Values [][]byte
}

// Text makes an attribute of text values.
func Text(name string, values ...string) Attribute {
	a := Attribute{Name: name, Values: make([][]byte, len(values))}
	for i, v := range values {
		a.Values[i] = []byte(v)
	}
	return a
}

// Entry is one entry of the directory.
type Entry struct {
	DN         string
	Attributes []Attribute
}

// Get returns the values of an attribute, whose name is compared without case; nil when the entry has none.
func (e Entry) Get(name string) [][]byte {
	for _, a := range e.Attributes {
		if strings.EqualFold(a.Name, name) {
			return a.Values
		}
	}
	return nil
}

// Value returns the first value of an attribute, nil when the entry has none.
func (e Entry) Value(name string) []byte {
	if values := e.Get(name); len(values) > 0 {
		return values[0]
	}
	return nil
}

// Text returns the first value as text, "" when there is none.
func (e Entry) Text(name string) string { return string(e.Value(name)) }

// Texts returns all values as text.
func (e Entry) Texts(name string) []string { return stringsOf(e.Get(name)) }

// HasClass reports whether the entry has the object class.
func (e Entry) HasClass(class string) bool {
	return slices.ContainsFunc(e.Get("objectClass"), func(v []byte) bool { return strings.EqualFold(string(v), class) })
}

// Scope says how deep a search goes, by the numbers of RFC 4511 §4.5.1.
type Scope int

const (
	// ScopeBase looks at one entry.
	ScopeBase Scope = iota
	// ScopeOne looks at the entries directly below.
	ScopeOne
	// ScopeSubtree looks at the entry and everything below.
	ScopeSubtree
)

// Query is a search.
type Query struct {
	Base       string
	Scope      Scope
	Filter     string   // "" means every entry
	Attributes []string // none means all user attributes
	PageSize   int      // ask in pages where the server offers it; 0 means one answer, streamed
}

// Entries searches and yields entries as they arrive; memory does not grow with the result. The loop ends with at most
// one error. A referral is reported as [ErrWrongServer]: the SDK never follows one, because per-server values of
// another server would look like those of this one.
func (s *Server) Entries(ctx context.Context, q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			yielded := false
			pooled, err := s.search(ctx, q, func(e Entry) bool {
				yielded = true
				return yield(e, nil)
			})
			if pooled && !yielded && ctx.Err() == nil && errors.Is(err, ErrLineLost) {
				continue // a read is harmless to repeat, and entries the caller has seen are not
			}
			if err != nil {
				yield(Entry{}, err)
			}
			return
		}
	}
}

// search hands out entries until the search ends or the caller has enough. The bool is true when the connection had
// been resting.
func (s *Server) search(ctx context.Context, q Query, yield func(Entry) bool) (pooled bool, err error) {
	r := request{op: "search", target: q.Base, effect: reads}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The time limit is between two entries: an export of a million entries takes as long as it takes. It does not run
	// while the caller works on an entry.
	timer := time.AfterFunc(s.conf.CallTimeout, func() { cancel(s.late()) })
	defer timer.Stop()

	l, fresh, err := s.acquire(ctx)
	if err != nil {
		return false, err
	}
	keep := false
	defer func() {
		// First the search: while its results wait for a reader the library's Close would wait for it.
		cancel(nil)
		s.release(l, keep)
	}()
	stop := context.AfterFunc(ctx, func() { _ = l.raw.Close() })
	defer stop()

	req := &ldap.SearchRequest{BaseDN: q.Base, Scope: int(q.Scope), Filter: cmp.Or(q.Filter, "(objectClass=*)"),
		Attributes: q.Attributes, DerefAliases: ldap.NeverDerefAliases}
	var paging *ldap.ControlPaging
	if q.PageSize > 0 && slices.Contains(s.RootDSE().Controls, ldap.ControlTypePaging) {
		paging = ldap.NewControlPaging(uint32(q.PageSize)) //nolint:gosec // positive and small
		req.Controls = append(req.Controls, paging)
	}
	for {
		before := l.raw.written.Load()
		response := l.ldap.SearchAsync(ctx, req, 16)
		var cookie []byte
		for response.Next() {
			timer.Stop()
			if response.Referral() != "" {
				return !fresh, notDone(r.op, q.Base, "connect to the server that holds the replica, or add one to "+s.DN(),
					fmt.Errorf("%w: it refers to %s", ErrWrongServer, response.Referral()))
			}
			if c, ok := ldap.FindControl(response.Controls(), ldap.ControlTypePaging).(*ldap.ControlPaging); ok {
				cookie = c.Cookie
			}
			if e := response.Entry(); e != nil && !yield(fromLDAP(e)) {
				return !fresh, nil
			}
			timer.Reset(s.conf.CallTimeout)
		}
		err := response.Err()
		if err == nil {
			// The library reports neither a cancelled search nor one on a dead connection as an error.
			switch {
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case l.raw.written.Load() == before:
				err = errors.New("the connection was closed before the search was sent")
			default:
				err = l.ldap.GetLastError()
			}
		}
		answered, err := s.judge(ctx, r, true, err)
		if err != nil {
			keep = answered && stop()
			return !fresh, err
		}
		if paging == nil || len(cookie) == 0 {
			keep = stop()
			return !fresh, nil
		}
		paging.SetCookie(cookie)
	}
}

func fromLDAP(e *ldap.Entry) Entry {
	entry := Entry{DN: e.DN, Attributes: make([]Attribute, 0, len(e.Attributes))}
	for _, a := range e.Attributes {
		entry.Attributes = append(entry.Attributes, Attribute{Name: a.Name, Values: a.ByteValues})
	}
	return entry
}

// Find returns all entries of a search. For results that may be large use [Server.Entries].
func (s *Server) Find(ctx context.Context, q Query) ([]Entry, error) {
	var entries []Entry
	for e, err := range s.Entries(ctx, q) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Read returns one entry; [ErrNoEntry] when it does not exist on this server.
func (s *Server) Read(ctx context.Context, dn string, attributes ...string) (Entry, error) {
	entries, err := s.Find(ctx, Query{Base: dn, Scope: ScopeBase, Attributes: attributes})
	if err != nil {
		return Entry{}, err
	}
	if len(entries) != 1 {
		return Entry{}, notDone("read", dn, "check the DN and the rights of the user", ErrNoEntry)
	}
	return entries[0], nil
}

// Exists reports whether the entry exists and is visible to the user.
func (s *Server) Exists(ctx context.Context, dn string) (bool, error) {
	_, err := s.Read(ctx, dn, "1.1")
	if errors.Is(err, ErrNoEntry) {
		return false, nil
	}
	return err == nil, err
}

// Add creates an entry. A lost answer leaves [failover.InDoubt]: read the entry. Repeating it is safe in so far as an
// entry that exists is refused with [ErrExists].
func (s *Server) Add(ctx context.Context, dn string, attributes ...Attribute) error {
	req := ldap.NewAddRequest(dn, nil)
	for _, a := range attributes {
		req.Attribute(a.Name, stringsOf(a.Values))
	}
	return s.write(ctx, request{op: "add", target: dn}, func(c *ldap.Conn) error { return c.Add(req) })
}

func (s *Server) write(ctx context.Context, r request, call func(*ldap.Conn) error) error {
	if err := checkDN("dn", r.target); err != nil {
		return err
	}
	r.effect = writes
	return s.do(ctx, r, call)
}

// ChangeKind says what a Change does to an attribute.
type ChangeKind int

const (
	// ChangeReplace puts the values in place of all others; no values removes the attribute, whether it exists or not.
	ChangeReplace ChangeKind = iota + 1
	// ChangeAdd adds values.
	ChangeAdd
	// ChangeDelete removes these values, or the whole attribute when none are named; what is not there is refused.
	ChangeDelete
)

// AttributeChange is one change of one attribute.
type AttributeChange struct {
	Kind ChangeKind
	Attribute
}

// Modify changes an entry: all changes or none (RFC 4511 §4.6). Replace is safe to repeat; AddValues and DeleteValues
// are refused the second time ([ErrExists], [ErrNoAttribute]). A lost answer leaves [failover.InDoubt].
func (s *Server) Modify(ctx context.Context, dn string, changes ...AttributeChange) error {
	return s.modify(ctx, request{op: "modify", target: dn}, changes...)
}

func (s *Server) modify(ctx context.Context, r request, changes ...AttributeChange) error {
	req := ldap.NewModifyRequest(r.target, nil)
	for _, c := range changes {
		switch c.Kind {
		case ChangeReplace:
			req.Replace(c.Name, stringsOf(c.Values))
		case ChangeAdd:
			req.Add(c.Name, stringsOf(c.Values))
		case ChangeDelete:
			req.Delete(c.Name, stringsOf(c.Values))
		default:
			return failover.Invalid("AttributeChange.Kind", "is not set", "use ChangeReplace, ChangeAdd or ChangeDelete")
		}
	}
	return s.write(ctx, r, func(c *ldap.Conn) error { return c.Modify(req) })
}

// Delete removes an entry without children; [ErrNoEntry] when it is not there.
func (s *Server) Delete(ctx context.Context, dn string) error {
	return s.write(ctx, request{op: "delete", target: dn}, func(c *ldap.Conn) error {
		return c.Del(ldap.NewDelRequest(dn, nil))
	})
}

func escapeFilter(value string) string { return ldap.EscapeFilter(value) }

func stringsOf(values [][]byte) []string {
	var texts []string
	for _, v := range values {
		texts = append(texts, string(v)) // the library writes a string's bytes as they are
	}
	return texts
}

func sameValues(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	sorted := func(v [][]byte) [][]byte {
		v = slices.Clone(v)
		slices.SortFunc(v, bytes.Compare)
		return v
	}
	return slices.EqualFunc(sorted(a), sorted(b), bytes.Equal)
}
