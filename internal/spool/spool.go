// Package spool sorts more records than fit into memory.
//
// Records go in as key and data in any order and come out in key order, equal keys in the order they came in. Up to
// the memory limit nothing touches the disk; beyond it, sorted runs go to temporary files that only this user can
// read and that Close removes. Runs are merged when there are many, so that neither memory nor the number of open
// files grows with the amount of data.
package spool

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

const (
	maxRuns    = 32       // sorted files before they are merged into one
	readBuffer = 32 << 10 // of each file while merging
	recordCost = 40       // memory a record takes beside its bytes
)

// Spool collects records. It is not safe for concurrent use.
type Spool struct {
	dir    string
	memory int
	arena  []byte
	index  []span
	sorted bool
	runs   []*os.File
	count  int64
	closed bool
}

type span struct{ key, data, end int }

// New returns an empty spool that keeps about memory bytes before it uses temporary files in dir (the system's
// folder when empty).
func New(dir string, memory int) *Spool {
	return &Spool{dir: dir, memory: max(memory, 1<<16)}
}

// Len returns how many records were added.
func (s *Spool) Len() int64 { return s.count }

// OnDisk reports whether temporary files are in use.
func (s *Spool) OnDisk() bool { return len(s.runs) > 0 }

// Add puts one record in. It copies key and data.
func (s *Spool) Add(key, data []byte) error {
	if s.closed {
		return os.ErrClosed
	}
	if len(s.index) > 0 && len(s.arena)+len(key)+len(data)+recordCost*len(s.index) > s.memory {
		if err := s.flush(); err != nil {
			return err
		}
	}
	at := len(s.arena)
	s.arena = append(append(s.arena, key...), data...)
	s.index = append(s.index, span{at, at + len(key), len(s.arena)})
	s.sorted = false
	s.count++
	return nil
}

func (s *Spool) sort() {
	if !s.sorted {
		slices.SortStableFunc(s.index, func(a, b span) int {
			return bytes.Compare(s.arena[a.key:a.data], s.arena[b.key:b.data])
		})
		s.sorted = true
	}
}

// flush writes what is in memory as one run.
func (s *Spool) flush() error {
	s.sort()
	if err := s.write(&memoryRun{spool: s}); err != nil {
		return err
	}
	if cap(s.arena) > 2*s.memory { // one huge record must not stay for ever
		s.arena = nil
	}
	s.arena, s.index = s.arena[:0], s.index[:0]
	if len(s.runs) < maxRuns {
		return nil
	}
	old := s.runs
	s.runs = nil
	m, err := merge(old, nil)
	if err == nil {
		err = s.write(m)
	}
	return errors.Join(err, remove(old))
}

type run interface {
	next() (key, data []byte, err error)
}

func (s *Spool) write(from run) (err error) {
	f, err := os.CreateTemp(s.dir, "failover-spool-*")
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.runs = append(s.runs, f)
	out := bufio.NewWriterSize(f, 256<<10)
	var head []byte
	for {
		key, data, err := from.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		head = binary.AppendUvarint(binary.AppendUvarint(head[:0], uint64(len(key))), uint64(len(data)))
		for _, part := range [][]byte{head, key, data} {
			if _, err := out.Write(part); err != nil {
				return fmt.Errorf("spool: %w", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Close removes the temporary files. Iterators must not be used afterwards.
func (s *Spool) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.arena, s.index = nil, nil
	return remove(s.runs)
}

func remove(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close(), os.Remove(f.Name()))
	}
	return errors.Join(errs...)
}

// Iterator walks over the records in order.
type Iterator struct{ from run }

// Iterator returns a new iterator over what was added so far; the spool must not be added to while it is used. Several
// may be used at once.
func (s *Spool) Iterator() (*Iterator, error) {
	if s.closed {
		return nil, os.ErrClosed
	}
	s.sort()
	last := &memoryRun{spool: s}
	if len(s.runs) == 0 {
		return &Iterator{from: last}, nil
	}
	m, err := merge(s.runs, last)
	if err != nil {
		return nil, err
	}
	return &Iterator{from: m}, nil
}

// Next returns the next record or io.EOF. The slices hold until the next call.
func (it *Iterator) Next() (key, data []byte, err error) { return it.from.next() }

type memoryRun struct {
	spool *Spool
	at    int
}

func (m *memoryRun) next() ([]byte, []byte, error) {
	if m.at >= len(m.spool.index) {
		return nil, nil, io.EOF
	}
	e := m.spool.index[m.at]
	m.at++
	return m.spool.arena[e.key:e.data], m.spool.arena[e.data:e.end], nil
}

type fileRun struct {
	in  *bufio.Reader
	buf []byte
}

func (f *fileRun) next() ([]byte, []byte, error) {
	keyLen, err := binary.ReadUvarint(f.in)
	if errors.Is(err, io.EOF) {
		return nil, nil, io.EOF
	}
	var dataLen uint64
	if err == nil {
		dataLen, err = binary.ReadUvarint(f.in)
	}
	if err == nil {
		f.buf = slices.Grow(f.buf[:0], int(keyLen+dataLen))[:keyLen+dataLen]
		_, err = io.ReadFull(f.in, f.buf)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("spool: temporary file damaged: %w", err)
	}
	return f.buf[:keyLen], f.buf[keyLen:], nil
}

// merged is a heap of runs by their first record.
type merged struct {
	heads []head
	drawn bool
}

type head struct {
	run       run
	order     int // of the run; keeps equal keys in the order they came in
	key, data []byte
}

func (m *merged) Len() int { return len(m.heads) }
func (m *merged) Less(i, j int) bool {
	c := bytes.Compare(m.heads[i].key, m.heads[j].key)
	return c < 0 || c == 0 && m.heads[i].order < m.heads[j].order
}
func (m *merged) Swap(i, j int) { m.heads[i], m.heads[j] = m.heads[j], m.heads[i] }
func (m *merged) Push(x any)    { m.heads = append(m.heads, x.(head)) }
func (m *merged) Pop() any {
	last := m.heads[len(m.heads)-1]
	m.heads = m.heads[:len(m.heads)-1]
	return last
}

func merge(files []*os.File, memory run) (*merged, error) {
	m := &merged{}
	runs := make([]run, 0, len(files)+1)
	for _, f := range files {
		runs = append(runs, &fileRun{in: bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), readBuffer)})
	}
	if memory != nil {
		runs = append(runs, memory)
	}
	for i, r := range runs {
		key, data, err := r.next()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m.heads = append(m.heads, head{r, i, key, data})
	}
	heap.Init(m)
	return m, nil
}

func (m *merged) next() ([]byte, []byte, error) {
	if m.drawn { // only now may the slices handed out last be overwritten
		h := &m.heads[0]
		var err error
		h.key, h.data, err = h.run.next()
		switch {
		case errors.Is(err, io.EOF):
			heap.Pop(m)
		case err != nil:
			return nil, nil, err
		default:
			heap.Fix(m, 0)
		}
		m.drawn = false
	}
	if len(m.heads) == 0 {
		return nil, nil, io.EOF
	}
	m.drawn = true
	return m.heads[0].key, m.heads[0].data, nil
}
