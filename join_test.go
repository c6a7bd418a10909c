package failover_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// mover is a small procedure of two stages with a fact, a parameter and a lock of its own.
type mover struct {
	w    *world
	lock *failovertest.Lock
	fact failover.Fact[string]
	mu   *sync.Mutex
	log  *[]string
}

func newMover(mu *sync.Mutex, log *[]string) *mover {
	m := &mover{w: newWorld(), lock: &failovertest.Lock{}, fact: failover.Fact[string]{Name: "start"}, mu: mu, log: log}
	m.w.on["ready"] = true
	return m
}

func (m *mover) procedure(name string) failover.Procedure {
	say := func(what string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		*m.log = append(*m.log, name+" "+what)
	}
	note := m.w.change("note")
	note.Writes = []string{"start"}
	note.Apply = func(ctx context.Context) error {
		_, err := m.fact.Capture(ctx, func(context.Context) (string, error) { return name, nil })
		say("note")
		return errors.Join(err, m.w.throw("note")(ctx))
	}
	move := m.w.once("move")
	throw := move.Apply
	move.Apply = func(ctx context.Context) error {
		start, ok, err := m.fact.Load(ctx)
		if !ok || start != name {
			return errors.Join(err, failover.Invalid("fact", "is of another part", "scope it"))
		}
		time.Sleep(time.Minute)
		say("move")
		return throw(ctx)
	}
	move.Timeout = time.Hour
	ready := m.w.check("ready")
	return failover.Procedure{Name: "test.Move", Lock: m.lock,
		Parameters: []failover.Parameter{{Name: "group", Value: name}},
		Stages: []failover.Stage{{Name: "check", Steps: []failover.Step{ready}},
			{Name: "prepare", Steps: []failover.Step{note}},
			{Name: "move", Outage: true, Steps: []failover.Step{move}}}}
}

func TestStagesNameTheirSteps(t *testing.T) {
	var mu sync.Mutex
	var log []string
	p := newMover(&mu, &log).procedure("x")
	require.NoError(t, p.Validate())
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, "prepare/note", plan.Steps[1].ID)
	assert.True(t, plan.Steps[2].Outage)
	w := newWorld()
	p, err = p.InsertBefore("move/move", w.check("mine"))
	require.NoError(t, err)
	plan, err = p.Plan(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, "move/mine", plan.Steps[2].ID)
	for name, bad := range map[string]failover.Procedure{
		"twice": {Name: "p", Stages: []failover.Stage{{Name: "a", Steps: []failover.Step{w.check("x")}},
			{Name: "a", Steps: []failover.Step{w.check("y")}}}},
		"slash": {Name: "p", Stages: []failover.Stage{{Name: "a/b", Steps: []failover.Step{w.check("x")}}}},
		"none":  {Name: "p", Stages: []failover.Stage{{Name: "a"}}},
	} {
		require.ErrorIs(t, bad.Validate(), failover.ErrInvalid, name)
	}
}

func TestJoinedPartsRunSideBySideAndKeepToThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log []string
		files, mail, last := newMover(&mu, &log), newMover(&mu, &log), newMover(&mu, &log)
		p, err := failover.Join(failover.JoinOptions{Name: "site.Move"},
			failover.Part{Name: "files", Procedure: files.procedure("files")},
			failover.Part{Name: "mail", Procedure: mail.procedure("mail")},
			failover.Part{Name: "last", Procedure: last.procedure("last"), After: []string{"files", "mail"}})
		require.NoError(t, err)
		began := time.Now()
		rep, err := p.Run(t.Context(), options(failovertest.Journal(t)))
		require.NoError(t, err)
		assert.Equal(t, 2*time.Minute, time.Since(began).Round(time.Minute), "two side by side, then one")
		assert.Equal(t, failover.ResultCompleted, rep.Result)
		assert.Len(t, rep.Outages, 3)
		step, ok := rep.Step("mail/move/move")
		require.True(t, ok)
		assert.Equal(t, "mail", step.Part)
		assert.Contains(t, rep.String(), "mail:")
		assert.Equal(t, []string{"last note", "last move"}, log[4:])
		for _, m := range []*mover{files, mail, last} {
			assert.Equal(t, map[string]int{"note": 1, "move": 1}, m.w.thrown)
			assert.False(t, m.lock.Held())
			assert.Equal(t, 1, m.lock.Calls["acquire"])
		}
	})
}

