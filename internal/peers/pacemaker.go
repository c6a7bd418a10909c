package peers

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed pacemaker_node.sh
var pacemakerNode string

// Pacemaker is a true two-node cluster on this machine: corosync, Pacemaker and an OpenSSH server in network
// namespaces of their own, joined by a bridge on which the test reaches them. There is no fencing.
type Pacemaker struct {
	Nodes []*PacemakerNode
	Dir   string

	bridge string
	opt    PacemakerOptions
}

// PacemakerNode is one node.
type PacemakerNode struct {
	Name    string
	Address string // its IP address
	SSHD    *SSHD

	dir     string
	pid     int // the first process of its namespaces, as this machine counts
	process *exec.Cmd
	exited  chan struct{}
}

// PacemakerOptions adds to a cluster. The zero value is a bare one.
type PacemakerOptions struct {
	// Agents are OCF resource agents, shell scripts by name, used as ocf:failover:NAME.
	Agents map[string]string
	// Resources is XML for the resources section, created once both nodes are online.
	Resources string
}

// NeedPacemaker ends the test unless a cluster can be built here.
func NeedPacemaker(tb testing.TB) {
	tb.Helper()
	Need(tb, "root", "sshd", "corosync", "pacemakerd", "crm_resource", "crm_mon", "cibadmin", "ip", "unshare", "nsenter")
	if out, err := exec.Command("unshare", "-m", "-n", "-p", "--fork", "true").CombinedOutput(); err != nil { //nolint:noctx // ends at once
		reason := fmt.Sprintf("namespaces cannot be made here: %v %s", err, out)
		if Required() {
			tb.Fatal(reason)
		}
		tb.Skip(reason)
	}
}

// StartPacemaker starts a cluster of the nodes n1 and n2 and waits until both are online, which takes about ten
// seconds. Fencing is off, so a node that is killed loses its resources to the other at once. Everything ends with
// the test.
func StartPacemaker(tb testing.TB, opt PacemakerOptions) *Pacemaker {
	tb.Helper()
	NeedPacemaker(tb)
	dir, err := os.MkdirTemp("", "pcmk") // short, and every account may enter it: the daemons are not root
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as said above
		tb.Fatal(err)
	}
	// Interface names are short, and several tests may run on one machine.
	c := &Pacemaker{Dir: dir, opt: opt, bridge: fmt.Sprintf("fo%x", os.Getpid())}
	subnet, err := c.wire(tb)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 1; i <= 2; i++ {
		n := &PacemakerNode{Name: fmt.Sprintf("n%d", i), Address: fmt.Sprintf("%s.%d", subnet, i),
			dir: filepath.Join(dir, fmt.Sprintf("n%d", i))}
		c.Nodes = append(c.Nodes, n)
		if err := c.start(tb, n, i, subnet); err != nil {
			tb.Fatal(err)
		}
	}
	if err := c.settle(); err != nil {
		tb.Fatal(err)
	}
	return c
}

// wire makes the bridge in a subnet this machine does not use.
func (c *Pacemaker) wire(tb testing.TB) (string, error) {
	used, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	subnet := ""
	for i := os.Getpid() % 200; subnet == ""; i = (i + 1) % 200 {
		try := fmt.Sprintf("10.77.%d", i)
		taken := false
		for _, a := range used {
			taken = taken || strings.HasPrefix(a.String(), try+".")
		}
		if !taken {
			subnet = try
		}
	}
	sweep()
	tb.Cleanup(func() { _ = command("ip", "link", "del", c.bridge) })
	return subnet, firstError(
		command("ip", "link", "add", c.bridge, "type", "bridge"),
		command("ip", "addr", "add", subnet+".254/24", "dev", c.bridge),
		command("ip", "link", "set", c.bridge, "up"))
}

// sweep removes the bridges of test processes that were killed before they could.
func sweep() {
	all, _ := net.Interfaces()
	for _, i := range all {
		var pid int
		if n, err := fmt.Sscanf(i.Name, "fo%x", &pid); n != 1 || err != nil || i.Name != fmt.Sprintf("fo%x", pid) {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
			_ = command("ip", "link", "del", i.Name)
		}
	}
}

func (c *Pacemaker) start(tb testing.TB, n *PacemakerNode, number int, subnet string) error {
	for _, sub := range []string{"corosync", "lib-corosync", "lib-pacemaker", "log-pacemaker"} {
		if err := os.MkdirAll(filepath.Join(n.dir, sub), 0o755); err != nil { //nolint:gosec // the daemons are not root
			return err
		}
	}
	agents := filepath.Join(n.dir, "agents")
	if err := os.MkdirAll(agents, 0o755); err != nil { //nolint:gosec // the daemons are not root
		return err
	}
	for name, text := range c.opt.Agents {
		if err := os.WriteFile(filepath.Join(agents, name), []byte(text), 0o755); err != nil { //nolint:gosec // it is a program
			return err
		}
	}
	script := filepath.Join(n.dir, "node.sh")
	if err := firstError(
		os.WriteFile(filepath.Join(n.dir, "corosync", "corosync.conf"), []byte(corosyncConf(subnet)), 0o644), //nolint:gosec // as above
		os.WriteFile(script, []byte(pacemakerNode), 0o755)); err != nil {                                     //nolint:gosec // it is a program
		return err
	}
	n.process = exec.Command("unshare", "-m", "-u", "-i", "-n", "-p", "--fork", "--mount-proc", "--kill-child=KILL", script, n.Name, n.dir) //nolint:gosec,noctx // ended by Kill
	output, err := os.Create(filepath.Join(n.dir, "node.log"))
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	n.process.Stdout, n.process.Stderr = output, output
	if _, err := n.process.StdinPipe(); err != nil { // open as long as this process lives
		return err
	}
	if err := n.process.Start(); err != nil {
		return err
	}
	n.exited = make(chan struct{})
	go func() {
		_ = n.process.Wait()
		close(n.exited)
	}()
	tb.Cleanup(n.Kill)
	if err := waitFor(10*time.Second,
		func() bool { _, err := os.Stat(filepath.Join(n.dir, "ready")); return err == nil }); err != nil {
		return fmt.Errorf("peers: node %s does not start: %w: %s", n.Name, err, n.Log())
	}
	below := descendants(n.process.Process.Pid)
	if len(below) == 0 {
		return fmt.Errorf("peers: node %s has ended: %s", n.Name, n.Log())
	}
	n.pid = below[0]
	pid, outside := strconv.Itoa(n.pid), fmt.Sprintf("%s.%d", c.bridge, number)
	if err := firstError(
		command("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", pid),
		command("ip", "link", "set", outside, "master", c.bridge, "up"),
		command("nsenter", "-t", pid, "-n", "ip", "addr", "add", n.Address+"/24", "dev", "eth0"),
		command("nsenter", "-t", pid, "-n", "ip", "link", "set", "eth0", "up")); err != nil {
		return err
	}
	n.SSHD = n.StartSSHD(tb, SSHDOptions{Port: 22})
	return os.WriteFile(filepath.Join(n.dir, "wired"), nil, 0o600)
}

