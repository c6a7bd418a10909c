package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/internal/peers"
)

// The test binary is also the clustered service, and the driver that is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("CLUSTER_TEST_ROLE") {
	case "store":
		store(os.Args[1], os.Args[2])
	case "drive":
		os.Exit(drive())
	}
	goleak.VerifyTestMain(m)
}

const storePort = "7000"

// store is a service that may run on one node at a time: it appends each line it gets to a file on the shared disk
// and answers with its node's name once the line is there. It stops slowly, as services do.
func store(node, file string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	disk, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	fail(err)
	l, err := net.Listen("tcp", ":"+storePort)
	fail(err)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		_ = l.Close()
		time.Sleep(100 * time.Millisecond)
		os.Exit(0)
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			select {}
		}
		go func() {
			in := bufio.NewScanner(conn)
			for in.Scan() {
				if _, err := fmt.Fprintf(disk, "%s %s\n", in.Text(), node); err != nil {
					os.Exit(1)
				}
				_, _ = fmt.Fprintf(conn, "%s\n", node)
			}
			_ = conn.Close()
		}()
	}
}

// storeAgent is the resource agent for store.
const storeAgent = `#!/bin/sh
pidfile=/run/store.pid
alive() { [ -s "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }
case $1 in
start)
	alive && exit 0
	CLUSTER_TEST_ROLE=store setsid %[1]s "$(hostname)" %[2]s </dev/null >/run/store.log 2>&1 &
	echo $! >"$pidfile"
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		alive || exit 1
		grep -q ':1B58 ' /proc/net/tcp /proc/net/tcp6 && exit 0
		sleep 0.1
	done
	exit 1 ;;
stop)
	alive || exit 0
	kill "$(cat "$pidfile")"
	while alive; do sleep 0.05; done
	rm -f "$pidfile"
	exit 0 ;;
monitor)
	alive && exit 0
	exit 7 ;;
meta-data)
	cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="store" version="1"><version>1</version><longdesc lang="en">store</longdesc><shortdesc lang="en">store</shortdesc>
<parameters/><actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/>
<action name="meta-data" timeout="5s"/></actions></resource-agent>
XML
	exit 0 ;;
esac
exit 3
`

const storeGroup = `<group id="eft"><primitive id="eft-disk" class="ocf" provider="pacemaker" type="Dummy"/>` +
	`<primitive id="eft-svc" class="ocf" provider="failover" type="store"><operations><op id="eft-svc-mon" name="monitor" interval="5s"/>` +
	`<op id="eft-svc-stop" name="stop" interval="0" timeout="30s"/></operations></primitive></group>`

// client writes numbered lines to whichever node takes them, from the first moment to the last, and keeps its log.
type client struct {
	name  string // begins each of its lines: the disk also holds what the parts before this one wrote
	nodes []string
	stop  chan struct{}
	done  sync.WaitGroup

	mu     sync.Mutex
	acked  []string // "name#number node"
	owners []string // the owner each time it changed
}

func startClient(t *testing.T, nodes []*peers.PacemakerNode) *client {
	c := &client{name: t.Name(), stop: make(chan struct{})}
	for _, n := range nodes {
		c.nodes = append(c.nodes, net.JoinHostPort(n.Address, storePort))
	}
	c.done.Go(c.run)
	t.Cleanup(c.close)
	return c
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.mu.Unlock()
	c.done.Wait()
	c.mu.Lock()
}

