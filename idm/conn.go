package idm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
)

// countingConn counts what was handed to the operating system, so that a call whose answer is missing can tell
// whether it was sent at all. It sits below TLS: no byte leaves without being counted.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// link is one LDAP connection. One call at a time uses it, so that the count of bytes belongs to that call.
type link struct {
	ldap *ldap.Conn
	raw  *countingConn
	used time.Time
}

// cut ends the connection under a call that waits. The socket goes first: the library's own Close waits for a
// goroutine that may be stuck in a write.
func (l *link) cut() {
	_ = l.raw.Close()
	_ = l.ldap.Close()
}

// idleCheck is how long a connection may rest before it is tried out with a read: a request that changes something
// should not be the one that finds out that the line is dead.
const idleCheck = 10 * time.Second

const (
	startTLS = "1.3.6.1.4.1.1466.20037"
	// startTLSAnswer is how long the answer to it may be: nobody knows yet who gives it.
	startTLSAnswer = 64 << 10
)

func (s *Server) connect(ctx context.Context) (*link, error) {
	fail := func(err error, next string) error { return notDone("connect to", s.address, next, err) }
	conn, err := s.conf.Dial(ctx, "tcp", s.address)
	if err != nil {
		next := "check that the server runs and its LDAP port is open from here"
		if !asked(err) {
			next = "see what keeps this machine from asking; where a name cannot be looked up, write the address into the URL"
		}
		return nil, fail(fmt.Errorf("%w: %w", ErrUnreachable, err), next)
	}
	raw := &countingConn{Conn: conn}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if s.startTLS {
		if err := requestTLS(raw); err != nil {
			_ = raw.Close()
			return nil, fail(fmt.Errorf("%w: StartTLS: %w", ErrLineLost, ended(ctx, err)),
				"check that the server offers StartTLS, or use ldaps")
		}
	}
	secured := tls.Client(raw, s.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if reason := failover.TLSNext(err); reason != "" {
			return nil, fail(fmt.Errorf("%w: %w", ErrUntrusted, err), reason)
		}
		return nil, fail(fmt.Errorf("%w: TLS handshake: %w", ErrLineLost, ended(ctx, err)),
			"check the port; an old server may need LegacyAlgorithms in Config.TLS")
	}
	l := &link{ldap: ldap.NewConn(secured, true), raw: raw, used: time.Now()}
	l.ldap.Start()
	if err = s.login(ctx, l); err == nil {
		err = s.identify(ctx, l)
	}
	if err == nil && !stop() {
		err = fail(fmt.Errorf("%w: %w", ErrLineLost, context.Cause(ctx)), "try again with more time")
	}
	if err != nil {
		l.cut()
		return nil, err
	}
	return l, nil
}

func (s *Server) login(ctx context.Context, l *link) error {
	if s.conf.UserDN == "" {
		return nil
	}
	fail := func(err error, next string) error { return notDone("log in to", s.address, next, err) }
	password, err := s.conf.Password(ctx)
	if err != nil {
		return fail(fmt.Errorf("get the password of %s: %w", s.conf.UserDN, err), "make the password available")
	}
	if password.Empty() {
		// A bind with an empty password succeeds as nobody (RFC 4513 §5.1.2); everything after it would look like missing
		// rights.
		return fail(fmt.Errorf("%w: the password of %s is empty", ErrLogin, s.conf.UserDN), "make the password available")
	}
	if err := l.ldap.Bind(s.conf.UserDN, password.Reveal()); err != nil {
		if r := refusal(err, false, []failover.Secret{password}); r != nil {
			return fail(fmt.Errorf("%w as %s: %w", ErrLogin, s.conf.UserDN, r), r.next())
		}
		return fail(fmt.Errorf("%w: %w", ErrLineLost, ended(ctx, err)), "check that the server answers")
	}
	return nil
}

// requestTLS asks for StartTLS on the bare connection. It reads exactly one answer, so that bytes somebody slipped in
// behind it end in the TLS handshake, where they fail.
func requestTLS(conn net.Conn) error {
	request := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, int64(1), ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, startTLS, ""))
	request.AppendChild(op)
	if _, err := conn.Write(request.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(io.LimitReader(conn, startTLSAnswer))
	if err != nil {
		return err
	}
	return ldap.GetLDAPError(answer)
}

// ended puts the reason why a context ended in front of the network error it caused.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}

