package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

// wire is the TCP connection with counters. They are the evidence of what left this machine.
type wire struct {
	net.Conn
	writes atomic.Int64 // writes that handed bytes to the system, or may still do so
	reads  atomic.Int64 // bytes received

	mu    sync.Mutex
	first []byte // of what was received; a version line has at most 255 (RFC 4253, 4.2)
}

func (w *wire) Write(p []byte) (int, error) {
	w.writes.Add(1)
	n, err := w.Conn.Write(p)
	if n == 0 && err != nil {
		w.writes.Add(-1)
	}
	return n, err
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.reads.Add(int64(n))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = append(w.first, p[:min(n, 512-len(w.first))]...)
	return n, err
}

// greeting returns what the server sent first and whether that is the version line of an SSH server.
func (w *wire) greeting() (text string, ssh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(string(w.first)) {
		if strings.HasPrefix(line, "SSH-") {
			return line, true
		}
	}
	return strings.TrimSpace(string(w.first)), false
}

type line struct {
	host *Host
	wire *wire
	conn ssh.Conn
	dead <-chan struct{} // closed when the transport has ended

	mu      sync.Mutex
	users   int
	retired bool
	cause   error // why this end gave the line up, if it did
}

// connect dials, checks the host key and logs in, all within ConnectTimeout.
func (h *Host) connect(ctx context.Context) (*line, error) {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	stop := context.AfterFunc(h.closing, giveUp)
	defer stop()
	login, err := h.prepareLogin(ctx)
	if err != nil {
		return nil, err
	}
	defer login.close()
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.ConnectTimeout, connectTimeout(h.cfg.ConnectTimeout))
	defer cancel()
	stopAgent := context.AfterFunc(ctx, login.close) // an agent may wait for a person to confirm
	defer stopAgent()

	algos := h.algos
	if h.algos = nil; algos == nil {
		algos = h.hostKeyAlgorithms()
	}
	var verdict error
	for {
		l, seen, err := h.handshake(ctx, algos, login, verdict)
		if err == nil {
			h.algos = algos
			return l, nil
		}
		// A server has several host keys and shows the one that was negotiated. Before a pinned key counts as changed
		// the others are asked for, and so they are to tell the partner's machine; the handshake ends before any login.
		if seen != nil && errors.Is(err, ErrHostKeyChanged) && !errors.Is(err, errRevoked) &&
			len(h.trust.pinned)+len(h.trust.peer) > 0 {
			if verdict == nil {
				verdict = err
			}
			if algos = withoutFamily(algos, seen); len(algos) > 0 {
				continue
			}
		}
		switch {
		case verdict == nil || errors.Is(err, ErrPeerHostKey) || errors.Is(err, errRevoked):
			return nil, err
		case errors.Is(err, ErrNoCommonAlgorithm):
			return nil, h.verdictWithHint(verdict, err)
		case errors.Is(err, ErrHostKeyChanged):
			return nil, verdict
		}
		return nil, h.notApplied("connect", hostKeyNext(ErrHostKeyChanged), "%w; asking for its other keys: %w", verdict, err)
	}
}

// verdictWithHint is the verdict over the keys the server showed, with the reason why it could not show its others.
func (h *Host) verdictWithHint(verdict, negotiation error) error {
	e, ok := errors.AsType[*ssh.AlgorithmNegotiationError](negotiation)
	v, isError := errors.AsType[*failover.Error](verdict)
	if !ok || !isError || !legacyOnly(e.RequestedAlgorithms, plainKeyAlgorithms) || h.cfg.LegacyAlgorithms {
		return verdict
	}
	return h.notApplied(v.Op, v.Next, "%w; it has a further key that it shows only under old algorithms, set "+
		"LegacyAlgorithms if that one is pinned", v.Err)
}

// handshake makes one connection and logs in. When the host key was the reason to stop, seen is that key.
func (h *Host) handshake(ctx context.Context, hostKeyAlgos []string, login *login, verdict error) (_ *line,
	seen ssh.PublicKey, _ error) {
	raw, err := h.tcp(ctx)
	if err != nil {
		return nil, nil, err
	}
	wire := &wire{Conn: raw}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline.Add(time.Second)) // a second guard; the context, which tells why, comes first
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })

	check := &hostKeyCheck{trust: h.trust}
	if len(h.trust.pinned) == 0 {
		check.instead = verdict // known_hosts, unlike a list of pins, leaves no choice between the keys
	}
	cfg := &ssh.ClientConfig{
		User:              h.cfg.User,
		Auth:              login.methods(),
		HostKeyCallback:   check.callback,
		HostKeyAlgorithms: hostKeyAlgos,
		AuthCallback:      login.progress,
		BannerCallback: func(message string) error {
			h.log.Debug("banner", "text", message)
			return nil
		},
	}
	algorithms(&cfg.Config, h.cfg.LegacyAlgorithms)
	conn, chans, reqs, err := ssh.NewClientConn(wire, h.cfg.Address, cfg)
	if err != nil {
		stop()
		_ = raw.Close()
		e := h.handshakeError(ctx, err, wire, check, login)
		e.Err = withAnswer(AnswerSome, e.Err)
		seen, _ := check.state()
		return nil, seen, e
	}
	if !stop() {
		_ = conn.Close()
		return nil, nil, h.notApplied("connect", "try again with more time", "%w",
			withAnswer(AnswerSome, fmt.Errorf("%w: %w", ErrLoginUnfinished, ended(ctx))))
	}
	_ = raw.SetDeadline(time.Time{})

	key, _ := check.state()
	h.log.Info("connected", "server", string(conn.ServerVersion()), "hostkey", ssh.FingerprintSHA256(plainKey(key)))
	l := &line{host: h, wire: wire, conn: conn}
	l.dead = h.background(func() { h.forget(l, conn.Wait()) })
	h.lines.Go(func() { ssh.DiscardRequests(reqs) })
	h.lines.Go(func() {
		for ch := range chans {
			_ = ch.Reject(ssh.Prohibited, "no channels are accepted from the server")
		}
	})
	h.lines.Go(func() { l.keepalive(h.cfg.KeepaliveEvery, h.cfg.KeepaliveMisses) })
	return l, nil, nil
}

