package idm_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// The engine answers a start before it begins (documented: asynchronous). What it took and nobody has seen begin may
// come late: it is not called a start that failed, and a later run finds it.
func TestAStartThatWasTakenAndIsNotSeenIsInDoubt(t *testing.T) {
	var later atomic.Int64
	cfg := smallPair()
	cfg.Drivers, cfg.Now = 1, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	m := newMove(t, cfg)
	m.tree.Server("srv2").Behave(m.drivers[0], idmtest.Behaviour{BeginAfter: time.Hour})
	j, p := failovertest.Journal(t), m.switchover("srv1", "srv2")
	r, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrNotObserved)
	require.ErrorContains(t, err, "accepted")
	step, _ := r.Step("start/start")
	require.Equal(t, failover.StatusInDoubt, step.Status)
	require.Equal(t, failover.ResultInDoubt, r.Result)
	_, err = p.Undo(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt, "it may still come up")

	later.Store(int64(2 * time.Hour))
	require.NoError(t, m.tree.WaitState(t.Context(), "srv2", m.drivers[0], idmtest.StateRunning))
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err)
	m.stand("srv2", "srv1", idmtest.StartAuto)
}

// A start that the engine refuses did not take place, and the engine's word is shown.
func TestAStartThatIsRefusedIsNotInDoubt(t *testing.T) {
	m := newMove(t, smallPair())
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv2", Extended: 15, NDS: -641, Times: -1})
	r, err := m.run(m.switchover("srv1", "srv2"), "x")
	require.ErrorIs(t, err, idm.ErrWrongState)
	step, _ := r.Step("start/start")
	require.Equal(t, failover.StatusFailed, step.Status)
}

// Invalid request is documented as possibly passing. A stop is asked for again, so that a driver that comes up is not
// left running.
func TestAStopThatIsRefusedForNowIsAskedForAgain(t *testing.T) {
	m := newMove(t, smallPair())
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv1", Extended: 17, NDS: -641})
	m.mustRun(m.switchover("srv1", "srv2"), "x")
	m.stand("srv2", "srv1", idmtest.StartAuto)
}

// A driver that is on its way down, or reads the schema of its application, was not asked to start: its start did not
// fail, and there is nothing to repair.
func TestADriverThatIsOnItsWayDownIsNotCalledAFailedStart(t *testing.T) {
	var later atomic.Int64
	cfg := smallPair()
	cfg.StartTime, cfg.Now = time.Hour, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	m := newMove(t, cfg)
	two := open(t, m.tree, "srv2")
	for _, d := range m.drivers {
		m.tree.Server("srv2").Behave(d, idmtest.Behaviour{StartTime: time.Millisecond})
	}
	p := changed(m.switchover("srv1", "srv2"), "start/start", func(s *failover.Step) {
		apply := s.Apply
		s.Apply = func(ctx context.Context) error {
			require.NoError(t, two.ReadApplicationSchema(ctx, m.drivers[0]))
			return apply(ctx)
		}
	})
	_, err := m.run(p, "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "getting schema")
	later.Store(int64(2 * time.Hour))
	m.mustRun(m.switchover("srv1", "srv2"), "x")
	m.stand("srv2", "srv1", idmtest.StartAuto)
}

// A start that failed between two looks is known by what the engine has written about it since, and by nothing older.
func TestAStartThatFailedUnseenIsKnownByTheStatusLog(t *testing.T) {
	m := newMove(t, smallPair())
	m.drivers = m.drivers[:1]
	two := m.tree.Server("srv2")
	for _, reason := range []string{"-9005 old words", "-9006 no connection to remote loader"} {
		two.Behave(m.drivers[0], idmtest.Behaviour{FailStarts: -1, Reason: reason, StartTime: time.Nanosecond})
		r, err := m.run(m.switchover("srv1", "srv2"), "x")
		require.ErrorContains(t, err, "has stopped: ")
		require.ErrorContains(t, err, reason)
		require.Equal(t, 1, strings.Count(err.Error(), "#error#"), "only what was written since: %v", err)
		step, _ := r.Step("start/start")
		require.Equal(t, failover.StatusFailed, step.Status)
	}
}

// The engine of the source is told of a job when the change has come there: told before, it would read the old list and
// go on running it.
func TestTheSourceIsToldOfAJobWhenTheChangeHasCome(t *testing.T) {
	m := newMove(t, smallPair())
	one, job := m.tree.Server("srv1"), "cn=Check,"+m.drivers[0]
	catchUp := one.Lag(job, "DirXML-ServerList")
	looked := make(chan struct{})
	m.tree.Inject(idmtest.Injection{Server: "srv1", Op: idmtest.OperationSearch, DN: job, Do: func() { close(looked) }})
	go func() {
		<-looked
		catchUp()
	}()
	m.mustRun(m.switchover("srv1", "srv2"), "x")
	require.False(t, one.RunsJob(job))
	require.True(t, m.tree.Server("srv2").RunsJob(job))

	// As long as it has not come, nobody is told and the step is not done.
	m.tree.Server("srv2").Lag(job, "DirXML-ServerList")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var looks atomic.Int64
	m.tree.Inject(idmtest.Injection{Server: "srv2", Op: idmtest.OperationSearch, DN: job, Times: -1, Do: func() {
		if looks.Add(1) == 3 {
			cancel()
		}
	}})
	r, err := m.switchover("srv2", "srv1").Run(ctx, options(failovertest.Journal(t)))
	require.Error(t, err)
	step, _ := r.Step("moved/jobs")
	require.Equal(t, failover.StatusInDoubt, step.Status)
	require.False(t, m.tree.Server("srv1").RunsJob(job), "its turn comes behind the source")
}

// An answer to a start that takes longer than Settle leaves no doubt: the driver is looked at behind it.
func TestASlowAnswerToAStartIsNoDoubt(t *testing.T) {
	m := newMove(t, smallPair())
	p, j := m.switchover("srv1", "srv2"), failovertest.Journal(t)
	_, err := p.Run(t.Context(), notGood(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultSlowReply, Server: "srv1", Extended: 15, Times: -1,
		Delay: 200 * time.Millisecond})
	_, err = within(p, "stop/stop", 20*time.Second).Undo(t.Context(), options(j))
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.StartAuto)
}
