package failovertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/01b61c5c/failover"
)

// Lock is a lock in memory, as a target system would keep it. The zero Lock is free.
type Lock struct {
	mu    sync.Mutex
	held  bool
	claim failover.Claim
	// Calls counts the calls by name.
	Calls map[string]int
	// Fail, when set, is asked before each call; its error is what the call returns, without an effect.
	Fail func(call string) error
}

var _ failover.Lock = (*Lock)(nil)

func (l *Lock) call(name string) error {
	if l.Calls == nil {
		l.Calls = map[string]int{}
	}
	l.Calls[name]++
	if l.Fail != nil {
		return l.Fail(name)
	}
	return nil
}

func lockError(op string, kind error, by failover.Claim) error {
	return &failover.Error{Op: op, Target: "memory", Outcome: failover.NotApplied, Next: "ask the holder",
		Err: fmt.Errorf("%w: by %s (%s)", kind, by.Owner, by.ID)}
}

// Acquire implements failover.Lock.
func (l *Lock) Acquire(_ context.Context, c failover.Claim) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("acquire"); err != nil {
		return err
	}
	if l.held && l.claim.ID != c.ID {
		return lockError("acquire", failover.ErrLocked, l.claim)
	}
	l.held, l.claim = true, c
	return nil
}

// Check implements failover.Lock.
func (l *Lock) Check(_ context.Context, c failover.Claim) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("check"); err != nil {
		return err
	}
	if !l.held || l.claim.ID != c.ID {
		return lockError("check", failover.ErrLockLost, l.claim)
	}
	return nil
}

// Release implements failover.Lock.
func (l *Lock) Release(_ context.Context, c failover.Claim) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("release"); err != nil {
		return err
	}
	if l.held && l.claim.ID == c.ID {
		l.held, l.claim = false, failover.Claim{}
	}
	return nil
}

// Holder implements failover.Lock.
func (l *Lock) Holder(context.Context) (failover.Claim, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("holder"); err != nil {
		return failover.Claim{}, false, err
	}
	return l.claim, l.held, nil
}

// TakeOver implements failover.Lock.
func (l *Lock) TakeOver(_ context.Context, from, to failover.Claim) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("take-over"); err != nil {
		return err
	}
	if !l.held || l.claim.ID != from.ID && l.claim.ID != to.ID {
		return lockError("take over", failover.ErrLocked, l.claim)
	}
	l.claim = to
	return nil
}

// Held reports whether somebody has the lock.
func (l *Lock) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// TestLock checks the rules of [failover.Lock] on a lock that is free. Two locks made by open must stand for the same
// lock of the target system, as two processes on two machines see it.
func TestLock(t *testing.T, open func(testing.TB) failover.Lock) {
	t.Helper()
	claim := func(id, journal, place string) failover.Claim {
		return failover.Claim{ID: id, Journal: journal, Place: place, Owner: "owner of " + id, Purpose: "test: " + id,
			Holder: failover.Holder{Token: id, Host: "host-" + id, User: "user", PID: 1}, Epoch: 1}
	}
	ours, copied, other := claim("LOCKTESTA", "JOURNAL1", "place-a"), claim("LOCKTESTB", "JOURNAL1", "place-b"),
		claim("LOCKTESTC", "JOURNAL2", "place-c")
	here, there := open(t), open(t)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	refuses := func(what string, want, err error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%s: got %v, want an error wrapping %q", what, err, want)
		}
		if failover.OutcomeOf(err) != failover.NotApplied {
			t.Errorf("%s: the outcome is %s, want not-applied", what, failover.OutcomeOf(err))
		}
	}
	ctx := t.Context()
	_, held, err := here.Holder(ctx)
	must("read a free lock", err)
	if held {
		t.Fatal("the lock is held before the test")
	}
	refuses("check a free lock", failover.ErrLockLost, here.Check(ctx, ours))
	must("release a free lock", here.Release(ctx, ours))
	must("take the lock", here.Acquire(ctx, ours))
	must("take it again", here.Acquire(ctx, ours))
	must("check it", here.Check(ctx, ours))
	for _, c := range []failover.Claim{copied, other} {
		refuses("take it for "+c.ID, failover.ErrLocked, there.Acquire(ctx, c))
		refuses("check it for "+c.ID, failover.ErrLockLost, there.Check(ctx, c))
		must("release what is not ours", there.Release(ctx, c))
		must("the lock stays", here.Check(ctx, ours))
	}
	refuses("take it over from somebody else", failover.ErrLocked, there.TakeOver(ctx, other, copied))
	got, held, err := there.Holder(ctx)
	must("read the holder", err)
	if !held || got.ID != ours.ID || got.Journal != ours.Journal || got.Place != ours.Place || got.Holder != ours.Holder ||
		got.Owner != ours.Owner {
		t.Fatalf("the holder is read as %+v, want %+v", got, ours)
	}
	must("take it over", there.TakeOver(ctx, got, copied))
	must("take it over again", there.TakeOver(ctx, got, copied))
	must("check the new holder", there.Check(ctx, copied))
	refuses("the old holder has lost it", failover.ErrLockLost, here.Check(ctx, ours))
	refuses("the old holder does not get it back", failover.ErrLocked, here.Acquire(ctx, ours))
	must("the old holder releases nothing", here.Release(ctx, ours))
	must("the new holder keeps it", there.Check(ctx, copied))
	must("release it", there.Release(ctx, copied))
	must("somebody else takes it", here.Acquire(ctx, other))
	must("and releases it", here.Release(ctx, other))
	if _, held, err = here.Holder(ctx); err != nil || held {
		t.Fatalf("the lock is still held: %v", err)
	}
}
