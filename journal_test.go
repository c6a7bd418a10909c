package failover_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// ran returns a journal file with a completed run in it, and the procedure.
func ran(t *testing.T) (string, failover.Procedure, *world) {
	t.Helper()
	w := newWorld()
	p := procedure(w.change("a"), w.once("b"))
	path := filepath.Join(t.TempDir(), "journal")
	j, err := failovertest.JournalAt(path)
	require.NoError(t, err)
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err)
	require.NoError(t, j.Close())
	return path, p, w
}

func TestJournalIsOpenInOneProcessAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := openJournal(t, path)
	_, err := failover.OpenJournal(path)
	require.ErrorIs(t, err, failover.ErrJournalBusy)
	reader, err := failover.ReadJournal(path)
	require.NoError(t, err, "reading does not disturb")
	used := func(j *failover.Journal) bool {
		t.Helper()
		yes, err := j.InUse(t.Context())
		require.NoError(t, err)
		return yes
	}
	assert.True(t, used(reader))
	assert.True(t, used(j))
	require.NoError(t, j.Close())
	assert.False(t, used(j))
	assert.False(t, used(reader))
	openJournal(t, path)
	assert.True(t, used(reader))
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing stands beside the journal")
}

func TestAJournalServesOneRunAtATime(t *testing.T) {
	w := newWorld()
	j := journal(t)
	s := w.once("a")
	p := procedure(s)
	var inner error
	p.Stages[0].Steps[0].Apply = func(ctx context.Context) error {
		_, inner = p.Run(ctx, options(j))
		return w.throw("a")(ctx)
	}
	_, err := p.Run(t.Context(), options(j))
	require.NoError(t, err)
	require.ErrorIs(t, inner, failover.ErrJournalBusy)
	assert.Equal(t, 1, w.thrown["a"])
	_, err = p.Run(t.Context(), options(j))
	require.NoError(t, err, "it is free again")
}

func TestOnlyManualStepsAreConfirmed(t *testing.T) {
	path, _, _ := ran(t)
	j := openJournal(t, path)
	require.ErrorIs(t, j.Confirm("s/a", failover.Statement{By: "ann", Says: "done", Reason: "saw it"}), failover.ErrInvalid)
	require.ErrorIs(t, j.Confirm("s/nonsense", failover.Statement{By: "ann", Says: "done", Reason: "saw it"}),
		failover.ErrInvalid)
}

func TestJournalBelongsToOneProcedure(t *testing.T) {
	path, p, w := ran(t)
	j := openJournal(t, path)
	name, definition := j.Procedure()
	assert.Equal(t, p.Name, name)
	assert.Equal(t, p.Definition(), definition)

	other := p
	other.Parameters = []failover.Parameter{{Name: "host", Value: "other"}}
	_, err := other.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWrongJournal)
	assert.Contains(t, err.Error(), "host")
	_, err = procedure(w.change("a")).Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWrongJournal)
	assert.Contains(t, err.Error(), "the step s/b was begun")
}

func TestReadJournalCannotBeRunWith(t *testing.T) {
	path, p, _ := ran(t)
	j, err := failover.ReadJournal(path)
	require.NoError(t, err)
	assert.Equal(t, failover.ResultCompleted, j.Report().Result)
	_, err = p.Run(t.Context(), options(j))
	require.Error(t, err)
	require.NoError(t, j.Close())
}

