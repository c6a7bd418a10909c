package failover_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// manyChanges is a procedure of n changes, none of which is in effect. Its steps themselves cost next to nothing.
func manyChanges(n int) failover.Procedure {
	steps, on := make([]failover.Step, n), make([]bool, n)
	for i := range steps {
		name := stepCount(i)
		seen := failover.Observation{Found: name + " is off", Would: "throw " + name}
		steps[i] = failover.Step{ID: name, Title: "Throw " + name, Target: "box", Kind: failover.Change,
			Observe: func(context.Context) (failover.Observation, error) {
				seen.Done = on[i]
				return seen, nil
			},
			Apply: func(context.Context) error {
				on[i] = true
				return nil
			},
			Undo: func(context.Context) error { return nil }}
	}
	return failover.Procedure{Name: "bench", Stages: []failover.Stage{{Name: "down", Outage: true, Steps: steps}}}
}

func must[T any](b *testing.B, v T, err error) T {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// completed is the content of a journal with which the procedure was completed.
func completed(b *testing.B, p failover.Procedure) []byte {
	store := failovertest.NewStore("bench")
	j, err := store.Journal()
	_, err = p.Run(b.Context(), options(must(b, j, err)))
	return must(b, store.Bytes(), errors.Join(err, j.Close()))
}

// BenchmarkSteps shows that the cost of a run is linear in its steps: ns/step stays the same.
func BenchmarkSteps(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(stepCount(n), func(b *testing.B) {
			for b.Loop() {
				completed(b, manyChanges(n))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/step")
		})
	}
}

// BenchmarkThousandChanges compares a run with a loop that does nothing but write and flush the same lines.
func BenchmarkThousandChanges(b *testing.B) {
	p := manyChanges(1000)
	lines := bytes.SplitAfter(completed(b, p), []byte("\n"))
	b.Run("bare loop", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Create(filepath.Join(b.TempDir(), "journal"))
			must(b, f, err)
			for _, line := range lines {
				_, err := f.Write(line)
				must(b, f, errors.Join(err, f.Sync()))
			}
			must(b, f, f.Close())
		}
	})
	b.Run("engine", func(b *testing.B) {
		for b.Loop() {
			j, err := failover.CreateJournal(filepath.Join(b.TempDir(), "journal"))
			_, err = manyChanges(1000).Run(b.Context(), options(must(b, j, err)))
			must(b, j, errors.Join(err, j.Close()))
		}
	})
}

// BenchmarkOpen opens a journal of 100,000 records.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "journal")
	content := completed(b, manyChanges(50_000))
	must(b, path, os.WriteFile(path, content, 0o600))
	for b.Loop() {
		j, err := failover.OpenJournal(path)
		must(b, j, err)
		must(b, j, j.Close())
	}
	b.ReportMetric(float64(bytes.Count(content, []byte("\n"))), "records")
}

// BenchmarkResumeOfAFinishedRun runs once more with a journal of 10,000 steps that are all done.
func BenchmarkResumeOfAFinishedRun(b *testing.B) {
	p := manyChanges(10_000)
	path := filepath.Join(b.TempDir(), "journal")
	content := completed(b, p)
	for b.Loop() {
		b.StopTimer()
		must(b, path, os.WriteFile(path, content, 0o600))
		b.StartTimer()
		j, err := failover.OpenJournal(path)
		_, err = p.Run(b.Context(), options(must(b, j, err)))
		must(b, j, errors.Join(err, j.Close()))
	}
}

// BenchmarkWaitingRuns has 10,000 runs wait for a person at the same time, each with a journal on disk.
func BenchmarkWaitingRuns(b *testing.B) {
	const runs = 10_000
	open := func() int {
		list, _ := os.ReadDir("/proc/self/fd")
		return len(list)
	}
	memory := func() uint64 {
		var m runtime.MemStats
		for range 3 { // a stack that was deep once shrinks by half each time
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	for b.Loop() {
		dir := b.TempDir()
		ctx, cancel := context.WithCancel(b.Context())
		var wait, ended sync.WaitGroup
		wait.Add(runs)
		before, files := memory(), open()
		for n := range runs {
			ended.Go(func() {
				j, err := failover.CreateJournal(filepath.Join(dir, stepCount(n)))
				if err != nil {
					b.Error(err)
					wait.Done()
					return
				}
				defer func() { _ = j.Close() }()
				o := options(j)
				o.Confirm = func(ctx context.Context, _ failover.Request) (failover.Statement, error) {
					wait.Done()
					<-ctx.Done()
					return failover.Statement{}, failover.ErrWaiting
				}
				_, _ = procedure(failover.Step{ID: "call", Title: "Call them", Kind: failover.Manual, Help: "call"}).Run(ctx, o)
			})
		}
		wait.Wait()
		b.ReportMetric(float64(memory()-before)/runs, "B/run")
		b.ReportMetric(float64(open()-files)/runs, "files/run")
		cancel()
		ended.Wait()
	}
}
