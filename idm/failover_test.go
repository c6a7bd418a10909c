package idm_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestFailoverFromPreparation(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Server("srv1").Kill()
	m.tree.Server("srv2").SetRingDelta(3 * 3600) // since the other one is gone
	r := m.mustRun(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, asAdmin(m.tree, "srv1"))
		}
	}), "failover")
	m.stand("srv2", "", idmtest.StartAuto)
	m.resyncs(1)
	step, _ := r.Step("dead/source-dead")
	require.Contains(t, step.Found, "srv1 has no power")
}

func TestFailoverFromAnExport(t *testing.T) {
	m := newMove(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	one, byHand := open(t, m.tree, "srv1"), m.drivers[1]
	require.NoError(t, one.SetStartOption(t.Context(), byHand, idm.StartManual, idm.ResyncNone))
	_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.NoError(t, err)
	m.tree.Server("srv1").Kill()
	m.mustRun(m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = idm.ServerDataFromExport, m.export() }),
		"failover")
	require.Equal(t, idmtest.StartManual, m.tree.Server("srv2").StartOption(byHand),
		"somebody chose Manual on the source, and the export noted it")
	require.NoError(t, open(t, m.tree, "srv2").SetStartOption(t.Context(), byHand, idm.StartAuto, idm.ResyncNone))
	m.stand("srv2", "", idmtest.StartAuto)
	require.Equal(t, 1, len(m.tree.Get("srv2", idmtest.DriverDN(0), "DirXML-ShimConfigInfo")))
}

// Policies write their state all day long: that an export has an older one is no difference, and the newer one stays.
func TestAnExportDoesNotBringOldStateOfPoliciesBack(t *testing.T) {
	for _, data := range []idm.ServerDataFrom{idm.ServerDataFromExport, idm.ServerDataFromExportWhole} {
		m := newMove(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
		one, driver := open(t, m.tree, "srv1"), m.drivers[0]
		state := func(text string) {
			require.NoError(t, one.Modify(t.Context(), driver,
				idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-PersistentData", text)}))
		}
		state("<state last-employee-number=\"4711\"/>")
		_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
		require.NoError(t, err)
		state("<state last-employee-number=\"4712\"/>")
		m.tree.Server("srv1").Kill()
		m.mustRun(m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = data, m.export() }), "failover")
		require.Equal(t, []string{"<state last-employee-number=\"4712\"/>"},
			m.tree.Get("srv2", driver, "DirXML-PersistentData"))
		m.stand("srv2", "", idmtest.StartAuto)
	}
}

func TestFailoverFromAnExportThatIsNotOfToday(t *testing.T) {
	m := newMove(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
	one := open(t, m.tree, "srv1")
	_, err := one.SaveExport(t.Context(), m.export().Path, idm.ExportOptions{Base: idmtest.DriverSetDN})
	require.NoError(t, err)
	policy := "cn=SchemaMap," + idmtest.DriverDN(0)
	require.NoError(t, one.Modify(t.Context(), policy,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("XmlData", "<newer/>")}))
	m.tree.Server("srv1").Kill()
	_, err = m.run(m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = idm.ServerDataFromExport, m.export() }),
		"failover")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Equal(t, []string{"<newer/>"}, m.tree.Get("srv2", policy, "XmlData"),
		"an old policy does not come back by itself")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.StartDisabled, m.tree.Server("srv2").StartOption(d))
	}
}

func TestFailoverWithoutData(t *testing.T) {
	m := newMove(t, idmtest.Config{})
	m.tree.Server("srv1").Kill()
	_, err := m.run(m.failover(nil), "failover")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "was not prepared")
	require.Equal(t, idmtest.StartDisabled, m.tree.Server("srv2").StartOption(m.drivers[0]))
}

func TestFailoverWhileTheSourceAnswers(t *testing.T) {
	m := newMove(t, pair())
	_, err := m.run(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, asAdmin(m.tree, "srv1"))
		}
	}), "failover")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	m.stand("srv1", "srv2", idmtest.StartAuto)
}

// The name of the old server may lead to another one by now; that is no sign of life.
func TestAnotherServerInTheSourcesPlace(t *testing.T) {
	m := newMove(t, pair())
	m.tree.Server("srv1").Kill()
	r := m.mustRun(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, asAdmin(m.tree, "srv2",
				func(c *idm.Config) { c.ExpectedServer = "cn=srv1,ou=servers,o=system" }))
		}
	}), "x")
	step, _ := r.Step("dead/source-silent")
	require.Equal(t, "another server answers in the source's place", step.Found)
	m.stand("srv2", "", idmtest.StartAuto)
}

