package opcon_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// edited is a transport that lets a test change what the server answers.
type edited struct {
	base http.RoundTripper

	mu   sync.Mutex
	edit func(r *http.Request, answer *http.Response, body string) string
}

func (e *edited) set(edit func(*http.Request, *http.Response, string) string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.edit = edit
}

func (e *edited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := e.base.RoundTrip(r)
	e.mu.Lock()
	edit := e.edit
	e.mu.Unlock()
	if err != nil || edit == nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader([]byte(edit(r, resp, string(body)))))
	resp.ContentLength = -1
	return resp, err
}

// editedSite is a site whose answers can be changed on the way.
func editedSite(t *testing.T, conf opcontest.Config) (*site, *edited) {
	t.Helper()
	s := newSite(t, conf)
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(base.CloseIdleConnections)
	e := &edited{base: base}
	c, err := connect(s.URL, withTransport(e), withUser(s.User, secret(s.Password)),
		withPolling(time.Millisecond, 5*time.Millisecond), withTimeouts(time.Second, 100*time.Millisecond))
	require.NoError(t, err)
	s.client = c
	return s, e
}

// without drops a schedule and its jobs from every list.
func without(id string) func(*http.Request, *http.Response, string) string {
	return func(r *http.Request, resp *http.Response, body string) string {
		var rows []json.RawMessage
		if r.Method != http.MethodGet || json.Unmarshal([]byte(body), &rows) != nil {
			return body
		}
		kept := []json.RawMessage{}
		for _, row := range rows {
			var o struct{ ID any }
			_ = json.Unmarshal(row, &o)
			if got := fmt.Sprint(o.ID); got != id && !strings.HasPrefix(got, id+"|") {
				kept = append(kept, row)
			}
		}
		resp.Header.Del("TotalResourceCount")
		raw, _ := json.Marshal(kept)
		return string(raw)
	}
}

// TestAnEmptyAnswerIsNoList: lists are arrays; no body and null are no empty list.
func TestAnEmptyAnswerIsNoList(t *testing.T) {
	ctx := context.Background()
	for _, body := range []string{"", "null", " ", "{}", "[{}", `""`} {
		for path, ask := range map[string]func(*opcon.Client) error{
			"/api/dailyschedules/dates": func(c *opcon.Client) error { _, err := c.BuiltDates(ctx); return err },
			"/api/dailyschedules": func(c *opcon.Client) error {
				_, err := c.Schedules(ctx, []opcon.Date{"2026-08-22"})
				return err
			},
			"/api/dailyjobs": func(c *opcon.Client) error { _, err := c.Jobs(ctx, "2026-08-22"); return err },
			"/api/machines":  func(c *opcon.Client) error { _, err := c.Machine(ctx, 12); return err },
		} {
			t.Run(fmt.Sprintf("%s/%q", path, body), func(t *testing.T) {
				s, e := editedSite(t, opcontest.Config{})
				e.set(func(r *http.Request, resp *http.Response, real string) string {
					if r.URL.Path == path {
						resp.Header.Del("TotalResourceCount")
						return body
					}
					return real
				})
				err := ask(s.client)
				require.ErrorContains(t, err, "not a list")
				require.NotErrorIs(t, err, opcon.ErrNotFound)
				require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			})
		}
	}
}

// TestAListOfDatesThatEndsEarly: it has no count, and holds the oldest dates only, or none. What runs today is held all
// the same.
func TestAListOfDatesThatEndsEarly(t *testing.T) {
	for _, listed := range []string{`["2026-07-01"]`, `[]`} {
		s, e := editedSite(t, opcontest.Config{})
		s.quiet()
		e.set(func(r *http.Request, _ *http.Response, body string) string {
			if r.URL.Path == "/api/dailyschedules/dates" {
				return listed
			}
			return body
		})
		_, err := s.client.Quiesce(context.Background(), unplanned())
		require.NoError(t, err)
		for _, x := range []*opcontest.Schedule{s.Nightly, s.Branch, s.Statements, s.Tomorrow} {
			require.Equal(t, opcontest.ScheduleOnHold, s.Status(x), "%s, with the dates %s", x.Name, listed)
		}
		s.lawful(t)
	}
}

