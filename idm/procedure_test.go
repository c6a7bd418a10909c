package idm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
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
	p, err := idm.Prepare(idm.PrepareOptions{Route: m.route(open(m.t, m.tree, "srv2")), Source: open(m.t, m.tree, "srv1"),
		Export: m.export()})
	require.NoError(m.t, err)
	return p
}

func (m *move) switchover(from, to string) failover.Procedure {
	m.t.Helper()
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(open(m.t, m.tree, to)), Source: open(m.t, m.tree, from),
		CacheDir: m.dir})
	require.NoError(m.t, err)
	return p
}

func (m *move) failback() failover.Procedure {
	m.t.Helper()
	p, err := idm.Failback(idm.SwitchoverOptions{Route: m.route(open(m.t, m.tree, "srv1")),
		Source: open(m.t, m.tree, "srv2"), CacheDir: m.dir})
	require.NoError(m.t, err)
	return p
}

var dead = failover.Statement{By: "ann", Says: "srv1 has no power and its plug is pulled", Reason: "I stand beside it"}

func (m *move) failover(change func(*idm.FailoverOptions)) failover.Procedure {
	m.t.Helper()
	o := idm.FailoverOptions{Route: m.route(open(m.t, m.tree, "srv2")), SourceDN: "cn=srv1,ou=servers,o=system",
		SourceDead: dead, Since: time.Now().Add(-time.Hour)}
	if change != nil {
		change(&o)
	}
	p, err := idm.Failover(o)
	require.NoError(m.t, err)
	return p
}

func (m *move) journal(name string) string { return filepath.Join(m.dir, name+".journal") }

// openJournal opens the journal of that name until the test ends.
func (m *move) openJournal(name string) *failover.Journal {
	m.t.Helper()
	j, err := failovertest.JournalAt(m.journal(name))
	require.NoError(m.t, err)
	m.t.Cleanup(func() { _ = j.Close() })
	return j
}

func yes(_ context.Context, q failover.Request) (failover.Statement, error) {
	return failover.Statement{By: "ann", Says: q.Step.ID + " is done", Reason: "I did it"}, nil
}

func options(j *failover.Journal) failover.RunOptions {
	return failover.RunOptions{Journal: j, Actor: "ann", Reason: "CHG1", Confirm: yes}
}

