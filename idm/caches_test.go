package idm_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// saved returns the names and contents of the files the events that wait were saved in.
func (m *move) saved() map[string]string {
	m.t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.dir, "*.cache.xml"))
	require.NoError(m.t, err)
	files := map[string]string{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		require.NoError(m.t, err)
		files[filepath.Base(path)] = string(raw)
	}
	return files
}

// queues names the queues in files, without the time: a disabling in a later second saves the same queue once more.
func queues(files map[string]string) map[string]bool {
	names := map[string]bool{}
	for name := range files {
		names[name[:strings.LastIndex(name, "-")]] = true
	}
	return names
}

// runWithEvents runs a procedure in which users change between the stop and the saving.
func (m *move) runWithEvents(p failover.Procedure, name string) {
	m.t.Helper()
	j, err := failovertest.JournalAt(m.journal(name))
	require.NoError(m.t, err)
	defer j.Close() //nolint:errcheck // test
	o := options(j)
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventIntent && e.Step.ID == "stop/save-caches" {
			m.tree.Change()
		}
	}
	r, err := p.Run(m.t.Context(), o)
	require.NoError(m.t, err, "%s", r)
}

func TestWaitingEventsAreSavedAndNoLaterRunOverwritesThem(t *testing.T) {
	m := newMove(t, pair())
	m.runWithEvents(m.switchover("srv1", "srv2"), "there")
	first := m.saved()
	require.Len(t, queues(first), len(m.drivers))
	for name, text := range first {
		require.Contains(t, name, "-srv1-")
		for _, user := range m.tree.Users() {
			cn := strings.TrimPrefix(strings.SplitN(user, ",", 2)[0], "cn=")
			require.Contains(t, text, cn, "every event that waited is in the file")
		}
		info, err := os.Stat(filepath.Join(m.dir, name))
		require.NoError(t, err)
		if runtime.GOOS != "windows" { // which has no such bits
			require.Zero(t, info.Mode().Perm()&0o077, "users' data is for this user only")
		}
	}
	m.runWithEvents(m.failback(), "back")
	both := m.saved()
	require.Len(t, queues(both), 2*len(m.drivers))
	for name, text := range first {
		require.Equal(t, text, both[name], "the events of an earlier move stay")
	}
	m.neverTwo()
}

// A driver that was behind when it was stopped takes its queue along: the gap begins with the oldest event that waited,
// not with the stop.
func TestTheGapBeginsWithTheOldestEventThatWaited(t *testing.T) {
	for _, undo := range []bool{false, true} {
		const behind = 3 * time.Hour
		var past atomic.Int64
		past.Store(int64(behind))
		c := pair()
		c.Now = func() time.Time { return time.Now().Add(-time.Duration(past.Load())) }
		m := newMove(t, c)
		slow := m.drivers[0]
		require.True(t, m.tree.Server("srv1").Behave(slow, idmtest.Behaviour{HoldEvents: true}))
		m.tree.Change()
		require.NotZero(t, m.tree.Server("srv1").Cached(slow))
		past.Store(0)
		if undo {
			m.tree.Server("srv2").Behave(slow, idmtest.Behaviour{FailStarts: -1})
		}
		p := m.switchover("srv1", "srv2")
		r, err := m.run(p, "x")
		if !undo {
			require.NoError(t, err)
			step, ok := r.Step("moved/close-gap")
			require.True(t, ok)
			for _, row := range step.Items {
				at, err := time.Parse(time.RFC3339, strings.TrimPrefix(row.Found, "asked to synchronize since "))
				require.NoError(t, err)
				want := time.Now().Add(-5 * time.Minute)
				if row.Target == slow {
					want = want.Add(-behind)
				}
				require.WithinDuration(t, want, at, 5*time.Minute, "only the driver that was behind goes back that far")
			}
		} else {
			require.Error(t, err)
			m.tree.Server("srv1").Behave(slow, idmtest.Behaviour{})
			j, err := failovertest.JournalAt(m.journal("x"))
			require.NoError(t, err)
			_, err = p.Undo(t.Context(), options(j))
			require.NoError(t, err)
			require.NoError(t, j.Close())
		}
		require.Empty(t, m.tree.Missing(slow), "what waited on the source reached the application")
		m.neverTwo()
	}
}

