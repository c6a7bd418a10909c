package idm_test

import (
	"context"
	"errors"
	"slices"
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
	j := m.openJournal("x")
	o := options(j)
	o.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		if q.Step.ID == "finish/all-good" {
			return failover.Statement{}, failover.ErrWaiting
		}
		return yes(ctx, q)
	}
	_, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	m.stand("srv2", "srv1", idmtest.StartManual)
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.StartAuto)
	for _, job := range m.tree.Jobs() {
		require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv1", job, "DirXML-ServerList"), job)
	}
}

// The usual reason to go back: the target cannot start the drivers. What happened while they were disabled on the
// source is in nobody's queue and has to be caught up there.
func TestUndoCatchesUpWhatTheSourceMissed(t *testing.T) {
	for _, gap := range []idm.GapPolicy{idm.GapClose, idm.GapLeave} {
		m := newMove(t, pair())
		for _, d := range m.drivers {
			m.tree.Server("srv2").Behave(d, idmtest.Behaviour{FailStarts: -1})
		}
		p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(open(t, m.tree, "srv2")),
			Source: open(t, m.tree, "srv1"), Gap: gap})
		require.NoError(t, err)
		j := m.openJournal("x")
		o := options(j)
		o.Observer = func(e failover.Event) {
			if e.Kind == failover.EventIntent && e.Step.ID == "start/enable-manual" {
				m.tree.Change()
			}
		}
		_, err = p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrNotObserved)
		_, err = p.Undo(t.Context(), o)
		require.NoError(t, err)
		m.stand("srv1", "srv2", idmtest.StartAuto)
		for _, d := range m.drivers {
			if gap == idm.GapLeave {
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
	j := m.openJournal("x")
	o := options(j)
	stop := make(chan struct{})
	o.Stop = stop
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventIntent && e.Step.ID == "stop/save-caches" {
			m.tree.Change()
			close(stop)
		}
	}
	_, err := p.Run(t.Context(), o)
	require.Error(t, err)
	o.Stop, o.Observer = nil, nil
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.StartAuto)
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
	m.stand("srv2", "", idmtest.StartAuto)
	j := m.openJournal("x")
	r, err := p.Undo(t.Context(), options(j))
	require.NoError(t, err, "%s", r)
	for _, d := range m.drivers {
		require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(d))
		require.Equal(t, idmtest.StartDisabled, m.tree.Server("srv2").StartOption(d))
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

// within gives one step so much time: the undo of a step is ended by nothing else.
func within(p failover.Procedure, id string, d time.Duration) failover.Procedure {
	return changed(p, id, func(s *failover.Step) { s.Timeout = d })
}

// changed changes a step of a copy of the procedure.
func changed(p failover.Procedure, id string, change func(*failover.Step)) failover.Procedure {
	p.Stages = slices.Clone(p.Stages)
	for n, stage := range p.Stages {
		p.Stages[n].Steps = slices.Clone(stage.Steps)
		for i, s := range stage.Steps {
			if stage.Name+"/"+s.ID == id {
				change(&p.Stages[n].Steps[i])
			}
		}
	}
	return p
}

