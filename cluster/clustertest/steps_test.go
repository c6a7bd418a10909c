package clustertest_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

// edit changes one step of a procedure, by its whole ID.
func edit(t *testing.T, p failover.Procedure, id string, change func(*failover.Step)) failover.Procedure {
	t.Helper()
	found := false
	p.Stages = slices.Clone(p.Stages)
	for i, stage := range p.Stages {
		p.Stages[i].Steps = slices.Clone(stage.Steps)
		for k, s := range p.Stages[i].Steps {
			if stage.Name+"/"+s.ID == id {
				change(&p.Stages[i].Steps[k])
				found = true
			}
		}
	}
	require.True(t, found, id)
	return p
}

// park agrees to every change but one.
func park(id string) failover.Gate {
	return func(_ context.Context, r failover.Request) (failover.Approval, error) {
		if r.Step.ID == id {
			return failover.Approval{}, failover.ErrWaiting
		}
		return failover.Approval{By: "ben"}, nil
	}
}

func by(j *failover.Journal, gate failover.Gate) failover.RunOptions {
	return failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Gate: gate}
}

func status(r *failover.Report, id string) failover.StepStatus {
	for _, s := range r.Steps {
		if s.ID == id {
			return s.Status
		}
	}
	return failover.StatusNotReached
}

// What a check says that does not hold is its error: "enough" beside it would be untrue.
func TestACheckThatFailsTellsNoFinding(t *testing.T) {
	model := clustertest.TwoNodes("a", "b", "g", "s")
	model.Nodes[1].RebootUntold = true
	c, err := clustertest.Start(t, model).Cluster()
	require.NoError(t, err)
	s, err := cluster.TransferStages(c, cluster.TransferOptions{Group: "g", Target: "b", StopTime: 1000 * time.Hour})
	require.NoError(t, err)
	for id, why := range map[string]error{"stop-time": cluster.ErrStopTime, "reboot": cluster.ErrNotTold} {
		at := slices.IndexFunc(s.Check.Steps, func(s failover.Step) bool { return s.ID == id })
		obs, err := s.Check.Steps[at].Observe(t.Context())
		require.ErrorIs(t, err, why)
		require.NotErrorIs(t, err, cluster.ErrRebootPending, "what is not told is not pending either")
		require.Empty(t, obs)
	}
}

// stands is up to which move each check of a transfer there and back has to hold. The two of the first move are made
// untrue by it.
var stands = map[string]string{
	"check/reachable": "back/move", "check/quorum": "back/move", "check/nodes": "back/move", "check/group": "move/move",
	"check/target": "move/move",
	"check/disks":  "back/move", "check/maintenance": "back/move", "check/backup": "back/move",
	"check/stop-time": "back/move", "check/reboot": "back/move",
	"check/build": "back/move", "arrived/verify": "back/move", "returned/verify": "", "finish/verify": "",
}

func TestChecksStandUpToTheStepTheyGuard(t *testing.T) {
	_, c := newSim(t, clustertest.StylePacemaker)
	found := map[string]string{}
	for _, s := range transfer(t, c, cluster.AfterMoveBack).AllSteps() {
		if s.Kind == failover.Check {
			found[s.ID] = s.Guards
			require.False(t, s.Entry, s.ID)
		}
	}
	require.Equal(t, stands, found)
	for _, s := range transfer(t, c, cluster.AfterMoveStay).AllSteps() {
		if s.Kind == failover.Check && stands[s.ID] == "back/move" && s.ID != "arrived/verify" {
			require.Equal(t, "move/move", s.Guards, s.ID)
		}
	}
}

// TestAMoveThatWaitedIsNotMadeWhenACheckFailsMeanwhile parks before each move and breaks each standing check in turn.
func TestAMoveThatWaitedIsNotMadeWhenACheckFailsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		order := []string{"move/move", "back/move"}
		for n, move := range order {
			for check, until := range stands {
				if !slices.Contains(order[n:], until) || check == "arrived/verify" && n == 0 {
					continue
				}
				sim, c := newSim(t, clustertest.StylePacemaker)
				j := failovertest.Journal(t)
				_, err := transfer(t, c, cluster.AfterMoveBack).Run(t.Context(), by(j, park(move)))
				require.ErrorIs(t, err, failover.ErrWaiting)
				before := state(t, sim).Counters.MovesByTarget

				fails := false
				p := edit(t, transfer(t, c, cluster.AfterMoveBack), check, func(s *failover.Step) {
					inner := s.Observe
					s.Observe = func(ctx context.Context) (failover.Observation, error) {
						if fails {
							return failover.Observation{Found: "broken meanwhile"}, nil
						}
						return inner(ctx)
					}
				})
				asked := false
				_, err = p.Run(t.Context(),
					by(j, func(_ context.Context, r failover.Request) (failover.Approval, error) {
						asked, fails = asked || r.Step.ID == move, true
						return failover.Approval{By: "ben"}, nil
					}))
				require.True(t, asked, "%s %s", move, check)
				require.ErrorIs(t, err, failover.ErrPrecondition, "%s %s", move, check)
				require.Equal(t, before, state(t, sim).Counters.MovesByTarget, "%s %s", move, check)
				require.NoError(t, j.Close())
			}
		}
	})
}