func (m *move) run(p failover.Procedure, name string) (*failover.Report, error) {
	m.t.Helper()
	j, err := failovertest.JournalAt(m.journal(name))
	require.NoError(m.t, err)
	defer j.Close() //nolint:errcheck // test
	return p.Run(m.t.Context(), options(j))
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
		require.Equal(m.t, idmtest.StateRunning, m.tree.Server(on).State(d), "%s on %s", d, on)
		require.Equal(m.t, option, m.tree.Server(on).StartOption(d), "%s on %s", d, on)
		if off != "" {
			require.Equal(m.t, idmtest.StateStopped, m.tree.Server(off).State(d), "%s on %s", d, off)
			require.Equal(m.t, idmtest.StartDisabled, m.tree.Server(off).StartOption(d), "%s on %s", d, off)
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
	m := newMove(t, idmtest.Config{Drivers: 4, Association: idmtest.AssociationAtOnce,
		Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	m.mustRun(m.prepare(), "prepare")
	m.stand("srv1", "srv2", idmtest.StartAuto)
	require.FileExists(t, m.export().Path)
	for i, d := range m.drivers {
		require.Empty(t, m.tree.Server("srv2").StartError(d))
		require.True(t, m.tree.Server("srv2").HasPassword(d, "application", "", idmtest.DriverPasswords(i).Application))
	}
	plan, err := m.prepare().Plan(t.Context(), nil)
	require.NoError(t, err)
	for _, s := range plan.Steps {
		if s.Kind == failover.Change && s.ID != "prepare/passwords" {
			require.Equal(t, failover.ActionNone, s.Action, "%s: preparing again changes nothing: %s", s.ID, s.Observation.Found)
		}
	}

	m.mustRun(m.switchover("srv1", "srv2"), "switchover")
	m.stand("srv2", "srv1", idmtest.StartAuto)
	m.resyncs(1)
	for _, job := range m.tree.Jobs() {
		require.Equal(t, []string{"cn=srv2,ou=servers,o=system"}, m.tree.Get("srv2", job, "DirXML-ServerList"), job)
		require.True(t, m.tree.Server("srv2").RunsJob(job), "the engine was told")
		require.False(t, m.tree.Server("srv1").RunsJob(job), "and that of the source: else it runs on both")
	}

	r := m.mustRun(m.failback(), "failback")
	m.stand("srv1", "srv2", idmtest.StartAuto)
	m.resyncs(2)
	step, ok := r.Step("start/start")
	require.True(t, ok)
	require.Equal(t, failover.StatusApplied, step.Status)
	require.Len(t, step.Items, len(m.drivers), "one row per driver in the report")
}

// A server that joins the driver set serves it after a restart only; the run asks for it and waits.
func TestPrepareWaitsForTheEngine(t *testing.T) {
	m := newMove(t, idmtest.Config{Association: idmtest.AssociationAfterRestart,
		Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	p := m.prepare()
	j := m.openJournal("x")
	o := options(j)
	restarted := false
	o.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		s := q.Step
		if s.ID == "prepare/engine-serves" {
			restarted = true
			require.Contains(t, s.Help, "ndsd")
			require.NoError(t, m.tree.Server("srv2").Restart())
		}
		return yes(ctx, q)
	}
	_, err := p.Run(t.Context(), o)
	require.NoError(t, err)
	require.True(t, restarted)
	m.stand("srv1", "srv2", idmtest.StartAuto)
}

// Drivers of one set can live on two servers. Moving one leaves the others, and what they share, alone.
func TestMoveOneDriverOfThree(t *testing.T) {
	m := newMove(t, pair())
	all := m.drivers
	m.drivers = all[:1]
	m.mustRun(m.switchover("srv1", "srv2"), "first")
	m.stand("srv2", "srv1", idmtest.StartAuto)
	for _, d := range all[1:] {
		require.Equal(t, idmtest.StateRunning, m.tree.Server("srv1").State(d), "the others stay")
	}
	setJob := "cn=Nightly," + idmtest.DriverSetDN
	require.Equal(t, []string{"cn=srv1,ou=servers,o=system"}, m.tree.Get("srv1", setJob, "DirXML-ServerList"),
		"a job of the whole set is left to a person")

	// What the whole set shares differs by now; the driver on srv2 uses its own.
	one := open(t, m.tree, "srv1")
	require.NoError(t, one.Modify(t.Context(), idmtest.DriverSetDN,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ConfigValues", "<configuration-values/>")}))
	before := m.tree.Get("srv2", idmtest.DriverSetDN, "DirXML-ConfigValues")
	r, err := idm.CopyServerData(t.Context(), one, open(t, m.tree, "srv2"),
		idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN, Drivers: all[1:2]})
	require.NoError(t, err)
	require.NotEmpty(t, r.ByHand)
	require.Equal(t, before, m.tree.Get("srv2", idmtest.DriverSetDN, "DirXML-ConfigValues"))
}

func TestSwitchoverIsRefused(t *testing.T) {
	tests := []struct {
		name string
		cfg  idmtest.Config
		mess func(*move)
		want error
		text string
	}{
		{name: "the target's engine is older",
			cfg: idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
				{Name: "srv2", Prepared: true, Version: 0x48060003}}}, text: "4.8.6"},
		{name: "the target lacks the replica",
			cfg: idmtest.Config{Traversal: idmtest.TraversalChain,
				Servers: []idmtest.ServerConfig{{Name: "srv1"},
					{Name: "srv2", Prepared: true, Without: []string{idmtest.DriverSetDN}}}}, text: "replica"},
		{name: "the replicas do not synchronize", cfg: pair(), text: "up to 3h0m0s behind",
			mess: func(m *move) { m.tree.Server("srv2").SetRingDelta(3 * 3600) }},
		{name: "a driver does not run on the source", cfg: pair(), text: "stopped", mess: func(m *move) {
			require.NoError(m.t, open(m.t, m.tree, "srv1").Stop(m.t.Context(), m.drivers[0]))
			eventually(m.t, open(m.t, m.tree, "srv1"), m.drivers[0], idm.StateStopped)
		}},
		{name: "the standby collected events", cfg: pair(), text: "bytes wait there", mess: func(m *move) {
			require.NoError(m.t, open(m.t, m.tree, "srv2").SetStartOption(m.t.Context(), m.drivers[0], idm.StartManual,
				idm.ResyncNone))
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
			require.NotEqual(t, idmtest.StateRunning, m.tree.Server("srv2").State(m.drivers[1]))
		})
	}
}

// A driver that does not come up does not keep the others from it, and its reason is shown.
func TestOneDriverFailsToStart(t *testing.T) {
	for name, b := range map[string]idmtest.Behaviour{"fails": {FailStarts: 1, Reason: "no connection to remote loader"},
		"dies again": {DieAfter: 5 * time.Millisecond}} {
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
				require.Equal(t, d != bad, m.tree.Server("srv2").State(d) == idmtest.StateRunning, d)
			}
			step, _ := r.Step("start/start")
			require.Equal(t, failover.StatusPartly, step.Status, "the others run")
			require.Equal(t, failover.ResultPartWay, r.Result)
			require.Len(t, step.Items, len(m.drivers))
			m.neverTwo()

			require.True(t, m.tree.Server("srv2").Behave(bad, idmtest.Behaviour{}))
			m.mustRun(m.switchover("srv1", "srv2"), "x")
			m.stand("srv2", "srv1", idmtest.StartAuto)
		})
	}
}

