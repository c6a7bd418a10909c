package failover_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// shapes are journals that end in different ways, each with the procedure and the world it belongs to. In all of them
// the Once has taken effect, and its probe says so.
func shapes(t *testing.T) map[string][]byte {
	t.Helper()
	shapes := map[string][]byte{}
	for name, at := range map[string]string{"finished": "", "intent": `"type":"outcome","step":"s/b"`,
		"fact": `"type":"outcome","step":"s/a"`,
		"run":  `"type":"intent","step":"s/a"`, "undo-intent": ""} {
		w := newWorld()
		p := tampered(w)
		store := failovertest.NewStore(name)
		j, err := store.Journal()
		require.NoError(t, err)
		_, err = p.Run(t.Context(), options(j))
		require.NoError(t, err)
		if name == "undo-intent" {
			_, err = p.Undo(t.Context(), options(j))
			require.Error(t, err, "it stops at the Once")
		}
		raw := store.Bytes()
		if at != "" {
			end := bytes.Index(raw, []byte(at))
			require.Positive(t, end, "%s: %s", name, raw)
			raw = raw[:bytes.LastIndexByte(raw[:end], '\n')+1]
		}
		shapes[name] = raw
	}
	return shapes
}

func tampered(w *world) failover.Procedure {
	fact := failover.Fact[int]{Name: "noted"}
	a := w.change("a")
	a.Writes = []string{"noted"}
	apply := a.Apply
	a.Apply = func(ctx context.Context) error { return errors.Join(fact.Save(ctx, 7), apply(ctx)) }
	return procedure(a, w.once("b"), w.change("c"))
}

// fires reports whether a run with this journal fires the Once again, whose effect is in place and whose probe says so.
func fires(t *testing.T, content []byte) (again bool, err error) {
	t.Helper()
	j, err := failover.OpenJournalFrom(t.Context(), failovertest.StoreOf("tampered", content))
	if err != nil {
		return false, err
	}
	defer func() { require.NoError(t, j.Close()) }()
	w := newWorld()
	w.on["a"], w.on["b"] = true, true
	p := tampered(w)
	// The observation is behind: only the probe knows.
	p.Stages[0].Steps[1].Observe = func(context.Context) (failover.Observation, error) {
		return failover.Observation{Done: w.thrown["c"] > 0, Found: "not seen yet"}, nil
	}
	p.Stages[0].Steps[1].Timeout, p.Stages[0].Steps[1].Poll = time.Millisecond, time.Millisecond
	_, err = p.Run(t.Context(), options(j))
	return w.thrown["b"] > 0, err
}

func TestEveryFlippedBitIsRefusedOrWithoutConsequence(t *testing.T) {
	for name, good := range shapes(t) {
		refused, harmless := 0, 0
		for bit := range len(good) * 8 {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			again, err := fires(t, bad)
			require.False(t, again, "%s: bit %d of byte %d, %q: fired again", name, bit%8, bit/8, bad)
			if errors.Is(err, failover.ErrJournalDamaged) {
				refused++
			} else {
				harmless++
			}
		}
		t.Logf("%s: %d flips refused, %d without consequence, 0 fired again", name, refused, harmless)
		assert.Less(t, harmless, 9, "only the line break at the end")
	}
}

func TestEveryCutIsRefusedOrWithoutConsequence(t *testing.T) {
	for name, good := range shapes(t) {
		tried := map[int]bool{} // what is torn is no line: only the complete ones tell two cuts apart
		for cut := range good {
			lines := bytes.Count(good[:cut], []byte("\n"))
			if tried[lines] {
				continue
			}
			tried[lines] = true
			again, _ := fires(t, good[:cut])
			require.False(t, again, "%s: cut off after byte %d", name, cut)
		}
	}
}

// A file may be cut at any byte: what is torn is left out, and the next record takes its place.
func TestATornEndIsDroppedByTheNextRecord(t *testing.T) {
	good := shapes(t)["finished"]
	for cut := bytes.IndexByte(good, '\n') + 1; cut < len(good); cut += 7 {
		path := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.WriteFile(path, good[:cut], 0o600))
		j, err := failover.OpenJournal(path)
		require.NoError(t, err)
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, good[:cut], now, "opening changes nothing")
		w := newWorld()
		w.on["a"], w.on["b"], w.on["c"] = true, true, true
		_, err = tampered(w).Run(t.Context(), options(j))
		require.NoError(t, err)
		require.NoError(t, j.Close())
		_, err = failover.ReadJournal(path)
		require.NoError(t, err)
	}
}

