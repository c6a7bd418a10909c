package idm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// move is a tree and what a procedure needs to move its drivers.
type move struct {
	t       *testing.T
	tree    *idmtest.Tree
	drivers []string
	dir     string
}

func newMove(t *testing.T, cfg idmtest.Config) *move {
	tree := idmtest.Start(t, cfg)
	return &move{t: t, tree: tree, drivers: tree.Drivers(), dir: t.TempDir()}
}

func (m *move) route(target *idm.Server) idm.Route {
	return idm.Route{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers, Target: target, Passwords: passwords,
		Settle: 20 * time.Millisecond, Poll: 2 * time.Millisecond, StartTimeout: time.Minute, StopTimeout: time.Minute}
}

func (m *move) export() idm.KeptExport {
	return idm.KeptExport{Path: filepath.Join(m.dir, "drivers.ldif"), MaxAge: time.Hour}
}

func (m *move) prepare() failover.Procedure {
	m.t.Helper()
	p, err := idm.Prepare(idm.PrepareOptions{Route: m.route(open(m.t, m.tree, "srv2")), Source: open(m.t, m.tree, "srv1"), Export: m.export()})
	require.NoError(m.t, err)
	return p
}

func (m *move) switchover(from, to string) failover.Procedure {
	m.t.Helper()
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(open(m.t, m.tree, to)), Source: open(m.t, m.tree, from), CacheDir: m.dir})
	require.NoError(m.t, err)
	return p
}

func (m *move) failback() failover.Procedure {
	m.t.Helper()
	p, err := idm.Failback(idm.SwitchoverOptions{Route: m.route(open(m.t, m.tree, "srv1")), Source: open(m.t, m.tree, "srv2"), CacheDir: m.dir})
	require.NoError(m.t, err)
	return p
}

var dead = failover.Statement{By: "ann", Says: "srv1 has no power and its plug is pulled", Reason: "I stand beside it"}

func (m *move) failover(change func(*idm.FailoverOptions)) failover.Procedure {
	m.t.Helper()
	o := idm.FailoverOptions{Route: m.route(open(m.t, m.tree, "srv2")), SourceDN: "cn=srv1,ou=servers,o=system", SourceDead: dead, Since: time.Now().Add(-time.Hour)}
	if change != nil {
		change(&o)
	}
	p, err := idm.Failover(o)
	require.NoError(m.t, err)
	return p
}

func (m *move) journal(name string) string { return filepath.Join(m.dir, name+".journal") }

func yes(_ context.Context, s failover.Step, _ failover.Observation) (failover.Statement, error) {
	return failover.Statement{By: "ann", Says: s.ID + " is done", Reason: "I did it"}, nil
}

// waived are checks of what the fixture's Remote Loader drivers refer to: certificates nobody made.
func waived(p failover.Procedure) map[string]string {
	for _, s := range p.Steps {
		if strings.HasSuffix(s.ID, "/references") {
			return map[string]string{s.ID: "the certificates of the Remote Loaders are checked by hand"}
		}
	}
	return nil
}

func (m *move) options(j *failover.Journal, p failover.Procedure) failover.RunOptions {
	return failover.RunOptions{Journal: j, Actor: "ann", Reason: "CHG1", Confirm: yes, Waive: waived(p)}
}

func (m *move) run(p failover.Procedure, name string) (*failover.Report, error) {
	m.t.Helper()
	j, err := failover.OpenJournal(m.journal(name))
	require.NoError(m.t, err)
	defer j.Close() //nolint:errcheck // test
	return p.Run(m.t.Context(), m.options(j, p))
}

func (m *move) mustRun(p failover.Procedure, name string) *failover.Report {
	m.t.Helper()
	r, err := m.run(p, name)
	require.NoError(m.t, err, "%s", r)
	return r
}

// stand requires that every driver runs on one server with the option, and is disabled on the other.
func (m *move) stand(on, off string, option idmtest.StartOption) {
	m.t.Helper()
	for _, d := range m.drivers {
		require.Equal(m.t, idmtest.Running, m.tree.Server(on).State(d), "%s on %s", d, on)
		require.Equal(m.t, option, m.tree.Server(on).StartOption(d), "%s on %s", d, on)
		if off != "" {
			require.Equal(m.t, idmtest.Stopped, m.tree.Server(off).State(d), "%s on %s", d, off)
			require.Equal(m.t, idmtest.Disabled, m.tree.Server(off).StartOption(d), "%s on %s", d, off)
		}
	}
	m.neverTwo()
}

func (m *move) neverTwo() {
	m.t.Helper()
	require.Empty(m.t, m.tree.Overlaps(), "a driver was active on two servers")
	for _, d := range m.drivers {
		require.Zero(m.t, m.tree.Counters(d).AutoResyncs, "%s was synchronized without being asked to", d)
	}
}