// A password nobody has is shown before anything stops, not after. The layout of the list of named passwords is not
// published. A server whose list cannot be read still gets its passwords, and what is not verified is said.
func TestPasswordsAreSetWhereTheirListCannotBeRead(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Extended: 81, Code: 2, Text: "unrecognized extended operation",
		Times: -1})
	p := m.switchover("srv1", "srv2")
	_, err := m.run(p, "not waived")
	require.ErrorIs(t, err, failover.ErrPrecondition, "what is not known is a person's to pass")
	require.ErrorContains(t, err, "prepare/passwords-needed")
	o := options(failovertest.Journal(t))
	o.Waive = map[string]string{"prepare/passwords-needed": "listed in iManager"}
	r, err := p.Run(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv2", "srv1", idmtest.StartAuto)
	step, ok := r.Step("prepare/passwords-complete")
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

// Operations whose arguments are inferred may not be taken by a real server. Where there is another way, or where only
// a note is lost, the move goes on.
func TestAServerThatDoesNotTakeTheInferredOperations(t *testing.T) {
	m := newMove(t, idmtest.Config{Association: idmtest.AssociationAfterRestart,
		Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true, OutsideSet: true}}})
	for _, op := range []int{3, 53} {
		m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Extended: op, Code: 2,
			Text: "unrecognized extended operation", Times: -1})
	}
	p := m.switchover("srv1", "srv2")
	j := m.openJournal("x")
	o := options(j)
	o.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		s := q.Step
		if s.ID == "prepare/engine-serves" {
			if err := m.tree.Server("srv2").Restart(); err != nil {
				return failover.Statement{}, err
			}
		}
		return yes(ctx, q)
	}
	r, err := p.Run(t.Context(), o)
	require.NoError(t, err, "%s", r)
	m.stand("srv2", "srv1", idmtest.StartAuto)
	step, ok := r.Step("moved/jobs")
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
	m.stand("srv1", "srv2", idmtest.StartAuto)
	raw, err := os.ReadFile(m.journal("x"))
	require.NoError(t, err)
	for i := range m.drivers {
		require.NotContains(t, string(raw), idmtest.DriverPasswords(i).Application, "no secret in the journal")
	}
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
		"no drivers":            switchWith(change(func(r *idm.Route) { r.Drivers = nil })),
		"driver of another set": switchWith(change(func(r *idm.Route) { r.Drivers = []string{"cn=x,cn=ds2,o=system"} })),
		"a part of a driver": switchWith(
			change(func(r *idm.Route) { r.Drivers = []string{"cn=Publisher," + idmtest.DriverDN(0)} })),
		"a driver twice": switchWith(
			change(func(r *idm.Route) { r.Drivers = []string{idmtest.DriverDN(0), strings.ToUpper(idmtest.DriverDN(0))} })),
		"no target":             switchWith(change(func(r *idm.Route) { r.Target = nil })),
		"source is target":      switchWith(change(func(r *idm.Route) { r.Target = one })),
		"negative limit":        switchWith(change(func(r *idm.Route) { r.Limit = -1 })),
		"negative time":         switchWith(change(func(r *idm.Route) { r.Settle = -1 })),
		"no statement":          failoverWith(func(o *idm.FailoverOptions) { o.SourceDead = failover.Statement{} }),
		"no time":               failoverWith(func(o *idm.FailoverOptions) { o.Since = time.Time{} }),
		"time to come":          failoverWith(func(o *idm.FailoverOptions) { o.Since = time.Now().Add(time.Hour) }),
		"time and gap left":     failoverWith(func(o *idm.FailoverOptions) { o.Gap = idm.GapLeave }),
		"source is the target":  failoverWith(func(o *idm.FailoverOptions) { o.SourceDN = two.DN() }),
		"export without a file": failoverWith(func(o *idm.FailoverOptions) { o.Data = idm.ServerDataFromExport }),
		"prepare without export": func() error {
			_,
				err := idm.Prepare(idm.PrepareOptions{Route: good, Source: one})
			return err
		}(),
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

// The limit is for work, not for waiting: with one driver at a time all are asked to start before the first one is up.
func TestStartsOverlap(t *testing.T) {
	const drivers = 5
	var later atomic.Int64
	cfg := smallPair()
	cfg.Drivers, cfg.StartTime = drivers, time.Hour
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	m := newMove(t, cfg)
	var asked atomic.Int64
	m.tree.Inject(idmtest.Injection{Server: "srv2", Extended: 15, Times: -1, Do: func() {
		if asked.Add(1) == drivers {
			later.Store(int64(2 * time.Hour)) // only now does any of them come up
		}
	}})
	route := m.route(open(t, m.tree, "srv2"))
	route.Limit = 1
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: route, Source: open(t, m.tree, "srv1"), CacheDir: m.dir})
	require.NoError(t, err)
	m.mustRun(p, "x")
	m.stand("srv2", "srv1", idmtest.StartAuto)
}
