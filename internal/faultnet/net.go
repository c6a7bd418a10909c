package faultnet

import (
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// Direction is a direction of traffic, seen from the client.
type Direction int

// The two directions.
const (
	Out Direction = iota // client to server
	In                   // server to client
)

// Kind says what a fault does.
type Kind int

// The kinds of fault.
const (
	Cut     Kind = iota + 1 // closes the connection
	Silence                 // lets nothing through any more in this direction, and keeps the connection open
)

// Fault strikes once, on the connection over which the byte number After in direction Dir passes. Bytes are counted
// over all connections from the moment the fault was added; the first After bytes still arrive.
type Fault struct {
	Kind  Kind
	Dir   Direction
	After int64
}

// ErrCut is what the wrapped side sees after a Cut.
var ErrCut = errors.New("faultnet: connection cut")

// Net holds faults and the connections they strike. The zero value is ready and lets everything pass.
type Net struct {
	mu     sync.Mutex
	faults []*armed
	conns  map[*Conn]struct{}
	passed [2]atomic.Int64
}

type armed struct {
	Fault
	left int64
}

// Add arms faults.
func (n *Net) Add(faults ...Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range faults {
		n.faults = append(n.faults, &armed{f, f.After})
	}
}

// Pending returns how many faults have not struck yet.
func (n *Net) Pending() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.faults)
}

// Passed returns the bytes that got through in one direction.
func (n *Net) Passed(dir Direction) int64 { return n.passed[dir].Load() }

// CutAll closes every connection now.
func (n *Net) CutAll() { n.each(func(c *Conn) { _ = c.Close() }) }

// ResetAll ends every connection with a TCP reset now.
func (n *Net) ResetAll() { n.each((*Conn).reset) }

// SilenceAll makes every connection of now mute in both directions.
func (n *Net) SilenceAll() {
	n.each(func(c *Conn) {
		c.muted[In].Store(true)
		c.muted[Out].Store(true)
	})
}

func (n *Net) each(do func(*Conn)) {
	n.mu.Lock()
	conns := slices.Collect(maps.Keys(n.conns))
	n.mu.Unlock()
	for _, c := range conns {
		do(c)
	}
}

// pass decides what happens to the next size bytes: how many get through before a fault strikes, and which one.
func (n *Net) pass(dir Direction, size int) (through int, strike *Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	through = size
	hit := -1
	for i, f := range n.faults {
		if f.Dir == dir && f.left < int64(through) {
			through, hit = int(f.left), i
		}
	}
	for _, f := range n.faults {
		if f.Dir == dir {
			f.left -= int64(through)
		}
	}
	n.passed[dir].Add(int64(through))
	if hit < 0 {
		return through, nil
	}
	fault := n.faults[hit].Fault
	n.faults = slices.Delete(n.faults, hit, hit+1)
	return through, &fault
}

// Wrap puts n's faults around the client's side of a connection: what is written goes Out, what is read comes In.
func (n *Net) Wrap(conn net.Conn) *Conn {
	c := &Conn{Conn: conn, net: n, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = map[*Conn]struct{}{}
	}
	n.conns[c] = struct{}{}
	return c
}
