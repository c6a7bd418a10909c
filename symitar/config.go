package symitar

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
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
	FailoverD   FailoverD      // how the daemon is recognised
	Licence     Licence        // the optional check of RSJ's licences
	Agent       Agent          // OpCon's agent on the hosts
	Limits      Limits         // figures of the preflight; Quiet is required
	Verify      []Verification // what else must hold after the swap; each becomes a step
	OpCon       *OpCon         // nil: the procedures contain manual steps with the vendor's text instead

	// SymRoot is the folder with SYM000 … SYM999. Default /SYM (documented).
	SymRoot string
	// RootInfoDir is the folder with RSJ's encrypted root information. Default /ops/bin (documented).
	RootInfoDir string
	// StateDir is our own folder on both hosts: locks, the marks of each run, the macro's output. Default
	// /var/tmp/failover-symitar. It must be on a local file system that does not move or replicate with the service, and
	// be left alone by jobs that clean up temporary folders, such as AIX's skulker.
	StateDir string
	// Shell runs our scripts. Default /bin/sh. Any POSIX shell serves; ksh93, bash and dash are tested.
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
	OldPrimary On = iota + 1 // the host that gives the role up
	NewPrimary               // the host that takes it
)

var onNames = []string{0: "", OldPrimary: "old-primary", NewPrimary: "new-primary"}

// String returns "old-primary" or "new-primary".
func (o On) String() string { return name(onNames, int(o)) }

// MarshalText implements encoding.TextMarshaler.
func (o On) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *On) UnmarshalText(text []byte) error { return parseName((*int)(o), "side", onNames, text) }

// Mode says how the macro gets its input.
type Mode int

const (
	// Detached runs the macro in the background without input. Lines that drop do not touch it.
	Detached Mode = iota + 1
	// Answers is Detached with the answers of Macro.Prompts on standard input, one line each, in order, whatever is
	// asked. The answers travel on the session's stdin; on the host they exist for a moment in a file of mode 0600.
	Answers
	// HostExpect is Detached under the host's expect program (RSJ itself needs it, documented), which gives the macro
	// a terminal and answers each of Macro.Prompts at most once. A question nobody expected is left unanswered.
	HostExpect
)

var modeNames = []string{0: "", Detached: "detached", Answers: "answers", HostExpect: "host-expect"}

// String returns "detached", "answers" or "host-expect".
func (m Mode) String() string { return name(modeNames, int(m)) }

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
	Prompts []Prompt // for Answers and HostExpect
	Expect  string   // path of expect for HostExpect; default /usr/bin/expect (documented as RSJ's own)

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
	Question string              // regular expression of expect (Tcl) in HostExpect; a note for people in Answers
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
	Lag     string        // regular expression with one group: the number
	Unit    time.Duration // what one of that number is, for example time.Second
	MaxLag  time.Duration // accepted lag; 0 means none at all
	// Waiver is a person's statement in place of the probe. Either Command or Waiver is required.
	Waiver failover.Statement
}

// FailoverD says how the daemon is recognised.
type FailoverD struct {
	// Match is the daemon's name, compared with the last part of each command's path, ignoring case. Default FAILOVERD
	// (the name is documented, that the program is called so is inferred).
	Match string
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
	Control string   // control script; default /usr/local/lsam/bin/lsam3100 (documented)
	Must    []string // processes that make up a running agent; default sma_lsam, sma_disp, sma_log (documented)
	// Timeout limits starting and stopping it. Default 3 minutes; a start normally takes less than 30 seconds (documented).
	Timeout time.Duration
}

// Verification is something that must hold after the swap, for example that the service address is on the new
// primary and absent from the old one, that the /SYM file systems are mounted, that services are on host.
type Verification struct {
	Name    string        // part of the step's ID, for example "alias-on-new-primary"
	Title   string        // the sentence a runbook would have
	On      On            // where it is asked, seen from the swap
	Command string        // shell command line; it must change nothing
	Want    string        // regular expression the output must contain
	Reject  string        // regular expression the output must not contain; Want or Reject is required
	Within  time.Duration // how long it may take to come true; default 5 minutes
}

// Limits are the figures of the preflight. Zero means the default.
type Limits struct {
	DiskPercent  int           // a file system or its inodes may be filled to less than this; default 90 (documented as SMA's own figure before moves)
	DiskIgnore   []string      // mount points that are not looked at, for example a CD-ROM
	ClockSkew    time.Duration // between the hosts; default 10 s
	DatesAgeDays int           // SMA_DATES may have been written this many days ago; default 3, to span a weekend (inferred)
	ErrorsSince  time.Duration // how far back errpt is read; default 24 h
	// Quiet is how long the procedures wait for jobs, batch queue and replication to come to rest. Required: the
	// operator knows the window.
	Quiet time.Duration
}

