package failover_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/01b61c5c/failover"
)

// errKilled stands for kill -9: the process of a run ends at this very point.
var errKilled = errors.New("killed")

// fate is what befalls one call of Apply.
type fate int

const (
	fine           fate = iota
	refused             // nothing happens and the target says so
	lostBefore          // the line drops before the effect
	lostAfter           // the line drops after the effect
	killedBefore        // our process dies before the effect
	killedAfter         // our process dies after the effect, before the outcome is written
	killedAtIntent      // our process dies when the intent is on disk; drawn by itself
)

// twoSides is a service that must never be active on both.
type twoSides struct {
	done      map[string]bool
	hidden    map[string]int // how many looks the effect stays unseen
	fired     map[string]int
	everTwo   bool
	old, new_ bool
}

func (w *twoSides) throw(id string) {
	w.done[id] = true
	w.fired[id]++
	w.hidden[id] = 2
	switch id {
	case "stop-old":
		w.old = false
	case "swap":
		w.new_ = true
	}
	w.everTwo = w.everTwo || w.old && w.new_
}

func (w *twoSides) step(kind failover.Kind, id string, draw func() fate, probeBlind func() bool) failover.Step {
	s := failover.Step{ID: id, Title: id, Target: "pair", Kind: kind, Timeout: 50 * time.Millisecond, Poll: time.Microsecond, Attempts: 2,
		Observe: func(context.Context) (failover.Observation, error) {
			if w.done[id] && w.hidden[id] > 0 {
				w.hidden[id]--
				return failover.Observation{Found: "not seen yet"}, nil
			}
			return failover.Observation{Done: w.done[id], Found: "seen"}, nil
		},
		Apply: func(context.Context) error {
			lost := &failover.Error{Op: id, Outcome: failover.InDoubt, Err: errors.New("line lost")}
			switch draw() {
			case refused:
				return &failover.Error{Op: id, Outcome: failover.NotApplied, Err: failover.ErrRejected}
			case lostBefore:
				return lost
			case lostAfter:
				w.throw(id)
				return lost
			case killedBefore:
				runtime.Goexit()
			case killedAfter:
				w.throw(id)
				runtime.Goexit()
			}
			w.throw(id)
			return nil
		}}
	if kind == failover.Once {
		s.Probe = func(context.Context) (failover.Outcome, error) {
			switch {
			case probeBlind():
				return failover.InDoubt, nil
			case w.done[id]:
				return failover.Applied, nil
			}
			return failover.NotApplied, nil
		}
	}
	return s
}

// TestCrashAnywhereResumeUntilDone draws random fates for every call and resumes until the procedure is done or
// stands still in doubt. Whatever happens: a Once takes effect at most once, the two sides are never active together,
// and the end is the undisturbed end or a stop that names the step to settle.
func TestCrashAnywhereResumeUntilDone(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		w := &twoSides{done: map[string]bool{"check": true}, hidden: map[string]int{}, fired: map[string]int{}, old: true}
		// Drawn beforehand: the engine catches panics, and with them the ones by which rapid ends a draw.
		script := rapid.SliceOfN(rapid.IntRange(0, 1000), 50, 50).Draw(rt, "script")
		at := -1
		next := func(n int) int { at++; return script[at%len(script)] % n }
		draw := func() fate { return fate(next(int(killedAtIntent))) }
		blind := func() bool { return next(4) == 0 }
		p := failover.Procedure{Name: "swap", Steps: []failover.Step{
			w.step(failover.Change, "hold", draw, blind), w.step(failover.Change, "stop-old", draw, blind),
			w.step(failover.Once, "swap", draw, blind), w.step(failover.Change, "start-new", draw, blind),
			w.step(failover.Once, "announce", draw, blind)}}

		var err error
		for range 60 {
			err = runOnce(rt, p, path, func(e failover.Event) {
				if e.Kind == failover.EventIntent && next(5) == 0 {
					runtime.Goexit()
				}
			})
			if err == nil {
				break
			}
			if errors.Is(err, failover.ErrInDoubt) {
				settle(rt, p, path, w)
			}
		}
		for _, id := range []string{"swap", "announce"} {
			if w.fired[id] > 1 {
				rt.Fatalf("%s took effect %d times", id, w.fired[id])
			}
		}
		if w.everTwo {
			rt.Fatal("both sides were active")
		}
		if err == nil && (w.old || !w.new_ || len(w.done) != 6) {
			rt.Fatalf("completed in the wrong state: %v", w.done)
		}
		if err != nil && !errors.Is(err, errKilled) && failover.NextOf(err) == "" {
			rt.Fatalf("stopped without a next action: %v", err)
		}
	})
}

// runOnce runs as a process of its own would: opens the journal, runs, and may be killed on the way. A killed run
// ends its goroutine on the spot, so that nothing further is written, as when the process dies.
func runOnce(t *rapid.T, p failover.Procedure, path string, observer func(failover.Event)) error {
	j, err := failover.OpenJournal(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	o := options(j)
	o.Observer = observer
	err = errKilled
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err = p.Run(t.Context(), o)
	}()
	<-ended
	return err
}

// settle is the person who looks at the target and resolves what is in doubt.
func settle(rt *rapid.T, p failover.Procedure, path string, w *twoSides) {
	j, err := failover.OpenJournal(path)
	require.NoError(rt, err)
	defer func() { require.NoError(rt, j.Close()) }()
	for _, s := range p.Report(j).Steps {
		if s.Status != failover.StatusInDoubt {
			continue
		}
		outcome := failover.NotApplied
		if w.done[s.ID] {
			outcome = failover.Applied
		}
		require.NoError(rt, j.Resolve(s.ID, outcome, "operator", "looked at the target"))
	}
}
