package symitar

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

// Config describes one Symitar host pair. What a vendor states has a default; what no public text states (how the
// macro is called, how a role is recognised, how replication is read) has none: leaving it empty is an error that
// says what to fill in. Config holds no secrets besides the SSH login and the answers of [Prompt].
type Config struct {
	Home    HostConfig // the host that is primary on an ordinary day
	Partner HostConfig // the host that takes over

	Macro       Macro          // how it is called; required
	Role        Role           // how a host's role shows; required
	Replication Replication    // how far the secondary is behind, or a person's statement; required
	Licence     Licence        // the optional check of RSJ's licences
	Agent       Agent          // OpCon's agent on the hosts
	Limits      Limits         // figures of the preflight; Quiet is required
	Verify      []Verification // what else must hold after the swap; each becomes a step
	OpCon       *OpCon         // nil: the procedures contain manual steps with the vendor's text instead

	// FailoverD is the daemon's name, compared with the last part of every word of each command line, ignoring case, alone
	// or with an ending such as .ksh; programs that only read files do not count. Default FAILOVERD (the name is
	// documented, that the program is called so is inferred).
	FailoverD string

	// Logger is told what the connections do. Nil is silent.
	Logger *slog.Logger
	// Poll is the pause between two looks at a host; 0 means 2 seconds.
	Poll time.Duration
	// Dial makes the TCP connections to both hosts, as [remote.Config] describes it; nil means the system's. A Failover
	// takes its errors for what they say: "no route" and a connect that times out show a host that is gone, so a proxy
	// must not make up either.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// SymRoot is the folder with SYM000 … SYM999. Default /SYM (documented).
	SymRoot string
	// RootInfoDir is the folder with RSJ's encrypted root information. Default /ops/bin (documented).
	RootInfoDir string
	// RSJ is the path of RSJ on both hosts. Default /ops/bin/RSJ (documented).
	RSJ string
	// StateDir is our own folder on both hosts: locks, the marks of each run, the macro's output. Default
	// /var/tmp/failover-symitar. The preflight writes there and removes what it wrote. It must be on a local file system
	// that does not move or replicate with the service, and be left alone by jobs that clean up temporary folders, such as
	// AIX's skulker.
	StateDir string
	// Shell runs our scripts, whatever the account's login shell is. Default /bin/sh. Any POSIX shell serves: ksh93, mksh,
	// bash, dash, ash, posh, yash and zsh are tested.
	Shell string
	// Path is the PATH of everything that runs on the hosts, since an SSH command reads no profile. Default is the
	// PATH that RSJ uses (documented), followed by /usr/local/bin and /bin.
	Path string
}

// HostConfig is one physical machine of the pair.
type HostConfig struct {
	Name string       // how the machine is called in plans, journals and reports; stable, unique within the pair
	SSH  failover.SSH // its own fixed administration address, and its own host key
	// MachineID is what "uname -m" prints on the machine. On AIX it identifies the box and survives renaming (inferred).
	MachineID string
	// Hostname is what "hostname" prints; empty leaves it unchecked, for sites whose macro renames the hosts.
	Hostname string
}

// On says on which side of the swap a command runs.
type On int

// The sides of a swap. They follow the direction: in a Failback the old primary is the Partner.
const (
	OnOldPrimary On = iota + 1 // the host that gives the role up
	OnNewPrimary               // the host that takes it
)

var onNames = []string{0: "", OnOldPrimary: "old-primary", OnNewPrimary: "new-primary"}

// String returns "old-primary" or "new-primary".
func (o On) String() string { return enum.Name(onNames, o) }

// MarshalText implements encoding.TextMarshaler.
func (o On) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *On) UnmarshalText(text []byte) error { return parseName((*int)(o), "side", onNames, text) }

// Mode says how the macro gets its input.
type Mode int

const (
	// ModeDetached runs the macro in the background without input. Lines that drop do not touch it.
	ModeDetached Mode = iota + 1
	// ModeAnswers is ModeDetached with the answers of Macro.Prompts on standard input, one line each, in order, whatever
	// is asked. The answers travel on the session's stdin; on the host they exist for a moment in a file of mode 0600.
	ModeAnswers
	// ModeHostExpect is ModeDetached under the host's expect program (RSJ itself needs it, documented), which gives the
	// macro a terminal and answers each of Macro.Prompts at most once. A question nobody expected is left unanswered.
	ModeHostExpect
)

