package idmtest

import (
	"fmt"
	"slices"
	"time"
)

// State is what the engine says of a driver.
type State int

// The states of a driver.
const (
	StateStopped       State = 0
	StateStarting      State = 1
	StateRunning       State = 2
	StateStopping      State = 3
	StateGettingSchema State = 11
)

// String names the state.
func (s State) String() string {
	switch s {
	case StateStopped:
		return "stopped"
	case StateStarting:
		return "starting"
	case StateRunning:
		return "running"
	case StateStopping:
		return "shutdown pending"
	case StateGettingSchema:
		return "getting schema"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// StartOption is what a server does with a driver by itself.
type StartOption int

// The start options.
const (
	StartDisabled StartOption = 0 // cannot start, caches nothing
	StartManual   StartOption = 1 // caches, starts on request
	StartAuto     StartOption = 2 // caches, starts with the server
)

// String names the option.
func (o StartOption) String() string {
	switch o {
	case StartDisabled:
		return "disabled"
	case StartManual:
		return "manual"
	case StartAuto:
		return "auto"
	}
	return fmt.Sprintf("StartOption(%d)", int(o))
}

// engine is the Identity Manager engine of one server. Everything in it is that server's own.
type engine struct {
	Mode    EngineMode
	Version uint32
	Lost    bool // the server-centric data was destroyed
	// Serves holds the driver sets the engine works for, by entry id.
	Serves  map[int]bool
	drivers map[int]*engineDriver
	vault   map[int]*vault
	jobs    map[int]*engineJob
}

func newEngine(mode EngineMode, version uint32) *engine {
	return &engine{Mode: mode, Version: version, Serves: map[int]bool{}, drivers: map[int]*engineDriver{},
		vault: map[int]*vault{}, jobs: map[int]*engineJob{}}
}

// engineDriver is one driver as one engine knows it.
type engineDriver struct {
	Option      StartOption
	State       State
	Next        []transition
	Cache       []event
	Ahead       []event `json:",omitempty"` // the cache of Out of Band Sync
	Reason      string  // why the last start failed
	JustStopped bool    // the cache cannot be read for a moment
	CacheLimit  int
	SyncNext    bool // said when it was disabled, where the flag counts then
	Behaviour   Behaviour
}

// transition is a change of state that is due at a time.
type transition struct {
	To State
	At time.Time
}

// Behaviour makes a driver on one server behave badly.
type Behaviour struct {
	// FailStarts is how many of the next starts fail; a negative number means all.
	FailStarts int
	// Reason is what a failed start leaves in the status log. Empty means a shim error -9005.
	Reason string
	// StartTime and StopTime replace those of the tree when they are not 0.
	StartTime, StopTime time.Duration
	// BeginAfter is how long a start that was accepted waits before the driver is seen starting.
	BeginAfter time.Duration
	// StallStart keeps the driver in state starting for ever.
	StallStart bool
	// HoldEvents makes a running driver keep its events in the cache, as one whose application is slow or away.
	HoldEvents bool
	// OutOfBand puts events into the driver's other cache, as those of attributes with Out of Band Sync (documented). The
	// figures do not count it.
	OutOfBand bool
	// DieAfter makes a running driver stop by itself that long after its start; 0 means never.
	DieAfter time.Duration
	// View is how much of the cache a view of it shows.
	View CacheView
}

// CacheView says how much of a driver's cache is shown.
type CacheView int

const (
	// ViewWhole shows every event.
	ViewWhole CacheView = iota
	// ViewCut ends in the middle of every page.
	ViewCut
	// ViewLost announces every page and hands out the first one only.
	ViewLost
	// ViewNothing shows no event, however many wait.
	ViewNothing
)

// isDriver tells whether n is a driver.
func isDriver(n *node) bool { return n != nil && n.isA("DirXML-Driver") }

// setOf is the driver set an entry belongs to.
func setOf(n *node) *node {
	for e := n; e != nil; e = e.parent {
		if e.isA("DirXML-DriverSet") {
			return e
		}
	}
	return nil
}

// serving returns the engine's record of a driver, nil when the engine does not serve it.
func (e *engine) serving(n *node) *engineDriver {
	set := setOf(n)
	if set == nil || !e.Serves[set.id] || e.Mode != EngineReady || e.Lost {
		return nil
	}
	return e.drivers[n.id]
}

// adopt makes the engine know every driver and job of a set. New drivers are Disabled.
func (e *engine) adopt(s *Server, set *node) {
	e.Serves[set.id] = true
	set.walk(func(n *node) {
		switch {
		case isDriver(n):
			e.know(s, n)
		case n.isA("DirXML-Job"):
			e.jobs[n.id] = &engineJob{Here: jobNames(n, s)}
		}
	})
	s.tree.markServer(s)
}

func (e *engine) know(s *Server, n *node) *engineDriver {
	d := e.drivers[n.id]
	if d == nil {
		d = &engineDriver{}
		e.drivers[n.id] = d
		s.tree.markDriver(s, n.id)
	}
	return d
}

// forget drops what the engine knows of an entry.
func (e *engine) forget(s *Server, n *node) {
	if d := e.drivers[n.id]; d != nil {
		s.tree.setState(s, n.id, d, StateStopped)
		delete(e.drivers, n.id)
		s.tree.markDriver(s, n.id)
	}
	delete(e.vault, n.id)
	delete(e.jobs, n.id)
	delete(e.Serves, n.id)
	s.tree.markServer(s)
}

// halt is the end of the process.
func (e *engine) halt(s *Server) {
	for _, id := range sortedKeys(e.drivers) {
		d := e.drivers[id]
		d.Next = nil
		s.tree.setState(s, id, d, StateStopped)
	}
	s.results = map[int64]*chunk{}
}

// load is the start of the process: the engine reads which sets it serves, catches up with the changes that were
// replicated while it was away, and starts what is Auto.
func (e *engine) load(s *Server) {
	t := s.tree
	e.Serves = map[int]bool{}
	if e.Mode != EngineReady {
		return
	}
	at := t.schema.attr("DirXML-ServerList")
	t.root.walk(func(n *node) {
		if n.isA("DirXML-DriverSet") && s.holdsData(n.partitionRoot()) && hasName(n.stored(at, s.name), s.dn) {
			e.Lost = false
			e.adopt(s, n)
		}
	})
	for _, id := range sortedKeys(e.drivers) {
		n := t.nodes[id]
		d := e.serving(n)
		if d == nil || d.Option == StartDisabled {
			continue
		}
		for _, objectID := range sortedKeys(t.objects) {
			if o := t.objects[objectID]; o.Event > s.lastEvent {
				d.Cache = append(d.Cache, event{Object: objectID, Event: o.Event, At: o.At})
			}
		}
		switch {
		case d.Option != StartAuto:
		case t.cfg.AutoDelay > 0:
			d.Next = []transition{{To: StateStarting, At: t.now().Add(t.cfg.AutoDelay)}}
		default:
			t.startDriver(s, n, d)
		}
		t.markDriver(s, id)
	}
	s.lastEvent = t.event
}

func hasName(list [][]byte, name string) bool {
	key := dnKey(name)
	return slices.ContainsFunc(list, func(v []byte) bool { return dnKey(string(v)) == key })
}

// startDriver begins a start; the judgement comes when it is over.
func (t *Tree) startDriver(s *Server, n *node, d *engineDriver) {
	d.Reason, d.JustStopped = "", false
	t.counters(n.id).Starts++
	t.setState(s, n.id, d, StateStarting)
	d.Next = nil
	if !d.Behaviour.StallStart {
		d.Next = []transition{{To: StateRunning, At: t.now().Add(pick(d.Behaviour.StartTime, t.cfg.StartTime))}}
	}
	t.markDriver(s, n.id)
}

func (t *Tree) stopDriver(s *Server, n *node, d *engineDriver) {
	t.setState(s, n.id, d, StateStopping)
	d.Next = []transition{{To: StateStopped, At: t.now().Add(pick(d.Behaviour.StopTime, t.cfg.StopTime))}}
	t.markDriver(s, n.id)
}

func (t *Tree) restartDriver(s *Server, n *node, d *engineDriver) {
	t.stopDriver(s, n, d)
	d.Next = append(d.Next, transition{To: StateStarting, At: d.Next[0].At})
}

func pick(own, usual time.Duration) time.Duration {
	if own > 0 {
		return own
	}
	return usual
}

// advance brings every engine up to the present: transitions happen in the order in which they are due.
func (t *Tree) advance() {
	now := t.now()
	for {
		var srv *Server
		driver := 0
		var due *engineDriver
		for _, s := range t.servers {
			for id, d := range s.engine.drivers {
				if len(d.Next) == 0 || d.Next[0].At.After(now) {
					continue
				}
				if due == nil || d.Next[0].At.Before(due.Next[0].At) || srv == s && id < driver &&
					d.Next[0].At.Equal(due.Next[0].At) {
					srv, driver, due = s, id, d
				}
			}
		}
		if due == nil {
			return
		}
		t.step(srv, driver, due)
		t.commit()
	}
}

func (t *Tree) step(s *Server, driver int, d *engineDriver) {
	next := d.Next[0]
	d.Next = d.Next[1:]
	n := t.nodes[driver]
	defer t.markDriver(s, driver)
	switch next.To {
	case StateRunning:
		if reason := t.startProblem(s, n, d); reason != "" {
			d.Reason = reason
			t.logStatus(s, n, "error", reason)
			t.setState(s, driver, d, StateStopped)
			return
		}
		t.setState(s, driver, d, StateRunning)
		t.logStatus(s, n, "success", "Transitioned from state 'Starting' to state 'Running'")
		if d.Behaviour.DieAfter > 0 {
			d.Next = []transition{{To: StateStopped, At: next.At.Add(d.Behaviour.DieAfter)}}
		}
		t.deliver(s, driver, d)
	case StateStarting:
		t.startDriver(s, n, d)
	case StateStopped:
		d.JustStopped = true
		t.setState(s, driver, d, StateStopped)
	}
}

// logStatus writes a line to the subscriber's status log on that server.
func (t *Tree) logStatus(s *Server, driver *node, level, text string) {
	for _, kid := range driver.kids {
		if kid.isA("DirXML-Subscriber") {
			set := kid.local[s.name].clone()
			line := fmt.Sprintf("%s#%s#%s", t.now().UTC().Format("20060102150405Z"), level, text)
			old := set["dirxml-statuslog"].values
			if len(old) > 20 {
				old = old[1:]
			}
			set["dirxml-statuslog"] = attribute{name: "DirXML-StatusLog", values: append(old[:len(old):len(old)], []byte(line))}
			kid.local[s.name] = set
			t.markEntry(kid)
		}
	}
}

// setOption changes the start option; leaving Disabled fills the cache with a resync unless it was told not to.
func (t *Tree) setOption(s *Server, n *node, d *engineDriver, option StartOption, noResync bool) {
	was := d.Option
	d.Option = option
	c := t.counters(n.id)
	c.OptionChanges++
	if t.cfg.ResyncFlag.ofDisabling() {
		if option == StartDisabled {
			d.SyncNext = !noResync
		}
		noResync = !d.SyncNext
	}
	switch {
	case option == StartDisabled:
		d.Cache, d.Ahead, d.Next = nil, nil, nil // also a start that waits for its time
	case was == StartDisabled && !noResync:
		c.AutoResyncs++
		t.resync(s, n, d, time.Time{})
	}
	t.markDriver(s, n.id)
}

// resync queues every object that was changed at or after since.
func (t *Tree) resync(s *Server, n *node, d *engineDriver, since time.Time) {
	t.root.walk(func(e *node) {
		if e.configuration() || e.partition || !s.holdsData(e.partitionRoot()) || e.modified.Before(since) ||
			len(e.kids) > 0 {
			return
		}
		ev := event{Object: e.id, At: e.modified, Resync: true}
		if o := t.objects[e.id]; o != nil {
			ev.Event = o.Event
		}
		d.Cache = append(d.Cache, ev)
	})
	t.deliver(s, n.id, d)
}
