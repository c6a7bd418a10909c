package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/localfile"
)

// login is the material of one login attempt. It lives from just before the dial to the end of the handshake.
type login struct {
	signers  []ssh.Signer
	password failover.Secret
	refused  failover.Secret // a password this Host has seen refused
	agent    io.Closer

	mu       sync.Mutex
	spent    bool // the password went out
	withheld bool // it did not go out because it was refused before
	dialogue bool // the password went out as an answer
	asked    string
	passed   []string // methods the server accepted as a part of the login
	allowed  []string // methods the server would take next
}

var (
	errPasswordSpent    = errors.New("the password was given already and is not given twice")
	errPasswordWithheld = errors.New("this password did not log in before and is not sent again, so that the account is " +
		"not locked")
)

// prepareLogin fetches the secrets. It happens before the dial, so that a person who types a passphrase does not
// race with the server's login grace time.
func (h *Host) prepareLogin(ctx context.Context) (l *login, err error) {
	l = &login{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if h.cfg.Key != nil {
		signer, err := h.signer(ctx)
		if err != nil {
			return l, err
		}
		l.signers = append(l.signers, signer)
	}
	if h.cfg.Agent != "" {
		if err := h.useAgent(ctx, l); err != nil {
			return l, err
		}
	}
	if h.cfg.Certificate != "" {
		if err := h.certify(l); err != nil {
			return l, err
		}
	}
	if h.cfg.Password != nil {
		l.password, err = h.cfg.Password(ctx)
		if err == nil && l.password.Empty() {
			err = errors.New("the password is empty")
		}
		if err != nil {
			return l, h.unusable("fetch the password", "make the password available", err)
		}
		h.mu.Lock()
		l.refused = h.refused
		h.mu.Unlock()
	}
	return l, nil
}

func (h *Host) useAgent(ctx context.Context, l *login) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.ConnectTimeout,
		fmt.Errorf("no answer within %s", h.cfg.ConnectTimeout))
	defer cancel()
	conn, err := dialAgent(ctx, h.cfg.Agent)
	if err != nil {
		return h.unusable("connect to the SSH agent", "start the agent or correct its path", causeOf(ctx, err))
	}
	l.agent = conn
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return h.unusable("read keys from the SSH agent", "look at the agent with ssh-add -l", causeOf(ctx, err))
	}
	l.signers = append(l.signers, signers...)
	return nil
}

func (h *Host) signer(ctx context.Context) (ssh.Signer, error) {
	secret, err := h.cfg.Key(ctx)
	if err != nil {
		return nil, h.unusable("fetch the private key", "make the key available", err)
	}
	pem := []byte(secret.Reveal())
	defer clear(pem)
	signer, err := ssh.ParsePrivateKey(pem)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		if h.cfg.Passphrase == nil {
			return nil, h.unusable("open the private key", "set Passphrase for this host",
				errors.New("the key is encrypted and no passphrase is configured"))
		}
		phrase, ferr := h.cfg.Passphrase(ctx)
		if ferr != nil {
			return nil, h.unusable("fetch the passphrase", "make the passphrase available", ferr)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(phrase.Reveal()))
	}
	if err != nil {
		return nil, h.unusable("open the private key", "give a key in PEM or OpenSSH format and its passphrase", err)
	}
	return signer, nil
}

