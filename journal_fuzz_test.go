package failover_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/01b61c5c/failover"
)

// FuzzJournal feeds arbitrary bytes as a journal: it is read and reported, or refused, never worse.
func FuzzJournal(f *testing.F) {
	w := newWorld()
	p := procedure(w.change("a"), w.once("b"))
	seed := filepath.Join(f.TempDir(), "seed")
	j, err := failover.OpenJournal(seed)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := p.Run(f.Context(), options(j)); err != nil {
		f.Fatal(err)
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte(`{"format":"failover-journal/1"}` + "\n" + `{"n":1,"type":"outcome","step":"a"}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := failover.ReadJournal(path)
		if err != nil {
			return
		}
		_ = p.Report(j).String()
		_ = j.Report().String()
		_ = p.UndoPlan(j)
	})
}

// BenchmarkRun measures what the engine adds to a step: two fsynced records.
func BenchmarkRun(b *testing.B) {
	for b.Loop() {
		w := newWorld()
		j, err := failover.OpenJournal(filepath.Join(b.TempDir(), "journal"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := procedure(w.change("a")).Run(b.Context(), options(j)); err != nil {
			b.Fatal(err)
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
