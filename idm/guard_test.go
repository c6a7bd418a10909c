package idm_test

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// guardOf guards srv1, to which it connects, while the drivers belong on srv2.
func guardOf(t *testing.T, m *move, settings ...func(*idm.Config)) idm.GuardOptions {
	return idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers, Active: open(t, m.tree, "srv2"),
		OldDN: "cn=srv1,ou=servers,o=system",
		Dial: func(ctx context.Context) (*idm.Server, error) {
			return idm.Dial(ctx, asAdmin(m.tree, "srv1", settings...))
		}}
}

// watchRound watches until one round was reported.
func watchRound(t *testing.T, o idm.GuardOptions) idm.GuardSighting {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []idm.GuardSighting
	require.NoError(t, idm.WatchOldServer(ctx, o, time.Hour, func(s idm.GuardSighting) {
		seen = append(seen, s)
		cancel()
	}))
	require.Len(t, seen, 1)
	return seen[0]
}

func TestGuardOldServer(t *testing.T) {
	m := newMove(t, pair())
	old := m.tree.Server("srv1")
	old.Kill()
	m.mustRun(m.failover(nil), "failover")
	o := guardOf(t, m, callTimeout(10*time.Second))
	o.Poll, o.Wait, o.StopTimeout = 2*time.Millisecond, time.Minute, time.Minute
	p, err := idm.GuardOldServer(o)
	require.NoError(t, err)
	time.AfterFunc(50*time.Millisecond, func() { _ = old.Start() })
	m.mustRun(p, "guard")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.StateStopped, old.State(d))
		require.Equal(t, idmtest.StartDisabled, old.StartOption(d))
		require.Equal(t, idmtest.StateRunning, m.tree.Server("srv2").State(d))
	}
	m.mustRun(m.failback(), "failback")
	for _, d := range m.drivers {
		require.Equal(t, idmtest.StateRunning, old.State(d))
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
	o := guardOf(t, m, callTimeout(10*time.Second))
	o.Poll, o.StopTimeout = 2*time.Millisecond, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan idm.GuardSighting, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- idm.WatchOldServer(ctx, o, 5*time.Millisecond, func(s idm.GuardSighting) { seen <- s })
	}()
	require.NoError(t, old.Start())
	require.Eventually(t, func() bool {
		for _, d := range m.drivers {
			if old.State(d) != idmtest.StateStopped || old.StartOption(d) != idmtest.StartDisabled {
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

// A watch that is ended while it works still tells what it did: the start option was set, the driver may be stopping.
func TestAWatchThatIsEndedTellsWhatItDid(t *testing.T) {
	cfg := smallPair()
	cfg.Drivers = 1
	m := newMove(t, cfg)
	old := m.tree.Server("srv1")
	old.Behave(m.drivers[0], idmtest.Behaviour{StopTime: time.Hour})
	require.NoError(t, open(t, m.tree, "srv2").SetStartOption(t.Context(), m.drivers[0], idm.StartManual, idm.ResyncNone))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for old.State(m.drivers[0]) != idmtest.StateStopping && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	o := guardOf(t, m)
	o.Poll = time.Millisecond
	var seen []idm.GuardSighting
	require.NoError(t, idm.WatchOldServer(ctx, o, time.Hour, func(s idm.GuardSighting) { seen = append(seen, s) }))
	require.Len(t, seen, 1)
	require.True(t, seen[0].Acted)
	require.NotEqual(t, failover.NotApplied, failover.OutcomeOf(seen[0].Err), "%v", seen[0].Err)
	require.Equal(t, idmtest.StartManual, old.StartOption(m.drivers[0]))
}

// The guard never stops a driver that is enabled nowhere else.
func TestGuardLeavesTheOnlyActiveServerAlone(t *testing.T) {
	m := newMove(t, pair())
	p, err := idm.GuardOldServer(guardOf(t, m))
	require.NoError(t, err)
	_, err = m.run(p, "guard")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	m.stand("srv1", "srv2", idmtest.StartAuto)
}

// A try to reach a server that is off waits for seconds, not for as long as a driver may take to stop: meanwhile the
// server comes back.
func TestTheGuardsTriesAreShort(t *testing.T) {
	m := newMove(t, smallPair())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	o := guardOf(t, m)
	o.StopTimeout, o.Dial = time.Hour, func(ctx context.Context) (*idm.Server, error) {
		at, limited := ctx.Deadline()
		require.True(t, limited && time.Until(at) < time.Minute)
		if asked++; asked == 2 {
			cancel()
		}
		return nil, idm.ErrUnreachable
	}
	require.ErrorIs(t, idm.WatchOldServer(ctx, o, time.Millisecond, nil), failover.ErrInvalid)
	require.NoError(t, idm.WatchOldServer(ctx, o, time.Millisecond, func(idm.GuardSighting) {}))
	require.Equal(t, 2, asked)
}

// A server that says success and disables nothing is not called disabled.
func TestAWatchSeesWhatItDid(t *testing.T) {
	m := newMove(t, smallPair())
	for _, d := range m.drivers {
		require.NoError(t, open(t, m.tree, "srv2").SetStartOption(t.Context(), d, idm.StartManual, idm.ResyncNone))
	}
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultEmptySuccess, Server: "srv1", Extended: 9, Times: -1})
	seen := watchRound(t, guardOf(t, m))
	require.True(t, seen.Acted)
	require.ErrorIs(t, seen.Err, failover.ErrNotObserved)
}

// A server that cannot be asked may run everything: why it does not answer is told.
func TestAWatchTellsWhyAServerCannotBeAsked(t *testing.T) {
	m := newMove(t, smallPair())
	for why, told := range map[error]bool{fmt.Errorf("%w: TLS handshake: EOF", idm.ErrLineLost): true,
		fmt.Errorf("%w: %w", idm.ErrUnreachable, &net.DNSError{Err: "no such host"}):                          true,
		fmt.Errorf("%w: %w", idm.ErrUnreachable, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}):         false,
		fmt.Errorf("%w: %w", idm.ErrUnreachable, &net.OpError{Op: "dial", Err: syscall.Errno(syscall.EPERM)}): true} {
		o := guardOf(t, m)
		o.Dial = func(context.Context) (*idm.Server, error) { return nil, why }
		seen := watchRound(t, o)
		require.False(t, seen.Answers)
		require.Equal(t, told, seen.Err != nil, "%v", why)
	}
}

// A stop that is refused does not undo the start option that was set before it, whose answer was lost.
func TestARefusalBehindALostAnswerLeavesTheGuardInDoubt(t *testing.T) {
	cfg := smallPair()
	cfg.Drivers = 1
	m := newMove(t, cfg)
	require.NoError(t, open(t, m.tree, "srv2").SetStartOption(t.Context(), m.drivers[0], idm.StartManual, idm.ResyncNone))
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultDropReply, Server: "srv1", Extended: 9})
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv1", Extended: 17, NDS: -672, Times: -1})
	seen := watchRound(t, guardOf(t, m))
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(seen.Err), "%v", seen.Err)
	require.Equal(t, idmtest.StartManual, m.tree.Server("srv1").StartOption(m.drivers[0]))
}

// A queue that goes with a disabling whose answer was lost is told all the same: the next round finds nothing to do.
func TestAWatchTellsOfAQueueWhoseDisablingWasNotAnswered(t *testing.T) {
	cfg := smallPair()
	cfg.Drivers = 1
	m := newMove(t, cfg)
	driver, old := m.drivers[0], m.tree.Server("srv1")
	old.Behave(driver, idmtest.Behaviour{HoldEvents: true})
	m.tree.Change()
	require.NoError(t, open(t, m.tree, "srv2").SetStartOption(t.Context(), driver, idm.StartManual, idm.ResyncNone))
	m.tree.Inject(idmtest.Injection{Kind: idmtest.FaultDropReply, Server: "srv1", Extended: 9, Skip: 1})
	seen := watchRound(t, guardOf(t, m))
	require.Error(t, seen.Err)
	require.Equal(t, idmtest.StartDisabled, old.StartOption(driver), "its queue is gone")
	require.Contains(t, seen.Waited[driver], "bytes wait there")
}
