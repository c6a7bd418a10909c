package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
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