func TestAllChecksOfAllPartsComeFirst(t *testing.T) {
	var mu sync.Mutex
	var log []string
	one, two := newMover(&mu, &log), newMover(&mu, &log)
	two.w.on["ready"] = false
	p, err := failover.Join(failover.JoinOptions{Name: "j"}, failover.Part{Name: "one", Procedure: one.procedure("one")},
		failover.Part{Name: "two", Procedure: two.procedure("two"), After: []string{"one"}})
	require.NoError(t, err)
	_, err = p.Run(t.Context(), options(failovertest.Journal(t)))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	assert.Empty(t, log)
}

func TestAPartThatStopsStopsOnlyWhatDependsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log []string
		bad, good, after := newMover(&mu, &log), newMover(&mu, &log), newMover(&mu, &log)
		broken := bad.procedure("bad")
		fails := true
		throw := broken.Stages[1].Steps[0].Apply
		broken.Stages[1].Steps[0].Apply = func(ctx context.Context) error {
			if fails {
				return &failover.Error{Op: "note", Outcome: failover.NotApplied, Next: "ask", Err: failover.ErrRejected}
			}
			return throw(ctx)
		}
		build := func() failover.Procedure {
			p, err := failover.Join(failover.JoinOptions{Name: "j", Limit: 1}, failover.Part{Name: "bad", Procedure: broken},
				failover.Part{Name: "good", Procedure: good.procedure("good")},
				failover.Part{Name: "after", Procedure: after.procedure("after"), After: []string{"bad"}})
			require.NoError(t, err)
			return p
		}
		j := failovertest.Journal(t)
		rep, err := build().Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrRejected)
		var parts failover.Targets
		require.ErrorAs(t, err, &parts)
		assert.Equal(t, "for the part bad: ask", failover.NextOf(err),
			"what it needs, in the words of the part that waits for it")
		assert.Equal(t, failover.ResultPartWay, rep.Result)
		assert.Equal(t, 1, good.w.thrown["move"])
		assert.Empty(t, after.w.thrown)
		assert.True(t, good.lock.Held(), "half-way")
		fails = false
		rep, err = build().Run(t.Context(), options(j))
		require.NoError(t, err)
		assert.Equal(t, failover.ResultCompleted, rep.Result)
		assert.Equal(t, 1, good.w.thrown["move"], "once")
		assert.Equal(t, 1, after.w.thrown["move"])
	})
}

func TestUndoOfAJoinedProcedureGoesBackInReverse(t *testing.T) {
	w, v := newWorld(), newWorld()
	part := func(w *world, names ...string) failover.Procedure {
		var steps []failover.Step
		for _, name := range names {
			steps = append(steps, w.change(name))
		}
		return procedure(steps...)
	}
	p, err := failover.Join(failover.JoinOptions{Name: "j"}, failover.Part{Name: "one", Procedure: part(w, "a", "b")},
		failover.Part{Name: "two", Procedure: part(w, "c"), After: []string{"one"}},
		failover.Part{Name: "no", Procedure: procedure(v.check("no")), After: []string{"two"}})
	require.NoError(t, err)
	v.on["no"] = true
	j := failovertest.Journal(t)
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err)
	_, err = p.Undo(t.Context(), options(j))
	require.NoError(t, err)
	assert.Equal(t, []string{"c", "b", "a"}, w.undone)
}

