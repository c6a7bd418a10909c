package efttest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// scene is a procedure with the world in which it can be run from its beginning.
type scene struct {
	name   string
	layout efttest.Layout
	faults []string
	// begin brings the world to where the procedure begins; nil: it is there.
	begin func(t *testing.T, w *efttest.World)
	with  func(t *testing.T, w *efttest.World, o eft.Options) failover.Procedure
}

// build is the procedure as the world describes it.
func (s scene) build(t *testing.T, w *efttest.World) failover.Procedure {
	t.Helper()
	o, err := w.Options()
	require.NoError(t, err)
	return s.with(t, w, o)
}

// made is a procedure that needs nothing of the world but its options.
func made(procedure func(eft.Options) (failover.Procedure, error)) func(*testing.T, *efttest.World,
	eft.Options) failover.Procedure {
	return func(t *testing.T, _ *efttest.World, o eft.Options) failover.Procedure {
		t.Helper()
		p, err := procedure(o)
		require.NoError(t, err)
		return p
	}
}

func fromWorld(t *testing.T, w *efttest.World) failover.Procedure {
	t.Helper()
	p, err := w.Procedure()
	require.NoError(t, err)
	return p
}

// scenes are all procedures of package eft. The rollback is that of an upgrade that lost a setting.
var scenes = []scene{
	{name: "Upgrade", layout: efttest.LayoutLocal, with: made(eft.Upgrade)},
	{name: "UpgradeShared", layout: efttest.LayoutShared, with: made(eft.UpgradeShared)},
	{name: "Rollback", layout: efttest.LayoutLocal, faults: []string{"setting-lost", "renames-service"}, begin: giveUp,
		with: rollbackWith},
}

// giveUp runs an upgrade until it stops, and gives its lock back as the person does who takes it over.
func giveUp(t *testing.T, w *efttest.World) {
	t.Helper()
	o, err := w.Options()
	require.NoError(t, err)
	o.Verify = 500 * time.Millisecond
	require.ErrorIs(t, play(t, w, o, nil), eft.ErrSettings)
	require.NoError(t, w.Update(func(m *clustertest.Model, _ *efttest.State) error {
		m.Marks, m.Requests = map[string]string{}, nil
		return nil
	}))
}

// open makes a world in which the procedure can begin.
func (s scene) open(t *testing.T, dir string) *efttest.World {
	t.Helper()
	w := open(t, dir, s.layout)
	for _, fault := range s.faults {
		require.NoError(t, w.Arm(fault))
	}
	if s.begin != nil {
		s.begin(t, w)
	}
	return w
}

// ended wants the world as an undisturbed run leaves it.
func (s scene) ended(t *testing.T, w *efttest.World) {
	t.Helper()
	if s.name != "Rollback" {
		upgraded(t, w)
		return
	}
	rolledBack(t, w)
}

// rolledBack wants the old version to serve with the settings from before.
func rolledBack(t *testing.T, w *efttest.World) {
	t.Helper()
	s, m, err := w.State()
	require.NoError(t, err)
	require.Equal(t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
	require.Equal(t, efttest.OldService, m.Resource(efttest.Group+" Service").Service,
		"the old program registers the old name")
	require.Equal(t, eft.StartDisabled, s.Nodes[efttest.PassiveNode].StartMode)
	require.Equal(t, settingsBefore(t, efttest.LayoutLocal), s.Config.Values)
	require.Empty(t, m.Marks)
	require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
	two, err := w.TwoActive()
	require.NoError(t, err)
	require.False(t, two)
}

// copyOf is a world of its own that begins where another one stands.
func copyOf(t *testing.T, dir string, l efttest.Layout) *efttest.World {
	t.Helper()
	to := filepath.Join(t.TempDir(), "pair")
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return open(t, to, l)
}

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

// agree agrees to every change but the one that is called park, and calls at before it agrees.
func agree(park string, at func(id string)) failover.Gate {
	return func(_ context.Context, r failover.Request) (failover.Approval, error) {
		if r.Step.ID == park {
			return failover.Approval{}, failover.ErrWaiting
		}
		if at != nil {
			at(r.Step.ID)
		}
		return failover.Approval{By: "ben"}, nil
	}
}

func options(w *efttest.World, j *failover.Journal, gate failover.Gate) failover.RunOptions {
	return failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Gate: gate, Confirm: w.Confirm}
}

