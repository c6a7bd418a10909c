package symitartest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote/remotetest"
	"github.com/01b61c5c/failover/symitar"
)

// Root begins every path of the simulated hosts. Each host sees its own folder there.
const Root = "/symitartest"

// The names of the hosts.
const (
	Home    = "symaix1" // primary at the start
	Partner = "symaix2"
)

// Account is who runs the macro.
const Account = "symop"

// Mark is in the environment of every process of a simulated host, with the host's folder as its value: the simulated
// ps shows those. A real SSH server in front of the folder has to set it.
const Mark = "SYMITARTEST_HOST"

//go:embed bin
var binaries embed.FS

// Pair is a running host pair.
type Pair struct {
	dir  string
	temp bool

	mu    sync.Mutex
	hosts map[string]*host

	script string // whose requests are broken
	how    Break
	struck int // requests that the break has met

	before, after func() // called around each command, for tests that crash there
}

// host is one machine of the pair.
type host struct {
	pair   *Pair
	name   string
	dir    string
	key    ssh.Signer
	shell  *remotetest.Shell
	server *remotetest.Server
	late   []late // requests on their way
}

// Start starts a pair for a test, which ends it.
func Start(tb testing.TB) *Pair {
	tb.Helper()
	p, err := Open("")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// Open starts a pair over the state in dir, or makes it there; without a dir in a temporary folder, which Close removes.
// The path must not hold quotes or blanks.
func Open(dir string) (*Pair, error) {
	temp := dir == ""
	var err error
	if temp {
		dir, err = os.MkdirTemp("", "symitartest")
	} else {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(dir, " '\"\\$\t\n") {
		return nil, failover.Invalid("dir", strconv.Quote(dir)+" holds quotes or blanks", "choose a plain path")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &Pair{dir: dir, temp: temp, hosts: map[string]*host{}}
	_ = os.Remove(filepath.Join(dir, "closing"))
	for i, name := range []string{Home, Partner} {
		h := &host{pair: p, name: name, dir: filepath.Join(dir, name)}
		err := h.prepare(i + 1)
		if err == nil {
			err = h.start()
		}
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.hosts[name] = h
	}
	return p, nil
}

// Dir returns the folder with the pair's state.
func (p *Pair) Dir() string { return p.dir }

// Close stops the servers and everything they started.
func (p *Pair) Close() error {
	_ = os.WriteFile(filepath.Join(p.dir, "closing"), nil, 0o600)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hosts {
		h.stop()
	}
	if p.temp {
		return os.RemoveAll(p.dir)
	}
	return nil
}

// prepare lays out the host's folder, once. The mark "ready" is written last.
func (h *host) prepare(number int) error {
	if _, err := os.Stat(h.path("etc/ready")); err == nil {
		return h.loadKey()
	}
	for _, d := range []string{"bin", "etc", "config/3100", "SYM/MACROS", "SYM/SYM000/LETTERSPECS",
		"SYM/SYM001/LETTERSPECS", "ops/bin", "var/tmp", "home"} {
		if err := os.MkdirAll(h.path(d), 0o700); err != nil {
			return err
		}
	}
	role, agent := "primary", "running"
	if number == 2 {
		role, agent = "secondary", "stopped"
	}
	if err := h.writeAll(map[string]string{"etc/role": role, "etc/agent": agent, "etc/number": strconv.Itoa(number),
		"etc/machine": fmt.Sprintf("00F8C1%02d4C00", number),
		"etc/self":    h.dir, "etc/booted": strconv.FormatInt(time.Now().Unix()-20_000_000, 10),
		"etc/boot": "Nov 01 04:00"}); err != nil {
		return err
	}
	if err := h.furnish(); err != nil {
		return err
	}
	if err := h.newKey(); err != nil {
		return err
	}
	return h.write("etc/ready", "")
}

// furnish lays out what is the same on both hosts and in order.
func (h *host) furnish() error {
	files := map[string]string{
		"etc/skew": "0", "etc/lag": "0", "etc/crontab": "", "etc/errors": "",
		"etc/inittab": "init:2:initdefault:\nsrcmstr:23456789:respawn:/usr/sbin/srcmstr\ncron:23456789:respawn:/usr/sbin/cron\n:failoverd:2:respawn:/SYM/SYMPR/FAILOVERD",
		"etc/subsystems": "Subsystem         Group            PID          Status \n syslogd          ras       " +
			"       4325822      active\n sshd             ssh              5243296      active\n lpd              spooler     " +
			"                  inoperative",
		"etc/processes": "       1        0     root /etc/init\n 4325822  3539390     root " +
			"/usr/sbin/syslogd\n12345678        1 SYM000 /SYM/SYM000/SYMITAR\n12345679 12345678 SYM000 grep " +
			"FAILOVERD\n12345680 12345678        <defunct>",
		"etc/queue": idleQueue,
		"etc/filesystems": "Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\n/dev/hd4       " +
			"   1048576    524288   50%    12345     9% /\n/dev/hd9var       2097152   1048576   50%     2345     2% " +
			"/var\n/proc                   -         -    -         -     -  /proc\n/dev/symlv      524288000 262144000   50%  " +
			" 123456     1% /SYM",
		"ops/bin/rootInfo.encrypted": "x", "SYM/SYM000/LETTERSPECS/SMA_DATES": "today",
		"SYM/SYM001/LETTERSPECS/SMA_DATES": "today",
		"ops/bin/licences":                 "RSJ symaix1 0001\nRSJ symaix2 0002",
		"etc/room":                         "1048576",
		"config/3100/lsam.conf":            "path_to_su = no\nallowed_sam_ip_address_1 = 10.20.30.5",
	}
	if err := h.writeAll(files); err != nil {
		return err
	}
	if err := h.write("etc/crontab", ""); err != nil {
		return err
	}
	if err := h.write("etc/errors", ""); err != nil {
		return err
	}
	if err := h.installBinaries(); err != nil {
		return err
	}
	if err := os.WriteFile(h.path("ops/bin/RSJ"), []byte("#!/bin/sh\necho RSJ refuses to run outside the agent\nexit 1\n"), 0o700); err != nil { //nolint:gosec // a program
		return err
	}
	return nil
}

func (h *host) writeAll(files map[string]string) error {
	for name, text := range files {
		if err := h.write(name, text+"\n"); err != nil {
			return err
		}
	}
	return nil
}

const idleQueue = `Queue Device   Status   Seq    Job Name             User
----- -------- -------- ------ -------------------- --------
0     BATCH0   Ready
1     BATCH1   Ready`

func (h *host) installBinaries() error {
	return fs.WalkDir(binaries, "bin", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := binaries.ReadFile(path)
		if err != nil {
			return err
		}
		to := h.path(path)
		if d.Name() == "FAILOVER" {
			to = h.path("SYM/MACROS/FAILOVER")
		}
		return os.WriteFile(to, text, 0o700) //nolint:gosec // these are programs
	})
}

func (h *host) path(name string) string { return filepath.Join(h.dir, filepath.FromSlash(name)) }

func (h *host) write(name, text string) error {
	return os.WriteFile(h.path(name), []byte(text), 0o600)
}

func (h *host) read(name string) string {
	text, err := os.ReadFile(h.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (h *host) newKey() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, h.name)
	if err != nil {
		return err
	}
	if err := h.write("etc/ssh_host_key", string(pem.EncodeToMemory(block))); err != nil {
		return err
	}
	return h.loadKey()
}

func (h *host) loadKey() error {
	text, err := os.ReadFile(h.path("etc/ssh_host_key"))
	if err != nil {
		return err
	}
	h.key, err = ssh.ParsePrivateKey(text)
	return err
}

// start starts the SSH server, and stops it again when the machine is down: its address stays.
func (h *host) start() error {
	h.shell = &remotetest.Shell{Dir: h.path("home"),
		Env: []string{"PATH=/usr/bin:/bin", "HOME=" + h.path("home"), "LANG=C.UTF-8", Mark + "=" + h.dir}}
	fault := h.pair.Armed()
	if fault == "csh-login" {
		h.shell.Path = h.csh()
	}
	key := h.key
	if h.name == Partner && h.pair.Armed() == "peer-key" {
		key = h.pair.hosts[Home].key
	}
	tune := func(c *ssh.ServerConfig) {
		if h.name == Home && fault == "primary-no-kex" {
			c.Ciphers = []string{"aes128-cbc"}
		}
	}
	options := []remotetest.Option{remotetest.WithHostKeys(key), remotetest.WithAccount(Account, remotetest.Password),
		remotetest.WithConfig(tune)}
	if h.server != nil { // a server that is started anew stays where it was
		options = append(options, remotetest.WithAddress(h.server.Address()))
	}
	server, err := remotetest.NewServer(h.handle, options...)
	if err != nil {
		return err
	}
	h.server = server
	if h.name == Home {
		switch fault {
		case "primary-full":
			server.Inject(remotetest.FaultHangUp, remotetest.Always)
		case "primary-hangs":
			server.Inject(remotetest.FaultMute, remotetest.Always)
		case "primary-refuses":
			server.Stop()
		}
	}
	if h.read("etc/down") != "" {
		server.Stop()
	}
	return nil
}

// csh returns a C shell, or where the machine has none, a program that takes what a C shell takes and quotes worse: one
// line of plain words.
func (h *host) csh() string {
	for _, name := range []string{"tcsh", "csh"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return h.path("bin/plain-words")
}

// again reports whether this is not the first call; the mark outlives the process.
func (p *Pair) again() bool { return !p.strikes() }

// dial reaches the hosts. A machine that is down has no route: its kernel does not refuse.
func (p *Pair) dial(ctx context.Context, network, address string) (net.Conn, error) {
	for _, h := range p.hosts {
		if h.server.Address() != address || h.read("etc/down") == "" {
			continue
		}
		if p.Armed() != "primary-returns" || !p.again() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
		}
		if err := p.PowerOn(h.name, "primary"); err != nil {
			return nil, err
		}
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (h *host) stop() {
	h.shell.Kill()
	h.server.Close()
}

// Config returns a configuration that fits the pair. Every name and path in it is the same for every pair; only the SSH
// addresses and keys differ. OpCon is left out.
func (p *Pair) Config() symitar.Config { return p.ConfigBelow(Root) }

// ConfigBelow is Config with the hosts' paths below root in place of [Root]: for real SSH servers that see a host's
// folder there.
func (p *Pair) ConfigBelow(root string) symitar.Config {
	return symitar.Config{
		Home:    p.hostConfig(Home, 1),
		Partner: p.hostConfig(Partner, 2),
		Macro: symitar.Macro{Path: root + "/SYM/MACROS/FAILOVER", User: Account, On: symitar.OnOldPrimary,
			SwitchoverArgs: []string{"-swap"}, FailoverArgs: []string{"-takeover"}, FailbackArgs: []string{"-swap", "-reverse"},
			Mode: symitar.ModeDetached, Timeout: p.macroTimeout(), Settle: p.settle()},
		Role: symitar.Role{Quorum: 2, Probes: []symitar.RoleProbe{
			{Name: "marker", Command: "cat " + root + "/etc/role", Primary: `(?m)^primary$`, Secondary: `(?m)^secondary$`},
			{Name: "alias", Command: aliasCommand, Primary: "alias-here", Secondary: "alias-absent"},
			{Name: "volume-group", Command: "lsvg -o | grep symvg || echo no-symvg", Primary: `(?m)^symvg$`,
				Secondary: "no-symvg"},
		}},
		Replication: symitar.Replication{Command: "replag", On: symitar.OnOldPrimary, Lag: `lag=([0-9.]+)`, Unit: time.Second,
			MaxLag: 5 * time.Second},
		Licence: symitar.Licence{Path: root + "/ops/bin/licences", Patterns: []string{"RSJ " + Home, "RSJ " + Partner}},
		Agent:   symitar.Agent{Control: root + "/bin/lsam3100", Timeout: p.patience("agent-stuck")},
		Limits:  symitar.Limits{Quiet: p.patience("batch-busy", "rsj-never-ends"), Look: p.look()},
		Verify: []symitar.Verification{
			{Name: "alias-on-new-primary", Title: "The service address is on the new primary", On: symitar.OnNewPrimary,
				Command: aliasCommand, Want: "alias-here", Within: time.Minute},
			{Name: "alias-off-old-primary", Title: "The service address is gone from the old primary", On: symitar.OnOldPrimary,
				Command: aliasCommand, Want: "alias-absent", Within: time.Minute},
		},
		SymRoot: root + "/SYM", RootInfoDir: root + "/ops/bin", StateDir: root + "/var/tmp/failover",
		RSJ:  root + "/ops/bin/RSJ",
		Path: root + "/bin:" + root + "/SYM/MACROS:/usr/bin:/bin",
		Dial: p.dial, Poll: 20 * time.Millisecond,
	}
}

const aliasCommand = "netstat -in | grep -q '10[.]20[.]30[.]40 ' && echo alias-here || echo alias-absent"

func (p *Pair) hostConfig(name string, number int) symitar.HostConfig {
	h := p.hosts[name]
	target := h.server.SSH()
	// The keys the machines should have, also where a fault shows another one.
	target.HostKeys = []string{ssh.FingerprintSHA256(h.key.PublicKey())}
	target.ConnectTimeout = 20 * time.Second
	if p.Armed() == "primary-hangs" {
		target.ConnectTimeout = time.Second
	}
	return symitar.HostConfig{Name: name, Hostname: name, MachineID: fmt.Sprintf("00F8C1%02d4C00", number), SSH: target}
}

func (p *Pair) macroTimeout() time.Duration {
	if p.Armed() == "macro-hangs" {
		return 2 * time.Second
	}
	return 2 * time.Minute
}

// settle is long enough for two probes that hang.
func (p *Pair) settle() time.Duration {
	if p.Armed() == "probe-hangs" {
		return 30 * time.Second
	}
	return time.Second
}

// look is short where a look never ends.
func (p *Pair) look() time.Duration {
	switch p.Armed() {
	case "probe-hangs", "primary-slow-probe":
		return 2 * time.Second
	}
	return 20 * time.Second
}

// patience is short where one of the faults makes waiting vain.
func (p *Pair) patience(faults ...string) time.Duration {
	if slices.Contains(faults, p.Armed()) {
		return time.Second
	}
	return time.Minute
}

// Server returns the SSH server of a host, for faults of the line.
func (p *Pair) Server(name string) *remotetest.Server { return p.hosts[name].server }

// HostDir returns a host's folder. To put a real SSH server in front of it, replace Root by this folder in every
// command line that arrives.
func (p *Pair) HostDir(name string) string { return p.hosts[name].dir }

// launcher is how the script begins that launches the macro.
const launcher = "\n# launch.sh STATE"

// handle runs one command line in the host's folder.
func (h *host) handle(ctx context.Context, cmd *remotetest.Command) remotetest.Ending {
	if h.pair.before != nil {
		h.pair.before()
	}
	if h.pair.after != nil {
		defer h.pair.after()
	}
	if h.rebooting() {
		return remotetest.Drop()
	}
	h.arrive(ctx)
	here := *cmd
	here.Line = strings.ReplaceAll(cmd.Line, Root+"/", h.dir+"/")
	text, _ := io.ReadAll(cmd.Stdin) //nolint:gosec // a stream that is cut is passed on as far as it came
	stdin := strings.ReplaceAll(string(text), Root+"/", h.dir+"/")
	here.Stdin = strings.NewReader(stdin)
	switch h.pair.Armed() {
	case "noisy-shell":
		_, _ = io.WriteString(cmd.Stdout, "*** Authorized use only ***\n@@0 BEGIN\nENVSET loaded")
	case "login-menu":
		if h.name == Partner {
			_, _ = io.WriteString(cmd.Stdout, "  3 - SYM 000\n  4 - SYM 001\nSelection : ")
			return remotetest.Exit(0)
		}
	}
	if strings.Contains(stdin, launcher) {
		switch fault := h.pair.Armed(); {
		case fault == "drop-before-launch" && h.pair.strikes():
			return remotetest.Drop()
		case fault == "drop-after-launch" && h.pair.strikes():
			h.shell.Handle(ctx, &here)
			return remotetest.Drop()
		case fault == "no-status-after-launch" && h.pair.strikes():
			h.shell.Handle(ctx, &here)
			return remotetest.NoStatus()
		}
	}
	if h.pair.Armed() == "flaky-line" && h.pair.every(11) {
		return remotetest.Drop()
	}
	return h.perform(ctx, &here, stdin)
}

// rebooting counts the calls down that a host which reboots does not answer.
func (h *host) rebooting() bool {
	h.pair.mu.Lock()
	defer h.pair.mu.Unlock()
	n, err := strconv.Atoi(h.read("etc/rebooting"))
	if err != nil {
		return false
	}
	if n <= 1 {
		_ = os.Remove(h.path("etc/rebooting"))
		_ = h.write("etc/boot", "Nov 23 10:00\n")
		return true
	}
	_ = h.write("etc/rebooting", strconv.Itoa(n-1))
	return true
}
