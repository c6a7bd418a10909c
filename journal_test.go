package failover_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// ran returns a journal file with a completed run in it, and the procedure.
func ran(t *testing.T) (string, failover.Procedure, *world) {
	t.Helper()
	w := newWorld()
	p := procedure(w.change("a"), w.once("b"))
	path := filepath.Join(t.TempDir(), "journal")
	j, err := failover.OpenJournal(path)
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
	assert.True(t, reader.InUse())
	assert.True(t, j.InUse())
	require.NoError(t, j.Close())
	assert.False(t, j.InUse())
	assert.False(t, reader.InUse())
	openJournal(t, path)
	assert.True(t, reader.InUse())
	elsewhere := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.WriteFile(elsewhere, nil, 0o600))
	copied, err := failover.ReadJournal(elsewhere)
	require.NoError(t, err)
	assert.False(t, copied.InUse())
	require.NoFileExists(t, elsewhere+".lock", "asking makes nothing")
}

func TestAJournalServesOneRunAtATime(t *testing.T) {
	w := newWorld()
	j := journal(t)
	s := w.once("a")
	p := procedure(s)
	var inner error
	p.Steps[0].Apply = func(ctx context.Context) error {
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
	require.ErrorIs(t, j.Confirm("a", failover.Statement{By: "ann", Says: "done", Reason: "saw it"}), failover.ErrInvalid)
	require.ErrorIs(t, j.Confirm("nonsense", failover.Statement{By: "ann", Says: "done", Reason: "saw it"}), failover.ErrInvalid)
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
	_, err = procedure(w.change("a")).Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWrongJournal)
}

func TestJournalRefusesEveryAlterationAndToleratesATornEnd(t *testing.T) {
	path, _, _ := ran(t)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := bytes.SplitAfter(good, []byte("\n"))

	open := func(content []byte) error {
		file := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.WriteFile(file, content, 0o600))
		j, err := failover.OpenJournal(file)
		if err == nil {
			require.NoError(t, j.Close())
		}
		return err
	}
	for cut := range good {
		require.NoError(t, open(good[:cut]), "cut off after byte %d", cut)
	}
	for at := range good[:len(good)-1] {
		bad := bytes.Clone(good)
		bad[at] ^= 0x01
		// The last line's own content is covered by no later hash; its numbers still are.
		if at < len(good)-len(lines[len(lines)-2]) {
			require.ErrorIs(t, open(bad), failover.ErrJournalDamaged, "byte %d changed", at)
		}
	}
	for drop := 1; drop < len(lines)-2; drop++ {
		var bad []byte
		for n, line := range lines {
			if n != drop {
				bad = append(bad, line...)
			}
		}
		require.ErrorIs(t, open(bad), failover.ErrJournalDamaged, "line %d dropped", drop+1)
	}
}

func TestATornIntentIsDroppedAndTheStepRunsOnce(t *testing.T) {
	path, p, w := ran(t)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(good, []byte(`"type":"intent","step":"b"`))
	require.Positive(t, at)
	require.NoError(t, os.WriteFile(path, good[:at], 0o600))
	w.on["b"], w.thrown["b"] = false, 0
	rep, err := p.Run(t.Context(), options(openJournal(t, path)))
	require.NoError(t, err)
	assert.Equal(t, 1, w.thrown["b"])
	assert.Equal(t, failover.ResultCompleted, rep.Result)
}

func TestReadJournalCannotBeRunWith(t *testing.T) {
	path, p, _ := ran(t)
	j, err := failover.ReadJournal(path)
	require.NoError(t, err)
	assert.Equal(t, failover.ResultCompleted, p.Report(j).Result)
	_, err = p.Run(t.Context(), options(j))
	require.Error(t, err)
	require.NoError(t, j.Close())
}

func TestFactsSurviveTheProcessAndOnlyApplyWritesThem(t *testing.T) {
	held := failover.NewFact[[]string]("held")
	w := newWorld()
	hold, release := w.change("hold"), w.change("release")
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
	dying, err := failover.OpenJournal(path)
	require.NoError(t, err)
	opened := make(chan error, 1)
	go func() {
		next, err := failover.OpenJournal(path)
		if err == nil {
			err = next.Close()
		}
		opened <- err
	}()
	require.NoError(t, dying.Close())
	require.NoError(t, <-opened)
}
