package failover_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

var (
	exploreSeed  = flag.Uint64("explore.seed", 1, "seed of the random exploration")
	exploreCount = flag.Int("explore.count", 2000, "how many random traces are tried")
)

// history plays actions until the procedure is at an end or there were enough, and checks what the engine says after
// each.
func (w *explored) history(ctx context.Context, actions int) error {
	w.effect, w.fired, w.store = map[string]bool{}, map[string]int{}, failovertest.NewStore("machine one")
	w.others, w.plans, w.said = map[string]int{}, map[failover.PlanHash]map[string]string{}, map[string]bool{}
	for range w.parts {
		lock := &exploredLock{w: w}
		lock.Fail = func(string) error {
			if w.dead.Load() {
				return errDead
			}
			return nil
		}
		w.locks = append(w.locks, lock)
	}
	var old *failovertest.Store // the journal's copy that another machine went on without
	for n := range actions {
		w.full, w.ended, w.hidden, w.faulty = false, false, map[string]bool{}, map[string]bool{}
		w.agreed = map[string]string{}
		w.dead.Store(false)
		action := "run"
		if n > 0 {
			options := []string{"run", "undo", "resolve and run", "resolve and undo", "run on another machine"}
			if by, held, _ := w.locks[0].Holder(ctx); old != nil && held && by.Place == "memory:"+w.store.String() {
				options = append(options, "run on the first machine")
			}
			if w.cuts && w.choose("cut", 4) > 0 {
				records := 1 + w.choose("records", 8)
				w.store.Cut(records)
				w.cut, w.trace = true, append(w.trace, fmt.Sprintf("the last %d records are lost", records))
			}
			action = w.pick("action", options...)
		}
		switch world := w.pick("world", "fine", "hold cannot be seen", "swap cannot be seen", "start cannot be seen",
			"ready does not hold", "entry does not hold"); {
		case strings.HasSuffix(world, " cannot be seen"):
			w.hidden[w.parts[0]+"/"+strings.TrimSuffix(world, " cannot be seen")] = true
		case strings.HasSuffix(world, " does not hold"):
			w.faulty[w.parts[0]+"/"+strings.TrimSuffix(world, " does not hold")] = true
		}
		if action == "run on the first machine" {
			// Its copy of the journal knows nothing of what the other machine did: the lock has to keep it out.
			w.store, old = old, w.store
			if err := w.excluded(ctx); err != nil {
				return err
			}
			w.store, old = old, w.store
			continue
		}
		if action == "run on another machine" {
			old, w.store = w.store, w.store.Copy(fmt.Sprintf("machine %d", n+2))
		}
		end, err := w.act(ctx, action)
		if err != nil || end || w.bad != "" {
			return err
		}
		w.settleLate()
	}
	return nil
}

func (w *explored) excluded(ctx context.Context) error {
	j, err := w.journal()
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	before := fmt.Sprint(w.effect)
	if _, err := w.procedure().Run(ctx, options(j)); err == nil {
		w.violated("a stale copy of the journal was not kept out")
	}
	if fmt.Sprint(w.effect) != before {
		w.violated("a stale copy of the journal changed something")
	}
	return nil
}

