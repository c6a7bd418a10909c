package opcon_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// quiet ends what runs, so that a planned quiesce drains at once.
func (s *site) quiet() {
	s.Change(func() { s.Running.Status, s.JustSent.Status = opcontest.JobFinishedOK, opcontest.JobFinishedOK })
}

// full runs the whole procedure and asserts the undisturbed end state.
func (s *site) full(t *testing.T) {
	t.Helper()
	j := journal(t)
	p := procedure(t, s, planned(), resumed())
	rep, err := p.Run(context.Background(), options(j))
	require.NoError(t, err, "%v", rep)
	s.ended(t)
}

func (s *site) ended(t *testing.T) {
	t.Helper()
	s.lawful(t)
	state, asked, address := s.MachineState(s.Machine)
	require.Equal(t, []string{"U", "U", newHost}, []string{state, asked, address})
	require.Equal(t, opcontest.ScheduleInProcess, s.Status(s.Nightly))
	require.Equal(t, opcontest.ScheduleInProcess, s.Status(s.Branch))
	require.Equal(t, opcontest.ScheduleWaitToStart, s.Status(s.Statements))
	require.Equal(t, opcontest.ScheduleWaitToStart, s.Status(s.Tomorrow))
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.HeldBefore))
	require.Equal(t, opcontest.ScheduleInProcess, s.Status(s.Child))
	for what, times := range map[string]int{"limited": 2, "down": 1, "up": 1, "address": 1} {
		require.Equal(t, times, s.Count(what, "SYMAIX1"), what)
	}
	for _, x := range []*opcontest.Schedule{s.Nightly, s.Branch, s.Statements, s.Tomorrow} {
		require.Equal(t, 1, s.Count("hold", x.Date+" "+x.Name), x.Name)
		require.Equal(t, 1, s.Count("release", x.Date+" "+x.Name), x.Name)
	}
}

func TestOneFaultAndTheEndIsTheSame(t *testing.T) {
	html := "<html><body>\x1b[31mproxy</body></html>"
	faults := map[string]opcontest.Injection{
		"token expires in the middle of the hold": {Kind: opcontest.InjectionExpireTokens, Method: "POST",
			Path: "/api/scheduleactions"},
		"token expires while polling": {Kind: opcontest.InjectionExpireTokens, Method: "GET",
			Path: "/api/machineactions"},
		"token expires before the record is put": {Kind: opcontest.InjectionExpireTokens, Method: "PUT"},
		"hold: cut before":                       {Kind: opcontest.InjectionCutBefore, Verb: "hold"},
		"hold: cut after":                        {Kind: opcontest.InjectionCutAfter, Verb: "hold"},
		"hold: cut in the reply":                 {Kind: opcontest.InjectionCutMidReply, Verb: "hold"},
		"hold: 502 after the effect":             {Kind: opcontest.InjectionStatusAfter, Verb: "hold", Code: 502, Body: html},
		"hold: 503 before the effect":            {Kind: opcontest.InjectionStatus, Verb: "hold", Code: 503},
		"hold: HTML with 200":                    {Kind: opcontest.InjectionStatusAfter, Verb: "hold", Code: 200, Body: html},
		"hold: empty 200":                        {Kind: opcontest.InjectionStatusAfter, Verb: "hold", Code: 200},
		"hold: record gone":                      {Kind: opcontest.InjectionLoseRecord, Verb: "hold"},
		"hold: no reply":                         {Kind: opcontest.InjectionMuteAfter, Verb: "hold"},
		"down: cut after":                        {Kind: opcontest.InjectionCutAfter, Verb: "down"},
		"down: cut before":                       {Kind: opcontest.InjectionCutBefore, Verb: "down"},
		"down: record gone":                      {Kind: opcontest.InjectionLoseRecord, Verb: "down"},
		"down: 500 after": {Kind: opcontest.InjectionStatusAfter, Verb: "down", Code: 500,
			Body: `{"title":"oops"}`},
		"limited: cut after":   {Kind: opcontest.InjectionCutAfter, Verb: "limited"},
		"up: cut after":        {Kind: opcontest.InjectionCutAfter, Verb: "up"},
		"up: no reply":         {Kind: opcontest.InjectionMuteAfter, Verb: "up"},
		"put: cut after":       {Kind: opcontest.InjectionCutAfter, Method: "PUT"},
		"put: cut before":      {Kind: opcontest.InjectionCutBefore, Method: "PUT"},
		"put: 504 after":       {Kind: opcontest.InjectionStatusAfter, Method: "PUT", Code: 504},
		"release: cut after":   {Kind: opcontest.InjectionCutAfter, Verb: "release", Skip: 1},
		"release: cut before":  {Kind: opcontest.InjectionCutBefore, Verb: "release", Skip: 2},
		"release: record gone": {Kind: opcontest.InjectionLoseRecord, Verb: "release"},
		"read: cut": {Kind: opcontest.InjectionCutBefore, Method: "GET", Path: "/api/dailyjobs",
			Skip: 3},
		"read: 503 twice": {Kind: opcontest.InjectionStatus, Method: "GET",
			Path: "/api/dailyschedules", Code: 503, Times: 2},
		"read: HTML 502": {Kind: opcontest.InjectionStatus, Method: "GET", Path: "/api/machines",
			Code: 502, Body: html, Skip: 4},
		"poll: cut": {Kind: opcontest.InjectionCutBefore, Method: "GET",
			Path: "/api/scheduleactions"},
		"poll: unreachable, the state still tells": {Kind: opcontest.InjectionStatus, Method: "GET",
			Path: "/api/machineactions", Code: 503, Times: 4},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := 5 * time.Second
			if f.Kind == opcontest.InjectionMuteAfter {
				request = 500 * time.Millisecond
			}
			s := newSite(t, opcontest.Config{Polls: 1}, withUser("failover_svc", secret("secret")),
				withTimeouts(request, 3*time.Second))
			s.quiet()
			s.Inject(f)
			s.full(t)
		})
	}
}

