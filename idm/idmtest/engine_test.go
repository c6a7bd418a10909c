package idmtest_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
)

// handClock is a clock that a test moves.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *handClock { return &handClock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const second = time.Second

// pair is a tree of an active and a prepared server under a clock moved by hand.
func pair(t *testing.T, change func(*idmtest.Config)) (*idmtest.Tree, *handClock) {
	t.Helper()
	clock := newClock()
	cfg := idmtest.Config{
		Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true}},
		Now:     clock.Now, StartTime: 10 * second, StopTime: 5 * second,
	}
	if change != nil {
		change(&cfg)
	}
	return idmtest.Start(t, cfg), clock
}

func TestStartAndStopTakeTime(t *testing.T) {
	tree, clock := pair(t, nil)
	c, driver := admin(t, tree, tree.Server("srv1")), idmtest.DriverDN(0)
	c.refuses("(-641)", 15, driver) // runs already
	c.refuses("(-641)", 9, driver, 0, 1)
	c.run(17, driver)
	require.Equal(t, 3, c.number(13, driver))
	c.refuses("(-641)", 17, driver)
	clock.pass(5 * second)
	require.Equal(t, 0, c.number(13, driver))
	c.run(15, driver)
	require.Equal(t, 1, c.number(13, driver))
	clock.pass(9 * second)
	require.Equal(t, 1, c.number(13, driver))
	clock.pass(second)
	require.Equal(t, 2, c.number(13, driver))

	c.run(101, driver)
	require.Equal(t, 3, c.number(13, driver))
	clock.pass(6 * second)
	require.Equal(t, 1, c.number(13, driver))
	clock.pass(10 * second)
	require.Equal(t, 2, c.number(13, driver))
	require.Equal(t, 2, tree.Counters(driver).Starts)
	require.Empty(t, tree.Overlaps())
}

func TestLeavingDisabledResyncsUnlessToldOtherwise(t *testing.T) {
	for name, polarity := range map[string]idmtest.ResyncFlag{"one": idmtest.ResyncFlagOneMeansNot,
		"zero": idmtest.ResyncFlagZeroMeansNot} {
		t.Run(name, func(t *testing.T) {
			tree, _ := pair(t, func(c *idmtest.Config) { c.ResyncFlag = polarity })
			quiet := 1
			if polarity == idmtest.ResyncFlagZeroMeansNot {
				quiet = 0
			}
			two := tree.Server("srv2")
			c := admin(t, tree, two)
			c.run(9, idmtest.DriverDN(0), 1, quiet)
			c.run(9, idmtest.DriverDN(1), 1, 1-quiet)
			require.Equal(t, 1, c.number(7, idmtest.DriverDN(0)))
			require.Zero(t, two.Cached(idmtest.DriverDN(0)))
			require.Positive(t, two.Cached(idmtest.DriverDN(1)))
			require.Zero(t, tree.Counters(idmtest.DriverDN(0)).AutoResyncs)
			require.Equal(t, 1, tree.Counters(idmtest.DriverDN(1)).AutoResyncs)

			c.run(9, idmtest.DriverDN(0), 2, 1-quiet) // StartManual to Auto never resyncs
			require.Zero(t, tree.Counters(idmtest.DriverDN(0)).AutoResyncs)
			c.run(9, idmtest.DriverDN(1), 0, quiet)
			require.Zero(t, two.Cached(idmtest.DriverDN(1)), "a disabled driver caches nothing")
		})
	}
}

func TestManualCacheGrowsAndEventsAreDeliveredOnce(t *testing.T) {
	tree, clock := pair(t, nil)
	one, two := tree.Server("srv1"), tree.Server("srv2")
	driver := idmtest.DriverDN(0)
	tree.Change()
	require.Empty(t, tree.Missing(driver))
	require.Zero(t, two.Cached(driver), "disabled")

	a, b := admin(t, tree, one), admin(t, tree, two)
	b.run(9, driver, 1, 1)
	tree.Change()
	require.Equal(t, 5, two.Cached(driver), "manual caches for ever")
	a.run(17, driver)
	clock.pass(5 * second)
	a.run(9, driver, 0, 1)
	tree.Change(tree.Users()[0])
	require.Equal(t, tree.Users()[:1], tree.Missing(driver))
	b.run(15, driver)
	clock.pass(10 * second)
	require.Empty(t, tree.Missing(driver))
	require.Equal(t, 5, tree.Counters(driver).Doubles, "the standby repeats what it cached while the other ran")
}

