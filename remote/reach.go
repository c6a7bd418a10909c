package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

// connectTimeout is the cause of a context that ended because ConnectTimeout was over.
type connectTimeout time.Duration

func (t connectTimeout) Error() string {
	return fmt.Sprintf("no connection within %s", time.Duration(t))
}

// dialTCP connects to whichever address of a name takes the connection first. Each has the whole time. When none does,
// the error holds one *net.OpError for each: net.Dialer itself keeps the first one only, so that a missing IPv6 route
// would hide the refusal of a living machine.
func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	dialer := net.Dialer{KeepAlive: 15 * time.Second}
	if len(addrs) == 1 {
		return dialer.DialContext(ctx, network, net.JoinHostPort(addrs[0].String(), port))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(addrs))
	var mu sync.Mutex
	var won net.Conn
	var dials sync.WaitGroup
	for i, addr := range addrs {
		dials.Go(func() {
			conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				errs[i] = err
			case won != nil:
				_ = conn.Close()
			default:
				won = conn
				cancel()
			}
		})
	}
	dials.Wait()
	if won != nil {
		return won, nil
	}
	return nil, errors.Join(errs...)
}

// tcp makes the TCP connection and sorts what went wrong.
func (h *Host) tcp(ctx context.Context) (net.Conn, error) {
	conn, err := h.dial(ctx, "tcp", h.cfg.Address)
	if err == nil {
		return conn, nil
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // due; the dialer's own timer was a little faster
	}
	cause, next := causeOf(ctx, err), "check that the machine is up and that its address and port are reachable from here"
	if jump, ok := errors.AsType[*jumpError](err); ok {
		cause, next = err, jump.next
	}
	answer, reason := answerOfDial(ctx, err), ErrUnreachable
	switch answer {
	case AnswerNone:
		reason, next = errNoAnswer, "look at the machine's own console: it may be off, or the network between may be broken"
	case AnswerSome:
		reason, next = errPortClosed, "start its SSH server, correct the port, or see whether a firewall refuses in its place"
	}
	return nil, h.notApplied("connect", next, "%w", withAnswer(answer, fmt.Errorf("%w: %w", reason, cause)))
}

// Answer says whether anything at a machine's address gave a sign of life in a call that failed.
type Answer int

const (
	// AnswerUnknown: the call does not tell. The name could not be looked up, the caller's context ended first, a jump
	// host or a proxy failed, a secret was missing, or an older connection broke. Never read it as silence.
	AnswerUnknown Answer = iota
	// AnswerNone: nothing came back. There was no route, or the TCP connect ran for the whole ConnectTimeout. A
	// machine that is switched off looks like this. So does one behind a broken network or a firewall that drops packets
	// or reports them as forbidden (the system then says "no route"), and a living one whose system takes no more
	// connections.
	AnswerNone
	// AnswerSome: something answered: a refused port, a byte, a handshake, keys or algorithms that do not fit, a refused or
	// slow login. It may be a firewall in the machine's place.
	AnswerSome
)

var answerNames = []string{AnswerUnknown: "unknown", AnswerNone: "none", AnswerSome: "some"}

// String returns "unknown", "none" or "some".
func (a Answer) String() string { return enum.Name(answerNames, a) }

// AnswerOf tells from the error of one call to one [Host] whether the machine answered. Only AnswerNone is a proof of
// silence. A nil error is AnswerSome.
func AnswerOf(err error) Answer {
	if err == nil {
		return AnswerSome
	}
	if e, ok := errors.AsType[*answerError](err); ok {
		return e.answer
	}
	return AnswerUnknown
}

// answerError adds the evidence to an error without a word of its own.
type answerError struct {
	answer Answer
	err    error
}

func (e *answerError) Error() string { return e.err.Error() }

func (e *answerError) Unwrap() error { return e.err }

func withAnswer(answer Answer, err error) error { return &answerError{answer, err} }

