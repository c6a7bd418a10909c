package patroni_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/patroni"
	"github.com/01b61c5c/failover/examples/patroni/patronitest"
	"github.com/01b61c5c/failover/failovertest"
)

// fake is a simulated cluster of pg1 and pg2. It moves at once, and merges its configuration as Patroni does.
type fake struct {
	cluster *patroni.Cluster
	doors   map[string]*patronitest.Door

	mu     sync.Mutex
	leader string // "" when nobody leads
	off    string // the member without power: there is no route to it
	config map[string]any
	moves  int
	closed int // how many changes of the configuration are let through before the door closes; 0: all
}

func newFake(tb testing.TB) *fake {
	tb.Helper()
	f := &fake{doors: map[string]*patronitest.Door{}, leader: "pg1", config: map[string]any{}}
	config := patroni.Config{InsecureClear: true, Move: 15 * time.Second}
	config.Dial = unreachable(func(address string) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.ContainsFunc(config.Members, func(m patroni.Member) bool {
			return m.Name == f.off && strings.HasSuffix(m.URL, address)
		})
	})
	for _, name := range []string{"pg1", "pg2"} {
		var member patroni.Member
		member, f.doors[name] = behindDoor(tb, name,
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, name) }))
		config.Members = append(config.Members, member)
	}
	var err error
	f.cluster, err = patroni.New(config)
	require.NoError(tb, err)
	return f
}

