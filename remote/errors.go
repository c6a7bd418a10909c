package remote

import (
	"errors"
	"fmt"

	"github.com/01b61c5c/failover"
)

// Sentinels; test with errors.Is. All of them up to ErrPasswordExpired happened before any command was sent. What they
// say about the machine's life tells [AnswerOf].
var (
	// ErrUnreachable: no TCP connection came about: the port is closed, nothing answered, or nobody can tell.
	ErrUnreachable = errors.New("no connection")
	// ErrJumpHost: a jump host could not be reached, did not let us in, or did not pass the connection on. It says
	// nothing about the machine behind it.
	ErrJumpHost = errors.New("jump host")

	// ErrHandshake: TCP connected, but the SSH handshake did not complete.
	ErrHandshake = errors.New("SSH handshake failed")
	// ErrNoCommonAlgorithm: the server offers only algorithms this client does not. It wraps ErrHandshake.
	ErrNoCommonAlgorithm = fmt.Errorf("%w: no common algorithm", ErrHandshake)

	// ErrUnknownHostKey: the known_hosts file has no key for the address.
	ErrUnknownHostKey = errors.New("host key unknown")
	// ErrHostKeyChanged: the machine shows another key than the one that is pinned or known, or a revoked one.
	ErrHostKeyChanged = errors.New("host key changed")
	// ErrPeerHostKey: the machine shows the key of its partner. The addresses may be swapped.
	ErrPeerHostKey = errors.New("host key of the partner machine")

	// ErrCredentials: a key, certificate, passphrase, password or agent could not be used on this machine. Nothing was
	// dialled.
	ErrCredentials = errors.New("credentials not usable")
	// ErrLogin: the server refused the login. Failed logins count at the server.
	ErrLogin = errors.New("login refused")
	// ErrLoginIncomplete: the server refused nothing and wants more than is configured: a second factor, another
	// method, the answer to a question.
	ErrLoginIncomplete = errors.New("login incomplete")
	// ErrLoginUnfinished: time was up or the line broke during the login. Nobody refused it.
	ErrLoginUnfinished = errors.New("login not finished")
	// ErrPasswordExpired: the account may not run anything until its password is changed. It wraps ErrLogin.
	ErrPasswordExpired = fmt.Errorf("%w: password expired", ErrLogin)

	// ErrRefused: the server refused to open a session or to run the command.
	ErrRefused = errors.New("refused by the SSH server")
	// ErrLineLost: the connection broke.
	ErrLineLost = errors.New("line lost")
	// ErrNoExitStatus: the command's channel closed and the server never said how the command ended.
	ErrNoExitStatus = errors.New("no exit status")
	// ErrMismatch: a file's size or SHA-256 at the other end is not what was sent or asked for.
	ErrMismatch = errors.New("content differs")
	// ErrNoSpace: the machine's file system is full. The rest of the upload was taken away again.
	ErrNoSpace = errors.New("no space left on the machine")
	// ErrNotRegular: at the path is something else than a regular file.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge: a file is larger than the caller allows.
	ErrTooLarge = errors.New("larger than allowed")
)

// What no caller acts on, and is said in words only.
var (
	errNoAnswer   = fmt.Errorf("%w: nothing answered", ErrUnreachable)
	errPortClosed = fmt.Errorf("%w: the port is closed", ErrUnreachable)
	// The server closed the connection or stayed silent before it said anything of SSH: it is full (MaxStartups), hangs,
	// or blocks this address.
	errNotServed = fmt.Errorf("%w: the server does not serve this connection", ErrHandshake)
	errSignalled = errors.New("ended by a signal")
	errReadOnly  = errors.New("read-only file system")
	errClosed    = errors.New("host closed")
)

func (h *Host) fail(op string, outcome failover.Outcome, next string, err error) *failover.Error {
	return &failover.Error{Op: op, Target: h.cfg.Address, Outcome: outcome, Next: next, Err: err}
}

func (h *Host) notApplied(op, next, format string, args ...any) *failover.Error {
	return h.fail(op, failover.NotApplied, next, fmt.Errorf(format, args...))
}

func (h *Host) inDoubt(op, next, format string, args ...any) *failover.Error {
	return h.fail(op, failover.InDoubt, next, fmt.Errorf(format, args...))
}

// refusal is the error of a server that answers and does not do what was asked.
func (h *Host) refusal(op, next, what string) *failover.Error {
	return h.notApplied(op, next, "%w", withAnswer(AnswerSome, fmt.Errorf("%w: %s", ErrRefused, what)))
}
