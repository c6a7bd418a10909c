package idm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// offices are two driver sets, each on two servers of a tree of its own.
type offices struct{ north, south *move }

func newOffices(t *testing.T) offices {
	cfg := smallPair()
	cfg.Drivers = 1
	return offices{newMove(t, cfg), newMove(t, cfg)}
}

// short is a switchover of servers that are ready: what moves the drivers, without what stands before and behind it.
func (m *move) short() failover.Procedure {
	m.t.Helper()
	target := open(m.t, m.tree, "srv2")
	s, err := idm.SwitchoverStages(idm.SwitchoverOptions{Route: m.route(target), Source: open(m.t, m.tree, "srv1")})
	require.NoError(m.t, err)
	return failover.Procedure{Name: "short", Stages: []failover.Stage{s.Stop, s.Start, s.Finish},
		Lock: idm.DirectoryLock{Server: target, Entry: idmtest.DriverSetDN}}
}

func (o offices) joined(t testing.TB) failover.Procedure {
	t.Helper()
	p, err := failover.Join(failover.JoinOptions{Name: "both"}, failover.Part{Name: "north", Procedure: o.north.short()},
		failover.Part{Name: "south", Procedure: o.south.short()})
	require.NoError(t, err)
	return p
}

func (o offices) close(t testing.TB) {
	t.Helper()
	require.NoError(t, o.north.tree.Close())
	require.NoError(t, o.south.tree.Close())
}

// state is what a run leaves in the directory, by the word of both servers, and what the drivers do.
func (m *move) state() string {
	m.t.Helper()
	text, _ := exported(m.t, open(m.t, m.tree, "srv1"),
		idm.ExportOptions{Base: idmtest.DriverSetDN, Others: []*idm.Server{open(m.t, m.tree, "srv2")}})
	for _, server := range []string{"srv1", "srv2"} {
		text += server + " " + m.tree.Server(server).State(m.drivers[0]).String() + " " +
			m.tree.Server(server).StartOption(m.drivers[0]).String() + "\n"
	}
	return text
}

// same requires that both offices are as they are when each is moved alone.
func (o offices) same(t *testing.T, alone string) {
	t.Helper()
	for _, m := range []*move{o.north, o.south} {
		require.Equal(t, alone, m.state())
		m.neverTwo()
		_, held, err := idm.DirectoryLock{Server: open(t, m.tree, "srv2"), Entry: idmtest.DriverSetDN}.Holder(t.Context())
		require.NoError(t, err)
		require.False(t, held)
	}
}

// alone returns the states behind a run and behind its undo where one office moves by itself.
func alone(t *testing.T) (moved, undone string) {
	m, j := newOffices(t).north, failovertest.Journal(t)
	_, err := m.short().Run(t.Context(), options(j))
	require.NoError(t, err)
	moved = m.state()
	_, err = m.short().Undo(t.Context(), options(j))
	require.NoError(t, err)
	return moved, m.state()
}

// Two driver sets are moved side by side, by one procedure, and the process dies at each record of its journal: each is
// as a move of its own leaves it.
func TestTwoDriverSetsInOneProcedure(t *testing.T) {
	t.Parallel()
	moved, _ := alone(t)
	crashes := failovertest.CrashEverywhere(t, func(testing.TB) failovertest.World {
		o := newOffices(t)
		return failovertest.World{Procedure: o.joined, Options: options(nil),
			Verify: func(testing.TB) { o.same(t, moved) }, Close: func() { o.close(t) }}
	})
	require.Greater(t, crashes, 60)
}

// The same for the way back.
func TestTwoDriverSetsAreUndoneTogether(t *testing.T) {
	t.Parallel()
	_, undone := alone(t)
	for _, durable := range []failovertest.Durability{failovertest.DurabilityLost, failovertest.DurabilityKept} {
		for at, died := 0, true; died; at++ {
			o, store := newOffices(t), failovertest.NewStore("undo")
			_, err := store.Crash(t, -1, durable, func(j *failover.Journal) error {
				_, err := o.joined(t).Run(t.Context(), options(j))
				return err
			})
			require.NoError(t, err)
			died, err = store.Crash(t, at, durable, func(j *failover.Journal) error {
				_, err := o.joined(t).Undo(t.Context(), options(j))
				return err
			})
			require.NoError(t, err)
			o.same(t, undone)
			o.close(t)
		}
	}
}
