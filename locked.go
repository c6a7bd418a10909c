package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// locked takes the lock, does the work and gives the lock back when nothing is left half-way.
func (r *run) locked(ctx context.Context, work func(context.Context) error) error {
	if r.p.Lock == nil {
		return work(ctx)
	}
	if err := r.acquire(ctx); err != nil {
		return err
	}
	err := work(ctx)
	r.j.mu.Lock()
	halfWay := r.j.fold.halfWay()
	r.j.mu.Unlock()
	if err != nil && halfWay {
		return err
	}
	// The caller's deadline may be what ended the work.
	rerr := lockCall(context.WithoutCancel(ctx), "release the lock",
		func(ctx context.Context) error { return r.p.Lock.Release(ctx, r.claim) })
	if rerr != nil && OutcomeOf(rerr) != NotApplied && outcomesIn(rerr) == nil {
		if ours, lookErr := r.lockIsOurs(ctx); !ours && lookErr == nil {
			rerr = nil // the answer was lost, not the request
		}
	}
	if rerr != nil {
		next := again(r.undo) + ": it gives the lock back"
		if err != nil && !r.undo { // a run would begin once more
			next = "undo with the same journal: nothing is in effect, and it gives the lock back"
		}
		if cause := NextOf(rerr); cause != "" {
			next = cause + "; then " + next
		}
		rerr = &Error{Op: "release the lock", Target: r.p.Name, Outcome: OutcomeOf(rerr), Next: next, Err: rerr}
	}
	return errors.Join(err, rerr)
}

func lockCall(ctx context.Context, what string, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	return do(ctx, what, fn)
}

// acquire takes the lock. Where the answer was lost, the target system knows whose it is. What an earlier holder of
// this very journal left is taken over: the store lets only one holder write at a time, so that one is gone. A holder
// that the journal does not know has a copy of it, perhaps on a cloned machine that has the same name and disk.
func (r *run) acquire(ctx context.Context) error {
	err := lockCall(ctx, "take the lock", func(ctx context.Context) error { return r.p.Lock.Acquire(ctx, r.claim) })
	if err == nil {
		return nil
	}
	if OutcomeOf(err) != NotApplied {
		ours, lookErr := r.lockIsOurs(ctx)
		if ours {
			return nil
		}
		// A request that shows no effect yet may still be on its way, and of several locks some may be ours.
		return &Error{Op: "take the lock", Target: r.p.Name, Outcome: InDoubt,
			Next: "run again with the same journal once the target can be reached: it knows its own lock; nothing else was " +
				"changed", Err: fmt.Errorf("%w: %w", ErrInDoubt, errors.Join(err, lookErr))}
	}
	if holder, held, holderErr := lockHolder(ctx, r.p.Lock); holderErr == nil && held && r.left(holder) {
		return r.takeOver(ctx, []Claim{holder}, "the journal is open for this run only, so the holder of the lock is gone")
	}
	return r.fail("take the lock",
		"find out what the holder does; take the lock over only when it is certain that nothing runs", NotApplied, err)
}

// left reports whether a lock was left by an earlier holder of this very journal.
func (r *run) left(by Claim) bool {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	return r.j.fold.holders[by.Holder.Token] && by.Journal == r.claim.Journal && by.Place != "" && by.Place == r.claim.Place
}

// lockIsOurs reads whose the lock is. The caller's deadline may be what cut an answer off.
func (r *run) lockIsOurs(ctx context.Context) (bool, error) {
	err := lockCall(context.WithoutCancel(ctx), "check the lock",
		func(ctx context.Context) error { return r.p.Lock.Check(ctx, r.claim) })
	if errors.Is(err, ErrLockLost) {
		return false, nil
	}
	return err == nil, err
}

func lockHolder(ctx context.Context, lock Lock) (claim Claim, held bool, err error) {
	err = lockCall(context.WithoutCancel(ctx), "read the lock", func(ctx context.Context) (err error) {
		claim, held, err = lock.Holder(ctx)
		return err
	})
	if errors.Is(err, ErrUnresponsive) {
		return Claim{}, false, err // the call may still write what it was given
	}
	return claim, held, err
}

