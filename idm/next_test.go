package idm_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// The target was restarted before the gap was closed: drivers on Manual did not come back by themselves, and one that
// is stopped cannot synchronize. Running again is all that anybody is told.
func TestTheGapIsClosedBehindARestartOfTheTarget(t *testing.T) {
	m := newMove(t, pair())
	p := m.switchover("srv1", "srv2")
	j := m.openJournal("x")
	o, stop := options(j), make(chan struct{})
	o.Stop = stop
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventStepEnded && e.Step.ID == "start/start" {
			close(stop)
		}
	}
	_, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrStopped)
	m.tree.Server("srv2").Kill()
	require.NoError(t, m.tree.Server("srv2").Start())
	require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(m.drivers[0]))
	r, err := p.Run(t.Context(), options(j))
	require.NoError(t, err, "%s", r)
	m.stand("srv2", "srv1", idmtest.StartAuto)
	m.resyncs(1)
}

// The person who decides about the positions of the shims is told that they can be copied: naming the attribute and
// running again has to be enough.
func TestAPositionThatIsToBeCopiedIsCopied(t *testing.T) {
	m := newMove(t, pair())
	driver := m.drivers[0]
	position := func(server, value string) {
		require.NoError(t, open(t, m.tree, server).Modify(t.Context(), driver, idm.AttributeChange{Kind: idm.ChangeReplace,
			Attribute: idm.Text("DirXML-DriverStorage", value)}))
	}
	m.mustRun(m.switchover("srv1", "srv2"), "there")
	position("srv1", "change 100")
	position("srv2", "change 900")
	o := idm.SwitchoverOptions{Route: m.route(open(t, m.tree, "srv1")), Source: open(t, m.tree, "srv2")}
	p, err := idm.Failback(o)
	require.NoError(t, err)
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.Contains(t, plan.String(), "DirXML-DriverStorage", "the plan names the driver")

	j := m.openJournal("back")
	run := options(j)
	run.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		if q.Step.ID == "prepare/positions" {
			return failover.Statement{}, failover.ErrWaiting
		}
		return yes(ctx, q)
	}
	_, err = p.Run(t.Context(), run)
	require.ErrorIs(t, err, failover.ErrWaiting)
	o.OnRequest = []string{"DirXML-DriverStorage"}
	p, err = idm.Failback(o)
	require.NoError(t, err)
	r, err := p.Run(t.Context(), options(j))
	require.NoError(t, err, "%s", r)
	m.stand("srv1", "srv2", idmtest.StartAuto)
	require.Equal(t, []string{"change 900"}, m.tree.Get("srv1", driver, "DirXML-DriverStorage"))
}

