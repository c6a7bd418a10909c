package patroni_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/patroni"
	"github.com/01b61c5c/failover/examples/patroni/patronitest"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/internal/peers"
)

// site is a real cluster behind doors.
type site struct {
	*peers.Patroni

	cluster *patroni.Cluster
	doors   map[string]*patronitest.Door
	urls    map[string]string
	off     sync.Map // the addresses of machines without power
}

func open(t *testing.T, o peers.PatroniOptions) *site {
	t.Helper()
	s := &site{Patroni: peers.StartPatroni(t, o), doors: map[string]*patronitest.Door{},
		urls: map[string]string{}}
	config := patroni.Config{User: "admin", Password: password, InsecureClear: true, Move: time.Minute,
		Dial: unreachable(func(address string) bool { _, off := s.off.Load(address); return off })}
	for _, n := range s.Nodes {
		at, err := url.Parse(n.URL)
		require.NoError(t, err)
		proxy := httputil.NewSingleHostReverseProxy(at)
		proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
		var member patroni.Member
		member, s.doors[n.Name] = behindDoor(t, n.Name, proxy)
		config.Members, s.urls[n.Name] = append(config.Members, member), member.URL
	}
	var err error
	s.cluster, err = patroni.New(config)
	require.NoError(t, err)
	s.healthy(t)
	return s
}

func password(context.Context) (failover.Secret, error) {
	return failover.NewSecret(peers.PatroniPassword), nil
}

// until waits for what Patroni does by itself. Its time is long, since the machine may be busy.
func (s *site) until(t testing.TB, what string, ok func(patroni.View) bool) patroni.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		v, err := s.cluster.View(ctx)
		if err == nil && ok(v) {
			return v
		}
		select {
		case <-ctx.Done():
			for _, n := range s.Nodes {
				t.Logf("%s:\n%s", n.Name, tail(n.Log()))
			}
			t.Fatalf("waited in vain for %s: %+v %v", what, v, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

func (s *site) node(name string) *peers.PatroniNode {
	return s.Nodes[slices.IndexFunc(s.Nodes, func(n *peers.PatroniNode) bool { return n.Name == name })]
}

// healthy waits until all members but the leader stream from it, and returns the leader and one of them.
func (s *site) healthy(t testing.TB) (leader, other string) {
	t.Helper()
	s.until(t, "a leader with all its replicas", func(v patroni.View) bool {
		leads := slices.IndexFunc(v.Members, func(m patroni.MemberState) bool { return m.Name == v.Leader })
		if leads < 0 || v.Paused || len(v.Members[leads].Followers) < len(s.Nodes)-1 {
			return false
		}
		leader = v.Leader
		for _, m := range v.Members {
			if m.Role == patroni.RoleUnknown || m.Timeline != v.Members[leads].Timeline {
				return false
			}
			if m.Name != leader {
				other = m.Name
			}
		}
		return true
	})
	return leader, other
}

func (s *site) switchover(t testing.TB, from, to string) failover.Procedure {
	t.Helper()
	p, err := patroni.Switchover(patroni.SwitchoverOptions{Cluster: s.cluster, From: from, To: to})
	require.NoError(t, err)
	return p
}

// writer adds rows, one after the other, and remembers those that were acknowledged. A watcher asks every node in turn
// whether it takes writes: a node that does before and after another one did is a second leader.
type writer struct {
	mu     sync.Mutex
	acked  []int
	twice  []string
	cancel context.CancelFunc
	work   sync.WaitGroup
}

func (s *site) write(t *testing.T) *writer {
	t.Helper()
	_, err := s.Write(t.Context(),
		"create table if not exists rows (n int primary key, port int default inet_server_port(),"+
			" timeline text default substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{cancel: cancel}
	w.work.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			if _, err := s.Write(ctx, fmt.Sprintf("insert into rows values (%d)", n)); err == nil {
				w.mu.Lock()
				w.acked = append(w.acked, n)
				w.mu.Unlock()
			}
		}
	})
	w.work.Go(func() {
		for ctx.Err() == nil {
			for i, a := range s.Nodes {
				b := s.Nodes[(i+1)%len(s.Nodes)]
				if takesWrites(ctx, a) && takesWrites(ctx, b) && takesWrites(ctx, a) {
					w.mu.Lock()
					w.twice = append(w.twice, a.Name+" and "+b.Name)
					w.mu.Unlock()
				}
			}
		}
	})
	t.Cleanup(w.end)
	return w
}

