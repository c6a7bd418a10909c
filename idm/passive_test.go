package idm_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// afterAFailover leaves the drivers stopped on srv2 for maintenance, with events that wait there; they belong there.
func (m *move) afterAFailover() {
	m.t.Helper()
	m.mustRun(m.switchover("srv1", "srv2"), "switchover")
	two := open(m.t, m.tree, "srv2")
	for _, d := range m.drivers {
		require.NoError(m.t, two.Stop(m.t.Context(), d))
		eventually(m.t, two, d, idm.StateStopped)
	}
	m.tree.Change(m.tree.Users()...)
	require.NotZero(m.t, m.waiting("srv2"))
}

func (m *move) waiting(server string) int64 {
	m.t.Helper()
	stats, err := open(m.t, m.tree, server).Stats(m.t.Context(), m.drivers[0])
	require.NoError(m.t, err)
	return stats.CacheBytes
}

// Who prepares with the old site file after a failover would disable the active server and lose its queue.
func TestPrepareDoesNotTouchTheActiveServer(t *testing.T) {
	m := newMove(t, smallPair())
	m.afterAFailover()
	waits := m.waiting("srv2")
	p := m.prepare()
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	stops := map[string]bool{}
	for _, s := range plan.Steps {
		if s.Kind == failover.Check && !s.Observation.Done {
			stops[s.ID] = true
		}
	}
	require.True(t, stops["prepare/source-enabled"] && stops["prepare/target-passive"], "%v", stops)
	m.tree.ForgetRequests()
	_, err = m.run(p, "prepare")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "source-enabled")
	require.Empty(t, m.tree.Asked(movesSomething))
	require.Equal(t, waits, m.waiting("srv2"))
	require.Equal(t, idmtest.StartAuto, m.tree.Server("srv2").StartOption(m.drivers[0]))
}

// The same with the call alone, in the wrong direction.
func TestValuesAreNotCopiedOverTheActiveServer(t *testing.T) {
	m := newMove(t, smallPair())
	m.afterAFailover()
	one, two := open(t, m.tree, "srv1"), open(t, m.tree, "srv2")
	require.NoError(t, one.Modify(t.Context(), m.drivers[0],
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimAuthServer", "old.example:1")}))
	o := idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers[:1]}
	before := m.tree.Get("srv2", m.drivers[0], "DirXML-ShimAuthServer")
	copyOver := func(why string) {
		t.Helper()
		_, err := idm.CopyServerData(t.Context(), one, two, o)
		require.ErrorIs(t, err, failover.ErrPrecondition)
		require.ErrorContains(t, err, why)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		require.Equal(t, before, m.tree.Get("srv2", m.drivers[0], "DirXML-ShimAuthServer"))
	}
	copyOver("bytes wait there")
	require.NoError(t, two.Start(t.Context(), m.drivers[0]))
	eventually(t, two, m.drivers[0], idm.StateRunning)
	copyOver("running")
	require.Eventually(t, func() bool { return m.tree.Server("srv2").Cached(m.drivers[0]) == 0 }, time.Minute,
		time.Millisecond)
	require.NoError(t, two.Stop(t.Context(), m.drivers[0]))
	eventually(t, two, m.drivers[0], idm.StateStopped)
	_ = two.ViewCache(t.Context(), m.drivers[0], func([]byte) error { return nil }) // fails once, right after a stop
	copyOver("disabled on " + one.DN())
}

// A server whose engine is not loaded may be the active one all the same.
func TestValuesAreNotCopiedOverAServerWithoutItsEngine(t *testing.T) {
	m := newMove(t, idmtest.Config{Idle: true, Drivers: 1, Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Prepared: true, Engine: idmtest.EngineNotInitialized}}})
	one, two := open(t, m.tree, "srv1"), open(t, m.tree, "srv2")
	require.NoError(t, one.Modify(t.Context(), m.drivers[0],
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimAuthServer", "old.example:1")}))
	o := idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN}
	_, err := idm.CopyServerData(t.Context(), one, two, o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "no engine is loaded there, and disabled on "+one.DN())
	require.NoError(t, one.SetStartOption(t.Context(), m.drivers[0], idm.StartManual, idm.ResyncNone))
	_, err = idm.CopyServerData(t.Context(), one, two, o)
	require.NoError(t, err)
}

// What waited on a server when it crashed goes when the guard disables its drivers: nothing else holds it.
func TestTheGuardTellsAndSavesWhatWaited(t *testing.T) {
	for name, folder := range map[string]bool{"with a folder": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			cfg := smallPair()
			cfg.Drivers, cfg.StartTime = 1, 2*time.Second
			m := newMove(t, cfg)
			one, old := open(t, m.tree, "srv1"), m.tree.Server("srv1")
			require.NoError(t, one.Stop(t.Context(), m.drivers[0]))
			eventually(t, one, m.drivers[0], idm.StateStopped)
			m.tree.Change(m.tree.Users()...)
			require.NotZero(t, m.waiting("srv1"))
			old.Kill()
			m.mustRun(m.failover(nil), "failover")
			o := idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers, Active: open(t, m.tree, "srv2"),
				OldDN: "cn=srv1,ou=servers,o=system",
				Dial: func(ctx context.Context) (*idm.Server, error) {
					return idm.Dial(ctx, asAdmin(m.tree, "srv1", callTimeout(10*time.Second)))
				}, Poll: 2 * time.Millisecond, Wait: time.Minute, StopTimeout: time.Minute}
			cache := move{t: t, dir: filepath.Join(m.dir, "cache")}
			if folder {
				require.NoError(t, os.Mkdir(cache.dir, 0o700))
				o.CacheDir = cache.dir
			}
			p, err := idm.GuardOldServer(o)
			require.NoError(t, err)
			require.NoError(t, old.Start())
			if folder {
				require.NoError(t, os.Remove(cache.dir))
				_, err := m.run(p, "guard")
				require.ErrorIs(t, err, os.ErrNotExist)
				require.Contains(t, failover.NextOf(err), "make the folder writable")
				require.Equal(t, idmtest.StartManual, old.StartOption(m.drivers[0]))
				require.NotZero(t, m.waiting("srv1"), "what cannot be saved is not thrown away")
				require.NoError(t, os.Mkdir(cache.dir, 0o700))
			}
			r := m.mustRun(p, "guard")
			require.Equal(t, idmtest.StartDisabled, old.StartOption(m.drivers[0]))
			text := r.String()
			require.Contains(t, text, "bytes wait there, the oldest since")
			if !folder {
				require.Contains(t, text, "there is no folder to save it in")
				require.Empty(t, cache.saved())
				return
			}
			require.Len(t, cache.saved(), 1)
			for _, events := range cache.saved() {
				for _, user := range m.tree.Users() {
					require.Contains(t, events, strings.TrimPrefix(strings.SplitN(user, ",", 2)[0], "cn="))
				}
			}
		})
	}
}
