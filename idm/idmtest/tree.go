package idmtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/01b61c5c/failover"
)

// Tree is a directory tree of several servers on 127.0.0.1. Its methods may be called from several goroutines.
type Tree struct {
	cfg    Config
	schema *schema
	ca     *authority

	mu       sync.Mutex
	root     *node
	nodes    map[int]*node
	nextID   int
	servers  []*Server
	faults   []*armedFault
	requests []Request
	seq      int    // of requests
	event    uint64 // of changes to objects
	objects  map[int]*object
	apps     map[int]*application
	overlaps []Overlap
	acls     map[string]acl    // parsed values
	namers   map[int]*node     // entries that name others
	nameKeys map[string]string // comparison forms of name values
	store    *store
	dirty    map[string]bool
	closed   bool

	wg sync.WaitGroup
}

// inMemory builds the tree cfg describes, and starts its servers.
func inMemory(cfg Config) (*Tree, error) {
	t, err := newTree(cfg)
	if err != nil {
		return nil, err
	}
	if t.ca, err = newAuthority(t.cfg.Name, t.cfg.LegacyTLS); err != nil {
		return nil, err
	}
	if err := t.build(); err != nil {
		return nil, err
	}
	if err := t.listenAll(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func newTree(cfg Config) (*Tree, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Tree{
		cfg: cfg, schema: newSchema(), nodes: map[int]*node{}, objects: map[int]*object{}, apps: map[int]*application{},
		dirty: map[string]bool{}, acls: map[string]acl{}, namers: map[int]*node{}, nameKeys: map[string]string{},
	}
	if cfg.OldSchema {
		t.schema.attr("DirXML-DriverStartOption").traits |= quietOwned
	}
	t.root = newNode(0, rdn{}, nil)
	t.root.partition = true
	t.nodes[0] = t.root
	for i, sc := range cfg.Servers {
		t.servers = append(t.servers, newServer(t, i, sc))
	}
	return t, nil
}

// Start builds a tree in memory for a test, which closes it.
func Start(tb testing.TB, cfg Config) *Tree {
	tb.Helper()
	t, err := Open("", cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(); err != nil {
			tb.Fatalf("idmtest: close: %v", err)
		}
	})
	return t
}

func (t *Tree) listenAll() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.servers {
		if err := s.listen(); err != nil {
			return err
		}
		if len(s.listeners) == 0 && s.ports[clearPort] != 0 {
			s.hold() // it was down when the tree was kept
		}
	}
	return nil
}

// Close stops all servers and waits until nothing of the tree runs any more. It is no failure of the simulated servers:
// a tree opened from a folder keeps its state.
func (t *Tree) Close() error {
	t.mu.Lock()
	t.closed = true
	for _, s := range t.servers {
		s.hangUp()
		s.letGo()
	}
	t.mu.Unlock()
	t.wg.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.store != nil {
		err := t.store.close()
		t.store = nil
		return err
	}
	return nil
}

// Name is the tree's name.
func (t *Tree) Name() string { return t.cfg.Name }

// Servers returns the servers in the order of the configuration.
func (t *Tree) Servers() []*Server { return append([]*Server(nil), t.servers...) }

// Server returns the server with the given short name or the distinguished name of its object, nil when there is none.
func (t *Tree) Server(name string) *Server {
	for _, s := range t.servers {
		if foldCase(s.name) == foldCase(name) || dnKey(s.dn) == dnKey(name) {
			return s
		}
	}
	return nil
}

func (t *Tree) now() time.Time { return t.cfg.Now() }

// holder is a living server with a replica of the partition, nil when there is none.
func (t *Tree) holder(partition *node) *Server {
	for _, s := range t.servers {
		if s.up && s.reachable && s.holdsData(partition) {
			return s
		}
	}
	return nil
}

// Drivers returns the distinguished names of all drivers, in the order they were created.
func (t *Tree) Drivers() []string { return t.namesOf("DirXML-Driver") }

// Jobs returns the distinguished names of all jobs.
func (t *Tree) Jobs() []string { return t.namesOf("DirXML-Job") }

// DriverSets returns the distinguished names of all driver sets.
func (t *Tree) DriverSets() []string { return t.namesOf("DirXML-DriverSet") }

// Users returns the distinguished names of all persons below UsersDN, the objects that drivers synchronize.
func (t *Tree) Users() []string {
	return slices.DeleteFunc(t.namesOf("inetOrgPerson"), func(name string) bool {
		return !strings.HasSuffix(dnKey(name), ","+dnKey(UsersDN))
	})
}