// Documented or chosen defaults.
const (
	defaultSymRoot   = "/SYM"
	defaultRootInfo  = "/ops/bin"
	defaultStateDir  = "/var/tmp/failover-symitar"
	defaultShell     = "/bin/sh"
	defaultPath      = "/SYM/MACROS:/SYM/SYMPR:/usr/bin:/etc:/usr/sbin:/usr/ucb:/usr/bin/X11:/sbin:/SYM/OP/bin:/usr/local/bin:/bin"
	defaultControl   = "/usr/local/lsam/bin/lsam3100"
	defaultFailoverD = "FAILOVERD"
	defaultExpect    = "/usr/bin/expect"
	defaultSettle    = 2 * time.Minute
	defaultWithin    = 5 * time.Minute
	defaultAgentTime = 3 * time.Minute
)

// withDefaults fills in what a vendor states.
func (c Config) withDefaults() Config {
	text := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	text(&c.SymRoot, defaultSymRoot)
	text(&c.RootInfoDir, defaultRootInfo)
	text(&c.StateDir, defaultStateDir)
	text(&c.Shell, defaultShell)
	text(&c.Path, defaultPath)
	text(&c.Agent.Control, defaultControl)
	text(&c.FailoverD.Match, defaultFailoverD)
	text(&c.Macro.Expect, defaultExpect)
	if c.Agent.Must == nil {
		c.Agent.Must = []string{"sma_lsam", "sma_disp", "sma_log"}
	}
	if c.Agent.Timeout == 0 {
		c.Agent.Timeout = defaultAgentTime
	}
	if c.Macro.ExitOK == nil {
		c.Macro.ExitOK = []int{0}
	}
	if c.Macro.Settle == 0 {
		c.Macro.Settle = defaultSettle
	}
	if c.Limits.DiskPercent == 0 {
		c.Limits.DiskPercent = 90
	}
	if c.Limits.ClockSkew == 0 {
		c.Limits.ClockSkew = 10 * time.Second
	}
	if c.Limits.DatesAgeDays == 0 {
		c.Limits.DatesAgeDays = 3
	}
	if c.Limits.ErrorsSince == 0 {
		c.Limits.ErrorsSince = 24 * time.Hour
	}
	c.Verify = slices.Clone(c.Verify)
	for i := range c.Verify {
		if c.Verify[i].Within == 0 {
			c.Verify[i].Within = defaultWithin
		}
	}
	return c
}

