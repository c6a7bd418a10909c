package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
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
	return n, err
}

// line is one SSH connection.
type line struct {
	host *Host
	wire *wire
	conn ssh.Conn
	dead chan struct{} // closed when the transport has ended

	mu      sync.Mutex
	users   int
	retired bool
	cause   error // why this end gave the line up, if it did
}

// connect dials, checks the host key and logs in, all within ConnectTimeout.
func (h *Host) connect(ctx context.Context) (*line, error) {
	login, err := h.prepareLogin(ctx)
	if err != nil {
		return nil, err
	}
	defer login.close()
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.ConnectTimeout, fmt.Errorf("no connection within %s", h.cfg.ConnectTimeout))
	defer cancel()
	stop := context.AfterFunc(h.closing, cancel)
	defer stop()
	stopAgent := context.AfterFunc(ctx, login.close) // an agent may wait for a person to confirm
	defer stopAgent()

	algos := h.hostKeyAlgorithms()
	h.mu.Lock()
	if h.algos != nil {
		algos = h.algos
	}
	h.algos = nil
	h.mu.Unlock()
	var verdict error
	for {
		l, seen, err := h.dial(ctx, algos, login)
		if err == nil {
			h.mu.Lock()
			h.algos = algos
			h.mu.Unlock()
			return l, nil
		}
		// A server has several host keys and shows the one that was negotiated. Before a pinned key counts as
		// changed the others are asked for; the handshake ends before any login.
		if seen != nil && errors.Is(err, ErrHostKeyChanged) && len(h.cfg.HostKeys) > 0 {
			verdict = err
			if algos = withoutFamily(algos, seen); len(algos) > 0 {
				continue
			}
		}
		switch {
		case verdict == nil || errors.Is(err, ErrPeerHostKey) || errors.Is(err, ErrHostKeyChanged):
			return nil, err
		case errors.Is(err, ErrNoCommonAlgorithm):
			return nil, h.verdictWithHint(verdict, err)
		}
		return nil, h.notApplied("connect", hostKeyNext(ErrHostKeyChanged), "%w; asking for its other keys: %w", verdict, err)
	}
}

// verdictWithHint is the verdict over the keys the server showed, with the reason why it could not show its others.
func (h *Host) verdictWithHint(verdict, negotiation error) error {
	e, ok := errors.AsType[*ssh.AlgorithmNegotiationError](negotiation)
	v, isError := errors.AsType[*failover.Error](verdict)
	if !ok || !isError || !legacyOnly(e.RequestedAlgorithms, slices.Concat(hostKeyFamilies...)) || h.cfg.LegacyAlgorithms {
		return verdict
	}
	return h.fail(v.Op, v.Outcome, v.Next, fmt.Errorf("%w; it has a further key that it shows only under old algorithms, set LegacyAlgorithms if that one is pinned", v.Err))
}

// hostKeyAlgorithms are the algorithms asked for: those of the keys that are known, or all when fingerprints are
// pinned, which do not tell the kind of key.
func (h *Host) hostKeyAlgorithms() []string {
	if algos := h.knownAlgorithms(); len(algos) > 0 {
		return algos
	}
	algos := slices.Concat(hostKeyFamilies...)
	if h.cfg.LegacyAlgorithms {
		algos = append(algos, slices.Concat(legacyHostKeyFamilies...)...)
	}
	return algos
}

func (h *Host) knownAlgorithms() []string {
	if h.known == nil {
		return nil
	}
	algos := h.known.HostKeyAlgorithms(h.cfg.Address)
	isCertificate := func(s string) bool { return strings.Contains(s, "-cert-v01@") }
	if slices.ContainsFunc(algos, isCertificate) {
		// An authority may certify host keys of other kinds than its own.
		for _, algo := range ssh.SupportedAlgorithms().HostKeys {
			if isCertificate(algo) && !slices.Contains(algos, algo) {
				algos = append(algos, algo)
			}
		}
	}
	if !h.cfg.LegacyAlgorithms {
		algos = slices.DeleteFunc(algos, func(s string) bool { return s == ssh.KeyAlgoRSA || s == keyAlgoDSA })
	}
	return algos
}

