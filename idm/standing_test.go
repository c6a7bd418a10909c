package idm_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// breakers make a check untrue, as the world does between two runs.
func breakers(t *testing.T, m *move) map[string]func() {
	driver := m.drivers[0]
	option := func(server string, o idm.StartOption) func() {
		return func() {
			require.NoError(t, open(t, m.tree, server).SetStartOption(t.Context(), driver, o, idm.ResyncNone))
		}
	}
	refuse := func(f idmtest.Injection) func() {
		return func() {
			f.Kind, f.Times, f.NDS = idmtest.FaultRefusal, -1, -672
			m.tree.Inject(f)
		}
	}
	set := func(attribute string, values ...string) func() {
		return func() {
			require.NoError(t, open(t, m.tree, "srv2").Modify(t.Context(), driver,
				idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text(attribute, values...)}))
		}
	}
	stop := func() {
		require.NoError(t, open(t, m.tree, "srv1").Stop(t.Context(), driver))
		require.NoError(t, m.tree.WaitState(t.Context(), "srv1", driver, idmtest.StateStopped))
	}
	return map[string]func(){
		"check/servers": refuse(idmtest.Injection{Server: "srv2", Extended: 11}), // a look that fails is no sight
		"check/rights": refuse(
			idmtest.Injection{Server: "srv2", If: func(r idmtest.Request) bool { return strings.HasSuffix(r.OID, ".27.100.33") }}),
		"check/replicas": refuse(
			idmtest.Injection{Server: "srv2", If: func(r idmtest.Request) bool { return strings.HasSuffix(r.OID, ".27.100.17") }}),
		"prepare/references":    set("DirXML-ShimAuthServer", "REMOTE(hostname=rl port=8090 kmo='No Such')"),
		"prepare/source-active": stop,
		"stop/source-quiet":     option("srv1", idm.StartManual),
		"dead/source-silent":    func() { require.NoError(t, m.tree.Server("srv1").Start()) },
		"prepare/target-quiet": func() {
			option("srv2", idm.StartManual)()
			m.tree.Change(m.tree.Users()...)
		},
		"check/returned-quiet": option("srv2", idm.StartManual),
		"prepare/server-data":  set("DirXML-ShimConfigInfo"),
		"prepare/passwords-complete": func() {
			two := open(t, m.tree, "srv2")
			list, err := two.NamedPasswords(t.Context(), driver)
			require.NoError(t, err)
			require.NotEmpty(t, list)
			require.NoError(t, two.RemoveAllNamedPasswords(t.Context(), driver))
		},
		"prepare/source-enabled": func() {
			stop()
			option("srv1", idm.StartDisabled)()
		},
		"prepare/target-passive": func() {
			option("srv2", idm.StartManual)()
			m.tree.Change(m.tree.Users()...)
		},
		"guard/active-elsewhere": func() {
			stop()
			option("srv1", idm.StartDisabled)()
		},
	}
}

// neverBroken are checks that nothing makes untrue, and why.
var neverBroken = map[string]string{
	"dead/source-dead":         "a person's statement",
	"prepare/passwords-needed": "a list for people",
	"guard/comes-back":         "it is waited for",
}

// movesSomething reports whether a request changes more than a lock.
func movesSomething(r idmtest.Request) bool {
	switch r.Op {
	case idmtest.OperationModify:
		return !slices.Equal(r.Attributes, []string{"description", "description"})
	case idmtest.OperationAdd, idmtest.OperationDelete, idmtest.OperationModifyDN:
		return true
	}
	return slices.Contains([]int{3, 5, 9, 15, 17, 23, 53, 67, 71, 75, 77, 79, 101}, r.Extended)
}