func status(r *failover.Report, id string) failover.StepStatus {
	for _, s := range r.Steps {
		if s.ID == id {
			return s.Status
		}
	}
	return failover.StatusNotReached
}

// stands is up to which step each check has to hold. What our own steps make untrue stands until the step that does.
var stands = map[string]map[string]string{
	"Upgrade": {
		"check/reachable": "back/move", "check/quorum": "back/move", "check/nodes": "back/move", "check/disks": "back/move",
		"check/maintenance": "back/move",
		"check/backup":      "back/move", "check/stop-time": "back/move", "check/reboot": "back/move",
		"check/build": "back/move", "check/target": "move/move",
		"check/group": "rename/resource", "check/mode": "rename/resource", // it may take the group offline
		"check/owner": "move/move", "check/other-nodes": "back/move", "check/service-group": "back/move",
		"check/versions": "active/install",
		// it disables the service
		"check/installed": "passive/guard",
		// an installer runs, and may start the service
		"check/service": "passive/install", "check/busy": "passive/install", "check/account": "passive/install",
		// they are about what comes there
		"check/files": "stage/active", "check/space": "stage/passive", "check/settings": "prepare/settings",
		"stage/compare": "active/install", "passive/ready": "install", "active/ready": "install",
		"passive/no-clean-config": "move/move", "passive/verify": "move/move", "active/no-clean-config": "back/move",
		"active/verify":  "back/move",
		"arrived/verify": "back/move", "moved/service": "active/install", "moved/version": "active/install",
		"moved/settings": "active/install", "moved/licence": "active/install",
		"upgraded/service": "back/move", "upgraded/version": "back/move", "upgraded/settings": "back/move",
		"upgraded/licence": "back/move",
		"returned/verify":  "", "home/service": "", "home/version": "", "home/settings": "", "home/licence": "",
		"finish/verify": "",
	},
	"UpgradeShared": {
		"check/reachable": "back/move", "check/quorum": "back/move", "check/nodes": "back/move", "check/disks": "back/move",
		"check/maintenance": "back/move",
		"check/backup":      "back/move", "check/stop-time": "back/move", "check/reboot": "back/move",
		"check/build": "back/move", "check/target": "move/move",
		"check/group": "offline/group", "check/mode": "offline/group", "check/installed": "offline/group",
		"check/service": "offline/group",
		"check/owner":   "move/move", "check/other-nodes": "back/move", "check/versions": "passive/install",
		"check/service-group": "passive/install", // a new name is known to the cluster only behind it
		"check/busy":          "active/install", "check/account": "active/install",
		"check/files": "stage/active", "check/space": "stage/passive", "check/settings": "prepare/settings",
		"stage/compare": "passive/install", "offline/active": "move/move", "active/down": "move/move",
		"passive/ready": "install", "active/ready": "install",
		"active/no-clean-config": "move/move", "passive/no-clean-config": "back/move", "passive/verify": "back/move",
		"active/verify":  "disk-offline", // without the disk the program cannot be read
		"arrived/verify": "back/move", "upgraded/service": "back/move", "upgraded/version": "back/move",
		"upgraded/settings": "back/move", "upgraded/licence": "back/move",
		"returned/verify": "", "home/service": "", "home/version": "", "home/settings": "", "home/licence": "",
		"finish/verify": "",
	},
	"Rollback": {
		"check/old-version": "online/group", "check/busy": "online/group",
		"offline/down":   "move/move",
		"arrived/verify": "", "verify/service": "", "verify/version": "", "finish/verify": "",
	},
}

func TestChecksStandUpToTheStepTheyGuard(t *testing.T) {
	for _, sc := range scenes {
		found := map[string]string{}
		for _, stage := range sc.build(t, sc.open(t, t.TempDir())).Stages {
			for _, s := range stage.Steps {
				if s.Kind == failover.Check {
					found[stage.Name+"/"+s.ID] = s.Guards
					require.False(t, s.Entry, s.ID)
				}
			}
		}
		require.Equal(t, stands[sc.name], found, sc.name)
	}
}

