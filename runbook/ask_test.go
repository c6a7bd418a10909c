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

func answering(text string) *person {
	return &person{in: bufio.NewReader(strings.NewReader(text)), discard: func() {}, out: io.Discard,
		screen: NewScreen(nil), there: true, actor: "ann"}
}

func TestAPersonAnswersOrParksTheRun(t *testing.T) {
	once := failover.Request{Findings: "0123456789abcdef",
		Step: failover.StepInfo{ID: "fire", Title: "Fire", Kind: failover.Once, Target: "symaix1", Help: "Do it."}}
	yes, err := answering("symaix1\n").approve(t.Context(), once)
	require.NoError(t, err)
	assert.Equal(t, "ann", yes.By)
	assert.Contains(t, yes.From, "terminal of ")
	for _, no := range []string{"yes\n", "y\n", "\n", "SYMAIX1\n", "01234567\n"} {
		_, err = answering(no).approve(t.Context(), once)
		require.ErrorIs(t, err, failover.ErrRejected, "%q", no)
		require.NotErrorIs(t, err, failover.ErrWaiting, "that is a no")
	}
	_, err = answering("").approve(t.Context(), once)
	require.ErrorIs(t, err, failover.ErrWaiting, "the terminal is gone")

	word, err := answering("held all\n").confirm(t.Context(),
		failover.Request{Step: once.Step, Observation: failover.Observation{Found: "x"}})
	require.NoError(t, err)
	assert.Equal(t, "ann", word.By)
	assert.Equal(t, "held all", word.Says)
	_, err = answering("\n").confirm(t.Context(), once)
	require.ErrorIs(t, err, failover.ErrWaiting)
}

func TestTheWordToTypeIsTheTargetWhereItCanBeTyped(t *testing.T) {
	const hash = failover.PlanHash("0123456789abcdef")
	assert.Equal(t, "EFT to NODE2", word("EFT to NODE2", hash))
	for _, target := range []string{"", "yes", "Y", "a\x1b[2Kb", "a  b", " a", strings.Repeat("x", 41)} {
		assert.Equal(t, "01234567", word(target, hash), "%q", target)
	}
}

// What is typed as soon as the question can be read is the answer: a program that answers would wait for ever.
func TestWhatIsTypedAtOnceIsTheAnswer(t *testing.T) {
	var shown strings.Builder
	p, discarded := answering("yes, both\n"), false
	p.out, p.discard = &shown, func() { discarded = true; assert.Empty(t, shown.String()) }
	_, err := p.confirm(t.Context(), failover.Request{})
	require.NoError(t, err)
	require.True(t, discarded)
	require.NotEmpty(t, shown.String())
}

func TestAnInterruptEndsTheQuestion(t *testing.T) {
	silent, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	once := failover.Request{Step: failover.StepInfo{ID: "fire", Title: "Fire", Kind: failover.Once}}
	stop := make(chan struct{})
	p := answering("")
	p.in, p.stop = bufio.NewReader(silent), stop
	close(stop)
	_, err := p.approve(t.Context(), once)
	require.ErrorIs(t, err, failover.ErrWaiting)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p = answering("")
	p.in = bufio.NewReader(silent)
	_, err = p.approve(ctx, once)
	require.ErrorIs(t, err, failover.ErrWaiting)
}
