package idm_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func secret(value string) failover.SecretFunc {
	return func(context.Context) (failover.Secret, error) { return failover.NewSecret(value), nil }
}

// asAdmin says how to reach a server of the tree as its administrator.
func asAdmin(tree *idmtest.Tree, name string, changes ...func(*idm.Config)) idm.Config {
	c := idm.Config{URL: tree.Server(name).URL(), TLS: failover.TLS{Roots: tree.Roots()}, UserDN: idmtest.AdminDN,
		Password: secret(idmtest.AdminPassword)}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func callTimeout(limit time.Duration) func(*idm.Config) {
	return func(c *idm.Config) { c.CallTimeout = limit }
}

// open dials a server of the tree as its administrator.
func open(t *testing.T, tree *idmtest.Tree, name string, changes ...func(*idm.Config)) *idm.Server {
	t.Helper()
	s, err := idm.Dial(t.Context(), asAdmin(tree, name, changes...))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestDialProvesWhichServerAnswers(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	srv := tree.Server("srv1")
	pinned := func(fingerprint string) func(*idm.Config) {
		return func(c *idm.Config) { c.TLS = failover.TLS{Fingerprints: []string{fingerprint}} }
	}
	tests := []struct {
		name   string
		change func(*idm.Config)
		want   error
		text   string
	}{
		{name: "LDAPS with roots", change: func(*idm.Config) {}},
		{name: "StartTLS with roots", change: func(c *idm.Config) { c.URL = srv.ClearURL() }},
		{name: "fingerprint", change: pinned(srv.Fingerprint())},
		{name: "expected server", change: func(c *idm.Config) { c.ExpectedServer = strings.ToUpper(srv.DN()) }},
		{name: "anonymous", change: func(c *idm.Config) { c.UserDN, c.Password = "", nil }},
		{name: "another server than expected", change: func(c *idm.Config) { c.ExpectedServer = tree.Server("srv2").DN() },
			want: idm.ErrWrongServer, text: "load balancer"},
		{name: "other fingerprint", change: pinned("00" + strings.Repeat("11", 31)), want: idm.ErrUntrusted, text: "console"},
		{name: "unknown authority", change: func(c *idm.Config) { c.TLS.Roots = x509.NewCertPool() }, want: idm.ErrUntrusted,
			text: "as root"},
		{name: "name not in the certificate", change: func(c *idm.Config) { c.TLS.ServerName = "elsewhere.example.com" },
			want: idm.ErrUntrusted, text: "server name"},
		{name: "wrong password", change: func(c *idm.Config) { c.Password = secret("no") }, want: idm.ErrLogin},
		{name: "empty password", change: func(c *idm.Config) { c.Password = secret("") }, want: idm.ErrLogin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := idm.Dial(t.Context(), asAdmin(tree, "srv1", tt.change))
			if tt.want == nil {
				require.NoError(t, err)
				require.Equal(t, srv.DN(), s.DN())
				require.True(t, s.RootDSE().HasEngine())
				require.NoError(t, s.Close())
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.NotEmpty(t, failover.NextOf(err))
			require.Contains(t, failover.NextOf(err), tt.text)
			require.NotContains(t, err.Error(), idmtest.AdminPassword)
		})
	}
}

func TestConfigIsRefusedByTheNameOfTheField(t *testing.T) {
	roots := failover.TLS{Roots: x509.NewCertPool()}
	good := idm.Config{URL: "ldaps://srv1", TLS: roots, UserDN: "cn=admin,o=system", Password: secret("x")}
	require.NoError(t, good.Validate())
	require.NoError(t, idm.Config{URL: "ldap://srv1:1389", TLS: roots}.Validate(), "nobody is logged in")
	for _, tt := range []struct {
		name, field string
		change      func(*idm.Config)
	}{
		{"no URL", "Config.URL", func(c *idm.Config) { c.URL = "" }},
		{"a bare name", "Config.URL", func(c *idm.Config) { c.URL = "srv1" }},
		{"no host", "Config.URL", func(c *idm.Config) { c.URL = "ldapi:///x" }},
		{"other scheme", "Config.URL", func(c *idm.Config) { c.URL = "https://srv1" }},
		{"password in the URL", "Config.URL", func(c *idm.Config) { c.URL = "ldaps://u:p@srv1" }},
		{"no trust", "Config.TLS", func(c *idm.Config) { c.TLS = failover.TLS{} }},
		{"two kinds of trust", "Config.TLS.Fingerprints",
			func(c *idm.Config) { c.TLS.Fingerprints = []string{strings.Repeat("00", 32)} }},
		{"bad fingerprint", "Config.TLS.Fingerprints",
			func(c *idm.Config) { c.TLS = failover.TLS{Fingerprints: []string{"abc"}} }},
		{"no file of roots", "Config.TLS.RootsFile", func(c *idm.Config) { c.TLS.RootsFile = "nowhere.pem" }},
		{"bad user", "Config.UserDN", func(c *idm.Config) { c.UserDN = "admin" }},
		{"password without user", "Config.UserDN", func(c *idm.Config) { c.UserDN = "" }},
		{"user without password", "Config.Password", func(c *idm.Config) { c.Password = nil }},
		{"bad expected server", "Config.ExpectedServer", func(c *idm.Config) { c.ExpectedServer = "srv1" }},
		{"bad assumed server", "Config.AssumedServer", func(c *idm.Config) { c.AssumedServer = "srv1" }},
		{"unknown framing", "Config.Dialect", func(c *idm.Config) { c.Dialect.Framing = 9 }},
		{"unknown flag", "Config.Dialect", func(c *idm.Config) { c.Dialect.Resync = -1 }},
		{"negative time", "Config.CallTimeout", func(c *idm.Config) { c.CallTimeout = -1 }},
		{"negative number", "Config.Connections", func(c *idm.Config) { c.Connections = -1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				t.Error("dialled")
				return nil, net.ErrClosed
			}
			tt.change(&c)
			_, err := idm.Dial(t.Context(), c)
			require.ErrorIs(t, err, failover.ErrInvalid)
			require.ErrorContains(t, err, tt.field+":")
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.NotEmpty(t, failover.NextOf(err))
		})
	}
}

// A password is never sent before the line is secured, whatever the URL says.
func TestNoLoginInTheClear(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s, err := idm.Dial(t.Context(), asAdmin(tree, "srv1", func(c *idm.Config) { c.URL = tree.Server("srv1").ClearURL() }))
	require.NoError(t, err)
	defer s.Close() //nolint:errcheck // test
	binds := tree.Asked(func(r idmtest.Request) bool { return r.Op == idmtest.OperationBind })
	require.NotEmpty(t, binds)
	for _, b := range binds {
		require.True(t, b.Secure)
	}
}

// Nobody knows yet who answers StartTLS: what is longer than any answer is not read.
func TestAnEndlessAnswerToStartTLSIsNotRead(t *testing.T) {
	const much = 1 << 20
	sent := make(chan int, 1)
	_, err := idm.Dial(t.Context(), idm.Config{URL: "ldap://srv1", TLS: failover.TLS{Roots: x509.NewCertPool()},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				n := 0
				defer func() { sent <- n }()
				if _, err := far.Read(make([]byte, 1024)); err != nil {
					return
				}
				answer := append([]byte{0x04, 0x84, 0x7f, 0xff, 0xff, 0xff}, make([]byte, 1024)...)
				for n < much {
					wrote, err := far.Write(answer)
					if n += wrote; err != nil {
						return
					}
				}
				_ = far.Close()
			}()
			return near, nil
		}})
	require.ErrorIs(t, err, idm.ErrLineLost)
	require.Less(t, <-sent, much)
}