// acquire returns a connection for one call: one that rests, or a new one. The bool is true for a new one.
func (s *Server) acquire(ctx context.Context) (*link, bool, error) {
	select {
	case s.slots <- struct{}{}:
	case <-s.closed:
		return nil, false, notDone("use", s.address, "dial again", net.ErrClosed)
	case <-ctx.Done():
		return nil, false, notDone("connect to", s.address, "try again with more time",
			fmt.Errorf("%w: every connection is in use: %w", ErrLineLost, context.Cause(ctx)))
	}
	for l := s.takeIdle(); l != nil; l = s.takeIdle() {
		if l.ldap.IsClosing() || time.Since(l.used) > idleCheck && !s.alive(ctx, l) {
			l.cut()
			continue
		}
		return l, false, nil
	}
	l, err := s.connect(ctx)
	if err != nil {
		<-s.slots
		return nil, false, err
	}
	return l, true, nil
}

func (s *Server) takeIdle() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	l := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	return l
}

// alive tries a rested connection with a read, bounded by ctx.
func (s *Server) alive(ctx context.Context, l *link) bool {
	ctx, cancel := context.WithTimeout(ctx, idleCheck)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.raw.Close() })
	err := s.identify(ctx, l)
	return stop() && err == nil
}

// release gives a connection back, or ends it when its state is in any doubt.
func (s *Server) release(l *link, keep bool) {
	s.mu.Lock()
	if keep && !s.shut && !l.ldap.IsClosing() {
		l.used = time.Now()
		s.idle = append(s.idle, l)
		l = nil
	}
	s.mu.Unlock()
	if l != nil {
		l.cut()
	}
	<-s.slots
}

type effect int

const (
	reads effect = iota
	writes
)

// request is one call as the evidence sees it.
type request struct {
	op       string // for the error, for example "start driver"
	target   string
	effect   effect
	driverOp bool
	secrets  []failover.Secret
}

// do performs one LDAP operation and turns what happened into an outcome. A read, and a change that provably never
// left this machine, is tried once more on a new connection when the first one had been resting; nothing else is.
func (s *Server) do(ctx context.Context, r request, call func(*ldap.Conn) error) error {
	for {
		pooled, sent, err := s.once(ctx, r, call)
		again := pooled && ctx.Err() == nil && errors.Is(err, ErrLineLost) && (r.effect == reads || !sent)
		if !again {
			return err
		}
	}
}

// late is why a call ends that takes longer than CallTimeout.
func (s *Server) late() error {
	return fmt.Errorf("no answer within %s: %w", s.conf.CallTimeout, context.DeadlineExceeded)
}

func (s *Server) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.conf.CallTimeout, s.late())
}

func (s *Server) once(ctx context.Context, r request, call func(*ldap.Conn) error) (pooled, sent bool, err error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	l, fresh, err := s.acquire(ctx)
	if err != nil {
		return false, false, err
	}
	before := l.raw.written.Load()
	stop := context.AfterFunc(ctx, func() { _ = l.raw.Close() })
	err = call(l.ldap)
	inTime := stop()
	sent = l.raw.written.Load() > before
	answered, err := s.judge(ctx, r, sent, err)
	s.release(l, answered && inTime)
	s.conf.Logger.DebugContext(ctx, "ldap", "op", r.op, "target", r.target, "server", s.address, "sent", sent, "answered",
		answered, "error", err)
	return !fresh, sent, err
}

// judge turns the result of a call into an error with an outcome. The bool is false when no result of the server was
// seen, and the connection must not be used again.
func (s *Server) judge(ctx context.Context, r request, sent bool, err error) (bool, error) {
	if err == nil {
		return true, nil
	}
	if no := refusal(err, r.driverOp, r.secrets); no != nil {
		if r.effect == writes && no.outcome() == failover.InDoubt {
			return true, inDoubt(r.op, r.target, no.next(), no)
		}
		return true, notDone(r.op, r.target, no.next(), no)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w: %w", ErrLineLost, cause)
	} else {
		err = fmt.Errorf("%w: %s", ErrLineLost, failover.Redact(err.Error(), r.secrets...))
	}
	switch {
	case r.effect == reads:
		return false, notDone(r.op, r.target, "repeat it", err)
	case sent:
		return false, inDoubt(r.op, r.target, "observe "+r.target+" before repeating", err)
	}
	return false, notDone(r.op, r.target, "repeat it; nothing was sent", err)
}