// dial makes one connection. When the host key was the reason to stop, seen is that key.
func (h *Host) dial(ctx context.Context, hostKeyAlgos []string, login *login) (_ *line, seen ssh.PublicKey, _ error) {
	raw, err := h.dialer(ctx, "tcp", h.cfg.Address)
	if err != nil {
		return nil, nil, h.notApplied("connect", "check that the machine is up and that its address and port are reachable from here", "%w: %w", ErrUnreachable, causeOf(ctx, err))
	}
	wire := &wire{Conn: raw}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline.Add(time.Second)) // a second guard; the context, which tells why, comes first
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })

	check := &hostKeyCheck{pinned: h.cfg.HostKeys, peer: h.cfg.PeerKeys, any: h.cfg.InsecureAnyHostKey}
	if h.known != nil {
		check.known = h.known.HostKeyCallback()
	}
	cfg := &ssh.ClientConfig{
		User:              h.cfg.User,
		Auth:              login.methods(),
		HostKeyCallback:   check.callback,
		HostKeyAlgorithms: hostKeyAlgos,
		AuthCallback: func(*ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			login.mu.Lock()
			defer login.mu.Unlock()
			login.started = true
			return nil, nil
		},
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
		key, _, verdict := check.state()
		return nil, key, h.dialError(ctx, err, verdict, login)
	}
	if !stop() {
		_ = conn.Close()
		return nil, nil, h.notApplied("connect", "try again with more time", "%w: %w", ErrHandshake, ended(ctx))
	}
	_ = raw.SetDeadline(time.Time{})

	key, _, _ := check.state()
	h.log.Info("connected", "server", string(conn.ServerVersion()), "hostkey", ssh.FingerprintSHA256(key))
	l := &line{host: h, wire: wire, conn: conn, dead: make(chan struct{})}
	h.lines.Go(func() {
		ssh.DiscardRequests(reqs)
	})
	h.lines.Go(func() {
		for ch := range chans {
			_ = ch.Reject(ssh.Prohibited, "no channels are accepted from the server")
		}
	})
	h.lines.Go(func() {
		err := conn.Wait()
		close(l.dead)
		h.forget(l, err)
	})
	h.lines.Go(func() {
		l.keepalive(h.cfg.KeepaliveEvery, h.cfg.KeepaliveMisses)
	})
	return l, nil, nil
}

// dialError sorts what went wrong between TCP connect and the end of the login.
func (h *Host) dialError(ctx context.Context, err, verdict error, login *login) error {
	if verdict != nil {
		return h.fail("connect", failover.NotApplied, hostKeyNext(verdict), verdict)
	}
	if e, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		return h.negotiationError(e)
	}
	login.mu.Lock()
	defer login.mu.Unlock()
	if !login.started {
		return h.notApplied("connect", "check that an SSH server answers at this port and what its log says", "%w: %w", ErrHandshake, causeOf(ctx, err))
	}
	// A line that merely broke says nothing about the password.
	text := err.Error()
	judged := login.asked != "" || errors.Is(err, errPasswordSpent) || strings.Contains(text, "unable to authenticate") || strings.Contains(text, "ssh: disconnect")
	if login.spent && judged {
		h.mu.Lock()
		h.refused = login.password
		h.mu.Unlock()
	}
	switch {
	case login.withheld:
		return h.notApplied("log in", "correct the password or unlock the account, then make a new Host", "%w as %s: %w", ErrLogin, h.cfg.User, errPasswordWithheld)
	case login.asked != "":
		return h.notApplied("log in", "log in by hand once to see what the server wants; an expired password must be changed there", "%w as %s: the server asks %q, which is not answered", ErrLogin, h.cfg.User, login.asked)
	default:
		if errors.Is(err, errPasswordSpent) {
			err = errors.New("the password was refused")
		}
		return h.notApplied("log in", "check the account on the machine (locked, expired, failed logins, login hours) before trying again: failed tries count", "%w as %s: %w", ErrLogin, h.cfg.User, causeOf(ctx, err))
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
	if l.retired || l.isDead() {
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

func (l *line) close() {
	_ = l.wire.Close()
	_ = l.conn.Close()
}

func (l *line) isDead() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
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

// keepalive closes the line when nothing at all arrives for misses × every. Any byte counts as life, a refused
// keepalive too.
func (l *line) keepalive(every time.Duration, misses int) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	answered := make(chan struct{}, 1)
	answered <- struct{}{}
	var asking sync.WaitGroup
	defer asking.Wait()
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
		select {
		case <-answered: // one question at a time: the request blocks while the line is dead
			asking.Go(func() {
				_, _, _ = l.conn.SendRequest("keepalive@openssh.com", true, nil)
				answered <- struct{}{}
			})
		default:
		}
	}
}
