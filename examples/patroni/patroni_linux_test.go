package patroni_test

import (
	"context"
	"fmt"
	"net/http"
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
}

func open(t *testing.T, o peers.PatroniOptions) *site {
	t.Helper()
	s := &site{Patroni: peers.StartPatroni(t, o), doors: map[string]*patronitest.Door{}}
	config := patroni.Config{User: "admin", Password: password, InsecureClear: true}
	for _, n := range s.Nodes {
		s.doors[n.Name] = patronitest.Open(t, n.URL)
		config.Members = append(config.Members, patroni.Member{Name: n.Name, URL: s.doors[n.Name].URL})
	}
	var err error
	s.cluster, err = patroni.New(config)
	require.NoError(t, err)
	s.until(t, "a leader with all its replicas", func(v patroni.View) bool {
		unknown := slices.ContainsFunc(v.Members, func(m patroni.MemberState) bool { return m.Role == patroni.RoleUnknown })
		return !unknown && slices.ContainsFunc(v.Members, func(m patroni.MemberState) bool {
			return m.Name == v.Leader && m.Role == patroni.RolePrimary && len(m.Followers) == o.Nodes-1
		})
	})
	return s
}

func password(context.Context) (failover.Secret, error) { return failover.NewSecret(peers.PatroniPassword), nil }

// until waits for what Patroni does by itself. Its time is long, since the machine may be busy.
func (s *site) until(t *testing.T, what string, ok func(patroni.View) bool) patroni.View {
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

// roles returns the leader and another member.
func (s *site) roles(t *testing.T) (leader, other string) {
	t.Helper()
	v := s.until(t, "a leader", func(v patroni.View) bool { return v.Leader != "" })
	for _, m := range v.Members {
		if m.Name != v.Leader {
			return v.Leader, m.Name
		}
	}
	t.Fatal("there is one member only")
	return "", ""
}

func (s *site) node(name string) *peers.PatroniNode {
	return s.Nodes[slices.IndexFunc(s.Nodes, func(n *peers.PatroniNode) bool { return n.Name == name })]
}

func (s *site) switchover(t testing.TB, from, to string) failover.Procedure {
	t.Helper()
	p, err := patroni.Switchover(patroni.SwitchoverOptions{Cluster: s.cluster, From: from, To: to})
	require.NoError(t, err)
	return p
}

func run(t *testing.T, p failover.Procedure) (*failover.Report, error) {
	t.Helper()
	return p.Run(t.Context(), failover.RunOptions{Journal: failovertest.Journal(t), Actor: "tester", Reason: "CHG-1"})
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
	_, err := s.Write(t.Context(), "create table if not exists rows (n int primary key, port int default inet_server_port(),"+
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

func (w *writer) end() {
	w.cancel()
	w.work.Wait()
}

func takesWrites(ctx context.Context, n *peers.PatroniNode) bool {
	out, err := n.SQL(ctx, "select pg_is_in_recovery()")
	return err == nil && out == "f"
}

// verify ends the writer: every acknowledged row is there, and each timeline was written by one server.
func (w *writer) verify(t *testing.T, s *site) {
	t.Helper()
	w.end()
	require.Empty(t, w.twice, "two leaders at a time")
	require.NotEmpty(t, w.acked)
	out, err := s.Write(t.Context(), "select n from rows")
	require.NoError(t, err)
	there := map[string]bool{}
	for _, n := range strings.Fields(out) {
		there[n] = true
	}
	for _, n := range w.acked {
		require.True(t, there[fmt.Sprint(n)], "row %d was acknowledged and is lost", n)
	}
	out, err = s.Write(t.Context(), "select timeline, count(distinct port) from rows group by 1 having count(distinct port) > 1")
	require.NoError(t, err)
	require.Empty(t, out, "a timeline with two writers")
	t.Logf("%d rows acknowledged", len(w.acked))
}

func TestTheLockKeepsTheRulesOfALock(t *testing.T) {
	s := open(t, peers.PatroniOptions{Nodes: 2})
	failovertest.TestLock(t, func(testing.TB) failover.Lock { return s.cluster.Lock() })
	for _, fault := range []string{"lost-reply", "lost-request", "unclear", "garbage", "conflict"} {
		require.NoError(t, s.doors["pg1"].Arm(http.MethodPatch, fault))
		failovertest.TestLock(t, func(testing.TB) failover.Lock { return s.cluster.Lock() })
	}
}

func TestTenSwitchoversLoseNoRowAndNeverHaveTwoLeaders(t *testing.T) {
	s := open(t, peers.PatroniOptions{Nodes: 3})
	w := s.write(t)
	for range 10 {
		from, to := s.roles(t)
		report, err := run(t, s.switchover(t, from, to))
		require.NoError(t, err)
		require.Equal(t, failover.ResultCompleted, report.Result)
	}
	w.verify(t, s)
}
