package efttest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// ending is what a run says of a step that met a fault.
type ending struct {
	status failover.StepStatus
	result failover.Result
	undo   bool // the plan of the undo has the step
}

var (
	completes = ending{failover.StatusApplied, failover.ResultCompleted, true}
	doubt     = ending{failover.StatusInDoubt, failover.ResultInDoubt, true}
	partWay   = ending{failover.StatusFailed, failover.ResultPartWay, false} // what was remembered before is in effect
	partly    = ending{failover.StatusPartly, failover.ResultPartWay, true}
)

// row is how a step ends by what becomes of its first request. Later attempts are refused: no node can be asked.
type row map[clustertest.Break]ending

var (
	// seen is a step whose effect can be seen whatever was answered.
	seen = row{clustertest.BreakLosesReply: completes, clustertest.BreakLosesNodes: doubt,
		clustertest.BreakUnsent: partWay, clustertest.BreakGarbles: completes, clustertest.BreakIgnores: doubt,
		clustertest.BreakDelays: completes}
	// second is the second request of a step whose first one was taken: refused, it leaves the first in effect.
	second = row{clustertest.BreakLosesReply: completes, clustertest.BreakLosesNodes: doubt, clustertest.BreakUnsent: partly,
		clustertest.BreakGarbles: completes, clustertest.BreakIgnores: doubt, clustertest.BreakDelays: completes}
	// noted is a step that is done when the journal says so: without an answer it has to be asked for again.
	noted = row{clustertest.BreakLosesReply: doubt, clustertest.BreakLosesNodes: doubt, clustertest.BreakUnsent: partWay,
		clustertest.BreakGarbles: doubt, clustertest.BreakIgnores: doubt, clustertest.BreakDelays: doubt}
	// moved is a move, which is followed for the time to settle.
	moved = row{clustertest.BreakLosesReply: completes, clustertest.BreakLosesNodes: doubt,
		clustertest.BreakUnsent: partWay, clustertest.BreakGarbles: completes, clustertest.BreakIgnores: partWay,
		clustertest.BreakDelays: completes}
	// started is a run of the installer, whose trace is looked for.
	started = row{clustertest.BreakLosesReply: completes, clustertest.BreakLosesNodes: doubt,
		clustertest.BreakUnsent: partWay, clustertest.BreakGarbles: completes, clustertest.BreakIgnores: partWay,
		clustertest.BreakDelays: completes}
	// restored is noted too. That a node says it has restored and has not cannot be seen: nothing reads the directory
	// again.
	restored = row{clustertest.BreakLosesReply: doubt, clustertest.BreakLosesNodes: doubt,
		clustertest.BreakUnsent: partWay, clustertest.BreakGarbles: doubt, clustertest.BreakDelays: doubt}
)

// matrix names the steps that change something outside the journal, with the request they make. Steps that differ only
// in the node are there once, but for those that cannot be repeated.
var matrix = map[string][]struct {
	step, verb string
	row        row
}{
	"Upgrade": {
		{"prepare/failback", "set-failback", seen}, {"stage/passive", "stage", seen}, {"backup/copy", "backup", noted},
		{"passive/guard", "configure-service", seen}, {"passive/install", "start-installer", started},
		{"passive/service", "configure-service", seen}, {"rename/resource", "offline", seen},
		{"rename/resource", "set-service", second},
		{"move/move", "move", moved}, {"online/group", "online", seen}, {"active/install", "start-installer", started},
		{"back/move", "move", moved},
		{"finish/failback", "set-failback", seen},
	},
	"UpgradeShared": {
		{"offline/group", "offline", seen}, {"active/disk-online", "resource-online", seen},
		{"active/install", "start-installer", started},
		{"active/stop", "stop-service", seen}, {"active/disk-offline", "resource-offline", seen},
		{"move/move", "move", moved}, {"passive/install", "start-installer", started}, {"online/group", "online", seen},
	},
	"Rollback": {
		{"offline/group", "offline", seen}, {"offline/guard", "configure-service", seen},
		{"offline/guard", "stop-service", second}, {"move/move", "move", moved},
		{"restore/disk-online", "resource-online", seen}, {"restore/config", "restore", restored},
		{"rename/resource", "set-service", seen},
		{"online/group", "online", seen}, {"finish/failback", "set-failback", seen},
	},
}

// TestEveryStepUnderEveryFault breaks the request of each step in turn and looks at what the run says of it, at the
// undo and at the lock; then the same journal goes on.
func TestEveryStepUnderEveryFault(t *testing.T) {
	for _, sc := range scenes {
		for _, tt := range matrix[sc.name] {
			t.Run(sc.name+"/"+tt.step+"/"+tt.verb, func(t *testing.T) {
				t.Parallel()
				sc := sc
				if tt.step == "rename/resource" || tt.step == "online/group" && sc.name == "Upgrade" {
					sc.faults = []string{"renames-service"}
					if sc.name == "Rollback" {
						sc.faults = append(sc.faults, "setting-lost")
					}
				}
				for how, want := range tt.row {
					sc.under(t, tt.step, tt.verb, how, want)
				}
			})
		}
	}
}

// under runs the scene with one broken step, then to its end.
func (s scene) under(t *testing.T, step, verb string, how clustertest.Break, want ending) {
	t.Helper()
	w := s.open(t, "")
	p := s.build(t, w)
	attempts := 0
	broken := edit(t, p, step, func(st *failover.Step) {
		inner, look := st.Apply, st.Observe
		if st.Kind == failover.Change {
			st.Timeout, st.Poll = time.Second, time.Millisecond // a real one looks for its effect for many minutes
		}
		st.Apply = func(ctx context.Context) error {
			if attempts++; attempts == 1 {
				return errors.Join(w.Break(verb, how), inner(ctx))
			}
			if how != clustertest.BreakLosesNodes {
				require.NoError(t, w.Heal())
			}
			return errors.Join(w.Break(verb, clustertest.BreakUnsent), inner(ctx))
		}
		stray := verb == "stop-service" // somebody has started it
		st.Observe = func(ctx context.Context) (failover.Observation, error) {
			if stray {
				stray = false
				node := map[string]string{"active/stop": efttest.ActiveNode, "offline/guard": efttest.PassiveNode}[step]
				require.NoError(t, w.Start(node))
			}
			return look(ctx)
		}
	})
	for _, st := range p.AllSteps() {
		if st.Apply != nil && st.ID != step {
			broken = edit(t, broken, st.ID, func(st *failover.Step) {
				inner := st.Apply
				st.Apply = func(ctx context.Context) error { return errors.Join(w.Heal(), inner(ctx)) }
			})
		}
	}
	j := failovertest.Journal(t)
	report, err := broken.Run(t.Context(), options(w, j, nil))
	_, m, stateErr := w.State()
	require.NoError(t, stateErr)
	require.Equal(t, want.result, report.Result, "%d: %v", how, err)
	require.Equal(t, want.status, status(report, step), "%d: %v", how, err)
	if want != completes {
		require.Error(t, err)
		require.NotEmpty(t, failover.NextOf(err))
		in := slices.ContainsFunc(p.UndoPlan(j).Steps, func(u failover.UndoStep) bool { return u.ID == step })
		require.Equal(t, want.undo, in, "%d: %v", how, err)
	}
	require.Equal(t, want != completes, len(m.Marks) > 0, "%d: the lock is kept until nothing is half-way", how)
	require.NoError(t, w.Heal())
	_, err = p.Run(t.Context(), options(w, j, nil))
	require.NoError(t, err, "%d", how)
	s.ended(t, w)
}
