package opcon_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestCrashEverywhere kills the process at every record of a planned move, and of an unplanned one with decisions: the
// end is the same, nothing is held, released or restarted twice.
func TestCrashEverywhere(t *testing.T) {
	for name, quiesce := range map[string]opcon.QuiesceOptions{"planned": planned(), "unplanned": unplanned()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashes := failovertest.CrashEverywhere(t, func(tb testing.TB) failovertest.World {
				s := newSite(tb, opcontest.Config{ReportAfter: 1_000_000})
				if name == "planned" {
					s.quiet()
				}
				return failovertest.World{
					Procedure: func(tb testing.TB) failover.Procedure {
						r := resumed()
						r.Decide = asProposed(func(*opcon.Decision) {})
						s.client = newClient(tb, s.Server) // another process begins with nothing
						return procedure(tb, s, quiesce, r)
					},
					Verify: func(tb testing.TB) {
						require.Empty(tb, s.Violations())
						require.Empty(tb, s.WrongStarts())
						for _, x := range []*opcontest.Schedule{s.Nightly, s.Branch, s.Statements, s.Tomorrow} {
							require.Equal(tb, 1, s.Count("hold", x.Date+" "+x.Name), x.Name)
							require.Equal(tb, 1, s.Count("release", x.Date+" "+x.Name), x.Name)
						}
						require.Equal(tb, map[string]int{"planned": 0, "unplanned": 2}[name],
							s.Count("restartOnHold", ""))
						require.Equal(tb, 1, s.Count("up", ""))
						require.Equal(tb, opcontest.OnHold, s.Status(s.HeldBefore))
					},
				}
			})
			require.Greater(t, crashes, 40)
		})
	}
}
