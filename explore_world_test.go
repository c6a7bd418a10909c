package failover_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// explored is one history of a world in which everything can go wrong that a choice says. The truth about each effect
// stands in the world; what the engine says of it is compared with that truth after every run and undo.
type explored struct {
	mu     sync.Mutex // parts may run side by side
	choose func(what string, n int) int
	trace  []string

	parts []string // of a joined procedure, or one that is called ""
	after []string // what the last of them waits for
	cuts  bool     // the disk of the journal may lose its end between two actions
	side  bool     // the parts run side by side; the order in which they choose is then not given
	rich  bool     // other versions of the program, plans that were approved, somebody else's changes and a Manual step
	cut   bool     // it has lost some

	effect  map[string]bool // "part/step/target": in effect because of us
	late    []func()        // effects that are still on their way
	coming  bool            // one of them is not an undo
	taking  bool            // the run of this action asked for the lock, and that is on its way
	fired   map[string]int  // effects of the Once, by part
	everTwo bool
	bad     string // the first violation

	store  *failovertest.Store
	locks  []*exploredLock
	dead   atomic.Bool
	cancel func()          // ends the context of this action
	stop   func()          // asks the run of this action to stop
	ended  bool            // one of the two was called
	full   bool            // the disk of the journal, in this action
	hidden map[string]bool // targets that cannot be observed in this action
	faulty map[string]bool // checks that do not hold in this action
	undoes bool            // an undo has begun to take something back
	rests  bool            // everything was in effect, and nothing was called since

	version string                                  // of the program
	others  map[string]int                          // how often somebody else changed a step's target
	plans   map[failover.PlanHash]map[string]string // what was found of the steps in the plans that were approved
	newest  failover.PlanHash                       // of them
	agreed  map[string]string                       // what was found of a step when somebody agreed to it, in this action
	said    map[string]bool                         // by part: a person said that the Manual step is done
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

func (l *exploredLock) call(what string, by failover.Claim, do func() error) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	ours := l.Lock.Check(context.Background(), by) == nil
	if l.w.dead.Load() {
		return errDead
	}
	options := []string{"answers", "lost with effect", "lost without effect"}
	if l.w.rich && len(l.w.late) == 0 { // two that overtake each other are more than a lock can stand
		options = append(options, "late")
	}
	switch l.w.pick(what+" the lock", options...) {
	case "late":
		l.w.late = append(l.w.late, func() { _ = do() })
		l.w.taking = l.w.taking || what != "release" && !ours
		return errLost
	case "lost with effect":
		_ = do()
		return errLost
	case "lost without effect":
		return errLost
	}
	return do()
}

func (l *exploredLock) Acquire(ctx context.Context, c failover.Claim) error {
	return l.call("take", c, func() error { return l.Lock.Acquire(ctx, c) })
}

func (l *exploredLock) Release(ctx context.Context, c failover.Claim) error {
	return l.call("release", c, func() error { return l.Lock.Release(ctx, c) })
}

func (l *exploredLock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	return l.call("take over", to, func() error { return l.Lock.TakeOver(ctx, from, to) })
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
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
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
	w.everTwo = w.everTwo || (w.effect[part+"/start/"] || w.effect[part+"/start@b/"]) && !held
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
	for n, part := range w.parts {
		for _, s := range w.part(n).Stages[0].Steps {
			if s.Kind != failover.Change && s.Kind != failover.Once {
				continue
			}
			for _, key := range w.keys(part + "/" + s.ID + s.Target) {
				if !w.effect[key] {
					return false
				}
			}
		}
	}
	return true
}

// id is what the explored world calls a step of the procedure.
func (w *explored) id(s failover.StepInfo) string {
	if len(w.parts) == 1 {
		return "/" + strings.TrimPrefix(s.ID, "s/") + s.Target
	}
	return strings.Replace(s.ID, "/s/", "/", 1) + s.Target
}

