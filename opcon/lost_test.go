package opcon_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestNoInterruptedJobIsLost: whatever OpCon says after the move of a job that ran before it, the job is in the list
// unless its end is proven. The pairs of words are the vendor's own list (typed client), and some that no list holds.
func TestNoInterruptedJobIsLost(t *testing.T) {
	for _, pair := range [][2]string{
		{"Held", "On Hold"}, {"Waiting", "Qualifying"}, {"Waiting", "Wait Start Time"}, {"Waiting",
			"Wait Machine"}, {"Waiting", "Prerun Failed"}, {"Waiting", "Wait to Start"},
		{"Waiting", "Late to Start"}, {"Waiting", "Job to be Skipped"}, {"Running", "Attempt to Start"}, {"Running",
			"Start Attempted"}, {"Running", "Still Attempting Start"},
		{"Running", "Prerun Active"}, {"Running", "Job Running"}, {"Running",
			"Job Running; Late to Finish"}, {"Running", "Job Running; To be terminated"},
		{"Failed", "Initialization Error"}, {"Failed", "Failed; Processing Events"}, {"Failed",
			"Marked Failed"}, {"Failed", "Failed"},
		{"Missed Start Time", "Missed Start Time"}, {"Cancelled", "Cancelled"}, {"Skipped",
			"Skipped"}, {"Under Review", "Under Review"}, {"Fixed", "Fixed"},
		{"Active", "Active"}, {"", ""}, {"Interrupted", "Agent lost"}, {"running!", "?"},
		{"Finished Ok", "Finished OK"}, {"Finished Ok", "Marked Finished OK"}, {"Finished Ok",
			"Finished OK; Processing Events"},
	} {
		w := opcontest.Words{Category: pair[0], Description: pair[1]}
		t.Run(w.Category+"/"+w.Description, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
			rec := s.moved(t)
			s.Change(func() { s.Running.Says, s.JustSent.Says = &w, &w })
			list, err := s.client.Interrupted(context.Background(), rec)
			require.NoError(t, err)
			for _, name := range []string{"GOODNIGHT", "CLOSEDAY"} {
				in, listed := find(list, name)
				require.Equal(t, w.Category != "Finished Ok", listed, name)
				if listed {
					require.NotZero(t, in.Why)
					require.Contains(t, in.String(), "before the move running (")
					if w.Description != "" {
						require.Contains(t, in.String(), w.Description, "the server's own words are shown")
					}
				}
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
		rec := s.moved(t)
		rec.Running[0].ID, rec.Running[0].Name = "20260822|227|1|GHOST", "GHOST"
		list, err := s.client.Interrupted(context.Background(), rec)
		require.NoError(t, err)
		require.Len(t, list, 3, "the one of the record, and the one it stood for, which is new now")
		gone, ok := find(list, "GHOST")
		require.True(t, ok)
		require.Contains(t, gone.Hint, "does not show it any more")
	})
}

// TestUnknownWordsDoNotDrain: a job in a category that no document lists, and a count that is not told, are no proof
// that nothing runs.
func TestUnknownWordsDoNotDrain(t *testing.T) {
	for name, change := range map[string]func(*site){
		"unknown category": func(s *site) {
			s.Running.Says = &opcontest.Words{Category: "Active",
				Description: "Active"}
		},
		"unknown category, no count": func(s *site) {
			s.Running.Says,
				s.Machine.Uncounted = &opcontest.Words{Category: "Active"}, true
		},
		"no job shown and no count told": func(s *site) {
			s.Running.Status, s.Machine.Uncounted = opcontest.JobFinishedOK,
				true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
			s.quiet()
			s.Change(func() { s.Running.Status = opcontest.JobRunning; change(s) })
			q := planned()
			q.DrainTimeout = 200 * time.Millisecond
			p := procedure(t, s, q, resumed())
			j := journal(t)
			_, err := p.Run(context.Background(), options(j))
			require.ErrorIs(t, err, failover.ErrNotObserved)
			require.ErrorContains(t, err, "drain")
			require.Zero(t, s.Count("down", ""))
			require.NotEmpty(t, failover.NextOf(err))
		})
	}
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	s.Change(func() {
		s.Running.Says, s.JustSent.Says, s.Machine.Uncounted = &opcontest.Words{Category: "Active"},
			&opcontest.Words{Category: "Active"}, true
	})
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	require.Len(t, rec.Running, 2, "and they are recorded")
	s.swap()
	list, err := s.client.Interrupted(context.Background(), rec)
	require.NoError(t, err)
	require.Len(t, list, 2)
}

