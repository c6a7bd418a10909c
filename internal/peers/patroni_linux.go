package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patroni is a PostgreSQL cluster run by Patroni, with an etcd of its own, all on 127.0.0.1. Its programs run under the
// account postgres when the test runs as root, since PostgreSQL refuses to.
type Patroni struct {
	Nodes []*PatroniNode

	dir  string
	bin  string // of PostgreSQL
	cred *syscall.Credential
	etcd string // host:port
}

// PatroniNode is one member.
type PatroniNode struct {
	Name string
	URL  string // of its REST API
	Port int    // of PostgreSQL

	cluster *Patroni
	api     string // host:port it listens on
	process *exec.Cmd
	exited  chan struct{}
}

// PatroniPassword is what the REST API asks for, for the user "admin".
const PatroniPassword = "rest-password"

// PatroniOptions say how a cluster is set up.
type PatroniOptions struct {
	Nodes       int
	Synchronous bool // a commit is acknowledged when a replica has it
}

// StartPatroni starts a cluster, waits until it has a leader and everybody follows, and ends it when the test is over.
func StartPatroni(tb testing.TB, o PatroniOptions) *Patroni {
	tb.Helper()
	Need(tb, "patroni", "etcd", "psql")
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(bins) == 0 {
		if Required() {
			tb.Fatal("needs a PostgreSQL server, which this machine lacks, and PEERS=required")
		}
		tb.Skip("needs a PostgreSQL server, which this machine lacks; not proven here")
	}
	c := &Patroni{dir: tb.TempDir(), bin: filepath.Dir(bins[len(bins)-1])}
	if err := c.account(); err != nil {
		tb.Fatal(err)
	}
	if err := c.startEtcd(tb); err != nil {
		tb.Fatal(err)
	}
	for i := range o.Nodes {
		n := &PatroniNode{Name: fmt.Sprintf("pg%d", i+1), cluster: c}
		if err := n.prepare(o); err != nil {
			tb.Fatal(err)
		}
		c.Nodes = append(c.Nodes, n)
		if err := n.Start(); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(n.Kill)
	}
	return c
}

