package remote

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"

	"github.com/01b61c5c/failover/internal/enum"
)

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
