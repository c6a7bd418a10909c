package failovertest

import (
	"errors"
	"testing"

	"github.com/01b61c5c/failover"
)

// World is what a procedure acts on in a test.
type World struct {
	// Procedure is built anew for each process, as a program does that is started again.
	Procedure func(testing.TB) failover.Procedure
	// Options are the rest of the run's options; Journal, Actor and Reason are set where they are empty.
	Options failover.RunOptions
	// Settle does what a person does when a run stops: it looks at the world and resolves, confirms or repairs. It may be
	// nil.
	Settle func(tb testing.TB, j *failover.Journal, err error)
	// Verify fails the test when the world is not as a run without a crash leaves it.
	Verify func(testing.TB)
	// Close ends the world; it may be nil.
	Close func()
}

// runsAtMost is how often a run is begun again before CrashEverywhere gives up.
const runsAtMost = 12

// CrashEverywhere runs the procedure to its end once for each record that its run writes, and lets the process die at
// that record: once with the record lost and once with it on disk. Each time the run is begun again by another process
// with the same journal until it completes, and the world must be as an undisturbed run leaves it. It returns how many
// crashes there were.
func CrashEverywhere(t *testing.T, open func(testing.TB) World) int {
	t.Helper()
	crashes := 0
	for _, durable := range []Durability{DurabilityLost, DurabilityKept} {
		for at := 0; ; at++ {
			if !crashAt(t, open, at, durable) {
				break
			}
			crashes++
		}
	}
	return crashes
}

// crashAt reports whether the run had so many records.
func crashAt(t *testing.T, open func(testing.TB) World, at int, durable Durability) bool {
	t.Helper()
	w := open(t)
	if w.Close != nil {
		defer w.Close()
	}
	store := NewStore("crash")
	crashed := false
	for range runsAtMost {
		j, err := store.Journal()
		if err != nil {
			t.Fatal(err)
		}
		if !crashed {
			store.KillAt(at, durable)
		}
		o := w.Options
		o.Journal = j
		if o.Actor == "" {
			o.Actor = "tester"
		}
		if o.Reason == "" {
			o.Reason = "crash everywhere"
		}
		_, err = w.Procedure(t).Run(t.Context(), o)
		died := store.Killed()
		_ = j.Close()
		switch {
		case died && !crashed:
			crashed = true
			continue
		case err == nil:
			w.Verify(t)
			return crashed
		case w.Settle == nil || errors.Is(err, ErrKilled):
			t.Fatalf("crash at record %d: begun again, and it stopped: %v", at, err)
		}
		cause := err
		if j, err = store.Journal(); err != nil {
			t.Fatal(err)
		}
		w.Settle(t, j, cause)
		_ = j.Close()
	}
	t.Fatalf("crash at record %d: it has not completed after %d runs", at, runsAtMost)
	return false
}
