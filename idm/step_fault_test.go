package idm_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// scene is a procedure on one driver, and a world in which each of its steps has something to do.
type scene struct {
	name   string
	cfg    func(*idmtest.Config)
	before func(*move)
	build  func(m *move, o ...func(*idm.Config)) (failover.Procedure, error)
	moved  func(*move) // requires the end of an undisturbed run
	back   func(*move) // requires what an undo leaves
	steps  map[string]idmtest.Injection
}

func isModify(attribute string) idmtest.Injection {
	return idmtest.Injection{Server: "srv2", Op: idmtest.OperationModify,
		If: func(r idmtest.Request) bool { return slices.Contains(r.Attributes, attribute) }}
}

func on(server string, operation int) idmtest.Injection {
	return idmtest.Injection{Server: server, Extended: operation}
}

// moveSteps are the steps that a planned move has in both directions.
func moveSteps() map[string]idmtest.Injection {
	return map[string]idmtest.Injection{"prepare/copy-data": isModify("DirXML-ShimConfigInfo"),
		"prepare/passwords": on("srv2", 75), "stop/stop": on("srv1", 17), "stop/disable-source": on("srv1", 9),
		"start/enable-manual": on("srv2", 9), "start/start": on("srv2", 15), "moved/close-gap": on("srv2", 23),
		"moved/jobs": isModify("DirXML-ServerList"), "moved/verify": on("srv2", 15), "finish/auto": on("srv2", 9)}
}