// A source that does not say its name yet, as one that is coming up, is no other server. Nobody was asked where its
// name cannot be looked up.
func TestASourceThatIsNotKnownIsNotOut(t *testing.T) {
	for name, change := range map[string]func(*move, *idm.Config){
		"it does not say its name": func(m *move, _ *idm.Config) {
			m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultEmptySuccess, Server: "srv1", Op: idmtest.OperationSearch,
				Times: -1, If: func(r idmtest.Request) bool { return r.DN == "" }})
		},
		"its name cannot be looked up": func(_ *move, c *idm.Config) {
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "srv1", IsNotFound: true}}
			}
		},
		"its tunnel is down": func(_ *move, c *idm.Config) {
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, fmt.Errorf("%w: the jump host refuses", idm.ErrLineLost)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMove(t, smallPair())
			_, err := m.run(m.failover(func(o *idm.FailoverOptions) {
				o.TrySource = func(ctx context.Context) (*idm.Server, error) {
					return idm.Dial(ctx, asAdmin(m.tree, "srv1", func(c *idm.Config) {
						c.ExpectedServer = o.SourceDN
						change(m, c)
					}))
				}
			}), "x")
			require.ErrorContains(t, err, "dead/source-silent")
			for _, d := range m.drivers {
				require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(d))
			}
			m.neverTwo()
		})
	}
}

// A server that comes up answers before its engine is loaded: that is not a source that stays out.
func TestASourceWithoutItsEngineMayStillStartIt(t *testing.T) {
	m := newMove(t, idmtest.Config{Idle: true,
		Servers: []idmtest.ServerConfig{{Name: "srv1", Engine: idmtest.EngineNotInitialized},
			{Name: "srv2", Prepared: true}}})
	_, err := m.run(m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, asAdmin(m.tree, "srv1"))
		}
	}), "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "its engine does not serve it yet")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(d))
	}
}

// Somebody switches the old server on in the middle of the failover: its drivers start by themselves, and nothing more
// is started here until the guard has been there.
func TestTheSourceComesBackInTheMiddleOfAFailover(t *testing.T) {
	for step, next := range map[string]string{"start/enable-manual": "use Switchover",
		"start/start": "run GuardOldServer"} {
		t.Run(step, func(t *testing.T) {
			m := newMove(t, pair())
			old := m.tree.Server("srv1")
			old.Kill()
			dial := func(ctx context.Context) (*idm.Server, error) {
				return idm.Dial(ctx, asAdmin(m.tree, "srv1"))
			}
			p := m.failover(func(o *idm.FailoverOptions) { o.TrySource = dial })
			j, err := failovertest.JournalAt(m.journal("x"))
			require.NoError(t, err)
			o := options(j)
			o.Observer = func(e failover.Event) {
				if e.Kind == failover.EventIntent && e.Step.ID == step && !old.Up() {
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
				require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(d))
			}

			// What the error names helps.
			if next == "run GuardOldServer" {
				guard, err := idm.GuardOldServer(idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers,
					Active: open(t, m.tree, "srv2"), OldDN: "cn=srv1,ou=servers,o=system",
					Dial: dial, Poll: 2 * time.Millisecond})
				require.NoError(t, err)
				m.mustRun(guard, "guard")
			} else {
				old.Kill()
			}
			m.mustRun(p, "x")
			m.stand("srv2", "", idmtest.StartAuto)
		})
	}
}

// The export that a preparation keeps was taken under its lock, and a failover imports it under another one. Neither is
// part of what is imported, nor written over.
func TestFailoverFromTheExportThatAPreparationKept(t *testing.T) {
	for _, data := range []idm.ServerDataFrom{idm.ServerDataFromExport, idm.ServerDataFromExportWhole} {
		m := newMove(t, idmtest.Config{Drivers: 1, Association: idmtest.AssociationAtOnce,
			Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", OutsideSet: true}}})
		one := open(t, m.tree, "srv1")
		describe := func(text string) {
			require.NoError(t, one.Modify(t.Context(), idmtest.DriverSetDN,
				idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("description", text)}))
		}
		describe("the office's drivers")
		m.mustRun(m.prepare(), "prepare")
		raw, err := os.ReadFile(m.export().Path)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "failover-lock")
		if data == idm.ServerDataFromExportWhole {
			describe("somebody wrote over it")
		}
		m.tree.Server("srv1").Kill()
		m.mustRun(m.failover(func(o *idm.FailoverOptions) { o.Data, o.Export = data, m.export() }), "failover")
		m.stand("srv2", "", idmtest.StartAuto)
		require.ElementsMatch(t, []string{"the office's drivers", "failover-lock:free"},
			m.tree.Get("srv2", idmtest.DriverSetDN, "description"))
	}
}

// What runs on a source that is gone nobody sees: the last look says what it has looked at.
func TestTheLastLookSaysWhatItSawOfTheSource(t *testing.T) {
	for _, try := range []bool{false, true} {
		m := newMove(t, smallPair())
		m.tree.Server("srv1").Kill()
		r := m.mustRun(m.failover(func(o *idm.FailoverOptions) {
			if try {
				o.TrySource = func(ctx context.Context) (*idm.Server, error) { return idm.Dial(ctx, asAdmin(m.tree, "srv1")) }
			}
		}), "x")
		step, _ := r.Step("moved/verify")
		want := map[bool]string{false: "; the source was not looked at", true: "; the source does not answer"}[try]
		require.Equal(t, "2 of 2 running on the target"+want, step.Found)
	}
}