// Each entry costs one line, the last one as much as the first, and what was written before a stop is there behind it.
func TestEntriesAreAppended(t *testing.T) {
	const entries = 600
	told, path := failover.FactMap[bool]{Name: "told"}, filepath.Join(t.TempDir(), "journal")
	w := newWorld()
	tell, stop := w.change("tell"), true
	tell.Writes = []string{told.Name}
	var lengths []int64
	tell.Apply = func(ctx context.Context) error {
		have, err := told.Load(ctx)
		for i := len(have); i < entries && err == nil; i++ {
			if stop && i == entries/2 {
				return &failover.Error{Op: "tell", Outcome: failover.NotApplied, Err: assert.AnError}
			}
			err = told.Put(ctx, fmt.Sprintf("job-%03d", i), i%2 == 0)
			info, statErr := os.Stat(path)
			require.NoError(t, statErr)
			lengths = append(lengths, info.Size())
		}
		w.on["tell"] = err == nil
		return err
	}
	p := procedure(tell)
	j := openJournal(t, path)
	_, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	require.NoError(t, j.Close())
	require.Len(t, lengths, entries/2)
	assert.InDelta(t, lengths[1]-lengths[0], lengths[entries/2-1]-lengths[entries/2-2], 20)

	stop = false
	observed := 0
	tell.Observe = func(ctx context.Context) (failover.Observation, error) {
		have, err := told.Load(ctx)
		observed = len(have)
		require.ErrorIs(t, told.Put(ctx, "job-000", true), failover.ErrPrecondition, "a look changes nothing")
		return failover.Observation{Done: len(have) == entries && !have["job-001"] && have["job-598"]}, err
	}
	_, err = procedure(tell).Run(t.Context(), options(openJournal(t, path)))
	require.NoError(t, err)
	assert.Equal(t, entries, observed)
	require.Len(t, lengths, entries, "the second run went on where the first had stopped")
	for _, key := range []string{"", "\xff"} {
		require.ErrorIs(t, told.Put(t.Context(), key, true), failover.ErrPrecondition)
	}
}

func TestFactsSurviveTheProcessAndOnlyApplyWritesThem(t *testing.T) {
	held := failover.Fact[[]string]{Name: "held"}
	w := newWorld()
	hold, release := w.change("hold"), w.change("release")
	hold.Writes = []string{"held"}
	captured := 0
	hold.Apply = func(ctx context.Context) error {
		list, err := held.Capture(ctx, func(context.Context) ([]string, error) { captured++; return []string{"x", "y"}, nil })
		assert.Equal(t, []string{"x", "y"}, list)
		if err == nil && captured == 1 {
			captured++
			return &failover.Error{Op: "hold", Outcome: failover.NotApplied, Err: assert.AnError}
		}
		w.on["hold"] = true
		return err
	}
	blocked := true
	release.Observe = func(ctx context.Context) (failover.Observation, error) {
		list, ok, err := held.Load(ctx)
		assert.True(t, ok)
		assert.Equal(t, []string{"x", "y"}, list)
		require.ErrorIs(t, held.Save(ctx, nil), failover.ErrPrecondition)
		return failover.Observation{Done: !blocked}, err
	}
	release.Apply = func(context.Context) error {
		return &failover.Error{Op: "release", Outcome: failover.NotApplied, Err: failover.ErrRejected}
	}
	p := procedure(hold, release)
	path := filepath.Join(t.TempDir(), "journal")
	j := openJournal(t, path)
	_, err := p.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrRejected)
	require.NoError(t, j.Close())
	assert.Equal(t, 2, captured, "captured once although applied twice")

	blocked = false
	_, err = p.Run(t.Context(), options(openJournal(t, path)))
	require.NoError(t, err)

	_, ok, err := held.Load(t.Context())
	require.NoError(t, err)
	assert.False(t, ok)
	require.ErrorIs(t, held.Save(t.Context(), nil), failover.ErrPrecondition)
}

// A process that was killed while it started another one leaves its file lock to that one for a moment.
func TestOpenJournalWaitsForALockThatIsJustGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	dying, err := failovertest.JournalAt(path)
	require.NoError(t, err)
	opened := make(chan error, 1)
	go func() {
		next, err := failovertest.JournalAt(path)
		if err == nil {
			err = next.Close()
		}
		opened <- err
	}()
	require.NoError(t, dying.Close())
	require.NoError(t, <-opened)
}