func (m *move) resyncs(want int) {
	m.t.Helper()
	for _, d := range m.drivers {
		require.Equal(m.t, want, m.tree.Counters(d).Resyncs, d)
	}
}

func TestPrepareSwitchoverFailback(t *testing.T) {
	m := newMove(t, idmtest.Config{Drivers: 4, Association: idmtest.AtOnce, Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	m.mustRun(m.prepare(), "prepare")
	m.stand("srv1", "srv2", idmtest.Auto)
	require.FileExists(t, m.export().Path)
	for i, d := range m.drivers {
		require.Empty(t, m.tree.Server("srv2").StartError(d))
		require.True(t, m.tree.Server("srv2").HasPassword(d, "application", "", idmtest.DriverPasswords(i).Application))
	}
	plan, err := m.prepare().Plan(t.Context())
	require.NoError(t, err)
	for _, s := range plan.Steps {
		if strings.HasSuffix(s.ID, "/copy-data") || strings.HasSuffix(s.ID, "/add-server") || strings.HasSuffix(s.ID, "/keep-disabled") || strings.HasSuffix(s.ID, "/export") {
			require.Equal(t, failover.ActionNone, s.Action, "%s: preparing again changes nothing: %s", s.ID, s.Observation.Found)
		}
	}

	m.mustRun(m.switchover("srv1", "srv2"), "switchover")
	m.stand("srv2", "srv1", idmtest.Auto)
	m.resyncs(1)
	for _, job := range m.tree.Jobs() {
		require.Equal(t, []string{"cn=srv2,ou=servers,o=system"}, m.tree.Get("srv2", job, "DirXML-ServerList"), job)
		require.True(t, m.tree.Server("srv2").RunsJob(job), "the engine was told")
	}

	r := m.mustRun(m.failback(), "failback")
	m.stand("srv1", "srv2", idmtest.Auto)
	m.resyncs(2)
	step, ok := r.Step("failback/start")
	require.True(t, ok)
	require.Equal(t, failover.StatusApplied, step.Status)
	require.Len(t, step.Items, len(m.drivers), "one row per driver in the report")
}

// A server that joins the driver set serves it after a restart only; the run asks for it and waits.
func TestPrepareWaitsForTheEngine(t *testing.T) {
	m := newMove(t, idmtest.Config{Association: idmtest.AfterRestart, Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	p := m.prepare()
	j, err := failover.OpenJournal(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	restarted := false
	o.Confirm = func(ctx context.Context, s failover.Step, obs failover.Observation) (failover.Statement, error) {
		if s.ID == "prepare/engine-serves" {
			restarted = true
			require.Contains(t, s.Help, "ndsd")
			require.NoError(t, m.tree.Server("srv2").Restart())
		}
		return yes(ctx, s, obs)
	}
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
	require.True(t, restarted)
	m.stand("srv1", "srv2", idmtest.Auto)
}

// Drivers of one set can live on two servers. Moving one leaves the others, and what they share, alone.
func TestMoveOneDriverOfThree(t *testing.T) {
	m := newMove(t, pair())
	all := m.drivers
	m.drivers = all[:1]
	m.mustRun(m.switchover("srv1", "srv2"), "first")
	m.stand("srv2", "srv1", idmtest.Auto)
	for _, d := range all[1:] {
		require.Equal(t, idmtest.Running, m.tree.Server("srv1").State(d), "the others stay")
	}
	setJob := "cn=Nightly," + idmtest.DriverSetDN
	require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv1", setJob, "DirXML-ServerList"), "a job of the whole set is left to a person")

	// What the whole set shares differs by now; the driver on srv2 uses its own.
	one := open(t, m.tree, "srv1")
	require.NoError(t, one.Modify(t.Context(), idmtest.DriverSetDN, idm.AttributeChange{Kind: idm.Replace, Attribute: idm.Text("DirXML-ConfigValues", "<configuration-values/>")}))
	before := m.tree.Get("srv2", idmtest.DriverSetDN, "DirXML-ConfigValues")
	r, err := idm.CopyServerData(t.Context(), one, open(t, m.tree, "srv2"), idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN, Drivers: all[1:2]})
	require.NoError(t, err)
	require.NotEmpty(t, r.ByHand)
	require.Equal(t, before, m.tree.Get("srv2", idmtest.DriverSetDN, "DirXML-ConfigValues"))
}

func TestUndoOfASwitchover(t *testing.T) {
	m := newMove(t, pair())
	p := m.switchover("srv1", "srv2")
	j, err := failover.OpenJournal(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	o.Confirm = func(ctx context.Context, s failover.Step, obs failover.Observation) (failover.Statement, error) {
		if s.ID == "switchover/all-good" {
			return failover.Statement{}, failover.ErrWaiting
		}
		return yes(ctx, s, obs)
	}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	m.stand("srv2", "srv1", idmtest.Manual)
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.Auto)
	for _, job := range m.tree.Jobs() {
		require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv1", job, "DirXML-ServerList"), job)
	}
}

// The usual reason to go back: the target cannot start the drivers. What happened while they were disabled on the source is in nobody's
// queue and has to be caught up there.
func TestUndoCatchesUpWhatTheSourceMissed(t *testing.T) {
	for _, gap := range []idm.GapPolicy{idm.CloseGap, idm.LeaveGap} {
		m := newMove(t, pair())
		for _, d := range m.drivers {
			m.tree.Server("srv2").Behave(d, idmtest.Behaviour{FailStarts: -1})
		}
		p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(open(t, m.tree, "srv2")), Source: open(t, m.tree, "srv1"), Gap: gap})
		require.NoError(t, err)
		j, err := failover.OpenJournal(m.journal("x"))
		require.NoError(t, err)
		defer j.Close() //nolint:errcheck // test
		o := m.options(j, p)
		o.Observer = func(e failover.Event) {
			if e.Kind == failover.EventIntent && strings.HasSuffix(e.Step.ID, "/enable-manual") {
				m.tree.Change()
			}
		}
		_, err = p.Run(t.Context(), o)
		require.ErrorIs(t, err, failover.ErrNotObserved)
		_, err = p.Undo(t.Context(), o)
		require.NoError(t, err)
		m.stand("srv1", "srv2", idmtest.Auto)
		for _, d := range m.drivers {
			if gap == idm.LeaveGap {
				require.Zero(t, m.tree.Counters(d).Resyncs, "no synchronization where none was asked for")
				continue
			}
			require.Empty(t, m.tree.Missing(d), "the application of %s never heard of it", d)
			require.Equal(t, 1, m.tree.Counters(d).Resyncs)
		}
	}
}

// Where nothing was disabled yet the events waited on the source itself.
func TestUndoBeforeTheDriversWereDisabledSynchronizesNothing(t *testing.T) {
	m := newMove(t, pair())
	p := m.switchover("srv1", "srv2")
	j, err := failover.OpenJournal(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	stop := make(chan struct{})
	o.Stop = stop
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventIntent && strings.HasSuffix(e.Step.ID, "/save-caches") {
			m.tree.Change()
			close(stop)
		}
	}
	_, err = p.Run(t.Context(), o)
	require.Error(t, err)
	o.Stop, o.Observer = nil, nil
	_, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv1", "srv2", idmtest.Auto)
	m.resyncs(0)
	for _, d := range m.drivers {
		require.Empty(t, m.tree.Missing(d))
	}
}

func TestUndoOfAFailover(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Server("srv1").Kill()
	p := m.failover(nil)
	m.mustRun(p, "x")
	m.stand("srv2", "", idmtest.Auto)
	j, err := failover.OpenJournal(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	r, err := p.Undo(t.Context(), m.options(j, p))
	require.NoError(t, err, "%s", r)
	for _, d := range m.drivers {
		require.Equal(t, idmtest.Stopped, m.tree.Server("srv2").State(d))
		require.Equal(t, idmtest.Disabled, m.tree.Server("srv2").StartOption(d))
	}
	for _, job := range m.tree.Jobs() {
		require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv2", job, "DirXML-ServerList"), job)
	}
	_, held, err := p.Lock.Holder(t.Context())
	require.NoError(t, err)
	require.False(t, held)
	require.NoError(t, m.tree.Server("srv1").Start())
	require.Eventually(t, func() bool { return len(m.tree.Active(m.drivers[0])) == 1 }, time.Minute, time.Millisecond)
	m.neverTwo()
}

func TestFailoverFromPreparation(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Server("srv1").Kill()
	m.tree.Server("srv2").SetRingDelta(3 * 3600) // since the other one is gone
	r := m.mustRun(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, m.tree.Server("srv1").URL(), idm.WithRoots(m.tree.Roots()), admin())
		}
	}), "failover")
	m.stand("srv2", "", idmtest.Auto)
	m.resyncs(1)
	step, _ := r.Step("failover/source-dead")
	require.Contains(t, step.Found, "srv1 has no power")
}