// TestAListThatEndsEarly: the server names more rows than it gives, since it ignores the offset and has a limit of its
// own.
func TestAListThatEndsEarly(t *testing.T) {
	s, e := editedSite(t, opcontest.Config{IgnorePaging: true})
	for i := range 10 {
		s.AddSchedule(&opcontest.Schedule{Name: fmt.Sprintf("MORE %d", i)})
	}
	e.set(func(r *http.Request, resp *http.Response, body string) string {
		var rows []json.RawMessage
		if r.URL.Path != "/api/dailyschedules" || json.Unmarshal([]byte(body), &rows) != nil {
			return body
		}
		raw, _ := json.Marshal(rows[:5])
		return string(raw)
	})
	_, err := s.client.Schedules(context.Background(), []opcon.Date{"2026-08-22"})
	require.ErrorContains(t, err, "17 rows")
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.NotEmpty(t, failover.NextOf(err))
}

// TestHiddenIsNotGone: a schedule that another account does not see may still be held, whatever else it sees.
func TestHiddenIsNotGone(t *testing.T) {
	ctx := context.Background()
	s, e := editedSite(t, opcontest.Config{})
	s.quiet()
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	s.swap()
	rec, err = s.client.Reconnect(ctx, rec, resumed())
	require.NoError(t, err)
	s.FailItem("release", s.Statements.Name, "not allowed", -1)
	e.set(without(s.Statements.ID()))
	other, err := connect(s.URL, withTransport(e), withUser(s.User, secret(s.Password)),
		withPolling(time.Millisecond, 5*time.Millisecond), withTimeouts(time.Second, 100*time.Millisecond))
	require.NoError(t, err)
	rec, err = other.Release(ctx, rec, resumed())
	require.ErrorContains(t, err, "SYM STATEMENTS", "nothing shows that it is free")
	require.Contains(t, failover.NextOf(err), "KeepHeld")
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Statements))

	o := resumed() // a person found it deleted, or takes care of it
	o.KeepHeld = []string{string(rec.Held[0].Date) + " SYM STATEMENTS"}
	_, err = other.Release(ctx, rec, o)
	require.NoError(t, err)
}

// TestAReleaseInDoubtStaysOurs: a refusal of a second release does not say that the first one is not in effect, so an
// undo looks at it too.
func TestAReleaseInDoubtStaysOurs(t *testing.T) {
	s := newSite(t, opcontest.Config{}, withUser("failover_svc", secret("secret")),
		withTimeouts(time.Second, 60*time.Millisecond))
	s.quiet()
	held := &opcontest.Words{Category: "Held", Description: "On Hold"}
	s.Before("POST", "/api/scheduleactions", "release", 0, func() {
		s.Change(func() { s.Statements.Says = held }) // the effect does not show yet
	})
	s.Before("POST", "/api/scheduleactions", "release", 1, func() {
		s.FailItem("release", s.Statements.Name, "refused", 2)
	})
	p, j := procedure(t, s, unplanned(), resumed()), journal(t)
	_, err := p.Run(context.Background(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.Equal(t, opcontest.ScheduleWaitToStart, s.Status(s.Statements), "it is free")
	s.Change(func() { s.Statements.Says = nil })
	s.Before("POST", "/api/machineactions", "limited", 0, func() {
		require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Statements), "the undo has held it again")
	})
	s.goesBack()
	_, err = p.Undo(context.Background(), options(j))
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.NoError(t, j.Resolve("opcon-release/schedules", failover.Applied, "jdoe", "it is free"))
	_, err = p.Undo(context.Background(), options(j))
	require.NoError(t, err)
	s.asItWas(t)
}

