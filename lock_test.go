package failover_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// memoryLock is a Lock in memory that can lose replies and be stolen.
type memoryLock struct {
	held      failover.Claim
	loseReply bool
	blind     bool // it cannot be read
	late      bool // a request takes effect when nobody looks any more
	coming    failover.Claim
	calls     []string
}

func (l *memoryLock) Acquire(_ context.Context, c failover.Claim) error {
	l.calls = append(l.calls, "acquire")
	if l.held.ID != "" && l.held.ID != c.ID {
		return &failover.Error{Op: "lock", Outcome: failover.NotApplied,
			Err: fmt.Errorf("%w: held by %s for %s", failover.ErrLocked, l.held.Owner, l.held.Purpose)}
	}
	if l.late {
		l.coming = c
		return errors.New("reply lost")
	}
	l.held = c
	if l.loseReply {
		return errors.New("reply lost")
	}
	return nil
}

func (l *memoryLock) Check(_ context.Context, c failover.Claim) error {
	l.calls = append(l.calls, "check")
	if l.blind {
		return &failover.Error{Op: "check lock", Outcome: failover.NotApplied, Err: assert.AnError}
	}
	if l.held.ID != c.ID {
		return &failover.Error{Op: "check lock", Outcome: failover.NotApplied, Err: failover.ErrLockLost}
	}
	return nil
}

func (l *memoryLock) Release(_ context.Context, c failover.Claim) error {
	l.calls = append(l.calls, "release")
	if l.held.ID == c.ID {
		l.held = failover.Claim{}
	}
	return nil
}

func (l *memoryLock) Holder(context.Context) (failover.Claim, bool, error) {
	return l.held, l.held.ID != "", nil
}

func (l *memoryLock) TakeOver(_ context.Context, from, to failover.Claim) error {
	if l.held.ID != from.ID {
		return &failover.Error{Op: "take over", Outcome: failover.NotApplied, Err: failover.ErrLocked}
	}
	if l.late {
		l.coming = to
		return errors.New("reply lost")
	}
	l.held = to
	return nil
}

func TestTheLockIsTakenFirstCheckedBeforeEachChangeAndGivenBack(t *testing.T) {
	w := newWorld()
	w.on["check"] = true
	lock := &memoryLock{loseReply: true}
	p := procedure(w.check("check"), w.change("a"), w.once("b"))
	p.Lock = lock
	_, err := p.Run(t.Context(), options(journal(t)))
	require.NoError(t, err, "a lost reply is settled by looking at the lock")
	assert.Equal(t, []string{"acquire", "check", "check", "check", "release"}, lock.calls)
	assert.Empty(t, lock.held.ID)
}

func TestALockWhoseReplyIsLostAndThatCannotBeReadIsInDoubt(t *testing.T) {
	w := newWorld()
	lock := &memoryLock{loseReply: true, blind: true}
	p := procedure(w.change("a"))
	p.Lock = lock
	j := journal(t)
	rep, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, assert.AnError)
	assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "the target may hold it for us")
	assert.Contains(t, failover.NextOf(err), "same journal")
	assert.Equal(t, failover.ResultInDoubt, rep.Result)
	assert.Empty(t, w.thrown)

	lock.blind, lock.loseReply = false, false
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err, "the lock knows the journal")
	assert.Empty(t, lock.held.ID)
}

// A request for the lock that shows no effect yet may still be on its way: nobody may say that it was not made.
func TestARequestForTheLockThatComesLateIsInDoubt(t *testing.T) {
	w := newWorld()
	lock := &memoryLock{late: true}
	p := procedure(w.change("a"))
	p.Lock = lock
	j := journal(t)
	rep, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	assert.Equal(t, failover.ResultInDoubt, rep.Result)
	assert.Empty(t, w.thrown)

	lock.held, lock.late = lock.coming, false
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err, failover.NextOf(err))

	bob := failover.Claim{ID: "other", Owner: "bob", Purpose: "upgrade"}
	lock.held, lock.late = bob, true
	err = p.TakeOverLock(t.Context(), options(j), bob)
	require.ErrorIs(t, err, failover.ErrInDoubt)
	decisions := j.Report().Decisions
	require.Len(t, decisions, 1)
	assert.Equal(t, failover.InDoubt, *decisions[0].Outcome)
}