func TestShapesOfTheServer(t *testing.T) {
	for name, conf := range map[string]opcontest.Config{
		"schema names":            {SchemaNames: true},
		"problem errors":          {ProblemErrors: true},
		"filters ignored":         {IgnoreFilters: true},
		"paging ignored":          {IgnorePaging: true, NoCount: true},
		"paging ignored, counted": {IgnorePaging: true},
		"small pages":             {MaxPage: 2},
		"small pages, no count":   {MaxPage: 2, NoCount: true},
		"no container id":         {NoContainerID: true},
		"zoneless times":          {ZonelessTimes: true},
		"dates as objects":        {DateObjects: true},
		"slow actions":            {Polls: 25},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, conf)
			s.quiet()
			s.full(t)
		})
	}
}

func TestHoldFailsForOneOfTen(t *testing.T) {
	for _, times := range []int{1, -1} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			s := newSite(t, opcontest.Config{Polls: 1})
			s.quiet()
			for i := range 6 {
				x := s.AddSchedule(&opcontest.Schedule{Name: fmt.Sprintf("SYM EXTRA %d", i),
					Status: opcontest.ScheduleInProcess})
				s.AddJob(&opcontest.Job{Name: "JOB", Schedule: x, Primary: "SYMAIX1"})
			}
			s.FailItem("hold", "SYM EXTRA 3", "the schedule is locked by user jdoe", times)
			p := procedure(t, s, planned(), resumed())
			j := journal(t)
			rep, err := p.Run(context.Background(), options(j))
			require.Empty(t, s.Violations())
			if times == 1 {
				require.NoError(t, err, "the second attempt of the step holds it")
				require.Equal(t, 1, s.Count("hold", "2026-08-22 SYM EXTRA 0"), "and does not send the others again")
				return
			}
			require.ErrorIs(t, err, opcon.ErrActionFailed)
			require.Contains(t, jsonOf(t, rep), `"status":"partly-applied"`, "the others are held, and that is said")
			require.ErrorContains(t, err, "SYM EXTRA 3")
			require.ErrorContains(t, err, "locked by user jdoe")
			require.Contains(t, failover.NextOf(err), "SYM EXTRA 3")
			require.Contains(t, failover.NextOf(err), "the others are as wanted")
			action, ok := errors.AsType[*opcon.ActionError](err)
			require.True(t, ok)
			require.Equal(t, "2026-08-22 SYM EXTRA 3", action.Item)
			require.Equal(t, 9, s.Count("hold", ""))
			require.Zero(t, s.Count("down", ""), "the machine is not taken down with a schedule free")

			// What failed is not ours: a person holds it later, and the undo leaves it alone.
			x := s.Find("2026-08-22", "SYM EXTRA 3")
			s.Change(func() { x.Status = opcontest.ScheduleOnHold })
			_, err = p.Undo(context.Background(), options(j))
			require.NoError(t, err)
			require.Equal(t, opcontest.ScheduleOnHold, s.Status(x))
			require.Equal(t, 9, s.Count("release", ""))
		})
	}
}