func TestFailoverFromAnExport(t *testing.T) {
	m := newMove(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	one, byHand := open(t, m.tree, "srv1"), m.drivers[1]
	require.NoError(t, one.SetStartOption(t.Context(), byHand, idm.Manual, idm.NoResync))
	_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.NoError(t, err)
	m.tree.Server("srv1").Kill()
	m.mustRun(m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = idm.FromExport, m.export() }), "failover")
	require.Equal(t, idmtest.Manual, m.tree.Server("srv2").StartOption(byHand), "somebody chose Manual on the source, and the export noted it")
	require.NoError(t, open(t, m.tree, "srv2").SetStartOption(t.Context(), byHand, idm.Auto, idm.NoResync))
	m.stand("srv2", "", idmtest.Auto)
	require.Equal(t, 1, len(m.tree.Get("srv2", idmtest.DriverDN(0), "DirXML-ShimConfigInfo")))
}

// Policies write their state all day long: that an export has an older one is no difference, and the newer one stays.
func TestAnExportDoesNotBringOldStateOfPoliciesBack(t *testing.T) {
	for _, data := range []idm.ServerDataFrom{idm.FromExport, idm.FromExportWhole} {
		m := newMove(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
		one, driver := open(t, m.tree, "srv1"), m.drivers[0]
		state := func(text string) {
			require.NoError(t, one.Modify(t.Context(), driver, idm.AttributeChange{Kind: idm.Replace, Attribute: idm.Text("DirXML-PersistentData", text)}))
		}
		state("<state last-employee-number=\"4711\"/>")
		_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
		require.NoError(t, err)
		state("<state last-employee-number=\"4712\"/>")
		m.tree.Server("srv1").Kill()
		m.mustRun(m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = data, m.export() }), "failover")
		require.Equal(t, []string{"<state last-employee-number=\"4712\"/>"}, m.tree.Get("srv2", driver, "DirXML-PersistentData"))
		m.stand("srv2", "", idmtest.Auto)
	}
}

