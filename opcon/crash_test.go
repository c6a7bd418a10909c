package opcon_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// joined moves two machines of one name, each of an OpCon server of its own, side by side in one procedure.
func joined(tb testing.TB, quiesce opcon.QuiesceOptions, a, b *site) failover.Procedure {
	tb.Helper()
	part := func(name string, s *site, q opcon.QuiesceOptions) failover.Part {
		r := resumed()
		r.Decide = asProposed(func(*opcon.Decision) {})
		s.client = newClient(tb, s.Server) // another process begins with nothing
		return failover.Part{Name: name, Procedure: procedure(tb, s, q, r)}
	}
	p, err := failover.Join(failover.JoinOptions{Name: "test.Both"}, part("a", a, quiesce), part("b", b, unplanned()))
	require.NoError(tb, err)
	return p
}

// TestCrashEverywhere kills the process at every record of a planned move and of an unplanned one with decisions, which
// run side by side: each machine is left as a move of its own leaves it, nothing is held, released or restarted twice.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	crashes := failovertest.CrashEverywhere(t, func(tb testing.TB) failovertest.World {
		a, b := newSite(tb, opcontest.Config{ReportAfter: 1_000_000}), newSite(tb, opcontest.Config{ReportAfter: 1_000_000})
		a.quiet()
		return failovertest.World{
			Procedure: func(tb testing.TB) failover.Procedure { return joined(tb, planned(), a, b) },
			Verify: func(tb testing.TB) {
				for s, restarted := range map[*site]int{a: 0, b: 2} {
					require.Empty(tb, s.Violations())
					require.Empty(tb, s.WrongStarts())
					for _, x := range []*opcontest.Schedule{s.Nightly, s.Branch, s.Statements, s.Tomorrow} {
						require.Equal(tb, 1, s.Count("hold", x.Date+" "+x.Name), x.Name)
						require.Equal(tb, 1, s.Count("release", x.Date+" "+x.Name), x.Name)
					}
					require.Equal(tb, restarted, s.Count("restartOnHold", ""))
					require.Equal(tb, 1, s.Count("up", ""))
					require.Equal(tb, opcontest.ScheduleOnHold, s.Status(s.HeldBefore))
					_, _, address := s.MachineState(s.Machine)
					require.Equal(tb, newHost, address)
				}
			},
		}
	})
	require.Greater(t, crashes, 80)
}

// TestCrashInTheUndo kills the process at every record of the undo of two moves that run as one, the record lost and
// kept in turn: each machine is left as it was.
func TestCrashInTheUndo(t *testing.T) {
	t.Parallel()
	crashed := true
	for at := 0; crashed; at++ {
		a, b := newSite(t, opcontest.Config{}), newSite(t, opcontest.Config{})
		a.quiet()
		b.quiet()
		store := failovertest.NewStore("undo")
		_, err := store.Crash(t, -1, failovertest.DurabilityKept, func(j *failover.Journal) error {
			_, err := joined(t, unplanned(), a, b).Run(t.Context(), options(j))
			return err
		})
		require.NoError(t, err)
		for _, s := range []*site{a, b} {
			s.goesBack()
		}
		crashed, err = store.Crash(t, at, failovertest.Durability(at%2), func(j *failover.Journal) error {
			_, err := joined(t, unplanned(), a, b).Undo(t.Context(), options(j))
			return err
		})
		require.NoError(t, err, at)
		for _, s := range []*site{a, b} {
			s.asItWas(t)
		}
		require.Less(t, at, 200)
	}
}