func (w *explored) act(ctx context.Context, action string) (end bool, err error) {
	j, err := w.journal()
	if err != nil {
		return false, err
	}
	defer func() { _ = j.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	w.cancel = func() { w.ended = true; cancel() }
	w.stop = sync.OnceFunc(func() { w.ended = true; close(stop) })
	if strings.HasPrefix(action, "resolve") {
		w.resolve(j)
	}
	before := w.version
	if w.rich {
		w.version = cmp.Or(w.pick("program", "", "does more", "starts elsewhere", "starts nothing"), before)
		w.person(j)
	}
	p := w.procedure()
	o := options(j)
	o.Stop = stop
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.dead.Load() {
			return failover.Approval{}, errDead
		}
		id := w.id(q.Step)
		options := []string{"approves", "waits", "refuses", "approves while the check breaks", "stops the run", "is cancelled"}
		if w.rich {
			options = append(options, "approves while somebody else changes it")
		}
		w.agreed[id] = q.Observation.Found
		switch w.pick("gate "+q.Step.ID, options...) {
		case "approves while somebody else changes it":
			w.others[id]++
		case "waits":
			return failover.Approval{}, failover.ErrWaiting
		case "refuses":
			return failover.Approval{}, errors.New("no")
		case "approves while the check breaks":
			w.faulty[w.parts[0]+"/ready"] = true
		case "stops the run":
			w.stop()
		case "is cancelled":
			w.cancel()
		}
		return failover.Approval{By: "gate"}, nil
	}
	o.Confirm = w.confirm
	if w.rich && !strings.Contains(action, "undo") {
		if err := w.approve(ctx, p, j, &o); err != nil {
			return false, err
		}
	}
	if action == "run on another machine" {
		for _, lock := range w.locks {
			if holder, held, _ := lock.Holder(ctx); held {
				_ = p.TakeOverLock(ctx, o, holder) // a person knows that the other process is dead
				break
			}
		}
	}
	w.taking = false
	var rep *failover.Report
	if strings.Contains(action, "undo") {
		rep, err = p.Undo(ctx, o)
	} else {
		rep, err = p.Run(ctx, o)
		if err == nil && w.undoes && !w.cut {
			w.violated("a run was completed after an undo had begun")
		}
	}
	if rep == nil {
		w.version = before
	}
	if w.dead.Load() {
		return false, nil
	}
	w.judge(rep, err, strings.Contains(action, "undo"))
	return err == nil, nil
}

// resolve is the person who looks at the target and says what is so.
func (w *explored) resolve(j *failover.Journal) {
	for _, s := range j.Report().Steps {
		if s.Status != failover.StatusInDoubt {
			continue
		}
		there, all := false, true
		for _, key := range w.keys(w.id(s.StepInfo)) {
			there, all = there || w.effect[key], all && w.effect[key]
		}
		if there && !all {
			continue // neither word would be true
		}
		outcome := failover.NotApplied
		if there != s.Undoing {
			outcome = failover.Applied
		}
		_ = j.Resolve(s.ID, outcome, "operator", "looked at the target")
	}
}

// person confirms the Manual step between two runs.
func (w *explored) person(j *failover.Journal) {
	for _, s := range j.Report().Steps {
		if s.Kind == failover.Manual && s.Status != failover.StatusConfirmed && w.pick("a person", "", "confirms") != "" {
			if j.Confirm(s.ID, failover.Statement{By: "operator", Says: "done", Reason: "did it"}) == nil {
				w.said[strings.TrimSuffix(w.id(s.StepInfo), "call")] = true
			}
		}
	}
}

// confirm is the person who is asked about the Manual step.
func (w *explored) confirm(_ context.Context, q failover.Request) (failover.Statement, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead.Load() {
		return failover.Statement{}, errDead
	}
	switch w.pick("confirm "+q.Step.ID, "is done", "waits", "fails", "is done while the check breaks", "stops the run",
		"is cancelled") {
	case "waits":
		return failover.Statement{}, failover.ErrWaiting
	case "fails":
		return failover.Statement{}, errors.New("nobody answers")
	case "is done while the check breaks":
		w.faulty[w.parts[0]+"/ready"] = true
	case "stops the run":
		w.stop()
	case "is cancelled":
		w.cancel()
	}
	w.said[strings.TrimSuffix(w.id(q.Step), "call")] = true
	return failover.Statement{By: "operator", Says: "done", Reason: "did it"}, nil
}