func (c *client) run() {
	for number := 0; ; number++ {
		select {
		case <-c.stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		answers := []string{}
		line := fmt.Sprintf("%s#%d", c.name, number)
		for _, address := range c.nodes {
			if node := write(address, line); node != "" {
				answers = append(answers, node)
			}
		}
		c.mu.Lock()
		for _, node := range answers {
			c.acked = append(c.acked, line+" "+node)
			if len(c.owners) == 0 || c.owners[len(c.owners)-1] != node {
				c.owners = append(c.owners, node)
			}
		}
		c.mu.Unlock()
	}
}

// write sends one line and returns the node that has it on disk, or "".
func write(address, line string) string {
	conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "%s\n", line); err != nil {
		return ""
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(answer)
}

// check proves by the client's own log and the shared disk that nothing acknowledged is lost and that ownership went
// from one node to the other without ever being shared.
func (c *client) check(t *testing.T, disk string) {
	t.Helper()
	c.close()
	raw, err := os.ReadFile(disk)
	require.NoError(t, err)
	var lines []string
	stored := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, c.name+"#") {
			lines = append(lines, line)
			stored[line] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	require.NotEmpty(t, c.acked)
	for _, line := range c.acked {
		require.True(t, stored[line], "acknowledged and lost: %s", line)
	}
	// The disk has the order in which the nodes wrote: a node that has given the group up never writes again
	// until it has it back, so the changes of owner are the same as the client saw, and no number is there twice.
	var owners []string
	numbers := map[string]bool{}
	for _, line := range lines {
		number, node, _ := strings.Cut(line, " ")
		require.False(t, numbers[number], "number %s was taken by two nodes", number)
		numbers[number] = true
		if len(owners) == 0 || owners[len(owners)-1] != node {
			owners = append(owners, node)
		}
	}
	require.Equal(t, owners, c.owners)
}

// real is a real cluster with the store on it.
type real struct {
	*peers.Pacemaker
	disk string
}

func startReal(t *testing.T) *real {
	t.Helper()
	peers.NeedPacemaker(t)
	shared, err := os.MkdirTemp("", "store")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(shared) })
	program, err := os.Executable()
	require.NoError(t, err)
	r := &real{disk: filepath.Join(shared, "disk")}
	r.Pacemaker = peers.StartPacemaker(t,
		peers.PacemakerOptions{Agents: map[string]string{"store": fmt.Sprintf(storeAgent, program, r.disk)},
			Resources: storeGroup})
	return r
}

func (r *real) addresses() []cluster.Address {
	var list []cluster.Address
	for _, n := range r.Nodes {
		list = append(list, cluster.Address{Node: n.Name, SSH: n.SSHD.SSH()})
	}
	return list
}

func (r *real) open(t *testing.T, nodes []cluster.Address) cluster.Cluster {
	t.Helper()
	c, err := cluster.NewPacemaker(cluster.PacemakerConfig{Nodes: nodes, Services: map[string]string{"eft-svc": "store"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

var realTimes = cluster.MoveOptions{Timeout: 40 * time.Second, Poll: 200 * time.Millisecond, Grace: 3 * time.Second,
	Settle: 4 * time.Second}

func runTransfer(t *testing.T, c cluster.Cluster, journal string, o cluster.TransferOptions) (*failover.Report, error) {
	t.Helper()
	if o.Hold == 0 {
		o.Hold = 200 * time.Millisecond
	}
	if o.Move == (cluster.MoveOptions{}) {
		o.Move = realTimes
	}
	p, err := cluster.Transfer(c, o)
	require.NoError(t, err)
	j, err := failovertest.JournalAt(journal)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	return p.Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test"})
}

func TestRealPacemaker(t *testing.T) {
	if testing.Short() {
		t.Skip("a real cluster takes minutes")
	}
	r := startReal(t)
	c := r.open(t, r.addresses())
	for _, part := range []struct {
		name string
		run  func(*testing.T, cluster.Cluster)
	}{
		{"reads", r.reads}, {"there and back under load", r.thereAndBack}, {"the driver is killed", r.driverKilled},
		{"the line is cut", r.lineCut}, {"other groups", r.others},
		// last: it takes a node away
		{"an administrator's constraint", r.foreign}, {"states", r.states}, {"lock", r.lock},
		{"a node is killed", r.nodeKilled},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, c) }) {
			return // the rest would only show in what state the failure left the cluster
		}
	}
}

func (r *real) reads(t *testing.T, c cluster.Cluster) {
	s, err := c.Snapshot(t.Context())
	require.NoError(t, err)
	require.Equal(t, "failover", s.Cluster)
	require.Equal(t, cluster.QuorumPresent, s.Quorum)
	require.Len(t, s.Nodes, 2)
	g, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	require.Equal(t, cluster.StateOnline, g.State, g.Raw)
	require.Contains(t, []string{"n1", "n2"}, g.Owner)
	require.Equal(t, 30*time.Second, g.Members[1].PendingTimeout)
	require.Equal(t, []string{"n1", "n2"}, g.Members[1].Possible)
	list, err := c.ServiceResources(t.Context(), "store")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "eft", list[0].Group)
	for _, n := range r.Nodes {
		in, err := c.Inspect(t.Context(), n.Name)
		require.NoError(t, err)
		require.Equal(t, n.Name, in.Node)
		require.True(t, in.RebootKnown, "%q", in.Reasons)
	}
	_, err = c.Group(t.Context(), "nothing")
	require.ErrorIs(t, err, cluster.ErrNotFound)
	_, err = c.Move(t.Context(), "eft", "n3", realTimes)
	require.ErrorIs(t, err, cluster.ErrNotFound)

	// Addresses given the wrong way round are noticed before anything is asked for.
	swapped := r.addresses()
	swapped[0].Node, swapped[1].Node = swapped[1].Node, swapped[0].Node
	_, err = r.open(t, swapped).Group(t.Context(), "eft")
	require.ErrorIs(t, err, cluster.ErrWrongNode)
}