// TestAnotherRunsEndProvesNothing: the run that was cut had another number.
func TestAnotherRunsEndProvesNothing(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	rec := s.moved(t)
	rec.Running[0].Number -= 100
	s.Change(func() { s.Running.Status, s.JustSent.Status = opcontest.JobFinishedOK, opcontest.JobFinishedOK })
	list, err := s.client.Interrupted(context.Background(), rec)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, rec.Running[0].ID, list[0].Job.ID)
	require.Equal(t, opcon.WhyEndNotProven, list[0].Why)
}

// TestARunNobodySawIsListed: a job that started after the last look at what runs was cut as well.
func TestARunNobodySawIsListed(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	rec := s.moved(t)
	for i := range rec.Running {
		if rec.Running[i].Name == "GOODNIGHT" {
			rec.Running = append(rec.Running[:i], rec.Running[i+1:]...)
			break
		}
	}
	list, err := s.client.Interrupted(context.Background(), rec)
	require.NoError(t, err)
	in, ok := find(list, "GOODNIGHT")
	require.True(t, ok)
	require.Equal(t, opcon.WhyStillRunning, in.Why)
}

// TestAJobThatStartsWhileTheMachineGoesDownIsListed: somebody starts it by hand between the order and its effect.
func TestAJobThatStartsWhileTheMachineGoesDownIsListed(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	s.quiet()
	s.Before("POST", "/api/machineactions", "down", 0, func() {
		s.AddJob(&opcontest.Job{Name: "BY HAND", Schedule: s.Nightly, Primary: "SYMAIX1", Status: opcontest.JobRunning,
			Due: s.Now.Add(5 * time.Second)})
		s.Midnight() // the order takes its time
	})
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	list, err := s.client.Interrupted(context.Background(), rec)
	require.NoError(t, err)
	in, ok := find(list, "BY HAND")
	require.True(t, ok)
	require.Equal(t, opcon.WhyStillRunning, in.Why)
}

// TestWhatStartsDuringTheLastHoldIsNoted: a schedule is built while the machine is about to go down, and its job has
// started when the hold takes effect.
func TestWhatStartsDuringTheLastHoldIsNoted(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	s.quiet()
	var late *opcontest.Job
	r := resumed()
	var list []opcon.Interrupted
	r.Decide = func(_ context.Context, l []opcon.Interrupted) ([]opcon.Decision, error) {
		list = l
		return nil, failover.ErrWaiting
	}
	p := procedure(t, s, unplanned(), r)
	o := options(journal(t))
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventStepEnded && e.Step.ID == "opcon-hold/schedules" {
			x := s.AddSchedule(&opcontest.Schedule{Name: "BUILT LATE", Status: opcontest.ScheduleInProcess})
			late = s.AddJob(&opcontest.Job{Name: "LATE", Schedule: x, Primary: "SYMAIX1"})
			s.Before("POST", "/api/scheduleactions", "hold", 0, func() { s.Change(func() { late.Ready = true }) })
		}
	}
	_, err := p.Run(context.Background(), o)
	require.ErrorIs(t, err, failover.ErrWaiting)
	in, ok := find(list, "LATE")
	require.True(t, ok)
	require.NotEmpty(t, in.Seen, "it was noted before the machine went down")
}

// TestAGoneJobWithACommaInItsName is listed like any other that is gone.
func TestAGoneJobWithACommaInItsName(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	rec := s.moved(t)
	ghost := rec.Running[0]
	ghost.ID, ghost.Name = "20260822|227|1|POST, THEN PRINT", "POST, THEN PRINT"
	rec.Running = append(rec.Running, ghost)
	list, err := s.client.Interrupted(context.Background(), rec)
	require.NoError(t, err)
	in, ok := find(list, "POST, THEN PRINT")
	require.True(t, ok)
	require.Contains(t, in.Hint, "does not show it any more")
	require.Contains(t, in.String(), "OpCon does not show it any more")
	require.NotContains(t, in.String()+in.Hint, "shows it", "it does not")
}