func TestFailoverFromAnExportThatIsNotOfToday(t *testing.T) {
	m := newMove(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	one := open(t, m.tree, "srv1")
	_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.NoError(t, err)
	policy := "cn=SchemaMap," + idmtest.DriverDN(0)
	require.NoError(t, one.Modify(t.Context(), policy, idm.AttributeChange{Kind: idm.Replace, Attribute: idm.Text("XmlData", "<newer/>")}))
	m.tree.Server("srv1").Kill()
	_, err = m.run(m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = idm.FromExport, m.export() }), "failover")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Equal(t, []string{"<newer/>"}, m.tree.Get("srv2", policy, "XmlData"), "an old policy does not come back by itself")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.Disabled, m.tree.Server("srv2").StartOption(d))
	}
}

func TestFailoverWithoutData(t *testing.T) {
	m := newMove(t, idmtest.Config{})
	m.tree.Server("srv1").Kill()
	_, err := m.run(m.failover(nil), "failover")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "was not prepared")
	require.Equal(t, idmtest.Disabled, m.tree.Server("srv2").StartOption(m.drivers[0]))
}

func TestFailoverWhileTheSourceAnswers(t *testing.T) {
	m := newMove(t, pair())
	_, err := m.run(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, m.tree.Server("srv1").URL(), idm.WithRoots(m.tree.Roots()), admin())
		}
	}), "failover")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	m.stand("srv1", "srv2", idmtest.Auto)
}

// The name of the old server may lead to another one by now; that is no sign of life.
func TestAnotherServerInTheSourcesPlace(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Server("srv1").Kill()
	r := m.mustRun(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, m.tree.Server("srv2").URL(), idm.WithRoots(m.tree.Roots()), admin(), idm.WithExpectedServer("cn=srv1,ou=servers,o=system"))
		}
	}), "x")
	step, _ := r.Step("failover/source-silent")
	require.Equal(t, "another server answers in the source's place", step.Found)
	m.stand("srv2", "", idmtest.Auto)
}

// A server that comes up answers before its engine is loaded: that is not a source that stays out.
func TestASourceWithoutItsEngineMayStillStartIt(t *testing.T) {
	m := newMove(t, idmtest.Config{Idle: true, Servers: []idmtest.ServerConfig{{Name: "srv1", Engine: idmtest.EngineNotInitialized}, {Name: "srv2", Prepared: true}}})
	_, err := m.run(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, m.tree.Server("srv1").URL(), idm.WithRoots(m.tree.Roots()), admin())
		}
	}), "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "its engine is not loaded yet")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.Stopped, m.tree.Server("srv2").State(d))
	}
}

