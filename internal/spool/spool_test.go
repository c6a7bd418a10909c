package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type pair struct{ key, data string }

func drain(s *Spool) ([]pair, error) {
	it, err := s.Iterator()
	if err != nil {
		return nil, err
	}
	var all []pair
	for {
		k, d, err := it.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, pair{string(k), string(d)})
	}
}

func TestOrderIsThatOfAStableSort(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := New(dir, 0)
		defer s.Close()
		pairs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pair {
			return pair{rapid.StringMatching(`[ab]{0,3}`).Draw(t, "key"), fmt.Sprint(rapid.Int().Draw(t, "data"))}
		}), 0, 200).Draw(t, "pairs")
		for i, p := range pairs {
			if err := s.Add([]byte(p.key), []byte(p.data)); err != nil {
				t.Fatal(err)
			}
			if i%7 == 3 { // more runs than memory asks for
				if err := s.flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		slices.SortStableFunc(pairs, func(a, b pair) int { return compare(a.key, b.key) })
		for range 2 {
			got, err := drain(s)
			if err != nil || !slices.Equal(got, pairs) {
				t.Fatalf("got %v, want %v (%v)", got, pairs, err)
			}
		}
	})
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "Close removes every temporary file")
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestMoreRunsThanAreKept(t *testing.T) {
	s := New(t.TempDir(), 0)
	defer s.Close()
	data := make([]byte, 1000)
	const n = 10_000
	for i := range n {
		require.NoError(t, s.Add(binary.BigEndian.AppendUint32(nil, uint32(i*7919%n)), data))
	}
	require.NotEmpty(t, s.runs, "on disk")
	require.Less(t, len(s.runs), maxRuns+1)
	it, err := s.Iterator()
	require.NoError(t, err)
	for i := range n {
		k, d, err := it.Next()
		require.NoError(t, err)
		require.Equal(t, uint32(i), binary.BigEndian.Uint32(k))
		require.Len(t, d, 1000)
	}
	_, _, err = it.Next()
	require.ErrorIs(t, err, io.EOF)
	_, _, err = it.Next()
	require.ErrorIs(t, err, io.EOF)
}

func TestFilesAreNotReadableByOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes say nothing on Windows")
	}
	s := New(t.TempDir(), 0)
	defer s.Close()
	require.NoError(t, s.Add([]byte("k"), []byte("d")))
	require.NoError(t, s.flush())
	info, err := s.runs[0].Stat()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestClosed(t *testing.T) {
	s := New(t.TempDir(), 0)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Add(nil, nil), os.ErrClosed)
	_, err := s.Iterator()
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestFolderThatIsNotThere(t *testing.T) {
	s := New("/nowhere/at/all", 0)
	defer s.Close()
	require.NoError(t, s.Add([]byte("k"), make([]byte, 1<<17)))
	require.ErrorIs(t, s.Add([]byte("k"), []byte("d")), os.ErrNotExist)
}