// guarded lists, for a change, the checks before it that must still hold right then.
func guarded(p failover.Procedure, change string) []string {
	steps := p.AllSteps()
	at := slices.IndexFunc(steps, func(s failover.Step) bool { return s.ID == change })
	var ids []string
	for _, s := range steps[:at] {
		until := slices.IndexFunc(steps, func(g failover.Step) bool { return g.ID == s.Guards })
		if s.Kind == failover.Check && until >= at {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// A run stops before a change, for a night or a week. Whatever no longer holds when it goes on stops it before anything
// is moved.
func TestNothingMovesWhenACheckNoLongerHolds(t *testing.T) {
	cases := 0
	for _, s := range scenes() {
		for step := range s.steps {
			first := s.open(t)
			p, err := s.build(first)
			require.NoError(t, err)
			for _, check := range guarded(p, step) {
				if neverBroken[check] != "" {
					continue
				}
				cases++
				t.Run(s.name+"/"+step+"/"+check, func(t *testing.T) {
					t.Parallel()
					goesOnWithout(t, s, step, check)
				})
			}
		}
	}
	t.Logf("%d pairs of a change and a check before it", cases)
	require.Greater(t, cases, 80)
}

func (s scene) open(t *testing.T) *move {
	cfg := smallPair()
	cfg.Drivers = 1
	if s.cfg != nil {
		s.cfg(&cfg)
	}
	m := newMove(t, cfg)
	if s.before != nil {
		s.before(m)
	}
	return m
}

func goesOnWithout(t *testing.T, s scene, change, check string) {
	m := s.open(t)
	p, err := s.build(m)
	require.NoError(t, err)
	j := failovertest.Journal(t)
	o := options(j)
	o.Gate = func(ctx context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.ID == change {
			return failover.Approval{}, failover.ErrWaiting
		}
		if change == "moved/verify" && q.Step.ID == "moved/jobs" {
			require.NoError(t, open(t, m.tree, "srv2").Stop(ctx, m.drivers[0]))
			require.NoError(t, m.tree.WaitState(ctx, "srv2", m.drivers[0], idmtest.StateStopped))
		}
		return failover.Approval{By: "ann"}, nil
	}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)

	breakers(t, m)[check]()
	m.tree.ForgetRequests()
	o.Gate = nil
	r, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, check)
	require.NotEmpty(t, failover.NextOf(err))
	require.Empty(t, m.tree.Asked(movesSomething))
	got, _ := r.Step(check)
	require.Equal(t, failover.StatusFailed, got.Status)
}

// How long each check counts is written down, and those that keep two servers from being active are firm and hold to
// the end.
func TestEveryCheckSaysHowLongItCounts(t *testing.T) {
	toTheEnd := map[string]string{"stop/source-quiet": "finish/auto", "dead/source-silent": "finish/auto",
		"dead/source-dead": "finish/auto", "check/returned-quiet": "start/enable-manual"}
	for _, s := range scenes() {
		p, err := s.build(s.open(t))
		require.NoError(t, err)
		steps := p.AllSteps()
		for i, step := range steps {
			if step.Kind != failover.Check || i == len(steps)-1 {
				continue
			}
			require.True(t, step.Entry || step.Guards != "", step.ID)
			if until := toTheEnd[step.ID]; until != "" {
				require.Equal(t, until, step.Guards)
				require.True(t, step.Firm, step.ID)
			}
		}
	}
}

// The answer of a person may take days. Whoever enabled the drivers on the source meanwhile keeps the target from its
// last step.
func TestTheSourceIsLookedAtAgainBehindAPersonsAnswer(t *testing.T) {
	m := newMove(t, smallPair())
	p := m.switchover("srv1", "srv2")
	o := options(failovertest.Journal(t))
	o.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		if q.Step.ID == "finish/all-good" {
			require.NoError(t, open(t, m.tree, "srv1").SetStartOption(ctx, m.drivers[0], idm.StartManual, idm.ResyncNone))
		}
		return yes(ctx, q)
	}
	_, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "stop/source-quiet")
	require.Equal(t, idmtest.StartManual, m.tree.Server("srv2").StartOption(m.drivers[0]))
}

// A source whose name cannot be looked up any more is not dead: somebody may have enabled it meanwhile.
func TestASourceThatCannotBeAskedIsNotDead(t *testing.T) {
	m := newMove(t, smallPair())
	var lost atomic.Bool
	var mu sync.Mutex
	var conns []net.Conn
	one := open(t, m.tree, "srv1", func(c *idm.Config) {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if lost.Load() {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "srv1"}}
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, conn)
			return conn, err
		}
	})
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(open(t, m.tree, "srv2")), Source: one})
	require.NoError(t, err)
	j := failovertest.Journal(t)
	o := options(j)
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.ID == "start/start" {
			return failover.Approval{}, failover.ErrWaiting
		}
		return failover.Approval{By: "ann"}, nil
	}
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	lost.Store(true)
	mu.Lock()
	for _, conn := range conns {
		_ = conn.Close()
	}
	mu.Unlock()
	o.Gate = nil
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "stop/source-quiet")
	require.Equal(t, idmtest.StateStopped, m.tree.Server("srv2").State(m.drivers[0]))
	lost.Store(false)
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
	m.stand("srv2", "srv1", idmtest.StartAuto)
}

// A source that dies once it was seen out does not keep the drivers from coming up on the target.
func TestASourceThatDiesOnTheWayKeepsNobody(t *testing.T) {
	for _, step := range []string{"start/start", "moved/close-gap", "moved/jobs", "finish/auto"} {
		t.Run(step, func(t *testing.T) {
			m := newMove(t, smallPair())
			j, p := failovertest.Journal(t), m.switchover("srv1", "srv2")
			o := options(j)
			o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
				if q.Step.ID == step {
					return failover.Approval{}, failover.ErrWaiting
				}
				return failover.Approval{By: "ann"}, nil
			}
			_, err := p.Run(t.Context(), o)
			require.ErrorIs(t, err, failover.ErrWaiting)
			m.tree.Server("srv1").Kill()
			o.Gate = nil
			_, err = p.Run(t.Context(), o)
			require.NoError(t, err)
			m.stand("srv2", "", idmtest.StartAuto)
		})
	}
}