func TestLegacyTLS(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{LegacyTLS: true})
	_, err := idm.Dial(t.Context(), asAdmin(tree, "srv1"))
	require.ErrorIs(t, err, idm.ErrLineLost)
	require.Contains(t, failover.NextOf(err), "LegacyAlgorithms")
	s, err := idm.Dial(t.Context(), asAdmin(tree, "srv1", func(c *idm.Config) { c.TLS.LegacyAlgorithms = true }))
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// mute accepts connections and never says a word.
func mute(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var open []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				for _, c := range open {
					_ = c.Close()
				}
				return
			}
			open = append(open, c)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l
}

func TestDialEndsWithoutADeadline(t *testing.T) {
	_, err := idm.Dial(t.Context(), idm.Config{URL: "ldaps://" + mute(t).Addr().String(),
		TLS: failover.TLS{Roots: x509.NewCertPool()}, CallTimeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, idm.ErrLineLost)
	require.ErrorContains(t, err, "no answer within 50ms")
}

func TestDialEndsWithItsContext(t *testing.T) {
	l := mute(t)
	for _, scheme := range []string{"ldap", "ldaps"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
		_, err := idm.Dial(ctx, idm.Config{URL: scheme + "://" + l.Addr().String(),
			TLS:    failover.TLS{Roots: x509.NewCertPool()},
			UserDN: idmtest.AdminDN, Password: secret(idmtest.AdminPassword)})
		require.ErrorIs(t, err, idm.ErrLineLost)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	}
}

// What each fault leaves, for a request that changes something. After every doubt the next call works on a new
// connection.
func TestOutcomeOfEveryFault(t *testing.T) {
	driver := idmtest.DriverDN(0)
	want := map[idmtest.FaultKind]struct {
		outcome failover.Outcome
		effect  bool // what really happened
	}{
		idmtest.FaultSlowRequest:    {failover.InDoubt, true},
		idmtest.FaultSlowReply:      {failover.InDoubt, true},
		idmtest.FaultDropRequest:    {failover.InDoubt, false},
		idmtest.FaultDropReply:      {failover.InDoubt, true},
		idmtest.FaultMuteRequest:    {failover.InDoubt, false},
		idmtest.FaultMuteReply:      {failover.InDoubt, true},
		idmtest.FaultRefusal:        {failover.NotApplied, false},
		idmtest.FaultGarbage:        {failover.InDoubt, true},
		idmtest.FaultWrongMessageID: {failover.InDoubt, true},
		idmtest.FaultTruncated:      {failover.InDoubt, true},
		idmtest.FaultDuplicate:      {failover.Applied, true},
		idmtest.FaultEmptySuccess:   {failover.Applied, false}, // a lie only an observation finds out
		idmtest.FaultKillRequest:    {failover.InDoubt, false},
		idmtest.FaultKillReply:      {failover.InDoubt, true},
		idmtest.FaultUnknownReply:   {failover.InDoubt, true},
	}
	for _, kind := range idmtest.FaultKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
				{Name: "srv2", Prepared: true}}})
			limit := 30 * time.Second
			switch kind {
			case idmtest.FaultSlowRequest, idmtest.FaultSlowReply, idmtest.FaultMuteRequest, idmtest.FaultMuteReply,
				idmtest.FaultWrongMessageID:
				limit = 300 * time.Millisecond // nothing else ends the wait
			}
			s := open(t, tree, "srv2", callTimeout(limit))
			fault := tree.Inject(idmtest.Injection{Kind: kind, Server: "srv2", Extended: 9, NDS: -672, Delay: delayOf(kind)})
			err := s.SetStartOption(t.Context(), driver, idm.StartManual, idm.ResyncNone)
			require.Equal(t, 1, fault.Hits(), "sent exactly once")
			require.Equal(t, want[kind].outcome, failover.OutcomeOf(err), "%v", err)
			if err != nil {
				require.NotEmpty(t, failover.NextOf(err))
				require.ErrorContains(t, err, driver)
			}
			if !tree.Server("srv2").Up() {
				require.NoError(t, tree.Server("srv2").Start())
			}
			look := open(t, tree, "srv2")
			effect := func() bool {
				o, err := look.StartOption(t.Context(), driver)
				return err == nil && o == idm.StartManual
			}
			if want[kind].effect {
				require.Eventually(t, effect, time.Minute, 10*time.Millisecond)
			} else {
				require.False(t, effect())
			}
		})
	}
}

