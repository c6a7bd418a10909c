package opcon_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestFaultsByName: with each fault, no job starts on a wrong host and none is lost; where the run stops it says what
// to do, and doing that ends well in the same journal.
func TestFaultsByName(t *testing.T) {
	stops := map[string]string{"agent-of-old-host": "which is the old host",
		"old-agent-returns": "which is the old host", "result-unknown": "", "prerun-failed": "",
		"decision-corrected": "may not be restarted"}
	require.Len(t, opcontest.Faults(), len(stops))
	for _, f := range opcontest.Faults() {
		for _, mode := range []opcon.Mode{opcon.ModePlanned, opcon.ModeUnplanned} {
			t.Run(f.Name+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				require.NotEmpty(t, f.Title)
				s := newSite(t, opcontest.Config{ReportAfter: 3})
				s.Change(func() {
					if mode == opcon.ModePlanned {
						s.Running.Ticks, s.JustSent.Ticks, s.JustSent.Status = 30, 30, opcontest.JobRunning
					}
				})
				require.NoError(t, s.Arm(f.Name))
				q, r := unplanned(), resumed()
				if mode == opcon.ModePlanned {
					q = planned()
				}
				var listed []string
				corrected := false
				r.UpTimeout = 3 * time.Second
				r.Decide = func(ctx context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
					for _, in := range list {
						listed = append(listed, in.Job.Name)
					}
					return asProposed(func(d *opcon.Decision) {
						if corrected {
							d.Action, d.MarkFailedFirst = opcon.RerunLeave, false
						}
					})(ctx, list)
				}
				p, j := procedure(t, s, q, r), journal(t)
				_, err := p.Run(context.Background(), options(j))
				if want := stops[f.Name]; want != "" {
					require.ErrorContains(t, err, want)
					require.NotEmpty(t, failover.NextOf(err))
					require.Zero(t, s.Count("release", ""))
					require.Empty(t, s.WrongStarts())
					s.Remedy()
					corrected = s.Refused("restartOnHold") > 0
					_, err = p.Run(context.Background(), options(j))
				}
				require.NoError(t, err)
				require.Equal(t, 4, s.Count("release", ""))
				s.lawful(t)
				if f.Name == "prerun-failed" || f.Name == "decision-corrected" || mode == opcon.ModeUnplanned {
					require.Contains(t, listed, "GOODNIGHT")
				}
			})
		}
	}
	s := newSite(t, opcontest.Config{})
	require.Error(t, s.Arm("no-such-fault"))
}
