package idmtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/loopback"
)

// ReplicaType is the kind of a replica, numbered as eDirectory does.
type ReplicaType int

// The kinds of replicas.
const (
	ReplicaMaster ReplicaType = iota
	ReplicaReadWrite
	ReplicaReadOnly
	ReplicaSubordinate
)

// Server is one server of the tree with its engine.
type Server struct {
	tree  *Tree
	index int
	name  string
	dn    string
	cert  *tls.Certificate

	// Guarded by tree.mu.
	up        bool // the process runs
	reachable bool // the network lets clients through
	ports     [2]int
	listeners []net.Listener
	held      []func() // gives the ports back that are kept while nobody listens
	conns     map[*conn]bool
	connSeq   int
	down      chan struct{} // closed when the server dies or the tree closes
	replicas  map[int]ReplicaType
	engine    *engine
	results   map[int64]*chunk
	handleSeq int64
	lastEvent uint64 // the last change that was replicated to it
	ringDelta int
}

const (
	clearPort = 0
	tlsPort   = 1
)

func newServer(t *Tree, index int, sc ServerConfig) *Server {
	version := sc.Version
	if version == 0 {
		version = 0x48070003
	}
	return &Server{
		tree: t, index: index, name: sc.Name, dn: "cn=" + escapeValue(sc.Name) + ",ou=servers,o=system",
		up: true, reachable: true, conns: map[*conn]bool{}, replicas: map[int]ReplicaType{},
		engine: newEngine(sc.Engine, version), results: map[int64]*chunk{},
	}
}

// Name is the short name of the server.
func (s *Server) Name() string { return s.name }

// DN is the distinguished name of the NCP server object, which the root DSE gives as dsaName.
func (s *Server) DN() string { return s.dn }

// URL is the ldaps address. It stays the same over Kill and Start.
func (s *Server) URL() string { return "ldaps://" + s.TLSAddr() }

// ClearURL is the ldap address; StartTLS works on it and a simple bind with a password is refused before.
func (s *Server) ClearURL() string { return "ldap://" + s.clearAddr() }

// TLSAddr is host and port of the ldaps listener.
func (s *Server) TLSAddr() string { return s.addr(tlsPort) }

// clearAddr is host and port of the ldap listener.
func (s *Server) clearAddr() string { return s.addr(clearPort) }

func (s *Server) addr(which int) string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return s.address(which)
}

func (s *Server) address(which int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports[which]))
}

// Kill ends the server as a power cut would: connections die without a word, what the engine held in memory is lost,
// drivers on it stop without saying so. The event cache and the start options are on disk and stay.
func (s *Server) Kill() {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	s.kill()
	s.tree.commit()
}

func (s *Server) kill() {
	if !s.up {
		return
	}
	s.up = false
	s.hangUp()
	s.engine.halt(s)
	s.lastEvent = s.tree.event
	s.tree.markServer(s)
}

// Start brings a killed server back on its old addresses. Its engine loads the driver sets whose server list names it
// and starts every driver that is Auto there, whatever the other servers do. Changes made meanwhile are replicated and
// cached for the drivers that are not Disabled.
func (s *Server) Start() error {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	if s.up {
		return nil
	}
	s.up = true
	if err := s.listen(); err != nil {
		s.up = false
		return err
	}
	s.tree.markServer(s)
	s.engine.load(s)
	s.tree.commit()
	return nil
}

// Restart is Kill and Start.
func (s *Server) Restart() error {
	s.Kill()
	return s.Start()
}

// Unplug cuts the server off from all clients while its engine runs on: to an observer it looks dead and is not.
func (s *Server) Unplug() {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	s.reachable = false
	s.hangUp()
	s.tree.markServer(s)
	s.tree.commit()
}

// Plug ends Unplug.
func (s *Server) Plug() error {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	s.reachable = true
	s.tree.markServer(s)
	s.tree.commit()
	return s.listen()
}

// Up tells whether the server runs, reachable or not.
func (s *Server) Up() bool {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return s.up
}

// hangUp closes listeners and connections.
func (s *Server) hangUp() {
	for _, l := range s.listeners {
		_ = l.Close() // nobody is left to hear of it
	}
	if len(s.listeners) > 0 {
		s.hold()
	}
	s.listeners = nil
	for c := range s.conns {
		c.cut()
	}
	if s.down != nil {
		close(s.down)
		s.down = nil
	}
}

