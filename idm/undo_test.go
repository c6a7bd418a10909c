package idm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestUndoOfASwitchover(t *testing.T) {
	m := newMove(t, pair())
	p := m.switchover("srv1", "srv2")
	j, err := failovertest.JournalAt(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	o.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		if q.Step.ID == "switchover/all-good" {
			return failover.Statement{}, failover.ErrWaiting
		}
		return yes(ctx, q)
	}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	m.stand("srv2", "srv1", idmtest.Manual)
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.Auto)
	for _, job := range m.tree.Jobs() {
		require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv1", job, "DirXML-ServerList"), job)
	}
}

// The usual reason to go back: the target cannot start the drivers. What happened while they were disabled on the source is in nobody's
// queue and has to be caught up there.
func TestUndoCatchesUpWhatTheSourceMissed(t *testing.T) {
	for _, gap := range []idm.GapPolicy{idm.CloseGap, idm.LeaveGap} {
		m := newMove(t, pair())
		for _, d := range m.drivers {
			m.tree.Server("srv2").Behave(d, idmtest.Behaviour{FailStarts: -1})
		}
		p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(open(t, m.tree, "srv2")), Source: open(t, m.tree, "srv1"), Gap: gap})
		require.NoError(t, err)
		j, err := failovertest.JournalAt(m.journal("x"))
		require.NoError(t, err)
		defer j.Close() //nolint:errcheck // test
		o := m.options(j, p)
		o.Observer = func(e failover.Event) {
			if e.Kind == failover.EventIntent && strings.HasSuffix(e.Step.ID, "/enable-manual") {
				m.tree.Change()
			}
		}
		_, err = p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrNotObserved)
		_, err = p.Undo(t.Context(), o)
		require.NoError(t, err)
		m.stand("srv1", "srv2", idmtest.Auto)
		for _, d := range m.drivers {
			if gap == idm.LeaveGap {
				require.Zero(t, m.tree.Counters(d).Resyncs, "no synchronization where none was asked for")
				continue
			}
			require.Empty(t, m.tree.Missing(d), "the application of %s never heard of it", d)
			require.Equal(t, 1, m.tree.Counters(d).Resyncs)
		}
	}
}

// Where nothing was disabled yet the events waited on the source itself.
func TestUndoBeforeTheDriversWereDisabledSynchronizesNothing(t *testing.T) {
	m := newMove(t, pair())
	p := m.switchover("srv1", "srv2")
	j, err := failovertest.JournalAt(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	stop := make(chan struct{})
	o.Stop = stop
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventIntent && strings.HasSuffix(e.Step.ID, "/save-caches") {
			m.tree.Change()
			close(stop)
		}
	}
	_, err = p.Run(t.Context(), o)
	require.Error(t, err)
	o.Stop, o.Observer = nil, nil
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.Auto)
	m.resyncs(0)
	for _, d := range m.drivers {
		require.Empty(t, m.tree.Missing(d))
	}
}

func TestUndoOfAFailover(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Server("srv1").Kill()
	p := m.failover(nil)
	m.mustRun(p, "x")
	m.stand("srv2", "", idmtest.Auto)
	j, err := failovertest.JournalAt(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	r, err := p.Undo(t.Context(), m.options(j, p))
	require.NoError(t, err, "%s", r)
	for _, d := range m.drivers {
		require.Equal(t, idmtest.Stopped, m.tree.Server("srv2").State(d))
		require.Equal(t, idmtest.Disabled, m.tree.Server("srv2").StartOption(d))
	}
	for _, job := range m.tree.Jobs() {
		require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv2", job, "DirXML-ServerList"), job)
	}
	_, held, err := p.Lock.Holder(t.Context())
	require.NoError(t, err)
	require.False(t, held)
	require.NoError(t, m.tree.Server("srv1").Start())
	require.Eventually(t, func() bool { return len(m.tree.Active(m.drivers[0])) == 1 }, time.Minute, time.Millisecond)
	m.neverTwo()
}