func scenes() []scene {
	unprepared := func(c *idmtest.Config) { c.Servers = []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2"}} }
	outside := func(c *idmtest.Config) {
		c.Servers = []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}
	}
	with := func(steps map[string]idmtest.Injection, step string, f idmtest.Injection) map[string]idmtest.Injection {
		steps[step] = f
		return steps
	}
	home := func(m *move) { m.stand("srv1", "srv2", idmtest.StartAuto) }
	away := func(m *move) { m.stand("srv2", "srv1", idmtest.StartAuto) }
	switchWith := func(build func(idm.SwitchoverOptions) (failover.Procedure, error)) func(m *move,
		o ...func(*idm.Config)) (failover.Procedure, error) {
		return func(m *move, o ...func(*idm.Config)) (failover.Procedure, error) {
			return build(idm.SwitchoverOptions{Route: m.route(open(m.t, m.tree, "srv2", o...)),
				Source: open(m.t, m.tree, "srv1", o...), CacheDir: m.dir})
		}
	}
	gone := func(data idm.ServerDataFrom) func(m *move, o ...func(*idm.Config)) (failover.Procedure, error) {
		return func(m *move, opts ...func(*idm.Config)) (failover.Procedure, error) {
			o := idm.FailoverOptions{Route: m.route(open(m.t, m.tree, "srv2", opts...)), SourceDN: "cn=srv1,ou=servers,o=system",
				SourceDead: dead, Since: aWhileAgo, Data: data,
				TrySource: func(ctx context.Context) (*idm.Server, error) {
					return idm.Dial(ctx, asAdmin(m.tree, "srv1", opts...))
				}}
			if data != idm.ServerDataFromPreparation {
				o.Export = m.export()
			}
			return idm.Failover(o)
		}
	}
	alone := func(m *move) { m.stand("srv2", "", idmtest.StartAuto) }
	out := func(m *move) {
		for _, d := range m.drivers {
			require.Equal(m.t, idmtest.StateStopped, m.tree.Server("srv2").State(d))
			require.Equal(m.t, idmtest.StartDisabled, m.tree.Server("srv2").StartOption(d))
		}
	}
	return []scene{
		{name: "prepare", cfg: outside, moved: home, back: home,
			steps: map[string]idmtest.Injection{"prepare/add-server": on("srv2", 3),
				"prepare/copy-data": isModify("DirXML-ShimConfigInfo"), "prepare/passwords": on("srv2", 75)},
			build: func(m *move, o ...func(*idm.Config)) (failover.Procedure, error) {
				return idm.Prepare(idm.PrepareOptions{Route: m.route(open(m.t, m.tree, "srv2", o...)),
					Source: open(m.t, m.tree, "srv1", o...), Export: m.export()})
			}},
		{name: "prepare", cfg: unprepared, moved: home,
			back:  func(m *move) { require.Equal(m.t, []string{"srv1"}, m.tree.Active(m.drivers[0])) },
			steps: map[string]idmtest.Injection{"prepare/keep-disabled": on("srv2", 9)},
			before: func(m *move) {
				require.NoError(m.t, open(m.t, m.tree, "srv2").SetStartOption(m.t.Context(), m.drivers[0], idm.StartManual,
					idm.ResyncNone))
			},
			build: func(m *move, o ...func(*idm.Config)) (failover.Procedure, error) {
				return idm.Prepare(idm.PrepareOptions{Route: m.route(open(m.t, m.tree, "srv2", o...)),
					Source: open(m.t, m.tree, "srv1", o...), Export: m.export()})
			}},
		{name: "switchover", cfg: unprepared, build: switchWith(idm.Switchover), moved: away, back: home,
			steps: with(moveSteps(), "moved/jobs", on("srv2", 53))},
		{name: "failback", cfg: unprepared, build: switchWith(idm.Failback), moved: away, back: home, steps: moveSteps()},
		{name: "failover", before: func(m *move) { m.tree.Server("srv1").Kill() }, build: gone(idm.ServerDataFromPreparation),
			moved: alone, back: out,
			steps: map[string]idmtest.Injection{"prepare/passwords": on("srv2", 75), "start/enable-manual": on("srv2", 9),
				"start/start": on("srv2", 15), "moved/close-gap": on("srv2", 23),
				"moved/jobs": isModify("DirXML-ServerList"), "moved/verify": on("srv2", 15), "finish/auto": on("srv2", 9)}},
		{name: "failover", cfg: outside, build: gone(idm.ServerDataFromExport), moved: alone, back: out,
			before: func(m *move) {
				_, err := open(m.t, m.tree, "srv1").SaveExport(m.t.Context(), m.export().Path,
					idm.ExportOptions{Base: idmtest.DriverSetDN})
				require.NoError(m.t, err)
				m.tree.Server("srv1").Kill()
			},
			steps: map[string]idmtest.Injection{"prepare/add-server": on("srv2", 3),
				"prepare/server-data": isModify("DirXML-ShimConfigInfo")}},
		{name: "guard", steps: map[string]idmtest.Injection{"guard/disable": on("srv2", 9)}, moved: home,
			before: func(m *move) {
				require.NoError(m.t, open(m.t, m.tree, "srv2").SetStartOption(m.t.Context(), m.drivers[0], idm.StartManual,
					idm.ResyncNone))
			},
			build: func(m *move, o ...func(*idm.Config)) (failover.Procedure, error) {
				return idm.GuardOldServer(idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers,
					Active: open(m.t, m.tree, "srv1", o...),
					OldDN:  "cn=srv2,ou=servers,o=system", Poll: 2 * time.Millisecond,
					Dial: func(ctx context.Context) (*idm.Server, error) {
						return idm.Dial(ctx, asAdmin(m.tree, "srv2", o...))
					}})
			}},
	}
}

// trouble is what happens to the request of a step.
type trouble struct {
	name string
	arm  func(*faults, idmtest.Injection)
	// certain: the step's effect cannot be seen afterwards, or is not there: it ends in doubt, and with it the run.
	certain bool
	calls   time.Duration
}

// faults are the faults of one test.
type faults struct {
	*patience
	tree *idmtest.Tree
	mu   sync.Mutex
	list []*idmtest.Injected
}

func (f *faults) inject(fault idmtest.Injection, kind idmtest.FaultKind, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault.Kind, fault.Times = kind, times
	f.list = append(f.list, f.tree.Inject(fault))
}

