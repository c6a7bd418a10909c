package remote

import (
	"errors"
	"fmt"

	"github.com/01b61c5c/failover"
)

// Sentinels; test with errors.Is. Everything up to ErrLogin happened before any command was sent.
var (
	// ErrUnreachable: no TCP connection came about.
	ErrUnreachable = errors.New("host unreachable")
	// ErrHandshake: TCP connected, but the SSH handshake did not complete.
	ErrHandshake = errors.New("SSH handshake failed")
	// ErrNoCommonAlgorithm: the server offers only algorithms this client does not. It comes with ErrHandshake.
	ErrNoCommonAlgorithm = errors.New("no common algorithm")
	// ErrUnknownHostKey: the known_hosts file has no key for the address.
	ErrUnknownHostKey = errors.New("host key unknown")
	// ErrHostKeyChanged: the machine shows another key than the one that is pinned or known.
	ErrHostKeyChanged = errors.New("host key changed")
	// ErrPeerHostKey: the machine shows the key of its partner. The addresses may be swapped.
	ErrPeerHostKey = errors.New("host key of the partner machine")
	// ErrLogin: the server refused the login.
	ErrLogin = errors.New("login refused")
	// ErrPasswordExpired: the account may not run anything until its password is changed. It comes with ErrLogin.
	ErrPasswordExpired = errors.New("password expired")
	// ErrRefused: the server refused to open a session or to run the command.
	ErrRefused = errors.New("refused by the SSH server")
	// ErrLineLost: the connection broke.
	ErrLineLost = errors.New("line lost")
	// ErrNoExitStatus: the command's channel closed and the server never said how the command ended.
	ErrNoExitStatus = errors.New("no exit status")
	// ErrSignalled: a signal ended the command; Result.Signal has its name.
	ErrSignalled = errors.New("ended by a signal")
	// ErrMismatch: a file's size or SHA-256 at the other end is not what was sent or asked for.
	ErrMismatch = errors.New("content differs")
	// ErrTooLarge: a file is larger than the caller allows.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrClosed: the Host was closed.
	ErrClosed = errors.New("host closed")
)

func (h *Host) fail(op string, outcome failover.Outcome, next string, err error) *failover.Error {
	return &failover.Error{Op: op, Target: h.cfg.Address, Outcome: outcome, Next: next, Err: err}
}

func (h *Host) notApplied(op, next string, format string, args ...any) *failover.Error {
	return h.fail(op, failover.NotApplied, next, fmt.Errorf(format, args...))
}

func (h *Host) inDoubt(op, next string, format string, args ...any) *failover.Error {
	return h.fail(op, failover.InDoubt, next, fmt.Errorf(format, args...))
}