// TestGroupsThatOnlyTheMachineShows: the account has the right to the group and not to see its members. The group's
// jobs count also with a record that was read back.
func TestGroupsThatOnlyTheMachineShows(t *testing.T) {
	ctx := context.Background()
	s, e := editedSite(t, opcontest.Config{ReportAfter: 1_000_000})
	e.set(func(r *http.Request, _ *http.Response, body string) string {
		if r.URL.Path == "/api/machinegroups" {
			return `[{"id":15,"name":"SYM_PRIMARY","type":{"id":6}}]`
		}
		return body
	})
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	var back opcon.Record
	require.NoError(t, json.Unmarshal([]byte(jsonOf(t, rec)), &back))
	s.swap()
	s.Change(func() { s.Waiting.Status = opcontest.JobMissedStart })
	other, err := connect(s.URL, withTransport(e), withUser(s.User, secret(s.Password))) // another process
	require.NoError(t, err)
	list, err := other.Interrupted(ctx, back)
	require.NoError(t, err)
	_, ok := find(list, s.Waiting.Name)
	require.True(t, ok, "its job is tied to the machine by its group only")
}

// TestHostStayedKnowsWhoIsExpected also where nothing was reported before.
func TestHostStayedKnowsWhoIsExpected(t *testing.T) {
	s := newSite(t, opcontest.Config{NoHostname: true})
	s.quiet()
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	s.NoHostname = false
	s.Hooks.Host = func(string) string { return newHost }
	o := resumed()
	o.Repoint, o.Address, o.Host = opcon.RepointHostStayed, opcon.Address{}, oldHost
	_, err = s.client.Resume(context.Background(), rec, o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, newHost)
	require.Zero(t, s.Count("release", ""))
}

// TestAScopeThatVanishesIsNotHeld: schedules that were seen and are not shown any more are no proof that nothing can
// start.
func TestAScopeThatVanishesIsNotHeld(t *testing.T) {
	s, e := editedSite(t, opcontest.Config{})
	s.quiet()
	p, j := procedure(t, s, unplanned(), resumed()), journal(t)
	o := options(j)
	o.Observer = func(ev failover.Event) {
		if ev.Kind == failover.EventStepEnded && ev.Step.ID == "opcon-hold/schedules" {
			e.set(func(r *http.Request, resp *http.Response, body string) string {
				if strings.HasPrefix(r.URL.Path, "/api/daily") {
					resp.Header.Del("TotalResourceCount")
					return "[]"
				}
				return body
			})
		}
	}
	_, err := p.Run(context.Background(), o)
	require.ErrorContains(t, err, "shows none")
	require.NotEmpty(t, failover.NextOf(err))
	require.Zero(t, s.Count("down", ""))
}

// TestADateThatCannotBeRead: a schedule whose date is not known belongs to no date that is looked at.
func TestADateThatCannotBeRead(t *testing.T) {
	s, e := editedSite(t, opcontest.Config{})
	e.set(func(r *http.Request, _ *http.Response, body string) string {
		if r.URL.Path == "/api/dailyschedules" || r.URL.Path == "/api/dailyjobs" {
			return strings.ReplaceAll(strings.ReplaceAll(body, "2026-08-22T00:00:00", "08/22/2026"),
				`"date":"2026-08-22`, `"date":"08/22/2026`)
		}
		return body
	})
	_, err := s.client.Schedules(context.Background(), []opcon.Date{"2026-08-22"})
	require.ErrorContains(t, err, "08/22/2026")
	_, err = s.client.Jobs(context.Background(), "2026-08-22")
	require.ErrorContains(t, err, "08/22/2026")
}