// A server that answers success and does nothing: the step is not called undone, and once the server does what it says
// a second undo brings everything back.
func TestAnUndoIsSeenNotBelieved(t *testing.T) {
	for step, fault := range map[string]idmtest.Injection{
		"stop/stop":           {Server: "srv1", Extended: 15},
		"stop/disable-source": {Server: "srv1", Extended: 9},
		"start/enable-manual": {Server: "srv2", Extended: 9},
		"start/start":         {Server: "srv2", Extended: 17},
		"moved/jobs": {Server: "srv2", Op: idmtest.OperationModify,
			If: func(r idmtest.Request) bool { return slices.Contains(r.Attributes, "DirXML-ServerList") }},
		"moved/verify": {Server: "srv2", Extended: 17},
		"finish/auto":  {Server: "srv2", Extended: 9},
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			m := newMove(t, smallPair())
			p := func(patience time.Duration) failover.Procedure {
				route := m.route(open(t, m.tree, "srv2"))
				route.StopTimeout = patience
				p, err := idm.Switchover(idm.SwitchoverOptions{Route: route, Source: open(t, m.tree, "srv1")})
				require.NoError(t, err)
				return p
			}
			id, normal := step, p(time.Minute)
			j := failovertest.Journal(t)
			o := notGood(j)
			switch step {
			case "finish/auto":
				o = options(j)
			case "moved/verify":
				stop := make(chan struct{})
				o.Stop = stop
				o.Observer = func(e failover.Event) {
					if e.Kind == failover.EventStepEnded && e.Step.ID == "moved/jobs" {
						close(stop)
					}
				}
				_, err := normal.Run(t.Context(), o)
				require.ErrorIs(t, err, failover.ErrStopped)
				two := open(t, m.tree, "srv2")
				require.NoError(t, two.Stop(t.Context(), m.drivers[0]))
				eventually(t, two, m.drivers[0], idm.StateStopped)
				o.Stop, o.Observer = nil, nil
			}
			r, err := normal.Run(t.Context(), o)
			require.True(t, err == nil || errors.Is(err, failover.ErrWaiting), "%v", err)
			s, _ := r.Step(id)
			require.Equal(t, failover.StatusApplied, s.Status)

			fault.Kind, fault.Times = idmtest.FaultEmptySuccess, -1
			lie := m.tree.Inject(fault)
			r, err = within(p(300*time.Millisecond), id, time.Second).Undo(t.Context(), options(j))
			require.Error(t, err)
			require.NotEmpty(t, failover.NextOf(err))
			require.NotZero(t, lie.Hits())
			s, _ = r.Step(id)
			require.NotEqual(t, failover.StatusUndone, s.Status)
			require.NotEqual(t, failover.ResultUndone, r.Result)
			plan := normal.UndoPlan(j)
			require.Equal(t, id, plan.Steps[0].ID, "the next undo goes on there")
			require.True(t, plan.Steps[0].Undo)
			m.neverTwo()

			lie.Remove()
			r, err = normal.Undo(t.Context(), options(j))
			require.NoError(t, err)
			require.Equal(t, failover.ResultUndone, r.Result)
			m.stand("srv1", "srv2", idmtest.StartAuto)
			for _, job := range m.tree.Jobs() {
				require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv1", job, "DirXML-ServerList"), job)
			}
		})
	}
}

// A driver that was enabled on the target before gets its own start option back, not Disabled and not Manual.
func TestAnUndoPutsBackWhatWasThere(t *testing.T) {
	m := newMove(t, smallPair())
	two := open(t, m.tree, "srv2")
	require.NoError(t, two.SetStartOption(t.Context(), m.drivers[0], idm.StartAuto, idm.ResyncNone))
	p := m.switchover("srv1", "srv2")
	j := failovertest.Journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.NoError(t, err)
	_, err = p.Undo(t.Context(), options(j))
	require.NoError(t, err)
	require.Equal(t, idmtest.StartAuto, m.tree.Server("srv2").StartOption(m.drivers[0]))
	require.Equal(t, idmtest.StartDisabled, m.tree.Server("srv2").StartOption(m.drivers[1]))
	for _, d := range m.drivers {
		require.Equal(t, []string{"srv1"}, m.tree.Active(d))
	}
	m.neverTwo()
}

// An undo takes back what the run did to a job, and nothing that others did to it.
func TestAnUndoLeavesTheOtherServersOfAJobAlone(t *testing.T) {
	m := newMove(t, idmtest.Config{Drivers: 1, Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Prepared: true}, {Name: "srv3"}}})
	one, job := open(t, m.tree, "srv1"), "cn=Check,"+m.drivers[0]
	third := m.tree.Server("srv3").DN()
	p := m.switchover("srv1", "srv2")
	m.mustRun(p, "x")
	require.NoError(t, one.AddToServerList(t.Context(), job, third))
	j := m.openJournal("x")
	r, err := p.Undo(t.Context(), options(j))
	require.NoError(t, err, "%s", r)
	require.ElementsMatch(t, []string{one.DN(), third}, m.tree.Get("srv1", job, "DirXML-ServerList"))
}

// A driver that was about to run when it was stopped runs again.
func TestAnUndoStartsWhatWasStarting(t *testing.T) {
	cfg := smallPair()
	cfg.StartTime = 100 * time.Millisecond
	m := newMove(t, cfg)
	one, driver := open(t, m.tree, "srv1"), m.drivers[0]
	require.NoError(t, one.Stop(t.Context(), driver))
	eventually(t, one, driver, idm.StateStopped)
	done := func(context.Context) (failover.Observation, error) { return failover.Observation{Done: true}, nil }
	p := changed(m.switchover("srv1", "srv2"), "prepare/source-active", func(s *failover.Step) { s.Observe = done })
	p = changed(p, "stop/stop", func(s *failover.Step) {
		apply := s.Apply
		s.Apply = func(ctx context.Context) error { return errors.Join(one.Start(ctx, driver), apply(ctx)) }
	})
	m.mustRun(p, "x")
	j := m.openJournal("x")
	r, err := p.Undo(t.Context(), options(j))
	require.NoError(t, err, "%s", r)
	require.Equal(t, idmtest.StateRunning, m.tree.Server("srv1").State(driver))
}