// Validate refuses a configuration the procedures could not run safely with. It is called by [NewPair].
func (c Config) Validate() error {
	c = c.withDefaults()
	checks := []func() error{
		func() error { return c.Home.validate("Config.Home") },
		func() error { return c.Partner.validate("Config.Partner") },
		c.validateHosts, c.Macro.validate, c.Role.validate, c.Replication.validate, c.validatePaths, c.validateLimits,
		c.Licence.validate, c.validateVerify, c.validateOpCon,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (h HostConfig) validate(field string) error {
	switch {
	case h.Name == "":
		return failover.Invalid(field+".Name", "is empty", "give the machine the name people use for it")
	case strings.ContainsAny(h.Name, " \t\n/"):
		return failover.Invalid(field+".Name", strconv.Quote(h.Name)+" contains a blank or a slash", "use one word")
	case h.MachineID == "":
		return failover.Invalid(field+".MachineID", "is empty", "fill in what \"uname -m\" prints on "+h.Name)
	}
	return h.SSH.Validate(field + ".SSH")
}

func (c Config) validateHosts() error {
	switch {
	case c.Home.Name == c.Partner.Name:
		return failover.Invalid("Config.Partner.Name", "is the same as Home.Name", "give each machine its own name")
	case c.Home.SSH.Address == c.Partner.SSH.Address:
		return failover.Invalid("Config.Partner.SSH.Address", "is the same as Home's", "give each machine's own fixed administration address, never an alias that moves")
	case c.Home.MachineID == c.Partner.MachineID:
		return failover.Invalid("Config.Partner.MachineID", "is the same as Home's", "fill in what \"uname -m\" prints on "+c.Partner.Name)
	}
	for _, key := range c.Home.SSH.HostKeys {
		if slices.Contains(c.Partner.SSH.HostKeys, key) {
			return failover.Invalid("Config.Partner.SSH.HostKeys", "contains a key of Home", "pin each machine's own key; two machines must not share one")
		}
	}
	return nil
}

func (m Macro) validate() error {
	const ask = "; no public text says, ask Jack Henry or look into your own runbook"
	switch {
	case m.Path == "":
		return failover.Invalid("Config.Macro.Path", "is empty", "fill in the absolute path of the FAILOVER macro, probably /SYM/MACROS/FAILOVER"+ask)
	case !path.IsAbs(m.Path) || strings.ContainsAny(m.Path, "\n"):
		return failover.Invalid("Config.Macro.Path", strconv.Quote(m.Path)+" is not an absolute path", "write the path from / on")
	case m.User == "":
		return failover.Invalid("Config.Macro.User", "is empty", "fill in the account that must run the macro"+ask)
	case m.On != OldPrimary && m.On != NewPrimary:
		return failover.Invalid("Config.Macro.On", "is not set", "say on which host the macro is started, OldPrimary or NewPrimary"+ask)
	case m.SwitchoverArgs == nil:
		return failover.Invalid("Config.Macro.SwitchoverArgs", "is not set", "fill in the macro's arguments, an empty list where it takes none"+ask)
	case m.Mode < Detached || m.Mode > HostExpect:
		return failover.Invalid("Config.Macro.Mode", "is not set", "say whether the macro asks questions: Detached, Answers or HostExpect"+ask)
	case m.Mode == Detached && len(m.Prompts) > 0:
		return failover.Invalid("Config.Macro.Prompts", "is set, but Mode is detached", "use Mode Answers or HostExpect, or remove the prompts")
	case m.Mode != Detached && len(m.Prompts) == 0:
		return failover.Invalid("Config.Macro.Prompts", "is empty, but Mode is "+m.Mode.String(), "list the questions and answers, or use Mode Detached")
	case m.Timeout <= 0:
		return failover.Invalid("Config.Macro.Timeout", "is not set", "choose how long to follow the macro, for example 60 minutes"+ask)
	case m.Settle < 0:
		return failover.Invalid("Config.Macro.Settle", "is negative", "use zero for the default")
	}
	for i, p := range m.Prompts {
		field := fmt.Sprintf("Config.Macro.Prompts[%d]", i)
		switch {
		case m.Mode == HostExpect && p.Question == "":
			return failover.Invalid(field+".Question", "is empty", "write a regular expression for the question")
		case p.Answer.Empty() && p.Fetch == nil:
			return failover.Invalid(field+".Answer", "is empty", "give the answer, or a function that fetches it")
		case strings.ContainsAny(p.Answer.Reveal(), "\n\r"):
			return failover.Invalid(field+".Answer", "contains a line end", "give one line; the line end is added")
		}
	}
	for _, args := range [][]string{m.SwitchoverArgs, m.FailoverArgs, m.FailbackArgs, {m.Path}} {
		for _, arg := range args {
			if strings.ContainsRune(arg, 0) {
				return failover.Invalid("Config.Macro", "an argument contains a NUL byte", "remove it")
			}
		}
	}
	return compiles(map[string]string{"Config.Macro.Success": m.Success, "Config.Macro.Failure": m.Failure})
}

func (r Role) validate() error {
	const ask = "no public text says how a role shows; candidates are a marker file, the service address in netstat -in, lsvg -o, a mounted /SYM"
	if len(r.Probes) == 0 {
		return failover.Invalid("Config.Role.Probes", "is empty", "fill in at least one command that tells the role; "+ask)
	}
	if r.Quorum <= len(r.Probes)/2 || r.Quorum > len(r.Probes) {
		return failover.Invalid("Config.Role.Quorum", fmt.Sprintf("is %d of %d probes", r.Quorum, len(r.Probes)), "choose more than half of the probes and not more than there are")
	}
	seen := map[string]bool{}
	for i, p := range r.Probes {
		field := fmt.Sprintf("Config.Role.Probes[%d]", i)
		switch {
		case p.Name == "" || seen[p.Name]:
			return failover.Invalid(field+".Name", "is empty or used twice", "give each probe its own name")
		case p.Command == "":
			return failover.Invalid(field+".Command", "is empty", ask)
		case p.Primary == "" || p.Secondary == "":
			return failover.Invalid(field, "does not say both what a primary and what a secondary shows", "fill in the regular expressions Primary and Secondary")
		}
		seen[p.Name] = true
		if err := compiles(map[string]string{field + ".Primary": p.Primary, field + ".Secondary": p.Secondary}); err != nil {
			return err
		}
	}
	return nil
}

func (r Replication) validate() error {
	const field = "Config.Replication"
	if r.Command == "" {
		if r.Waiver == (failover.Statement{}) {
			return failover.Invalid(field+".Command", "is empty", "fill in the command that shows how far the secondary is behind, or give a Waiver with a person's statement; no public command shows it")
		}
		return r.Waiver.Validate(field + ".Waiver")
	}
	switch {
	case r.Waiver != (failover.Statement{}):
		return failover.Invalid(field+".Waiver", "is set together with Command", "choose one of them")
	case r.On != OldPrimary && r.On != NewPrimary:
		return failover.Invalid(field+".On", "is not set", "say where the command runs, OldPrimary or NewPrimary")
	case r.Unit <= 0:
		return failover.Invalid(field+".Unit", "is not set", "say what one of the number is, for example a second")
	case r.MaxLag < 0:
		return failover.Invalid(field+".MaxLag", "is negative", "use zero for no lag at all")
	}
	re, err := regexp.Compile(r.Lag)
	if err != nil || re.NumSubexp() != 1 {
		return failover.Invalid(field+".Lag", strconv.Quote(r.Lag)+" is not a regular expression with exactly one group", "write for example lag=([0-9]+)")
	}
	return nil
}

func (l Licence) validate() error {
	if l.Path == "" && (l.User != "" || len(l.Patterns) > 0) {
		return failover.Invalid("Config.Licence.Path", "is empty, but User or Patterns is set", "fill in the path of the licence file")
	}
	if l.Path != "" && !path.IsAbs(l.Path) {
		return failover.Invalid("Config.Licence.Path", strconv.Quote(l.Path)+" is not an absolute path", "write the path from / on")
	}
	return nil
}

func (c Config) validatePaths() error {
	for field, value := range map[string]string{"Config.SymRoot": c.SymRoot, "Config.RootInfoDir": c.RootInfoDir, "Config.StateDir": c.StateDir, "Config.Shell": c.Shell, "Config.Agent.Control": c.Agent.Control} {
		if !path.IsAbs(value) || path.Clean(value) != value || strings.ContainsAny(value, "\n\t") {
			return failover.Invalid(field, strconv.Quote(value)+" is not a clean absolute path", "write the path from / on, without . or .. or a slash at the end")
		}
	}
	if c.StateDir == "/" || c.StateDir == c.SymRoot || strings.HasPrefix(c.StateDir, c.SymRoot+"/") {
		return failover.Invalid("Config.StateDir", strconv.Quote(c.StateDir)+" is below "+c.SymRoot, "choose a local folder that does not move or replicate with the service, for example "+defaultStateDir)
	}
	return nil
}

func (c Config) validateLimits() error {
	switch l := c.Limits; {
	case l.DiskPercent < 1 || l.DiskPercent > 100:
		return failover.Invalid("Config.Limits.DiskPercent", "is "+strconv.Itoa(l.DiskPercent), "choose 1 to 100")
	case l.ClockSkew < 0 || l.DatesAgeDays < 0 || l.ErrorsSince < 0 || c.Agent.Timeout < 0:
		return failover.Invalid("Config.Limits or Config.Agent.Timeout", "is negative", "use zero for the default")
	case l.Quiet <= 0:
		return failover.Invalid("Config.Limits.Quiet", "is not set", "choose how long to wait for jobs and batch queue to come to rest, for example 30 minutes")
	}
	return nil
}

func (c Config) validateVerify() error {
	seen := map[string]bool{"roles": true, "macro-result": true, "failoverd": true, "sym-dates": true, "old-primary-silent": true}
	for i, v := range c.Verify {
		field := fmt.Sprintf("Config.Verify[%d]", i)
		switch {
		case v.Name == "" || seen[v.Name] || strings.ContainsAny(v.Name, " \t\n/"):
			return failover.Invalid(field+".Name", strconv.Quote(v.Name)+" is empty, taken or not one word", "give each verification its own name")
		case v.Title == "":
			return failover.Invalid(field+".Title", "is empty", "write the sentence a runbook would have")
		case v.On != OldPrimary && v.On != NewPrimary:
			return failover.Invalid(field+".On", "is not set", "say where the command runs, OldPrimary or NewPrimary")
		case v.Command == "":
			return failover.Invalid(field+".Command", "is empty", "fill in a command that changes nothing")
		case v.Want == "" && v.Reject == "":
			return failover.Invalid(field+".Want", "is empty, and so is Reject", "say what the output must or must not contain")
		case v.Within < 0:
			return failover.Invalid(field+".Within", "is negative", "use zero for the default")
		}
		seen[v.Name] = true
		if err := compiles(map[string]string{field + ".Want": v.Want, field + ".Reject": v.Reject}); err != nil {
			return err
		}
	}
	return nil
}

func compiles(fields map[string]string) error {
	for field, text := range fields {
		if _, err := regexp.Compile(text); err != nil {
			return failover.Invalid(field, err.Error(), "write a regular expression in Go's syntax")
		}
	}
	return nil
}

func name(names []string, n int) string {
	if n < 0 || n >= len(names) {
		return strconv.Itoa(n)
	}
	return names[n]
}

func parseName(into *int, kind string, names []string, text []byte) error {
	if n := slices.Index(names, string(text)); n > 0 {
		*into = n
		return nil
	}
	return failover.Invalid(kind, strconv.Quote(string(text))+" is unknown", "use one of "+strings.Join(names[1:], ", "))
}