// TestAServiceThatDoesNotTell: an answer without the engine's state does not say that it stands still.
func TestAServiceThatDoesNotTell(t *testing.T) {
	for _, body := range []string{`{"timeStamp":"x"}`, `{"running":"perhaps"}`, ``, `[]`, `<html>`} {
		s, e := editedSite(t, opcontest.Config{})
		e.set(func(r *http.Request, _ *http.Response, real string) string {
			if r.URL.Path == "/api/servicestatus" {
				return body
			}
			return real
		})
		_, err := s.client.Service(context.Background())
		require.ErrorContains(t, err, "does not tell", body)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	}
}

// TestAProxys401 says nothing about the token.
func TestAProxys401(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "<html>Proxy login</html>")
	}))
	defer server.Close()
	c, err := connect(server.URL, withInsecureClearText(), withToken(secret("abc")))
	require.NoError(t, err)
	_, err = c.BuiltDates(context.Background())
	require.NotErrorIs(t, err, opcon.ErrAuth)
	require.Contains(t, failover.NextOf(err), "address")
	require.NoError(t, c.Close(context.Background()))
}

// TestALoginThatHangsHoldsNobodyUp: a second call ends with its own context.
func TestALoginThatHangsHoldsNobodyUp(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	c, err := connect(s.URL, withRootCAs(s.CertPool()), withUser(s.User,
		func(context.Context) (failover.Secret, error) {
			close(asked)
			<-answer // a person who is asked for it
			return failover.NewSecret(s.Password), nil
		}))
	require.NoError(t, err)
	first := make(chan error, 1)
	go func() { _, err := c.BuiltDates(context.Background()); first <- err }()
	<-asked
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	second := make(chan error, 1)
	go func() { _, err := c.BuiltDates(ctx); second <- err }()
	select {
	case err := <-second:
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	case <-time.After(5 * time.Second):
		t.Error("the second call does not end")
	}
	close(answer)
	require.NoError(t, <-first)
	require.NoError(t, c.Close(context.Background()))
}

// TestANameThatLooksLikeASubschedule: an outermost schedule may have brackets and an underscore in its name; what its
// name seems to say keeps it from being held no more than its real place does.
func TestANameThatLooksLikeASubschedule(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	s.AddSchedule(&opcontest.Schedule{Name: "SYM", Status: opcontest.ScheduleCompleted})
	odd := s.AddSchedule(&opcontest.Schedule{Name: "SYM_CARDS [WEST]", Status: opcontest.ScheduleInProcess})
	s.AddJob(&opcontest.Job{Name: "POST", Schedule: odd, Primary: "SYMAIX1"})
	_, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(odd))
}

// TestDatesThatOnlyTheCallerKnows: the list of interrupted jobs covers every date that the quiesce covered.
func TestDatesThatOnlyTheCallerKnows(t *testing.T) {
	ctx := context.Background()
	s, e := editedSite(t, opcontest.Config{ReportAfter: 1_000_000})
	s.quiet()
	e.set(func(r *http.Request, _ *http.Response, body string) string {
		if r.URL.Path == "/api/dailyschedules/dates" {
			return `["2026-08-22"]`
		}
		return body
	})
	q := unplanned()
	q.Dates = []opcon.Date{"2026-08-23"}
	job := s.AddJob(&opcontest.Job{Name: "EARLY", Schedule: s.Tomorrow, Primary: "SYMAIX1"})
	rec, err := s.client.Quiesce(ctx, q)
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Tomorrow))
	s.swap()
	s.Change(func() { job.Status = opcontest.JobMissedStart })
	list, err := s.client.Interrupted(ctx, rec)
	require.NoError(t, err)
	_, ok := find(list, "EARLY")
	require.True(t, ok)
}

// replace counts the answers, and puts rubbish in the place of one of them.
func (e *edited) replace(requests *int, at int, rubbish string) {
	e.set(func(_ *http.Request, resp *http.Response, body string) string {
		if *requests++; *requests == at {
			resp.Header.Del("TotalResourceCount")
			return rubbish
		}
		return body
	})
}