// TestWhatBreaksWhileAMoveWaitsIsSeen arms each fault that a transfer refuses while it waits for a person.
func TestWhatBreaksWhileAMoveWaitsIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, move := range []string{"move/move", "back/move"} {
			for _, fault := range clustertest.Faults() {
				if fault.Ending != clustertest.EndingRefused {
					continue
				}
				sim, c := newSim(t, clustertest.StyleWindows)
				j := failovertest.Journal(t)
				_, err := transfer(t, c, cluster.AfterMoveBack).Run(t.Context(), by(j, park(move)))
				require.ErrorIs(t, err, failover.ErrWaiting)
				before := state(t, sim).Counters.MovesByTarget
				require.NoError(t, sim.Arm(fault.Name, group))
				_, err = transfer(t, c, cluster.AfterMoveBack).Run(t.Context(), by(j, nil))
				require.ErrorIs(t, err, failover.ErrPrecondition, "%s %s", move, fault.Name)
				require.Equal(t, before, state(t, sim).Counters.MovesByTarget, "%s %s", move, fault.Name)
				require.NoError(t, j.Close())
			}
		}
	})
}

// TestAnApprovedTransferRunsThrough approves the plan and runs without anybody to ask.
func TestAnApprovedTransferRunsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, style := range []clustertest.Style{clustertest.StyleWindows, clustertest.StylePacemaker} {
			sim, c := newSim(t, style)
			p := transfer(t, c, cluster.AfterMoveBack)
			plan, err := p.Plan(t.Context(), nil)
			require.NoError(t, err)
			o := by(failovertest.Journal(t), nil)
			o.Approved = plan.Findings
			_, err = p.Run(t.Context(), o)
			require.NoError(t, err)
			require.Equal(t, "EFT01", state(t, sim).Group(group).Owner)
		}
	})
}

// TestAnUndoIsSeen takes the failback guard back on a cluster that answers and does nothing.
func TestAnUndoIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, style := range []clustertest.Style{clustertest.StyleWindows, clustertest.StylePacemaker} {
			sim, c := newSim(t, style)
			p := transfer(t, c, cluster.AfterMoveStay)
			j := failovertest.Journal(t)
			_, err := p.Run(t.Context(), by(j, park("move/move")))
			require.ErrorIs(t, err, failover.ErrWaiting)
			require.NoError(t, sim.Break("set-failback", clustertest.BreakIgnores))
			report, err := p.Undo(t.Context(), by(j, nil))
			require.Error(t, err)
			require.NotEqual(t, failover.StatusUndone, status(report, "prepare/failback"))
			require.NotEqual(t, failover.ResultUndone, report.Result)
			require.NotEmpty(t, state(t, sim).Marks, "the lock is kept")
			require.NoError(t, sim.Heal())
			report, err = p.Undo(t.Context(), by(j, nil))
			require.NoError(t, err)
			require.Equal(t, failover.StatusUndone, status(report, "prepare/failback"))
			m := state(t, sim)
			require.Equal(t, cluster.FailbackAllowed, m.Group(group).Failback.Policy)
			require.Empty(t, m.Marks)
		}
	})
}

// TestACrashAtEveryRecord lets the process die at each record of a transfer there and back.
func TestACrashAtEveryRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, style := range []clustertest.Style{clustertest.StyleWindows, clustertest.StylePacemaker} {
			crashes := failovertest.CrashEverywhere(t, func(tb testing.TB) failovertest.World {
				sim, _ := newSim(t, style)
				return failovertest.World{
					Procedure: func(testing.TB) failover.Procedure {
						c, err := sim.Cluster()
						require.NoError(tb, err)
						return transfer(t, c, cluster.AfterMoveBack)
					},
					Verify: func(testing.TB) {
						m := state(t, sim)
						require.Equal(tb, "EFT01", m.Group(group).Owner)
						require.Equal(tb, cluster.StateOnline, m.GroupState(group))
						require.Equal(tb, map[string]int{group + " to EFT01": 1, group + " to EFT02": 1}, m.Counters.MovesByTarget)
						require.Equal(tb, cluster.FailbackAllowed, m.Group(group).Failback.Policy)
						require.Empty(tb, m.Group(group).Standing)
						require.Empty(tb, m.Marks)
						require.Zero(tb, m.Counters.TwoOwners)
					},
				}
			})
			require.Greater(t, crashes, 60)
		}
	})
}
