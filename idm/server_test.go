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

func admin() idm.Option { return idm.WithLogin(idmtest.AdminDN, secret(idmtest.AdminPassword)) }

// open dials a server of the tree as its administrator.
func open(t *testing.T, tree *idmtest.Tree, name string, opts ...idm.Option) *idm.Server {
	t.Helper()
	s, err := idm.Dial(t.Context(), tree.Server(name).URL(), append([]idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin()}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestDialProvesWhichServerAnswers(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	srv := tree.Server("srv1")
	other := "00" + strings.Repeat("11", 31)
	tests := []struct {
		name string
		url  string
		opts []idm.Option
		want error
		text string
	}{
		{name: "LDAPS with roots", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin()}},
		{name: "StartTLS with roots", url: srv.ClearURL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin()}},
		{name: "fingerprint", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Fingerprints: []string{srv.Fingerprint()}}), admin()}},
		{name: "expected server", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin(), idm.WithExpectedServer(strings.ToUpper(srv.DN()))}},
		{name: "anonymous", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()})}},
		{name: "another server than expected", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin(), idm.WithExpectedServer(tree.Server("srv2").DN())}, want: idm.ErrWrongServer, text: "load balancer"},
		{name: "other fingerprint", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Fingerprints: []string{other}}), admin()}, want: idm.ErrUntrusted, text: "console"},
		{name: "unknown authority", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: x509.NewCertPool()}), admin()}, want: idm.ErrUntrusted, text: "as root"},
		{name: "name not in the certificate", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots(), ServerName: "elsewhere.example.com"}), admin()}, want: idm.ErrUntrusted, text: "server name"},
		{name: "wrong password", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()}), idm.WithLogin(idmtest.AdminDN, secret("no"))}, want: idm.ErrLogin},
		{name: "empty password", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots()}), idm.WithLogin(idmtest.AdminDN, secret(""))}, want: idm.ErrLogin},
		{name: "no trust given", url: srv.URL(), opts: []idm.Option{admin()}, want: failover.ErrInvalid},
		{name: "two kinds of trust", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Roots: tree.Roots(), Fingerprints: []string{srv.Fingerprint()}})}, want: failover.ErrInvalid},
		{name: "other scheme", url: "ldapi:///x", opts: nil, want: failover.ErrInvalid},
		{name: "no URL", url: "srv1", opts: nil, want: failover.ErrInvalid},
		{name: "password in the URL", url: "ldaps://u:p@srv1", opts: nil, want: failover.ErrInvalid},
		{name: "bad fingerprint", url: srv.URL(), opts: []idm.Option{idm.WithTLS(failover.TLS{Fingerprints: []string{"abc"}})}, want: failover.ErrInvalid},
		{name: "bad user", url: srv.URL(), opts: []idm.Option{idm.WithLogin("admin", secret("x"))}, want: failover.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := idm.Dial(t.Context(), tt.url, tt.opts...)
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

// A password is never sent before the line is secured, whatever the URL says.
func TestNoLoginInTheClear(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s, err := idm.Dial(t.Context(), tree.Server("srv1").ClearURL(), idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin())
	require.NoError(t, err)
	defer s.Close() //nolint:errcheck // test
	binds := tree.Asked(func(r idmtest.Request) bool { return r.Op == idmtest.OperationBind })
	require.NotEmpty(t, binds)
	for _, b := range binds {
		require.True(t, b.Secure)
	}
}

func TestLegacyTLS(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{LegacyTLS: true})
	_, err := idm.Dial(t.Context(), tree.Server("srv1").URL(), idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin())
	require.ErrorIs(t, err, idm.ErrUnreachable)
	require.Contains(t, failover.NextOf(err), "LegacyAlgorithms")
	s, err := idm.Dial(t.Context(), tree.Server("srv1").URL(), idm.WithTLS(failover.TLS{Roots: tree.Roots(), LegacyAlgorithms: true}), admin())
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

func TestDialEndsWithItsContext(t *testing.T) {
	l := mute(t)
	for _, scheme := range []string{"ldap", "ldaps"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
		_, err := idm.Dial(ctx, scheme+"://"+l.Addr().String(), idm.WithTLS(failover.TLS{Roots: x509.NewCertPool()}), admin())
		require.ErrorIs(t, err, idm.ErrUnreachable)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	}
}

// What each fault leaves, for a request that changes something. After every doubt the next call works on a new connection.
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
			tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true}}})
			limit := 30 * time.Second
			switch kind {
			case idmtest.FaultSlowRequest, idmtest.FaultSlowReply, idmtest.FaultMuteRequest, idmtest.FaultMuteReply, idmtest.FaultWrongMessageID:
				limit = 300 * time.Millisecond // nothing else ends the wait
			}
			s := open(t, tree, "srv2", idm.WithCallTimeout(limit))
			fault := tree.Inject(idmtest.Fault{Kind: kind, Server: "srv2", Extended: 9, NDS: -672, Delay: delayOf(kind)})
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
	fault := tree.Inject(idmtest.Fault{Kind: idmtest.FaultDropRequest, Server: "srv1", Extended: 13})
	state, err := s.State(t.Context(), idmtest.DriverDN(0))
	require.NoError(t, err)
	require.Equal(t, idm.StateRunning, state)
	require.Equal(t, 1, fault.Hits())

	fault = tree.Inject(idmtest.Fault{Kind: idmtest.FaultDropRequest, Server: "srv1", Op: idmtest.OperationSearch, DN: idmtest.DriverSetDN})
	drivers, err := s.Drivers(t.Context(), idmtest.DriverSetDN)
	require.NoError(t, err, "a search of which nothing came is a read like any other")
	require.Equal(t, tree.Drivers(), drivers)
	require.Equal(t, 1, fault.Hits())

	// Of one that broke in the middle the caller has entries already: that is his to repeat.
	fault = tree.Inject(idmtest.Fault{Kind: idmtest.FaultTruncated, Server: "srv1", Op: idmtest.OperationSearch, DN: idmtest.UsersDN})
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
	s, err := idm.Dial(t.Context(), tree.Server("srv1").URL(), idm.WithTLS(failover.TLS{Roots: tree.Roots()}), admin(),
		idm.WithDialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, target)
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
	tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Without: []string{"o=data"}}}})
	s := open(t, tree, "srv2")
	_, err := s.Read(t.Context(), idmtest.UsersDN)
	require.ErrorIs(t, err, idm.ErrWrongServer)
	_, err = s.Find(t.Context(), idm.Query{Scope: idm.ScopeSubtree, Filter: "(objectClass=inetOrgPerson)"})
	require.ErrorIs(t, err, idm.ErrWrongServer)
	require.ErrorIs(t, s.Modify(t.Context(), idmtest.UsersDN, idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("description", "x")}), idm.ErrWrongServer)
}

