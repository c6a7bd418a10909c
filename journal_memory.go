package failover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// MemoryJournal returns a journal that lives and ends with the process. It serves a call that runs steps as a
// primitive, without a resume: what a crash leaves in doubt is on no record. Everything else is as with a file.
func MemoryJournal() *Journal {
	j, err := CreateJournalIn(context.Background(), &memoryStore{})
	if err != nil {
		// A store of our own that cannot fail; an unusable journal refuses every run.
		return &Journal{store: &memoryStore{}, fold: newFold()}
	}
	return j
}

type memoryStore struct {
	mu    sync.Mutex
	lines [][]byte
}

func (s *memoryStore) Create(context.Context, Holder) (StoreWriter, error) { return s, nil }
func (s *memoryStore) Open(context.Context, Holder) (StoreWriter, error) {
	return nil, journalError("open journal", s.String(), "create a new one", fs.ErrNotExist)
}
func (s *memoryStore) Read(context.Context) ([][]byte, error) { return s.Lines(), nil }
func (s *memoryStore) InUse(context.Context) (bool, error)    { return true, nil }
func (s *memoryStore) String() string                         { return "in memory" }
func (s *memoryStore) Place() string                          { return fmt.Sprintf("memory:%p", s) }
func (s *memoryStore) Close() error                           { return nil }
func (s *memoryStore) Watch(ctx context.Context, lines int) error {
	return errors.New("a journal in memory is not watched: give the run an Observer")
}

func (s *memoryStore) Lines() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte{}, s.lines...)
}

func (s *memoryStore) Append(line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, bytes.Clone(line))
	return nil
}
