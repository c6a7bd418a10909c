package efttest_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
)

// kinds is the error each fault must be told by.
var kinds = map[string]error{
	"lost-request": eft.ErrInstallerMissing, "hangs": failover.ErrNotObserved, "installer-fails": eft.ErrInstallerFailed,
	"installer-dies": eft.ErrInstallerLost,
	"half-installed": eft.ErrHalfInstalled, "clean-config": eft.ErrCleanConfig, "setting-lost": eft.ErrSettings,
	"licence-lost": eft.ErrLicence,
	"hash-differs": eft.ErrInstallerDiffers, "older-installer": eft.ErrOlderVersion, "wrong-product": eft.ErrWrongProduct,
	"no-space": eft.ErrNoSpace,
	"ha":       eft.ErrActiveActive, "two-groups": cluster.ErrAmbiguous, "both-running": eft.ErrServiceRunning,
	"busy": eft.ErrNodeBusy, "third-node": eft.ErrOtherNodes,
	"move-locked": cluster.ErrGroupLocked, "move-stranded-disk": cluster.ErrDisk, "move-paused": cluster.ErrNodePaused,
	"move-quarantined":  cluster.ErrNodeQuarantined,
	"move-not-possible": cluster.ErrNotPossibleOwner, "move-no-quorum": cluster.ErrNoQuorum,
	"move-backup":         cluster.ErrBackup,
	"move-reboot-pending": cluster.ErrRebootPending, "move-owner-unknown": cluster.ErrOwnerUnknown,
	"move-unreachable": cluster.ErrUnreachable,
}

func TestFaults(t *testing.T) {
	for name, l := range layouts {
		for _, fault := range efttest.Faults(l) {
			t.Run(name+"/"+fault.Name, func(t *testing.T) {
				t.Parallel()
				w := open(t, t.TempDir(), l)
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
					require.ErrorIs(t, err, kinds[fault.Name])
					for other, kind := range kinds {
						if kind != kinds[fault.Name] &&
							(kind == eft.ErrNoSpace || kind == eft.ErrOlderVersion || kind == eft.ErrWrongProduct ||
								kind == eft.ErrActiveActive) {
							require.NotErrorIs(t, err, kind, "each has its own error, this is that of %s", other)
						}
					}
					require.Empty(t, s.Counters.InstallerRuns)
					require.Empty(t, m.Counters.Moves)
					require.Equal(t, before.Nodes, s.Nodes, "nothing was touched")
					require.NotEmpty(t, failover.NextOf(err))
				case clustertest.EndingStops:
					require.Error(t, err)
					if kind := kinds[fault.Name]; kind != nil && fault.Name != "lost-request" {
						require.ErrorIs(t, err, kind)
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
			w := open(t, t.TempDir(), l)
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