// Somebody switches the old server on in the middle of the failover: its drivers start by themselves, and nothing more is started
// here until the guard has been there.
func TestTheSourceComesBackInTheMiddleOfAFailover(t *testing.T) {
	for step, next := range map[string]string{"/enable-manual": "use Switchover", "/start": "run GuardOldServer"} {
		t.Run(step, func(t *testing.T) {
			m := newMove(t, pair())
			old := m.tree.Server("srv1")
			old.Kill()
			dial := func(ctx context.Context) (*idm.Server, error) {
				return idm.Dial(ctx, old.URL(), idm.WithRoots(m.tree.Roots()), admin())
			}
			p := m.failover(func(o *idm.FailoverOptions) { o.TrySource = dial })
			j, err := failover.OpenJournal(m.journal("x"))
			require.NoError(t, err)
			o := m.options(j, p)
			o.Observer = func(e failover.Event) {
				if e.Kind == failover.EventIntent && strings.HasSuffix(e.Step.ID, step) && !old.Up() {
					if err := old.Start(); err != nil {
						t.Error(err)
					}
				}
			}
			_, err = p.Run(t.Context(), o)
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.ErrorContains(t, err, "the source answers")
			require.Contains(t, failover.NextOf(err), next)
			require.NoError(t, j.Close())
			m.neverTwo()
			for _, d := range m.drivers {
				require.Equal(t, idmtest.Stopped, m.tree.Server("srv2").State(d))
			}

			// What the error names helps.
			if next == "run GuardOldServer" {
				guard, err := idm.GuardOldServer(idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers, Active: open(t, m.tree, "srv2"), OldDN: "cn=srv1,ou=servers,o=system",
					Dial: dial, Poll: 2 * time.Millisecond})
				require.NoError(t, err)
				m.mustRun(guard, "guard")
			} else {
				old.Kill()
			}
			m.mustRun(p, "x")
			m.stand("srv2", "", idmtest.Auto)
		})
	}
}

func TestSwitchoverIsRefused(t *testing.T) {
	tests := []struct {
		name string
		cfg  idmtest.Config
		mess func(*move)
		want error
		text string
	}{
		{name: "the target's engine is older", cfg: idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true, Version: 0x48060003}}}, text: "4.8.6"},
		{name: "the target lacks the replica", cfg: idmtest.Config{Traversal: idmtest.Chain, Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true, Without: []string{idmtest.DriverSetDN}}}}, text: "replica"},
		{name: "the replicas do not synchronize", cfg: pair(), text: "up to 3h0m0s behind", mess: func(m *move) { m.tree.Server("srv2").SetRingDelta(3 * 3600) }},
		{name: "a driver does not run on the source", cfg: pair(), text: "stopped", mess: func(m *move) {
			require.NoError(m.t, open(m.t, m.tree, "srv1").Stop(m.t.Context(), m.drivers[0]))
			eventually(m.t, open(m.t, m.tree, "srv1"), m.drivers[0], idm.StateStopped)
		}},
		{name: "the standby collected events", cfg: pair(), text: "cache of", mess: func(m *move) {
			require.NoError(m.t, open(m.t, m.tree, "srv2").SetStartOption(m.t.Context(), m.drivers[0], idm.Manual, idm.NoResync))
			m.tree.Change(m.tree.Users()...)
		}},
		{name: "somebody else holds the lock", cfg: pair(), want: failover.ErrLocked, mess: func(m *move) {
			lock := idm.DirectoryLock{Server: open(m.t, m.tree, "srv2"), Entry: idmtest.DriverSetDN}
			require.NoError(m.t, lock.Acquire(m.t.Context(), failover.Claim{ID: "other", Owner: "bob"}))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMove(t, tt.cfg)
			if tt.mess != nil {
				tt.mess(m)
			}
			m.tree.ForgetRequests()
			_, err := m.run(m.switchover("srv1", "srv2"), "x")
			if tt.want == nil {
				tt.want = failover.ErrPrecondition
			}
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.text)
			for _, r := range m.tree.Requests() {
				require.NotContains(t, []int{3, 5, 9, 15, 17, 23, 67, 71, 75, 101}, r.Extended, "nothing was moved")
			}
			require.NotEqual(t, idmtest.Running, m.tree.Server("srv2").State(m.drivers[1]))
		})
	}
}

// A driver that does not come up does not keep the others from it, and its reason is shown.
func TestOneDriverFailsToStart(t *testing.T) {
	for name, b := range map[string]idmtest.Behaviour{"fails": {FailStarts: 1, Reason: "no connection to remote loader"}, "dies again": {DieAfter: 5 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			m := newMove(t, pair())
			bad := m.drivers[1]
			require.True(t, m.tree.Server("srv2").Behave(bad, b))
			r, err := m.run(m.switchover("srv1", "srv2"), "x")
			require.Error(t, err)
			require.ErrorContains(t, err, bad)
			if b.Reason != "" {
				require.ErrorContains(t, err, b.Reason)
			}
			require.Contains(t, failover.NextOf(err), "trace")
			for _, d := range m.drivers {
				require.Equal(t, d != bad, m.tree.Server("srv2").State(d) == idmtest.Running, d)
			}
			step, _ := r.Step("switchover/start")
			require.Equal(t, failover.StatusFailed, step.Status)
			require.Len(t, step.Items, len(m.drivers))
			m.neverTwo()

			require.True(t, m.tree.Server("srv2").Behave(bad, idmtest.Behaviour{}))
			m.mustRun(m.switchover("srv1", "srv2"), "x")
			m.stand("srv2", "srv1", idmtest.Auto)
		})
	}
}

