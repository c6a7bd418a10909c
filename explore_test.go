package failover_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

var (
	exploreSeed  = flag.Uint64("explore.seed", 1, "seed of the random exploration")
	exploreCount = flag.Int("explore.count", 2000, "how many random traces are tried")
)

// explored is one history of a world in which everything can go wrong that a choice says. The truth about each effect
// stands in the world; what the engine says of it is compared with that truth after every run and undo.
type explored struct {
	choose func(what string, n int) int
	trace  []string

	parts []string // of a joined procedure, or one that is called ""
	after []string // what the last of them waits for
	cuts  bool     // the disk of the journal may lose its end between two actions
	cut   bool     // it has lost some

	effect  map[string]bool // "part/step/target": in effect because of us
	late    []func()        // effects that are still on their way
	coming  bool            // one of them is not an undo
	fired   map[string]int  // effects of the Once, by part
	everTwo bool
	bad     string // the first violation

	store  *failovertest.Store
	locks  []*exploredLock
	dead   bool
	cancel func()          // ends the context of this action
	stop   func()          // asks the run of this action to stop
	ended  bool            // one of the two was called
	full   bool            // the disk of the journal, in this action
	hidden map[string]bool // targets that cannot be observed in this action
	faulty map[string]bool // checks that do not hold in this action
	undoes bool            // an undo has begun to take something back
}

func (w *explored) pick(what string, options ...string) string {
	choice := options[w.choose(what, len(options))]
	w.trace = append(w.trace, what+"="+choice)
	return choice
}

func (w *explored) violated(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
	}
}

var (
	errDead = errors.New("the process is dead")
	errFull = errors.New("no space left on device")
)

// exploredLock is a lock whose answers can be lost, before the request took effect or behind it.
type exploredLock struct {
	failovertest.Lock
	w *explored
}

func (l *exploredLock) call(what string, do func() error) error {
	if l.w.dead {
		return errDead
	}
	switch l.w.pick(what+" the lock", "answers", "lost with effect", "lost without effect") {
	case "lost with effect":
		_ = do()
		return errLost
	case "lost without effect":
		return errLost
	}
	return do()
}

func (l *exploredLock) Acquire(ctx context.Context, c failover.Claim) error {
	return l.call("take", func() error { return l.Lock.Acquire(ctx, c) })
}

func (l *exploredLock) Release(ctx context.Context, c failover.Claim) error {
	return l.call("release", func() error { return l.Lock.Release(ctx, c) })
}

func (l *exploredLock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	return l.call("take over", func() error { return l.Lock.TakeOver(ctx, from, to) })
}

// exploredStore is the journal on a disk that can be full.
type exploredStore struct {
	failover.Store
	w *explored
}

type exploredWriter struct {
	failover.StoreWriter
	w *explored
}

func (s exploredStore) Create(ctx context.Context, h failover.Holder) (failover.StoreWriter, error) {
	writer, err := s.Store.Create(ctx, h)
	return exploredWriter{writer, s.w}, err
}

func (s exploredStore) Open(ctx context.Context, h failover.Holder) (failover.StoreWriter, error) {
	writer, err := s.Store.Open(ctx, h)
	return exploredWriter{writer, s.w}, err
}

func (s exploredWriter) Append(line []byte) error {
	if s.w.full {
		return errFull
	}
	return s.StoreWriter.Append(line)
}

func (w *explored) journal() (*failover.Journal, error) {
	j, err := failover.OpenJournalFrom(context.Background(), exploredStore{w.store, w})
	if errors.Is(err, fs.ErrNotExist) {
		return failover.CreateJournalIn(context.Background(), exploredStore{w.store, w})
	}
	return j, err
}

// set is an effect, or the end of one. Two sides are active together when the new one is started while the old one is
// not held.
func (w *explored) set(key string, on bool) {
	w.effect[key] = on
	part, step, _ := strings.Cut(key, "/")
	if step == "swap/" && on {
		w.fired[part]++
	}
	held := w.effect[part+"/hold/a"] && w.effect[part+"/hold/b"]
	w.everTwo = w.everTwo || w.effect[part+"/start/"] && !held
}

func (w *explored) settleLate() {
	for _, f := range w.late {
		f()
	}
	w.late, w.coming = nil, false
}

func (w *explored) pending(step string) bool {
	for key, on := range w.effect {
		if on && strings.HasPrefix(key, step+"/") {
			return true
		}
	}
	return false
}

