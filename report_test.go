package failover_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

func TestReportTellsTheSameFromTheJournalAlone(t *testing.T) {
	w := newWorld()
	bad := w.change("b")
	bad.Timeout = 20 * time.Millisecond
	bad.Apply = func(context.Context) error {
		one := &failover.Error{Op: "hold", Target: "<script>alert(1)</script>", Outcome: failover.NotApplied, Next: "ask",
			Err: failover.ErrRejected}
		two := &failover.Error{Op: "hold", Target: "two", Outcome: failover.InDoubt, Err: assert.AnError}
		return failover.Targets{{Target: one.Target, Err: one}, {Target: "two", Err: two}}.Err()
	}
	p := downWhile(w.change("a"), bad, w.change("c"))
	j := journal(t)
	live, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	stored, err := failover.ReadJournal(j.Path())
	require.NoError(t, err)
	again := stored.Report()
	liveJSON, err := live.JSON()
	require.NoError(t, err)
	againJSON, err := again.JSON()
	require.NoError(t, err)
	assert.JSONEq(t, string(liveJSON), string(againJSON))
	assert.True(t, json.Valid(liveJSON))
	require.Len(t, live.Outages, 1)
	assert.False(t, live.Outages[0].Ended)
	step, _ := live.Step("down/b")
	require.Len(t, step.Targets, 2)
	assert.Equal(t, failover.NotApplied, step.Targets[0].Outcome)
	assert.Equal(t, failover.InDoubt, step.Targets[1].Outcome)
	assert.Contains(t, live.String(), "two: in-doubt")
	assert.Contains(t, live.String(), "not over")

	var page bytes.Buffer
	require.NoError(t, live.WriteHTML(&page))
	assert.NotContains(t, page.String(), "<script>")
	assert.Contains(t, page.String(), "&lt;script&gt;")
	assert.Contains(t, page.String(), `class="not-reached"`)
}

func TestAJournalThatWasNotBegunSaysSo(t *testing.T) {
	rep := journal(t).Report()
	assert.Equal(t, failover.ResultNone, rep.Result)
	assert.Empty(t, rep.Steps)
}

func TestOutageIsMeasuredFromTheFirstIntentToTheLastStep(t *testing.T) {
	w := newWorld()
	p := downWhile(w.change("a"), w.once("b"))
	p.Stages = []failover.Stage{{Name: "up", Steps: []failover.Step{w.change("before")}}, p.Stages[0],
		{Name: "again", Steps: []failover.Step{w.change("after")}}}
	rep, err := p.Run(t.Context(), options(journal(t)))
	require.NoError(t, err)
	a, _ := rep.Step("down/a")
	b, _ := rep.Step("down/b")
	require.Len(t, rep.Outages, 1)
	require.True(t, rep.Outages[0].Ended)
	assert.Equal(t, a.Began, rep.Outages[0].From)
	assert.Equal(t, b.Ended, rep.Outages[0].To)
	assert.Positive(t, rep.Outages[0].Duration())
}
