package patroni_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/patroni"
	"github.com/01b61c5c/failover/failovertest"
)

// standing is a cluster that never moves: pg1 leads, pg2 follows, and an order is answered by a fixed status.
func standing(t *testing.T, status int, roles ...string) (failover.Procedure, *atomic.Int32) {
	t.Helper()
	roles = append(roles, "master", "replica")
	var orders atomic.Int32
	member := func(name, role string) patroni.Member {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				orders.Add(1)
				w.WriteHeader(status)
			case r.URL.Path == "/cluster":
				_, _ = fmt.Fprint(w, `{"members":[{"name":"pg1","role":"leader"},{"name":"pg2","role":"replica"}]}`)
			case r.URL.Path == "/patroni":
				_, _ = fmt.Fprintf(w, `{"state":"running","role":%q,"timeline":3,"xlog":{"location":9,"received_location":9},
					"replication":[{"application_name":"pg2","state":"streaming"}]}`, role)
			default:
				http.NotFound(w, r)
			}
		}))
		t.Cleanup(server.Close)
		return patroni.Member{Name: name, URL: server.URL}
	}
	c, err := patroni.New(patroni.Config{InsecureClear: true, Move: 300 * time.Millisecond,
		Members: []patroni.Member{member("pg1", roles[0]), member("pg2", roles[1])}})
	require.NoError(t, err)
	p, err := patroni.Switchover(patroni.SwitchoverOptions{Cluster: c, From: "pg1", To: "pg2"})
	require.NoError(t, err)
	p.Lock = &failovertest.Lock{}
	return p, &orders
}

func TestOnlyADocumentedRefusalProvesThatNothingWasDone(t *testing.T) {
	for status, want := range map[int]failover.Outcome{
		400: failover.NotApplied, 401: failover.NotApplied, 412: failover.NotApplied, 501: failover.NotApplied,
		200: failover.InDoubt, 202: failover.InDoubt, 301: failover.InDoubt, 429: failover.InDoubt, 500: failover.InDoubt,
		502: failover.InDoubt,
		503: failover.InDoubt, 504: failover.InDoubt,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			p, orders := standing(t, status)
			report, err := run(t, p)
			require.Error(t, err)
			require.Equal(t, want, failover.OutcomeOf(err), "%v", err)
			require.Equal(t, want == failover.InDoubt, report.Result == failover.ResultInDoubt, "%s", report.Result)
			if want == failover.NotApplied {
				require.EqualValues(t, 1, orders.Load(), "a refusal is no reason to ask again")
			}
		})
	}
}

func TestTwoPrimariesAndUnknownRolesStopEverything(t *testing.T) {
	for _, roles := range [][]string{{"master", "primary"}, {"primary", "standby_leader"}, {"", "replica"},
		{"replica", "replica"}} {
		t.Run(strings.Join(roles, "-"), func(t *testing.T) {
			p, orders := standing(t, 200, roles...)
			report, err := run(t, p)
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.Equal(t, roles[0] == "master", errors.Is(err, patroni.ErrTwoLeaders), "%v", err)
			require.Equal(t, failover.ResultFailed, report.Result)
			require.Zero(t, orders.Load())
			waive := map[string]string{"check/members": "it is fine"}
			_, err = p.Run(t.Context(),
				failover.RunOptions{Journal: failovertest.Journal(t), Actor: "a", Reason: "b", Waive: waive})
			require.ErrorIs(t, err, failover.ErrInvalid, "nobody may waive it")
		})
	}
}

func TestAMemberThatRefusesTheConnectionHasDoneNothing(t *testing.T) {
	c, err := patroni.New(patroni.Config{InsecureClear: true,
		Members: []patroni.Member{{Name: "pg1", URL: "http://127.0.0.1:1"}, {Name: "pg2", URL: "http://127.0.0.1:1"}}})
	require.NoError(t, err)
	err = c.Lock().Acquire(t.Context(), failover.Claim{ID: "A"})
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), "%v", err)
	_, err = c.View(t.Context())
	require.ErrorContains(t, err, "2 of 2 targets")
}

// failoverTo is a failover to pg2 of three members without a leader: pg1 is said to be off, pg3 shows what it has.
func failoverTo(t *testing.T, pg1, pg3 string) failover.Procedure {
	t.Helper()
	member := func(name, xlog string) patroni.Member {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/cluster" {
				_, _ = fmt.Fprint(w, `{"members":[{"name":"pg2","role":"replica"},{"name":"pg3","role":"replica"}]}`)
				return
			}
			_, _ = fmt.Fprintf(w, `{"state":"running","role":"replica","timeline":3,"xlog":%s}`, xlog)
		}))
		t.Cleanup(server.Close)
		return patroni.Member{Name: name, URL: server.URL}
	}
	c, err := patroni.New(patroni.Config{InsecureClear: true, Move: 30 * time.Second, Timeout: 5 * time.Second,
		Members: []patroni.Member{{Name: "pg1", URL: pg1}, member("pg2", `{"received_location":7,"replayed_location":7}`),
			member("pg3", pg3)},
		Dial: unreachable(func(address string) bool { return address == "off.invalid:80" })})
	require.NoError(t, err)
	p, err := patroni.Failover(patroni.FailoverOptions{Cluster: c, To: "pg2", Dead: []string{"pg1"},
		Gone: failover.Statement{By: "ann", Says: "pg1 is off", Reason: "pulled the plug"}})
	require.NoError(t, err)
	p.Lock = &failovertest.Lock{}
	return p
}