// answerOfDial sorts the error of a dialer. ctx is the one that bounded the dial.
func answerOfDial(ctx context.Context, err error) Answer {
	if e, ok := errors.AsType[*answerError](err); ok {
		return e.answer
	}
	if errors.Is(err, ErrJumpHost) {
		return AnswerUnknown
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // one error for each address of a name
		var answers []Answer
		for _, err := range all.Unwrap() {
			answers = append(answers, answerOfDial(ctx, err))
		}
		switch { // one answer is enough for life, and every address must be silent for silence
		case slices.Contains(answers, AnswerSome):
			return AnswerSome
		case slices.Contains(answers, AnswerUnknown) || len(answers) == 0:
			return AnswerUnknown
		}
		return AnswerNone
	}
	// Only an error of the form of net.Dialer's own is read; a proxy's error may speak of the proxy.
	op, ok := err.(*net.OpError) //nolint:errorlint // as said
	if !ok || op.Op != "dial" {
		return AnswerUnknown
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return AnswerUnknown
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		switch {
		case slices.Contains(refusals, errno):
			return AnswerSome
		case slices.Contains(silences, errno):
			return AnswerNone
		}
		return AnswerUnknown
	}
	// A caller with little patience proves nothing: only the whole ConnectTimeout counts.
	if _, whole := context.Cause(ctx).(connectTimeout); op.Timeout() && whole { //nolint:errorlint // the very cause
		return AnswerNone
	}
	return AnswerUnknown
}

// jumpError is what went wrong on a jump host. Its cause is told and not found by errors.Is: a host key or a login that
// is wrong there must not be taken for one of the machine behind it.
type jumpError struct {
	text, next string
	is         []error
}

func jumped(err error) error {
	e := &jumpError{text: fmt.Sprintf("%v: %v", ErrJumpHost, err), next: failover.NextOf(err), is: []error{ErrJumpHost}}
	for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, end) {
			e.is = append(e.is, end)
		}
	}
	return e
}

func (e *jumpError) Error() string { return e.text }

func (e *jumpError) Unwrap() []error { return e.is }

// forward lets this machine open a TCP connection for us, as ssh -W does. What goes wrong on this machine says nothing
// about the one behind it; what this machine reports of that one does.
func (h *Host) forward(ctx context.Context, _, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", portText)
	if err != nil {
		return nil, err
	}
	l, _, err := h.acquire(ctx)
	if err != nil {
		return nil, jumped(err)
	}
	ch, reqs, err := l.channel(ctx, "direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, uint32(port), "127.0.0.1", 0})) //nolint:gosec // a port
	if err == nil {
		h.lines.Go(func() { ssh.DiscardRequests(reqs) })
		return h.pipe(l, ch), nil
	}
	l.release()
	answer, next := AnswerUnknown, "try again"
	refused, isRefusal := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case isRefusal:
		answer, next = answerOfRefusal(refused), "look from the jump host whether "+address+" answers, and whether its "+
			"sshd_config allows AllowTcpForwarding and PermitOpen"
		err = fmt.Errorf("it reports %q", refused.Message)
	case ctx.Err() != nil:
		next = "look at the load of the jump host and at the network behind it"
		err = fmt.Errorf("no word of the connection: %w", err)
	}
	return nil, withAnswer(answer, jumped(h.notApplied("connect to "+address, next, "%w", err)))
}

// answerOfRefusal reads what a jump host reports of the machine behind it. OpenSSH sends the system's own text
// (channels.c: strerror), which AIX words in its own way.
func answerOfRefusal(e *ssh.OpenChannelError) Answer {
	said := func(words string) bool { return strings.Contains(strings.ToLower(e.Message), words) }
	switch {
	case e.Reason != ssh.ConnectionFailed:
	case slices.ContainsFunc([]string{"connection refused", "connection reset", "refused an attempted connect"}, said):
		return AnswerSome
	case slices.ContainsFunc([]string{"no route to host", "network is unreachable", "host is unreachable", "host is down",
		"connection timed out", "operation timed out", "did not respond within the timeout period",
		"route to the remote host is not available"}, said):
		return AnswerNone
	}
	return AnswerUnknown
}

// pipe makes a net.Conn of a channel. A channel's own Close does not wake its readers when the server is silent; that
// of a net.Pipe does.
func (h *Host) pipe(l *line, ch ssh.Channel) net.Conn {
	near, far := net.Pipe()
	received := h.background(func() {
		_, _ = io.Copy(far, ch)
		_ = far.Close()
	})
	h.background(func() {
		_, _ = io.Copy(ch, far)
		_ = far.Close()
		if !h.ends(h.background(func() {
			_ = ch.Close()
			<-received
		})) {
			l.retire(ErrLineLost) // it closes behind its last user, and with it this channel
		}
		l.release()
	})
	return near
}
