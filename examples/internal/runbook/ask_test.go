package runbook

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

func TestAPersonAnswersOrParksTheRun(t *testing.T) {
	once := failover.Step{ID: "fire", Title: "Fire", Kind: failover.Once, Help: "Do it."}
	ask := func(text string) *person {
		return &person{in: bufio.NewReader(strings.NewReader(text)), out: io.Discard, there: true, actor: "ann"}
	}
	require.NoError(t, ask("yes\n").approve(t.Context(), once, failover.Observation{}))
	err := ask("y\n").approve(t.Context(), once, failover.Observation{})
	require.Error(t, err)
	require.NotErrorIs(t, err, failover.ErrWaiting, "that is a no")
	require.ErrorIs(t, ask("").approve(t.Context(), once, failover.Observation{}), failover.ErrWaiting, "the terminal is gone")
	require.NoError(t, ask("").approve(t.Context(), failover.Step{Kind: failover.Change}, failover.Observation{}))

	word, err := ask("held all\n").confirm(t.Context(), once, failover.Observation{Found: "x"})
	require.NoError(t, err)
	assert.Equal(t, failover.Statement{By: "ann", Says: "held all", Reason: "confirmed at the terminal"}, word)
	_, err = ask("\n").confirm(t.Context(), once, failover.Observation{})
	require.ErrorIs(t, err, failover.ErrWaiting)
}

func TestAnInterruptEndsTheQuestion(t *testing.T) {
	silent, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	once := failover.Step{ID: "fire", Title: "Fire", Kind: failover.Once}
	stop := make(chan struct{})
	p := &person{in: bufio.NewReader(silent), out: io.Discard, there: true, stop: stop}
	close(stop)
	require.ErrorIs(t, p.approve(t.Context(), once, failover.Observation{}), failover.ErrWaiting)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p = &person{in: bufio.NewReader(silent), out: io.Discard, there: true}
	require.ErrorIs(t, p.approve(ctx, once, failover.Observation{}), failover.ErrWaiting)
}
