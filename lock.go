package failover

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Claim says who holds a lock and for what. A lock keeps all of it.
type Claim struct {
	// ID: random, one per holder of a journal: two copies of one journal have different ones
	ID      string    `json:"id"`
	Journal string    `json:"journal,omitempty"` // ID of the journal
	Holder  Holder    `json:"holder,omitzero"`   // who has the journal open
	Place   string    `json:"place,omitempty"`   // where the journal lies; see StoreWriter
	Epoch   int       `json:"epoch,omitempty"`   // counts the runs of the journal
	Owner   string    `json:"owner"`             // the person or service that runs the procedure
	Purpose string    `json:"purpose"`           // procedure and reason
	Since   time.Time `json:"since"`             // UTC, when the journal was begun
}

// Lock is mutual exclusion that lives in the target system, where every machine that could start a run sees it. It
// never expires by itself. A resumed run has a claim of its own: what an earlier holder of the same journal at the
// same place left is taken over by the engine, everything else by a person, with [Procedure.TakeOverLock].
type Lock interface {
	// Acquire takes the lock for the claim. It succeeds when the lock is already held under the same Claim.ID, and
	// returns an error wrapping ErrLocked, with the holder in its text, when somebody else has it, also under the same
	// Claim.Journal.
	Acquire(context.Context, Claim) error
	// Check returns nil while the lock is held under the claim's ID, and an error wrapping ErrLockLost when it is not.
	Check(context.Context, Claim) error
	// Release gives the lock back. Releasing a lock that is not held under the claim's ID changes nothing and is no error.
	Release(context.Context, Claim) error
	// Holder returns who has the lock, with every field of the claim; the bool is false when nobody has.
	Holder(context.Context) (Claim, bool, error)
	// TakeOver replaces the holder named by from with the claim to. It fails with ErrLocked when the holder is another
	// one.
	TakeOver(ctx context.Context, from, to Claim) error
}

// Locks makes one lock of several: it is held when every one of them is. They are taken in their order, and taken over
// all or none. Where only some could be taken, given back or taken over, the error is [Targets] and tells of each, by its
// name where it has a String method.
func Locks(locks ...Lock) Lock {
	var all allLocks
	for _, lock := range locks {
		if inner, several := lock.(allLocks); several {
			all = append(all, inner...)
		} else {
			all = append(all, lock)
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

type allLocks []Lock

// name is what a lock is called beside the others: by itself, where it has a String method.
func (l allLocks) name(n int) string {
	if named, ok := l[n].(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("lock %d of %d", n+1, len(l))
}

// Acquire takes the locks in order. When one is refused, those that were taken here are given back, and that one too
// where its answer was lost. What was ours before stays. The error then tells which could not be given back.
func (l allLocks) Acquire(ctx context.Context, c Claim) error {
	var taken []int
	for n, lock := range l {
		if lock.Check(ctx, c) == nil {
			continue
		}
		err := lock.Acquire(ctx, c)
		ctx := context.WithoutCancel(ctx)
		if err == nil || OutcomeOf(err) != NotApplied {
			taken = append(taken, n)
		}
		if err == nil || OutcomeOf(err) != NotApplied && lock.Check(ctx, c) == nil {
			continue
		}
		results := Targets{{Target: l.name(n), Err: err}}
		for _, k := range slices.Backward(taken) {
			if left := l[k].Release(ctx, c); left != nil && k < n {
				results.Add(l.name(k), &Error{Op: "give back", Outcome: Applied, Next: NextOf(left), Err: left})
			}
		}
		return results.Err()
	}
	return nil
}

// Check looks at every lock.
func (l allLocks) Check(ctx context.Context, c Claim) error {
	for _, lock := range l {
		if err := lock.Check(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Release gives them back the other way round.
func (l allLocks) Release(ctx context.Context, c Claim) error {
	var results Targets
	for n, lock := range slices.Backward(l) {
		results.Add(l.name(n), lock.Release(ctx, c))
	}
	return results.Err()
}

// Holder returns the first holder.
func (l allLocks) Holder(ctx context.Context) (Claim, bool, error) {
	for _, lock := range l {
		if c, held, err := lock.Holder(ctx); err != nil || held {
			return c, held, err
		}
	}
	return Claim{}, false, nil
}

// TakeOver takes every lock over that from holds, and takes those that are free: the earlier holder may have been
// stopped between two locks.
func (l allLocks) TakeOver(ctx context.Context, from, to Claim) error {
	return l.takeOver(ctx, to, func(holder Claim) bool { return holder.ID == from.ID })
}

// takeOver takes over what is held by one of the gone. It looks at all locks before it touches one.
func (l allLocks) takeOver(ctx context.Context, to Claim, gone func(Claim) bool) error {
	holders, free := make([]Claim, len(l)), make([]bool, len(l))
	for n, lock := range l {
		holder, held, err := lock.Holder(ctx)
		if err != nil {
			return &Error{Op: "read the lock", Target: to.Purpose, Outcome: NotApplied, Err: err}
		}
		if held && holder.ID != to.ID && !gone(holder) {
			return &Error{Op: "take the lock over", Target: to.Purpose, Outcome: NotApplied,
				Next: "find out what that one does too, and name every holder: none of the locks is taken over without the others",
				Err:  fmt.Errorf("%w: %s holds %s for %s", ErrLocked, holder.Owner, l.name(n), holder.Purpose)}
		}
		holders[n], free[n] = holder, !held
	}
	var results Targets
	for n, lock := range l {
		var err error
		switch {
		case free[n]:
			err = lock.Acquire(ctx, to)
		case holders[n].ID != to.ID:
			err = lock.TakeOver(ctx, holders[n], to)
		}
		if !results.Add(l.name(n), err) {
			break
		}
	}
	return results.Err()
}
