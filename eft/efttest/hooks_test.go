package efttest_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// done is a Change of the caller's that is done once f was called.
func done(id string, f func() error) failover.Step {
	called := false
	return failover.Step{ID: id, Title: id, Kind: failover.Change, Undo: failover.NothingToUndo,
		Observe: func(context.Context) (failover.Observation, error) { return failover.Observation{Done: called}, nil },
		Apply: func(context.Context) error {
			err := f()
			called = err == nil
			return err
		}}
}

// TestBeforePrecedesEveryChange looks at the whole world when Before runs: nothing but the lock was asked for. A Before
// that fails leaves it so, and After comes when all else is done.
func TestBeforePrecedesEveryChange(t *testing.T) {
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			w := efttest.Start(t, l)
			first, cl, err := w.State()
			require.NoError(t, err)
			untouched := func() {
				t.Helper()
				s, m, err := w.State()
				require.NoError(t, err)
				for _, r := range m.Requests {
					require.Equal(t, "swap-mark", r.Verb, "only the lock is taken")
				}
				require.Equal(t, first.Nodes, s.Nodes)
				require.Equal(t, first.Config, s.Config)
				require.Equal(t, cl.Groups, m.Groups)
				require.Equal(t, cl.Resources, m.Resources)
			}
			broken := errors.New("the database does not answer")
			o, err := w.Options()
			require.NoError(t, err)
			var order []string
			o.Before = []failover.Stage{{Name: "before", Steps: []failover.Step{done("arm", func() error {
				untouched()
				if order = append(order, "before"); len(order) == 1 {
					return &failover.Error{Op: "back up", Outcome: failover.NotApplied, Next: "mend it",
						Err: errors.Join(failover.ErrRejected, broken)}
				}
				return nil
			})}}}
			o.After = []failover.Stage{{Name: "after", Steps: []failover.Step{done("tell", func() error {
				order = append(order, "after")
				s, m, err := w.State()
				require.NoError(t, err)
				require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
				require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
				require.Len(t, s.Counters.InstallerRuns, 2)
				return nil
			})}}}
			build := eft.Upgrade
			if l == efttest.LayoutShared {
				build = eft.UpgradeShared
			}
			p, err := build(o)
			require.NoError(t, err)
			steps := p.AllSteps()
			for _, s := range steps {
				if s.ID == "before/arm" {
					break
				}
				require.Equal(t, failover.Check, s.Kind, "%s changes something before Before", s.ID)
			}
			require.Equal(t, "after/tell", steps[len(steps)-1].ID)
			path := filepath.Join(t.TempDir(), "j")
			run := func() error {
				j, err := failovertest.JournalAt(path)
				require.NoError(t, err)
				_, err = p.Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm})
				require.NoError(t, j.Close())
				return err
			}
			require.ErrorIs(t, run(), broken)
			untouched()
			require.NoError(t, run())
			upgraded(t, w)
			require.Equal(t, []string{"before", "before", "after"}, order)
		})
	}
}

// TestConsolesAreSeenWhereTheyCanBe wants an interface of the old version named, and a machine that is off to be waived
// by a person only.
func TestConsolesAreSeenWhereTheyCanBe(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	o, err := w.Options()
	require.NoError(t, err)
	const program = `C:\Admin\cftpsai.exe`
	put := func(v eft.Version) {
		require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
			s.Nodes[efttest.PassiveNode].Files[program] = eft.File{Size: 1, Version: v}
			return nil
		}))
	}
	off := errors.New("no route to host")
	o.Consoles = []eft.Console{{Name: "SEEN", Version: eft.ProgramVersion(w.Node(efttest.PassiveNode), program)},
		{Name: "OFF", Version: func(context.Context) (eft.Version, error) { return eft.Version{}, off }}}
	p, err := eft.Upgrade(o)
	require.NoError(t, err)
	for _, stage := range p.Stages {
		for i, s := range stage.Steps {
			if s.ID == "OFF" {
				stage.Steps[i].Timeout = 1 // a real one is asked for a minute
			}
		}
	}
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, plan.Blockers(), "what is upgraded at the end does not keep anything from beginning")
	path := filepath.Join(t.TempDir(), "j")
	run := func(waive map[string]string) error {
		j, err := failovertest.JournalAt(path)
		require.NoError(t, err)
		_, err = p.Run(t.Context(),
			failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm, Waive: waive})
		require.NoError(t, j.Close())
		return err
	}
	require.ErrorIs(t, run(nil), eft.ErrNotInstalled)
	put(efttest.OldVersion)
	err = run(nil)
	require.ErrorIs(t, err, eft.ErrWrongVersion)
	require.Contains(t, failover.NextOf(err), "upgrade the administration interface on SEEN to version 8.1.0.16")
	put(efttest.NewVersion)
	err = run(nil)
	require.ErrorIs(t, err, off)
	require.Contains(t, failover.NextOf(err), "waive")
	require.NoError(t, run(map[string]string{"consoles/OFF": "anna upgraded it and switched it off"}))
	upgraded(t, w)
}
