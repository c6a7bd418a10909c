package symitar_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/runbook"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// ending is what a run says of a step that met a fault.
type ending struct {
	status failover.StepStatus
	result failover.Result
	exit   runbook.ExitStatus
	undo   bool // the plan of the undo has the step
	locked bool // the procedure keeps its lock
}

var (
	completes = ending{failover.StatusApplied, failover.ResultCompleted, runbook.ExitDone, true, false}
	doubt     = ending{failover.StatusInDoubt, failover.ResultInDoubt, runbook.ExitInDoubt, true, true}
	// a step before it is in effect
	refused = ending{failover.StatusFailed, failover.ResultPartWay, runbook.ExitPartWay, false, true}
	nothing = ending{failover.StatusFailed, failover.ResultFailed, runbook.ExitNotDone, false, false} // nor anything else
)

// row is how a step ends by what becomes of the requests with its script.
type row map[symitartest.Break]ending

var (
	// seen is a step whose effect can be seen whatever was answered. A request whose line drops may arrive late.
	seen = row{symitartest.BreakLosesReply: completes, symitartest.BreakLosesHost: doubt, symitartest.BreakRefuses: doubt,
		symitartest.BreakUnsent:  doubt,
		symitartest.BreakGarbles: completes, symitartest.BreakIgnores: doubt, symitartest.BreakDelays: completes}
	// launched is the macro: the marks on the host tell whether it was fired, and keep a launcher away that comes late.
	launched = row{symitartest.BreakLosesReply: completes, symitartest.BreakLosesHost: doubt,
		symitartest.BreakRefuses: doubt, symitartest.BreakUnsent: refused,
		symitartest.BreakGarbles: completes, symitartest.BreakIgnores: refused, symitartest.BreakDelays: completes}
	// reserved is the launcher's lock, without which no launcher is sent.
	reserved = row{symitartest.BreakLosesReply: refused, symitartest.BreakLosesHost: refused,
		symitartest.BreakRefuses: refused, symitartest.BreakUnsent: refused,
		symitartest.BreakGarbles: refused, symitartest.BreakIgnores: refused, symitartest.BreakDelays: refused}
)

// request is a script by which a step changes something, and how the step ends by what becomes of it.
type request struct {
	script string
	row    row
}

var requests = map[string][]request{
	"quiet/stop-agent": {{"agent.sh", seen}},
	"macro/run":        {{"reserve.sh", reserved}, {"launch.sh", launched}},
	"archive/lock":     {{"acknowledge.sh", seen}},
	"agent/start":      {{"agent.sh", seen}},
}

// theater is a procedure, and a pair on which each of its steps has something to do.
type theater struct {
	name   string
	build  func(*symitar.Pair) (failover.Procedure, error)
	before func(*testing.T, *bench)
	after  string // the primary at the end
}

var theaters = []theater{
	{"Switchover", symitar.Switchover, func(*testing.T, *bench) {}, symitartest.Partner},
	{"Failover", gone, func(t *testing.T, b *bench) { require.NoError(t, b.sim.PowerOff(symitartest.Home)) },
		symitartest.Partner},
	{"Failback", symitar.Failback, func(t *testing.T, b *bench) {
		for name, state := range map[string][]string{symitartest.Home: {"secondary", "stopped"},
			symitartest.Partner: {"primary", "running"}} {
			require.NoError(t, b.sim.Put(name, "etc/role", state[0]+"\n"))
			require.NoError(t, b.sim.Put(name, "etc/agent", state[1]+"\n"))
		}
	}, symitartest.Home},
}

// cell is a request of a step that is broken.
type cell struct {
	step, script string
	want         ending
}

// TestEveryStepUnderEveryFault goes through each procedure once for each fault, which strikes at every request that
// changes something. Whenever that stops the run, it looks at what the run says of the step, at the undo, at the locks
// and at the macro, and goes on with the same journal.
func TestEveryStepUnderEveryFault(t *testing.T) {
	for _, th := range theaters {
		for how := symitartest.BreakLosesReply; how <= symitartest.BreakDelays; how++ {
			t.Run(th.name+"/"+how.String(), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, "")
				th.before(t, b)
				b.cfg.Role.Quorum, b.cfg.Role.Probes = 1, b.cfg.Role.Probes[:1]
				th.under(t, b, how)
			})
		}
	}
}

