package faultnet

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Conn is a connection with faults.
type Conn struct {
	net.Conn
	net    *Net
	server bool // this end is the server's

	once   sync.Once
	closed chan struct{}

	mu       sync.Mutex
	muted    [2]bool
	spare    []byte // read from below, not yet handed up
	wasReset bool
}

func (c *Conn) dir(writing bool) Direction {
	if writing != c.server {
		return Out
	}
	return In
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	dir, total := c.dir(true), 0
	for len(p) > 0 {
		if c.silent(dir) {
			return total + len(p), nil // swallowed: a black hole takes everything
		}
		through, strike := c.net.pass(dir, len(p))
		if through > 0 {
			n, err := c.Conn.Write(p[:through])
			total += n
			if err != nil {
				return total, err
			}
			p = p[through:]
		}
		if strike == nil {
			continue
		}
		if err := c.strike(strike); err != nil {
			return total, err
		}
		if strike.Kind == Corrupt {
			n, err := c.Conn.Write([]byte{^p[0]})
			total += n
			if err != nil {
				return total, err
			}
			p = p[1:]
		}
	}
	return total, nil
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	dir := c.dir(false)
	if len(p) == 0 {
		return c.Conn.Read(p)
	}
	for {
		fresh, err := c.take(p)
		if c.silent(dir) {
			if err == nil {
				continue // swallowed
			}
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				return 0, err
			}
			<-c.closed // not even the end of the connection gets through
			return 0, ErrCut
		}
		if err != nil {
			return 0, err
		}
		through, strike := c.net.pass(dir, len(fresh))
		if strike == nil {
			return copy(p, fresh), nil
		}
		rest := append([]byte(nil), fresh[through:]...)
		n := copy(p, fresh[:through])
		err = c.strike(strike)
		if strike.Kind == Corrupt {
			p[n] = ^rest[0]
			n++
			rest = rest[1:]
		}
		if err == nil && !c.silent(dir) {
			c.mu.Lock()
			c.spare = append(rest, c.spare...)
			c.mu.Unlock()
		}
		if n > 0 {
			return n, nil // the error, if any, is met by the next read
		}
		if err != nil {
			return 0, err
		}
	}
}

// take returns bytes put back earlier or reads new ones into p.
func (c *Conn) take(p []byte) ([]byte, error) {
	c.mu.Lock()
	if len(c.spare) > 0 {
		n := min(len(p), len(c.spare))
		out := append([]byte(nil), c.spare[:n]...)
		c.spare = c.spare[n:]
		c.mu.Unlock()
		return out, nil
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	if n > 0 {
		return p[:n], nil
	}
	return nil, err
}

func (c *Conn) strike(f *Fault) error {
	switch f.Kind {
	case Cut:
		c.cut()
		return ErrCut
	case Reset:
		c.reset()
		return ErrCut
	case Silence:
		c.silence(f.Dir)
	case Pause:
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.closed:
			return ErrCut
		}
	}
	return nil
}

func (c *Conn) silence(dir Direction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted[dir] = true
}

func (c *Conn) silent(dir Direction) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.muted[dir]
}

func (c *Conn) cut() { _ = c.Close() }

func (c *Conn) reset() {
	c.mu.Lock()
	c.wasReset = true
	c.mu.Unlock()
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}