// StartSSHD starts one more SSH server on the node, with settings of its own.
func (n *PacemakerNode) StartSSHD(tb testing.TB, opt SSHDOptions) *SSHD {
	tb.Helper()
	opt.Address, opt.Prefix = n.Address, append(n.enter(), "nice", "-n", "-15")
	if opt.Port == 0 {
		opt.Port = 2222
	}
	return StartSSHD(tb, opt)
}

func (n *PacemakerNode) enter() []string {
	return []string{"nsenter", "-t", strconv.Itoa(n.pid), "-m", "-u", "-i", "-n", "-p"}
}

// Restart starts a node again that was killed, and returns when the cluster has it back. Its SSH server is a new one at
// the same address; its keys change.
func (c *Pacemaker) Restart(tb testing.TB, n *PacemakerNode) error {
	subnet := n.Address[:strings.LastIndexByte(n.Address, '.')]
	number, err := strconv.Atoi(n.Address[len(subnet)+1:])
	if err != nil {
		return err
	}
	for _, flag := range []string{"ready", "wired"} {
		if err := os.Remove(filepath.Join(n.dir, flag)); err != nil {
			return err
		}
	}
	if err := c.start(tb, n, number, subnet); err != nil {
		return err
	}
	return c.online()
}

// Run runs a program on the node, past SSH, and returns what it writes.
func (n *PacemakerNode) Run(args ...string) (string, error) {
	line := append(n.enter(), args...)
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput() //nolint:gosec,noctx // test programs that end
	return string(out), err
}

// Log returns what the node's programs have written.
func (n *PacemakerNode) Log() string {
	var b strings.Builder
	for _, name := range []string{"node.log", "corosync.log", "pacemakerd.log"} {
		if text, err := os.ReadFile(filepath.Join(n.dir, name)); err == nil {
			b.Write(text)
		}
	}
	return b.String()
}

// Kill ends every process of the node at once, as a power cut does.
func (n *PacemakerNode) Kill() {
	if n.pid != 0 {
		kill(n.pid)
		n.pid = 0
	}
	_ = n.process.Process.Kill()
	<-n.exited
}

// online waits until every node says that both are online.
func (c *Pacemaker) online() error {
	var last string
	err := waitFor(60*time.Second, func() bool {
		for _, n := range c.Nodes {
			out, err := n.Run("crm_mon", "-1", "--output-as=xml")
			last = out
			if err != nil || strings.Count(out, `online="true"`) != len(c.Nodes) || strings.Contains(out, `pending="true"`) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("peers: the cluster does not come together: %w: %s %s %s", err, last, c.Nodes[0].Log(),
			c.Nodes[1].Log())
	}
	return nil
}

// settle waits for the nodes, turns fencing off and creates the resources.
func (c *Pacemaker) settle() error {
	if err := c.online(); err != nil {
		return err
	}
	first := c.Nodes[0]
	steps := [][]string{{"crm_attribute", "-n", "stonith-enabled", "-v", "false"}}
	if c.opt.Resources != "" {
		steps = append(steps, []string{"cibadmin", "-o", "resources", "-C", "-X", c.opt.Resources})
	}
	for _, args := range append(steps, []string{"crm_resource", "--wait", "--timeout=30"}) {
		if out, err := first.Run(args...); err != nil {
			return fmt.Errorf("peers: %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func corosyncConf(subnet string) string {
	return fmt.Sprintf(`totem {
  version: 2
  cluster_name: failover
  transport: udpu
  crypto_cipher: none
  crypto_hash: none
  token: 5000
}
nodelist {
  node {
    ring0_addr: %[1]s.1
    name: n1
    nodeid: 1
  }
  node {
    ring0_addr: %[1]s.2
    name: n2
    nodeid: 2
  }
}
quorum {
  provider: corosync_votequorum
  two_node: 1
  wait_for_all: 0
}
logging {
  to_syslog: no
  to_stderr: yes
}
`, subnet)
}

func waitFor(limit time.Duration, done func() bool) error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if done() {
			return nil
		}
	}
	return fmt.Errorf("not within %s", limit)
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:gosec,noctx // ends at once
	if err != nil {
		return fmt.Errorf("peers: %s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
