package failover_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// FuzzJournal feeds arbitrary lines as a journal, with right hashes, so that they reach the fold: they are read and
// reported, or refused, never worse.
func FuzzJournal(f *testing.F) {
	w := newWorld()
	p := procedure(w.change("a"), w.once("b"))
	store := failovertest.NewStore("seed")
	j, err := store.Journal()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := p.Run(f.Context(), options(j)); err != nil {
		f.Fatal(err)
	}
	f.Add(store.Bytes())
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		for _, raw := range [][]byte{content, rechained(content)} {
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := failover.ReadJournal(path)
			if err != nil {
				continue
			}
			_ = j.Report().String()
			_ = p.UndoPlan(j)
			if _, err := p.Plan(context.Background(), j); err == nil {
				_, _ = j.Report().JSON()
			}
		}
	})
}

// rechained gives each line the hashes that belong to it after it was changed.
func rechained(content []byte) []byte {
	var out []byte
	last := ""
	for n, line := range bytes.Split(content, []byte("\n")) {
		if at := bytes.LastIndex(line, []byte(`,"sum":"`)); at > 0 {
			line = append(bytes.Clone(line[:at]), '}')
		}
		if n > 0 {
			if at := bytes.Index(line, []byte(`"prev":"`)); at > 0 && len(line) > at+72 {
				line = append(append(bytes.Clone(line[:at+8]), last...), line[at+72:]...)
			}
		}
		sum := sha256.Sum256(line)
		last = hex.EncodeToString(sum[:])
		if len(line) > 1 {
			line = append(bytes.Clone(line[:len(line)-1]), `,"sum":"`+last+`"}`...)
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

func stepCount(n int) string { return fmt.Sprintf("step%05d", n) }
