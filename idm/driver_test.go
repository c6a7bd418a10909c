package idm_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func pair() idmtest.Config {
	return idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true}}}
}

func eventually(t *testing.T, s *idm.Server, driver string, want idm.State) {
	t.Helper()
	require.Eventually(t, func() bool {
		got, err := s.State(t.Context(), driver)
		return err == nil && got == want
	}, time.Minute, 5*time.Millisecond)
}

func TestDriverOperations(t *testing.T) {
	for name, cfg := range map[string]idmtest.Config{"concatenated": pair(),
		"sequence, other polarity, no response name": func() idmtest.Config {
			c := pair()
			c.Framing, c.ResyncFlag, c.OmitResponseName = idmtest.FramingSequence, idmtest.ResyncFlagZeroMeansNot, true
			return c
		}()} {
		t.Run(name, func(t *testing.T) {
			dialect := idm.Dialect{}
			if cfg.Framing == idmtest.FramingSequence {
				dialect = idm.Dialect{Framing: idm.FramingSequence, Resync: idm.ResyncFlagOneSyncs}
			}
			tree := idmtest.Start(t, cfg)
			spoken := func(c *idm.Config) { c.Dialect = dialect }
			one, two := open(t, tree, "srv1", spoken), open(t, tree, "srv2", spoken)
			ctx, driver := t.Context(), idmtest.DriverDN(0)

			v, err := one.EngineVersion(ctx)
			require.NoError(t, err)
			require.Equal(t, "4.8.7.0 build 3", v.String())
			set, err := one.AssociatedDriverSet(ctx)
			require.NoError(t, err)
			require.True(t, idm.SameDN(idmtest.DriverSetDN, set))
			drivers, err := one.Drivers(ctx, set)
			require.NoError(t, err)
			require.Equal(t, tree.Drivers(), drivers)

			st, err := one.Status(ctx, driver)
			require.NoError(t, err)
			require.Equal(t, "running, auto", st.String())
			require.NoError(t, one.Stop(ctx, driver))
			eventually(t, one, driver, idm.StateStopped)
			require.NoError(t, one.SetStartOption(ctx, driver, idm.StartDisabled, idm.ResyncNone))
			require.ErrorIs(t, one.Start(ctx, driver), idm.ErrWrongState)

			require.NoError(t, two.SetStartOption(ctx, driver, idm.StartManual, idm.ResyncNone))
			require.Zero(t, tree.Counters(driver).AutoResyncs, "no synchronization where none was asked")
			require.NoError(t, two.Start(ctx, driver))
			eventually(t, two, driver, idm.StateRunning)
			require.NoError(t, two.ResyncSince(ctx, driver, time.Now().Add(-time.Hour)))
			require.NoError(t, two.Restart(ctx, driver))
			eventually(t, two, driver, idm.StateRunning)
			stats, err := two.Stats(ctx, driver)
			require.NoError(t, err)
			require.NotEmpty(t, stats.DriverDN)
			require.NoError(t, two.Stop(ctx, driver))
			eventually(t, two, driver, idm.StateStopped)
			require.NoError(t, two.ReadApplicationSchema(ctx, driver))
			require.NoError(t, two.InitDriver(ctx, driver))
			for _, job := range tree.Jobs() {
				require.NoError(t, two.NotifyJob(ctx, job))
				_, err := two.JobRunning(ctx, job)
				require.NoError(t, err)
			}
			require.Empty(t, tree.Overlaps())
		})
	}
}

// A dialect that is not the server's is refused by it and changes nothing.
func TestWrongFramingChangesNothing(t *testing.T) {
	cfg := pair()
	cfg.Framing = idmtest.FramingSequence
	tree := idmtest.Start(t, cfg)
	s := open(t, tree, "srv2")
	err := s.SetStartOption(t.Context(), idmtest.DriverDN(0), idm.StartManual, idm.ResyncNone)
	require.ErrorIs(t, err, idm.ErrNotSupported)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.Equal(t, idmtest.StartDisabled, tree.Server("srv2").StartOption(idmtest.DriverDN(0)))
}

func TestLeavingDisabledWithResyncFillsTheCache(t *testing.T) {
	tree := idmtest.Start(t, pair())
	s := open(t, tree, "srv2")
	require.NoError(t, s.SetStartOption(t.Context(), idmtest.DriverDN(0), idm.StartManual, idm.ResyncEvents))
	require.Equal(t, 1, tree.Counters(idmtest.DriverDN(0)).AutoResyncs)
	stats, err := s.Stats(t.Context(), idmtest.DriverDN(0))
	require.NoError(t, err)
	require.Positive(t, stats.CacheBytes)
}