// A password nobody has is shown before anything stops, not after.
// The layout of the list of named passwords is not published. A server whose list cannot be read still gets its passwords, and what is
// not verified is said.
func TestPasswordsAreSetWhereTheirListCannotBeRead(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Inject(idmtest.Fault{Kind: idmtest.Refusal, Extended: 81, Code: 2, Text: "unrecognized extended operation", Times: -1})
	r := m.mustRun(m.switchover("srv1", "srv2"), "x")
	m.stand("srv2", "srv1", idmtest.Auto)
	step, ok := r.Step("switchover/passwords-complete")
	require.True(t, ok)
	unproven := 0
	for _, row := range step.Items {
		if strings.Contains(row.Found, "named password") {
			require.Contains(t, row.Found, "proven only by a start")
			unproven++
		}
	}
	require.NotZero(t, unproven)
	for i, d := range m.drivers {
		for name, value := range idmtest.DriverPasswords(i).Named {
			require.True(t, m.tree.Server("srv2").HasPassword(d, "named", name, value))
		}
	}
}

// Operations whose arguments are inferred may not be taken by a real server. Where there is another way, or where only a note is lost, the
// move goes on.
func TestAServerThatDoesNotTakeTheInferredOperations(t *testing.T) {
	m := newMove(t, idmtest.Config{Association: idmtest.AfterRestart, Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true, OutsideSet: true}}})
	for _, op := range []int{3, 53} {
		m.tree.Inject(idmtest.Fault{Kind: idmtest.Refusal, Extended: op, Code: 2, Text: "unrecognized extended operation", Times: -1})
	}
	p := m.switchover("srv1", "srv2")
	j, err := failover.OpenJournal(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	o.Confirm = func(ctx context.Context, s failover.Step, obs failover.Observation) (failover.Statement, error) {
		if strings.HasSuffix(s.ID, "/engine-serves") {
			if err := m.tree.Server("srv2").Restart(); err != nil {
				return failover.Statement{}, err
			}
		}
		return yes(ctx, s, obs)
	}
	r, err := p.Run(t.Context(), o)
	require.NoError(t, err, "%s", r)
	m.stand("srv2", "srv1", idmtest.Auto)
	step, ok := r.Step("switchover/jobs")
	require.True(t, ok)
	for _, row := range step.Items {
		require.Contains(t, row.Found, "the engine could not be told")
	}
}

func TestAMissingPasswordStopsBeforeTheOutage(t *testing.T) {
	m := newMove(t, idmtest.Config{})
	route := m.route(open(t, m.tree, "srv2"))
	route.Passwords = func(ctx context.Context, n idm.SecretNeeded) (failover.Secret, error) {
		if n.Kind == idm.SecretRemoteLoader {
			return failover.Secret{}, idm.ErrNoPassword
		}
		return passwords(ctx, n)
	}
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: route, Source: open(t, m.tree, "srv1")})
	require.NoError(t, err)
	_, err = m.run(p, "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "Remote Loader password: missing")
	m.stand("srv1", "srv2", idmtest.Auto)
	raw, err := os.ReadFile(m.journal("x"))
	require.NoError(t, err)
	for i := range m.drivers {
		require.NotContains(t, string(raw), idmtest.DriverPasswords(i).Application, "no secret in the journal")
	}
}

// The process dies at a step; another one goes on with the same journal. The end is the same, and nothing was ever on two servers.
func TestCrashAnywhereAndResume(t *testing.T) {
	count := countDeaths(t)
	require.GreaterOrEqual(t, count, 16, "two for each of eight changes")
	for n := range count {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			m := newMove(t, smallPair())
			require.True(t, m.killedAt(m.switchover("srv1", "srv2"), n))
			m.mustRun(m.switchover("srv1", "srv2"), "x")
			m.stand("srv2", "srv1", idmtest.Auto)
			for _, d := range m.drivers {
				require.GreaterOrEqual(t, m.tree.Counters(d).Resyncs, 1)
				require.LessOrEqual(t, m.tree.Counters(d).Resyncs, 2, "twice only when the answer was lost")
			}
		})
	}
}

func smallPair() idmtest.Config {
	c := pair()
	c.Drivers, c.StartTime, c.StopTime = 2, time.Millisecond, time.Millisecond
	return c
}

