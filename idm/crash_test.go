package idm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// The process dies at each record of its journal; another one goes on. The end is the same, and nothing was ever on two servers.
func TestCrashEverywhere(t *testing.T) {
	for name, play := range map[string]func(*move) failover.Procedure{
		"switchover": func(m *move) failover.Procedure { return m.switchover("srv1", "srv2") },
		"failover":   func(m *move) failover.Procedure { return m.failover(func(o *idm.FailoverOptions) { o.Since = aWhileAgo }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashes := failovertest.CrashEverywhere(t, func(testing.TB) failovertest.World {
				m := newMove(t, smallPair())
				off := "srv1"
				if name == "failover" {
					m.tree.Server("srv1").Kill()
					off = ""
				}
				return failovertest.World{Procedure: func(testing.TB) failover.Procedure { return play(m) }, Options: m.options(nil, play(m)),
					Verify: func(testing.TB) {
						m.stand("srv2", off, idmtest.Auto)
						for _, d := range m.drivers {
							require.GreaterOrEqual(t, m.tree.Counters(d).Resyncs, 1)
							require.LessOrEqual(t, m.tree.Counters(d).Resyncs, 2, "twice only when its fact was lost")
						}
					},
					Close: func() { require.NoError(t, m.tree.Close()) }}
			})
			require.Greater(t, crashes, 50)
		})
	}
}

var aWhileAgo = time.Now().Add(-time.Hour)

func smallPair() idmtest.Config {
	c := pair()
	c.Drivers, c.StartTime, c.StopTime = 2, time.Millisecond, time.Millisecond
	return c
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