// approve runs under a plan, made now or before; somebody else may change something between plan and run.
func (w *explored) approve(ctx context.Context, p failover.Procedure, j *failover.Journal, o *failover.RunOptions) error {
	which := w.pick("approved", "nothing", "a new plan", "the plan of before", "a new plan, and there is no gate")
	if which == "nothing" {
		return nil
	}
	if which != "the plan of before" {
		plan, err := p.Plan(ctx, j)
		if errors.Is(err, failover.ErrWrongJournal) || errors.Is(err, failover.ErrUndone) {
			return nil
		}
		if err != nil {
			return err
		}
		w.newest, w.plans[plan.Findings] = plan.Findings, map[string]string{}
		for _, s := range plan.Steps {
			if s.Action == failover.ActionApply {
				w.plans[plan.Findings][w.id(s.StepInfo)] = s.Observation.Found
			}
		}
	}
	if which == "a new plan, and there is no gate" {
		o.Gate = nil
	}
	o.Approved = w.newest
	for id, found := range w.plans[w.newest] {
		w.agreed[id] = found
	}
	if step := w.pick("somebody else changes", "nothing", "hold", "more", "swap", "start", "start@b"); step != "nothing" {
		w.others[w.parts[0]+"/"+step]++
	}
	return nil
}

// judge compares what the engine says with what is so.
func (w *explored) judge(rep *failover.Report, err error, undo bool) {
	if rep == nil {
		return
	}
	for part, times := range w.fired {
		if times > 1 {
			w.violated("the Once of the part %s took effect %d times", part, times)
		}
	}
	if w.cut { // what the journal does not know of any more cannot be told or undone, but a firing is asked about
		for _, part := range w.parts {
			if err == nil && undo && w.effect[part+"/swap/"] && !w.effect[part+"/hold/a"] {
				w.violated("what a firing stands on was undone")
			}
		}
		return
	}
	if w.everTwo {
		w.violated("two sides were active")
	}
	ours := false
	for _, on := range w.effect {
		ours = ours || on
	}
	for _, s := range rep.Steps {
		s.ID = w.id(s.StepInfo)
		whole := true
		for _, key := range w.keys(s.ID) {
			whole = whole && (w.effect[key] || s.Kind == failover.Check || s.Kind == failover.Manual)
		}
		if s.Status == failover.StatusApplied && !whole {
			w.violated("%s is called applied and is not, or not everywhere, in effect", s.ID)
		}
		if !w.pending(s.ID) {
			continue
		}
		switch s.Status {
		case failover.StatusApplied, failover.StatusInDoubt, failover.StatusPartly:
		default:
			w.violated("%s is in effect and is called %s", s.ID, s.Status)
		}
	}
	switch {
	case w.taking && !errors.Is(err, failover.ErrInDoubt):
		w.violated("the lock may still be taken, and the error is %v", err)
	case rep.Result == failover.ResultCompleted && !w.complete():
		w.violated("completed in the wrong state")
	case (rep.Result == failover.ResultFailed || rep.Result == failover.ResultStopped ||
		rep.Result == failover.ResultUndone) && ours:
		w.violated("the result is %s with something of ours in effect", rep.Result)
	case err == nil && undo && (ours || w.coming):
		w.violated("the undo says that it is done, and something is left")
	case slices.ContainsFunc(w.locks, func(l *exploredLock) bool { return !l.Held() }) && ours && !w.complete() && !w.rests &&
		!errors.Is(err, failover.ErrUndone):
		w.violated("the lock was released half-way (%s)", rep.Result)
	case err != nil && failover.NextOf(err) == "":
		w.violated("it stopped without a next action: %v", err)
	case (rep.Result == failover.ResultInDoubt) != errors.Is(err, failover.ErrInDoubt) &&
		!errors.Is(err, failover.ErrUndone):
		w.violated("the result is %s and the error %v", rep.Result, err)
	}
	w.rests = w.rests || w.complete()
	for _, s := range rep.Steps {
		if s.Status == failover.StatusUndone {
			w.undoes = true
		}
	}
}

