package opcon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// tokenState is the token in use. gen counts logins, so that of several requests refused at once only one logs in.
type tokenState struct {
	turn  chan struct{} // held by who reads or changes what follows; a login may take long, so a wait for it ends with ctx
	token failover.Secret
	until time.Time // zero: unknown or never
	gen   int

	refused failover.Secret // the password that was refused; sending it again could lock the account

	knownMu sync.Mutex
	known   []failover.Secret // everything that must not show in an error text
}

const tokenMargin = 20 * time.Second // so long before its end a token counts as expired

// token returns the token to use and its generation, logging in if there is none, or if the server has refused that of
// the generation refused and nobody else has renewed it meanwhile.
func (c *Client) token(ctx context.Context, refused int) (failover.Secret, int, error) {
	t := &c.tokens
	if err := c.takeTurn(ctx); err != nil {
		return failover.Secret{}, 0, err
	}
	defer func() { <-t.turn }()
	if !t.token.Empty() && t.gen != refused && (t.until.IsZero() || c.serverNow().Before(t.until.Add(-tokenMargin))) {
		return t.token, t.gen, nil
	}
	err := c.loginLocked(ctx)
	return t.token, t.gen, err
}

// takeTurn waits until nobody else logs in.
func (c *Client) takeTurn(ctx context.Context) error {
	select {
	case c.tokens.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return unchanged("log in to", c.host, "run again with more time", context.Cause(ctx))
	}
}

// noLogin is the error of a login that failed. None changes anything that an operator would have to settle.
func (c *Client) noLogin(next string, err error) error {
	return unchanged("log in to", c.host, next, err)
}

func (c *Client) loginLocked(ctx context.Context) error {
	const nextSecret = "make the password or token available and run again"
	t := &c.tokens
	fetch := c.conf.Password
	if c.conf.Token != nil {
		fetch = c.conf.Token
	}
	secret, err := fetch(ctx)
	if err != nil {
		return unchanged("fetch the secret for", c.host, nextSecret, err)
	}
	if secret.Empty() {
		return c.noLogin(nextSecret, errors.New("the secret is empty"))
	}
	t.remember(secret) // as it came and as it is sent
	if c.conf.Token != nil {
		token, err := cleanToken(secret.Reveal())
		if err != nil {
			return c.noLogin(failover.NextOf(err), err)
		}
		t.token, t.until = failover.NewSecret(token), time.Time{}
		t.remember(t.token)
		t.gen++
		return nil
	}
	// An editor adds a mark and line ends to a file with one line.
	secret = failover.NewSecret(strings.TrimRight(strings.TrimPrefix(secret.Reveal(), "\ufeff"), "\r\n"))
	t.remember(secret)
	if !t.refused.Empty() && t.refused.Reveal() == secret.Reveal() {
		return c.noLogin("correct the service account's name and password, then run again", because(ErrAuth,
			"this password was refused before and is not sent again, so that the account is not locked"))
	}
	kind := map[string]any{"type": "User"}
	if c.conf.Application != "" {
		kind = map[string]any{"type": "Application", "id": c.conf.Application}
	}
	in := call{op: "log in to", target: c.host, method: http.MethodPost, path: "/api/tokens", open: true,
		body: map[string]any{"tokenType": kind,
			"user": map[string]any{"loginName": c.conf.User, "password": secret.Reveal()}}}
	rep, err := c.exchange(ctx, in, failover.Secret{})
	if err == nil {
		err = c.refusal(in, rep)
	}
	if err != nil {
		if err = c.loginError(err); errors.Is(err, ErrAuth) {
			t.refused = secret
		}
		return err
	}
	got := readObject(rep.body)
	if got.text("id") == "" {
		return c.noLogin("check that the address is the OpCon API", errors.New("the answer holds no token"))
	}
	t.token, t.until = failover.NewSecret(got.text("id")), time.Time{}
	t.remember(t.token)
	// An end that has passed already comes from a clock or a zone that differs; then the server's 401 is what tells.
	now := c.serverNow()
	if until, ok := parseTime(got.text("validUntil")); ok && c.conf.Application == "" &&
		now.Before(until.Add(-tokenMargin)) {
		t.until = until
	}
	t.gen++
	if got.truth("passwordExpired") {
		c.log.WarnContext(ctx, "opcon: the service account's password has expired", "user", c.conf.User)
	}
	return nil
}