func delayOf(kind idmtest.FaultKind) time.Duration {
	if kind == idmtest.FaultSlowRequest || kind == idmtest.FaultSlowReply {
		return 2 * time.Second
	}
	return 0
}

func TestReadsAreRepeatedOnceAfterARestedLineBroke(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := open(t, tree, "srv1")
	fault := tree.Inject(idmtest.Injection{Kind: idmtest.FaultDropRequest, Server: "srv1", Extended: 13})
	state, err := s.State(t.Context(), idmtest.DriverDN(0))
	require.NoError(t, err)
	require.Equal(t, idm.StateRunning, state)
	require.Equal(t, 1, fault.Hits())

	fault = tree.Inject(idmtest.Injection{Kind: idmtest.FaultDropRequest, Server: "srv1", Op: idmtest.OperationSearch,
		DN: idmtest.DriverSetDN})
	drivers, err := s.Drivers(t.Context(), idmtest.DriverSetDN)
	require.NoError(t, err, "a search of which nothing came is a read like any other")
	require.Equal(t, tree.Drivers(), drivers)
	require.Equal(t, 1, fault.Hits())

	// Of one that broke in the middle the caller has entries already: that is his to repeat.
	fault = tree.Inject(idmtest.Injection{Kind: idmtest.FaultTruncated, Server: "srv1", Op: idmtest.OperationSearch,
		DN: idmtest.UsersDN})
	seen := 0
	for _, err = range s.Entries(t.Context(), idm.Query{Base: idmtest.UsersDN, Scope: idm.ScopeSubtree}) {
		if err == nil {
			seen++
		}
	}
	require.ErrorIs(t, err, idm.ErrLineLost)
	require.Equal(t, 3, seen, "half of the unit and its five users, none of them twice")
	require.Equal(t, 1, fault.Hits())
}