// some waits until there are rows to lose.
func (w *writer) some(t *testing.T) {
	t.Helper()
	for {
		w.mu.Lock()
		n := len(w.acked)
		w.mu.Unlock()
		if n >= 10 {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *writer) end() {
	w.cancel()
	w.work.Wait()
}

func takesWrites(ctx context.Context, n *peers.PatroniNode) bool {
	out, err := n.SQL(ctx, "select pg_is_in_recovery()")
	return err == nil && out == "f"
}

// read asks until there is an answer: on a busy machine one takes longer than a single call waits.
func (s *site) read(t *testing.T, statement string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		out, err := s.Write(ctx, statement)
		if err == nil {
			return out
		}
		require.NoError(t, ctx.Err(), "no answer: %v", err)
	}
}

// verify ends the writer: every acknowledged row is there, and each timeline was written by one server.
func (w *writer) verify(t *testing.T, s *site) {
	t.Helper()
	w.end()
	require.Empty(t, w.twice, "two leaders at a time")
	require.NotEmpty(t, w.acked)
	out := s.read(t, "select n from rows")
	there := map[string]bool{}
	for _, n := range strings.Fields(out) {
		there[n] = true
	}
	for _, n := range w.acked {
		require.True(t, there[fmt.Sprint(n)], "row %d was acknowledged and is lost", n)
	}
	out = s.read(t, "select timeline, count(distinct port) from rows group by 1 having count(distinct port) > 1")
	require.Empty(t, out, "a timeline with two writers")
	t.Logf("%d rows acknowledged", len(w.acked))
}

// TestOnARealCluster shares one cluster: starting it takes longer than most of what is done to it.
func TestOnARealCluster(t *testing.T) {
	s := open(t, peers.PatroniOptions{Nodes: 2})
	t.Run("the lock keeps the rules of a lock", s.lockRules)
	t.Run("an order whose answer is lost is settled by looking", s.lostAnswers)
	t.Run("an undo hands the leadership back", s.undo)
	t.Run("a process that dies around the switchover goes on", s.killed)
}

func (s *site) lockRules(t *testing.T) {
	failovertest.TestLock(t, func(testing.TB) failover.Lock { return s.cluster.Lock() })
	for _, fault := range []string{"lost-reply", "lost-request", "unclear", "garbage", "conflict"} {
		require.NoError(t, s.doors["pg1"].Arm(http.MethodPatch, fault))
		failovertest.TestLock(t, func(testing.TB) failover.Lock { return s.cluster.Lock() })
	}
	for round := range 5 {
		s.contend(t, round)
	}
}

// contend lets several want the lock at the same time: at most one gets it, and it keeps it.
func (s *site) contend(t *testing.T, round int) {
	t.Helper()
	var work sync.WaitGroup
	got := make([]error, 4)
	claim := func(i int) failover.Claim {
		return failover.Claim{ID: fmt.Sprintf("C%d-%d", round, i), Owner: "tester"}
	}
	for i := range got {
		work.Go(func() { got[i] = s.cluster.Lock().Acquire(t.Context(), claim(i)) })
	}
	work.Wait()
	winners := 0
	for i, err := range got {
		if err == nil {
			winners++
			require.NoError(t, s.cluster.Lock().Check(t.Context(), claim(i)))
			require.NoError(t, s.cluster.Lock().Release(t.Context(), claim(i)))
			continue
		}
		require.ErrorIs(t, err, failover.ErrLocked)
	}
	require.LessOrEqual(t, winners, 1)
	_, held, err := s.cluster.Lock().Holder(t.Context())
	require.NoError(t, err)
	require.False(t, held, "nobody is left in the lock")
	t.Logf("round %d: %d of %d got it", round, winners, len(got))
}

func TestTenSwitchoversLoseNoRowAndNeverHaveTwoLeaders(t *testing.T) {
	s := open(t, peers.PatroniOptions{Nodes: 3})
	w := s.write(t)
	for range 10 {
		from, to := s.healthy(t)
		report, err := run(t, s.switchover(t, from, to))
		require.NoError(t, err)
		require.Equal(t, failover.ResultCompleted, report.Result)
	}
	w.verify(t, s)
}

// lostAnswers has the faults that only a real Patroni can answer for; the others meet the simulated cluster.
func (s *site) lostAnswers(t *testing.T) {
	for _, fault := range []string{"lost-reply", "lost-request"} {
		from, to := s.healthy(t)
		before := s.doors[to].Orders.Load()
		require.NoError(t, s.doors[to].Arm(http.MethodPost, fault))
		report, err := run(t, s.switchover(t, from, to))
		require.NoError(t, err, fault)
		require.Equal(t, failover.ResultCompleted, report.Result)
		require.EqualValues(t, 1, s.doors[to].Orders.Load()-before, "orders that reached Patroni")
	}
}

func (s *site) undo(t *testing.T) {
	from, to := s.healthy(t)
	p := s.switchover(t, from, to)
	o := failover.RunOptions{Journal: failovertest.Journal(t), Actor: "tester", Reason: "CHG-1"}
	_, err := p.Run(t.Context(), o)
	require.NoError(t, err)
	report, err := p.Undo(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, failover.ResultUndone, report.Result)
	leader, _ := s.healthy(t)
	require.Equal(t, from, leader)
}

// killed is killed at the records of the step that moves. TestAProcessThatDiesAtAnyRecordGoesOn has all records, in
// front of a simulated cluster.
func (s *site) killed(t *testing.T) {
	w := s.write(t)
	undisturbed := failovertest.NewStore("undisturbed")
	from, to := s.healthy(t)
	require.NoError(t, s.attempt(t, undisturbed, from, to))
	var around []int
	for n, line := range slices.Collect(bytes.Lines(undisturbed.Bytes())) {
		if bytes.Contains(line, []byte(`"step":"move/switchover"`)) {
			around = append(around, n)
		}
	}
	require.GreaterOrEqual(t, len(around), 2, "its intent and its outcome")
	for _, durable := range []failovertest.Durability{failovertest.DurabilityLost, failovertest.DurabilityKept} {
		for _, n := range around {
			from, to := s.healthy(t)
			store := failovertest.NewStore("killed")
			store.KillAt(n, durable)
			require.ErrorIs(t, s.attempt(t, store, from, to), failovertest.ErrKilled)
			require.True(t, store.Killed())
			require.NoError(t, s.attempt(t, store, from, to))
			leader, _ := s.healthy(t)
			require.Equal(t, to, leader)
			_, held, err := s.cluster.Lock().Holder(t.Context())
			require.NoError(t, err)
			require.False(t, held)
		}
	}
	w.verify(t, s)
}

// attempt runs a switchover as one process does, or goes on with it.
func (s *site) attempt(t *testing.T, store *failovertest.Store, from, to string) error {
	t.Helper()
	j, err := store.Journal()
	require.NoError(t, err)
	_, err = s.switchover(t, from, to).Run(t.Context(), failover.RunOptions{Journal: j, Actor: "tester", Reason: "CHG-1"})
	_ = j.Close()
	return err
}

// pause turns Patroni's own failover off.
func (s *site) pause(t *testing.T, by, on string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.node(by).URL+"/config",
		strings.NewReader(`{"pause":`+on+`}`))
	require.NoError(t, err)
	req.SetBasicAuth("admin", peers.PatroniPassword)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestAKilledLeaderIsFailedOver(t *testing.T) {
	s := open(t, peers.PatroniOptions{Nodes: 3, Synchronous: true})
	leader, other := s.healthy(t)
	w := s.write(t)
	w.some(t)
	s.pause(t, other, "true")
	s.until(t, "maintenance mode", func(v patroni.View) bool { return v.Paused })
	failoverTo := func(to string) failover.Procedure {
		p, err := patroni.Failover(patroni.FailoverOptions{Cluster: s.cluster, To: to, Dead: []string{leader},
			Gone: failover.Statement{By: "ann", Says: leader + " is switched off", Reason: "pulled the plug"}})
		require.NoError(t, err)
		return p
	}
	_, err := run(t, failoverTo(other))
	require.ErrorIs(t, err, failover.ErrPrecondition, "the leader still answers")
	require.ErrorContains(t, err, "not proven silent: "+leader)

	s.node(leader).Kill()
	_, err = run(t, failoverTo(other))
	require.ErrorContains(t, err, "not proven silent: "+leader, "the machine still takes connections")
	address := strings.TrimPrefix(s.urls[leader], "http://")
	s.off.Store(address, true)
	_, err = run(t, s.switchover(t, leader, other))
	require.ErrorIs(t, err, failover.ErrPrecondition, "a switchover needs the leader")
	// Of two replicas the one with more of the data is the right one; the other one is refused.
	v := s.until(t, "no leader", func(v patroni.View) bool { return v.Leader == "" })
	var best patroni.MemberState
	for _, m := range v.Members {
		if m.Role == patroni.RoleReplica && m.Position > best.Position {
			best = m
		}
	}
	require.NoError(t, s.doors[best.Name].Arm(http.MethodPost, "lost-reply"))
	report, err := run(t, failoverTo(best.Name))
	require.NoError(t, err)
	require.Equal(t, failover.ResultCompleted, report.Result)
	s.off.Delete(address)
	require.NoError(t, s.node(leader).Start())
	s.pause(t, best.Name, "false")
	now, _ := s.healthy(t)
	require.Equal(t, best.Name, now)
	w.verify(t, s)
}