// deaths calls die at the points of a run at which a death leaves something half done: the intent is written and nothing
// done, the effect is there and not recorded, the outcome is recorded.
func deaths(die func()) func(failover.Event) {
	applied := false
	return func(e failover.Event) {
		switch {
		case e.Step.Kind != failover.Change:
		case e.Kind == failover.EventAttempt:
			applied = true
			die()
		case e.Kind == failover.EventObserved && applied, e.Kind == failover.EventStepEnded && applied:
			applied = false
			die()
		}
	}
}

func countDeaths(t *testing.T) int {
	m := newMove(t, smallPair())
	count := 0
	p := m.switchover("srv1", "srv2")
	j, err := failover.OpenJournal(m.journal("x"))
	require.NoError(t, err)
	defer j.Close() //nolint:errcheck // test
	o := m.options(j, p)
	o.Observer = deaths(func() { count++ })
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
	return count
}

// killedAt runs the procedure until the n-th such point, where its goroutine ends as a process would.
func (m *move) killedAt(p failover.Procedure, n int) bool {
	killed := make(chan bool, 1)
	go func() {
		dead := true
		defer func() { killed <- dead }()
		j, err := failover.OpenJournal(m.journal("x"))
		if err != nil {
			m.t.Error(err)
			return
		}
		defer j.Close() //nolint:errcheck // the file lock of a dead process is gone
		o := m.options(j, p)
		o.Observer = deaths(func() {
			if n--; n < 0 {
				runtime.Goexit()
			}
		})
		_, err = p.Run(m.t.Context(), o)
		dead = false
		if err != nil {
			m.t.Error(err)
		}
	}()
	return <-killed
}

// Every fault at every kind of request of a switchover: it ends well by itself or stops with a reason, and running it
// again brings it to its end.
func TestFaultsOnTheWay(t *testing.T) {
	kinds := map[int][]idmtest.FaultKind{9: idmtest.FaultKinds(), 15: idmtest.FaultKinds(),
		17: {idmtest.DropReply, idmtest.KillReply}, 23: {idmtest.DropReply, idmtest.KillReply}, 67: {idmtest.DropReply}, 75: {idmtest.DropReply}}
	for op := range kinds {
		for _, kind := range kinds[op] {
			t.Run(fmt.Sprintf("%d %s", op, kind), func(t *testing.T) {
				t.Parallel()
				m := newMove(t, smallPair())
				m.tree.Inject(idmtest.Fault{Kind: kind, Extended: op, NDS: -654, Delay: 50 * time.Millisecond})
				limit := 10 * time.Second
				if kind == idmtest.MuteRequest || kind == idmtest.MuteReply || kind == idmtest.WrongMessageID {
					limit = time.Second // nothing else ends the wait
				}
				p := func() failover.Procedure {
					p, err := idm.Switchover(idm.SwitchoverOptions{
						Route:  m.route(open(t, m.tree, "srv2", idm.WithCallTimeout(limit))),
						Source: open(t, m.tree, "srv1", idm.WithCallTimeout(limit))})
					require.NoError(t, err)
					return p
				}
				_, err := m.run(p(), "x")
				m.neverTwo()
				for range 3 {
					for _, s := range m.tree.Servers() {
						if !s.Up() {
							require.NoError(t, s.Start())
						}
					}
					if err == nil {
						break
					}
					require.NotEmpty(t, failover.NextOf(err))
					_, err = m.run(p(), "x")
				}
				if err != nil && kind == idmtest.EmptySuccess {
					return // a lie that stays one is a reason to stop, not to go on
				}
				require.NoError(t, err)
				m.stand("srv2", "srv1", idmtest.Auto)
			})
		}
	}
}

func TestGuardOldServer(t *testing.T) {
	m := newMove(t, pair())
	old := m.tree.Server("srv1")
	old.Kill()
	m.mustRun(m.failover(nil), "failover")
	o := idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers, Active: open(t, m.tree, "srv2"), OldDN: "cn=srv1,ou=servers,o=system",
		Dial: func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, old.URL(), idm.WithRoots(m.tree.Roots()), admin(), idm.WithCallTimeout(10*time.Second))
		}, Poll: 2 * time.Millisecond, Wait: time.Minute, StopTimeout: time.Minute}
	p, err := idm.GuardOldServer(o)
	require.NoError(t, err)
	time.AfterFunc(50*time.Millisecond, func() { _ = old.Start() })
	m.mustRun(p, "guard")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.Stopped, old.State(d))
		require.Equal(t, idmtest.Disabled, old.StartOption(d))
		require.Equal(t, idmtest.Running, m.tree.Server("srv2").State(d))
	}
	m.mustRun(m.failback(), "failback")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.Running, old.State(d))
	}
}