func TestAServerThatIsAwaySentNothing(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := open(t, tree, "srv1")
	tree.Server("srv1").Kill()
	require.Eventually(t, func() bool {
		err := s.Stop(t.Context(), idmtest.DriverDN(0))
		return errors.Is(err, idm.ErrUnreachable) && failover.OutcomeOf(err) == failover.NotApplied
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, tree.Server("srv1").Start())
	_, err := s.State(t.Context(), idmtest.DriverDN(0))
	require.NoError(t, err, "works again as soon as the server does")
}

func TestAnotherServerBehindTheSameAddressIsRefused(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	target := tree.Server("srv1").TLSAddr()
	s, err := idm.Dial(t.Context(), asAdmin(tree, "srv1", func(c *idm.Config) {
		c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, target)
		}
	}))
	require.NoError(t, err)
	defer s.Close() //nolint:errcheck // test
	target = tree.Server("srv2").TLSAddr()
	tree.Server("srv1").Unplug()
	require.Eventually(t, func() bool {
		_, err = s.State(t.Context(), idmtest.DriverDN(0))
		return errors.Is(err, idm.ErrWrongServer)
	}, time.Minute, 10*time.Millisecond)
	require.ErrorContains(t, err, "earlier it was")
}

func TestReferralIsTheWrongServer(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Without: []string{"o=data"}}}})
	s := open(t, tree, "srv2")
	_, err := s.Read(t.Context(), idmtest.UsersDN)
	require.ErrorIs(t, err, idm.ErrWrongServer)
	_, err = s.Find(t.Context(), idm.Query{Scope: idm.ScopeSubtree, Filter: "(objectClass=inetOrgPerson)"})
	require.ErrorIs(t, err, idm.ErrWrongServer)
	require.ErrorIs(t, s.Modify(t.Context(), idmtest.UsersDN,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("description", "x")}), idm.ErrWrongServer)
}