// everyAnswer plays a site with each of its answers replaced by each kind of rubbish; in short tests, every ninth. play
// returns how many answers there were.
func everyAnswer(t *testing.T, play func(t *testing.T, at int, rubbish string) (requests int)) {
	t.Helper()
	n, each := play(t, 0, ""), 1
	if testing.Short() {
		each = 9
	}
	for _, rubbish := range []string{"", "null", "[]", "{}", `{"id":1}`, "<html>", `[{"id":1}`} {
		for at := 1; at <= n; at += each {
			t.Run(fmt.Sprintf("%q/%d", rubbish, at), func(t *testing.T) { t.Parallel(); play(t, at, rubbish) })
		}
	}
}

// TestAnyAnswerMayBeRubbish: whichever answer of a planned switchover is not what it should be, no job starts on the
// wrong host, nothing is said to be done that is not, and the next run completes it.
func TestAnyAnswerMayBeRubbish(t *testing.T) {
	play := func(t *testing.T, at int, rubbish string) (requests int) {
		t.Helper()
		s, e := editedSite(t, opcontest.Config{})
		s.quiet()
		e.replace(&requests, at, rubbish)
		p, j := procedure(t, s, planned(), resumed()), journal(t)
		var err error
		for range 3 {
			if _, err = p.Run(context.Background(), options(j)); err == nil {
				break
			}
			s.lawful(t)
			require.NotEmpty(t, failover.NextOf(err), err)
		}
		require.NoError(t, err)
		s.ended(t)
		return requests
	}
	everyAnswer(t, play)
}

// TestRubbishLosesNoInterruptedJob: whichever answer of an unplanned move is not what it should be, a person decides on
// both jobs that were cut, and each is marked and restarted once.
func TestRubbishLosesNoInterruptedJob(t *testing.T) {
	play := func(t *testing.T, at int, rubbish string) (requests int) {
		t.Helper()
		s, e := editedSite(t, opcontest.Config{ReportAfter: 1_000_000})
		e.replace(&requests, at, rubbish)
		decided := map[string]bool{}
		r := resumed()
		r.Decide = func(_ context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
			var all []opcon.Decision
			for _, in := range list {
				d := in.Proposal
				d.By, decided[in.Job.Name] = "jdoe", true
				all = append(all, d)
			}
			return all, nil
		}
		p, j := procedure(t, s, unplanned(), r), journal(t)
		var err error
		for range 3 {
			if _, err = p.Run(context.Background(), options(j)); err == nil {
				break
			}
			require.NotEmpty(t, failover.NextOf(err), err)
		}
		require.NoError(t, err)
		s.lawful(t)
		require.Equal(t, map[string]bool{"GOODNIGHT": true, "CLOSEDAY": true}, decided)
		for _, job := range []*opcontest.Job{s.Running, s.JustSent} {
			status, _ := s.JobState(job)
			require.Equal(t, opcontest.JobOnHold, status, job.Name)
		}
		require.Equal(t, 2, s.Count("markFailed", ""))
		require.Equal(t, 2, s.Count("restartOnHold", ""))
		return requests
	}
	everyAnswer(t, play)
}

// TestUndoWithRubbish: whichever answer to an undo is not what it should be, the undo that says it has ended has taken
// everything back.
func TestUndoWithRubbish(t *testing.T) {
	play := func(t *testing.T, at int, rubbish string) (requests int) {
		t.Helper()
		s, e := editedSite(t, opcontest.Config{})
		s.quiet()
		p, j := procedure(t, s, planned(), resumed()), journal(t)
		_, err := p.Run(context.Background(), options(j))
		require.NoError(t, err)
		e.replace(&requests, at, rubbish)
		s.goesBack()
		for range 3 {
			if _, err = p.Undo(context.Background(), options(j)); err == nil {
				break
			}
			require.NotEmpty(t, failover.NextOf(err), err)
		}
		require.NoError(t, err)
		s.asItWas(t)
		return requests
	}
	everyAnswer(t, play)
}