func TestMachineThatNeverDrains(t *testing.T) {
	for name, arrange := range map[string]func(*site){
		"a job that does not end": func(*site) {},
		"a stale count":           func(s *site) { s.quiet(); s.Change(func() { s.Machine.StuckJobs = 1 }) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, opcontest.Config{})
			arrange(s)
			q := planned()
			q.DrainTimeout = 300 * time.Millisecond
			p := procedure(t, s, q, resumed())
			j := journal(t)
			begin := time.Now()
			_, err := p.Run(context.Background(), options(j))
			require.Less(t, time.Since(begin), 20*time.Second)
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.ErrorIs(t, err, failover.ErrNotObserved)
			require.ErrorContains(t, err, "SYMAIX1")
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.NotEmpty(t, failover.NextOf(err))
			if name == "a stale count" {
				require.ErrorContains(t, err, "may be stale")
			} else {
				require.ErrorContains(t, err, "GOODNIGHT")
			}
			require.Zero(t, s.Count("down", ""))

			o := options(j)
			o.Waive = map[string]string{"opcon-drain/jobs": "the window ends; the jobs are rerun"}
			_, err = p.Run(context.Background(), o)
			require.NoError(t, err)
			s.ended(t)
		})
	}
}

func TestAgentOnTheNewHost(t *testing.T) {
	t.Run("answers late", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		s.quiet()
		s.Change(func() { s.Machine.AnswerAfter = 30 })
		s.full(t)
	})
	t.Run("does not answer", func(t *testing.T) {
		s := newSite(t, opcontest.Config{})
		s.quiet()
		s.silence(newHost)
		r := resumed()
		r.UpTimeout = 400 * time.Millisecond
		p := procedure(t, s, planned(), r)
		j := journal(t)
		_, err := p.Run(context.Background(), options(j))
		require.ErrorIs(t, err, failover.ErrNotObserved)
		require.ErrorContains(t, err, "opcon-prove/line")
		require.Equal(t, 0, s.Count("release", ""), "nothing is released before the agent answers")
		s.mu.Lock()
		s.agents[newHost] = true
		s.mu.Unlock()
		_, err = p.Run(context.Background(), options(j))
		require.NoError(t, err)
		s.ended(t)
	})
}

func TestActionThatNeverEnds(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	s.Change(func() { s.SAMDown = true })
	p := procedure(t, s, unplanned(), resumed())
	_, err := p.Run(context.Background(), options(journal(t)))
	require.ErrorIs(t, err, failover.ErrPrecondition, "the check says that the engine does not run")
	require.ErrorContains(t, err, "SAM")

	// It dies between the check and the hold.
	s = newSite(t, opcontest.Config{}, withUser("failover_svc", secret("secret")),
		withTimeouts(5*time.Second, 100*time.Millisecond))
	s.Before("POST", "/api/scheduleactions", "hold", 0, func() { s.Change(func() { s.SAMDown = true }) })
	_, err = s.client.Quiesce(context.Background(), unplanned())
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "it may still be carried out when SAM comes back")
	require.Contains(t, err.Error(), "SAM")
	require.Zero(t, s.Count("down", ""))
}

func TestSubscheduleThatDoesNotFollow(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	s.Change(func() { s.Child.StaysOut = true })
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Child))
	_, err = s.client.Resume(context.Background(), rec, resumed())
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleInProcess, s.Status(s.Child))
	s.lawful(t)
}
