package opcon_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

func TestNewRefusesBadInput(t *testing.T) {
	good := opcon.Config{URL: "https://opcon", User: "u", Password: secret("p")}
	for name, tc := range map[string]struct {
		change func(*opcon.Config)
		want   string
	}{
		"no address":     {func(c *opcon.Config) { c.URL = "" }, "Config.URL"},
		"no scheme":      {func(c *opcon.Config) { c.URL = "opcon:443" }, "Config.URL"},
		"clear text":     {func(c *opcon.Config) { c.URL = "http://opcon" }, "readable"},
		"password in it": {func(c *opcon.Config) { c.URL = "https://u:p@opcon" }, "password"},
		"query":          {func(c *opcon.Config) { c.URL = "https://opcon?x=1" }, "query"},
		"another scheme": {func(c *opcon.Config) { c.URL = "ftp://opcon" }, "scheme"},
		"no login":       {func(c *opcon.Config) { c.User, c.Password = "", nil }, "Config.User"},
		"two logins":     {func(c *opcon.Config) { c.Token = secret("t") }, "Config.Token"},
		"no secret":      {func(c *opcon.Config) { c.Password = nil }, "Config.Password"},
		"no user":        {func(c *opcon.Config) { c.User = " " }, "Config.User"},
		"no application": {func(c *opcon.Config) { c.Application = " " }, "Config.Application"},
		"token for application": {func(c *opcon.Config) {
			*c = opcon.Config{URL: c.URL, Token: secret("t"),
				Application: "x"}
		}, "Config.Token"},
		"bad fingerprint": {func(c *opcon.Config) { c.TLS.Fingerprints = []string{"abc"} },
			"Config.TLS.Fingerprints"},
		"no such file": {func(c *opcon.Config) { c.TLS.RootsFile = "no such file" }, "Config.TLS.RootsFile"},
		"trust beside transport": {func(c *opcon.Config) {
			c.TLS.InsecureAnyCertificate, c.Transport = true,
				http.DefaultTransport
		}, "Config.TLS"},
		"two lines":              {func(c *opcon.Config) { c.ConsumerID = "id\n" }, "Config.ConsumerID"},
		"negative time":          {func(c *opcon.Config) { c.CallTimeout = -1 }, "negative"},
		"polls out of order":     {func(c *opcon.Config) { c.Poll, c.MaxPoll = 2, 1 }, "Config.MaxPoll"},
		"poll above the default": {func(c *opcon.Config) { c.Poll = time.Minute }, "Config.MaxPoll"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tc.change(&c)
			_, err := opcon.New(c)
			require.ErrorIs(t, err, failover.ErrInvalid)
			require.ErrorContains(t, err, tc.want)
			require.NotEmpty(t, failover.NextOf(err))
		})
	}
	good.URL = "https://opcon:9010/api/"
	_, err := opcon.New(good)
	require.NoError(t, err)
}