var modeNames = []string{0: "", ModeDetached: "detached", ModeAnswers: "answers", ModeHostExpect: "host-expect"}

// String returns "detached", "answers" or "host-expect".
func (m Mode) String() string { return enum.Name(modeNames, m) }

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(text []byte) error {
	return parseName((*int)(m), "mode", modeNames, text)
}

// Macro says how the FAILOVER macro is called. No public text does, so nothing here is guessed.
type Macro struct {
	Path string // absolute path on both hosts; probably /SYM/MACROS/FAILOVER (inferred, hence no default)
	User string // the account that must run it; the SSH login has to be this one
	On   On     // where it is started for Switchover and Failback; Failover always uses the surviving host

	// The arguments per procedure. Nil is refused: write an empty list where the macro takes none.
	SwitchoverArgs []string
	FailoverArgs   []string // required by Failover only
	FailbackArgs   []string // required by Failback only; "in reverse" is all the vendor says

	Mode    Mode     // whether it asks questions; required
	Prompts []Prompt // for ModeAnswers and ModeHostExpect
	Expect  string   // path of expect for ModeHostExpect; default /usr/bin/expect (documented as RSJ's own)

	// Timeout is how long a run follows the macro. No typical duration is public; 60 minutes is a start. When it
	// passes, the macro is left running and the outcome is in doubt: nothing here ever kills it.
	Timeout time.Duration
	// Settle is how long after the macro's end the roles may take to show. Default 2 minutes.
	Settle time.Duration

	ExitOK  []int  // accepted exit statuses; default 0
	Success string // regular expression the output must contain; empty: not looked at
	Failure string // regular expression that must not occur, in addition to the texts RSJ treats as fatal (documented)
}

// Prompt is one question of the macro and its answer, given at most once.
type Prompt struct {
	Question string              // regular expression of expect (Tcl) in ModeHostExpect; a note for people in ModeAnswers
	Answer   failover.Secret     // sent with a line end; never shown
	Fetch    failover.SecretFunc // instead of Answer: called right before the launch
}

// Role says how a host's role is recognised. Candidates (inferred): a marker file of the site, the service address in
// netstat -in, active volume groups, a mounted /SYM, SYMITAR processes, clRGinfo -s.
type Role struct {
	Probes []RoleProbe // at least one; all are asked in one session
	// Quorum is how many probes must agree; more than half of them. Required.
	Quorum int
}

// RoleProbe is one command whose output tells the role.
type RoleProbe struct {
	Name      string // unique; shown with its vote
	Command   string // shell command line; it must change nothing; an exit status other than 0 is no vote
	Primary   string // regular expression: the host is primary
	Secondary string // regular expression: the host is secondary
}

// Replication says how far the secondary is behind. No public command shows it.
type Replication struct {
	Command string        // shell command line; it must change nothing
	On      On            // where it runs, seen from the coming swap
	Lag     string        // regular expression with one group: the number; where it matches often, the largest counts
	Unit    time.Duration // what one of that number is, for example time.Second
	MaxLag  time.Duration // accepted lag; 0 means none at all
	// Waiver is a person's statement in place of the probe. Either Command or Waiver is required.
	Waiver failover.Statement
}

// Licence is the check of the RSJ licences. Until June 2026 the vendor demanded that both systems have all their RSJ
// licences in a single file on both systems; the sentence was then withdrawn. File name and format were never public.
type Licence struct {
	Path string // empty: not checked, and the step says so
	User string // the account that must be able to read it; empty: the SSH login
	// Patterns are extended regular expressions that must each match a line, for example one per host. The file's
	// content never leaves the host.
	Patterns []string
}

// Agent is the OpCon UNIX agent (LSAM) on the hosts.
type Agent struct {
	// Control is its control script, whose "status" lists its processes by number, which tells it from another agent on
	// the host; default /usr/local/lsam/bin/lsam3100 (documented)
	Control string
	// Must are the processes that make up a running agent, by name without folder; default sma_lsam, sma_disp, sma_log
	// (documented)
	Must []string
	// Timeout limits starting and stopping it. Default 3 minutes; a start normally takes less than 30 seconds
	// (documented).
	Timeout time.Duration
}