// heal ends all faults and brings the servers up that they killed.
func (f *faults) heal(t *testing.T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	require.NotEmpty(t, f.list, "the step had nothing to do")
	require.NotZero(t, f.list[0].Hits(), "the fault did not happen")
	if f.late != nil {
		f.late()
	}
	for _, i := range f.list {
		i.Remove()
	}
}

func troubles() []trouble {
	return []trouble{
		{name: "reply lost, then everything refused", certain: true, arm: func(f *faults, at idmtest.Injection) {
			at.Do = func() {
				f.inject(idmtest.Injection{Server: at.Server, NDS: -672,
					If: func(r idmtest.Request) bool { return r.Op != idmtest.OperationBind && r.DN != "" }}, idmtest.FaultRefusal, -1)
			}
			f.inject(at, idmtest.FaultDropReply, 1)
		}},
		{name: "reply lost, then unreachable", certain: true,
			arm: func(f *faults, at idmtest.Injection) { f.inject(at, idmtest.FaultKillReply, 1) }},
		{name: "unknown word, no effect", certain: true, arm: func(f *faults, at idmtest.Injection) {
			at.Code, at.Text = 79, "what happened has no name"
			f.inject(at, idmtest.FaultRefusal, -1)
		}},
		{name: "unknown word, effect",
			arm: func(f *faults, at idmtest.Injection) { f.inject(at, idmtest.FaultUnknownReply, -1) }},
		{name: "empty success", certain: true, arm: func(f *faults, at idmtest.Injection) {
			f.inject(f.lie(at), idmtest.FaultEmptySuccess, -1)
			f.inject(f.asked(), 0, -1)
		}},
		{name: "late effect", calls: 3 * time.Second, arm: func(f *faults, at idmtest.Injection) {
			hold, landed := make(chan struct{}), make(chan struct{})
			at.Hold, at.Do = hold, func() { close(landed) }
			f.inject(at, idmtest.FaultSlowRequest, 1)
			come := sync.OnceFunc(func() {
				close(hold)
				<-landed
			})
			f.late = func() {
				if f.list[0].Hits() > 0 {
					come()
				}
			}
		}},
	}
}

// unlike names the steps that a trouble leaves in another state than in doubt, and why.
var unlike = map[string]failover.StepStatus{
	// Neither can be read back: what the server says is all there is.
	"moved/close-gap/empty success": failover.StatusApplied, "notify/empty success": failover.StatusApplied,
	// The standby has a password of that name already.
	"ready password/empty success": failover.StatusApplied,
}

// Every step of every procedure that changes something, and every way to lose sight of it: what the step, the report,
// the plan of the undo and the lock say, and that both ways out of it work.
func TestEveryStepUnderEveryTrouble(t *testing.T) {
	type cell struct {
		scene
		trouble
		step string
		undo bool
	}
	var cells []cell
	for _, s := range scenes() {
		for step := range s.steps {
			for _, tr := range troubles() {
				for _, undo := range []bool{false, true} {
					if !undo || s.back != nil {
						cells = append(cells, cell{s, tr, step, undo})
					}
				}
			}
		}
	}
	work := make(chan cell)
	var workers sync.WaitGroup
	for range 12 { // most of the time is waiting
		workers.Go(func() {
			for c := range work {
				way := "resume"
				if c.undo {
					way = "undo"
				}
				t.Run(c.scene.name+"/"+c.step+"/"+c.trouble.name+"/"+way,
					func(t *testing.T) { stepInTrouble(t, c.scene, c.step, c.trouble, c.undo) })
			}
		})
	}
	for _, c := range cells {
		work <- c
	}
	close(work)
	workers.Wait()
	t.Logf("%d steps under trouble", len(cells))
}