func TestStepsRefuseBadInput(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	for name, change := range map[string]func(*opcon.QuiesceOptions){
		"no machine":   func(o *opcon.QuiesceOptions) { o.Machine = "" },
		"wildcard":     func(o *opcon.QuiesceOptions) { o.Machine = "SYM*" },
		"long name":    func(o *opcon.QuiesceOptions) { o.Machine = strings.Repeat("X", 25) },
		"no mode":      func(o *opcon.QuiesceOptions) { o.Mode = 0 },
		"no reason":    func(o *opcon.QuiesceOptions) { o.Reason = " " },
		"long reason":  func(o *opcon.QuiesceOptions) { o.Reason = strings.Repeat("x", 256) },
		"bad date":     func(o *opcon.QuiesceOptions) { o.Dates = []opcon.Date{"22.08.2026"} },
		"negative one": func(o *opcon.QuiesceOptions) { o.HoldTimeout = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			o := planned()
			change(&o)
			_, err := opcon.QuiesceStages(s.client, o)
			require.ErrorIs(t, err, failover.ErrInvalid)
			_, err = s.client.Quiesce(context.Background(), o)
			require.ErrorIs(t, err, failover.ErrInvalid)
		})
	}
	for name, change := range map[string]func(*opcon.ResumeOptions){
		"no way":        func(o *opcon.ResumeOptions) { o.Repoint = 0 },
		"no address":    func(o *opcon.ResumeOptions) { o.Address = opcon.Address{} },
		"two addresses": func(o *opcon.ResumeOptions) { o.Address.IP = "192.0.2.1" },
		"bad IP":        func(o *opcon.ResumeOptions) { o.Address = opcon.Address{IP: "host"} },
		"IP as name":    func(o *opcon.ResumeOptions) { o.Address = opcon.Address{FQDN: "192.0.2.1"} },
		"URL as name":   func(o *opcon.ResumeOptions) { o.Address = opcon.Address{FQDN: "ssh://x"} },
		"alias and address": func(o *opcon.ResumeOptions) {
			o.Repoint = opcon.RepointAliasMoves
		},
		"other record": func(o *opcon.ResumeOptions) { o.Record = &opcon.Record{Machine: opcon.Machine{Name: "OTHER"}} },
	} {
		t.Run(name, func(t *testing.T) {
			o := resumed()
			change(&o)
			_, err := opcon.ResumeStages(s.client, o)
			require.ErrorIs(t, err, failover.ErrInvalid)
		})
	}
	_, err := opcon.QuiesceStages(nil, planned())
	require.ErrorIs(t, err, failover.ErrInvalid)
	require.Empty(t, s.Requests(), "nothing is asked before the input is good")
}

func TestTrust(t *testing.T) {
	srv := opcontest.Start(t, opcontest.Config{})
	login := withUser(srv.User, secret(srv.Password))
	other := opcontest.Start(t, opcontest.Config{})
	for name, tc := range map[string]struct {
		opts []option
		ok   bool
	}{
		"roots":             {[]option{withRootCAs(srv.CertPool())}, true},
		"pin":               {[]option{withPinnedCertificate(srv.Fingerprint())}, true},
		"one of two pins":   {[]option{withPinnedCertificate(other.Fingerprint(), srv.Fingerprint())}, true},
		"insecure":          {[]option{withInsecureAnyCertificate()}, true},
		"system roots":      {nil, false},
		"another's roots":   {[]option{withRootCAs(other.CertPool())}, false},
		"another one's pin": {[]option{withPinnedCertificate(other.Fingerprint())}, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(srv.Requests())
			c, err := connect(srv.URL, append(tc.opts, login)...)
			require.NoError(t, err)
			defer func() { _ = c.Close(context.Background()) }()
			_, err = c.Service(context.Background())
			if tc.ok {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.Regexp(t, "certificate|fingerprint", failover.NextOf(err))
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.Len(t, srv.Requests(), before, "the password never left")
		})
	}
}