// The standby was not prepared after all. What the message names is put into the configuration, and the same run goes
// on.
func TestAFailoverGoesOnWithTheDataItIsToldToUse(t *testing.T) {
	m := newMove(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	one := open(t, m.tree, "srv1")
	_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.NoError(t, err)
	require.NoError(t, one.Modify(t.Context(), "cn=SchemaMap,"+idmtest.DriverDN(0),
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("XmlData", "<newer/>")}))
	m.tree.Server("srv1").Kill()
	since := time.Now().Add(-time.Hour)
	with := func(data idm.ServerDataFrom) failover.Procedure {
		return m.failover(func(o *idm.FailoverOptions) {
			o.Data, o.Since = data, since
			if data != idm.ServerDataFromPreparation {
				o.Export = m.export()
			}
		})
	}
	_, err = m.run(with(idm.ServerDataFromPreparation), "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "use ServerDataFromExport")
	_, err = m.run(with(idm.ServerDataFromExport), "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Contains(t, failover.NextOf(err), "choose ServerDataFromExportWhole")
	m.mustRun(with(idm.ServerDataFromExportWhole), "x")
	m.stand("srv2", "", idmtest.StartAuto)
}

// The kept export may be the only place where the values of a server stand. A server that was rebuilt and came back
// empty is not where the drivers run: nothing of it is put in their place.
func TestAPreparationFromThePassiveServerKeepsTheExport(t *testing.T) {
	m := newMove(t, pair())
	one := open(t, m.tree, "srv1")
	_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.NoError(t, err)
	before, err := os.ReadFile(m.export().Path)
	require.NoError(t, err)
	m.mustRun(m.switchover("srv1", "srv2"), "there")
	require.NoError(t, one.Modify(t.Context(), m.drivers[0],
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimConfigInfo")}))
	manifest, err := os.ReadFile(m.export().Path + ".manifest.json")
	require.NoError(t, err)
	today := regexp.MustCompile(`"time": "[^"]*"`)
	manifest = today.ReplaceAll(manifest, []byte(`"time": "2026-01-01T00:00:00Z"`)) // it is time for a new one
	require.NoError(t, os.WriteFile(m.export().Path+".manifest.json", manifest, 0o600))
	_, err = m.run(m.prepare(), "prepare")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "prepare/source-enabled")
	after, err := os.ReadFile(m.export().Path)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

// unserved is a tree whose srv1 does not serve the drivers: it left the set, joined it and was not restarted since, or has
// no engine loaded.
func unserved(t *testing.T, left bool, engine idmtest.EngineMode) *move {
	c := smallPair()
	c.Idle, c.Association = true, idmtest.AssociationAfterRestart
	c.Servers[0].Engine, c.Servers[0].OutsideSet = engine, engine == idmtest.EngineReady
	m := newMove(t, c)
	one := open(t, m.tree, "srv1")
	if !left && engine == idmtest.EngineReady {
		require.NoError(t, one.AssociateDriverSet(t.Context(), idmtest.DriverSetDN))
	}
	_, err := one.StartOption(t.Context(), m.drivers[0])
	require.True(t, errors.Is(err, idm.ErrNotServed) || errors.Is(err, idm.ErrEngineMissing), "%v", err)
	return m
}

// A source that is in the driver set and whose engine does not serve it yet will serve it, and start what is Auto, when
// it is loaded again (seen). One that has left the set will not.
func TestASourceThatDoesNotServeTheSetYetIsNotOut(t *testing.T) {
	for left, look := range map[bool]string{false: "dead/source-silent", true: ""} {
		m := unserved(t, left, idmtest.EngineReady)
		_, err := m.run(m.failover(func(o *idm.FailoverOptions) {
			o.TrySource = func(ctx context.Context) (*idm.Server, error) { return idm.Dial(ctx, asAdmin(m.tree, "srv1")) }
		}), "x")
		if look == "" {
			require.NoError(t, err)
			m.stand("srv2", "", idmtest.StartAuto)
			continue
		}
		require.ErrorIs(t, err, failover.ErrPrecondition)
		require.ErrorContains(t, err, look)
		for _, d := range m.drivers {
			require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(d))
		}
	}
}

// What helps an engine that is to serve drivers, to start it or to have its server in the set, would start them on the
// old server: nobody who guards it, or wants to go back to it, is told so.
func TestNobodyIsToldToStartTheEngineOfTheOldServer(t *testing.T) {
	for _, engine := range []idmtest.EngineMode{idmtest.EngineReady, idmtest.EngineNotInitialized} {
		m := unserved(t, false, engine)
		two := open(t, m.tree, "srv2")
		for _, d := range m.drivers {
			require.NoError(t, two.SetStartOption(t.Context(), d, idm.StartManual, idm.ResyncNone))
			require.NoError(t, two.Start(t.Context(), d))
			eventually(t, two, d, idm.StateRunning)
		}
		harmful := regexp.MustCompile(`associate|start the engine`)
		seen := watchRound(t, guardOf(t, m))
		require.NotRegexp(t, harmful, seen.Found.Found)
		require.NotRegexp(t, harmful, seen.Err.Error())
		require.Contains(t, failover.NextOf(seen.Err), "stop the directory service there")

		_, err := m.run(m.failback(), "back")
		require.ErrorIs(t, err, failover.ErrPrecondition)
		require.ErrorContains(t, err, "check/returned-quiet")
		require.NotRegexp(t, harmful, err.Error())
		require.ErrorContains(t, err, "WatchOldServer")
	}
	m := unserved(t, true, idmtest.EngineReady)
	two := open(t, m.tree, "srv2")
	for _, d := range m.drivers {
		require.NoError(t, two.SetStartOption(t.Context(), d, idm.StartManual, idm.ResyncNone))
	}
	p, err := idm.GuardOldServer(guardOf(t, m))
	require.NoError(t, err)
	m.mustRun(p, "guard") // there is nothing to guard any more
}

// Nobody knows what the start option of a dead source was, unless an export that was taken from it noted it: that of
// another server says nothing of it.
func TestTheFinalStartOptionIsThatOfTheSource(t *testing.T) {
	m := newMove(t, smallPair())
	one, two := open(t, m.tree, "srv1"), open(t, m.tree, "srv2")
	require.NoError(t, two.SetStartOption(t.Context(), m.drivers[0], idm.StartManual, idm.ResyncNone))
	_, err := two.SaveExport(t.Context(), m.export().Path,
		idm.ExportOptions{Base: idmtest.DriverSetDN, Others: []*idm.Server{one}})
	require.NoError(t, err)
	m.tree.Server("srv1").Kill()
	p := m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = idm.ServerDataFromExport, m.export() })
	m.mustRun(p, "x")
	m.stand("srv2", "", idmtest.StartAuto)
	plan, err := m.failover(nil).Plan(t.Context(), nil)
	require.NoError(t, err)
	step := plan.Steps[len(plan.Steps)-1]
	require.Equal(t, "finish/auto", step.ID)
	require.Equal(t, "set them to Auto, or to Manual where that is known of the source", step.Observation.Would)
}

// What the user may not see is not said to be missing: whoever mends the file for it takes a policy out of a driver.
func TestWhatCannotBeSeenIsNotCalledMissing(t *testing.T) {
	m := newMove(t, smallPair())
	one := open(t, m.tree, "srv1")
	_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: m.drivers[0]})
	require.NoError(t, err)
	src, closer, err := idm.OpenExport(m.export().Path)
	require.NoError(t, err)
	defer closer.Close() //nolint:errcheck // test
	library := "cn=Library," + idmtest.DriverSetDN
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultEmptySuccess, Server: "srv1", Op: idmtest.OperationSearch, Times: -1,
		If: func(r idmtest.Request) bool { return idm.SameDN(idm.ParentDN(r.DN), library) }})
	_, err = one.PlanImport(t.Context(), src, idm.ImportOptions{})
	require.ErrorContains(t, err, "is not in the file and not to be seen in the directory")
	require.ErrorContains(t, err, "may be seen by the user")
}

// While the drivers run on the source their partners talk to it. Nobody is told to end that before they move.
func TestNobodyIsToldToCutThePartnersOfTheSource(t *testing.T) {
	m := newMove(t, pair())
	for p, gone := range map[*failover.Procedure]bool{new(m.prepare()): false, new(m.switchover("srv1", "srv2")): false,
		new(m.failover(nil)): true} {
		for _, s := range p.AllSteps() {
			if s.ID == "prepare/references-by-hand" {
				require.Equal(t, gone, strings.Contains(s.Help, "holds no connection there"), p.Name)
				require.Contains(t, s.Help, "when the drivers have moved, not before")
			}
		}
	}
}