func TestGapIsClosedByResyncSince(t *testing.T) {
	tree, clock := pair(t, nil)
	one, two := tree.Server("srv1"), tree.Server("srv2")
	driver := idmtest.DriverDN(0)
	clock.pass(second)
	died := clock.Now()
	one.Kill()
	tree.Change(tree.Users()[:2]...)
	b := admin(t, tree, two)
	b.run(9, driver, 1, 1)
	b.run(15, driver)
	clock.pass(10 * second)
	require.Len(t, tree.Missing(driver), 2, "nobody cached them")
	b.run(23, driver, int(died.Unix()))
	require.Empty(t, tree.Missing(driver))
	require.Equal(t, 1, tree.Counters(driver).Resyncs)
	require.Zero(t, tree.Counters(driver).AutoResyncs)
}

func TestReturningServerStartsItsAutoDrivers(t *testing.T) {
	tree, clock := pair(t, nil)
	one, two := tree.Server("srv1"), tree.Server("srv2")
	driver := idmtest.DriverDN(0)
	url := one.URL()
	one.Kill()
	require.Equal(t, idmtest.StateStopped, one.State(driver))
	b := admin(t, tree, two)
	b.run(9, driver, 1, 1)
	b.run(15, driver)
	clock.pass(10 * second)
	require.Empty(t, tree.Overlaps())

	require.NoError(t, one.Start())
	require.Equal(t, url, one.URL())
	require.Equal(t, 1, admin(t, tree, one).number(13, driver))
	require.Len(t, tree.Overlaps(), 1)
	require.Equal(t, idmtest.Overlap{Driver: driver, Servers: []string{"srv1", "srv2"}, At: clock.Now()},
		tree.Overlaps()[0])
	clock.pass(10 * second)
	require.Equal(t, []string{"srv1", "srv2"}, tree.Active(driver))
	require.Equal(t, 2, tree.Counters(driver).MaxConnected)
}

func TestUnpluggedServerStillRuns(t *testing.T) {
	tree, _ := pair(t, nil)
	one := tree.Server("srv1")
	one.Unplug()
	_, err := ldap.DialURL(one.ClearURL())
	require.Error(t, err)
	require.Equal(t, []string{"srv1"}, tree.Active(idmtest.DriverDN(0)))
	require.NoError(t, one.Plug())
	require.Equal(t, 2, admin(t, tree, one).number(13, idmtest.DriverDN(0)))
}

func TestFailedStarts(t *testing.T) {
	local, remote := idmtest.DriverDN(0), idmtest.DriverDN(1)
	tests := []struct {
		name, driver string
		spoil        func(*testing.T, *client, *idmtest.Server)
		reason       string
	}{
		{"behaviour", local, func(_ *testing.T, _ *client,
			s *idmtest.Server) {
			s.Behave(local, idmtest.Behaviour{FailStarts: 1})
		}, "-9005"},
		{"no application password", local, func(_ *testing.T, c *client, _ *idmtest.Server) { c.run(69, local) },
			"No application password"},
		{"wrong application password", local, func(_ *testing.T, c *client, _ *idmtest.Server) { c.run(67, local, "wrong") },
			"refused the login"},
		{"no remote loader password", remote, func(_ *testing.T, c *client, _ *idmtest.Server) { c.run(73, remote) },
			"No Remote Loader password"},
		{"wrong remote loader password", remote,
			func(_ *testing.T, c *client, _ *idmtest.Server) { c.run(71, remote, "wrong") }, "wrong password"},
		{"wrong object password", remote,
			func(t *testing.T, c *client, _ *idmtest.Server) { c.replace(remote, "userPassword", "wrong") }, "object password"},
		{"no named password", local, func(_ *testing.T, c *client, _ *idmtest.Server) { c.run(77, local, "svc-account") },
			"'svc-account' is not set"},
		{"no named password of a policy", local,
			func(_ *testing.T, c *client, _ *idmtest.Server) { c.run(77, local, "policy-token") }, "'policy-token' is not set"},
		{"no named password of the set", local,
			func(_ *testing.T, c *client, _ *idmtest.Server) { c.run(79, idmtest.DriverSetDN) }, "'set-wide' is not set"},
		{"no value of the set", local, func(t *testing.T, c *client, _ *idmtest.Server) {
			c.replace(idmtest.DriverSetDN, "DirXML-ConfigValues")
		}, "'set.environment' is not defined"},
		{"no parameters", local, func(t *testing.T, c *client,
			_ *idmtest.Server) {
			c.replace(local, "DirXML-ShimConfigInfo")
		}, "no parameters"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree, clock := pair(t, nil)
			two := tree.Server("srv2")
			c := admin(t, tree, two)
			test.spoil(t, c, two)
			c.run(9, test.driver, 1, 1)
			c.run(15, test.driver)
			require.Equal(t, 1, c.number(13, test.driver))
			clock.pass(10 * second)
			require.Equal(t, 0, c.number(13, test.driver))
			require.Contains(t, two.StartError(test.driver), test.reason)
			logged := c.read("cn=Subscriber,"+test.driver, "DirXML-StatusLog").GetAttributeValues("DirXML-StatusLog")
			require.Contains(t, strings.Join(logged, "\n"), test.reason)
		})
	}
}

