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
		one := &failover.Error{Op: "hold", Target: "<script>alert(1)</script>", Outcome: failover.NotApplied, Next: "ask", Err: failover.ErrRejected}
		two := &failover.Error{Op: "hold", Target: "two", Outcome: failover.InDoubt, Err: assert.AnError}
		return list{one, two}
	}
	p := procedure(w.change("a"), bad, w.change("c"))
	p.Outage = failover.Window{From: "a", To: "c"}
	j := journal(t)
	live, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	stored, err := failover.ReadJournal(j.Path())
	require.NoError(t, err)
	again := p.Report(stored)
	liveJSON, err := live.JSON()
	require.NoError(t, err)
	againJSON, err := again.JSON()
	require.NoError(t, err)
	assert.JSONEq(t, string(liveJSON), string(againJSON))
	assert.True(t, json.Valid(liveJSON))
	alone, err := stored.Report().JSON()
	require.NoError(t, err)
	assert.JSONEq(t, string(liveJSON), string(alone), "also where the procedure cannot be built")

	require.NotNil(t, live.Outage)
	assert.False(t, live.Outage.Ended)
	step, _ := live.Step("b")
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
	p := procedure(w.change("before"), w.change("a"), w.once("b"), w.change("after"))
	p.Outage = failover.Window{From: "a", To: "b"}
	rep, err := p.Run(t.Context(), options(journal(t)))
	require.NoError(t, err)
	a, _ := rep.Step("a")
	b, _ := rep.Step("b")
	require.True(t, rep.Outage.Ended)
	assert.Equal(t, a.Began, rep.Outage.From)
	assert.Equal(t, b.Ended, rep.Outage.To)
	assert.Positive(t, rep.Outage.Duration())
}

// list is an error of a fan-out.
type list []error

func (l list) Error() string   { return "several failed" }
func (l list) Unwrap() []error { return l }
