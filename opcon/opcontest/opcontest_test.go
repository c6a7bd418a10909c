package opcontest_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover/opcon/opcontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask sends a request as any HTTP client would.
func ask(t *testing.T, s *opcontest.Server, method, path, body string) (int, string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true}
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Token ext")
	req.Header.Set("Content-Type", "application/json")
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func start(t *testing.T, c opcontest.Config) (*opcontest.Server, *opcontest.Scenario) {
	t.Helper()
	c.External = "ext"
	s := opcontest.Start(t, c)
	return s, s.Symitar("SYMAIX1", "symaix1")
}

// TestStrict: a simulator that lets a client get away with something proves nothing about the client.
func TestStrict(t *testing.T) {
	for name, tc := range map[string]struct{ method, path, body string }{
		"unknown route":     {"GET", "/api/nosuch", ""},
		"unknown parameter": {"GET", "/api/machines?nosuch=1", ""},
		"no dates":          {"GET", "/api/dailyjobs", ""},
		"unknown field": {"POST", "/api/scheduleactions",
			`{"action":"hold","reason":"x","scheduleActionItems":[{"id":"a","x":1}]}`},
		"no reason": {"POST", "/api/scheduleactions", `{"action":"hold","scheduleActionItems":[{"id":"a"}]}`},
		"no items":  {"POST", "/api/scheduleactions", `{"action":"hold","reason":"x","scheduleActionItems":[]}`},
		"kill":      {"POST", "/api/jobactions", `{"action":"kill","reason":"x","jobs":[{"id":"a"}]}`},
		"killJobs": {"POST", "/api/scheduleactions",
			`{"action":"killJobs","reason":"x","scheduleActionItems":[{"id":"a"}]}`},
		"bulk restart": {"POST", "/api/scheduleactions",
			`{"action":"restartJobs","reason":"x","scheduleActionItems":[{"id":"a"}]}`},
		"26 items": {"POST", "/api/jobactions",
			`{"action":"restart","reason":"x","jobs":[` + strings.Repeat(`{"id":"a"},`, 25) + `{"id":"a"}]}`},
		"slash escaped once": {"GET", "/api/dailyjobs/20260822%7C228%7C1%7CREPORTS%20A%2FB", ""},
		"record while up":    {"PUT", "/api/machines/12", `{}`},
		"malformed login":    {"POST", "/api/tokens", `{"x":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := start(t, opcontest.Config{})
			status, _ := ask(t, s, tc.method, tc.path, tc.body)
			require.GreaterOrEqual(t, status, 400)
			require.Len(t, s.Violations(), 1)
			require.Empty(t, s.Effects())
		})
	}
}

func TestRecordMustComeBackByteForByte(t *testing.T) {
	for name, tc := range map[string]struct {
		old, new string
		ok       bool
	}{
		"the address":         {`"fullyQualifiedDomainName":"symaix1"`, `"fullyQualifiedDomainName":"symaix2"`, true},
		"a number's zeros":    {`-5.00`, `-5`, false},
		"an escape":           {`\u00e9`, "é", false},
		"a field left out":    {`"lsamTime":null,`, ``, false},
		"both addresses":      {`"tcpIpAddress":"<Default>"`, `"tcpIpAddress":"192.0.2.1"`, false},
		"the type taken away": {`"type":{"id":6,"description":"UNIX"}`, `"type":null`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := start(t, opcontest.Config{})
			s.Change(func() { c.Machine.Asked, c.Machine.State = "D", "D" })
			_, list := ask(t, s, "GET", "/api/machines?ids=12&extendedProperties=true", "")
			record := strings.TrimSuffix(strings.TrimPrefix(list, "["), "]")
			require.Contains(t, record, tc.old)
			status, _ := ask(t, s, "PUT", "/api/machines/12", strings.Replace(record, tc.old, tc.new, 1))
			require.Equal(t, tc.ok, status == 200)
			require.Equal(t, tc.ok, s.Count("address", "") == 1)
		})
	}
}

// TestModel follows one job through a machine that goes down with its schedule free.
func TestModel(t *testing.T) {
	s, c := start(t, opcontest.Config{Polls: 1})
	s.Change(func() { c.Alternant.Ready = true; c.Machine.Asked, c.Machine.State = "L", "L" })
	status, body := ask(t, s, "POST", "/api/machineactions", `{"action":"down","machines":[{"id":12}]}`)
	require.Equal(t, 200, status)
	require.Contains(t, body, `"result":"submitted"`)
	require.Zero(t, s.Count("down", ""), "200 is queued, not done")
	_, _ = ask(t, s, "GET", "/api/version", "")
	_, _ = ask(t, s, "GET", "/api/version", "")
	require.Equal(t, 1, s.Count("down", "SYMAIX1"))
	require.Len(t, s.WrongStarts(), 1)
	_, machine := s.JobState(c.Alternant)
	require.Equal(t, "SYMSPARE", machine)

	s.Midnight()
	built := s.Find("2026-08-24", "SYM NIGHTLY")
	require.NotNil(t, built)
	require.Equal(t, opcontest.ScheduleWaitToStart, s.Status(built), "built, and not on hold")
}