func stepInTrouble(t *testing.T, s scene, step string, tr trouble, undo bool) {
	m := s.open(t)
	build := func(o ...func(*idm.Config)) failover.Procedure {
		p, err := s.build(m, o...)
		require.NoError(t, err)
		return p
	}
	var opts []func(*idm.Config)
	if tr.calls > 0 {
		opts = append(opts, callTimeout(tr.calls))
	}
	id, p := step, build(opts...)
	ctx, w := patient(t)
	p = w.watch(p, id)
	j, f := failovertest.Journal(t), &faults{patience: w, tree: m.tree}
	o := options(j)
	o.Gate = func(ctx context.Context, q failover.Request) (failover.Approval, error) {
		switch {
		case q.Step.ID == id && len(f.list) == 0:
			tr.arm(f, s.steps[step])
		case step == "moved/verify" && q.Step.ID == "moved/jobs" && q.Attempt == 1:
			two := open(t, m.tree, "srv2")
			require.NoError(t, two.Stop(ctx, m.drivers[0]))
			require.NoError(t, m.tree.WaitState(ctx, "srv2", m.drivers[0], idmtest.StateStopped))
		}
		return failover.Approval{By: "ann"}, nil
	}
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventStepEnded && e.Step.ID == id {
			w.over.Store(true)
		}
	}
	r, err := p.Run(ctx, o)
	m.neverTwo()
	f.heal(t)
	for _, server := range m.tree.Servers() {
		if !server.Up() && !(s.name == "failover" && server.Name() == "srv1") {
			require.NoError(t, server.Start())
		}
	}
	got, _ := r.Step(id)
	want := failover.StatusInDoubt
	key := step
	switch {
	case s.steps[step].Extended == 53:
		key = "notify"
	case s.name == "failover" && step == "prepare/passwords":
		key = "ready password"
	}
	if status, other := unlike[key+"/"+tr.name]; other {
		want = status
	} else if !tr.certain && err == nil {
		want = failover.StatusApplied
	}
	require.Equal(t, want, got.Status, "%v\n%s", err, r)
	requireConsistent(t, m, p, j, r, id, err)

	o = options(j)
	p = build()
	if !undo {
		if err != nil {
			_, err = p.Run(t.Context(), o)
			require.NoError(t, err)
		}
		s.moved(m)
		return
	}
	_, err = p.Undo(t.Context(), o)
	if errors.Is(err, failover.ErrInDoubt) {
		require.NoError(t, j.Resolve(id, failover.Applied, "ann", "it may be there: the undo is safe to repeat"))
		_, err = p.Undo(t.Context(), o)
	}
	require.NoError(t, err)
	s.back(m)
}

// requireConsistent compares what the report says of the whole with what it says of the step.
func requireConsistent(t *testing.T, m *move, p failover.Procedure, j *failover.Journal, r *failover.Report, id string,
	err error) {
	t.Helper()
	got, _ := r.Step(id)
	plan := p.UndoPlan(j)
	inPlan := slices.ContainsFunc(plan.Steps, func(u failover.UndoStep) bool { return u.ID == id })
	switch {
	case err == nil:
		require.Equal(t, failover.ResultCompleted, r.Result)
	case got.Status == failover.StatusInDoubt:
		require.Equal(t, failover.ResultInDoubt, r.Result)
		require.ErrorIs(t, err, failover.ErrInDoubt)
	default:
		require.Equal(t, failover.ResultPartWay, r.Result)
	}
	require.Equal(t, got.Status != failover.StatusFailed, inPlan, "what may be in effect is in the plan of the undo")
	if err != nil {
		require.NotEmpty(t, failover.NextOf(err))
	}
	if p.Lock == nil {
		return
	}
	_, held, lockErr := idm.DirectoryLock{Server: open(t, m.tree, "srv2"), Entry: idmtest.DriverSetDN}.Holder(t.Context())
	require.NoError(t, lockErr)
	require.Equal(t, err != nil, held, "the lock stays while something is half-way")
}

var aWhileAgo = time.Now().Add(-time.Hour)