func TestEveryAlteredLineIsRefused(t *testing.T) {
	good := shapes(t)["finished"]
	lines := bytes.SplitAfter(good, []byte("\n"))
	for drop := 0; drop < len(lines)-2; drop++ {
		bad := bytes.Join(append(append([][]byte{}, lines[:drop]...), lines[drop+1:]...), nil)
		_, err := fires(t, bad)
		require.ErrorIs(t, err, failover.ErrJournalDamaged, "line %d dropped", drop+1)
		doubled := bytes.Join(append(append([][]byte{}, lines[:drop+1]...), lines[drop:]...), nil)
		_, err = fires(t, doubled)
		require.ErrorIs(t, err, failover.ErrJournalDamaged, "line %d twice", drop+1)
	}
}

// Opening something that is not a journal refuses it and leaves it as it is.
func TestWhatIsNotAJournalStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "text": "s3cret-token", "line": "s3cret-token\n",
		"json": `{"a":1}`, "json line": "{\"a\":1}\n",
		"binary": "\x00\x01\xff\n\xfe", "other journal": `{"format":"failover-journal/1","id":"x"}` + "\n", "blank": "\n\n"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		for what, open := range map[string]func(string) (*failover.Journal, error){"open": failover.OpenJournal,
			"read": failover.ReadJournal} {
			j, err := open(path)
			require.ErrorIs(t, err, failover.ErrJournalDamaged, "%s %s", what, name)
			require.Nil(t, j)
			require.NotEmpty(t, failover.NextOf(err))
		}
		_, err := failover.CreateJournal(path)
		require.ErrorIs(t, err, fs.ErrExist)
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(now))
	}
	_, err := failover.OpenJournal(filepath.Join(dir, "nowhere"))
	require.ErrorIs(t, err, fs.ErrNotExist, "a typo begins nothing")
	require.NoFileExists(t, filepath.Join(dir, "nowhere"))
}

func TestOneJournalHasOneWriterByWhateverName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j, err := failover.CreateJournal(path)
	require.NoError(t, err)
	defer func() { _ = j.Close() }()
	symlink, hardlink := filepath.Join(dir, "symlink"), filepath.Join(dir, "hardlink")
	require.NoError(t, os.Symlink(path, symlink))
	require.NoError(t, os.Link(path, hardlink))
	for _, name := range []string{path, symlink, hardlink} {
		_, err := failover.OpenJournal(name)
		require.ErrorIs(t, err, failover.ErrJournalBusy, name)
	}
}

func TestARemovedOrReplacedJournalStopsTheRun(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		},
		"shorter": func(path string) error { return os.Truncate(path, 100) },
		"longer": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("x\n")
			return errors.Join(err, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal")
			j, err := failover.CreateJournal(path)
			require.NoError(t, err)
			defer func() { _ = j.Close() }()
			w := newWorld()
			a := w.change("a")
			a.Apply = func(ctx context.Context) error { return errors.Join(w.throw("a")(ctx), harm(path)) }
			_, err = procedure(a, w.once("b")).Run(t.Context(), options(j))
			require.ErrorIs(t, err, failover.ErrJournalDamaged)
			assert.Zero(t, w.thrown["b"])
		})
	}
}

func TestTwoCopiesOfOneJournalExcludeEachOther(t *testing.T) {
	w := newWorld()
	lock := &failovertest.Lock{}
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	build := func() failover.Procedure {
		p := procedure(w.change("a"), w.check("go"), w.once("b"))
		p.Lock = lock
		return p
	}
	first, err := failover.CreateJournal(one)
	require.NoError(t, err)
	_, err = build().Run(t.Context(), options(first))
	require.ErrorIs(t, err, failover.ErrPrecondition, "half-way, with the lock")
	raw, err := os.ReadFile(one)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(two, raw, 0o600))
	w.on["go"] = true
	second, err := failover.OpenJournal(two)
	require.NoError(t, err)
	defer func() { _ = second.Close() }()
	_, err = build().Run(t.Context(), options(second))
	require.ErrorIs(t, err, failover.ErrLocked)
	assert.Zero(t, w.thrown["b"])

	require.NoError(t, first.Close())
	again, err := failover.OpenJournal(one)
	require.NoError(t, err)
	defer func() { _ = again.Close() }()
	holder, held, err := lock.Holder(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	o := options(second)
	o.Reason = "machine one burned down"
	require.NoError(t, build().TakeOverLock(t.Context(), o, holder))
	_, err = build().Run(t.Context(), options(again))
	require.ErrorIs(t, err, failover.ErrLocked, "taken over by a person")
	rep, err := build().Run(t.Context(), options(second))
	require.NoError(t, err)
	assert.Equal(t, 1, w.thrown["b"])
	require.NotEmpty(t, rep.Decisions)
	assert.Equal(t, failover.DecisionTakeOver, rep.Decisions[0].Kind)
	assert.Contains(t, rep.Decisions[0].String(), "burned down")

	refused := options(again)
	require.ErrorIs(t, build().TakeOverLock(t.Context(), refused, failover.Claim{ID: "nobody"}), failover.ErrLocked)
	report := again.Report()
	require.Len(t, report.Decisions, 1)
	assert.Equal(t, failover.NotApplied, *report.Decisions[0].Outcome)
	assert.NotEmpty(t, report.Decisions[0].Error, "tried, and refused")
}