// A returned server that is watched is disabled before its drivers are up.
func TestWatchOldServer(t *testing.T) {
	cfg := pair()
	cfg.StartTime = 300 * time.Millisecond
	m := newMove(t, cfg)
	old := m.tree.Server("srv1")
	old.Kill()
	m.mustRun(m.failover(nil), "failover")
	o := idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers, Active: open(t, m.tree, "srv2"), OldDN: "cn=srv1,ou=servers,o=system",
		Dial: func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, old.URL(), idm.WithRoots(m.tree.Roots()), admin(), idm.WithCallTimeout(10*time.Second))
		}, Poll: 2 * time.Millisecond, StopTimeout: time.Minute}
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan idm.GuardSighting, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- idm.WatchOldServer(ctx, o, 5*time.Millisecond, func(s idm.GuardSighting) { seen <- s })
	}()
	require.NoError(t, old.Start())
	require.Eventually(t, func() bool {
		for _, d := range m.drivers {
			if old.State(d) != idmtest.Stopped || old.StartOption(d) != idmtest.Disabled {
				return false
			}
		}
		return true
	}, time.Minute, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	acted := false
	for len(seen) > 0 {
		acted = acted || (<-seen).Acted
	}
	require.True(t, acted, "what was done is reported")
}

// The guard never stops a driver that is enabled nowhere else.
func TestGuardLeavesTheOnlyActiveServerAlone(t *testing.T) {
	m := newMove(t, pair())
	p, err := idm.GuardOldServer(idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers, Active: open(t, m.tree, "srv2"), OldDN: "cn=srv1,ou=servers,o=system",
		Dial: func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, m.tree.Server("srv1").URL(), idm.WithRoots(m.tree.Roots()), admin())
		}})
	require.NoError(t, err)
	_, err = m.run(p, "guard")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	m.stand("srv1", "srv2", idmtest.Auto)
}

func TestOptionsAreCheckedBeforeAnything(t *testing.T) {
	m := newMove(t, pair())
	two, one := open(t, m.tree, "srv2"), open(t, m.tree, "srv1")
	good := m.route(two)
	change := func(f func(*idm.Route)) idm.Route { r := good; f(&r); return r }
	failoverWith := func(f func(*idm.FailoverOptions)) error {
		o := idm.FailoverOptions{Route: good, SourceDN: one.DN(), SourceDead: dead, Since: time.Now().Add(-time.Hour)}
		f(&o)
		_, err := idm.Failover(o)
		return err
	}
	switchWith := func(r idm.Route) error {
		_, err := idm.Switchover(idm.SwitchoverOptions{Route: r, Source: one})
		return err
	}
	for name, err := range map[string]error{
		"no drivers":             switchWith(change(func(r *idm.Route) { r.Drivers = nil })),
		"driver of another set":  switchWith(change(func(r *idm.Route) { r.Drivers = []string{"cn=x,cn=ds2,o=system"} })),
		"a part of a driver":     switchWith(change(func(r *idm.Route) { r.Drivers = []string{"cn=Publisher," + idmtest.DriverDN(0)} })),
		"a driver twice":         switchWith(change(func(r *idm.Route) { r.Drivers = []string{idmtest.DriverDN(0), strings.ToUpper(idmtest.DriverDN(0))} })),
		"no target":              switchWith(change(func(r *idm.Route) { r.Target = nil })),
		"source is target":       switchWith(change(func(r *idm.Route) { r.Target = one })),
		"negative limit":         switchWith(change(func(r *idm.Route) { r.Limit = -1 })),
		"negative time":          switchWith(change(func(r *idm.Route) { r.Settle = -1 })),
		"no statement":           failoverWith(func(o *idm.FailoverOptions) { o.SourceDead = failover.Statement{} }),
		"no time":                failoverWith(func(o *idm.FailoverOptions) { o.Since = time.Time{} }),
		"time to come":           failoverWith(func(o *idm.FailoverOptions) { o.Since = time.Now().Add(time.Hour) }),
		"time and gap left":      failoverWith(func(o *idm.FailoverOptions) { o.Gap = idm.LeaveGap }),
		"source is the target":   failoverWith(func(o *idm.FailoverOptions) { o.SourceDN = two.DN() }),
		"export without a file":  failoverWith(func(o *idm.FailoverOptions) { o.Data = idm.FromExport }),
		"prepare without export": func() error { _, err := idm.Prepare(idm.PrepareOptions{Route: good, Source: one}); return err }(),
		"folder that is not": func() error {
			_, err := idm.Switchover(idm.SwitchoverOptions{Route: good, Source: one, CacheDir: "/no/such"})
			return err
		}(),
	} {
		require.ErrorIs(t, err, failover.ErrInvalid, name)
		require.NotEmpty(t, failover.NextOf(err), name)
	}
	require.False(t, errors.Is(switchWith(good), failover.ErrInvalid))
}
