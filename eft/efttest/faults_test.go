package efttest_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
)

func TestFaults(t *testing.T) {
	for name, l := range layouts {
		for _, fault := range efttest.Faults(l) {
			t.Run(name+"/"+fault.Name, func(t *testing.T) {
				t.Parallel()
				w := efttest.Start(t, l)
				require.NoError(t, w.Arm(fault.Name))
				before, _, err := w.State()
				require.NoError(t, err)
				journal := filepath.Join(t.TempDir(), "j")
				_, err = run(t, t.Context(), w, journal, nil)
				s, m, stateErr := w.State()
				require.NoError(t, stateErr)
				for node, runs := range s.Counters.InstallerRuns {
					require.LessOrEqual(t, runs, 1, node)
				}
				if fault.Name != "both-running" {
					two, err := w.TwoActive()
					require.NoError(t, err)
					require.False(t, two)
				}
				switch fault.Ending {
				case clustertest.EndingCompletes:
					require.NoError(t, err)
					upgraded(t, w)
				case clustertest.EndingRefused:
					require.ErrorIs(t, err, failover.ErrPrecondition)
					require.ErrorIs(t, err, fault.Err)
					for _, kind := range []error{eft.ErrNoSpace, eft.ErrWrongVersion, eft.ErrWrongProduct, eft.ErrActiveActive} {
						if kind != fault.Err { //nolint:errorlint // which of the four it is
							require.NotErrorIs(t, err, kind, "each has its own error")
						}
					}
					require.Empty(t, s.Counters.InstallerRuns)
					require.Empty(t, m.Counters.Moves)
					require.Equal(t, before.Nodes, s.Nodes, "nothing was touched")
					require.NotEmpty(t, failover.NextOf(err))
				case clustertest.EndingStops:
					require.Error(t, err)
					if fault.Err != nil {
						require.ErrorIs(t, err, fault.Err)
					}
					require.NotEmpty(t, failover.NextOf(err))
				}
			})
		}
	}
}

func TestALostRequestIsSentAgainByTheResume(t *testing.T) {
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			w := efttest.Start(t, l)
			require.NoError(t, w.Arm("lost-request"))
			journal := filepath.Join(t.TempDir(), "j")
			_, err := run(t, t.Context(), w, journal, nil)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%v", err)
			_, err = run(t, t.Context(), w, journal, nil)
			require.NoError(t, err)
			upgraded(t, w)
		})
	}
}