// hold keeps the ports for the server while it does not listen.
func (s *Server) hold() {
	for which := range s.ports {
		s.held = append(s.held, loopback.Hold(s.address(which)))
	}
}

func (s *Server) letGo() {
	for _, release := range s.held {
		release()
	}
	s.held = nil
}

// listen opens the listeners of a server that is up and reachable. The first call picks the ports, later ones take the
// same again.
func (s *Server) listen() error {
	if !s.up || !s.reachable || len(s.listeners) > 0 || s.tree.closed {
		return nil
	}
	if s.cert == nil {
		cert, err := s.tree.ca.issue(s.name, int64(s.index)+2)
		if err != nil {
			return err
		}
		s.cert = cert
	}
	s.down = make(chan struct{})
	for which := range s.ports {
		var l net.Listener
		var err error
		if s.ports[which] == 0 {
			l, err = loopback.Listen()
		} else {
			s.letGo()
			l, err = loopback.Again(s.address(which))
		}
		if err != nil {
			s.hangUp()
			return &failover.Error{Op: "listen", Target: s.name, Outcome: failover.NotApplied,
				Next: "free the address and start the server again", Err: err}
		}
		s.ports[which] = l.Addr().(*net.TCPAddr).Port
		s.listeners = append(s.listeners, l)
		s.tree.wg.Add(1)
		go s.accept(l, which == tlsPort, s.down)
	}
	s.announce()
	s.tree.markServer(s)
	return nil
}

// announce writes the addresses into the server's LDAP object, where other tools look for them.
func (s *Server) announce() {
	n := s.tree.find("cn=LDAP Server - " + escapeValue(s.name) + ",ou=servers,o=system")
	if n == nil {
		return
	}
	n.shared["ldapinterfaces"] = textAttribute("ldapInterfaces", "ldap://"+s.address(clearPort),
		"ldaps://"+s.address(tlsPort))
	s.tree.markEntry(n)
}

func (s *Server) accept(l net.Listener, secure bool, down chan struct{}) {
	defer s.tree.wg.Done()
	for {
		raw, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-down:
				return
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		s.tree.mu.Lock()
		if s.down != down {
			s.tree.mu.Unlock()
			_ = raw.Close()
			return
		}
		s.connSeq++
		c := newConn(s, raw, s.connSeq, down)
		s.conns[c] = true
		s.tree.wg.Add(1)
		s.tree.mu.Unlock()
		go func() {
			defer s.tree.wg.Done()
			c.serve(secure)
		}()
	}
}

// holdsData tells whether the server has entries of the partition. A subordinate reference has none.
func (s *Server) holdsData(partition *node) bool {
	kind, ok := s.replicas[partition.id]
	return ok && kind != ReplicaSubordinate
}

// AddReplica gives the server a replica of the partition.
func (s *Server) AddReplica(partition string, kind ReplicaType) error {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	n := s.tree.find(partition)
	if n == nil || !n.partition {
		return failover.Invalid("partition", fmt.Sprintf("%q is no partition", partition), "the name of a partition root")
	}
	s.replicas[n.id] = kind
	s.tree.markServer(s)
	s.tree.commit()
	return nil
}

// RemoveReplica takes a replica away, and with it every per-server value and stored password the server had in that
// partition: they are gone for good, and the engine answers -783 until it has been restarted with a replica.
func (s *Server) RemoveReplica(partition string) error {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	n := s.tree.find(partition)
	if n == nil || !n.partition {
		return failover.Invalid("partition", fmt.Sprintf("%q is no partition", partition), "the name of a partition root")
	}
	delete(s.replicas, n.id)
	n.walk(func(e *node) {
		if e.partitionRoot() == n {
			delete(e.local, s.name)
			s.tree.markEntry(e)
			s.engine.forget(s, e)
		}
	})
	if s.engine.Mode == EngineReady {
		s.engine.Lost = true
	}
	s.tree.markServer(s)
	s.tree.commit()
	return nil
}

// SetRingDelta sets how many seconds the server's replicas lag behind, as the monitor entry shows it.
func (s *Server) SetRingDelta(seconds int) {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	s.ringDelta = seconds
	s.tree.markServer(s)
	s.tree.commit()
}