// Where nobody can tell how far a driver was behind, nobody is told that all of it was caught up.
func TestABacklogThatIsNotKnownIsTold(t *testing.T) {
	m := newMove(t, smallPair())
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv1", Extended: 19, DN: m.drivers[0], NDS: -641,
		Times: -1})
	r := m.mustRun(m.switchover("srv1", "srv2"), "x")
	step, _ := r.Step("moved/close-gap")
	require.Contains(t, step.Items[0].Found, "how far it was behind when it was stopped is not known: ")
	require.NotContains(t, step.Items[1].Found, "not known")
}

// What a file name cannot hold does not make one file of two drivers.
func TestDriversWithLikeNamesHaveFilesOfTheirOwn(t *testing.T) {
	m := newMove(t, smallPair())
	one := open(t, m.tree, "srv1")
	m.drivers = nil
	for _, name := range []string{"A.B", "A_B"} {
		driver := "cn=" + name + "," + idmtest.DriverSetDN
		require.NoError(t, one.Add(t.Context(), driver, idm.Text("objectClass", "Top", "DirXML-Driver"),
			idm.Text("cn", name), idm.Text("DirXML-JavaModule", "com.example.Shim"), idm.Text("DirXML-ShimConfigInfo", "<a/>")))
		for _, server := range []*idm.Server{one, open(t, m.tree, "srv2")} {
			require.NoError(t, server.InitDriver(t.Context(), driver))
		}
		require.NoError(t, one.SetStartOption(t.Context(), driver, idm.StartManual, idm.ResyncNone))
		m.drivers = append(m.drivers, driver)
	}
	m.tree.Change()
	done := func(context.Context) (failover.Observation, error) { return failover.Observation{Done: true}, nil }
	p := changed(m.switchover("srv1", "srv2"), "prepare/source-active", func(s *failover.Step) { s.Observe = done })
	m.mustRun(p, "x")
	require.Len(t, queues(m.saved()), 2)
}

// What can be read of a queue is kept, and where that ends is said.
func TestWhatCanBeReadOfADamagedQueueIsKept(t *testing.T) {
	refused := idmtest.Injection{Kind: idmtest.FaultRefusal, NDS: -641, Server: "srv1", Extended: 41, Skip: 2, Times: -1}
	for name, tt := range map[string]struct {
		fault idmtest.Injection
		view  idmtest.CacheView
		says  string
		saved int
	}{
		"all of it":         {says: ".cache.xml", saved: 1},
		"a page is refused": {fault: refused, says: ".cache.xml, not all of it: not readable: ", saved: 1},
		"pages are cut off": {view: idmtest.ViewCut, says: ".cache.xml, not all of it: 3 of 3 pages came damaged", saved: 1},
		"pages do not come": {view: idmtest.ViewLost, says: ".cache.xml, not all of it: not readable: ", saved: 1},
		"nothing is shown":  {view: idmtest.ViewNothing, says: "the server shows no event, and "},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := smallPair()
			cfg.Drivers = 1
			m := newMove(t, cfg)
			driver := m.drivers[0]
			require.True(t, m.tree.Server("srv1").Behave(driver, idmtest.Behaviour{View: tt.view}))
			if tt.fault.Kind != 0 {
				m.tree.Inject(tt.fault)
			}
			p := changed(m.switchover("srv1", "srv2"), "stop/save-caches", func(s *failover.Step) {
				apply := s.Apply
				s.Apply = func(ctx context.Context) error {
					for m.tree.Server("srv1").Cached(driver) <= 400 {
						m.tree.Change(m.tree.Users()...)
					}
					return apply(ctx)
				}
			})
			r := m.mustRun(p, "x")
			step, _ := r.Step("stop/save-caches")
			require.Contains(t, step.Items[0].Found, tt.says)
			require.Len(t, queues(m.saved()), tt.saved)
		})
	}
}