// certify puts the certificate of the configuration in front of the key it was made for. The file is read anew each
// time: certificates of an authority often live for hours only.
func (h *Host) certify(l *login) error {
	const op = "read the user certificate"
	bad := func(next, what string) error {
		return h.unusable(op, next, errors.New(h.cfg.Certificate+": "+what))
	}
	date := func(t uint64) string { return time.Unix(int64(t), 0).UTC().Format(time.RFC3339) } //nolint:gosec // a time

	// OpenSSH's own limit of a key's text is 16 KiB.
	text, err := localfile.Read(h.cfg.Certificate, 64<<10)
	if err != nil {
		return h.unusable(op, "give the path of the -cert.pub file", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	cert, ok := key.(*ssh.Certificate)
	switch now := uint64(time.Now().Unix()); { //nolint:gosec // after 1970
	case err != nil || !ok:
		return bad("give the file that ssh-keygen -s has written, it ends in -cert.pub", "holds no certificate")
	case cert.CertType != ssh.UserCert:
		return bad("give a certificate for a user", "is a certificate for a host")
	case now < cert.ValidAfter:
		return bad("check this machine's clock", "is valid only from "+date(cert.ValidAfter))
	case cert.ValidBefore != ssh.CertTimeInfinity && now >= cert.ValidBefore:
		return bad("renew the certificate", "expired at "+date(cert.ValidBefore))
	}
	for _, signer := range l.signers {
		if certified, err := ssh.NewCertSigner(cert, signer); err == nil {
			l.signers = append([]ssh.Signer{certified}, l.signers...)
			return nil
		}
	}
	return bad("give the private key the certificate was made for",
		"belongs to none of the keys at hand; it is for "+ssh.FingerprintSHA256(cert.Key))
}

func (h *Host) unusable(op, next string, err error) *failover.Error {
	return h.notApplied(op, next, "%w: %w", ErrCredentials, err)
}

// methods offers public keys first, then the password, directly or as the answer to a question.
func (l *login) methods() []ssh.AuthMethod {
	var list []ssh.AuthMethod
	if len(l.signers) > 0 {
		list = append(list, ssh.PublicKeys(l.signers...))
	}
	if !l.password.Empty() {
		list = append(list, ssh.PasswordCallback(l.spend), ssh.KeyboardInteractive(l.answer))
	}
	return list
}

// spend hands out the password once.
func (l *login) spend() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spent {
		return "", errPasswordSpent
	}
	value := l.password.Reveal()
	if !l.refused.Empty() && l.refused.Reveal() == value {
		l.withheld = true
		return "", errPasswordWithheld
	}
	l.spent = true
	return value, nil
}

// answer replies to keyboard-interactive questions. Only a question whose answer is not echoed can be the password,
// and only the first one: a second one asks for something else, a new password or a one-time code.
func (l *login) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	answers := make([]string, len(questions))
	if len(questions) == 0 {
		return answers, nil // the server only tells something
	}
	for i, question := range questions {
		if echos[i] {
			return nil, l.unanswered(question)
		}
		value, err := l.spend()
		if err != nil {
			if l.dialogue {
				return nil, l.unanswered(question)
			}
			return nil, err // the server refused the plain password before and now asks for it
		}
		l.dialogue = true
		answers[i] = value
	}
	return answers, nil
}

func (l *login) unanswered(question string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = question
	return fmt.Errorf("the server asks %q, which is not answered", question)
}

func (l *login) close() {
	if l.agent != nil {
		_ = l.agent.Close()
	}
}

// progress notes what the server has accepted so far and what it would take next.
func (l *login) progress(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed, l.allowed = c.PartialSuccessMethods, c.AllowedMethods
	return nil, nil
}

// loginError sorts what went wrong after the host key was accepted.
func (h *Host) loginError(ctx context.Context, err error, login *login) *failover.Error {
	login.mu.Lock()
	defer login.mu.Unlock()
	const op = "log in"
	text := err.Error()
	given := strings.Contains(text, "unable to authenticate") || errors.Is(err, errPasswordSpent) ||
		errors.Is(err, errPasswordWithheld)
	hungUp := strings.Contains(text, "ssh: disconnect") // the server says why
	// A line that merely broke says nothing about the password, and neither does one that was accepted as a part.
	half := slices.ContainsFunc(login.passed, func(method string) bool { return method != "publickey" })
	if login.spent && !half && (given || hungUp || login.asked != "") {
		h.mu.Lock()
		h.refused = login.password
		h.mu.Unlock()
	}
	so := ""
	if len(login.passed) > 0 {
		so = " the server accepted " + strings.Join(login.passed, " and ") + ","
	}
	usable := slices.ContainsFunc(login.allowed, func(method string) bool {
		return method == "publickey" && len(login.signers) > 0 ||
			(method == "password" || method == "keyboard-interactive") && !login.password.Empty()
	})
	switch {
	case login.withheld:
		return h.notApplied(op, "correct the password or unlock the account, then make a new Host", "%w as %s: %w", ErrLogin,
			h.cfg.User, errPasswordWithheld)
	case login.asked != "":
		return h.notApplied(op, "log in by hand once to see what the server wants; an expired password must be changed there",
			"%w as %s:%s it asks %q, which is not answered", ErrLoginIncomplete, h.cfg.User, so, login.asked)
	case ctx.Err() != nil:
		return h.notApplied(op, "look at the load of the machine and at what its logins wait for (directory, name service, "+
			"agent); raise ConnectTimeout", "%w as %s:%s %w", ErrLoginUnfinished, h.cfg.User, so, ended(ctx))
	case !given && !hungUp:
		return h.notApplied(op, "see in the SSH server's log why it ended the connection, then try again",
			"%w as %s:%s %w: %w", ErrLoginUnfinished, h.cfg.User, so, ErrLineLost, err)
	case given && !usable && len(login.allowed) > 0 && !login.spent:
		return h.notApplied(op, "configure what the server wants, or let its administrator change AuthenticationMethods for "+
			"this account", "%w as %s:%s it wants %s, which is not configured", ErrLoginIncomplete, h.cfg.User, so,
			strings.Join(login.allowed, " or "))
	case errors.Is(err, errPasswordSpent):
		err = errors.New("the password was refused")
	}
	return h.notApplied(op, "check the account on the machine (locked, expired, failed logins, login hours) before "+
		"trying again: failed tries count", "%w as %s:%s %w", ErrLogin, h.cfg.User, so, err)
}
