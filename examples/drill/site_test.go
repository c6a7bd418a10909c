package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// TestASiteWhosePartStopsEndsTheOthersAndGoesBack has a full disk on the host: the drivers move, the file service that
// waits for the host does not, the report has all of it, and the undo takes back what is done and what is half done.
func TestASiteWhosePartStopsEndsTheOthersAndGoesBack(t *testing.T) {
	st, err := openSite(t.Context(), t.TempDir(), settings{fault: "statedir-full"})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.close()) }()
	p, err := st.acts[0].build(t.Context())
	require.NoError(t, err)
	var back []string
	o := failover.RunOptions{Journal: failovertest.Journal(t), Actor: "tester", Reason: "CHG-1", Confirm: st.confirm}
	report, err := p.Run(t.Context(), o)
	require.Error(t, err)
	require.Equal(t, failover.ResultPartWay, report.Result)
	require.Contains(t, failover.NextOf(err), "make room there", "the part that stopped says what to do")
	var parts failover.Targets
	require.ErrorAs(t, err, &parts)
	for _, part := range parts {
		require.Equal(t, part.Target == "drivers", part.Err == nil, "%s: %v", part.Target, part.Err)
	}
	for _, s := range report.Steps {
		switch {
		case s.Part == "files" && s.Kind != failover.Check:
			require.Equal(t, failover.StatusNotReached, s.Status, s.ID)
		case s.Part == "drivers" && s.Kind == failover.Change:
			require.Contains(t, []failover.StepStatus{failover.StatusApplied, failover.StatusAlready}, s.Status, s.ID)
		}
	}
	require.Regexp(t, `(?s)drivers:.*host:.*files:`, report.String(), "grouped by part")
	seen, err := st.judge(t.Context())
	require.NoError(t, err)
	require.Contains(t, seen.end, "12 of 12 drivers run on srv2 and nowhere else")
	require.Contains(t, seen.end, "online on NODE1")

	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventStepStarted {
			back = append(back, e.Step.ID)
		}
	}
	report, err = p.Undo(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, failover.ResultUndone, report.Result)
	order := p.AllSteps()
	place := func(id string) int { return slices.IndexFunc(order, func(s failover.Step) bool { return s.ID == id }) }
	require.True(t, slices.IsSortedFunc(back, func(a, b string) int { return place(b) - place(a) }),
		"in reverse: %v", back)
	require.Contains(t, back, "host/opcon-hold/schedules")
	require.Contains(t, back, "drivers/start/start")
	seen, err = st.judge(t.Context())
	require.NoError(t, err)
	require.False(t, seen.twoActive)
	require.Contains(t, seen.end, "0 of 12 drivers run on srv2")
	require.Contains(t, seen.end, "primary: symaix1; OpCon's machine is U (asked U) at symaix1.drill.example, what was "+
		"held is released")
}

// TestASiteThatCrashesGoesOn kills the program at a record of each kind, each in another part.
func TestASiteThatCrashesGoesOn(t *testing.T) {
	for _, crash := range [][2]string{
		{"-crash", "host/macro/run"},            // the intent of what happens once
		{"-crash-after", "drivers/start/start"}, // the outcome of a change
		{"-crash", "drivers/finish/all-good"},   // a person's word
		{"-crash", "files/arrived/verify"},      // what was seen
	} {
		t.Run(crash[0]+" "+crash[1], func(t *testing.T) {
			t.Parallel()
			journal := filepath.Join(t.TempDir(), "journal")
			status, out := drill(t, "-brief", crash[0], crash[1], "-journal", journal, "site")
			require.Equal(t, -1, status, "the process kills itself\n%s", out)
			status, out = drill(t, "-brief", "-journal", journal, "site")
			assert.Zero(t, status, out)
			lawful(t, out)
		})
	}
}