func TestTokens(t *testing.T) {
	ctx := context.Background()
	t.Run("one renewal serves all who were refused", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		_, err := s.client.Service(ctx)
		require.NoError(t, err)
		s.ExpireTokens()
		done := make(chan error, 8)
		for range 8 {
			go func() { _, err := s.client.FindMachine(ctx, "SYMAIX1"); done <- err }()
		}
		for range 8 {
			require.NoError(t, <-done)
		}
		require.Equal(t, 2, s.Logins())
	})
	t.Run("a token refused twice ends", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		s.Inject(opcontest.Injection{Kind: opcontest.InjectionExpireTokens, Path: "/api/machines", Times: -1})
		_, err := s.client.FindMachine(ctx, "SYMAIX1")
		require.ErrorIs(t, err, opcon.ErrAuth)
		require.Equal(t, 2, s.Logins())
	})
	t.Run("an expired fixed token does not loop", func(t *testing.T) {
		s := newSite(t, opcontest.Config{External: "ext-1"}, withToken(secret("ext-1")))
		_, err := s.client.Service(ctx)
		require.NoError(t, err)
		s.ExpireTokens()
		before := len(s.Requests())
		_, err = s.client.FindMachine(ctx, "SYMAIX1")
		require.ErrorIs(t, err, opcon.ErrAuth)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		require.NotEmpty(t, failover.NextOf(err))
		require.NotContains(t, err.Error(), "ext-1")
		require.Len(t, s.Requests(), before+1)
		require.Zero(t, s.Logins())
	})
	t.Run("a secret store may have a newer one", func(t *testing.T) {
		token := "ext-1"
		s := newSite(t, opcontest.Config{External: "ext-1"},
			withToken(func(context.Context) (failover.Secret, error) { return failover.NewSecret(token), nil }))
		_, err := s.client.Service(ctx)
		require.NoError(t, err)
		s.ExpireTokens()
		s.AllowToken("ext-2")
		token = "ext-2"
		_, err = s.client.FindMachine(ctx, "SYMAIX1")
		require.NoError(t, err)
	})
	t.Run("application", func(t *testing.T) {
		s := newSite(t, opcontest.Config{}, func(c *opcon.Config) { c.Application = "symitar-failover" })
		_, err := s.client.Service(ctx)
		require.NoError(t, err)
		require.NoError(t, s.client.Close(ctx))
		for _, r := range s.Requests() {
			require.NotEqual(t, "DELETE", r.Method, "others use the application's token")
		}
	})
	t.Run("wrong password is sent once and shown nowhere", func(t *testing.T) {
		s := newSite(t, opcontest.Config{}, withUser("failover_svc", secret("hunter2")))
		_, err := s.client.FindMachine(ctx, "SYMAIX1")
		require.ErrorIs(t, err, opcon.ErrAuth)
		require.NotContains(t, fmt.Sprintf("%+v", err), "hunter2")
		require.Len(t, s.Requests(), 1)
		_, err = s.client.FindMachine(ctx, "SYMAIX1")
		require.ErrorIs(t, err, opcon.ErrAuth)
		require.Len(t, s.Requests(), 1, "nor by the next call: the account would be locked")
	})
	t.Run("an end in another zone does not make every call log in", func(t *testing.T) {
		logins := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/tokens" && r.Method == http.MethodPost {
				logins++
				_, _ = io.WriteString(w,
					`{"id":"t","validUntil":"`+time.Now().UTC().Add(-5*time.Hour).Format("2006-01-02T15:04:05")+`"}`)
				return
			}
			_, _ = io.WriteString(w, "[]")
		}))
		defer server.Close()
		c, err := connect(server.URL, withInsecureClearText(), withUser("svc", secret("secret")))
		require.NoError(t, err)
		for range 3 {
			_, err = c.BuiltDates(ctx)
			require.NoError(t, err)
		}
		require.NoError(t, c.Close(ctx))
		require.Equal(t, 1, logins)
	})
	t.Run("a secret that cannot be had", func(t *testing.T) {
		broken := errors.New("vault is sealed")
		s := newSite(t, opcontest.Config{}, withToken(func(context.Context) (failover.Secret,
			error) {
			return failover.Secret{}, broken
		}))
		_, err := s.client.FindMachine(ctx, "SYMAIX1")
		require.ErrorIs(t, err, broken)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	})
	t.Run("user tokens are given back", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		_, err := s.client.Service(ctx)
		require.NoError(t, err)
		require.NoError(t, s.client.Close(ctx))
		require.Equal(t, "DELETE", s.Requests()[len(s.Requests())-1].Method)
	})
}

