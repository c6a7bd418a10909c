package opcon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/waiting"
)

// maxReply is how much of an answer is read. A page of jobs is far below it.
const maxReply = 32 << 20

type call struct {
	op     string // for errors: "hold schedules of"
	target string // for errors; the API's host when empty
	method string // GET when empty
	path   string // already escaped
	query  url.Values
	body   any    // marshalled to JSON
	raw    []byte // sent as it is, in place of body
	open   bool   // needs no token
	tries  int    // of a GET; 0 means 3; nothing but a GET is ever repeated
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// segment escapes an id for use in a path. A slash has to be escaped twice (seen in client code), since the server
// resolves the first level before it splits the path.
func segment(id string) string {
	return url.PathEscape(strings.ReplaceAll(id, "/", "%2F"))
}

// do sends a call with the token, renews the token once after 401, and repeats a GET that failed on the way, as late as
// the answer asks for (Retry-After) within CallTimeout. A call refused with 401 was not executed, so it is safe to send
// again whatever its method (seen in client code).
func (c *Client) do(ctx context.Context, in call) (reply, error) {
	in.target, in.method = cmp.Or(in.target, c.host), cmp.Or(in.method, http.MethodGet)
	var token failover.Secret
	var gen int
	var err error
	if !in.open {
		if token, gen, err = c.token(ctx, 0); err != nil {
			return reply{}, err
		}
	}
	renewed := in.open
	for attempt := 1; ; attempt++ {
		rep, err := c.exchange(ctx, in, token)
		if err == nil && rep.status == http.StatusUnauthorized && !renewed {
			renewed = true
			old := token
			if token, gen, err = c.token(ctx, gen); err != nil {
				return reply{}, err
			}
			if c.conf.Token == nil || token.Reveal() != old.Reveal() {
				continue
			}
		}
		if err == nil {
			err = c.refusal(in, rep)
			if !slices.Contains([]int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
				http.StatusTooManyRequests}, rep.status) {
				return rep, err
			}
		}
		tries, pause := cmp.Or(in.tries, 3), time.Duration(attempt)*c.conf.Poll/2
		if rep.status == http.StatusTooManyRequests {
			tries = 3 // a smaller request would not help
		}
		if wait, err := strconv.Atoi(rep.header.Get("Retry-After")); err == nil {
			pause = max(pause, min(time.Duration(wait)*time.Second, c.conf.CallTimeout))
		}
		if in.method != http.MethodGet || attempt >= tries || ctx.Err() != nil || !passing(err) ||
			waiting.For(ctx, pause) != nil {
			return rep, err
		}
	}
}

// passing reports whether a failure may be gone at the next try. A certificate that is not trusted stays so, and so
// does a port without TLS.
func passing(err error) bool { return failover.TLSNext(err) == "" && !speaksNoTLS(err) }

// exchange sends one request once.
func (c *Client) exchange(ctx context.Context, in call, token failover.Secret) (reply, error) {
	body := in.raw
	if body == nil && in.body != nil {
		raw, err := json.Marshal(in.body)
		if err != nil {
			return reply{}, unchanged(in.op, in.target, "report this as a defect", err)
		}
		body = raw
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return reply{}, unchanged(in.op, in.target, "run again with more time", ctx.Err())
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, c.conf.CallTimeout)
	defer cancel()
	var asked, wrote atomic.Bool // a connection, and the headers
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) }, WroteHeaders: func() { wrote.Store(true) }}),
		in.method, c.base+in.path, bytes.NewReader(body))
	if err != nil {
		return reply{}, unchanged(in.op, in.target, "report this as a defect", err)
	}
	if len(in.query) > 0 {
		req.URL.RawQuery = strings.ReplaceAll(in.query.Encode(), "+", "%20")
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if !in.open {
		req.Header.Set("Authorization", "Token "+token.Reveal())
	}
	if c.conf.ConsumerID != "" {
		req.Header.Set("ApiConsumerId", c.conf.ConsumerID)
	}
	begin := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		c.log.DebugContext(ctx, "opcon request failed", "method", in.method, "path", in.path, "took",
			time.Since(begin), "err", c.redact(err.Error()))
		// Headers never written means that the server saw no request. That a connection was asked for proves that the
		// transport reports at all: without it, silence proves nothing.
		outcome := unanswered(in.method)
		op, ok := errors.AsType[*net.OpError](err)
		if !wrote.Load() && (asked.Load() || failover.TLSNext(err) != "" || ok && op.Op == "dial") {
			outcome = failover.NotApplied
		}
		return reply{}, c.lineError(outer, in, outcome, err)
	}
	defer resp.Body.Close()
	c.noteClock(resp.Header, time.Now())
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	c.log.DebugContext(ctx, "opcon request", "method", in.method, "path", in.path, "query", req.URL.RawQuery, "status",
		resp.StatusCode, "took", time.Since(begin))
	rep := reply{status: resp.StatusCode, header: resp.Header, body: content}
	switch {
	case err != nil && resp.StatusCode/100 == 4:
		// The status line alone says that it was refused.
	case err != nil:
		return rep, c.lineError(outer, in, unanswered(in.method), err)
	case len(content) > maxReply:
		return rep, fail(in.op, in.target, unanswered(in.method), "look at what answers at this address",
			fmt.Errorf("the answer is longer than %d bytes", maxReply))
	}
	return rep, nil
}

