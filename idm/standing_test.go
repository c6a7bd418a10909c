package idm_test

import (
	"context"
	"slices"
	"strings"
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
			require.NoError(t, open(t, m.tree, server).SetStartOption(t.Context(), driver, o, idm.NoResync))
		}
	}
	refuse := func(f idmtest.Fault) func() {
		return func() {
			f.Kind, f.Times, f.NDS = idmtest.Refusal, -1, -672
			m.tree.Inject(f)
		}
	}
	set := func(attribute string, values ...string) func() {
		return func() {
			require.NoError(t, open(t, m.tree, "srv2").Modify(t.Context(), driver, idm.AttributeChange{Kind: idm.Replace, Attribute: idm.Text(attribute, values...)}))
		}
	}
	stop := func() {
		require.NoError(t, open(t, m.tree, "srv1").Stop(t.Context(), driver))
		require.NoError(t, m.tree.WaitState(t.Context(), "srv1", driver, idmtest.Stopped))
	}
	return map[string]func(){
		"servers":       refuse(idmtest.Fault{Server: "srv2", Extended: 11}), // a look that fails is no sight
		"rights":        refuse(idmtest.Fault{Server: "srv2", If: func(r idmtest.Request) bool { return strings.HasSuffix(r.OID, ".27.100.33") }}),
		"replicas":      refuse(idmtest.Fault{Server: "srv2", If: func(r idmtest.Request) bool { return strings.HasSuffix(r.OID, ".27.100.17") }}),
		"references":    set("DirXML-ShimAuthServer", "REMOTE(hostname=rl port=8090 kmo='No Such')"),
		"source-active": stop,
		"source-quiet":  option("srv1", idm.Manual),
		"source-silent": func() { require.NoError(t, m.tree.Server("srv1").Start()) },
		"target-quiet": func() {
			option("srv2", idm.Manual)()
			m.tree.Change(m.tree.Users()...)
		},
		"returned-quiet": option("srv2", idm.Manual),
		"server-data":    set("DirXML-ShimConfigInfo"),
		"passwords-complete": func() {
			two := open(t, m.tree, "srv2")
			list, err := two.NamedPasswords(t.Context(), driver)
			require.NoError(t, err)
			require.NotEmpty(t, list)
			require.NoError(t, two.RemoveAllNamedPasswords(t.Context(), driver))
		},
		"active-elsewhere": func() {
			stop()
			option("srv1", idm.Disabled)()
		},
	}
}

// neverBroken are checks that nothing makes untrue, and why.
var neverBroken = map[string]string{
	"source-dead":      "a person's statement",
	"passwords-needed": "a list for people",
	"comes-back":       "it is waited for",
}

// movesSomething reports whether a request changes more than a lock.
func movesSomething(r idmtest.Request) bool {
	switch r.Op {
	case idmtest.OpModify:
		return !slices.Equal(r.Attributes, []string{"description", "description"})
	case idmtest.OpAdd, idmtest.OpDelete, idmtest.OpModifyDN:
		return true
	}
	return slices.Contains([]int{3, 5, 9, 15, 17, 23, 53, 67, 71, 75, 77, 79, 101}, r.Extended)
}