func TestJoinRefusesWhatCannotBeJoined(t *testing.T) {
	w := newWorld()
	p := procedure(w.check("a"))
	for name, parts := range map[string][]failover.Part{
		"none": {}, "twice": {{Name: "x", Procedure: p}, {Name: "x", Procedure: p}}, "slash": {{Name: "x/y", Procedure: p}},
		"unknown":      {{Name: "x", Procedure: p, After: []string{"y"}}},
		"circle":       {{Name: "x", Procedure: p, After: []string{"x"}}},
		"invalid part": {{Name: "x"}},
	} {
		_, err := failover.Join(failover.JoinOptions{Name: "j"}, parts...)
		require.ErrorIs(t, err, failover.ErrInvalid, name)
	}
}

// Two parts with crashes at every record: each as it would be alone.
func TestJoinedPartsSurviveACrashAtEveryRecord(t *testing.T) {
	n := failovertest.CrashEverywhere(t, func(testing.TB) failovertest.World {
		var mu sync.Mutex
		var log []string
		one, two := newMover(&mu, &log), newMover(&mu, &log)
		return failovertest.World{
			Procedure: func(testing.TB) failover.Procedure {
				build := func(m *mover, name string) failover.Procedure {
					p := m.procedure(name)
					throw := m.w.throw("move")
					p.Stages[2].Steps[0].Apply = func(ctx context.Context) error { return throw(ctx) }
					return p
				}
				p, err := failover.Join(failover.JoinOptions{Name: "j"}, failover.Part{Name: "one", Procedure: build(one, "one")},
					failover.Part{Name: "two", Procedure: build(two, "two")})
				require.NoError(t, err)
				return p
			},
			Verify: func(tb testing.TB) {
				for _, m := range []*mover{one, two} {
					require.LessOrEqual(tb, m.w.thrown["move"], 1)
					require.True(tb, m.w.on["move"])
					require.False(tb, m.lock.Held())
				}
			},
		}
	})
	assert.Greater(t, n, 20)
}

// The checks at the head of every part are made before the first change of any, and the plan says so.
func TestAPlanStopsAtTheHeadOfEveryPart(t *testing.T) {
	w := newWorld()
	head, tail := w.check("head"), w.check("tail")
	build := func(steps ...failover.Step) failover.Procedure {
		return failover.Procedure{Name: "p", Stages: []failover.Stage{{Name: "s", Steps: steps}}}
	}
	p, err := failover.Join(failover.JoinOptions{Name: "site.Move"},
		failover.Part{Name: "one", Procedure: build(w.change("a"))},
		failover.Part{Name: "two", Procedure: build(head, w.change("b"), tail)})
	require.NoError(t, err)
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, plan.Blockers(), 1)
	assert.Equal(t, "two/s/head", plan.Blockers()[0].ID)
	assert.Equal(t, failover.ActionLater, plan.Steps[3].Action)
}

// The checks at the head of a part are looked at before the first change of any. A part that begins later, because of
// another one or of a person who is asked there, does not rely on that look.
func TestAPartThatBeginsLaterLooksAgain(t *testing.T) {
	person := failover.Step{ID: "call", Title: "Call", Kind: failover.Manual, Help: "Call them."}
	for _, first := range []failover.Step{newWorld().change("a"), person} {
		for _, after := range [][]string{{"one"}, nil} { // without it, the part waits for the only place
			w := newWorld()
			w.on["ready"] = true
			if apply := first.Apply; apply != nil {
				first.Apply = func(ctx context.Context) error {
					w.on["ready"] = false
					return apply(ctx)
				}
			}
			second := w.change("b")
			second.Apply = func(ctx context.Context) error {
				assert.True(t, w.on["ready"], "behind %s", first.Kind)
				return w.throw("b")(ctx)
			}
			p, err := failover.Join(failover.JoinOptions{Name: "site.Move", Limit: 1},
				failover.Part{Name: "one", Procedure: procedure(first)},
				failover.Part{Name: "two", Procedure: procedure(w.check("ready"), second), After: after})
			require.NoError(t, err)
			o := options(failovertest.Journal(t))
			o.Confirm = func(context.Context, failover.Request) (failover.Statement, error) {
				w.on["ready"] = false
				return failover.Statement{By: "ann", Says: "done", Reason: "did it"}, nil
			}
			if _, err = p.Run(t.Context(), o); after != nil {
				require.ErrorIs(t, err, failover.ErrPrecondition)
			}
		}
	}
}

