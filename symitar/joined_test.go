package symitar_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// process is one life of a program that swaps two pairs side by side in one procedure. For the time's sake it has the
// steps around the agent and the macro only. With die it is killed at the intent of that step.
type process struct {
	die  string
	gate failover.Gate
	undo bool
}

func (p process) live(t *testing.T, store *failovertest.Store, sims map[string]*symitartest.Pair) error {
	t.Helper()
	var parts []failover.Part
	for _, name := range []string{"a", "b"} {
		pair, err := symitar.NewPair(sims[name].Config())
		require.NoError(t, err)
		defer func() { require.NoError(t, pair.Close()) }()
		proc, err := symitar.Switchover(pair)
		require.NoError(t, err)
		s, err := symitar.SwitchoverStages(pair)
		require.NoError(t, err)
		only := func(steps []failover.Step, id string) []failover.Step {
			return slices.DeleteFunc(steps, func(s failover.Step) bool { return s.ID != id })
		}
		s.Preflight.Steps, s.Quiet.Steps = only(s.Preflight.Steps, "roles"), only(s.Quiet.Steps, "stop-agent")
		for i := range s.Macro.Steps {
			s.Macro.Steps[i].Guards = "" // the release of jobs is not among them
		}
		proc.Stages = []failover.Stage{s.Preflight, s.Quiet, s.Macro, s.Archive, s.Agent}
		parts = append(parts, failover.Part{Name: name, Procedure: proc})
	}
	both, err := failover.Join(failover.JoinOptions{Name: "test.Both"}, parts...)
	require.NoError(t, err)
	j, err := store.Journal()
	require.NoError(t, err)
	defer func() { _ = j.Close() }() // after a kill it says that the process is dead
	o := failover.RunOptions{Journal: j, Actor: "tester", Reason: "test", Gate: p.gate, Observer: func(e failover.Event) {
		if e.Step.ID == p.die && e.Kind == failover.EventIntent {
			store.Kill()
		}
	}}
	if p.undo {
		_, err = both.Undo(t.Context(), o)
	} else {
		_, err = both.Run(t.Context(), o)
	}
	return err
}

func twoPairs(t *testing.T) map[string]*symitartest.Pair {
	t.Helper()
	sims := map[string]*symitartest.Pair{}
	for _, name := range []string{"a", "b"} {
		sim := symitartest.Start(t)
		sims[name] = sim
	}
	return sims
}

// TestTwoPairsInOneProcedure kills the process around what is done to either of two pairs that are swapped side by
// side: each is left as a swap of its own leaves it.
func TestTwoPairsInOneProcedure(t *testing.T) {
	t.Parallel()
	sims, store := twoPairs(t), failovertest.NewStore("both")
	require.Error(t, process{die: "a/macro/run"}.live(t, store, sims))
	if err := (process{die: "b/archive/lock"}).live(t, store, sims); err != nil { // unless b had come so far before
		require.NoError(t, process{}.live(t, store, sims))
	}
	for _, sim := range sims {
		require.Equal(t, 1, sim.MacroRuns())
		require.Zero(t, sim.Overlaps())
		require.False(t, sim.EverTwoPrimaries())
		require.Equal(t, []string{symitartest.Partner}, sim.Primaries())
		require.False(t, sim.AgentRuns(symitartest.Home))
		require.True(t, sim.AgentRuns(symitartest.Partner))
	}
}

// TestTwoPairsAreUndone takes both back when the macro was refused on either, and kills the process in the undo.
func TestTwoPairsAreUndone(t *testing.T) {
	t.Parallel()
	sims, store := twoPairs(t), failovertest.NewStore("both")
	refuse := func(_ context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.Kind == failover.Once {
			return failover.Approval{}, failover.ErrRejected
		}
		return failover.Approval{}, nil
	}
	require.ErrorIs(t, process{gate: refuse}.live(t, store, sims), failover.ErrRejected)
	for _, sim := range sims {
		require.False(t, sim.AgentRuns(symitartest.Home))
	}
	require.Error(t, process{die: "a/quiet/stop-agent", undo: true}.live(t, store, sims))
	require.NoError(t, process{undo: true}.live(t, store, sims))
	for _, sim := range sims {
		require.True(t, sim.AgentRuns(symitartest.Home), "the agent that was stopped runs again")
		require.Zero(t, sim.MacroRuns())
		require.Equal(t, []string{symitartest.Home}, sim.Primaries())
	}
}
