package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

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
// (channels.c: strerror).
func answerOfRefusal(e *ssh.OpenChannelError) Answer {
	said := func(words string) bool { return strings.Contains(strings.ToLower(e.Message), words) }
	switch {
	case e.Reason != ssh.ConnectionFailed:
	case slices.ContainsFunc([]string{"connection refused", "connection reset"}, said):
		return AnswerSome
	case slices.ContainsFunc([]string{"no route to host", "network is unreachable", "host is unreachable", "host is down",
		"connection timed out", "operation timed out"}, said):
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