// TestTooManyRequests: what stands before the API takes no more for a moment (RFC 6585, 4). A read waits, and an order
// was not carried out.
func TestTooManyRequests(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	s.Inject(opcontest.Injection{Kind: opcontest.InjectionStatus, Code: http.StatusTooManyRequests, Times: 2,
		Method: http.MethodGet, Path: "/api/dailyjobs"})
	_, err := s.client.Jobs(context.Background(), "2026-08-22")
	require.NoError(t, err)
	s.Inject(opcontest.Injection{Kind: opcontest.InjectionStatus, Code: http.StatusTooManyRequests, Times: -1,
		Method: http.MethodPost, Path: "/api/scheduleactions"})
	_, err = s.client.Quiesce(context.Background(), unplanned())
	require.ErrorContains(t, err, "next: wait a while")
	require.Zero(t, s.Count("hold", ""))
}

func TestErrorShapes(t *testing.T) {
	ctx := context.Background()
	for name, tc := range map[string]struct {
		code int
		body string
		is   error
		text string
	}{
		"list": {403, `[{"resource":"machine","name":"SYMAIX1","code":1001,"message":"no access","ids":[12]}]`,
			opcon.ErrForbidden, "machine SYMAIX1: no access (code 1001)"},
		"object": {404, `{"type":"x","title":"Not Found","status":404,"detail":"gone","instance":"/api"}`,
			opcon.ErrNotFound, "Not Found: gone"},
		"HTML":      {500, "<html>\n<b>Error \x1b[31m</b></html>", opcon.ErrUnavailable, "<html> <b>Error"},
		"empty":     {500, "", opcon.ErrUnavailable, "Internal Server Error"},
		"long":      {400, strings.Repeat("é", 5000), nil, "…"},
		"leaks":     {400, "your password is secret", nil, "your password is [redacted]"},
		"redirect":  {302, "", nil, "HTTP 302"},
		"teapot":    {418, `[]`, nil, "[]"},
		"bad JSON":  {400, `[{"message":`, nil, `[{"message":`},
		"null list": {400, `[null]`, nil, "HTTP 400"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, opcontest.Config{})
			s.Inject(opcontest.Injection{Kind: opcontest.InjectionStatus, Path: "/api/machines", Code: tc.code, Body: tc.body,
				Times: -1})
			_, err := s.client.FindMachine(ctx, "SYMAIX1")
			require.ErrorContains(t, err, tc.text)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.NotEmpty(t, failover.NextOf(err))
			require.NotContains(t, err.Error(), "\x1b")
			require.Less(t, len(err.Error()), 900)
		})
	}
}

func TestNamesAreMatchedExactly(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.AddMachine(&opcontest.Machine{Name: "SYM[1]"})
	s.AddMachine(&opcontest.Machine{Name: "SYMX1X"})
	s.AddMachine(&opcontest.Machine{Name: "TWICE"})
	s.AddMachine(&opcontest.Machine{Name: "Twice"})
	ctx := context.Background()
	m, err := s.client.FindMachine(ctx, " sym[1] ")
	require.NoError(t, err)
	require.Equal(t, "SYM[1]", m.Name)
	_, err = s.client.FindMachine(ctx, "TWICE")
	require.ErrorIs(t, err, opcon.ErrAmbiguous)
	_, err = s.client.FindMachine(ctx, "SYMAIX")
	require.ErrorIs(t, err, opcon.ErrNotFound)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))

	q := unplanned()
	q.Machine = "WINFTP"
	_, err = s.client.Quiesce(ctx, q)
	require.ErrorIs(t, err, failover.ErrPrecondition, "not a UNIX machine")
	q.Machine = "SYM[1]"
	_, err = s.client.Quiesce(ctx, q)
	require.ErrorIs(t, err, failover.ErrPrecondition, "no schedule: maybe no access")
	require.ErrorContains(t, err, "access")
}

