package idm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// An approved plan runs to its end where nothing changed but by the run itself.
func TestAnApprovedPlanRunsThrough(t *testing.T) {
	for _, s := range append(scenes(), manual()) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			m := s.open(t)
			p, err := s.build(m)
			require.NoError(t, err)
			plan, err := p.Plan(t.Context(), nil)
			require.NoError(t, err)
			o := options(failovertest.Journal(t))
			o.Approved = plan.Findings
			r, err := p.Run(t.Context(), o)
			require.NoError(t, err, "%s", r)
			s.moved(m)
		})
	}
}

// manual is a switchover of drivers with three different start options.
func manual() scene {
	var s scene
	for _, one := range scenes() {
		if one.name == "switchover" {
			s = one
		}
	}
	s.cfg = func(c *idmtest.Config) {
		*c = smallPair()
		c.Drivers = 3
	}
	s.before = func(m *move) {
		require.NoError(m.t, open(m.t, m.tree, "srv1").SetStartOption(m.t.Context(), m.drivers[1], idm.StartManual,
			idm.ResyncNone))
		require.NoError(m.t, open(m.t, m.tree, "srv2").SetStartOption(m.t.Context(), m.drivers[2], idm.StartAuto,
			idm.ResyncNone))
	}
	s.moved = func(m *move) {
		for i, want := range []idmtest.StartOption{idmtest.StartAuto, idmtest.StartManual, idmtest.StartAuto} {
			require.Equal(m.t, want, m.tree.Server("srv2").StartOption(m.drivers[i]))
			require.Equal(m.t, []string{"srv2"}, m.tree.Active(m.drivers[i]))
		}
		m.neverTwo()
	}
	return s
}

// Something else changed: the run stops before it, unless somebody agrees.
func TestAnApprovedPlanStopsAtWhatItDidNotShow(t *testing.T) {
	m := newMove(t, smallPair())
	p := m.switchover("srv1", "srv2")
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	o := options(failovertest.Journal(t))
	o.Approved = plan.Findings
	stop := make(chan struct{})
	o.Stop, o.Observer = stop, func(e failover.Event) {
		if e.Kind == failover.EventStepEnded && e.Step.ID == "moved/jobs" {
			close(stop)
		}
	}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrStopped)
	two := open(t, m.tree, "srv2")
	require.NoError(t, two.Stop(t.Context(), m.drivers[0]))
	eventually(t, two, m.drivers[0], idm.StateStopped)
	o.Stop, o.Observer = nil, nil
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPlanChanged, "a driver that stopped by itself is another decision")
	require.ErrorIs(t, err, failover.ErrWaiting)
	require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(m.drivers[0]))
}
