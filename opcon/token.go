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

// tokenMargin is how long before its end a token counts as expired.
const tokenMargin = 20 * time.Second

// token returns the token to use and its generation, logging in if there is none.
func (c *Client) token(ctx context.Context) (failover.Secret, int, error) {
	t := &c.tokens
	if err := c.takeTurn(ctx); err != nil {
		return failover.Secret{}, 0, err
	}
	defer func() { <-t.turn }()
	now := c.serverNow()
	if !t.token.Empty() && (t.until.IsZero() || now.Before(t.until.Add(-tokenMargin))) {
		return t.token, t.gen, nil
	}
	if err := c.loginLocked(ctx); err != nil {
		return failover.Secret{}, t.gen, err
	}
	return t.token, t.gen, nil
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

// renew replaces the token of generation gen after the server refused it. The bool is false when there is no other
// token to be had.
func (c *Client) renew(ctx context.Context, gen int) (bool, error) {
	t := &c.tokens
	if err := c.takeTurn(ctx); err != nil {
		return false, err
	}
	defer func() { <-t.turn }()
	if t.gen != gen {
		return true, nil // somebody else has renewed it meanwhile
	}
	old := t.token.Reveal()
	if err := c.loginLocked(ctx); err != nil {
		return false, err
	}
	return c.conf.Token == nil || t.token.Reveal() != old, nil
}

func (c *Client) loginLocked(ctx context.Context) error {
	t := &c.tokens
	fetch := c.conf.Password
	if c.conf.Token != nil {
		fetch = c.conf.Token
	}
	secret, err := fetch(ctx)
	if err != nil {
		return unchanged("fetch the secret for", c.host,
			"make the password or token available and run again", err)
	}
	if secret.Empty() {
		return unchanged("log in to", c.host, "make the password or token available and run again",
			errors.New("the secret is empty"))
	}
	t.remember(secret) // as it came and as it is sent
	if c.conf.Token != nil {
		token, err := cleanToken(secret.Reveal())
		if err != nil {
			return unchanged("log in to", c.host, failover.NextOf(err), err)
		}
		secret = failover.NewSecret(token)
	} else {
		secret = failover.NewSecret(cleanPassword(secret.Reveal()))
	}
	t.remember(secret)
	if !t.refused.Empty() && t.refused.Reveal() == secret.Reveal() {
		return unchanged("log in to", c.host,
			"correct the service account's name and password, then run again",
			because(ErrAuth, "this password was refused before and is not sent again, so that the account is not locked"))
	}
	if c.conf.Token != nil {
		t.token, t.until = secret, time.Time{}
		t.gen++
		return nil
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
		return unchanged("log in to", c.host, "check that the address is the OpCon API",
			errors.New("the answer holds no token"))
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
	const op = "log in to"
	api, ok := errors.AsType[*APIError](err)
	if !ok {
		// No login changes anything an operator would have to settle.
		if fe, isOurs := errors.AsType[*failover.Error](err); isOurs {
			return unchanged(op, c.host, fe.Next, fe.Err)
		}
		return unchanged(op, c.host, "check address and certificate, then run again", err)
	}
	notAPI := func(text string) error {
		return unchanged(op, c.host,
			"check host, port and scheme of the address; the password was not judged", fmt.Errorf("%s: %w", text, api))
	}
	switch {
	case slices.Contains(api.Codes, 2003):
		return unchanged(op, c.host, "have the service account enabled in OpCon",
			fmt.Errorf("%w: %w", ErrAuth, api))
	case api.Status == http.StatusUnauthorized && api.own:
		return unchanged(op, c.host,
			"check the service account's name and password; repeated attempts may lock it", fmt.Errorf("%w: %w", ErrAuth, api))
	case api.Status == http.StatusBadRequest && strings.HasPrefix(c.base, "http:"):
		return notAPI("what answers takes no request in clear text, or is not the OpCon API")
	case !api.own && api.Status < http.StatusInternalServerError:
		return notAPI("what answers is not the OpCon API")
	case api.Status == http.StatusForbidden:
		return unchanged(op, c.host, "have the service account allowed to use the API",
			fmt.Errorf("%w: %w", ErrForbidden, api))
	}
	return unchanged(op, c.host, "read the server's message; the password was not judged", api)
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
