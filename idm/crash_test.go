package idm_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// The process dies at a step; another one goes on with the same journal. The end is the same, and nothing was ever on two servers.
func TestCrashAnywhereAndResume(t *testing.T) {
	count := countDeaths(t)
	require.GreaterOrEqual(t, count, 16, "two for each of eight changes")
	for n := range count {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			m := newMove(t, smallPair())
			require.True(t, m.killedAt(m.switchover("srv1", "srv2"), n))
			m.mustRun(m.switchover("srv1", "srv2"), "x")
			m.stand("srv2", "srv1", idmtest.Auto)
			for _, d := range m.drivers {
				require.GreaterOrEqual(t, m.tree.Counters(d).Resyncs, 1)
				require.LessOrEqual(t, m.tree.Counters(d).Resyncs, 2, "twice only when the answer was lost")
			}
		})
	}
}

func smallPair() idmtest.Config {
	c := pair()
	c.Drivers, c.StartTime, c.StopTime = 2, time.Millisecond, time.Millisecond
	return c
}

// deaths calls die at the points of a run at which a death leaves something half done: the intent is written and nothing
// done, the effect is there and not recorded, the outcome is recorded.
func deaths(die func()) func(failover.Event) {
	applied := false
	return func(e failover.Event) {
		switch {
		case e.Step.Kind != failover.Change:
		case e.Kind == failover.EventAttempt:
			applied = true
			die()
		case e.Kind == failover.EventObserved && applied, e.Kind == failover.EventStepEnded && applied:
			applied = false
			die()
		}
	}
}

func countDeaths(t *testing.T) int {
	m := newMove(t, smallPair())
	count := 0
	p := m.switchover("srv1", "srv2")
	j, err := failovertest.JournalAt(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	o.Observer = deaths(func() { count++ })
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
	return count
}

// killedAt runs the procedure until the n-th such point, where its goroutine ends as a process would.
func (m *move) killedAt(p failover.Procedure, n int) bool {
	killed := make(chan bool, 1)
	go func() {
		dead := true
		defer func() { killed <- dead }()
		j, err := failovertest.JournalAt(m.journal("x"))
		if err != nil {
			m.t.Error(err)
			return
		}
		defer j.Close() //nolint:errcheck // the file lock of a dead process is gone
		o := m.options(j, p)
		o.Observer = deaths(func() {
			if n--; n < 0 {
				runtime.Goexit()
			}
		})
		_, err = p.Run(m.t.Context(), o)
		dead = false
		if err != nil {
			m.t.Error(err)
		}
	}()
	return <-killed
}

// Every fault at every kind of request of a switchover: it ends well by itself or stops with a reason, and running it
// again brings it to its end.
func TestFaultsOnTheWay(t *testing.T) {
	kinds := map[int][]idmtest.FaultKind{9: idmtest.FaultKinds(), 15: idmtest.FaultKinds(),
		17: {idmtest.DropReply, idmtest.KillReply}, 23: {idmtest.DropReply, idmtest.KillReply}, 67: {idmtest.DropReply}, 75: {idmtest.DropReply}}
	for op := range kinds {
		for _, kind := range kinds[op] {
			t.Run(fmt.Sprintf("%d %s", op, kind), func(t *testing.T) {
				t.Parallel()
				m := newMove(t, smallPair())
				m.tree.Inject(idmtest.Fault{Kind: kind, Extended: op, NDS: -654, Delay: 50 * time.Millisecond})
				limit := 10 * time.Second
				if kind == idmtest.MuteRequest || kind == idmtest.MuteReply || kind == idmtest.WrongMessageID {
					limit = time.Second // nothing else ends the wait
				}
				p := func() failover.Procedure {
					p, err := idm.Switchover(idm.SwitchoverOptions{
						Route:  m.route(open(t, m.tree, "srv2", idm.WithCallTimeout(limit))),
						Source: open(t, m.tree, "srv1", idm.WithCallTimeout(limit))})
					require.NoError(t, err)
					return p
				}
				_, err := m.run(p(), "x")
				m.neverTwo()
				for range 3 {
					for _, s := range m.tree.Servers() {
						if !s.Up() {
							require.NoError(t, s.Start())
						}
					}
					if err == nil {
						break
					}
					require.NotEmpty(t, failover.NextOf(err))
					_, err = m.run(p(), "x")
				}
				if err != nil && kind == idmtest.EmptySuccess {
					return // a lie that stays one is a reason to stop, not to go on
				}
				require.NoError(t, err)
				m.stand("srv2", "srv1", idmtest.Auto)
			})
		}
	}
}