func (r *real) states(t *testing.T, c cluster.Cluster) {
	o := cluster.StateOptions{Timeout: 30 * time.Second, Poll: 100 * time.Millisecond, Settle: 10 * time.Second}
	ctx := t.Context()
	require.NoError(t, c.Offline(ctx, "eft", o))
	require.NoError(t, c.Offline(ctx, "eft", o))
	require.NoError(t, c.Online(ctx, "eft", o))
	require.NoError(t, c.OfflineResource(ctx, "eft-svc", o))
	require.NoError(t, c.Online(ctx, "eft", o), "the whole group, with the member that was taken down alone")
	g, err := c.Group(ctx, "eft")
	require.NoError(t, err)
	require.NoError(t, c.Pause(ctx, g.Owner, o))
	after, err := c.Group(ctx, "eft")
	require.NoError(t, err)
	require.NotEqual(t, g.Owner, after.Owner)
	_, err = c.Move(ctx, "eft", g.Owner, realTimes)
	require.ErrorIs(t, err, cluster.ErrNodePaused)
	_, err = runTransfer(t, c, filepath.Join(t.TempDir(), "j"), cluster.TransferOptions{Group: "eft", Target: g.Owner})
	require.ErrorIs(t, err, cluster.ErrNodePaused)
	require.NoError(t, c.Resume(ctx, g.Owner, o))
	require.NoError(t, c.SetFailback(ctx, "eft", cluster.NoFailback))
	require.NoError(t, c.SetFailback(ctx, "eft", g.Failback))
	back, err := c.Group(ctx, "eft")
	require.NoError(t, err)
	require.Equal(t, g.Failback, back.Failback)
	require.ErrorIs(t, c.SetService(ctx, "eft-svc", "other"), cluster.ErrNotSupported)
}

