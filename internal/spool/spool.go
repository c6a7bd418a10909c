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
	closed bool
}

type span struct{ key, data, end int }

// New returns an empty spool that keeps about memory bytes before it uses temporary files in dir (the system's
// folder when empty).
func New(dir string, memory int) *Spool { return &Spool{dir: dir, memory: max(memory, 1<<16)} }

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
	return nil
}

// flush writes what is in memory as one run.
func (s *Spool) flush() error {
	if err := s.write(s.inMemory()); err != nil {
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

// A source gives one record after the other, and io.EOF behind the last. The slices hold until the next call.
type source func() (key, data []byte, err error)

func (s *Spool) write(next source) (err error) {
	f, err := os.CreateTemp(s.dir, "failover-spool-*")
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.runs = append(s.runs, f)
	out := bufio.NewWriterSize(f, 256<<10)
	var head []byte
	for {
		key, data, err := next()
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
type Iterator struct{ next source }

// Iterator returns a new iterator over what was added so far; the spool must not be added to while it is used. Several
// may be used at once.
func (s *Spool) Iterator() (*Iterator, error) {
	if s.closed {
		return nil, os.ErrClosed
	}
	next, err := merge(s.runs, s.inMemory())
	return &Iterator{next}, err
}

// Next returns the next record or io.EOF. The slices hold until the next call.
func (it *Iterator) Next() (key, data []byte, err error) { return it.next() }

// inMemory gives what is in memory, in order.
func (s *Spool) inMemory() source {
	if !s.sorted {
		slices.SortStableFunc(s.index, func(a, b span) int {
			return bytes.Compare(s.arena[a.key:a.data], s.arena[b.key:b.data])
		})
		s.sorted = true
	}
	at := 0
	return func() ([]byte, []byte, error) {
		if at >= len(s.index) {
			return nil, nil, io.EOF
		}
		e := s.index[at]
		at++
		return s.arena[e.key:e.data], s.arena[e.data:e.end], nil
	}
}

func inFile(f *os.File) source {
	in := bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), readBuffer)
	var buf []byte
	return func() ([]byte, []byte, error) {
		keyLen, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return nil, nil, io.EOF
		}
		var dataLen uint64
		if err == nil {
			dataLen, err = binary.ReadUvarint(in)
		}
		if err == nil {
			buf = slices.Grow(buf[:0], int(keyLen+dataLen))[:keyLen+dataLen]
			_, err = io.ReadFull(in, buf)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("spool: temporary file damaged: %w", err)
		}
		return buf[:keyLen], buf[keyLen:], nil
	}
}

// merge gives the records of all runs, and of memory if there is one, in order. Equal keys come from the older run
// first.
func merge(files []*os.File, memory source) (source, error) {
	type head struct {
		next      source
		key, data []byte
	}
	var heads []*head
	draw := func(h *head) (err error) {
		h.key, h.data, err = h.next()
		if errors.Is(err, io.EOF) {
			heads = slices.DeleteFunc(heads, func(other *head) bool { return other == h })
			return nil
		}
		return err
	}
	for _, f := range files {
		heads = append(heads, &head{next: inFile(f)})
	}
	if memory != nil {
		heads = append(heads, &head{next: memory})
	}
	for _, h := range slices.Clone(heads) {
		if err := draw(h); err != nil {
			return nil, err
		}
	}
	var last *head // what it gave may be overwritten only when the next record is asked for
	return func() ([]byte, []byte, error) {
		if last != nil {
			if err := draw(last); err != nil {
				return nil, nil, err
			}
		}
		if last = nil; len(heads) == 0 {
			return nil, nil, io.EOF
		}
		last = slices.MinFunc(heads, func(a, b *head) int { return bytes.Compare(a.key, b.key) })
		return last.key, last.data, nil
	}, nil
}
