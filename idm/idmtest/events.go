package idmtest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// object is the last change of an entry that drivers synchronize.
type object struct {
	Event uint64
	At    time.Time
}

// event is one entry of an event cache.
type event struct {
	Object int
	Event  uint64
	At     time.Time
	Resync bool   `json:",omitempty"`
	XML    string `json:",omitempty"` // queued by a client
}

// eventBytes is how many bytes of the cache file one event takes.
const eventBytes = 412

// application is the system at the far end of a driver.
type application struct {
	Counters
	// Seen is the last event applied per object, By the server that brought it.
	Seen map[int]uint64
	By   map[int]string
	// Expected are the passwords the application takes.
	Expected expected
}

// Counters are the figures of one driver over all servers.
type Counters struct {
	Starts        int // starts begun, also those that failed
	AutoResyncs   int // resyncs caused by leaving Disabled
	Resyncs       int // resyncs asked for
	OptionChanges int
	Connections   int // connections the application has seen
	MaxConnected  int // most servers connected to the application at one time
	Deliveries    int // events the application was given
	Doubles       int // events it was given by two servers
	JobRuns       int
}

// Overlap is a driver that was active on two servers at once.
type Overlap struct {
	Driver  string
	Servers []string
	At      time.Time
}

func (t *Tree) app(driver int) *application {
	a := t.apps[driver]
	if a == nil {
		a = &application{Seen: map[int]uint64{}, By: map[int]string{}}
		t.apps[driver] = a
	}
	return a
}

func (t *Tree) counters(driver int) *Counters {
	t.markApp(driver)
	return &t.app(driver).Counters
}

// setState moves a driver to another state and keeps the books: a driver is active in every state but stopped.
func (t *Tree) setState(s *Server, driver int, d *engineDriver, to State) {
	was := d.State
	d.State = to
	t.markDriver(s, driver)
	if was == StateStopped && to != StateStopped {
		active := []string{s.name}
		for _, other := range t.servers {
			if other != s && other.engine.drivers[driver] != nil && other.engine.drivers[driver].State != StateStopped {
				active = append(active, other.name)
			}
		}
		if len(active) > 1 {
			slices.Sort(active)
			t.overlaps = append(t.overlaps, Overlap{Driver: t.nodes[driver].String(), Servers: active, At: t.now()})
			t.markTree()
		}
	}
	if to == StateRunning && was != StateRunning {
		c := t.counters(driver)
		c.Connections++
		connected := 0
		for _, other := range t.servers {
			if o := other.engine.drivers[driver]; o != nil && (o.State == StateRunning || o.State == StateStopping) {
				connected++
			}
		}
		c.MaxConnected = max(c.MaxConnected, connected)
	}
}

// emit turns a change of an object into an event for every engine that caches or runs a driver.
func (t *Tree) emit(n *node) {
	t.event++
	t.objects[n.id] = &object{Event: t.event, At: t.now()}
	t.markObject(n.id)
	t.markTree()
	for _, s := range t.servers {
		if !s.up || !s.holdsData(n.partitionRoot()) {
			continue
		}
		s.lastEvent = t.event
		t.markServer(s)
		for _, id := range sortedKeys(s.engine.drivers) {
			d := s.engine.serving(t.nodes[id])
			if d == nil || d.Option == StartDisabled {
				continue
			}
			cache := &d.Cache
			if d.Behaviour.OutOfBand {
				cache = &d.Ahead
			}
			*cache = append(*cache, event{Object: n.id, Event: t.event, At: t.now()})
			t.markDriver(s, id)
			t.deliver(s, id, d)
		}
	}
}