func TestCallsEndWithTheirContext(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := open(t, tree, "srv1")
	for name, call := range map[string]func(context.Context) error{
		"search":   func(ctx context.Context) error { _, err := s.Read(ctx, idmtest.DriverSetDN); return err },
		"extended": func(ctx context.Context) error { return s.Stop(ctx, idmtest.DriverDN(0)) },
		"modify": func(ctx context.Context) error {
			return s.Modify(ctx, idmtest.DriverSetDN,
				idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("description", "x")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ops := map[string]idmtest.Operation{"search": idmtest.OperationSearch, "extended": idmtest.OperationExtended,
				"modify": idmtest.OperationModify}
			mine := func(r idmtest.Request) bool { return r.DN != "" }
			fault := tree.Inject(idmtest.Injection{Kind: idmtest.FaultMuteRequest, Server: "srv1", Op: ops[name], If: mine})
			ctx, cancel := context.WithCancelCause(t.Context())
			enough := errors.New("enough")
			done := make(chan error, 1)
			go func() { done <- call(ctx) }()
			require.Eventually(t, func() bool { return fault.Hits() == 1 }, time.Minute, time.Millisecond)
			cancel(enough)
			err := <-done
			require.ErrorIs(t, err, enough)
			require.ErrorIs(t, err, idm.ErrLineLost)
			want := failover.InDoubt
			if name == "search" {
				want = failover.NotApplied
			}
			require.Equal(t, want, failover.OutcomeOf(err))
		})
	}
	_, err := s.Read(t.Context(), idmtest.DriverSetDN)
	require.NoError(t, err)
}

func TestPagingAndStreaming(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Users: 25, SizeLimit: 10})
	s := open(t, tree, "srv1")
	q := idm.Query{Base: idmtest.UsersDN, Scope: idm.ScopeOne, Attributes: []string{"cn"}, PageSize: 7}
	entries, err := s.Find(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, entries, 25)
	q.PageSize = 0
	_, err = s.Find(t.Context(), q)
	require.Error(t, err, "a result cut off by the server's limit is no result")
	for range s.Entries(t.Context(), idm.Query{Base: idmtest.UsersDN, Scope: idm.ScopeOne, PageSize: 7}) {
		break // leaving the loop early leaves nothing behind
	}
	ok, err := s.Exists(t.Context(), "cn=nobody,"+idmtest.UsersDN)
	require.NoError(t, err)
	require.False(t, ok)
}

// Leaving a long search early frees its connection at once, also when the reader was slow and results wait everywhere.
func TestLeavingALongSearch(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Users: 2000})
	s := open(t, tree, "srv1", func(c *idm.Config) { c.Connections = 1 })
	for range 5 {
		for _, err := range s.Entries(t.Context(), idm.Query{Base: idmtest.UsersDN, Scope: idm.ScopeOne}) {
			require.NoError(t, err)
			time.Sleep(20 * time.Millisecond) // lets the answers pile up
			break
		}
	}
	_, err := s.Read(t.Context(), idmtest.DriverSetDN, "cn")
	require.NoError(t, err)
}

func TestEntryOperations(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := open(t, tree, "srv1")
	ctx := t.Context()
	dn := "cn=new," + idmtest.UsersDN
	require.NoError(t, s.Add(ctx, dn, idm.Text("objectClass", "inetOrgPerson"), idm.Text("sn", "New")))
	require.ErrorIs(t, s.Add(ctx, dn, idm.Text("objectClass", "inetOrgPerson"), idm.Text("sn", "New")), idm.ErrExists)
	require.ErrorIs(t, s.Delete(ctx, "cn=another,"+idmtest.UsersDN), idm.ErrNoEntry)
	require.ErrorIs(t, s.Modify(ctx, dn, idm.AttributeChange{Kind: idm.ChangeDelete, Attribute: idm.Text("mail", "a@b")}),
		idm.ErrNoAttribute)
	require.ErrorIs(t, s.Modify(ctx, dn,
		idm.AttributeChange{Kind: idm.ChangeAdd, Attribute: idm.Text("seeAlso", "cn=nobody,o=x")}), idm.ErrSchema)
	require.NoError(t, s.Delete(ctx, dn))
	require.ErrorIs(t, s.Modify(ctx, idmtest.DriverDN(0),
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-State", "2")}), idm.ErrNoAccess)
	require.ErrorIs(t, s.Modify(ctx, "nonsense"), failover.ErrInvalid)
}