// unanswered is what is known of a request whose answer is lost: a read changes nothing.
func unanswered(method string) failover.Outcome {
	if method == http.MethodGet {
		return failover.NotApplied
	}
	return failover.InDoubt
}

func (c *Client) lineError(outer context.Context, in call, outcome failover.Outcome, err error) error {
	if outer.Err() != nil && outcome == failover.NotApplied {
		// The caller's time is over; that says nothing about the server.
		return unchanged(in.op, in.target, "run again with more time", context.Cause(outer))
	}
	next := "check that the API runs and is reachable, then run again"
	switch {
	case speaksNoTLS(err):
		next = "what answers at this address does not speak TLS: correct the port or the scheme"
	case failover.TLSNext(err) != "":
		next = failover.TLSNext(err)
	case outcome == failover.InDoubt:
		next = "the request may have been sent, and no answer came: " + nextLook
	}
	if uerr, ok := errors.AsType[*url.Error](err); ok {
		err = uerr.Err // its text repeats method and address
	}
	return fail(in.op, in.target, outcome, next,
		fmt.Errorf("%w: %w", ErrUnavailable, &wireError{c.redact(err.Error()), err}))
}

// wireError keeps an error's identity and shows its text without secrets.
type wireError struct {
	text string
	err  error
}

func (w *wireError) Error() string { return shorten(w.text, maxMessage) }
func (w *wireError) Unwrap() error { return w.err }

// refusal turns an answer other than 2xx into an error. A 4xx is a refusal: nothing happened. Anything else to a
// request that changes something leaves its effect in doubt, since it may come from a proxy in front or from a
// failure half-way.
func (c *Client) refusal(in call, r reply) error {
	if r.status/100 == 2 {
		return nil
	}
	api := c.apiError(r.status, r.body)
	var err error = api
	outcome := failover.NotApplied
	if r.status/100 != 4 || r.status == http.StatusRequestTimeout {
		outcome = unanswered(in.method)
	}
	next := "read the server's message, correct the request and run again"
	switch {
	case r.status == http.StatusUnauthorized && !api.own && len(bytes.TrimSpace(r.body)) > 0:
		next = "check host and port of the address: what refuses the request is not the OpCon API"
	case r.status == http.StatusUnauthorized:
		next = "check that the token is an API token, that external tokens are enabled for its user and that it was not " +
			"revoked"
		err = fmt.Errorf("%w: %w", ErrAuth, api)
	case r.status == http.StatusForbidden:
		next = "give the service account the privilege and run again"
	case r.status == http.StatusNotFound:
		next = "check the name and the service account's access rights"
	case r.status == http.StatusTooManyRequests:
		next = "wait a while, then run again: the server, or what stands before it, takes no more requests for the moment"
	case outcome == failover.InDoubt:
		next = nextLook
	case r.status >= 500:
		next = "check the OpCon REST API service, then run again"
	case r.status/100 == 3:
		next = "give the API's own address; redirects are not followed"
	}
	return fail(in.op, in.target, outcome, next, err)
}

// speaksNoTLS reports whether err says that something without TLS answered.
func speaksNoTLS(err error) bool {
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok || (err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"))
}