// A question in one part takes long. Another part, whose second attempt was agreed to before, does not wait behind it to
// go on with what it had found by then.
func TestAQuestionInOnePartKeepsNoOtherOneWaiting(t *testing.T) {
	refusedOnce, asking, applied := make(chan struct{}), make(chan struct{}), make(chan struct{})
	slow, quick := newWorld().change("a"), newWorld().change("b")
	lookSlow, lookQuick, apply := slow.Observe, quick.Observe, quick.Apply
	slow.Observe = func(ctx context.Context) (failover.Observation, error) {
		<-refusedOnce
		return lookSlow(ctx)
	}
	attempts := 0
	quick.Observe = func(ctx context.Context) (failover.Observation, error) {
		if attempts == 1 {
			<-asking
		}
		return lookQuick(ctx)
	}
	quick.Apply = func(ctx context.Context) error {
		if attempts++; attempts == 1 {
			close(refusedOnce)
			return refused("b")
		}
		close(applied)
		return apply(ctx)
	}
	quick.Timeout, slow.Timeout = time.Minute, time.Minute
	p, err := failover.Join(failover.JoinOptions{Name: "site.Move"},
		failover.Part{Name: "slow", Procedure: procedure(slow)}, failover.Part{Name: "quick", Procedure: procedure(quick)})
	require.NoError(t, err)
	o := options(failovertest.Journal(t))
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.Part == "slow" && q.Attempt == 1 {
			close(asking)
			select {
			case <-applied:
			case <-time.After(20 * time.Second):
				t.Error("the other part waits for this answer")
			}
		}
		return failover.Approval{}, nil
	}
	_, err = p.Run(t.Context(), o)
	require.NoError(t, err)
}

// lockedPart is a part of one change under a lock of its own.
func lockedPart(name string, lock failover.Lock) failover.Part {
	return failover.Part{Name: name, Procedure: failover.Procedure{Name: "p", Lock: lock,
		Stages: []failover.Stage{{Name: "s", Steps: []failover.Step{newWorld().change(name)}}}}}
}

// A lock of several that somebody else has is asked for nothing more: a request that comes late would be one too many.
func TestALockOfSeveralThatWasRefusedIsNotGivenBack(t *testing.T) {
	ours, bob := failover.Claim{ID: "ours", Owner: "ann"}, failover.Claim{ID: "other", Owner: "bob"}
	var first, second failovertest.Lock
	require.NoError(t, second.Acquire(t.Context(), bob))
	require.ErrorIs(t, failover.Locks(&first, &second).Acquire(t.Context(), ours), failover.ErrLocked)
	require.Equal(t, 1, first.Calls["release"])
	require.Zero(t, second.Calls["release"])
}

// A lock of several that was taken while its answer was lost is not left behind.
func TestALostAnswerLeavesNoneOfSeveralLocks(t *testing.T) {
	one, two := &failovertest.Lock{}, &lossyLock{}
	p, err := failover.Join(failover.JoinOptions{Name: "site.Move"}, lockedPart("a", two), lockedPart("b", one))
	require.NoError(t, err)
	rep, err := p.Run(t.Context(), options(failovertest.Journal(t)))
	require.NoError(t, err, "it is ours, and the target system says so")
	assert.Empty(t, rep.Decisions)
	one.Fail = func(call string) error {
		if call == "acquire" {
			return errors.New("the line broke")
		}
		return nil
	}
	_, err = p.Run(t.Context(), options(failovertest.Journal(t)))
	require.Error(t, err)
	assert.False(t, one.Held())
	assert.False(t, two.Held())
}