func TestTheSameJournalTakesOverWhatItsDeadProcessLeft(t *testing.T) {
	w := newWorld()
	lock := &failovertest.Lock{}
	path := filepath.Join(t.TempDir(), "journal")
	p := procedure(w.change("a"), w.check("go"), w.once("b"))
	p.Lock = lock
	for _, ready := range []bool{false, true} {
		w.on["go"] = ready
		j, err := failovertest.JournalAt(path)
		require.NoError(t, err)
		rep, err := p.Run(t.Context(), options(j))
		require.NoError(t, j.Close())
		if !ready {
			require.Error(t, err)
			require.True(t, lock.Held())
			continue
		}
		require.NoError(t, err)
		require.False(t, lock.Held())
		require.Len(t, rep.Decisions, 1)
		assert.Contains(t, rep.Decisions[0].Says, "the holder of the lock is gone")
	}
}

func TestStores(t *testing.T) {
	dir := t.TempDir()
	failovertest.TestStore(t, func(_ testing.TB, name string) failover.Store {
		return failover.JournalFile(filepath.Join(dir, name))
	})
	stores := map[string]*failovertest.Store{}
	failovertest.TestStore(t, func(_ testing.TB, name string) failover.Store {
		if stores[name] == nil {
			stores[name] = failovertest.NewStore(name)
		}
		return stores[name]
	})
}

func TestLocks(t *testing.T) {
	one := &failovertest.Lock{}
	failovertest.TestLock(t, func(testing.TB) failover.Lock { return one })
	two, three := &failovertest.Lock{}, &failovertest.Lock{}
	part := func(l failover.Lock) failover.Procedure {
		p := procedure(newWorld().change("a"))
		p.Lock = l
		return p
	}
	joined, err := failover.Join(failover.JoinOptions{Name: "both"}, failover.Part{Name: "x", Procedure: part(two)},
		failover.Part{Name: "y", Procedure: part(three)})
	require.NoError(t, err)
	failovertest.TestLock(t, func(testing.TB) failover.Lock { return joined.Lock })
}

func TestADiskThatWasFullIsUsedAgain(t *testing.T) {
	w := newWorld()
	full := true
	store := &fullStore{Store: failovertest.NewStore("disk"), full: func() bool { return full }}
	j, err := failover.CreateJournalIn(t.Context(), store)
	require.NoError(t, err)
	p := procedure(w.change("a"), w.once("b"))
	_, err = p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.Equal(t, 1, strings.Count(err.Error(), "no space left"))
	assert.Empty(t, w.thrown)
	full = false
	rep, err := p.Run(t.Context(), options(j))
	require.NoError(t, err, "the same handle goes on")
	assert.Equal(t, failover.ResultCompleted, rep.Result)
}

// fullStore lets every record behind the header fail while the disk is full.
type fullStore struct {
	*failovertest.Store
	full func() bool
}

func (s *fullStore) Create(ctx context.Context, h failover.Holder) (failover.StoreWriter, error) {
	w, err := s.Store.Create(ctx, h)
	return &fullWriter{w, s, 0}, err
}

type fullWriter struct {
	failover.StoreWriter
	s *fullStore
	n int
}

func (w *fullWriter) Append(line []byte) error {
	if w.n++; w.n > 1 && w.s.full() {
		return &fs.PathError{Op: "write", Path: "journal", Err: syscall.ENOSPC}
	}
	return w.StoreWriter.Append(line)
}

// A machine that was cloned has the name, the disk and the journal of the first one.
func TestACloneDoesNotTakeTheLockOver(t *testing.T) {
	w := newWorld()
	lock := &failovertest.Lock{}
	build := func() failover.Procedure {
		p := procedure(w.change("a"), w.check("go"), w.once("b"))
		p.Lock = lock
		return p
	}
	store := failovertest.NewStore("disk")
	j, err := store.Journal()
	require.NoError(t, err)
	require.NoError(t, j.Close())
	clone := store.Copy("disk")
	for range 2 {
		j, err = store.Journal()
		require.NoError(t, err)
		_, err = build().Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrPrecondition, "half-way, with the lock")
		require.NoError(t, j.Close())
	}
	w.on["go"] = true
	second, err := clone.Journal()
	require.NoError(t, err)
	defer func() { _ = second.Close() }()
	_, err = build().Run(t.Context(), options(second))
	require.ErrorIs(t, err, failover.ErrLocked)
	assert.Zero(t, w.thrown["b"])

	holder, held, err := lock.Holder(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, build().TakeOverLock(t.Context(), options(second), holder))
	require.NoError(t, second.Close())
	third, err := clone.Journal()
	require.NoError(t, err)
	defer func() { _ = third.Close() }()
	_, err = build().Run(t.Context(), options(third))
	require.NoError(t, err, "what this journal took over is its own")
}