// loginError judges a failed login. Only the API's own words prove that it knows the password to be wrong: 401, or the
// code 2003 for a disabled user (seen in client code). Any other refusal says nothing about the password.
func (c *Client) loginError(err error) error {
	api, ok := errors.AsType[*APIError](err)
	if !ok {
		if fe, isOurs := errors.AsType[*failover.Error](err); isOurs {
			return c.noLogin(fe.Next, fe.Err)
		}
		return c.noLogin("check address and certificate, then run again", err)
	}
	notAPI := func(text string) error {
		return c.noLogin("check host, port and scheme of the address; the password was not judged",
			fmt.Errorf("%s: %w", text, api))
	}
	switch {
	case slices.Contains(api.Codes, 2003):
		return c.noLogin("have the service account enabled in OpCon", fmt.Errorf("%w: %w", ErrAuth, api))
	case api.Status == http.StatusUnauthorized && api.own:
		return c.noLogin("check the service account's name and password; repeated attempts may lock it",
			fmt.Errorf("%w: %w", ErrAuth, api))
	case api.Status == http.StatusBadRequest && strings.HasPrefix(c.base, "http:"):
		return notAPI("what answers takes no request in clear text, or is not the OpCon API")
	case !api.own && api.Status < http.StatusInternalServerError:
		return notAPI("what answers is not the OpCon API")
	case api.Status == http.StatusForbidden:
		return c.noLogin("have the service account allowed to use the API", fmt.Errorf("%w: %w", ErrForbidden, api))
	}
	return c.noLogin("read the server's message; the password was not judged", api)
}

// logoff ends a user token.
func (c *Client) logoff(ctx context.Context) error {
	t := &c.tokens
	if err := c.takeTurn(ctx); err != nil {
		return err
	}
	token := t.token
	t.token, t.until = failover.Secret{}, time.Time{}
	<-t.turn
	if token.Empty() || c.conf.Token != nil || c.conf.Application != "" {
		return nil
	}
	in := call{op: "log off from", target: c.host, method: http.MethodDelete, path: "/api/tokens"}
	rep, err := c.exchange(ctx, in, token)
	if err == nil && rep.status != http.StatusUnauthorized && rep.status != http.StatusNotFound {
		err = c.refusal(in, rep)
	}
	return err
}

func (t *tokenState) remember(s failover.Secret) {
	t.knownMu.Lock()
	defer t.knownMu.Unlock()
	if slices.ContainsFunc(t.known, func(k failover.Secret) bool { return k.Reveal() == s.Reveal() }) {
		return
	}
	t.known = append(t.known, s)
	if len(t.known) > 16 {
		t.known = append(t.known[:2:2], t.known[3:]...) // the first two are the password as it came and as it is sent
	}
}

// redact removes every secret the client has used from text.
func (c *Client) redact(text string) string {
	c.tokens.knownMu.Lock()
	defer c.tokens.knownMu.Unlock()
	return failover.Redact(text, c.tokens.known...)
}

// Texts that a person pastes come as other programs show them. What is certain to be packing is taken off; anything
// else that cannot be right is refused by its name.

// cleanToken takes a token out of what the vendor's tools and scripts write: "Token <id>", the whole header line,
// quotes, line ends, a byte order mark.
func cleanToken(text string) (string, error) {
	text = unquote(text)
	if n := len("authorization:"); len(text) > n && strings.EqualFold(text[:n], "authorization:") {
		text = unquote(text[n:])
	}
	if n := len("token"); len(text) >= n && strings.EqualFold(text[:n], "token") &&
		(len(text) == n || text[n] == ' ' || text[n] == '\t') {
		text = unquote(text[n:])
	}
	switch {
	case text == "":
		return "", failover.Invalid("token", "is empty", "give the token's id alone")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", failover.Invalid("token", "holds blanks or characters that no token has",
			"give the token's id alone, on one line")
	}
	return text, nil
}

// unquote takes off white space, a byte order mark and one pair of quotes.
func unquote(text string) string {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
	if n := len(text); n >= 2 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		text = strings.TrimSpace(text[1 : n-1])
	}
	return text
}
