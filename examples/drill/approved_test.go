package main

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// TestAnApprovedPlanIsNotVoidedByItsOwnRun approves the plan of each procedure and runs it: nothing has moved in
// between but what the run itself does before it looks, such as taking its lock.
func TestAnApprovedPlanIsNotVoidedByItsOwnRun(t *testing.T) {
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			st, err := sc.open(t.Context(), dir, settings{})
			require.NoError(t, err)
			defer func() { require.NoError(t, st.close()) }()
			a := st.acts[0]
			if a.before != nil {
				require.NoError(t, a.before(t.Context()))
			}
			p, err := a.build(t.Context())
			require.NoError(t, err)
			plan, err := p.Plan(t.Context(), nil)
			require.NoError(t, err)
			require.Empty(t, plan.Blockers(), "a plan that stops is not offered for approval")
			journal, err := failovertest.JournalAt(filepath.Join(dir, "approved"))
			require.NoError(t, err)
			defer func() { require.NoError(t, journal.Close()) }()
			stop := make(chan struct{})
			once := false
			_, err = p.Run(t.Context(),
				failover.RunOptions{Journal: journal, Actor: "drill", Reason: "test", Approved: plan.Findings,
					Confirm: st.confirm, Stop: stop, Observer: func(e failover.Event) {
						if e.Kind == failover.EventStepEnded && !once {
							once = true
							close(stop) // the comparison was made
						}
					}})
			require.False(t, errors.Is(err, failover.ErrPlanChanged), "%v", err)
			require.ErrorIs(t, err, failover.ErrStopped)
		})
	}
}