// Verification is something that must hold after the swap, for example that the service address is on the new
// primary and absent from the old one, that the /SYM file systems are mounted, that services are on host.
type Verification struct {
	Name  string // part of the step's ID, for example "alias-on-new-primary"
	Title string // the sentence a runbook would have
	On    On     // where it is asked, seen from the swap
	// Command: shell command line; it must change nothing and end with 0: a command that failed proves nothing
	Command string
	Want    string // regular expression the output must contain
	// Reject: regular expression the output must not contain, which proves nothing where it is empty; Want or Reject is
	// required
	Reject string
	Within time.Duration // how long it may take to come true; default 5 minutes
}

// Limits are the figures of the preflight. Zero means the default.
type Limits struct {
	// DiskPercent: a file system or its inodes may be filled to less than this; default 90 (documented as SMA's own figure
	// before moves)
	DiskPercent int
	DiskIgnore  []string      // mount points that are not looked at, for example a CD-ROM
	ClockSkew   time.Duration // between the hosts; default 10 s
	// SMA_DATES may have been written this many days ago; default 3, to span a weekend (inferred)
	DatesAgeDays int
	ErrorsSince  time.Duration // how far back errpt is read; default 24 h
	// Look limits one look at a host: a probe that hangs is given up and asked again. Default 30 s. A command of the
	// configuration that takes longer never answers.
	Look time.Duration
	// Quiet is how long the procedures wait for jobs, batch queue and replication to come to rest. Required: the
	// operator knows the window.
	Quiet time.Duration
}

const (
	defaultStateDir = "/var/tmp/failover-symitar"
	defaultPath     = "/SYM/MACROS:/SYM/SYMPR:/usr/bin:/etc:/usr/sbin:/usr/ucb:/usr/bin/X11:/sbin:/SYM/OP/bin:/usr/local/bin:/bin"
)

// withDefaults fills in what a vendor states, and what was chosen here.
func (c Config) withDefaults() Config {
	c.SymRoot = cmp.Or(c.SymRoot, "/SYM")
	c.RootInfoDir = cmp.Or(c.RootInfoDir, "/ops/bin")
	c.StateDir = cmp.Or(c.StateDir, defaultStateDir)
	c.Shell = cmp.Or(c.Shell, "/bin/sh")
	c.RSJ = cmp.Or(c.RSJ, "/ops/bin/RSJ")
	c.Path = cmp.Or(c.Path, defaultPath)
	c.FailoverD = cmp.Or(c.FailoverD, "FAILOVERD")
	c.Poll = cmp.Or(c.Poll, 2*time.Second)
	c.Agent.Control = cmp.Or(c.Agent.Control, "/usr/local/lsam/bin/lsam3100")
	c.Agent.Timeout = cmp.Or(c.Agent.Timeout, 3*time.Minute)
	if c.Agent.Must == nil {
		c.Agent.Must = []string{"sma_lsam", "sma_disp", "sma_log"}
	}
	c.Macro.Expect = cmp.Or(c.Macro.Expect, "/usr/bin/expect")
	c.Macro.Settle = cmp.Or(c.Macro.Settle, 2*time.Minute)
	if c.Macro.ExitOK == nil {
		c.Macro.ExitOK = []int{0}
	}
	c.Limits.DiskPercent = cmp.Or(c.Limits.DiskPercent, 90)
	c.Limits.ClockSkew = cmp.Or(c.Limits.ClockSkew, 10*time.Second)
	c.Limits.DatesAgeDays = cmp.Or(c.Limits.DatesAgeDays, 3)
	c.Limits.ErrorsSince = cmp.Or(c.Limits.ErrorsSince, 24*time.Hour)
	c.Limits.Look = cmp.Or(c.Limits.Look, 30*time.Second)
	c.Verify = slices.Clone(c.Verify)
	for i := range c.Verify {
		c.Verify[i].Within = cmp.Or(c.Verify[i].Within, 5*time.Minute)
	}
	return c
}