// deliver lets a running driver empty its cache into the application.
func (t *Tree) deliver(s *Server, driver int, d *engineDriver) {
	waiting := slices.Concat(d.Ahead, d.Cache)
	if d.State != StateRunning || len(waiting) == 0 || d.Behaviour.HoldEvents {
		return
	}
	a := t.app(driver)
	for _, ev := range waiting {
		a.Deliveries++
		if ev.XML != "" {
			continue
		}
		if !ev.Resync && a.Seen[ev.Object] == ev.Event && a.By[ev.Object] != s.name {
			a.Doubles++
		}
		if ev.Event >= a.Seen[ev.Object] {
			a.Seen[ev.Object], a.By[ev.Object] = ev.Event, s.name
		}
	}
	d.Cache, d.Ahead = nil, nil
	t.markDriver(s, driver)
	t.markApp(driver)
}

// Change modifies the named objects, all users when none is named, as an application or an administrator would.
func (t *Tree) Change(names ...string) {
	if len(names) == 0 {
		names = t.Users()
	}
	t.lock()
	defer t.mu.Unlock()
	for _, name := range names {
		if n := t.find(name); n != nil {
			t.touch(n)
		}
	}
	t.commit()
}

// Missing lists the objects whose last change the application of a driver has not heard of.
func (t *Tree) Missing(driver string) []string {
	t.lock()
	defer t.mu.Unlock()
	d := t.find(driver)
	if d == nil {
		return nil
	}
	a := t.app(d.id)
	var list []string
	for _, id := range sortedKeys(t.objects) {
		if n := t.nodes[id]; n != nil && t.objects[id].Event > a.Seen[id] {
			list = append(list, n.String())
		}
	}
	return list
}

// Counters returns the figures of a driver.
func (t *Tree) Counters(driver string) Counters {
	t.lock()
	defer t.mu.Unlock()
	n := t.find(driver)
	if n == nil || t.apps[n.id] == nil {
		return Counters{}
	}
	return t.apps[n.id].Counters
}

// Overlaps returns every time a driver was active on two servers at once. It must stay empty.
func (t *Tree) Overlaps() []Overlap {
	t.lock()
	defer t.mu.Unlock()
	return slices.Clone(t.overlaps)
}

// driver finds the engine's record of a driver by name, nil when there is none.
func (s *Server) driver(name string) *engineDriver {
	if n := s.tree.find(name); isDriver(n) {
		return s.engine.drivers[n.id]
	}
	return nil
}

// State is the state of a driver on this server; Stopped also when the server does not know it.
func (s *Server) State(driver string) State {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	if d := s.driver(driver); d != nil {
		return d.State
	}
	return StateStopped
}

// StartOption is the start option of a driver on this server; Disabled also when the server does not know it.
func (s *Server) StartOption(driver string) StartOption {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	if d := s.driver(driver); d != nil {
		return d.Option
	}
	return StartDisabled
}

// Cached is how many events wait for a driver on this server.
func (s *Server) Cached(driver string) int {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	if d := s.driver(driver); d != nil {
		return len(d.Cache) + len(d.Ahead)
	}
	return 0
}

// StartError is why the last start of a driver on this server failed, "" when it did not.
func (s *Server) StartError(driver string) string {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	if d := s.driver(driver); d != nil {
		return d.Reason
	}
	return ""
}

// Behave sets how a driver behaves on this server from now on. It reports whether the server knows the driver.
func (s *Server) Behave(driver string, b Behaviour) bool {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	n := s.tree.find(driver)
	if !isDriver(n) {
		return false
	}
	s.engine.know(s, n).Behaviour = b
	s.tree.markDriver(s, n.id)
	s.tree.commit()
	return true
}

// Lag lets this server show a replicated attribute as it is now, whatever is written to it through others, until the
// returned function lets the changes come. It does not outlast the process.
func (s *Server) Lag(dn, attribute string) (catchUp func()) {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	n, at := s.tree.find(dn), s.tree.schema.attr(attribute)
	key := strings.ToLower(at.name)
	old := attrSet{key: n.shared[key]}
	maps.Copy(old, n.lag[s.name])
	if n.lag == nil {
		n.lag = map[string]attrSet{}
	}
	n.lag[s.name] = old
	return func() {
		s.tree.lock()
		defer s.tree.mu.Unlock()
		delete(n.lag[s.name], key)
	}
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func xmlText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