func (w *explored) complete() bool {
	return !slices.ContainsFunc(w.parts, func(part string) bool {
		return !w.effect[part+"/hold/a"] || !w.effect[part+"/hold/b"] || !w.effect[part+"/swap/"] || !w.effect[part+"/start/"]
	})
}

// id is what the explored world calls a step of the procedure.
func (w *explored) id(step string) string {
	if len(w.parts) == 1 {
		return "/" + strings.TrimPrefix(step, "s/")
	}
	return strings.Replace(step, "/s/", "/", 1)
}

func (w *explored) keys(id string) []string {
	if strings.HasSuffix(id, "/hold") {
		return []string{id + "/a", id + "/b"}
	}
	return []string{id + "/"}
}

func (w *explored) observe(id string) func(context.Context) (failover.Observation, error) {
	return func(context.Context) (failover.Observation, error) {
		if w.dead {
			return failover.Observation{}, errDead
		}
		if w.hidden[id] {
			return failover.Observation{},
				&failover.Error{Op: "observe", Target: id, Outcome: failover.NotApplied, Err: errors.New("no route")}
		}
		obs := failover.Observation{Done: true, Found: "as it is", Would: "change " + id}
		for _, key := range w.keys(id) {
			obs.Done = obs.Done && w.effect[key]
			if len(w.keys(id)) > 1 {
				obs.Items = append(obs.Items, failover.Item{Target: key, Done: w.effect[key], Found: fmt.Sprint(w.effect[key])})
			}
		}
		return obs, nil
	}
}

func refused(id string) error {
	return &failover.Error{Op: "change", Target: id, Outcome: failover.NotApplied, Err: errors.New("connection refused")}
}

// call is what befalls one Apply or Undo.
func (w *explored) call(id, what string, on bool) error {
	if w.dead {
		return errDead
	}
	if w.ended {
		w.violated("%s %s by a run that was asked to end", what, id)
	}
	keys := w.keys(id)
	all := func() {
		for _, key := range keys {
			w.set(key, on)
		}
	}
	options := []string{"applied", "refused", "lost with effect", "lost without effect", "late", "killed before",
		"killed after", "panic after", "cancelled after", "disk full after"}
	if len(keys) > 1 {
		options = append(options, "one refused", "one lost")
	}
	if !on {
		options = append(options, "says yes and does nothing")
	}
	switch w.pick(what+" "+id, options...) {
	case "applied":
		all()
	case "refused":
		return refused(id)
	case "lost with effect":
		all()
		return errLost
	case "lost without effect":
		return errLost
	case "late":
		w.late, w.coming = append(w.late, all), w.coming || on
		return errLost
	case "killed before":
		w.kill()
		return errDead
	case "killed after":
		all()
		w.kill()
		return errDead
	case "panic after":
		all()
		panic("oh")
	case "cancelled after":
		all()
		w.cancel()
		return errLost
	case "disk full after":
		all()
		w.full = true
	case "one refused":
		w.set(keys[0], on)
		return failover.Targets{{Target: keys[0]}, {Target: keys[1], Err: refused(keys[1])}}.Err()
	case "one lost":
		w.set(keys[0], on)
		return failover.Targets{{Target: keys[0], Err: refused(keys[0])},
			{Target: keys[1], Err: errLost}}.Err()
	}
	return nil
}

func (w *explored) kill() {
	w.dead = true
	w.store.Kill()
}

func (w *explored) procedure() failover.Procedure {
	if len(w.parts) == 1 {
		return w.part(0)
	}
	var parts []failover.Part
	for n, name := range w.parts {
		parts = append(parts, failover.Part{Name: name, Procedure: w.part(n)})
	}
	parts[len(parts)-1].After = w.after
	p, err := failover.Join(failover.JoinOptions{Name: "explored", Limit: 1}, parts...)
	if err != nil {
		panic(err)
	}
	return p
}

