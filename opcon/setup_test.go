package opcon_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	oldHost = "symaix1.example.org"
	newHost = "symaix2.example.org"
	reason  = "Symitar FAILOVER CHG0042"
)

func secret(text string) failover.SecretFunc {
	return func(context.Context) (failover.Secret, error) { return failover.NewSecret(text), nil }
}

// site is a server with the scenario, the hosts behind it and a client.
type site struct {
	*opcontest.Server
	*opcontest.Scenario
	client *opcon.Client

	mu      sync.Mutex
	primary string            // host where jobs may run
	agents  map[string]bool   // hosts where an agent answers
	aliases map[string]string // addresses that are aliases, and the hosts they lead to
}

func (s *site) host(address string) string {
	if h, ok := s.aliases[address]; ok {
		return h
	}
	return address
}

func newSite(t testing.TB, conf opcontest.Config, opts ...option) *site {
	t.Helper()
	s := &site{primary: oldHost, aliases: map[string]string{},
		agents: map[string]bool{oldHost: true, newHost: true, "192.0.2.77": true, "WINFTP": true}}
	conf.Hooks = opcontest.Hooks{
		Agent: func(a string) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.agents[s.host(a)] },
		Host:  func(a string) string { s.mu.Lock(); defer s.mu.Unlock(); return s.host(a) },
		Right: func(a string) bool { s.mu.Lock(); defer s.mu.Unlock(); return a == s.primary || a == "WINFTP" },
	}
	srv := opcontest.Start(t, conf)
	s.Server, s.Scenario = srv, srv.Symitar("SYMAIX1", oldHost)
	s.client = newClient(t, srv, opts...)
	return s
}

func newClient(t testing.TB, srv *opcontest.Server, opts ...option) *opcon.Client {
	t.Helper()
	base := []option{withRootCAs(srv.CertPool()), withPolling(time.Millisecond, 5*time.Millisecond),
		withTimeouts(30*time.Second, 3*time.Second)}
	login := opcon.Config{}
	for _, o := range opts {
		o(&login)
	}
	if login.User == "" && login.Token == nil {
		base = append(base, withUser(srv.User, secret(srv.Password)))
	}
	c, err := connect(srv.URL, append(base, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// option changes one thing of a client's configuration.
type option func(*opcon.Config)

func connect(url string, opts ...option) (*opcon.Client, error) {
	c := opcon.Config{URL: url}
	for _, o := range opts {
		o(&c)
	}
	return opcon.New(c)
}

func withUser(name string, password failover.SecretFunc) option {
	return func(c *opcon.Config) { c.User, c.Password = name, password }
}

func withToken(token failover.SecretFunc) option { return func(c *opcon.Config) { c.Token = token } }
func withTransport(rt http.RoundTripper) option  { return func(c *opcon.Config) { c.Transport = rt } }
func withRootCAs(pool *x509.CertPool) option     { return func(c *opcon.Config) { c.TLS.Roots = pool } }
func withInsecureClearText() option              { return func(c *opcon.Config) { c.InsecureClearText = true } }
func withInsecureAnyCertificate() option {
	return func(c *opcon.Config) { c.TLS.InsecureAnyCertificate = true }
}

func withPinnedCertificate(fingerprints ...string) option {
	return func(c *opcon.Config) { c.TLS.Fingerprints = fingerprints }
}

func withTimeouts(call, action time.Duration) option {
	return func(c *opcon.Config) { c.CallTimeout, c.ActionTimeout = call, action }
}

func withPolling(first, longest time.Duration) option {
	return func(c *opcon.Config) { c.Poll, c.MaxPoll = first, longest }
}

// swap is what the macro does.
func (s *site) swap() { s.mu.Lock(); defer s.mu.Unlock(); s.primary = newHost }

func (s *site) silence(addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addresses {
		s.agents[a] = false
	}
}

// lawful asserts what must hold after whatever happened.
func (s *site) lawful(t *testing.T) {
	t.Helper()
	require.Empty(t, s.Violations())
	require.Empty(t, s.WrongStarts())
}

// goesBack lets the host that was primary before be primary again, before an undo.
func (s *site) goesBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.primary = oldHost
}

// asItWas wants the machine and its schedules as they stood before the quiesce.
func (s *site) asItWas(t *testing.T) {
	t.Helper()
	s.lawful(t)
	state, asked, address := s.MachineState(s.Machine)
	require.Equal(t, []string{"U", "U", oldHost}, []string{state, asked, address})
	require.Equal(t, opcontest.ScheduleInProcess, s.Status(s.Nightly))
	require.Equal(t, opcontest.ScheduleWaitToStart, s.Status(s.Statements))
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.HeldBefore))
}

func unplanned() opcon.QuiesceOptions {
	return opcon.QuiesceOptions{Machine: "SYMAIX1", Mode: opcon.ModeUnplanned, Reason: reason,
		HoldTimeout: time.Minute}
}

func planned() opcon.QuiesceOptions {
	o := unplanned()
	o.Mode, o.DrainTimeout, o.DrainPoll = opcon.ModePlanned, time.Minute, time.Millisecond
	return o
}

func resumed() opcon.ResumeOptions {
	return opcon.ResumeOptions{Machine: "SYMAIX1", Reason: reason, Repoint: opcon.RepointEditRecord,
		Address: opcon.Address{FQDN: newHost}, UpTimeout: time.Minute, HoldTimeout: time.Minute}
}

func journal(t *testing.T) *failover.Journal {
	t.Helper()
	return openJournal(t, filepath.Join(t.TempDir(), "journal"))
}

func openJournal(t *testing.T, path string) *failover.Journal {
	t.Helper()
	j, err := failovertest.JournalAt(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func procedure(t testing.TB, s *site, q opcon.QuiesceOptions, r opcon.ResumeOptions) failover.Procedure {
	t.Helper()
	before, err := opcon.QuiesceStages(s.client, q)
	require.NoError(t, err)
	after, err := opcon.ResumeStages(s.client, r)
	require.NoError(t, err)
	macro := failover.Stage{Name: "macro",
		Steps: []failover.Step{{ID: "swap", Title: "Swap", Target: "pair", Kind: failover.Change,
			Undo: failover.NothingToUndo,
			Observe: func(context.Context) (failover.Observation, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return failover.Observation{Done: s.primary == newHost, Found: s.primary}, nil
			},
			Apply: func(context.Context) error { s.swap(); return nil }}}}
	return failover.Procedure{Name: "test.Switchover",
		Stages: []failover.Stage{before.Check, before.Hold, before.Drain, before.Down, macro,
			after.Repoint, after.Prove, after.Decide, after.Release}}
}

func options(j *failover.Journal) failover.RunOptions {
	return failover.RunOptions{Journal: j, Actor: "operator", Reason: reason,
		Confirm: func(context.Context, failover.Request) (failover.Statement, error) {
			return failover.Statement{By: "operator", Says: "decided", Reason: "looked at the list"}, nil
		}}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}