// handshakeError sorts what went wrong between TCP connect and the end of the login.
func (h *Host) handshakeError(ctx context.Context, err error, wire *wire, check *hostKeyCheck,
	login *login) *failover.Error {
	seen, verdict := check.state()
	negotiation, disagreed := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	said, spoke := wire.greeting()
	switch {
	case verdict != nil:
		return h.notApplied("connect", hostKeyNext(verdict), "%w", verdict)
	case disagreed:
		return h.negotiationError(negotiation)
	case seen != nil:
		return h.loginError(ctx, err, login)
	case spoke:
		return h.notApplied("connect", "look at the load of the machine and at what its SSH server's log says", "%w: %w",
			ErrHandshake, causeOf(ctx, err))
	case said != "":
		return h.notApplied("connect", "see in the SSH server's log why it refuses connections (MaxStartups, penalties), "+
			"and check that the port is that of an SSH server", "%w: it said %q: %w", errNotServed, said, causeOf(ctx, err))
	case ctx.Err() != nil:
		return h.notApplied("connect", "look on the machine's own console whether its SSH server hangs or is full, or whether "+
			"a firewall answers in its place", "%w: it sent nothing: %w", errNotServed, ended(ctx))
	}
	return h.notApplied("connect", "see in the machine's log whether its SSH server is full (MaxStartups) or blocks this "+
		"address, or whether a firewall answers in its place", "%w: it closed the connection without a word: %w",
		errNotServed, err)
}

// background runs f beside the calls; Close waits for it. The channel is closed when f has returned.
func (h *Host) background(f func()) <-chan struct{} {
	done := make(chan struct{})
	h.lines.Go(func() {
		defer close(done)
		f()
	})
	return done
}

// ends reports whether what the signal tells of came within the grace time.
func (h *Host) ends(signal <-chan struct{}) bool {
	select {
	case <-signal:
		return true
	case <-time.After(h.limits.closeGrace):
		return false
	}
}

// closed reports whether a channel on which nothing is sent was closed.
func closed(signal <-chan struct{}) bool {
	select {
	case <-signal:
		return true
	default:
		return false
	}
}

// causeOf prefers the context's reason to the network error it led to.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	return err
}

// ended says that and why ctx ended; errors.Is finds both.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err { //nolint:errorlint // the very same value
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// enter counts a user in, unless the line is dead or being given up.
func (l *line) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired || closed(l.dead) {
		return false
	}
	l.users++
	return true
}

// release counts a user out and closes a retired line behind the last one.
func (l *line) release() {
	l.mu.Lock()
	l.users--
	last := l.retired && l.users == 0
	l.mu.Unlock()
	if last {
		l.close()
	}
}

// retire lets no new user in. The line closes when the last one leaves, so that one call that gives up does not
// put the others in doubt.
func (l *line) retire(cause error) {
	l.mu.Lock()
	l.retired = true
	if l.cause == nil {
		l.cause = cause
	}
	l.mu.Unlock()
}

// why says how the line came to be lost.
func (l *line) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.cause, ErrLineLost) {
		return l.cause
	}
	return ErrLineLost
}

func (l *line) close() {
	_ = l.wire.Close()
	_ = l.conn.Close()
}

func (h *Host) forget(l *line, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, l)
	if h.current == l {
		h.current = nil
	}
	h.log.Info("line ended", "err", err)
}

// settle waits until the line is known to be dead, or has answered. Where it does neither, keepalive ends it.
func (l *line) settle(ctx context.Context) {
	var err error
	select {
	case <-l.host.background(func() { _, _, err = l.conn.SendRequest("keepalive@openssh.com", true, nil) }):
		if err == nil {
			return
		}
	case <-l.dead:
	case <-ctx.Done():
	}
	select {
	case <-l.dead:
	case <-ctx.Done():
	}
}

// keepalive closes the line when nothing at all arrives for misses × every. Any byte counts as life, a refused
// keepalive too.
func (l *line) keepalive(every time.Duration, misses int) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var asked <-chan struct{}
	missed, seen := 0, l.wire.reads.Load()
	for {
		select {
		case <-l.dead:
			return
		case <-ticker.C:
		}
		if now := l.wire.reads.Load(); now != seen {
			missed, seen = 0, now
		} else if missed++; missed > misses {
			l.retire(fmt.Errorf("%w: the machine answered nothing for %s", ErrLineLost, every*time.Duration(misses)))
			l.close()
			return
		}
		if asked == nil || closed(asked) { // one question at a time: the request blocks while the line is dead
			asked = l.host.background(func() { _, _, _ = l.conn.SendRequest("keepalive@openssh.com", true, nil) })
		}
	}
}