// account gives the folder to the account the programs run under.
func (c *Patroni) account() error {
	// The folder above belongs to the test only; PostgreSQL has to pass it.
	if err := os.Chmod(filepath.Dir(c.dir), 0o711); err != nil { //nolint:gosec // passing, not reading
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	postgres, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(postgres.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(postgres.Gid, 10, 32)
	if err != nil {
		return err
	}
	c.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(c.dir, int(uid), int(gid))
}

// spawn starts a program that writes its output into a file of the cluster's folder.
func (c *Patroni) spawn(name string, args ...string) (*exec.Cmd, chan struct{}, error) {
	program, err := Path(args[0])
	if err != nil {
		return nil, nil, err
	}
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(program, args[1:]...) //nolint:gosec,noctx // ended by Kill
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	cmd.Env = []string{"PATH=" + c.bin + ":" + os.Getenv("PATH"), "HOME=" + c.dir, "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	return cmd, exited, nil
}

func (c *Patroni) startEtcd(tb testing.TB) error {
	client, err := freePort("127.0.0.1")
	if err != nil {
		return err
	}
	peer, err := freePort("127.0.0.1")
	if err != nil {
		return err
	}
	c.etcd = fmt.Sprintf("127.0.0.1:%d", client)
	clientURL, peerURL := "http://"+c.etcd, fmt.Sprintf("http://127.0.0.1:%d", peer)
	cmd, exited, err := c.spawn("etcd", "etcd", "--name", "e1", "--data-dir", filepath.Join(c.dir, "etcd"),
		"--listen-client-urls", clientURL,
		"--advertise-client-urls", clientURL, "--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL,
		"--initial-cluster", "e1="+peerURL)
	if err != nil {
		return err
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	return nil
}

func (n *PatroniNode) prepare(o PatroniOptions) error {
	api, err := freePort("127.0.0.1")
	if err != nil {
		return err
	}
	if n.Port, err = freePort("127.0.0.1"); err != nil {
		return err
	}
	n.api = fmt.Sprintf("127.0.0.1:%d", api)
	n.URL = "http://" + n.api
	c := n.cluster
	config := fmt.Sprintf(`scope: demo
name: %[1]s
restapi: {listen: %[2]q, connect_address: %[2]q, authentication: {username: admin, password: %[3]s}}
etcd3: {host: %[4]q}
bootstrap:
  dcs:
    ttl: 8
    loop_wait: 1
    retry_timeout: 3
    maximum_lag_on_failover: 1048576
    synchronous_mode: %[5]t
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters: {wal_log_hints: "on", fsync: "off", max_connections: 40, shared_buffers: 16MB}
  initdb: [{encoding: UTF8}, {auth-local: trust}, {auth-host: trust}]
  pg_hba: ["host replication all 127.0.0.1/32 trust", "host all all 127.0.0.1/32 trust"]
postgresql:
  listen: "127.0.0.1:%[6]d"
  connect_address: "127.0.0.1:%[6]d"
  data_dir: %[7]s
  bin_dir: %[8]s
  pgpass: %[7]s.pgpass
  authentication:
    replication: {username: replicator, password: r}
    superuser: {username: postgres, password: p}
    rewind: {username: rewinder, password: w}
  parameters: {unix_socket_directories: ""}
`, n.Name, n.api, PatroniPassword, c.etcd, o.Synchronous, n.Port, n.data(), c.bin)
	if err := os.WriteFile(n.config(), []byte(config), 0o600); err != nil {
		return err
	}
	if c.cred == nil {
		return nil
	}
	return os.Chown(n.config(), int(c.cred.Uid), int(c.cred.Gid))
}

func (n *PatroniNode) config() string { return filepath.Join(n.cluster.dir, n.Name+".yaml") }
func (n *PatroniNode) data() string   { return filepath.Join(n.cluster.dir, n.Name) }

// Log returns what Patroni and PostgreSQL of the node have written.
func (n *PatroniNode) Log() string {
	text, _ := os.ReadFile(n.cluster.dir + "/" + n.Name + ".log")
	return string(text)
}

// Start starts the node, also again after Kill, with the data it had.
func (n *PatroniNode) Start() (err error) {
	n.process, n.exited, err = n.cluster.spawn(n.Name, "patroni", n.config())
	return err
}

// Kill ends Patroni and PostgreSQL of the node at once, as a machine that loses its power.
func (n *PatroniNode) Kill() {
	_ = n.process.Process.Kill()
	<-n.exited
	text, err := os.ReadFile(filepath.Join(n.data(), "postmaster.pid"))
	if err != nil {
		return
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	pid, err := strconv.Atoi(string(first))
	if err != nil {
		return
	}
	// A pid of an earlier life may be somebody else's by now.
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(line, []byte(n.data())) {
		return
	}
	children := descendants(pid)
	kill(pid)
	for _, child := range children {
		kill(child)
	}
	for range 200 {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// SQL runs one statement on the node and returns what it prints, fields parted by a bar.
func (n *PatroniNode) SQL(ctx context.Context, statement string) (string, error) {
	return psql(ctx, fmt.Sprintf("host=127.0.0.1 port=%d", n.Port), statement)
}

// Write runs one statement on whichever node takes writes.
func (c *Patroni) Write(ctx context.Context, statement string) (string, error) {
	var hosts, ports []string
	for _, n := range c.Nodes {
		hosts, ports = append(hosts, "127.0.0.1"), append(ports, strconv.Itoa(n.Port))
	}
	return psql(ctx, "host="+strings.Join(hosts, ",")+" port="+strings.Join(ports, ",")+" target_session_attrs=read-write",
		statement)
}

func psql(ctx context.Context, server, statement string) (string, error) {
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(limit, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", //nolint:gosec // statements come from tests
		"-d", server+" user=postgres password=p dbname=postgres connect_timeout=2", "-c", statement)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("psql: %w: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), err
}