// TestAPersonsInstallationMayMakeNoCheckFail: while the run waits for a person who runs the installer, no check stands
// that what they do makes untrue.
func TestAPersonsInstallationMayMakeNoCheckFail(t *testing.T) {
	for _, fault := range []string{"starts-anyway", "resets-service", "renames-service"} {
		for name, l := range layouts {
			w := efttest.Start(t, l)
			require.NoError(t, w.Arm(fault))
			o, err := w.Options()
			require.NoError(t, err)
			o.Installer.Mode, o.Installer.Args = eft.ModeByOperator, nil
			build := eft.Upgrade
			if l == efttest.LayoutShared {
				build = eft.UpgradeShared
			}
			p, err := build(o)
			require.NoError(t, err)
			j := failovertest.Journal(t)
			for range 6 { // the word of a person, then the same journal again
				ro := options(w, j, nil)
				waits := ""
				ro.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
					waits = q.Step.ID
					_, err := w.Confirm(ctx, q)
					return failover.Statement{}, fmt.Errorf("%w: %w", failover.ErrWaiting, err)
				}
				_, err = p.Run(t.Context(), ro)
				if waits == "" || waits == "consoles/ADMIN-PC" {
					break
				}
				require.ErrorIs(t, err, failover.ErrWaiting, "%s %s", name, fault)
			}
			_, err = p.Run(t.Context(), options(w, j, nil))
			require.NoError(t, err, "%s %s", name, fault)
			s, m, err := w.State()
			require.NoError(t, err)
			require.Equal(t, map[string]int{efttest.ActiveNode: 1, efttest.PassiveNode: 1}, s.Counters.InstallerRuns)
			require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
			two, err := w.TwoActive()
			require.NoError(t, err)
			require.False(t, two)
		}
	}
}

// TestAStepThatWaitedIsNotFiredWhenACheckFailsMeanwhile parks before each step that cannot be repeated, and breaks each
// standing check in turn while the person is asked.
func TestAStepThatWaitedIsNotFiredWhenACheckFailsMeanwhile(t *testing.T) {
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := sc.open(t, dir)
			store := failovertest.NewStore("parked")
			steps := sc.build(t, w).AllSteps()
			fired := 0
			for i, once := range steps {
				if once.Kind != failover.Once {
					continue
				}
				fired++
				j, err := store.Journal()
				require.NoError(t, err)
				_, err = sc.build(t, w).Run(t.Context(), options(w, j, agree(once.ID, nil)))
				require.ErrorIs(t, err, failover.ErrWaiting, once.ID)
				require.NoError(t, j.Close())
				for _, check := range steps[:i] {
					if check.Kind != failover.Check ||
						slices.IndexFunc(steps, func(s failover.Step) bool { return s.ID == check.Guards }) < i {
						continue
					}
					world := copyOf(t, dir, sc.layout)
					j, err := store.Copy("parked").Journal()
					require.NoError(t, err)
					fails, asked := false, false
					p := edit(t, sc.build(t, world), check.ID, func(s *failover.Step) {
						inner := s.Observe
						s.Timeout = time.Second
						s.Observe = func(ctx context.Context) (failover.Observation, error) {
							if fails {
								return failover.Observation{}, fmt.Errorf("%w: broken meanwhile", failover.ErrPrecondition)
							}
							return inner(ctx)
						}
					})
					o := options(world, j, agree("", func(id string) { asked, fails = asked || id == once.ID, true }))
					holder, held, err := p.Lock.Holder(t.Context())
					require.NoError(t, err)
					require.True(t, held)
					require.NoError(t, p.TakeOverLock(t.Context(), o, holder))
					report, err := p.Run(t.Context(), o)
					require.True(t, asked, "%s %s: %v", once.ID, check.ID, err)
					require.ErrorIs(t, err, failover.ErrPrecondition, "%s %s", once.ID, check.ID)
					require.NotContains(t, []failover.StepStatus{failover.StatusApplied, failover.StatusAlready,
						failover.StatusInDoubt}, status(report, once.ID),
						"%s %s", once.ID, check.ID)
					require.NoError(t, j.Close())
				}
			}
			require.Equal(t, map[string]int{"Upgrade": 4, "UpgradeShared": 4, "Rollback": 1}[sc.name], fired)
		})
	}
}