func (th theater) under(t *testing.T, b *bench, how symitartest.Break) {
	cells, runs := th.cells(t, b, how), 0
	for next := 0; next < len(cells) || runs == 0; runs++ {
		first := next
		report, plan, err := th.run(t, b, how, cells, &next)
		require.Greater(t, next, first, "the run has come no further: %v", err)
		for _, c := range cells[first:next] {
			got, _ := report.Step(c.step)
			if c != cells[next-1] {
				require.Equal(t, completes, c.want, "%s: the run went on", c.step)
			}
			require.Equal(t, c.want.status, got.Status, "%s: %v", c.step, err)
		}
		want := cells[next-1].want
		require.Equal(t, want.result, report.Result, "%s: %v", cells[next-1].step, err)
		require.Equal(t, want.exit, runbook.StatusOf(report))
		require.Equal(t, want.exit != runbook.ExitDone, err != nil && failover.NextOf(err) != "")
		require.Equal(t, want.locked, b.locked(t, "pair.lock"), "the lock is kept until nothing is half-way")
		inPlan := func(u failover.UndoStep) bool { return u.ID == cells[next-1].step }
		once := slices.IndexFunc(plan.Steps, func(u failover.UndoStep) bool { return u.Kind == failover.Once })
		if want != completes { // a completed run may have its last change behind the macro, where no undo comes
			require.Equal(t, want.undo, slices.ContainsFunc(plan.Steps, inPlan),
				"what may be in effect is in the plan of the undo")
		}
		require.Equal(t, b.sim.MacroRuns() == 1, once >= 0)
		if once >= 0 {
			require.Equal(t, len(plan.Steps)-1, once, "an undo never passes the macro")
			require.False(t, plan.Steps[once].Undo)
		}
		require.LessOrEqual(t, b.sim.MacroRuns(), 1)
		t.Logf("%s %s: %s, %s", cells[next-1].step, cells[next-1].script, report.Result, want.status)
	}
	report, _, err := th.run(t, b, symitartest.BreakNothing, nil, new(int))
	require.NoError(t, err)
	require.Equal(t, failover.ResultCompleted, report.Result)
	require.Equal(t, 1, b.sim.MacroRuns())
	require.Zero(t, b.sim.Overlaps())
	require.False(t, b.sim.EverTwoPrimaries())
	require.Equal(t, []string{th.after}, b.sim.Primaries())
	require.True(t, b.sim.AgentRuns(th.after))
	require.False(t, b.locked(t, "pair.lock"))
	require.False(t, b.locked(t, "lock"), "the way back can be fired")
}

// procedure is what changes something in the procedure.
func (th theater) procedure(t *testing.T, pair *symitar.Pair) failover.Procedure {
	p, err := th.build(pair)
	require.NoError(t, err)
	for n, stage := range p.Stages {
		p.Stages[n].Steps = slices.DeleteFunc(stage.Steps,
			func(s failover.Step) bool { return s.Kind != failover.Change && s.Kind != failover.Once })
	}
	return p
}

// cells are the requests of the procedure that change something, in order.
func (th theater) cells(t *testing.T, b *bench, how symitartest.Break) []cell {
	pair, err := symitar.NewPair(b.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	var list []cell
	for i, s := range th.procedure(t, pair).AllSteps() {
		require.NotEmpty(t, requests[s.ID], "%s changes something, and nobody has said by which request", s.ID)
		for _, r := range requests[s.ID] {
			want := r.row[how]
			if want == refused && i == 0 {
				want = nothing
			}
			list = append(list, cell{s.ID, r.script, want})
		}
	}
	return list
}

// run runs with the requests broken from the next one on, one for each step that is applied.
func (th theater) run(t *testing.T, b *bench, how symitartest.Break, cells []cell, next *int) (*failover.Report,
	failover.UndoPlan, error) {
	pair, err := symitar.NewPair(b.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	p := th.procedure(t, pair)
	vain, looked := context.WithCancel(t.Context()) // ends when the host was looked at in vain
	defer looked()
	breaking := func(id string, s *failover.Step) {
		apply, struck := s.Apply, false
		s.Apply = func(ctx context.Context) error {
			if !struck && *next < len(cells) && cells[*next].step == id {
				c := cells[*next]
				struck = true
				*next++
				b.sim.Break(c.script, how)
				if s.Kind == failover.Once && c.want == doubt { // its time is then over
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					context.AfterFunc(vain, cancel)
				}
			}
			return apply(ctx)
		}
	}
	for _, stage := range p.Stages {
		for i := range stage.Steps {
			breaking(stage.Name+"/"+stage.Steps[i].ID, &stage.Steps[i])
		}
	}
	j, err := failovertest.JournalAt(b.journal)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	report, err := p.Run(t.Context(),
		failover.RunOptions{Journal: j, Actor: "tester", Reason: "test", Observer: func(e failover.Event) {
			switch {
			case e.Kind == failover.EventProgress &&
				strings.Contains(e.Text, "to answer, to see whether the macro was launched"):
				looked()
			case e.Kind == failover.EventStepEnded:
				assert.NoError(t, b.sim.Heal()) // each fault is for one step
			}
		}})
	require.True(t, len(cells) == 0 || b.sim.Struck() > 0, "the step has sent nothing of the kind")
	return report, p.UndoPlan(j), err
}

// locked reports whether a host that runs has a lock of that name.
func (b *bench) locked(t *testing.T, name string) bool {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(b.sim.Dir(), "symaix*/var/tmp/failover", name))
	require.NoError(t, err)
	return len(list) > 0
}
