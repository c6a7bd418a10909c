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
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

//go:embed bin
var binaries embed.FS

// Pair is a running host pair.
type Pair struct {
	dir  string
	temp bool

	mu    sync.Mutex
	hosts map[string]*host

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
}

// NewPair starts a pair in a temporary folder, which Close removes.
func NewPair() (*Pair, error) {
	dir, err := os.MkdirTemp("", "symitartest")
	if err != nil {
		return nil, err
	}
	p, err := Open(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.temp = true
	return p, nil
}

// Open starts a pair over the state in dir, or makes it there. The path must not hold quotes or blanks.
func Open(dir string) (*Pair, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(dir, " '\"\\$\t\n") {
		return nil, failover.Invalid("dir", strconv.Quote(dir)+" holds quotes or blanks", "choose a plain path")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &Pair{dir: dir, hosts: map[string]*host{}}
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
	for _, d := range []string{"bin", "etc", "SYM/MACROS", "SYM/SYM000/LETTERSPECS", "SYM/SYM001/LETTERSPECS", "ops/bin", "var/tmp", "home"} {
		if err := os.MkdirAll(h.path(d), 0o700); err != nil {
			return err
		}
	}
	role, agent := "primary", "running"
	if number == 2 {
		role, agent = "secondary", "stopped"
	}
	files := map[string]string{
		"etc/role": role, "etc/agent": agent, "etc/number": strconv.Itoa(number), "etc/machine": fmt.Sprintf("00F8C1%02d4C00", number),
		"etc/skew": "0", "etc/lag": "0", "etc/boot": "Nov 01 04:00", "etc/crontab": "", "etc/errors": "",
		"etc/inittab":                "init:2:initdefault:\nsrcmstr:23456789:respawn:/usr/sbin/srcmstr\ncron:23456789:respawn:/usr/sbin/cron\n:failoverd:2:respawn:/SYM/SYMPR/FAILOVERD",
		"etc/subsystems":             "Subsystem         Group            PID          Status \n syslogd          ras              4325822      active\n sshd             ssh              5243296      active\n lpd              spooler                       inoperative",
		"etc/processes":              "       1        0     root /etc/init\n 4325822  3539390     root /usr/sbin/syslogd\n12345678        1 SYM000 /SYM/SYM000/SYMITAR\n12345679 12345678 SYM000 grep FAILOVERD\n12345680 12345678        <defunct>",
		"etc/queue":                  idleQueue,
		"etc/filesystems":            "Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\n/dev/hd4          1048576    524288   50%    12345     9% /\n/dev/hd9var       2097152   1048576   50%     2345     2% /var\n/proc                   -         -    -         -     -  /proc\n/dev/symlv      524288000 262144000   50%   123456     1% /SYM",
		"ops/bin/rootInfo.encrypted": "x", "SYM/SYM000/LETTERSPECS/SMA_DATES": "today", "SYM/SYM001/LETTERSPECS/SMA_DATES": "today",
		"ops/bin/licences": "RSJ symaix1 0001\nRSJ symaix2 0002",
	}
	for name, text := range files {
		if err := h.write(name, text+"\n"); err != nil {
			return err
		}
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
	if err := h.newKey(); err != nil {
		return err
	}
	return h.write("etc/ready", "")
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
	h.shell = &remotetest.Shell{Dir: h.path("home"), Env: []string{"PATH=/usr/bin:/bin", "HOME=" + h.path("home"), "LANG=C.UTF-8"}}
	key := h.key
	if h.name == Partner && h.pair.Armed() == "peer-key" {
		key = h.pair.hosts[Home].key
	}
	server, err := remotetest.NewServer(h.handle, remotetest.WithHostKeys(key), remotetest.WithAccount(Account, remotetest.Password))
	if err != nil {
		return err
	}
	h.server = server
	if h.read("etc/down") != "" {
		server.Stop()
	}
	return nil
}

func (h *host) stop() {
	h.shell.Kill()
	h.server.Close()
}

// Config returns a configuration that fits the pair. Every name and path in it is the same for every pair; only the SSH
// addresses and keys differ. OpCon is left out.
func (p *Pair) Config() symitar.Config {
	return symitar.Config{
		Home:    p.hostConfig(Home, 1),
		Partner: p.hostConfig(Partner, 2),
		Macro: symitar.Macro{Path: Root + "/SYM/MACROS/FAILOVER", User: Account, On: symitar.OldPrimary,
			SwitchoverArgs: []string{"-swap"}, FailoverArgs: []string{"-takeover"}, FailbackArgs: []string{"-swap", "-reverse"},
			Mode: symitar.Detached, Timeout: p.macroTimeout(), Settle: time.Second},
		Role: symitar.Role{Quorum: 2, Probes: []symitar.RoleProbe{
			{Name: "marker", Command: "cat " + Root + "/etc/role", Primary: `(?m)^primary$`, Secondary: `(?m)^secondary$`},
			{Name: "alias", Command: aliasCommand, Primary: "alias-here", Secondary: "alias-absent"},
			{Name: "volume-group", Command: "lsvg -o | grep symvg || echo no-symvg", Primary: `(?m)^symvg$`, Secondary: "no-symvg"},
		}},
		Replication: symitar.Replication{Command: "replag", On: symitar.OldPrimary, Lag: `lag=([0-9.]+)`, Unit: time.Second, MaxLag: 5 * time.Second},
		Licence:     symitar.Licence{Path: Root + "/ops/bin/licences", Patterns: []string{"RSJ " + Home, "RSJ " + Partner}},
		Agent:       symitar.Agent{Control: Root + "/bin/lsam3100", Timeout: p.patience()},
		Limits:      symitar.Limits{Quiet: p.patience()},
		Verify: []symitar.Verification{
			{Name: "alias-on-new-primary", Title: "The service address is on the new primary", On: symitar.NewPrimary, Command: aliasCommand, Want: "alias-here", Within: 5 * time.Second},
			{Name: "alias-off-old-primary", Title: "The service address is gone from the old primary", On: symitar.OldPrimary, Command: aliasCommand, Want: "alias-absent", Within: 5 * time.Second},
		},
		SymRoot: Root + "/SYM", RootInfoDir: Root + "/ops/bin", StateDir: Root + "/var/tmp/failover",
		Path: Root + "/bin:" + Root + "/SYM/MACROS:/usr/bin:/bin",
	}
}

const aliasCommand = "netstat -in | grep -q '10[.]20[.]30[.]40 ' && echo alias-here || echo alias-absent"

func (p *Pair) hostConfig(name string, number int) symitar.HostConfig {
	h := p.hosts[name]
	target := h.server.SSH()
	// The keys the machines should have, also where a fault shows another one.
	target.HostKeys = []string{ssh.FingerprintSHA256(h.key.PublicKey())}
	target.ConnectTimeout = 5 * time.Second
	return symitar.HostConfig{Name: name, Hostname: name, MachineID: fmt.Sprintf("00F8C1%02d4C00", number), SSH: target}
}

func (p *Pair) macroTimeout() time.Duration {
	if p.Armed() == "macro-hangs" {
		return 2 * time.Second
	}
	return 20 * time.Second
}

// patience is short where the fault makes waiting vain.
func (p *Pair) patience() time.Duration {
	switch p.Armed() {
	case "agent-stuck", "batch-busy", "rsj-never-ends":
		return time.Second
	}
	return 10 * time.Second
}

// Server returns the SSH server of a host, for faults of the line.
func (p *Pair) Server(name string) *remotetest.Server { return p.hosts[name].server }

// HostDir returns a host's folder. To put a real SSH server in front of it, replace Root by this folder in every command
// line that arrives.
func (p *Pair) HostDir(name string) string { return p.hosts[name].dir }

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
	here := *cmd
	here.Line = strings.ReplaceAll(cmd.Line, Root+"/", h.dir+"/")
	switch h.pair.Armed() {
	case "noisy-shell":
		_, _ = io.WriteString(cmd.Stdout, "*** Authorized use only ***\n@@0 BEGIN\nENVSET loaded")
	case "login-menu":
		if h.name == Partner {
			_, _ = io.WriteString(cmd.Stdout, "  3 - SYM 000\n  4 - SYM 001\nSelection : ")
			return remotetest.Exit(0)
		}
	}
	if strings.Contains(cmd.Line, "# launch.sh STATE") {
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
	return h.shell.Handle(ctx, &here)
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
