package idm_test

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// A check that could not look does not pass.
func TestNoCheckPassesThatCouldNotLook(t *testing.T) {
	replicaOperation := func(n string) idmtest.Injection {
		return idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv2", Times: -1, Code: 2,
			Text: "unrecognized extended operation",
			If:   func(r idmtest.Request) bool { return strings.HasSuffix(r.OID, ".27.100."+n) }}
	}
	for check, f := range map[string]idmtest.Injection{
		"check/rights":   replicaOperation("33"),
		"check/replicas": replicaOperation("19"),
		"prepare/passwords-needed": {Kind: idmtest.FaultRefusal, Extended: 81, Code: 2, Text: "unrecognized extended operation",
			Times: -1},
	} {
		t.Run(check, func(t *testing.T) {
			m := newMove(t, smallPair())
			m.tree.Inject(f)
			plan, err := m.switchover("srv1", "srv2").Plan(t.Context(), nil)
			require.NoError(t, err)
			for _, s := range plan.Steps {
				if s.ID == check {
					require.Equal(t, failover.ActionBlock, s.Action, "%+v", s.Observation)
				}
			}
		})
	}
}

// A source that takes the connection and says nothing is alive.
func TestAHungSourceIsNotSilent(t *testing.T) {
	m := newMove(t, smallPair())
	m.tree.Server("srv1").Kill()
	hung := mute(t)
	p := m.failover(func(o *idm.FailoverOptions) {
		o.TrySource = func(ctx context.Context) (*idm.Server, error) {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			return idm.Dial(ctx, idm.Config{URL: "ldaps://" + hung.Addr().String(), TLS: failover.TLS{Roots: x509.NewCertPool()},
				UserDN: idmtest.AdminDN, Password: secret(idmtest.AdminPassword)})
		}
	})
	_, err := m.run(p, "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "dead/source-silent")
	require.Empty(t, m.tree.Active(m.drivers[0]))
}

// A person's word does not take the place of what can be looked at.
func TestAPasswordForgottenByHandStopsBeforeTheOutage(t *testing.T) {
	m := newMove(t, smallPair())
	two := open(t, m.tree, "srv2")
	require.NoError(t, two.RemoveAllNamedPasswords(t.Context(), m.drivers[0]))
	route := m.route(two)
	route.Passwords = nil
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: route, Source: open(t, m.tree, "srv1")})
	require.NoError(t, err)
	_, err = m.run(p, "x")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "prepare/passwords-complete")
	require.ErrorContains(t, err, `named password "svc-account": missing`)
	m.stand("srv1", "srv2", idmtest.StartAuto)
}

// What is repaired at night does not end the run that has begun: passwords, limits, the folder for the queues.
func TestACorrectedConfigurationGoesOn(t *testing.T) {
	m := newMove(t, smallPair())
	one, two := open(t, m.tree, "srv1"), open(t, m.tree, "srv2")
	require.NoError(t, two.RemoveAllNamedPasswords(t.Context(), m.drivers[0]))
	o := idm.SwitchoverOptions{Route: m.route(two), Source: one}
	o.Passwords, o.Margin, o.Limit = nil, time.Minute, 1
	first, err := idm.Switchover(o)
	require.NoError(t, err)
	_, err = m.run(first, "x")
	require.ErrorContains(t, err, "prepare/passwords-complete")
	o.Passwords, o.Margin, o.Limit, o.StartTimeout, o.CacheDir = passwords, time.Hour, 2, time.Hour, m.dir
	second, err := idm.Switchover(o)
	require.NoError(t, err)
	m.mustRun(second, "x")
	m.stand("srv2", "srv1", idmtest.StartAuto)

	o.Drivers = m.drivers[:1]
	other, err := idm.Switchover(o)
	require.NoError(t, err)
	_, err = m.run(other, "x")
	require.ErrorIs(t, err, failover.ErrWrongJournal, "which drivers move is what the journal is about")
}

// A preparation asks for nothing that its own lock forbids: it ends, and the trial is a run of its own.
func TestNoPreparationWaitsForASwitchover(t *testing.T) {
	m := newMove(t, smallPair())
	m.mustRun(m.prepare(), "prepare")
	m.mustRun(m.switchover("srv1", "srv2"), "trial")
	m.mustRun(m.failback(), "back")
	m.stand("srv1", "srv2", idmtest.StartAuto)
}

// A step that is done is not done again: one that lacks a password is not done, so that somebody can add it at night. Who
// does not need it goes on as well.
func TestAPasswordThatIsFoundLaterIsSet(t *testing.T) {
	for name, found := range map[string]bool{"found": true, "not needed": false} {
		t.Run(name, func(t *testing.T) {
			m := newMove(t, pair())
			o := idm.SwitchoverOptions{Route: m.route(open(t, m.tree, "srv2")), Source: open(t, m.tree, "srv1")}
			o.Passwords = func(ctx context.Context, n idm.SecretNeeded) (failover.Secret, error) {
				if n.Kind == idm.SecretRemoteLoader {
					return failover.Secret{}, idm.ErrNoPassword
				}
				return passwords(ctx, n)
			}
			p, err := idm.Switchover(o)
			require.NoError(t, err)
			_, err = m.run(p, "x")
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.ErrorContains(t, err, "Remote Loader password: missing")
			require.Contains(t, failover.NextOf(err), "add it to the source and run again")
			m.stand("srv1", "srv2", idmtest.StartAuto)

			j, err := failover.OpenJournal(m.journal("x"))
			require.NoError(t, err)
			defer j.Close() //nolint:errcheck // test
			run := options(j)
			if found {
				o.Passwords = passwords
			} else {
				run.Waive = map[string]string{"prepare/passwords-complete": "its Remote Loader wants none"}
			}
			p, err = idm.Switchover(o)
			require.NoError(t, err)
			r, err := p.Run(t.Context(), run)
			require.NoError(t, err, "%s", r)
			m.stand("srv2", "srv1", idmtest.StartAuto)
		})
	}
}
