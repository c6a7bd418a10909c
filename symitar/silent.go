package symitar

import (
	"context"
	"errors"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
)

// silentBefore makes sure, before the macro, that the host said to be gone does not act as primary.
func (f firing) silentBefore(ctx context.Context) (failover.Observation, error) {
	return f.oldPrimarySilent(ctx, false)
}

// silentAfter looks again behind the macro, which may have moved the address of the old primary to the new one.
func (f firing) silentAfter(ctx context.Context) (failover.Observation, error) {
	return f.oldPrimarySilent(ctx, true)
}

// oldPrimarySilent proves silence, and takes everything else for life. Silent is an address to which no TCP connection
// comes about because there is no route or nothing answers at all: that is what a machine without power does. A refused
// port, any byte, a handshake or login that fails, and a server that is full or hangs come from a machine that lives.
// Then only an observed role that is not primary serves.
func (f firing) oldPrimarySilent(ctx context.Context, moved bool) (failover.Observation, error) {
	old := f.dir.old
	const off = "switch it off, or make its role readable"
	err := old.remote.Reach(ctx)
	switch remote.AnswerOf(err) {
	case remote.AnswerNone:
		return failover.Observation{Done: true, Found: "nothing answers at its address", Note: plain(err)}, nil
	case remote.AnswerUnknown:
		return failover.Observation{}, unchanged(old.named("see whether it is silent", err))
	case remote.AnswerSome:
	}
	role, votes, err := old.Role(ctx)
	switch {
	case errors.Is(err, remote.ErrPeerHostKey) && moved:
		return failover.Observation{Done: true, Found: "its address is answered by " + f.dir.next.Name()}, nil
	case errors.Is(err, remote.ErrPeerHostKey):
		return failover.Observation{Found: "its address is answered by " + f.dir.next.Name() +
			", so nothing is known about " + old.Name() + "; correct its address"}, nil
	case err != nil && ctx.Err() == nil:
		return failover.Observation{Found: "it lives, and its role is not known; " + off + ": " + plain(err)}, nil
	case err != nil:
		return failover.Observation{}, err
	case role == RoleSecondary:
		return failover.Observation{Done: true, Found: "it answers and is secondary"}, nil
	case role == RolePrimary:
		return failover.Observation{Found: "it answers and is still primary; switch it off, or use Switchover"}, nil
	}
	return failover.Observation{Found: "it answers, and its role is not clear (" + votes + "); " + off}, nil
}