func (t *Tree) namesOf(class string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []string
	t.root.walk(func(n *node) {
		if n.isA(class) {
			list = append(list, n.String())
		}
	})
	return list
}

func (n *node) walk(visit func(*node)) {
	if n.parent != nil {
		visit(n)
	}
	for _, k := range n.kids {
		k.walk(visit)
	}
}

// Get returns the values of an attribute as the named server holds them, without regard to rights; nil when the entry
// or the attribute is not there. Passwords are never returned.
func (t *Tree) Get(server, name, attr string) []string {
	t.lock()
	defer t.mu.Unlock()
	n, at := t.find(name), t.schema.attr(attr)
	for _, s := range t.servers {
		if n != nil && at != nil && foldCase(s.name) == foldCase(server) {
			var list []string
			for _, v := range t.values(n, at, s) {
				list = append(list, string(v))
			}
			return list
		}
	}
	return nil
}

// Exists tells whether the tree holds an entry of that name.
func (t *Tree) Exists(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.find(name) != nil
}

// AddUser creates a person that can bind, browse and read the whole tree, and has the given rights besides: for
// instance write on DirXML-AccessRun of the driver set, or supervisor (16) on "[Entry Rights]" of the root.
func (t *Tree) AddUser(name, password string, grants ...Grant) error {
	t.lock()
	defer t.mu.Unlock()
	parsed, err := parseDN(name)
	if err != nil || len(parsed) == 0 {
		return failover.Invalid("name", fmt.Sprintf("%q is no distinguished name", name),
			"a name such as cn=operator,o=system")
	}
	if err := t.put(name, "inetOrgPerson", values{"sn": {parsed[0].attrs[0].value}}); err != nil {
		return err
	}
	t.find(name).password = digest("bind", []byte(password))
	grants = append(grants, Grant{Rights: rightRead | rightCompare, Attribute: allAttributes},
		Grant{Rights: entryBrowse, Attribute: entryRights})
	for _, g := range grants {
		if err := t.grant(name, g); err != nil {
			return err
		}
	}
	t.commit()
	return nil
}

// Grant is one right: 1 compare, 2 read, 4 write, 32 supervisor for attributes; 1 browse, 2 create, 4 delete, 8 rename,
// 16 supervisor for "[Entry Rights]". It holds for On and everything below; an empty On is the root.
type Grant struct {
	On        string
	Rights    int
	Attribute string
}

// Filter lets of the rights on an attribute that are given further up only g.Rights through to On and below, but for
// those of a supervisor: with 0 it is hidden there.
func (t *Tree) Filter(g Grant) error {
	t.lock()
	defer t.mu.Unlock()
	err := t.grant(maskTrustee, g)
	t.commit()
	return err
}

func (t *Tree) grant(trustee string, g Grant) error {
	n := t.find(g.On)
	if n == nil {
		return failover.Invalid("On", fmt.Sprintf("no entry %q", g.On), "the name of an entry of the tree")
	}
	value := fmt.Sprintf("%d#subtree#%s#%s", g.Rights, trustee, g.Attribute)
	old := n.shared["acl"].values
	n.shared["acl"] = attribute{name: "ACL", values: append(old[:len(old):len(old)], []byte(value))}
	t.markEntry(n)
	return nil
}

// Active lists the servers on which a driver is in any state but stopped, killed servers excluded and unplugged ones
// included.
func (t *Tree) Active(driver string) []string {
	t.lock()
	defer t.mu.Unlock()
	var list []string
	for _, s := range t.servers {
		if d := s.driver(driver); d != nil && d.State != StateStopped {
			list = append(list, s.name)
		}
	}
	return list
}

// lock takes the tree and lets the engines catch up with the clock.
func (t *Tree) lock() {
	t.mu.Lock()
	t.advance()
}

// WaitState waits until a driver is in the wanted state on a server, or ctx ends. It is for tests that cannot do
// without the engine's own pace.
func (t *Tree) WaitState(ctx context.Context, server, driver string, want State) error {
	for {
		s := t.Server(server)
		if s == nil {
			return failover.Invalid("server", fmt.Sprintf("no server %q", server), "a server of the tree")
		}
		if s.State(driver) == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("idmtest: %s on %s is %s, not %s: %w", driver, server, s.State(driver), want, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}
