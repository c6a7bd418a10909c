package idm_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// The process dies at each record of its journal; another one goes on. The end is the same, and nothing was ever on two
// servers.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	crashes := failovertest.CrashEverywhere(t, func(testing.TB) failovertest.World {
		m := newMove(t, smallPair())
		return failovertest.World{Procedure: func(testing.TB) failover.Procedure { return m.switchover("srv1", "srv2") },
			Options: options(nil),
			Verify: func(testing.TB) {
				m.stand("srv2", "srv1", idmtest.StartAuto)
				for _, d := range m.drivers {
					require.GreaterOrEqual(t, m.tree.Counters(d).Resyncs, 1)
					require.LessOrEqual(t, m.tree.Counters(d).Resyncs, 2, "twice only when its fact was lost")
				}
			},
			Close: func() { require.NoError(t, m.tree.Close()) }}
	})
	require.Greater(t, crashes, 50)
}

// The same for the way back: whatever the process was doing, another undo brings everything back.
func TestCrashEverywhereInAnUndo(t *testing.T) {
	t.Parallel()
	for _, durable := range []failovertest.Durability{failovertest.DurabilityLost, failovertest.DurabilityKept} {
		for at, died := 0, true; died; at++ {
			died = undoDiesAt(t, at, durable)
		}
	}
}

func undoDiesAt(t *testing.T, at int, durable failovertest.Durability) (died bool) {
	m, store := newMove(t, smallPair()), failovertest.NewStore("undo")
	defer func() { require.NoError(t, m.tree.Close()) }()
	_, err := store.Crash(t, -1, durable, func(j *failover.Journal) error {
		_, err := m.switchover("srv1", "srv2").Run(t.Context(), notGood(j))
		return err
	})
	require.ErrorIs(t, err, failover.ErrWaiting)
	died, err = store.Crash(t, at, durable, func(j *failover.Journal) error {
		_, err := m.switchover("srv1", "srv2").Undo(t.Context(), options(j))
		return err
	})
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.StartAuto)
	return died
}

// notGood leaves the run waiting for a person to say that all is good: the target runs the drivers, and nothing is
// final yet.
func notGood(j *failover.Journal) failover.RunOptions {
	o := options(j)
	o.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		if q.Step.ID == "finish/all-good" {
			return failover.Statement{}, failover.ErrWaiting
		}
		return yes(ctx, q)
	}
	return o
}

func smallPair() idmtest.Config {
	c := pair()
	c.Drivers, c.StartTime, c.StopTime = 2, time.Millisecond, time.Millisecond
	return c
}

// Every fault at every kind of request of a switchover: it ends well by itself or stops with a reason, and running it
// again brings it to its end.
func TestFaultsOnTheWay(t *testing.T) {
	kinds := map[int][]idmtest.FaultKind{9: idmtest.FaultKinds(), 15: idmtest.FaultKinds(),
		17: {idmtest.FaultDropReply, idmtest.FaultKillReply}, 23: {idmtest.FaultDropReply, idmtest.FaultKillReply},
		67: {idmtest.FaultDropReply}, 75: {idmtest.FaultDropReply}}
	for op := range kinds {
		for _, kind := range kinds[op] {
			t.Run(fmt.Sprintf("%d %s", op, kind), func(t *testing.T) {
				t.Parallel()
				m := newMove(t, smallPair())
				m.tree.Inject(idmtest.Injection{Kind: kind, Extended: op, NDS: -654, Delay: 50 * time.Millisecond})
				limit := 10 * time.Second
				if kind == idmtest.FaultMuteRequest || kind == idmtest.FaultMuteReply || kind == idmtest.FaultWrongMessageID {
					limit = time.Second // nothing else ends the wait
				}
				p := func() failover.Procedure {
					p, err := idm.Switchover(idm.SwitchoverOptions{
						Route:  m.route(open(t, m.tree, "srv2", callTimeout(limit))),
						Source: open(t, m.tree, "srv1", callTimeout(limit))})
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
				if err != nil && kind == idmtest.FaultEmptySuccess {
					return // a lie that stays one is a reason to stop, not to go on
				}
				require.NoError(t, err)
				m.stand("srv2", "srv1", idmtest.StartAuto)
			})
		}
	}
}
