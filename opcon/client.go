package opcon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/01b61c5c/failover"
)

// Config says how to reach one OpCon REST API and how to log in to it. The zero value of a field is the default that
// its comment names.
type Config struct {
	// URL is the API's address, for example https://opcon.example.org:443, with or without a final /api. Installations
	// differ in host and port (443, 9010 and 9000 are seen), so none is guessed.
	URL string
	// TLS says which server to trust. The API's installer makes a self-signed certificate unless it is given another
	// (documented): name that one as root, or pin it.
	TLS failover.TLS

	// Token fetches a token made elsewhere: an external token or an application token from a secret store, the id alone
	// or as the vendor's tools write it ("Token <id>"). When the server refuses it, it is fetched once more; the same
	// token again means ErrAuth, not a loop.
	Token failover.SecretFunc
	// User and Password log in when there is no Token. The token they give lives about 20 minutes (documented) and is
	// renewed when the server no longer takes it. A password that was refused is not sent again by the client.
	User     string
	Password failover.SecretFunc
	// Application asks for an application token, which does not expire; asking again for the same application gives the
	// existing token back (documented). "" asks for a user's token.
	Application string

	// Logger gets one debug line per request: method, path, status, duration; no token and no body. Nil is silent.
	Logger *slog.Logger
	// Dial opens the connections; nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport sends the requests in place of the client's own; TLS and Dial are its own matter then. It must not
	// repeat a request and must not follow redirects. One that supports net/http/httptrace lets the client prove that a
	// request never left.
	Transport http.RoundTripper

	CallTimeout   time.Duration // for one request; 0 means 30 s
	ActionTimeout time.Duration // wait for the result of one action; 0 means 60 s
	// Poll is the pause before the first look at an action, and MaxPoll the longest pause between two looks; the pause
	// grows from one to the other. 0 means 1 s and 3 s. Shorter pauses exhausted the database connections of servers
	// before 25.3 (documented).
	Poll, MaxPoll time.Duration
	ConsumerID    string // sent as ApiConsumerId, which some sites ask of trusted consumers (seen in client code)

	// InsecureClearText allows an http:// address, as releases before 20 had it. For a lab only: password and token
	// travel readable.
	InsecureClearText bool
}

// Validate refuses what could not work, before anything is asked. The error wraps failover.ErrInvalid and names the
// field.
func (c Config) Validate() error {
	u, err := readBase(c.URL)
	switch {
	case err != nil:
		return err
	case u.User != nil:
		return failover.Invalid("Config.URL", "holds a user or a password", "log in by Token, or by User and Password")
	case u.RawQuery != "" || u.Fragment != "":
		return failover.Invalid("Config.URL", "holds a query or a fragment", "use the form https://host:port")
	case u.Scheme == "http" && !c.InsecureClearText:
		return failover.Invalid("Config.URL", "is http, and password and token would travel readable",
			"use https, or InsecureClearText in a lab")
	case u.Scheme != "https" && u.Scheme != "http":
		return failover.Invalid("Config.URL", "has the scheme "+u.Scheme, "use https")
	}
	user := strings.TrimSpace(c.User) != ""
	switch {
	case c.Token != nil && (user || c.Password != nil || c.Application != ""):
		return failover.Invalid("Config.Token", "is set beside User, Password or Application", "choose one way to log in")
	case c.Token == nil && !user:
		return failover.Invalid("Config.User", "is empty, and there is no Token", "name the service account, or give a Token")
	case c.Token == nil && c.Password == nil:
		return failover.Invalid("Config.Password", "is missing", "give a function that returns the password")
	case c.Application != "" && strings.TrimSpace(c.Application) == "":
		return failover.Invalid("Config.Application", "is blank", "name the application, for example symitar-failover")
	case strings.ContainsFunc(c.ConsumerID, unicode.IsControl): // no header may hold one
		return failover.Invalid("Config.ConsumerID", "holds a line end or another control character", "give it on one line")
	case c.Transport != nil && c.Dial != nil:
		return failover.Invalid("Config.Dial", "is set beside Transport", "dial in the transport")
	case c.Transport != nil && (c.TLS.Roots != nil || c.TLS.RootsFile != "" || len(c.TLS.Fingerprints) > 0 ||
		c.TLS.InsecureAnyCertificate):
		return failover.Invalid("Config.TLS", "is set beside Transport", "configure trust in the transport")
	case c.CallTimeout < 0 || c.ActionTimeout < 0 || c.Poll < 0 || c.MaxPoll < 0:
		return failover.Invalid("Config", "has a negative time", "use zero for the default")
	case c.complete().MaxPoll < c.complete().Poll:
		return failover.Invalid("Config.MaxPoll", "is shorter than Poll", "give two pauses in order")
	}
	return c.TLS.Validate("Config.TLS")
}

// complete fills in the defaults.
func (c Config) complete() Config {
	c.User, c.Application = strings.TrimSpace(c.User), strings.TrimSpace(c.Application)
	c.CallTimeout, c.ActionTimeout = cmp.Or(c.CallTimeout, 30*time.Second), cmp.Or(c.ActionTimeout, time.Minute)
	c.Poll, c.MaxPoll = cmp.Or(c.Poll, time.Second), cmp.Or(c.MaxPoll, 3*time.Second)
	return c
}

// transport builds the client's own transport: HTTP/1.1 only, so that "the headers were never written" proves that the
// server saw nothing, and no proxy from the environment.
func (c Config) transport(u *url.URL) (*http.Transport, error) {
	conf, err := c.TLS.Config("Config.TLS", u.Hostname())
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:           c.Dial,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxConnsPerHost:       maxRequests,
		MaxIdleConnsPerHost:   maxRequests,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: c.CallTimeout,
		Protocols:             protocols,
	}, nil
}

// readBase reads the API's address. A path that leads into the API, as a browser shows it, is cut off before it.
func readBase(text string) (*url.URL, error) {
	u, err := url.Parse(unquote(text))
	if err != nil || u.Host == "" {
		return nil, failover.Invalid("Config.URL", "is not an absolute address", "use the form https://host:port")
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	for i, p := range parts {
		if strings.EqualFold(p, "api") || strings.EqualFold(p, "api-doc") {
			parts = parts[:i]
			break
		}
	}
	u.Path, u.RawPath = strings.TrimRight("/"+strings.Join(parts, "/"), "/"), ""
	return u, nil
}

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

// noteClock reads the server's clock, the only one that decides what "today" is: the header apiServerTime (seen in
// client code), and where that is missing or names no offset, the header Date, which every answer should have (RFC 9110,
// 6.6.1).
func (c *Client) noteClock(h http.Header, now time.Time) {
	text, zone := h.Get("apiServerTime"), time.Local
	t, told := parseTime(text)
	if told && zoned(text) {
		c.clock.Store(&clock{t.Sub(now), t.Location()})
		return
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	if told { // the time on the server's wall tells its offset
		zone = time.FixedZone("", int(t.Sub(date).Round(15*time.Minute).Seconds()))
	}
	c.clock.Store(&clock{date.Sub(now), zone})
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
