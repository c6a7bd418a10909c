package opcon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxRequests is how many requests are under way at once. Heavier use has exhausted the server's database pool
// (documented for releases before 25.3).
const maxRequests = 4

// Client talks to one OpCon REST API. It is safe for concurrent use and has at most four requests under way.
type Client struct {
	base    string // without trailing slash
	host    string // for error texts
	http    *http.Client
	conf    Config // with its defaults
	log     *slog.Logger
	slots   chan struct{}
	idle    func()
	tokens  tokenState
	starts  sync.Map    // startOf: sent, and its end was not seen
	small   atomic.Bool // the server does not give large pages
	surveys sync.Map    // the last *survey of each machine, by its id

	clock atomic.Pointer[clock] // nil until the server has told its time
}

// clock is how the server's time differs from this machine's.
type clock struct {
	skew time.Duration
	zone *time.Location
}

// New prepares a client. It validates and reads the files that the configuration names, and does not connect. Errors
// wrap failover.ErrInvalid and name the field.
func New(conf Config) (*Client, error) {
	if err := conf.Validate(); err != nil {
		return nil, err
	}
	u, err := readBase(conf.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{base: u.String(), host: u.Host, conf: conf.complete(), log: conf.Logger,
		slots: make(chan struct{}, maxRequests), tokens: tokenState{turn: make(chan struct{}, 1)}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	rt := conf.Transport
	if rt == nil {
		own, err := c.conf.transport(u)
		if err != nil {
			return nil, err
		}
		rt, c.idle = own, own.CloseIdleConnections
	}
	// A redirect would carry the token elsewhere or repeat a POST.
	c.http = &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
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

// noteClock reads the apiServerTime header (seen in client code), the only clock that decides what "today" is.
func (c *Client) noteClock(h http.Header, now time.Time) {
	if t, ok := parseTime(h.Get("apiServerTime")); ok {
		c.clock.Store(&clock{t.Sub(now), t.Location()})
	}
}

// serverNow returns the server's time; while no answer has told it, this machine's clock stands in.
func (c *Client) serverNow() time.Time {
	now := time.Now()
	if k := c.clock.Load(); k != nil {
		return now.Add(k.skew).In(k.zone)
	}
	return now
}

// stamp is that time as a record keeps it.
func (c *Client) stamp() string { return c.serverNow().Format(time.RFC3339Nano) }

// Service asks whether the API answers, the login works and the scheduling engine (SAM) runs, and returns the product
// version of the API. Changes nothing. Errors: ErrAuth; ErrUnavailable, also when the engine does not run, since no
// action would be carried out.
func (c *Client) Service(ctx context.Context) (string, error) {
	const op = "look at"
	rep, err := c.do(ctx, call{op: op, path: "/api/version", open: true})
	if err != nil {
		return "", err
	}
	version := readObject(rep.body).text("opConRestApiProductVersion")
	if version == "" {
		return "", unchanged(op, c.host, "check that the address is the OpCon API", errors.New("the answer names no version"))
	}
	if _, err := c.do(ctx, call{op: op, path: "/api/tokens"}); err != nil {
		return version, err
	}
	if rep, err = c.do(ctx, call{op: op, path: "/api/servicestatus"}); err != nil {
		return version, err
	}
	running, err := strconv.ParseBool(strings.ToLower(readObject(rep.body).text("running")))
	switch {
	case err != nil:
		err = errors.New("the answer does not tell whether the scheduling engine (SAM) runs")
	case !running:
		err = because(ErrUnavailable, "version "+version+
			", the scheduling engine (SAM) does not run: no action would be carried out")
	default:
		return version, nil
	}
	return version, unchanged(op, c.host, "see that the scheduling engine (SAM) runs, then run again", err)
}