func TestTheServersOfAJob(t *testing.T) {
	tree := idmtest.Start(t, pair())
	one := open(t, tree, "srv1")
	ctx, job := t.Context(), tree.Jobs()[0]
	require.NoError(t, one.AddToServerList(ctx, job, tree.Server("srv2").DN()))
	require.NoError(t, one.AddToServerList(ctx, job, tree.Server("srv2").DN()), "there already")
	list, err := one.ServerList(ctx, job)
	require.NoError(t, err)
	require.Equal(t, []string{one.DN(), tree.Server("srv2").DN()}, list)
}

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	tree := idmtest.Start(t, pair())
	s := open(t, tree, "srv2")
	tree.ForgetRequests()
	ctx, driver := t.Context(), idmtest.DriverDN(0)
	for name, err := range map[string]error{
		"no DN":             s.Start(ctx, "Driver01"),
		"overflow option":   s.SetStartOption(ctx, driver, idm.StartOverflowAuto, idm.ResyncNone),
		"resync without":    s.ResyncSince(ctx, driver, time.Time{}),
		"empty password":    s.SetApplicationPassword(ctx, driver, failover.Secret{}),
		"nameless password": s.SetNamedPassword(ctx, driver, idm.NamedPassword{}, failover.NewSecret("x")),
	} {
		require.ErrorIs(t, err, failover.ErrInvalid, name)
	}
	require.Empty(t, tree.Requests())
}

func TestEngineConditionsHaveNames(t *testing.T) {
	tests := []struct {
		name   string
		server idmtest.ServerConfig
		want   error
	}{
		{"no engine", idmtest.ServerConfig{Name: "srv2", Engine: idmtest.EngineAbsent}, idm.ErrNotSupported},
		{"engine not initialised", idmtest.ServerConfig{Name: "srv2", Engine: idmtest.EngineNotInitialized},
			idm.ErrEngineMissing},
		{"server outside the set", idmtest.ServerConfig{Name: "srv2", OutsideSet: true}, idm.ErrNotServed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, tt.server}})
			s := open(t, tree, "srv2")
			_, err := s.StartOption(t.Context(), idmtest.DriverDN(0))
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, tt.name != "no engine", s.RootDSE().HasEngine())
		})
	}
}

func TestJoiningADriverSet(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Association: idmtest.AssociationAfterRestart,
		Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	s, ctx := open(t, tree, "srv2"), t.Context()
	set, err := s.AssociatedDriverSet(ctx)
	require.NoError(t, err)
	require.Empty(t, set)
	require.NoError(t, s.AssociateDriverSet(ctx, idmtest.DriverSetDN))
	require.NoError(t, s.AssociateDriverSet(ctx, idmtest.DriverSetDN), "safe to repeat")
	list, err := s.ServerList(ctx, idmtest.DriverSetDN)
	require.NoError(t, err)
	require.Len(t, list, 2)
	_, err = s.StartOption(ctx, idmtest.DriverDN(0))
	require.ErrorIs(t, err, idm.ErrNotServed, "until the engine was restarted")
	require.NoError(t, tree.Server("srv2").Restart())
	require.Eventually(t, func() bool {
		o, err := s.StartOption(ctx, idmtest.DriverDN(0))
		return err == nil && o == idm.StartDisabled
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, s.LeaveDriverSet(ctx))
	list, err = s.ServerList(ctx, idmtest.DriverSetDN)
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// A server has one driver set. One whose name comes in another form is none of ours, either.
func TestAServerOfAnotherDriverSetIsNotTakenOutOfIt(t *testing.T) {
	for _, slash := range []bool{false, true} {
		m := newMove(t, idmtest.Config{Drivers: 1, SlashNames: slash,
			Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
		two, ctx := open(t, m.tree, "srv2"), t.Context()
		require.NoError(t, two.Add(ctx, "cn=ds2,o=system", idm.Text("objectClass", "Top", "DirXML-DriverSet"),
			idm.Text("cn", "ds2")))
		require.NoError(t, two.AssociateDriverSet(ctx, "cn=ds2,o=system"))
		m.tree.ForgetRequests()
		_, err := m.run(m.prepare(), "x")
		require.ErrorIs(t, err, failover.ErrPrecondition)
		require.ErrorContains(t, err, "belongs to driver set")
		require.Empty(t, m.tree.Asked(func(r idmtest.Request) bool { return r.Extended == 3 }))
	}
}

func TestViewCacheInPages(t *testing.T) {
	tree := idmtest.Start(t, func() idmtest.Config { c := pair(); c.CacheViewLimit = 300; return c }())
	s, ctx, driver := open(t, tree, "srv2"), t.Context(), idmtest.DriverDN(0)
	require.NoError(t, s.SetStartOption(ctx, driver, idm.StartManual, idm.ResyncNone))
	for i := range 450 {
		tree.Change(tree.Users()[i%3])
	}
	var pages int
	events := 0
	require.NoError(t, s.ViewCache(ctx, driver, func(page []byte) error {
		pages++
		events += strings.Count(string(page), "event-id=")
		return nil
	}))
	require.Greater(t, pages, 2, "in hundreds, not at once")
	require.Equal(t, tree.Server("srv2").Cached(driver), events)
	require.Zero(t, tree.Server("srv2").OpenResults(), "every result is closed")
	full := errors.New("disk full")
	require.ErrorIs(t, s.ViewCache(ctx, driver, func([]byte) error { return full }), full)
	require.Zero(t, tree.Server("srv2").OpenResults())
	require.NoError(t, s.Start(ctx, driver))
	eventually(t, s, driver, idm.StateRunning)
	var refused *idm.ResultError
	require.ErrorAs(t, s.ViewCache(ctx, driver, func([]byte) error { return nil }), &refused,
		"a running driver is not readable here")
}