// TestUnknownScheduleIsNotFree: a schedule that this run holds and that is in a state no document lists is not free,
// and one that was deleted does not stand in the way for ever.
func TestUnknownScheduleIsNotFree(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, opcontest.Config{}, withUser("failover_svc", secret("secret")),
		withTimeouts(time.Second, 100*time.Millisecond))
	s.quiet()
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	s.swap()
	rec, err = s.client.Reconnect(ctx, rec, resumed())
	require.NoError(t, err)
	s.Before("POST", "/api/scheduleactions", "release", 0, func() {
		s.Change(func() { s.Branch.Says = &opcontest.Words{Category: "Suspended", Description: "Suspended"} })
	})
	rec, err = s.client.Release(ctx, rec, resumed())
	require.ErrorContains(t, err, "Suspended")
	require.ErrorContains(t, err, "SYM BRANCH [EAST]")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "a release was taken and nothing shows that it is free")
	require.NotEmpty(t, failover.NextOf(err))

	_, err = s.client.Release(ctx, rec, resumed())
	require.ErrorContains(t, err, "Suspended", "it is not taken for free")

	s.Change(func() { s.Branch.Says = nil; s.Branch.Status = opcontest.ScheduleOnHold })
	s.Delete(s.Statements) // deleted by somebody
	_, err = s.client.Release(ctx, rec, resumed())
	require.NoError(t, err, "it had been seen free")
	require.NotEqual(t, opcontest.ScheduleOnHold, s.Status(s.Branch))
	s.lawful(t)
}

// TestReleaseRefusedAsAWhole: a request the server refuses for one schedule is sent again for each alone.
func TestReleaseRefusedAsAWhole(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	s.swap()
	s.Inject(opcontest.Injection{Kind: opcontest.InjectionStatus, Verb: "release", Code: 400,
		Body: `[{"code":1001,"message":"one of them is locked"}]`})
	_, err = s.client.Resume(context.Background(), rec, resumed())
	require.NoError(t, err)
	require.Equal(t, 4, s.Count("release", ""))
}

// TestNumbersThatCannotBeRead: a record whose id or count is no number is refused, not taken as 0.
func TestNumbersThatCannotBeRead(t *testing.T) {
	for name, tc := range map[string]struct{ path, body string }{
		"huge id":    {"/api/machines", `[{"id":9999999999999999999999,"name":"SYMAIX1","status":{"state":"U"}}]`},
		"no id":      {"/api/machines", `[{"name":"SYMAIX1","status":{"state":"U"}}]`},
		"odd count":  {"/api/machines", `[{"id":12,"name":"SYMAIX1","currentJobs":"some","status":{"state":"U"}}]`},
		"odd groups": {"/api/machinegroups", `[{"id":4,"name":"G","machines":{"id":12}}]`},
		"job number": {"/api/dailyjobs",
			`[{"id":"a|1|1|J","name":"J","jobNumber":1.5,"schedule":{"date":"2026-08-22"}}]`},
		"job null":     {"/api/dailyjobs", `[null]`},
		"schedule":     {"/api/dailyschedules?", `[{"name":"S","date":"2026-08-22"}]`},
		"not a number": {"/api/machines", `[{"id":"12x","name":"SYMAIX1"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, opcontest.Config{})
			path := tc.path
			f := opcontest.Injection{Kind: opcontest.InjectionStatusAfter, Path: path, Code: 200, Body: tc.body, Times: -1}
			if path == "/api/dailyschedules?" {
				f.Path, f.Skip = "/api/dailyschedules", 1 // the dates come first
			}
			s.Inject(f)
			_, err := s.client.Quiesce(context.Background(), unplanned())
			require.Error(t, err)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.NotEmpty(t, failover.NextOf(err))
			require.Zero(t, s.Count("hold", ""))
		})
	}
}
