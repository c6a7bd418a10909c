package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

// newHops makes a Host for each jump host and returns the last one, or nil. Each is dialled through the one before.
func newHops(config Config) (*Host, error) {
	var last *Host
	for i, hop := range config.SSH.Jump {
		next := Config{SSH: hop, Logger: config.Logger, Dial: config.Dial}
		h, err := newHost(next, fmt.Sprintf("SSH.Jump[%d]", i))
		if err != nil {
			return nil, err
		}
		if h.via = last; last != nil {
			h.dial = last.forward
		}
		last = h
	}
	return last, nil
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
		answer, next = answerOfRefusal(refused),
			"look from the jump host whether "+address+" answers, and whether its sshd_config allows AllowTcpForwarding and "+
				"PermitOpen"
		err = fmt.Errorf("it reports %q", refused.Message)
	case ctx.Err() != nil:
		next = "look at the load of the jump host and at the network behind it"
		err = fmt.Errorf("no word of the connection: %w", err)
	}
	return nil, withAnswer(answer, jumped(h.notApplied("connect to "+address, next, "%w", err)))
}

// answerOfRefusal reads what a jump host reports of the machine behind it. OpenSSH sends the system's own text
// (channels.c: strerror).
func answerOfRefusal(e *ssh.OpenChannelError) Answer {
	if e.Reason != ssh.ConnectionFailed {
		return AnswerUnknown
	}
	text := strings.ToLower(e.Message)
	for _, words := range []string{"connection refused", "connection reset"} {
		if strings.Contains(text, words) {
			return AnswerSome
		}
	}
	for _, words := range []string{"no route to host", "network is unreachable", "host is unreachable", "host is down",
		"connection timed out", "operation timed out"} {
		if strings.Contains(text, words) {
			return AnswerNone
		}
	}
	return AnswerUnknown
}

// pipe makes a net.Conn of a channel. A channel's own Close does not wake its readers when the server is silent; that
// of a net.Pipe does.
func (h *Host) pipe(l *line, ch ssh.Channel) net.Conn {
	near, far := net.Pipe()
	gone := make(chan struct{})
	h.lines.Go(func() {
		_, _ = io.Copy(far, ch)
		_ = far.Close()
		close(gone)
	})
	h.lines.Go(func() {
		_, _ = io.Copy(ch, far)
		_ = far.Close()
		closed, ended := make(chan struct{}), make(chan struct{})
		h.lines.Go(func() {
			_ = ch.Close()
			close(closed)
		})
		h.lines.Go(func() {
			<-closed
			<-gone
			close(ended)
		})
		select {
		case <-ended:
		case <-time.After(h.limits.closeGrace):
			l.retire(ErrLineLost) // it closes behind its last user, and with it this channel
		}
		l.release()
	})
	return near
}
