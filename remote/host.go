package remote

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// maxSessions bounds the sessions on one connection. OpenSSH's default MaxSessions is 10 (documented); two are left
// for others.
const maxSessions = 8

// Host is one machine reached over SSH. It is safe for concurrent use. Close it when done.
type Host struct {
	cfg    failover.SSH
	log    *slog.Logger
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	via    *Host // the last jump host, if there is one
	trust  trust
	limits limits

	slots   chan struct{} // one token per session
	dialing chan struct{} // one token: who holds it may dial

	closing context.Context // ends with Close
	close   context.CancelFunc
	calls   sync.WaitGroup // calls under way; each may add to lines
	lines   sync.WaitGroup // goroutines of all lines

	mu      sync.Mutex
	current *line
	all     map[*line]struct{}
	refused failover.Secret // the password that was refused

	dialled int      // dials that have ended
	dialErr error    // why the last one failed, if it did
	algos   []string // host key algorithms that led to a pinned key; of whoever may dial
}

type limits struct {
	closeGrace time.Duration // how long a closed session may take to end before its line is given up
	lingerIdle time.Duration // after the exit status: how long without output until the streams count as ended
	lingerMax  time.Duration // after the exit status: how long at all
}

// Config says how to reach one machine.
type Config struct {
	SSH failover.SSH

	// Logger is told what the connection does: connects, host keys, banners, lost lines. Never commands, output or
	// secrets. nil means no log.
	Logger *slog.Logger

	// Dial replaces the TCP dialer, for sites that go through a proxy and for tests that cut the line. It ends with
	// its context. Its errors count as silence or refusal of the machine only when they are a *net.OpError with Op
	// "dial", as those of net.Dialer are; a proxy's own failure must not look like that. nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New checks config and prepares a Host. It reads the known_hosts files and connects to nothing; the first call does.
// Errors are failover.ErrInvalid.
func New(config Config) (*Host, error) {
	if err := config.SSH.Validate("SSH"); err != nil {
		return nil, err
	}
	var h *Host
	for i, hop := range config.SSH.Jump {
		next, err := newHost(config, hop, fmt.Sprintf("SSH.Jump[%d]", i), h)
		if err != nil {
			return nil, err
		}
		h = next
	}
	return newHost(config, config.SSH, "SSH", h)
}

// newHost makes the Host of a machine or a jump host, which is dialled through the one before it, if there is one.
func newHost(config Config, cfg failover.SSH, field string, via *Host) (*Host, error) {
	known, err := newTrust(cfg, field)
	if err != nil {
		return nil, err
	}
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, 20*time.Second)
	cfg.KeepaliveEvery = cmp.Or(cfg.KeepaliveEvery, 15*time.Second)
	cfg.KeepaliveMisses = cmp.Or(cfg.KeepaliveMisses, 3)
	h := &Host{
		cfg:     cfg,
		trust:   known,
		log:     cmp.Or(config.Logger, slog.New(slog.DiscardHandler)).With("host", cfg.Address),
		dial:    config.Dial,
		via:     via,
		limits:  limits{closeGrace: 500 * time.Millisecond, lingerIdle: 2 * time.Second, lingerMax: 30 * time.Second},
		slots:   make(chan struct{}, maxSessions),
		dialing: make(chan struct{}, 1),
		all:     map[*line]struct{}{},
	}
	h.closing, h.close = context.WithCancel(context.Background())
	switch {
	case via != nil:
		h.dial = via.forward
	case h.dial == nil:
		h.dial = dialTCP
	}
	return h, nil
}

// Address returns the host:port the Host was made for.
func (h *Host) Address() string { return h.cfg.Address }

// Connect makes sure there is a live connection: reachable, the right host key, login accepted. It changes nothing
// on the machine and is safe to repeat, except that a refused password counts at the server.
func (h *Host) Connect(ctx context.Context) error {
	if err := h.begin("connect"); err != nil {
		return err
	}
	defer h.calls.Done()
	l, _, err := h.acquire(ctx)
	if err != nil {
		return err
	}
	l.release()
	return nil
}

// Reach makes a TCP connection of its own to the machine and closes it, without a login and whatever lines there are:
// whether anything answers at the address. [AnswerOf] reads the error. It changes nothing on the machine and may be
// repeated.
func (h *Host) Reach(ctx context.Context) error {
	if err := h.begin("connect"); err != nil {
		return err
	}
	defer h.calls.Done()
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.ConnectTimeout, connectTimeout(h.cfg.ConnectTimeout))
	defer cancel()
	stop := context.AfterFunc(h.closing, cancel)
	defer stop()
	conn, err := h.tcp(ctx)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// Close ends the connection and waits for everything that used it. Calls that are under way end with ErrLineLost
// and their usual outcome.
func (h *Host) Close() error {
	h.mu.Lock()
	h.close()
	lines := slices.Collect(maps.Keys(h.all))
	h.mu.Unlock()
	for _, l := range lines {
		l.retire(errClosed)
		l.close()
	}
	h.calls.Wait()
	h.lines.Wait()
	if h.via != nil {
		return h.via.Close()
	}
	return nil
}

// begin counts a call in; h.calls.Done counts it out.
func (h *Host) begin(op string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing.Err() != nil {
		return h.notApplied(op, "make a new Host", "%w", errClosed)
	}
	h.calls.Add(1)
	return nil
}

// acquire returns a live line, dialling one if there is none, and whether it was dialled just now. The caller
// releases it.
func (h *Host) acquire(ctx context.Context) (l *line, fresh bool, err error) {
	if err := h.dialTurn(ctx); err != nil {
		return nil, false, err
	}
	defer func() { <-h.dialing }()
	h.mu.Lock()
	l = h.current
	h.mu.Unlock()
	if l != nil && l.enter() {
		return l, false, nil
	}
	if l, err = h.register(ctx); err != nil {
		return nil, false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l.users = 1
	h.current = l
	return l, true, nil
}

// dedicated dials a line that nobody shares. The caller closes it.
func (h *Host) dedicated(ctx context.Context) (*line, error) {
	if err := h.dialTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { <-h.dialing }()
	return h.register(ctx)
}

// dialTurn puts a token into h.dialing as soon as nobody else dials. Whoever waited for a dial that failed shares its
// error: many calls at once make one login, not many, and wait for one machine that does not answer once.
func (h *Host) dialTurn(ctx context.Context) error {
	h.mu.Lock()
	arrival := h.dialled
	h.mu.Unlock()
	select {
	case h.dialing <- struct{}{}:
	case <-ctx.Done():
		return h.notApplied("connect", "try again with more time", "%w: waiting for another call to connect: %w",
			ErrUnreachable, ended(ctx))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dialErr != nil && h.dialled > arrival {
		<-h.dialing
		return h.dialErr
	}
	return nil
}

// register dials and enters the line in the books. The caller has the turn.
func (h *Host) register(ctx context.Context) (*line, error) {
	l, err := h.connect(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dialled++
	h.dialErr = nil
	if err != nil {
		if ctx.Err() == nil { // a caller who gave up says nothing about the machine
			h.dialErr = err
		}
		return nil, err
	}
	if h.closing.Err() != nil {
		l.close()
		return nil, h.notApplied("connect", "make a new Host", "%w", errClosed)
	}
	h.all[l] = struct{}{}
	return l, nil
}