// TestRowsShiftBetweenPages inserts a row at the front while the second page is asked for, and removes one.
func TestRowsShiftBetweenPages(t *testing.T) {
	for _, remove := range []bool{false, true} {
		s := newSite(t, opcontest.Config{MaxPage: 3})
		extra := &opcontest.Schedule{Name: "AAA", Date: "2026-08-22"}
		shift := s.Insert
		if remove {
			s.AddSchedule(extra)
			shift = s.Delete
		}
		s.Before("GET", "/api/dailyschedules", "", 1, func() { shift(extra) })
		got, err := s.client.Schedules(context.Background(), []opcon.Date{"2026-08-22", "2026-08-23"})
		require.NoError(t, err)
		names := map[string]int{}
		for _, x := range got {
			names[string(x.Date)+x.Name]++
		}
		for _, want := range []string{"SYM NIGHTLY", "SYM BRANCH [EAST]", "SYM STATEMENTS", "SYM CARDS", "SYM MORNING",
			"FTP OUT", "SYM NIGHTLY_POSTING[ACH]"} {
			require.Equal(t, 1, names["2026-08-22"+want], want)
		}
		require.Equal(t, 1, names["2026-08-23SYM NIGHTLY"])
	}
}

func TestUnreachableAndMute(t *testing.T) {
	ctx := context.Background()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := ln.Addr().String()
	t.Cleanup(func() { _ = ln.Close() })
	opts := []option{withUser("u", secret("p")), withTimeouts(150*time.Millisecond, time.Second),
		withPolling(time.Millisecond, time.Millisecond)}

	c, err := connect("https://"+addr, opts...)
	require.NoError(t, err)
	_, err = c.FindMachine(ctx, "SYMAIX1") // accepts and says nothing: mute in the TLS handshake
	require.ErrorIs(t, err, opcon.ErrUnavailable)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.NoError(t, ln.Close())
	_, err = c.FindMachine(ctx, "SYMAIX1")
	require.ErrorIs(t, err, opcon.ErrUnavailable)
	require.ErrorContains(t, err, "refused")
	require.NoError(t, c.Close(ctx))
}

// TestEvidence drives a change through a transport of the caller's that reports nothing: silence proves nothing then.
func TestEvidence(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	broken := errors.New("broken")
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(base.CloseIdleConnections)
	rt := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "actions") {
			return nil, broken
		}
		return base.RoundTrip(r)
	})
	c, err := connect(s.URL, withTransport(rt), withUser(s.User, secret(s.Password)),
		withPolling(time.Millisecond, time.Millisecond), withTimeouts(time.Second, 50*time.Millisecond))
	require.NoError(t, err)
	_, err = c.Quiesce(context.Background(), unplanned())
	require.ErrorIs(t, err, broken)
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	require.NotEmpty(t, failover.NextOf(err))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNothingIsSentAfterTheContextEnded(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	s.Before("POST", "/api/scheduleactions", "hold", 0, cancel)
	s.Inject(opcontest.Injection{Kind: opcontest.InjectionMuteAfter, Verb: "hold"})
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	require.Len(t, rec.Held, 4, "the record says what may be held")
	require.Zero(t, s.Count("down", ""))

	ended, cancelled := context.WithCancel(context.Background())
	cancelled()
	before := len(s.Requests())
	_, err = s.client.Quiesce(ended, unplanned())
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.Len(t, s.Requests(), before)
}

func TestNoSecretIsLogged(t *testing.T) {
	var out strings.Builder
	s := newSite(t, opcontest.Config{}, func(c *opcon.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, err := s.client.Service(context.Background())
	require.NoError(t, err)
	require.Contains(t, out.String(), "/api/servicestatus")
	require.NotContains(t, out.String(), "token-1")
	require.NotContains(t, out.String(), "=secret")
}

func TestAtMostFourAtOnce(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	for i := range 60 {
		x := s.AddSchedule(&opcontest.Schedule{Name: fmt.Sprintf("SYM MORE %02d", i),
			Date: fmt.Sprintf("2026-09-%02d", i%12+1), Status: opcontest.ScheduleInProcess})
		s.AddJob(&opcontest.Job{Name: "JOB", Schedule: x, Primary: "SYMAIX1"})
	}
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	require.Len(t, rec.Held, 64)
	require.LessOrEqual(t, s.Busiest(), 4)
	require.Empty(t, s.Violations(), "no batch is larger than 25")
}
