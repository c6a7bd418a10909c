package failovertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/01b61c5c/failover"
)

// ErrKilled is what a run gets from its journal once its process is dead.
var ErrKilled = errors.New("killed")

// Store is a journal in memory. It keeps one holder at a time and can let the holder's process die at any record.
type Store struct {
	name    string
	mu      sync.Mutex
	lines   [][]byte
	exists  bool
	writer  *writer
	watch   chan struct{}
	killAt  int  // so many more records are written, then the process dies; negative: never
	durable bool // the record at which it dies is on disk, and only the answer is lost
	killed  bool // the process that opened it last has died
}

// NewStore returns an empty store with a name for messages.
func NewStore(name string) *Store { return &Store{name: name, watch: make(chan struct{}), killAt: -1} }

// StoreOf returns a store in which content stands, as a file would hold it: what has no line break at its end is torn.
func StoreOf(name string, content []byte) *Store {
	s := NewStore(name)
	s.exists = true
	for line := range bytes.Lines(content) {
		if whole, ok := bytes.CutSuffix(line, []byte("\n")); ok {
			s.lines = append(s.lines, bytes.Clone(whole))
		}
	}
	return s
}

// KillAt lets the process of the holder die when it writes one more record than after: without that record, or with
// durable with the record on disk and the answer lost. Every later call of the dead holder fails with [ErrKilled].
func (s *Store) KillAt(after int, durable Durability) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killAt, s.durable = after, durable == DurabilityKept
}

// Durability says what becomes of the record at which a process dies.
type Durability int

// What becomes of the record at which a process dies.
const (
	DurabilityLost Durability = iota // it is not on disk
	DurabilityKept                   // it is on disk
)

// Kill lets the process of the holder die now, wherever it is.
func (s *Store) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Store) kill() {
	if s.writer != nil {
		s.writer, s.killed = nil, true
	}
	s.killAt = -1
}

// Crash opens the journal and lets do run or undo with it in a process that dies at record at, counted from the next
// one, and then in a second process that goes on. A process does not die where at is negative, or where it writes fewer
// records. Crash reports whether the first one died, and the error of the last.
func (s *Store) Crash(tb testing.TB, at int, durable Durability, do func(*failover.Journal) error) (crashed bool,
	err error) {
	tb.Helper()
	process := func() error {
		j, err := s.Journal()
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = j.Close() }()
		if !crashed && at >= 0 {
			s.KillAt(at, durable)
		}
		err = do(j)
		crashed = crashed || s.Killed()
		return err
	}
	if err = process(); crashed {
		if !errors.Is(err, ErrKilled) {
			tb.Fatalf("the process is dead, and what it did ends with %v", err)
		}
		err = process()
	}
	return crashed, err
}

// Killed reports whether the process that holds the journal has died since it was opened.
func (s *Store) Killed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed
}

// Bytes returns what is on disk.
func (s *Store) Bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(bytes.Join(s.lines, []byte("\n")), '\n')
}

// Copy returns another store with the same content, as a copied file or a machine that was cloned.
func (s *Store) Copy(name string) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := NewStore(name)
	c.exists, c.lines = s.exists, slices.Clone(s.lines) // a line is never altered
	return c
}

// Cut drops the newest records, as a disk does that lied about what it had written.
func (s *Store) Cut(records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = s.lines[:max(1, len(s.lines)-records)]
}

// String returns the name.
func (s *Store) String() string { return s.name }

// Create implements failover.Store.
func (s *Store) Create(_ context.Context, h failover.Holder) (failover.StoreWriter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exists {
		return nil, &failover.Error{Op: "create journal", Target: s.name, Outcome: failover.NotApplied, Next: "open it",
			Err: fs.ErrExist}
	}
	s.exists = true
	return s.take(h), nil
}

// Open implements failover.Store.
func (s *Store) Open(_ context.Context, h failover.Holder) (failover.StoreWriter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.exists:
		return nil, &failover.Error{Op: "open journal", Target: s.name, Outcome: failover.NotApplied, Next: "create it",
			Err: fs.ErrNotExist}
	case s.writer != nil:
		return nil, &failover.Error{Op: "open journal", Target: s.name, Outcome: failover.NotApplied,
			Next: "wait for the other holder",
			Err:  fmt.Errorf("%w: %s", failover.ErrJournalBusy, s.writer.holder.Token)}
	}
	return s.take(h), nil
}

func (s *Store) take(h failover.Holder) *writer {
	s.killed = false
	s.writer = &writer{store: s, holder: h, lines: slices.Clone(s.lines)}
	return s.writer
}

// Read implements failover.Store.
func (s *Store) Read(context.Context) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.exists {
		return nil, &failover.Error{Op: "read journal", Target: s.name, Outcome: failover.NotApplied, Next: "create it",
			Err: fs.ErrNotExist}
	}
	return slices.Clone(s.lines), nil
}

// Watch implements failover.Store.
func (s *Store) Watch(ctx context.Context, lines int) error {
	for {
		s.mu.Lock()
		now, changed := len(s.lines), s.watch
		s.mu.Unlock()
		if now > lines {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// InUse implements failover.Store.
func (s *Store) InUse(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writer != nil, nil
}

type writer struct {
	store  *Store
	holder failover.Holder
	lines  [][]byte
}

func (w *writer) Lines() [][]byte { return w.lines }
func (w *writer) Place() string   { return "memory:" + w.store.name }

func (w *writer) Append(line []byte) error {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer != w {
		return ErrKilled
	}
	dies := s.killAt == 0
	if s.killAt > 0 {
		s.killAt--
	}
	if !dies || s.durable {
		s.lines = append(s.lines, bytes.Clone(line))
		close(s.watch)
		s.watch = make(chan struct{})
	}
	if dies {
		s.kill()
		return ErrKilled
	}
	return nil
}

func (w *writer) Close() error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.store.writer == w {
		w.store.writer = nil
	}
	return nil
}

// Journal opens the journal of the store, or creates it.
func (s *Store) Journal() (*failover.Journal, error) {
	s.mu.Lock()
	exists := s.exists
	s.mu.Unlock()
	if exists {
		return failover.OpenJournalFrom(context.Background(), s)
	}
	return failover.CreateJournalIn(context.Background(), s)
}

// Journal returns a new journal in memory.
func Journal(tb testing.TB) *failover.Journal {
	tb.Helper()
	j, err := NewStore(tb.Name()).Journal()
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

// JournalAt opens the journal at path, or creates it: what a test does that goes on with a journal.
func JournalAt(path string) (*failover.Journal, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return failover.CreateJournal(path)
	}
	return failover.OpenJournal(path)
}