// What waited where a driver was disabled is told of each driver, also of many, in the report of both ways.
func TestWhatWaitedIsToldOfEveryDriver(t *testing.T) {
	c := pair()
	c.Drivers = 12
	m := newMove(t, c)
	for _, d := range m.drivers {
		m.tree.Server("srv1").Behave(d, idmtest.Behaviour{HoldEvents: true})
		m.tree.Server("srv2").Behave(d, idmtest.Behaviour{HoldEvents: true})
	}
	m.tree.Change()
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(open(t, m.tree, "srv2")),
		Source: open(t, m.tree, "srv1")})
	require.NoError(t, err)
	j := failovertest.Journal(t)
	r, err := p.Run(t.Context(), notGood(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	there, _ := r.Step("stop/disable-source")
	m.tree.Change()
	r, err = p.Undo(t.Context(), options(j))
	require.NoError(t, err)
	back, _ := r.Step("start/enable-manual")
	for i := range m.drivers {
		told := fmt.Sprintf("Driver%02d: ", i+1)
		require.Contains(t, there.Note, told)
		require.Contains(t, back.Found, told)
	}
	require.Equal(t, 12, strings.Count(there.Note, "bytes wait there"))
}

// Out of Band Sync has a cache of its own (documented), which the figures do not count: what waits there goes with the
// disabling as well.
func TestEventsOfOutOfBandSyncAreSavedAndTold(t *testing.T) {
	ahead := func(m *move, server string) {
		for _, d := range m.drivers {
			require.True(t, m.tree.Server(server).Behave(d, idmtest.Behaviour{HoldEvents: true, OutOfBand: true}))
		}
		m.tree.Change()
	}
	t.Run("switchover", func(t *testing.T) {
		m := newMove(t, smallPair())
		ahead(m, "srv1")
		r := m.mustRun(m.switchover("srv1", "srv2"), "x")
		require.Len(t, queues(m.saved()), len(m.drivers))
		for _, text := range m.saved() {
			for _, user := range m.tree.Users() {
				require.Contains(t, text, strings.TrimPrefix(strings.SplitN(user, ",", 2)[0], "cn="))
			}
		}
		step, _ := r.Step("stop/disable-source")
		require.Equal(t, len(m.drivers), strings.Count(step.Note, "events of Out of Band Sync wait there"), step.Note)
	})
	t.Run("a standby that only waits", func(t *testing.T) {
		m := newMove(t, smallPair())
		two := open(t, m.tree, "srv2")
		for _, d := range m.drivers {
			require.NoError(t, two.SetStartOption(t.Context(), d, idm.StartManual, idm.ResyncNone))
		}
		ahead(m, "srv2")
		_, err := m.run(m.prepare(), "x")
		require.ErrorIs(t, err, failover.ErrPrecondition)
		require.ErrorContains(t, err, "prepare/target-passive")
		require.NotZero(t, m.tree.Server("srv2").Cached(m.drivers[0]), "it is not disabled away")
	})
}

// A machine whose clock is ahead of the servers' notes a time at which, for them, nothing was stopped yet.
func TestTheGapBeginsByTheServersClockWhereThatIsBehind(t *testing.T) {
	const behind = time.Hour
	c := smallPair()
	c.Now = func() time.Time { return time.Now().Add(-behind) }
	m := newMove(t, c)
	p := changed(m.switchover("srv1", "srv2"), "stop/source-quiet", func(s *failover.Step) {
		look, first := s.Observe, sync.OnceFunc(func() { m.tree.Change() }) // while no engine takes it in
		s.Observe = func(ctx context.Context) (failover.Observation, error) {
			first()
			return look(ctx)
		}
	})
	m.mustRun(p, "x")
	for _, d := range m.drivers {
		require.Empty(t, m.tree.Missing(d), "what changed while the drivers were down reached the application")
	}
}
