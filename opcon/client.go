package opcon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/01b61c5c/failover"
)

// maxRequests is how many requests are under way at once. Heavier use has exhausted the server's database pool
// (documented for releases before 25.3).
const maxRequests = 4

// Client talks to one OpCon REST API. It is safe for concurrent use and has at most four requests under way.
type Client struct {
	base    string // without trailing slash
	host    string // for error texts
	http    *http.Client
	set     settings
	log     *slog.Logger
	slots   chan struct{}
	pause   func(context.Context, time.Duration) error // replaced in tests
	idle    func()
	tokens  tokenState
	starts  starts
	small   atomic.Bool // the server does not give large pages
	surveys surveys

	clockMu sync.Mutex
	skew    time.Duration // server's clock minus ours
	zone    *time.Location
	clockOK bool
}

// New prepares a client for the API at baseURL, for example https://opcon.example.org:443 with or without a final
// /api. It validates and does not connect. Installations differ in host and port (443, 9010 and 9000 are seen), so
// none is guessed. One of [WithUser], [WithApplication] and [WithToken] is required.
//
// Errors wrap failover.ErrInvalid and name the option.
func New(baseURL string, opts ...Option) (*Client, error) {
	set := defaults()
	for _, opt := range opts {
		if opt == nil {
			return nil, failover.Invalid("opts", "an option is nil", "leave it out")
		}
		if err := opt(&set); err != nil {
			return nil, err
		}
	}
	u, err := readBase(baseURL)
	switch {
	case err != nil:
		return nil, err
	case u.User != nil:
		return nil, failover.Invalid("baseURL", "holds a user or a password", "log in with WithUser, WithApplication or WithToken")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, failover.Invalid("baseURL", "holds a query or a fragment", "use the form https://host:port")
	case u.Scheme == "http" && !set.clearText:
		return nil, failover.Invalid("baseURL", "is http, and password and token would travel readable", "use https, or WithInsecureClearText in a lab")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, failover.Invalid("baseURL", "has the scheme "+u.Scheme, "use https")
	case set.login.kind == loginNone:
		return nil, failover.Invalid("login", "is not set", "use one of WithUser, WithApplication and WithToken")
	}
	rt, err := set.roundTripper()
	if err != nil {
		return nil, err
	}
	c := &Client{
		base: u.String(), host: u.Host, set: set, log: set.logger,
		slots: make(chan struct{}, maxRequests),
		pause: pause,
		http: &http.Client{Transport: rt,
			// A redirect would carry the token elsewhere or repeat a POST.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if t, ok := rt.(interface{ CloseIdleConnections() }); ok && !set.transportSet {
		c.idle = t.CloseIdleConnections
	}
	return c, nil
}

// Close logs a user token off and closes idle connections. Application and fixed tokens stay valid: others use them.
// A failed logoff is reported and harmless; the token runs out by itself.
func (c *Client) Close(ctx context.Context) error {
	err := c.logoff(ctx)
	if c.idle != nil {
		c.idle()
	}
	return err
}

// Host returns the host and port of the API, for messages.
func (c *Client) Host() string { return c.host }

// verifyPin accepts the connection when the server's own certificate carries a pinned fingerprint.
func (s settings) verifyPin(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errPin
	}
	sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
	for _, pin := range s.pins {
		if bytes.Equal(pin, sum[:]) {
			return nil
		}
	}
	return errPin
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// noteClock reads the apiServerTime header (seen in client code), the only clock that decides what "today" is.
func (c *Client) noteClock(h http.Header, now time.Time) {
	t, ok := parseTime(h.Get("apiServerTime"))
	if !ok {
		return
	}
	c.clockMu.Lock()
	defer c.clockMu.Unlock()
	c.skew, c.zone, c.clockOK = t.Sub(now), t.Location(), true
}

// serverNow returns the server's time; the bool is false while no answer has told it and this machine's clock stands in.
func (c *Client) serverNow() (time.Time, bool) {
	c.clockMu.Lock()
	defer c.clockMu.Unlock()
	now := time.Now()
	if !c.clockOK {
		return now, false
	}
	return now.Add(c.skew).In(c.zone), true
}
