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
	once := failover.Request{Step: failover.StepInfo{ID: "fire", Title: "Fire", Kind: failover.Once, Help: "Do it."}}
	ask := func(text string) *person {
		return &person{in: bufio.NewReader(strings.NewReader(text)), out: io.Discard, there: true, actor: "ann"}
	}
	_, err := ask("yes\n").approve(t.Context(), once)
	require.NoError(t, err)
	_, err = ask("y\n").approve(t.Context(), once)
	require.Error(t, err)
	require.NotErrorIs(t, err, failover.ErrWaiting, "that is a no")
	_, err = ask("").approve(t.Context(), once)
	require.ErrorIs(t, err, failover.ErrWaiting, "the terminal is gone")
	_, err = ask("").approve(t.Context(), failover.Request{Step: failover.StepInfo{Kind: failover.Change}})
	require.NoError(t, err)

	word, err := ask("held all\n").confirm(t.Context(), failover.Request{Step: once.Step, Observation: failover.Observation{Found: "x"}})
	require.NoError(t, err)
	assert.Equal(t, failover.Statement{By: "ann", Says: "held all", Reason: "confirmed at the terminal"}, word)
	_, err = ask("\n").confirm(t.Context(), once)
	require.ErrorIs(t, err, failover.ErrWaiting)
}

func TestAnInterruptEndsTheQuestion(t *testing.T) {
	silent, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	once := failover.Request{Step: failover.StepInfo{ID: "fire", Title: "Fire", Kind: failover.Once}}
	stop := make(chan struct{})
	p := &person{in: bufio.NewReader(silent), out: io.Discard, there: true, stop: stop}
	close(stop)
	_, err := p.approve(t.Context(), once)
	require.ErrorIs(t, err, failover.ErrWaiting)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p = &person{in: bufio.NewReader(silent), out: io.Discard, there: true}
	_, err = p.approve(ctx, once)
	require.ErrorIs(t, err, failover.ErrWaiting)
}