// takeOver replaces the holders of the lock and records how that ended.
func (r *run) takeOver(ctx context.Context, from []Claim, evidence string) error {
	err := lockCall(ctx, "take the lock over", func(ctx context.Context) error {
		if all, several := r.p.Lock.(allLocks); several {
			return all.takeOver(ctx, r.claim, func(holder Claim) bool {
				return r.left(holder) || slices.ContainsFunc(from, func(c Claim) bool { return c.ID == holder.ID })
			})
		}
		return r.p.Lock.TakeOver(ctx, from[0], r.claim)
	})
	outcome := OutcomeOf(err)
	if err != nil && outcome != NotApplied {
		if ours, _ := r.lockIsOurs(ctx); ours {
			err, outcome = nil, Applied
		}
	}
	var held []string
	for _, c := range from {
		held = append(held, fmt.Sprintf("held by %s for %s since %s (%s on %s)", c.Owner, c.Purpose,
			c.Since.UTC().Format(time.RFC3339), c.ID, c.Holder.from()))
	}
	rec := record{Type: recTakeOver, Outcome: &outcome, Holder: &r.claim.Holder, Actor: r.o.Actor,
		From: r.claim.Holder.from(), Reason: r.o.Reason, Found: strings.Join(held, "; ") + ": " + evidence}
	if err != nil {
		rec.Error, rec.Next = err.Error(), NextOf(err)
	}
	jerr := r.j.append(rec)
	if err != nil {
		if outcome == InDoubt {
			err = fmt.Errorf("%w: %w", ErrInDoubt, err)
		}
		err = r.fail("take the lock over", "read the holder again; it may have changed", outcome, err)
	}
	return errors.Join(err, jerr)
}

func (r *run) lockStillOurs(ctx context.Context) error {
	if r.p.Lock == nil {
		return nil
	}
	if err := lockCall(ctx, "check the lock",
		func(ctx context.Context) error { return r.p.Lock.Check(ctx, r.claim) }); err != nil {
		return r.fail("check the lock", "find out who took the lock over before anything else is changed", NotApplied, err)
	}
	return nil
}

// LockHolders returns who holds the procedure's lock; none when it is free. A pair of hosts and a joined procedure have
// several locks: each holder is there once, and those that could be read are there also on error.
func (p Procedure) LockHolders(ctx context.Context) (holders []Claim, err error) {
	locks, several := p.Lock.(allLocks)
	switch {
	case p.Lock == nil:
		return nil, p.noLock()
	case !several:
		locks = allLocks{p.Lock}
	}
	var failed []error
	for _, lock := range locks {
		claim, held, err := lockHolder(ctx, lock)
		if held && !slices.ContainsFunc(holders, func(other Claim) bool { return other.ID == claim.ID }) {
			holders = append(holders, claim)
		}
		failed = append(failed, err)
	}
	return holders, errors.Join(failed...)
}

func (p Procedure) noLock() error {
	return Invalid("Procedure.Lock", "is nil in "+p.Name, "there is no lock: nothing keeps two runs apart but the journal")
}

// TakeOverLock replaces the holders of the lock with this journal's claim, and records who did it, why and how that
// ended. All holders have to be named, as LockHolders returns them: of several locks none is taken over without the
// others. RunOptions.Reason is the evidence: only a person who knows that the other runs are dead may do this, since two
// runs at once is what the lock prevents.
func (p Procedure) TakeOverLock(ctx context.Context, o RunOptions, from ...Claim) error {
	_, several := p.Lock.(allLocks)
	switch {
	case p.Lock == nil:
		return p.noLock()
	case len(from) == 0, len(from) > 1 && !several:
		return Invalid("from", fmt.Sprintf("names %d holders", len(from)), "name what LockHolders returns")
	}
	r, err := p.start(o)
	if err != nil {
		return err
	}
	defer r.j.leave()
	r.claim = r.j.claim(o)
	return r.takeOver(ctx, from, "a person answers for it")
}