func TestCallsEndWithTheirContext(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := open(t, tree, "srv1")
	for name, call := range map[string]func(context.Context) error{
		"search":   func(ctx context.Context) error { _, err := s.Read(ctx, idmtest.DriverSetDN); return err },
		"extended": func(ctx context.Context) error { return s.Stop(ctx, idmtest.DriverDN(0)) },
		"modify": func(ctx context.Context) error {
			return s.Modify(ctx, idmtest.DriverSetDN, idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("description", "x")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ops := map[string]idmtest.Operation{"search": idmtest.OperationSearch, "extended": idmtest.OperationExtended, "modify": idmtest.OperationModify}
			mine := func(r idmtest.Request) bool { return r.DN != "" }
			fault := tree.Inject(idmtest.Fault{Kind: idmtest.FaultMuteRequest, Server: "srv1", Op: ops[name], If: mine})
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
	s := open(t, tree, "srv1", idm.WithConnections(1))
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
	same, err := s.Compare(ctx, dn, "sn", []byte("new"))
	require.NoError(t, err)
	require.True(t, same)
	require.NoError(t, s.Rename(ctx, dn, "cn=renamed", ""))
	require.ErrorIs(t, s.Delete(ctx, dn), idm.ErrNoEntry)
	dn = "cn=renamed," + idmtest.UsersDN
	require.ErrorIs(t, s.Modify(ctx, dn, idm.AttributeChange{Kind: idm.ChangeDelete, Attribute: idm.Text("mail", "a@b")}), idm.ErrNoAttribute)
	require.ErrorIs(t, s.Modify(ctx, dn, idm.AttributeChange{Kind: idm.ChangeAdd, Attribute: idm.Text("seeAlso", "cn=nobody,o=x")}), idm.ErrMissingTarget)
	require.NoError(t, s.Delete(ctx, dn))
	require.ErrorIs(t, s.Modify(ctx, idmtest.DriverDN(0), idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-State", "2")}), idm.ErrNoAccess)
	require.ErrorIs(t, s.Modify(ctx, "nonsense"), failover.ErrInvalid)
}
