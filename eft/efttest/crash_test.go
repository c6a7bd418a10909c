package efttest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// TestACrashAnywhere lets the process die at the records of a run, and another one go on with the same journal. Not
// every record is tried each time: that a crash at any of them is survived is the engine's own test, and what the steps
// leave there is the same from one step to the next.
func TestACrashAnywhere(t *testing.T) {
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			step := 9
			if testing.Short() {
				step = 29
			}
			crashes := 0
			for at := 0; sc.crash(t, at, failovertest.Durability(crashes%2)); at += step {
				crashes++
			}
			require.Greater(t, crashes, 40/step)
		})
	}
}

// crash reports whether the run had so many records.
func (s scene) crash(t *testing.T, at int, d failovertest.Durability) bool {
	t.Helper()
	w := s.open(t, "")
	p := s.build(t, w)
	died, err := failovertest.NewStore("crash").Crash(t, at, d, func(j *failover.Journal) error {
		_, err := p.Run(t.Context(), options(w, j, nil))
		return err
	})
	require.NoError(t, err, "died at record %d: %t", at, died)
	s.ended(t, w)
	return died
}
