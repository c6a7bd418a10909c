package faultnet

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// Conn is the client's side of a connection with faults: what is written goes Out, what is read comes In.
type Conn struct {
	net.Conn
	net *Net

	once     sync.Once
	closed   chan struct{}
	muted    [2]atomic.Bool // by direction
	wasReset atomic.Bool
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if c.muted[Out].Load() {
		return len(p), nil // swallowed: a black hole takes everything
	}
	through, strike := c.net.pass(Out, len(p))
	n, err := 0, error(nil)
	if through > 0 {
		n, err = c.Conn.Write(p[:through])
	}
	if err != nil || strike == nil {
		return n, err
	}
	if err := c.strike(strike); err != nil {
		return n, err
	}
	return len(p), nil // silent from now on
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if c.muted[In].Load() {
			if err == nil {
				continue // swallowed
			}
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				return 0, err
			}
			<-c.closed // not even the end of the connection gets through
			return 0, ErrCut
		}
		if n == 0 {
			return 0, err
		}
		through, strike := c.net.pass(In, n)
		if strike == nil {
			return n, nil
		}
		if err := c.strike(strike); through > 0 || err != nil {
			if through > 0 {
				err = nil // it is met by the next read
			}
			return through, err
		}
	}
}

func (c *Conn) strike(f *Fault) error {
	if f.Kind == Silence {
		c.muted[f.Dir].Store(true)
		return nil
	}
	_ = c.Close()
	return ErrCut
}

func (c *Conn) reset() {
	c.wasReset.Store(true)
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