func TestNothingIsChangedUnderSomebodyElsesLock(t *testing.T) {
	w := newWorld()
	other := failover.Claim{ID: "other", Owner: "bob", Purpose: "upgrade"}
	lock := &memoryLock{held: other}
	p := procedure(w.change("a"), w.change("b"))
	p.Lock = lock
	j := journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrLocked)
	assert.Contains(t, err.Error(), "bob")
	assert.Empty(t, w.thrown)

	require.NoError(t, p.TakeOverLock(t.Context(), options(j), other))
	p.Stages[0].Steps[0].Apply = func(ctx context.Context) error {
		lock.held = other
		return w.throw("a")(ctx)
	}
	rep, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrLockLost)
	assert.Equal(t, map[string]int{"a": 1}, w.thrown, "b is not changed without the lock")
	require.Len(t, rep.Decisions, 1)
	assert.Equal(t, failover.DecisionTakeOver, rep.Decisions[0].Kind)
	assert.Contains(t, rep.Decisions[0].String(), "bob")
}

func TestTheLockStaysWhileTheRunIsHalfWay(t *testing.T) {
	w := newWorld()
	lock := &memoryLock{}
	p := procedure(w.change("a"), w.check("no"))
	p.Lock = lock
	j := journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	assert.NotEmpty(t, lock.held.ID)
	_, err = p.Undo(t.Context(), options(j))
	require.NoError(t, err)
	assert.Empty(t, lock.held.ID)

	p = procedure(w.check("no"), w.change("a"))
	p.Lock = lock
	_, err = p.Run(t.Context(), options(journal(t)))
	require.Error(t, err)
	assert.Empty(t, lock.held.ID, "nothing was changed, so nothing stays locked")
}

func TestALockLostBetweenTwoAttemptsIsNamed(t *testing.T) {
	w := newWorld()
	lock := &memoryLock{}
	s := w.change("a")
	calls := 0
	s.Apply = func(context.Context) error {
		calls++
		lock.held = failover.Claim{ID: "other"}
		return &failover.Error{Op: "apply", Outcome: failover.NotApplied, Err: assert.AnError}
	}
	p := procedure(s)
	p.Lock = lock
	_, err := p.Run(t.Context(), options(journal(t)))
	require.ErrorIs(t, err, failover.ErrLockLost)
	require.ErrorIs(t, err, assert.AnError)
	assert.Equal(t, 1, calls)
}

// Whoever does what is said about a lock that could not be given back gets rid of it, and changes nothing else.
func TestALockThatWasNotGivenBackIsGivenBackByWhatIsSaid(t *testing.T) {
	for name, apply := range map[string]error{"completed": nil, "failed": refusal("a")} {
		t.Run(name, func(t *testing.T) {
			w, lock, j := newWorld(), &failovertest.Lock{}, failovertest.Journal(t)
			p := procedure(w.change("a"))
			p.Lock = lock
			if apply != nil {
				p.Stages[0].Steps[0].Apply = func(context.Context) error { return apply }
			}
			lock.Fail = func(call string) error {
				if call == "release" {
					return failover.Invalid("the lock", "is read-only", "make it writable")
				}
				return nil
			}
			_, err := p.Run(t.Context(), options(j))
			require.ErrorContains(t, err, "read-only")
			require.True(t, lock.Held())
			lock.Fail = nil
			if apply == nil {
				require.Contains(t, j.Report().Next, "make it writable; then run again with the same journal")
				_, err = p.Run(t.Context(), options(j))
			} else {
				require.Contains(t, j.Report().Error, "then undo with the same journal: nothing is in effect")
				_, err = p.Undo(t.Context(), options(j))
			}
			require.NoError(t, err)
			require.False(t, lock.Held())
			require.Equal(t, apply == nil, w.on["a"])
			require.LessOrEqual(t, w.thrown["a"], 1)
		})
	}
}