// TestWhatBreaksWhileTheInstallerWaitsIsSeen arms each fault that an upgrade refuses while the first installer waits
// for a person.
func TestWhatBreaksWhileTheInstallerWaitsIsSeen(t *testing.T) {
	for _, sc := range scenes[:2] {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := sc.open(t, dir)
			store := failovertest.NewStore("parked")
			j, err := store.Journal()
			require.NoError(t, err)
			once := map[string]string{"Upgrade": "passive/install", "UpgradeShared": "active/install"}[sc.name]
			_, err = sc.build(t, w).Run(t.Context(), options(w, j, agree(once, nil)))
			require.ErrorIs(t, err, failover.ErrWaiting)
			require.NoError(t, j.Close())
			harmless := []string{"no-space"} // the room is taken up by then
			if sc.name == "UpgradeShared" {
				// The group is down by then: it is moved offline, and the move itself refuses what is about it.
				harmless = append(harmless, "ha", "wrong-product", "both-running", "move-locked")
			}
			for _, fault := range efttest.Faults(sc.layout) {
				if fault.Ending != clustertest.EndingRefused || slices.Contains(harmless, fault.Name) {
					continue
				}
				world := copyOf(t, dir, sc.layout)
				require.NoError(t, world.Arm(fault.Name))
				j, err := store.Copy("parked").Journal()
				require.NoError(t, err)
				p := sc.build(t, world)
				o := options(world, j, nil)
				holder, held, err := p.Lock.Holder(t.Context())
				if err == nil && held {
					require.NoError(t, p.TakeOverLock(t.Context(), o, holder))
				}
				_, err = p.Run(t.Context(), o)
				require.Error(t, err, fault.Name)
				s, _, stateErr := world.State()
				require.NoError(t, stateErr)
				require.Empty(t, s.Counters.InstallerRuns, fault.Name)
				require.ErrorIs(t, err, failover.ErrPrecondition, fault.Name)
				require.NoError(t, j.Close())
			}
		})
	}
}

// TestAnApprovedPlanRunsThrough approves the plan and runs without anybody to ask.
func TestAnApprovedPlanRunsThrough(t *testing.T) {
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			if sc.name == "Rollback" {
				sc.faults = []string{"setting-lost"} // a service with a new name is another decision
			}
			w := sc.open(t, t.TempDir())
			p := sc.build(t, w)
			plan, err := p.Plan(t.Context(), nil)
			require.NoError(t, err)
			o := options(w, failovertest.Journal(t), nil)
			o.Approved = plan.Findings
			_, err = p.Run(t.Context(), o)
			require.NoError(t, err)
			sc.ended(t, w)
		})
	}
}

// TestUndosAreSeen takes back each step that can be, in a world that answers and does nothing; then in one that does.
func TestUndosAreSeen(t *testing.T) {
	for name, tests := range map[string][]struct{ step, park, verb string }{
		"Upgrade": {{"passive/guard", "passive/install", "configure-service"},
			{"prepare/failback", "passive/install", "set-failback"}},
		"UpgradeShared": {{"active/guard", "active/install", "configure-service"},
			{"active/disk-online", "active/install", "resource-offline"}, {"offline/group", "active/install", "online"}},
		"Rollback": {{"offline/guard", "move/move", "configure-service"}, {"offline/group", "move/move", "online"}},
	} {
		sc := scenes[slices.IndexFunc(scenes, func(s scene) bool { return s.name == name })]
		dir := t.TempDir()
		sc.open(t, dir)
		for _, tt := range tests {
			w := copyOf(t, dir, sc.layout)
			before, model, err := w.State()
			require.NoError(t, err)
			p := edit(t, sc.build(t, w), tt.step, func(s *failover.Step) { s.Timeout = time.Second })
			j := failovertest.Journal(t)
			_, err = p.Run(t.Context(), options(w, j, agree(tt.park, nil)))
			require.ErrorIs(t, err, failover.ErrWaiting)
			require.NoError(t, w.Break(tt.verb, clustertest.BreakIgnores))
			report, err := p.Undo(t.Context(), options(w, j, nil))
			require.Error(t, err, "%s %s", name, tt.step)
			require.NotEqual(t, failover.StatusUndone, status(report, tt.step), "%s %s", name, tt.step)
			require.NoError(t, w.Heal())
			report, err = p.Undo(t.Context(), options(w, j, nil))
			require.NoError(t, err, "%s %s", name, tt.step)
			require.Equal(t, failover.StatusUndone, status(report, tt.step))
			require.Equal(t, failover.ResultUndone, report.Result)
			after, now, err := w.State()
			require.NoError(t, err)
			require.Equal(t, model.GroupState(efttest.Group), now.GroupState(efttest.Group))
			require.Equal(t, model.Group(efttest.Group).Failback, now.Group(efttest.Group).Failback)
			require.Equal(t, model.Group(efttest.Group).Owner, now.Group(efttest.Group).Owner)
			for node, n := range before.Nodes {
				require.Equal(t, n.StartMode, after.Nodes[node].StartMode)
			}
			require.Empty(t, now.Marks)
		}
	}
}