// found is what is to be seen of a step's target, besides whether it is as wanted.
func (w *explored) found(id string) string { return fmt.Sprintf("as %d others left it", w.others[id]) }

func (w *explored) keys(id string) []string {
	if strings.HasSuffix(id, "/hold") {
		return []string{id + "/a", id + "/b"}
	}
	return []string{id + "/"}
}

func (w *explored) observe(id string) func(context.Context) (failover.Observation, error) {
	return func(context.Context) (failover.Observation, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.dead.Load() {
			return failover.Observation{}, errDead
		}
		if w.hidden[id] {
			return failover.Observation{},
				&failover.Error{Op: "observe", Target: id, Outcome: failover.NotApplied, Err: errors.New("no route")}
		}
		obs := failover.Observation{Done: true, Found: w.found(id), Would: "change " + id}
		for _, key := range w.keys(id) {
			obs.Done = obs.Done && w.effect[key]
			if len(w.keys(id)) > 1 {
				obs.Items = append(obs.Items, failover.Item{Target: key, Done: w.effect[key],
					Found: fmt.Sprint(w.effect[key], w.found(id))})
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
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead.Load() {
		return errDead
	}
	if w.ended && !w.side { // what goes on beside it may have been begun
		w.violated("%s %s by a run that was asked to end", what, id)
	}
	w.rests = false
	if w.agreed[id] != w.found(id) && (on || !w.hidden[id]) {
		w.violated("%s %s, found %q, and %q was agreed to", what, id, w.found(id), w.agreed[id])
	}
	if part, once := strings.CutSuffix(id, "swap"); once && w.faulty[part+"ready"] && !w.side {
		w.violated("the Once was fired although the check that guards it does not hold")
	} else if once && w.rich && !w.said[part] {
		w.violated("the Once was fired before the Manual step in front of it was done")
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
	if w.rich {
		options = append(options, "refused, and somebody else changes it")
	}
	switch w.pick(what+" "+id, options...) {
	case "refused, and somebody else changes it":
		w.others[id]++
		return refused(id)
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
	w.dead.Store(true)
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
	p, err := failover.Join(failover.JoinOptions{Name: "explored", Limit: map[bool]int{false: 1}[w.side]}, parts...)
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
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.dead.Load() {
					return failover.Observation{}, errDead
				}
				return failover.Observation{Done: !w.faulty[name+id], Found: "looked"}, nil
			}}
	}
	change := func(id, target string) failover.Step {
		is := name + id + target
		return failover.Step{ID: id, Title: id, Target: target, Kind: failover.Change, Attempts: 2,
			Timeout: 30 * time.Millisecond, Poll: 10 * time.Millisecond,
			Observe: w.observe(is), Apply: func(context.Context) error { return w.call(is, "apply", true) },
			Undo: func(context.Context) error { return w.call(is, "undo", false) }}
	}
	swap := failover.Step{ID: "swap", Title: "swap", Kind: failover.Once, Timeout: 30 * time.Millisecond,
		Poll:    10 * time.Millisecond,
		Observe: w.observe(name + "swap"),
		Apply:   func(context.Context) error { return w.call(name+"swap", "fire", true) },
		Probe: func(context.Context) (failover.Outcome, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			switch {
			case w.dead.Load():
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
	steps := []failover.Step{check("entry", true), check("ready", false), change("hold", "")}
	if w.version == "does more" {
		steps = append(steps, change("more", ""))
	}
	if w.rich {
		steps = append(steps, failover.Step{ID: "call", Title: "call", Kind: failover.Manual, Help: "call them"})
	}
	steps = append(steps, swap)
	switch w.version {
	case "starts elsewhere":
		steps = append(steps, change("start", "@b"))
	case "starts nothing":
	default:
		steps = append(steps, change("start", ""))
	}
	return failover.Procedure{Name: "explored", Lock: w.locks[n], Stages: []failover.Stage{{Name: "s", Steps: steps}}}
}