// lossyLock takes the lock and loses the answer.
type lossyLock struct{ failovertest.Lock }

func (l *lossyLock) Acquire(ctx context.Context, c failover.Claim) error {
	return errors.Join(l.Lock.Acquire(ctx, c), errors.New("the line broke"))
}

// Of several locks none is taken over when one belongs to somebody else; where one was taken over and another refused
// afterwards, the outcome is not "not applied".
func TestSeveralLocksAreTakenOverTogether(t *testing.T) {
	gone := failover.Claim{ID: "gone", Owner: "ann", Purpose: "site.Move: night"}
	setUp := func(second failover.Claim) (one, two *failovertest.Lock, p failover.Procedure) {
		one, two = &failovertest.Lock{}, &failovertest.Lock{}
		require.NoError(t, one.Acquire(t.Context(), gone))
		require.NoError(t, two.Acquire(t.Context(), second))
		p, err := failover.Join(failover.JoinOptions{Name: "site.Move"}, lockedPart("a", one), lockedPart("b", two))
		require.NoError(t, err)
		return one, two, p
	}
	t.Run("one of several is one of the others", func(t *testing.T) {
		one, two, three := &failovertest.Lock{}, &failovertest.Lock{}, &failovertest.Lock{}
		failovertest.TestLock(t, func(testing.TB) failover.Lock {
			return failover.Locks(one, failover.Locks(two, three), failover.Locks(two))
		})
	})
	t.Run("one belongs to somebody else", func(t *testing.T) {
		one, _, p := setUp(failover.Claim{ID: "other", Owner: "bob", Purpose: "upgrade"})
		err := p.TakeOverLock(t.Context(), options(failovertest.Journal(t)), gone)
		require.ErrorIs(t, err, failover.ErrLocked)
		assert.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		assert.Contains(t, err.Error(), "bob")
		holder, _, err := one.Holder(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "gone", holder.ID)
	})
	t.Run("one is refused behind the other", func(t *testing.T) {
		_, two, p := setUp(gone)
		two.Fail = func(call string) error {
			if call == "take-over" {
				return failover.Invalid("two", "is read-only", "make it writable")
			}
			return nil
		}
		path := filepath.Join(t.TempDir(), "journal")
		j, err := failover.CreateJournal(path)
		require.NoError(t, err)
		err = p.TakeOverLock(t.Context(), options(j), gone)
		require.ErrorIs(t, err, failover.ErrInvalid)
		assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
		assert.Equal(t, failover.InDoubt, *j.Report().Decisions[0].Outcome)
		require.NoError(t, j.Close())
		two.Fail = nil
		j, err = failover.OpenJournal(path)
		require.NoError(t, err)
		require.NoError(t, p.TakeOverLock(t.Context(), options(j), gone), "another process takes the rest")
	})
}