func (c *client) replace(dn, attr string, values ...string) {
	c.t.Helper()
	change := ldap.NewModifyRequest(dn, nil)
	change.Replace(attr, values)
	require.NoError(c.t, c.Modify(change))
}

// An unprepared standby cannot start anything: nothing that does not replicate is there.
func TestUnpreparedServer(t *testing.T) {
	tree, clock := pair(t, func(c *idmtest.Config) { c.Servers[1].Prepared = false })
	c, driver := admin(t, tree, tree.Server("srv2")), idmtest.DriverDN(0)
	require.Empty(t, c.read(driver, "DirXML-ShimConfigInfo").GetRawAttributeValue("DirXML-ShimConfigInfo"))
	c.run(9, driver, 1, 1)
	c.run(15, driver)
	clock.pass(10 * second)
	require.Equal(t, 0, c.number(13, driver))
	require.Contains(t, tree.Server("srv2").StartError(driver), "no parameters on this server")
}

func TestDriversThatMisbehave(t *testing.T) {
	tree, clock := pair(t, nil)
	two, driver := tree.Server("srv2"), idmtest.DriverDN(0)
	c := admin(t, tree, two)
	c.run(9, driver, 1, 1)
	require.True(t, two.Behave(driver, idmtest.Behaviour{StallStart: true, StopTime: 60 * second}))
	require.False(t, two.Behave(idmtest.DriverSetDN, idmtest.Behaviour{}))
	c.run(15, driver)
	clock.pass(time.Hour)
	require.Equal(t, 1, c.number(13, driver))
	c.run(17, driver)
	clock.pass(59 * second)
	require.Equal(t, 3, c.number(13, driver))
	clock.pass(second)
	require.Equal(t, 0, c.number(13, driver))
	two.Behave(driver, idmtest.Behaviour{DieAfter: 30 * second})
	c.run(15, driver)
	clock.pass(10 * second)
	require.Equal(t, 2, c.number(13, driver))
	clock.pass(30 * second)
	require.Equal(t, 0, c.number(13, driver))

	c.run(21, driver)
	require.Equal(t, 11, c.number(13, driver))
	clock.pass(10 * second)
	require.Equal(t, 0, c.number(13, driver))
}

func TestQueuedEventsWaitForTheDriver(t *testing.T) {
	tree, clock := pair(t, nil)
	two, driver := tree.Server("srv2"), idmtest.DriverDN(0)
	c := admin(t, tree, two)
	c.refuses("(-641)", 27, driver, "<modify/>")
	c.run(9, driver, 1, 1)
	c.run(27, driver, "<modify class-name=\"User\"/>")
	require.Equal(t, 1, two.Cached(driver))
	c.run(15, driver)
	clock.pass(10 * second)
	require.Zero(t, two.Cached(driver))
	require.Equal(t, 1, tree.Counters(driver).Deliveries)
}

func TestFixtureIsWhatItSays(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Drivers: 12, Policies: 3, PolicyBytes: 3500, Users: 7, Idle: true})
	require.Len(t, tree.Drivers(), 12)
	require.Len(t, tree.Jobs(), 13)
	require.Len(t, tree.Users(), 7)
	require.Equal(t, []string{idmtest.DriverSetDN}, tree.DriverSets())
	one := tree.Server("srv1")
	for i, dn := range tree.Drivers() {
		require.Equal(t, idmtest.DriverDN(i), dn)
		require.Equal(t, idmtest.StartDisabled, one.StartOption(dn))
		require.Equal(t, idmtest.StateStopped, one.State(dn))
		p := idmtest.DriverPasswords(i)
		require.True(t, one.HasPassword(dn, "application", "", p.Application))
		require.Equal(t, p.RemoteLoader != "", strings.HasPrefix(tree.Get("srv1", dn, "DirXML-ShimAuthServer")[0], "REMOTE("))
		require.Len(t, tree.Get("srv1", "cn=Policy001,cn=Subscriber,"+dn, "XmlData")[0], 3500)
	}
	empty := idmtest.Start(t, idmtest.Config{WithoutSet: true})
	require.Empty(t, empty.DriverSets())
	_, err := idmtest.Open("", idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "a"}, {Name: "A"}}})
	require.ErrorContains(t, err, "Servers[1].Name")
}

func TestADriverThatIsDisabledWhileItWaitsForItsStartStaysDown(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{AutoDelay: time.Hour})
	old := tree.Server("srv1")
	old.Kill()
	require.NoError(t, old.Start())
	require.Equal(t, idmtest.StateStopped, old.State(idmtest.DriverDN(0)))
	require.Equal(t, idmtest.StartAuto, old.StartOption(idmtest.DriverDN(0)))
	require.Empty(t, tree.Active(idmtest.DriverDN(0)))
}