// lock has many takers ask both nodes at once: exactly one gets it, every time.
func (r *real) lock(t *testing.T, c cluster.Cluster) {
	reversed := r.addresses()
	slices.Reverse(reversed)
	other := r.open(t, reversed)
	opened := 0
	failovertest.TestLock(t, func(testing.TB) failover.Lock {
		opened++
		return []cluster.Cluster{c, other}[opened%2].Lock()
	})
	for round := range 2 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []failover.Claim
		for i := range 4 {
			l := []cluster.Cluster{c, other}[i%2].Lock()
			claim := failover.Claim{ID: fmt.Sprintf("%d-%d", round, i), Owner: "anna's \"run\" <&>", Purpose: "test",
				Since: time.Now()}
			wg.Go(func() {
				err := l.Acquire(t.Context(), claim)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, claim)
				} else if failover.OutcomeOf(err) != failover.NotApplied {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Len(t, won, 1)
		require.NoError(t, c.Lock().Check(t.Context(), won[0]))
		next := failover.Claim{ID: "next", Owner: "ben", Purpose: "test", Since: time.Now()}
		require.NoError(t, other.Lock().TakeOver(t.Context(), won[0], next))
		require.ErrorIs(t, c.Lock().Check(t.Context(), won[0]), failover.ErrLockLost)
		require.NoError(t, c.Lock().Release(t.Context(), next))
	}
}

func (r *real) thereAndBack(t *testing.T, c cluster.Cluster) {
	cl := startClient(t, r.Nodes)
	g, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	target := map[string]string{"n1": "n2", "n2": "n1"}[g.Owner]
	times := 20
	begun := time.Now()
	for i := range times {
		if i%5 == 0 {
			_, err := runTransfer(t, c, filepath.Join(t.TempDir(), fmt.Sprint("j", i)),
				cluster.TransferOptions{Group: "eft", Target: target, From: g.Owner, Then: cluster.AfterMoveBack,
					StopTime: 10 * time.Second})
			require.NoError(t, err, "time %d", i)
			continue
		}
		// The same move without the procedure around it, which takes most of the time.
		for _, to := range []string{target, g.Owner} {
			res, err := c.Move(t.Context(), "eft", to, realTimes)
			require.NoError(t, err, "time %d", i)
			require.True(t, res.Moved)
		}
	}
	t.Logf("%d moves there and back in %s", times, time.Since(begun).Round(time.Second))
	cl.check(t, r.disk)
	require.Len(t, cl.owners, 2*times+1, "the client saw every move")
	r.clean(t, c)
}

// clean proves that nothing of ours is left in the cluster's configuration.
func (r *real) clean(t *testing.T, c cluster.Cluster) {
	t.Helper()
	g, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	require.Equal(t, cluster.StateOnline, g.State)
	require.Empty(t, g.Standing)
	require.Equal(t, cluster.Failback{Policy: cluster.FailbackAllowed}, g.Failback)
	out, err := r.live().Run("cibadmin", "-Q")
	require.NoError(t, err)
	require.NotContains(t, out, "cli-")
	require.NotContains(t, out, "failover-lock")
	require.NotContains(t, out, "failover-move")
}

func (r *real) live() *peers.PacemakerNode {
	for _, n := range r.Nodes {
		if _, err := n.Run("true"); err == nil {
			return n
		}
	}
	return r.Nodes[0]
}

// spy runs a command line as sshd was asked to and, where a flag file says so, cuts the line instead of answering a
// request to move: before the request is carried out or after it.
const spy = `#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
*"Asks the cluster to move a group, by"*)
	if [ -e %[1]s/before ]; then
		printf '%%s' "$SSH_ORIGINAL_COMMAND" >%[1]s/late
		rm %[1]s/before
		kill -9 $PPID
		exit 1
	fi
	if [ -e %[1]s/after ]; then
		/bin/sh -c "$SSH_ORIGINAL_COMMAND"
		rm %[1]s/after
		kill -9 $PPID
		exit 1
	fi ;;
esac
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
`

func (r *real) lineCut(t *testing.T, _ cluster.Cluster) {
	dir := t.TempDir()
	program := filepath.Join(dir, "spy")
	require.NoError(t, os.WriteFile(program, fmt.Appendf(nil, spy, dir), 0o755))
	var nodes []cluster.Address
	for _, n := range r.Nodes {
		nodes = append(nodes, cluster.Address{Node: n.Name,
			SSH: n.StartSSHD(t, peers.SSHDOptions{Lines: []string{"ForceCommand " + program}}).SSH()})
	}
	c := r.open(t, nodes)
	cl := startClient(t, r.Nodes)
	move := func(flag string) (string, *failover.Report, error) {
		g, err := c.Group(t.Context(), "eft")
		require.NoError(t, err)
		target := map[string]string{"n1": "n2", "n2": "n1"}[g.Owner]
		require.NoError(t, os.WriteFile(filepath.Join(dir, flag), nil, 0o600))
		report, err := runTransfer(t, c, filepath.Join(t.TempDir(), "j"),
			cluster.TransferOptions{Group: "eft", Target: target})
		require.NoFileExists(t, filepath.Join(dir, flag), "the line was cut")
		return target, report, err
	}
	for range 2 {
		target, _, err := move("after")
		require.NoError(t, err, "the doubt is settled from another node")
		g, err := c.Group(t.Context(), "eft")
		require.NoError(t, err)
		require.Equal(t, target, g.Owner)
	}
	target, _, err := move("before")
	require.ErrorIs(t, err, cluster.ErrNotStarted)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	// What was on its way arrives now, when the run has long said that nothing was done.
	late, err := os.ReadFile(filepath.Join(dir, "late"))
	require.NoError(t, err)
	out, err := r.live().Run("/bin/sh", "-c", string(late)+"; echo status $?")
	require.NoError(t, err)
	require.Contains(t, out, "status 105")
	_, err = r.live().Run("crm_resource", "--wait", "--timeout=20")
	require.NoError(t, err)
	g, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	require.NotEqual(t, target, g.Owner)
	require.NoError(t, c.SetFailback(t.Context(), "eft", cluster.Failback{Policy: cluster.FailbackAllowed}))
	// that run was not resumed
	_, err = r.live().Run("cibadmin", "-D", "-A", "//cluster_property_set[@id='failover-lock']")
	require.NoError(t, err)
	r.clean(t, c)
	cl.check(t, r.disk)
}

func (r *real) foreign(t *testing.T, c cluster.Cluster) {
	g, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	target := map[string]string{"n1": "n2", "n2": "n1"}[g.Owner]
	_, err = r.live().Run("crm_resource", "--ban", "-r", "eft", "-N", target)
	require.NoError(t, err)
	_, err = runTransfer(t, c, filepath.Join(t.TempDir(), "j"), cluster.TransferOptions{Group: "eft", Target: target})
	require.ErrorIs(t, err, cluster.ErrStandingRequest)
	require.ErrorIs(t, err, cluster.ErrTargetUnfit)
	require.NoError(t, c.ClearMove(t.Context(), "eft"))
	out, err := r.live().Run("cibadmin", "-Q", "-o", "constraints")
	require.NoError(t, err)
	require.Contains(t, out, "cli-ban-eft", "what is not ours stays")
	_, err = r.live().Run("crm_resource", "--clear", "-r", "eft")
	require.NoError(t, err)
	_, err = r.live().Run("crm_resource", "--wait", "--timeout=20")
	require.NoError(t, err)
}

// requested waits until the cluster's configuration holds a move request.
func (r *real) requested(t *testing.T, on *peers.PacemakerNode) {
	t.Helper()
	require.Eventually(t, func() bool {
		out, err := on.Run("cibadmin", "-Q", "-o", "constraints")
		return err == nil && strings.Contains(out, "cli-prefer-eft")
	}, 30*time.Second, time.Millisecond)
}

// plan is what the driver process is told.
type plan struct {
	Nodes, Addresses, Keys []string
	Host                   [][]string
	Target, Journal        string
}

// drive runs a transfer in a process of its own, to be killed.
func drive() int {
	var p plan
	if err := json.Unmarshal([]byte(os.Getenv("CLUSTER_TEST_PLAN")), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	var nodes []cluster.Address
	for i := range p.Nodes {
		key, err := os.ReadFile(p.Keys[i])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		nodes = append(nodes, cluster.Address{Node: p.Nodes[i],
			SSH: failover.SSH{Address: p.Addresses[i], User: "root", HostKeys: p.Host[i],
				Key: func(context.Context) (failover.Secret, error) { return failover.NewSecret(string(key)), nil }}})
	}
	c, err := cluster.NewPacemaker(cluster.PacemakerConfig{Nodes: nodes})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	proc, err := cluster.Transfer(c,
		cluster.TransferOptions{Group: "eft", Target: p.Target, Move: realTimes, Hold: 200 * time.Millisecond})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	j, err := failovertest.JournalAt(p.Journal)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if _, err = proc.Run(context.Background(),
		failover.RunOptions{Journal: j, Actor: "anna", Reason: "test"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (r *real) driverKilled(t *testing.T, c cluster.Cluster) {
	cl := startClient(t, r.Nodes)
	for range 3 {
		g, err := c.Group(t.Context(), "eft")
		require.NoError(t, err)
		p := plan{Target: map[string]string{"n1": "n2", "n2": "n1"}[g.Owner], Journal: filepath.Join(t.TempDir(), "j")}
		for _, n := range r.Nodes {
			p.Nodes, p.Addresses = append(p.Nodes, n.Name), append(p.Addresses, n.SSHD.Address)
			p.Keys, p.Host = append(p.Keys, n.SSHD.ClientKeyFile()), append(p.Host, n.SSHD.Fingerprints())
		}
		raw, err := json.Marshal(p)
		require.NoError(t, err)
		program, err := os.Executable()
		require.NoError(t, err)
		driver := exec.Command(program)
		driver.Env = append(os.Environ(), "CLUSTER_TEST_ROLE=drive", "CLUSTER_TEST_PLAN="+string(raw))
		driver.Stderr = os.Stderr
		require.NoError(t, driver.Start())
		r.requested(t, r.Nodes[0])
		require.NoError(t, driver.Process.Kill())
		require.Error(t, driver.Wait(), "it was killed half-way")
		out, err := r.live().Run("cibadmin", "-Q")
		require.NoError(t, err)
		require.Contains(t, out, "cli-prefer-eft", "the constraint is left over")

		_, err = runTransfer(t, c, p.Journal, cluster.TransferOptions{Group: "eft", Target: p.Target})
		require.NoError(t, err)
		g, err = c.Group(t.Context(), "eft")
		require.NoError(t, err)
		require.Equal(t, p.Target, g.Owner)
		r.clean(t, c)
	}
	cl.check(t, r.disk)
}

func (r *real) nodeKilled(t *testing.T, _ cluster.Cluster) {
	cl := startClient(t, r.Nodes)
	c := r.open(t, r.addresses())
	g, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	source, target := r.Nodes[0], r.Nodes[1]
	if g.Owner == target.Name {
		source, target = target, source
	}
	transfer := func(c cluster.Cluster, to string, victim, witness *peers.PacemakerNode) error {
		done := make(chan error, 1)
		go func() {
			_, err := runTransfer(t, c, filepath.Join(t.TempDir(), "j"), cluster.TransferOptions{Group: "eft", Target: to})
			done <- err
		}()
		r.requested(t, witness)
		victim.Kill()
		return <-done
	}
	// The source dies while the group leaves it, and with it the line over which the move was asked for.
	err = transfer(c, target.Name, source, target)
	require.NoError(t, err, "the other node says where the group is")
	g, err = c.Group(t.Context(), "eft")
	require.NoError(t, err)
	require.Equal(t, target.Name, g.Owner)
	require.Equal(t, cluster.StateOnline, g.State)
	r.clean(t, c)
	_, err = runTransfer(t, c, filepath.Join(t.TempDir(), "j"), cluster.TransferOptions{Group: "eft", Target: source.Name})
	require.ErrorIs(t, err, cluster.ErrNodeDown, "a node that is down is no target")

	// The target dies while the group comes to it.
	require.NoError(t, r.Restart(t, source))
	c = r.open(t, r.addresses())
	err = transfer(c, source.Name, source, target)
	require.Error(t, err)
	// It came back, or never left: a target that dies before the group leaves makes the request stand for nobody until
	// the time is up.
	require.True(t, errors.Is(err, cluster.ErrReturned) || errors.Is(err, cluster.ErrNotStarted) ||
		errors.Is(err, cluster.ErrTimeout), "%v", err)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	g, err = c.Group(t.Context(), "eft")
	require.NoError(t, err)
	require.Equal(t, target.Name, g.Owner)
	require.Equal(t, cluster.StateOnline, g.State)
	require.Empty(t, g.Standing, "no request stands that would pull the group over when the node returns")
	cl.check(t, r.disk)
}