// tape hands out choices: first those of a prefix, then the undisturbed one.
type tape struct {
	prefix, taken, of []int
}

func (t *tape) choose(_ string, n int) int {
	at, choice := len(t.taken), 0
	if at < len(t.prefix) {
		choice = t.prefix[at]
	}
	t.taken, t.of = append(t.taken, choice), append(t.of, n)
	return choice
}

// next returns the prefix that follows in the order of all tapes with at most so many disturbances, the first of which
// is at from or later, or nil.
func (t *tape) next(from, disturbances int) []int {
	for at := len(t.taken) - 1; at >= from; at-- {
		before := 0
		for _, c := range t.taken[:at] {
			if c != 0 {
				before++
			}
		}
		if t.taken[at]+1 < t.of[at] && before < disturbances {
			return append(slices.Clone(t.taken[:at]), t.taken[at]+1)
		}
	}
	return nil
}

// exploreActions bounds the runs, undos and resumes of a history; exploreDisturbances what goes wrong in it.
const exploreActions = 4

// Every history with at most so many disturbances and so many runs, undos and resumes is played. The histories with the
// same first disturbance are one lot; the lots are dealt out to as many lanes as there are processors.
func TestExploreEveryHistory(t *testing.T) {
	var lots [][]int
	var traces atomic.Int64
	play := func(t *testing.T, prefix []int) *tape {
		tp := &tape{prefix: prefix}
		w := &explored{parts: []string{""}, choose: tp.choose}
		require.NoError(t, w.history(t.Context(), exploreActions))
		if w.bad != "" {
			t.Fatalf("%s\nin the history %s", w.bad, strings.Join(w.trace, ", "))
		}
		traces.Add(1)
		return tp
	}
	synctest.Test(t, func(t *testing.T) {
		for at, n := range play(t, nil).of {
			for choice := 1; choice < n; choice++ {
				lots = append(lots, append(make([]int, at), choice))
			}
		}
	})
	lanes := runtime.GOMAXPROCS(0)
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(strconv.Itoa(lane), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					for n := lane; n < len(lots); n += lanes {
						for prefix := lots[n]; prefix != nil; {
							prefix = play(t, prefix).next(len(lots[n]), exploreDisturbances)
						}
					}
				})
			})
		}
	})
	t.Logf("%d histories, 0 violations", traces.Load())
}

// Longer histories are drawn at random: go test -run Explore -explore.seed N -explore.count N.
func TestExploreLongHistories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := range *exploreCount {
			rng := rand.New(rand.NewPCG(*exploreSeed, uint64(n)))
			w := &explored{parts: []string{""}, choose: func(_ string, n int) int {
				if rng.IntN(3) > 0 {
					return 0
				}
				return rng.IntN(n)
			}}
			if n%2 == 1 {
				w.parts = []string{"one", "two"}
			}
			if n%4 == 1 {
				w.after = []string{"one"}
			}
			w.cuts, w.rich, w.side = n%3 == 0, n%5 < 3, n%7 < 3
			require.NoError(t, w.history(t.Context(), 12))
			if w.bad != "" {
				t.Fatalf("seed %d, history %d: %s\nin %s", *exploreSeed, n, w.bad, strings.Join(w.trace, ", "))
			}
		}
	})
}

// FuzzExplore lets the fuzzer choose what goes wrong.
func FuzzExplore(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Fuzz(func(t *testing.T, choices []byte) {
		synctest.Test(t, func(t *testing.T) {
			at := -1
			w := &explored{parts: []string{""}, rich: true, choose: func(_ string, n int) int {
				if at++; at >= len(choices) {
					return 0
				}
				return int(choices[at]) % n
			}}
			require.NoError(t, w.history(t.Context(), 12))
			if w.bad != "" {
				t.Fatalf("%s\nin %s", w.bad, strings.Join(w.trace, ", "))
			}
		})
	})
}