// A take-over of several locks that was cut off leaves two holders. Whoever names both gets on; the site plan of the day
// meets the same when each system has a dead run of its own.
func TestEveryHolderOfSeveralLocksIsNamed(t *testing.T) {
	one, two := &failovertest.Lock{}, &failovertest.Lock{}
	ann := failover.Claim{ID: "ann", Owner: "ann", Purpose: "pair.Switch: night"}
	bob := failover.Claim{ID: "bob", Owner: "bob", Purpose: "upgrade"}
	require.NoError(t, one.Acquire(t.Context(), ann))
	require.NoError(t, two.Acquire(t.Context(), bob))
	p, err := failover.Join(failover.JoinOptions{Name: "site.Move"}, lockedPart("a", one), lockedPart("b", two),
		lockedPart("c", failover.Locks(one, two)))
	require.NoError(t, err)
	holders, err := p.LockHolders(t.Context())
	require.NoError(t, err)
	require.Equal(t, []failover.Claim{ann, bob}, holders)

	j := failovertest.Journal(t)
	for _, some := range [][]failover.Claim{nil, {ann}, {bob}} {
		err = p.TakeOverLock(t.Context(), options(j), some...)
		require.Error(t, err)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		holders, err = p.LockHolders(t.Context())
		require.NoError(t, err)
		require.Equal(t, []failover.Claim{ann, bob}, holders, "none without the others")
	}
	two.Fail = func(string) error { return failover.Invalid("two", "is down", "start it") }
	holders, err = p.LockHolders(t.Context())
	require.ErrorContains(t, err, "is down")
	require.Equal(t, []failover.Claim{ann}, holders, "what can be read is told")
	two.Fail = nil

	require.NoError(t, p.TakeOverLock(t.Context(), options(j), ann, bob))
	decisions := j.Report().Decisions
	last := decisions[len(decisions)-1].String()
	require.Contains(t, last, "held by ann for pair.Switch: night")
	require.Contains(t, last, "held by bob for upgrade")
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err)
	require.False(t, one.Held() || two.Held())
}

// What was taken of several locks and could not be given back is not told as not taken.
func TestALockThatCannotBeGivenBackIsTold(t *testing.T) {
	one, two := &failovertest.Lock{}, &failovertest.Lock{}
	require.NoError(t, two.Acquire(t.Context(), failover.Claim{ID: "other", Owner: "bob", Purpose: "upgrade"}))
	one.Fail = func(call string) error {
		if call == "release" {
			return failover.Invalid("one", "is read-only", "make it writable")
		}
		return nil
	}
	p, err := failover.Join(failover.JoinOptions{Name: "site.Move"}, lockedPart("a", one), lockedPart("b", two))
	require.NoError(t, err)
	j := failovertest.Journal(t)
	rep, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrLocked)
	assert.Contains(t, err.Error(), "bob")
	assert.Contains(t, err.Error(), "read-only")
	assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	assert.Equal(t, failover.ResultInDoubt, rep.Result)

	one.Fail = nil
	two.Fail = func(call string) error {
		if call == "release" {
			return failover.Invalid("two", "is read-only", "make it writable")
		}
		return nil
	}
	require.NoError(t, p.TakeOverLock(t.Context(), options(j), failover.Claim{ID: "other"}))
	_, err = p.Run(t.Context(), options(j))
	require.ErrorContains(t, err, "read-only")
	assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "the first is given back, the second is not")
	assert.False(t, one.Held())
	assert.True(t, two.Held())
}

// What a run left half-way stays locked, also when a later run does not get all of the locks.
func TestALockFromBeforeIsNotGivenBack(t *testing.T) {
	one, two := &failovertest.Lock{}, &failovertest.Lock{}
	left, first := lockedPart("a", one), newWorld()
	left.Procedure.Stages[0].Steps = []failover.Step{first.change("a"), first.change("b")}
	refuse := true
	left.Procedure.Stages[0].Steps[1].Apply = func(ctx context.Context) error {
		if refuse {
			return refusal("b")
		}
		return first.throw("b")(ctx)
	}
	p, err := failover.Join(failover.JoinOptions{Name: "site.Move"}, left, lockedPart("c", two))
	require.NoError(t, err)
	j := failovertest.Journal(t)
	rep, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	require.Equal(t, failover.ResultPartWay, rep.Result)
	bob := failover.Claim{ID: "other", Owner: "bob", Purpose: "upgrade"}
	ours, held, err := two.Holder(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, two.TakeOver(t.Context(), ours, bob))

	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrLocked)
	assert.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	assert.True(t, one.Held(), "what it guards is half-way")

	require.NoError(t, two.Release(t.Context(), bob))
	refuse = false
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err)
	assert.False(t, one.Held())
	assert.False(t, two.Held())
}
