package faultnet

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy forwards TCP connections from a port of 127.0.0.1 to a real server, through its Net's faults. A
// reset is passed on to both sides; a Silence in direction In or Out starves that direction only.
type Proxy struct {
	Net

	target   string
	listener net.Listener
	work     sync.WaitGroup
	refusing atomic.Bool

	clientsMu sync.Mutex
	clients   map[net.Conn]struct{}
	closed    bool
}

// NewProxy starts a proxy in front of target, host:port. Close it when done.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, clients: map[net.Conn]struct{}{}}
	p.work.Go(p.serve)
	return p, nil
}

// Address returns the proxy's host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Refuse makes the proxy close new connections at once.
func (p *Proxy) Refuse() { p.refusing.Store(true) }

// Close ends the proxy and every connection, and waits for its goroutines.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.clientsMu.Lock()
	p.closed = true
	for c := range p.clients {
		_ = c.Close()
	}
	p.clientsMu.Unlock()
	p.CutAll()
	p.work.Wait()
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.clientsMu.Lock()
		keep := !p.closed && !p.refusing.Load()
		if keep {
			p.clients[client] = struct{}{}
		}
		p.clientsMu.Unlock()
		if !keep {
			_ = client.Close()
			continue
		}
		p.work.Go(func() {
			defer func() {
				p.clientsMu.Lock()
				delete(p.clients, client)
				p.clientsMu.Unlock()
			}()
			p.forward(client)
		})
	}
}

func (p *Proxy) forward(client net.Conn) {
	defer func() { _ = client.Close() }()
	raw, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	server := p.Wrap(raw)
	defer func() { _ = server.Close() }()
	var both sync.WaitGroup
	both.Go(func() {
		_, err := io.Copy(struct{ io.Writer }{server}, client)
		switch {
		case err != nil:
			_ = server.Close()
		case !server.muted[Out].Load():
			half(raw) // an ordinary end of one direction closes only that one
		}
	})
	if _, err = io.Copy(client, struct{ io.Reader }{server}); err == nil {
		half(client)
	} else {
		if tcp, ok := client.(*net.TCPConn); ok && server.wasReset.Load() {
			_ = tcp.SetLinger(0)
		}
		_ = client.Close()
	}
	both.Wait()
}

func half(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