func (w *explored) part(n int) failover.Procedure {
	name := w.parts[n] + "/"
	check := func(id string, entry bool) failover.Step {
		return failover.Step{ID: id, Title: id, Kind: failover.Check, Entry: entry,
			Observe: func(context.Context) (failover.Observation, error) {
				if w.dead {
					return failover.Observation{}, errDead
				}
				return failover.Observation{Done: !w.faulty[name+id], Found: "looked"}, nil
			}}
	}
	change := func(id string) failover.Step {
		return failover.Step{ID: id, Title: id, Kind: failover.Change, Attempts: 2, Timeout: 30 * time.Millisecond,
			Poll:    10 * time.Millisecond,
			Observe: w.observe(name + id), Apply: func(context.Context) error { return w.call(name+id, "apply", true) },
			Undo: func(context.Context) error { return w.call(name+id, "undo", false) }}
	}
	swap := failover.Step{ID: "swap", Title: "swap", Kind: failover.Once, Timeout: 30 * time.Millisecond,
		Poll:    10 * time.Millisecond,
		Observe: w.observe(name + "swap"),
		Apply: func(context.Context) error {
			if w.faulty[name+"ready"] {
				w.violated("the Once was fired although the check that guards it does not hold")
			}
			return w.call(name+"swap", "fire", true)
		},
		Probe: func(context.Context) (failover.Outcome, error) {
			switch {
			case w.dead:
				return failover.InDoubt, errDead
			case w.effect[name+"swap/"]:
				return failover.Applied, nil
			case len(w.late) > 0:
				return failover.InDoubt, nil // what is on its way cannot be told from what never was sent
			}
			if w.pick("probe", "tells the truth", "cannot tell") == "cannot tell" {
				return failover.InDoubt, nil
			}
			return failover.NotApplied, nil
		}}
	return failover.Procedure{Name: "explored", Lock: w.locks[n],
		Stages: []failover.Stage{{Name: "s",
			Steps: []failover.Step{check("entry", true), check("ready", false), change("hold"), swap, change("start")}}}}
}

// history plays actions until the procedure is at an end or there were enough, and checks what the engine says after
// each.
func (w *explored) history(ctx context.Context, actions int) error {
	w.effect, w.fired, w.store = map[string]bool{}, map[string]int{}, failovertest.NewStore("machine one")
	for range w.parts {
		lock := &exploredLock{w: w}
		lock.Fail = func(string) error {
			if w.dead {
				return errDead
			}
			return nil
		}
		w.locks = append(w.locks, lock)
	}
	var old *failovertest.Store // the journal's copy that another machine went on without
	for n := range actions {
		w.dead, w.full, w.ended, w.hidden, w.faulty = false, false, false, map[string]bool{}, map[string]bool{}
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
	p := w.procedure()
	o := options(j)
	o.Stop = stop
	o.Gate = func(_ context.Context, q failover.Request) (failover.Approval, error) {
		if w.dead {
			return failover.Approval{}, errDead
		}
		switch w.pick("gate "+q.Step.ID, "approves", "waits", "refuses", "approves while the check breaks",
			"stops the run", "is cancelled") {
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
	if strings.HasPrefix(action, "resolve") {
		w.resolve(j)
	}
	if action == "run on another machine" {
		for _, lock := range w.locks {
			if holder, held, _ := lock.Holder(ctx); held {
				_ = p.TakeOverLock(ctx, holder, o) // a person knows that the other process is dead
				break
			}
		}
	}
	var rep *failover.Report
	if strings.Contains(action, "undo") {
		rep, err = p.Undo(ctx, o)
	} else {
		rep, err = p.Run(ctx, o)
		if err == nil && w.undoes && !w.cut {
			w.violated("a run was completed after an undo had begun")
		}
	}
	if w.dead {
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
		for _, key := range w.keys(w.id(s.ID)) {
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
		s.ID = w.id(s.ID)
		whole := true
		for _, key := range w.keys(s.ID) {
			whole = whole && (w.effect[key] || s.Kind == failover.Check)
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
	case rep.Result == failover.ResultCompleted && !w.complete():
		w.violated("completed in the wrong state")
	case (rep.Result == failover.ResultFailed || rep.Result == failover.ResultStopped ||
		rep.Result == failover.ResultUndone) && ours:
		w.violated("the result is %s with something of ours in effect", rep.Result)
	case err == nil && undo && (ours || w.coming):
		w.violated("the undo says that it is done, and something is left")
	case slices.ContainsFunc(w.locks, func(l *exploredLock) bool { return !l.Held() }) && ours && !w.complete() && !errors.Is(err, failover.ErrUndone):
		w.violated("the lock was released half-way (%s)", rep.Result)
	case err != nil && failover.NextOf(err) == "":
		w.violated("it stopped without a next action: %v", err)
	case (rep.Result == failover.ResultInDoubt) != errors.Is(err, failover.ErrInDoubt) &&
		!errors.Is(err, failover.ErrUndone):
		w.violated("the result is %s and the error %v", rep.Result, err)
	}
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
			w.cuts = n%3 == 0
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
			w := &explored{parts: []string{""}, choose: func(_ string, n int) int {
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
