package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

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
		reason, next = errPortClosed, "the machine is alive: start its SSH server or correct the port"
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
	// machine that is switched off looks like this. So does one behind a broken network or a firewall that drops
	// packets, and a living one whose system takes no more connections.
	AnswerNone
	// AnswerSome: something answered: a refused port, a byte, a handshake, a host key, a refused or slow login.
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