// A synchronization that the source did not take is not forgotten because the drivers run again: without it the events
// of the time between are missing for good.
func TestAnUndoIsNotDoneBeforeTheGapIsClosed(t *testing.T) {
	for name, fault := range map[string]idmtest.Injection{
		"refused": {Kind: idmtest.FaultRefusal, NDS: -672, Times: -1}, "lost": {Kind: idmtest.FaultDropRequest, Times: -1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMove(t, smallPair())
			p := m.switchover("srv1", "srv2")
			j := failovertest.Journal(t)
			_, err := p.Run(t.Context(), notGood(j))
			require.ErrorIs(t, err, failover.ErrWaiting)
			fault.Server, fault.Extended = "srv1", 23
			bad := m.tree.Inject(fault)
			r, err := within(p, "stop/stop", 3*time.Second).Undo(t.Context(), options(j))
			require.Error(t, err)
			require.NotEmpty(t, failover.NextOf(err))
			s, _ := r.Step("stop/stop")
			require.NotEqual(t, failover.StatusUndone, s.Status)
			bad.Remove()
			r, err = p.Undo(t.Context(), options(j))
			require.NoError(t, err, "%s", r)
			require.Equal(t, failover.ResultUndone, r.Result)
			m.stand("srv1", "srv2", idmtest.StartAuto)
		})
	}
}

// Where a job runs again is not known before its engine was told, and who could not tell it says so.
func TestAnUndoOfTheJobsTellsTheEngine(t *testing.T) {
	undo := func(t *testing.T, fault idmtest.Injection) (*move, failover.Procedure, *failover.Journal, *idmtest.Injected) {
		m := newMove(t, smallPair())
		p := m.switchover("srv1", "srv2")
		j := failovertest.Journal(t)
		_, err := p.Run(t.Context(), notGood(j))
		require.ErrorIs(t, err, failover.ErrWaiting)
		fault.Kind, fault.Server, fault.Extended, fault.Times = idmtest.FaultRefusal, "srv2", 53, -1
		return m, p, j, m.tree.Inject(fault)
	}
	t.Run("refused", func(t *testing.T) {
		m, p, j, bad := undo(t, idmtest.Injection{NDS: -672})
		r, err := within(p, "moved/jobs", time.Second).Undo(t.Context(), options(j))
		require.Error(t, err)
		s, _ := r.Step("moved/jobs")
		require.NotEqual(t, failover.StatusUndone, s.Status)
		bad.Remove()
		r, err = p.Undo(t.Context(), options(j))
		require.NoError(t, err, "%s", r)
		for _, job := range m.tree.Jobs() {
			require.True(t, m.tree.Server("srv1").RunsJob(job))
			require.False(t, m.tree.Server("srv2").RunsJob(job))
		}
	})
	t.Run("not known there", func(t *testing.T) {
		_, p, j, _ := undo(t, idmtest.Injection{Code: 2, Text: "unrecognized extended operation"})
		r, err := p.Undo(t.Context(), options(j))
		require.NoError(t, err)
		s, _ := r.Step("moved/jobs")
		for _, row := range s.Items {
			require.Contains(t, row.Found, "the engine could not be told")
		}
	})
}

// A job that somebody has deleted since keeps nobody from going on or back.
func TestADeletedJobKeepsNobody(t *testing.T) {
	m := newMove(t, smallPair())
	job := "cn=Check," + m.drivers[0]
	p := m.switchover("srv1", "srv2")
	j := failovertest.Journal(t)
	bad := m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv2", Op: idmtest.OperationModify,
		NDS: -672, Times: -1, If: func(r idmtest.Request) bool { return slices.Contains(r.Attributes, "DirXML-ServerList") }})
	_, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	require.NoError(t, open(t, m.tree, "srv2").Delete(t.Context(), job))
	bad.Remove()
	_, err = p.Run(t.Context(), notGood(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	r, err := p.Undo(t.Context(), options(j))
	require.NoError(t, err, "%s", r)
	m.stand("srv1", "srv2", idmtest.StartAuto)
}