// TestWhateverAnswersIsNotDead: only what a machine without power can do is silence. Patroni may be stopped, or refuse
// us, while PostgreSQL goes on as primary.
func TestWhateverAnswersIsNotDead(t *testing.T) {
	answer := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	tls := httptest.NewTLSServer(nil)
	t.Cleanup(tls.Close)
	for name, url := range map[string]string{"its port is closed": closed.URL, "it cuts the line": answer(0),
		"it refuses the login": answer(http.StatusUnauthorized), "it is at work": answer(http.StatusServiceUnavailable),
		"its certificate is unknown": tls.URL, "nobody knows its name": "http://pg1.invalid"} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, failoverTo(t, url, `{"received_location":7}`))
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.ErrorContains(t, err, "not proven silent: pg1")
		})
	}
	plan, err := failoverTo(t, "http://off.invalid:80", `{"received_location":7}`).Plan(t.Context(), nil)
	require.NoError(t, err)
	for _, s := range plan.Steps {
		if s.ID == "check/silent" {
			require.True(t, s.Observation.Done, s.Observation.Found)
		}
	}
}

// TestWhatCameFromTheArchiveCounts: a replica that lost its stream and replays the archive has more than it received
// (Patroni itself takes the larger of both, ha.py, wal_position).
func TestWhatCameFromTheArchiveCounts(t *testing.T) {
	_, err := run(t, failoverTo(t, "http://off.invalid:80", `{"received_location":5,"replayed_location":9}`))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "ahead: pg3")
}

func TestBadInputIsRefusedWithItsField(t *testing.T) {
	two := []patroni.Member{{Name: "pg1", URL: "https://pg1:8008"}, {Name: "pg2", URL: "https://pg2:8008"}}
	c, err := patroni.New(patroni.Config{Members: two})
	require.NoError(t, err)
	gone := failover.Statement{By: "ann", Says: "pg1 is off", Reason: "saw it"}
	secret := func(context.Context) (failover.Secret, error) { return failover.NewSecret("x"), nil }
	newWith := func(c patroni.Config) func() error { return func() error { _, err := patroni.New(c); return err } }
	over := func(o patroni.SwitchoverOptions) func() error {
		return func() error { _, err := patroni.Switchover(o); return err }
	}
	fail := func(o patroni.FailoverOptions) func() error {
		return func() error { _, err := patroni.Failover(o); return err }
	}
	for field, build := range map[string]func() error{
		"Config.Members:":     newWith(patroni.Config{}),
		"Config.Members pg1:": newWith(patroni.Config{Members: []patroni.Member{two[0], two[0]}}),
		"Config.Members pg1.URL": newWith(
			patroni.Config{Members: []patroni.Member{{Name: "pg1", URL: "http://pg1:8008"}, two[1]}}),
		"Config.Password":         newWith(patroni.Config{Members: two, Password: secret}),
		"Config.TLS.Fingerprints": newWith(patroni.Config{Members: two, TLS: failover.TLS{Fingerprints: []string{"x"}}}),
		"Options.Cluster":         over(patroni.SwitchoverOptions{From: "pg1", To: "pg2"}),
		"SwitchoverOptions.From":  over(patroni.SwitchoverOptions{Cluster: c, From: "pg9", To: "pg2"}),
		"SwitchoverOptions.To":    over(patroni.SwitchoverOptions{Cluster: c, From: "pg1", To: "pg1"}),
		"FailoverOptions.Dead":    fail(patroni.FailoverOptions{Cluster: c, To: "pg2", Gone: gone}),
		"FailoverOptions.To": fail(patroni.FailoverOptions{Cluster: c, To: "pg2", Dead: []string{"pg2"},
			Gone: gone}),
		"FailoverOptions.Gone.Reason": fail(patroni.FailoverOptions{Cluster: c, To: "pg2", Dead: []string{"pg1"},
			Gone: failover.Statement{By: "ann", Says: "x"}}),
	} {
		t.Run(field, func(t *testing.T) {
			err := build()
			require.ErrorIs(t, err, failover.ErrInvalid)
			require.ErrorContains(t, err, field)
		})
	}
}

func TestTheDocumentationListsTheSteps(t *testing.T) {
	c, err := patroni.New(patroni.Config{Members: []patroni.Member{{Name: "pg1", URL: "https://pg1:8008"},
		{Name: "pg2", URL: "https://pg2:8008"}}})
	require.NoError(t, err)
	over, err := patroni.Switchover(patroni.SwitchoverOptions{Cluster: c, From: "pg1", To: "pg2"})
	require.NoError(t, err)
	fail, err := patroni.Failover(patroni.FailoverOptions{Cluster: c, To: "pg2", Dead: []string{"pg1"},
		Gone: failover.Statement{By: "a", Says: "b", Reason: "c"}})
	require.NoError(t, err)
	failovertest.Documented(t, "doc.go", map[string]failover.Procedure{"Switchover": over, "Failover": fail})
	for _, s := range slices.Concat(over.AllSteps(), fail.AllSteps()) {
		require.NotEmpty(t, s.Source, s.ID)
	}
}

func run(t *testing.T, p failover.Procedure) (*failover.Report, error) {
	t.Helper()
	return p.Run(t.Context(), failover.RunOptions{Journal: failovertest.Journal(t), Actor: "tester", Reason: "CHG-1"})
}