// unreachable dials, but has no route to the addresses that off names.
func unreachable(off func(string) bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if off(address) {
			return (&net.Dialer{Control: func(string, string, syscall.RawConn) error { return syscall.EHOSTUNREACH }}).
				DialContext(ctx, network, "127.0.0.1:80")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// behindDoor serves an API through a door of its own.
func behindDoor(tb testing.TB, name string, api http.Handler) (patroni.Member, *patronitest.Door) {
	tb.Helper()
	door := &patronitest.Door{API: api}
	server := httptest.NewServer(door)
	tb.Cleanup(server.Close)
	return patroni.Member{Name: name, URL: server.URL}, door
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch r.Method + " " + r.URL.Path {
	case "POST /switchover", "POST /failover":
		if was, named := body["leader"]; named && was != f.leader || !named && r.URL.Path == "/switchover" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		f.leader = fmt.Sprint(body["candidate"])
		f.moves++
	case "PATCH /config":
		if f.closed == 1 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		f.closed--
		merge(f.config, body)
		_ = json.NewEncoder(w).Encode(f.config)
	case "GET /cluster":
		role := map[bool]string{true: "leader", false: "replica"}
		_, _ = fmt.Fprintf(w, `{"members":[{"name":"pg1","role":%q},{"name":"pg2","role":%q}]}`, role[f.leader == "pg1"],
			role[f.leader == "pg2"])
	case "GET /patroni":
		role := map[bool]string{true: "primary", false: "replica"}
		_, _ = fmt.Fprintf(w, `{"state":"running","role":%q,"timeline":%d,"xlog":{"location":9},"patroni":{"name":%q},"replication":[
			{"application_name":"pg1","state":"streaming"},{"application_name":"pg2","state":"streaming"}]}`,
			role[f.leader == name], 1+f.moves, name)
	default:
		http.NotFound(w, r)
	}
}

// merge is a PATCH: a null removes what is there, and stays where nothing is.
func merge(into, change map[string]any) {
	for k, v := range change {
		old, both := into[k].(map[string]any)
		inner, nested := v.(map[string]any)
		_, there := into[k]
		switch {
		case v == nil && there:
			delete(into, k)
		case both && nested:
			merge(old, inner)
		default:
			into[k] = v
		}
	}
}

func (f *fake) switchover(tb testing.TB) failover.Procedure {
	tb.Helper()
	p, err := patroni.Switchover(patroni.SwitchoverOptions{Cluster: f.cluster, From: "pg1", To: "pg2"})
	require.NoError(tb, err)
	return p
}

// moved requires that pg2 leads, behind one move, and that nothing is left of the lock.
func (f *fake) moved(tb testing.TB) {
	tb.Helper()
	require.Equal(tb, "pg2", f.leader)
	require.Equal(tb, 1, f.moves)
	_, held, err := f.cluster.Lock().Holder(tb.Context())
	require.NoError(tb, err)
	require.False(tb, held)
}

func TestAProcessThatDiesAtAnyRecordGoesOn(t *testing.T) {
	crashes := failovertest.CrashEverywhere(t, func(tb testing.TB) failovertest.World {
		f := newFake(tb)
		return failovertest.World{Procedure: f.switchover, Verify: f.moved}
	})
	require.Greater(t, crashes, 20)
}

func TestAProcessThatDiesInAFailoverGoesOn(t *testing.T) {
	failovertest.CrashEverywhere(t, func(tb testing.TB) failovertest.World {
		f := newFake(tb)
		f.leader, f.off = "", "pg1"
		return failovertest.World{Verify: f.moved, Procedure: func(tb testing.TB) failover.Procedure {
			p, err := patroni.Failover(patroni.FailoverOptions{Cluster: f.cluster, To: "pg2", Dead: []string{"pg1"},
				Gone: failover.Statement{By: "ann", Says: "pg1 is off", Reason: "pulled the plug"}})
			require.NoError(tb, err)
			return p
		}}
	})
}

// TestEachFaultAtEachOrder has a fault at the claim of the lock, and at the order.
func TestEachFaultAtEachOrder(t *testing.T) {
	for _, method := range []string{http.MethodPatch, http.MethodPost} {
		for _, fault := range patronitest.Faults() {
			t.Run(method+" "+fault.Name, func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				require.NoError(t, f.doors["pg1"].Arm(method, fault.Name)) // the first to be asked for the lock
				if method == http.MethodPost {
					require.NoError(t, f.doors["pg2"].Arm(method, fault.Name))
				}
				report, err := run(t, f.switchover(t))
				if fault.Name == "refused" {
					require.ErrorIs(t, err, failover.ErrRejected)
					require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
					require.Equal(t, failover.ResultFailed, report.Result)
					require.Zero(t, f.moves)
					return
				}
				require.NoError(t, err)
				f.moved(t)
			})
		}
	}
}

func TestTheLockOfASimulatedCluster(t *testing.T) {
	f := newFake(t)
	lock := func(testing.TB) failover.Lock { return f.cluster.Lock() }
	failovertest.TestLock(t, lock)
	for _, fault := range patronitest.Faults() {
		if fault.Name != "refused" {
			require.NoError(t, f.doors["pg1"].Arm(http.MethodPatch, fault.Name))
			failovertest.TestLock(t, lock)
		}
	}
}

// TestAClaimThatStandsIsNotCalledRefused: whichever change is refused, a claim that was written and not taken back is
// not told as not written.
func TestAClaimThatStandsIsNotCalledRefused(t *testing.T) {
	mine, other := failover.Claim{ID: "mine", Owner: "ann"}, failover.Claim{ID: "other", Owner: "bob"}
	for _, held := range []bool{false, true} {
		for let := 1; ; let++ {
			f := newFake(t)
			if held {
				require.NoError(t, f.cluster.Lock().Acquire(t.Context(), other))
			}
			f.closed = let
			err := f.cluster.Lock().Acquire(t.Context(), mine)
			if f.closed > 1 {
				break
			}
			if failover.OutcomeOf(err) == failover.NotApplied {
				raw, _ := json.Marshal(f.config)
				require.NotContains(t, string(raw), `"ann"`, "%d were let through: %v", let-1, err)
			}
		}
	}
}

// TestALaterRefusalKeepsTheDoubt: one member may have written what the other one refuses.
func TestALaterRefusalKeepsTheDoubt(t *testing.T) {
	f := newFake(t)
	require.NoError(t, f.doors["pg1"].Arm(http.MethodPatch, "lost-reply"))
	f.closed = 2
	err := f.cluster.Lock().Acquire(t.Context(), failover.Claim{ID: "mine", Owner: "ann"})
	require.ErrorIs(t, err, failover.ErrRejected)
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
}

// TestASecondMoveIsRefused: whoever leads by now is not moved away from by an old plan.
func TestASecondMoveIsRefused(t *testing.T) {
	f := newFake(t)
	p := f.switchover(t)
	p.Stages[0].Steps = p.Stages[0].Steps[:1] // not even the check of the leader is there
	f.leader = ""
	report, err := run(t, p)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Equal(t, failover.ResultFailed, report.Result)
	require.Zero(t, f.moves)
}