// guarded lists, for a change, the checks before it that must still hold right then.
func guarded(p failover.Procedure, change string) []string {
	at := slices.IndexFunc(p.Steps, func(s failover.Step) bool { return s.ID == change })
	var ids []string
	for _, s := range p.Steps[:at] {
		until := slices.IndexFunc(p.Steps, func(g failover.Step) bool { return g.ID == s.Guards })
		if s.Kind == failover.Check && until >= at {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// A run stops before a change, for a night or a week. Whatever no longer holds when it goes on stops it before anything is moved.
func TestNothingMovesWhenACheckNoLongerHolds(t *testing.T) {
	cases := 0
	for _, s := range scenes() {
		for step := range s.steps {
			first := s.open(t)
			p, err := s.build(first)
			require.NoError(t, err)
			for _, check := range guarded(p, s.name+"/"+step) {
				name := strings.TrimPrefix(check, s.name+"/")
				if neverBroken[name] != "" {
					continue
				}
				cases++
				t.Run(s.name+"/"+step+"/"+name, func(t *testing.T) {
					t.Parallel()
					goesOnWithout(t, s, s.name+"/"+step, check)
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
	o := m.options(j, p)
	o.Waive = nil
	o.Gate = failover.GateFunc(func(ctx context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.ID == change {
			return failover.Approval{}, failover.ErrWaiting
		}
		if strings.HasSuffix(change, "/verify") && q.Step.ID == s.name+"/jobs" {
			require.NoError(t, open(t, m.tree, "srv2").Stop(ctx, m.drivers[0]))
			require.NoError(t, m.tree.WaitState(ctx, "srv2", m.drivers[0], idmtest.Stopped))
		}
		return failover.Approval{By: "ann"}, nil
	})
	_, err = p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)

	breakers(t, m)[strings.TrimPrefix(check, s.name+"/")]()
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

// How long each check counts is written down, and those that keep two servers from being active are firm and hold to the end.
func TestEveryCheckSaysHowLongItCounts(t *testing.T) {
	toTheEnd := map[string]string{"source-quiet": "auto", "source-silent": "auto", "source-dead": "auto", "returned-quiet": "enable-manual"}
	for _, s := range scenes() {
		p, err := s.build(s.open(t))
		require.NoError(t, err)
		for i, step := range p.Steps {
			name := strings.TrimPrefix(step.ID, s.name+"/")
			if step.Kind != failover.Check || i == len(p.Steps)-1 {
				continue
			}
			require.True(t, step.Entry || step.Guards != "", step.ID)
			if until := toTheEnd[name]; until != "" {
				require.Equal(t, s.name+"/"+until, step.Guards)
				require.True(t, step.Firm, step.ID)
			}
		}
	}
}

// The answer of a person may take days. Whoever enabled the drivers on the source meanwhile keeps the target from its last step.
func TestTheSourceIsLookedAtAgainBehindAPersonsAnswer(t *testing.T) {
	m := newMove(t, smallPair())
	p := m.switchover("srv1", "srv2")
	o := m.options(failovertest.Journal(t), p)
	o.Confirm = func(ctx context.Context, q failover.Request) (failover.Statement, error) {
		if strings.HasSuffix(q.Step.ID, "/all-good") {
			require.NoError(t, open(t, m.tree, "srv1").SetStartOption(ctx, m.drivers[0], idm.Manual, idm.NoResync))
		}
		return yes(ctx, q)
	}
	_, err := p.Run(t.Context(), o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "source-quiet")
	require.Equal(t, idmtest.Manual, m.tree.Server("srv2").StartOption(m.drivers[0]))
}

// A source that dies once it was seen out does not keep the drivers from coming up on the target.
func TestASourceThatDiesOnTheWayKeepsNobody(t *testing.T) {
	for _, step := range []string{"start", "close-gap", "jobs", "auto"} {
		t.Run(step, func(t *testing.T) {
			m := newMove(t, smallPair())
			j, p := failovertest.Journal(t), m.switchover("srv1", "srv2")
			o := m.options(j, p)
			o.Gate = failover.GateFunc(func(_ context.Context, q failover.Request) (failover.Approval, error) {
				if q.Step.ID == "switchover/"+step {
					return failover.Approval{}, failover.ErrWaiting
				}
				return failover.Approval{By: "ann"}, nil
			})
			_, err := p.Run(t.Context(), o)
			require.ErrorIs(t, err, failover.ErrWaiting)
			m.tree.Server("srv1").Kill()
			o.Gate = nil
			_, err = p.Run(t.Context(), o)
			require.NoError(t, err)
			m.stand("srv2", "", idmtest.Auto)
		})
	}
}
