package symitartest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// Fault is something that goes wrong on the pair.
type Fault struct {
	Name  string
	About string
	// Stops tells that the procedure has to stop before the macro is fired.
	Stops bool
	// Gone tells that the primary is said to be gone: the fault belongs to the emergency procedure.
	Gone bool
	// Doubt tells that the macro was fired and the procedure has to stop until a person has looked.
	Doubt bool
	// arm changes the hosts' folders; most faults are played by the macro or the server, by name.
	arm func(*Pair) error
}

// Faults lists what can be armed, in alphabetical order.
func Faults() []Fault {
	on := func(name, file, text string) func(*Pair) error {
		return func(p *Pair) error { return p.Put(name, file, text) }
	}
	list := []Fault{
		{Name: "drop-before-launch", About: "the line drops when the launcher's request arrives; it does not run"},
		{Name: "drop-after-launch", About: "the macro is launched, then the line drops"},
		{Name: "no-status-after-launch", About: "the macro is launched, the channel closes without an exit status"},
		{Name: "flaky-line", About: "every eleventh command is lost with its line"},
		{Name: "noisy-shell", About: "a banner and the shell's ENV file print before every answer"},
		{Name: "big-log", About: "the macro prints ten megabytes"},
		{Name: "login-menu", About: "the secondary shows a menu instead of running commands", Stops: true},
		{Name: "swap-cuts-lines", About: "both hosts cut every line in the middle of the swap and stay away for a moment"},
		{Name: "exit0-unchanged", About: "the macro says it is complete and exits 0, the roles are unchanged", Doubt: true},
		{Name: "nonzero-swapped", About: "the macro exits 3, the roles are swapped"},
		{Name: "nonzero-unchanged", About: "the macro exits 5, the roles are unchanged", Doubt: true},
		{Name: "fatal-text", About: "the macro prints a text that RSJ treats as fatal and exits 0, the roles are unchanged",
			Doubt: true},
		{Name: "fatal-text-swapped", About: "the macro prints a text that RSJ treats as fatal, the roles are swapped; a " +
			"person has to look",
			Doubt: true},
		{Name: "reboot-before-swap", About: "the host reboots under the macro before it changed anything", Doubt: true},
		{Name: "reboot-in-the-middle", About: "the host reboots under the macro when no host is primary", Doubt: true},
		{Name: "reboot-after-swap", About: "the host reboots under the macro when the roles are swapped already"},
		{Name: "unexpected-prompt", About: "the macro asks a question nobody expected", Doubt: true},
		{Name: "macro-hangs", About: "the macro never ends", Doubt: true},
		{Name: "lock-held", About: "another run has the launcher's lock on the secondary", Stops: true,
			arm: func(p *Pair) error {
				return p.Put(Partner, "var/tmp/failover/lock/run", strings.Repeat("ab", 16)+"\n")
			}},
		{Name: "pair-locked", About: "somebody else runs a procedure on the pair", Stops: true, arm: func(p *Pair) error {
			return p.putAll(Partner, map[string]string{"var/tmp/failover/pair.lock/id": "other\n",
				"var/tmp/failover/pair.lock/claim": `{"id":"other","owner":"night shift","purpose":"symitar.Switchover: drill","since":"2026-11-23T02:00:00Z"}` + "\n"})
		}},
		{Name: "failoverd-on-secondary", About: "FAILOVERD runs on the secondary", Stops: true, arm: func(p *Pair) error {
			return p.add(Partner, "etc/processes", "23456789 1 root /usr/bin/ksh /SYM/SYMPR/failoverd -b\n")
		}},
		{Name: "failoverd-respawn", About: "FAILOVERD does not run, but inittab would start it", Stops: true,
			arm: func(p *Pair) error {
				return p.add(Home, "etc/inittab", "failovd:2:respawn:/SYM/SYMPR/FAILOVERD >/dev/console 2>&1\n")
			}},
		{Name: "peer-key", About: "the secondary's address shows the primary's host key", Stops: true},
		{Name: "two-primaries", About: "both hosts say they are primary before anything is done", Stops: true,
			arm: on(Partner, "etc/role", "primary\n")},
		{Name: "no-primary", About: "no host says it is primary", Stops: true, arm: on(Home, "etc/role", "secondary\n")},
		{Name: "macro-differs", About: "the macro is not the same on both hosts", Stops: true, arm: func(p *Pair) error {
			return p.add(Partner, "SYM/MACROS/FAILOVER", "# an old copy\n")
		}},
		{Name: "licences-differ", About: "the licence files of the hosts differ", Stops: true,
			arm: on(Partner, "ops/bin/licences", "RSJ "+Partner+" 0002\n")},
		{Name: "disk-full", About: "a file system of the secondary is nearly full", Stops: true, arm: func(p *Pair) error {
			return p.add(Partner, "etc/filesystems", "/dev/hd3          1048576     10485   99%     2345    12% /tmp\n")
		}},
		{Name: "clock-skew", About: "the secondary's clock is wrong by ten minutes", Stops: true,
			arm: on(Partner, "etc/skew", "600\n")},
		{Name: "replication-lag", About: "the secondary is an hour behind", Stops: true, arm: on(Home, "etc/lag", "3600\n")},
		{Name: "hardware-error", About: "the primary reports a permanent hardware error", Stops: true,
			arm: on(Home, "etc/errors",
				"IDENTIFIER TIMESTAMP  T C RESOURCE_NAME  DESCRIPTION\nBFE4C025   1123041526 P H sysplanar0     UNDETERMINED ERROR\n")},
		{Name: "rsj-never-ends", About: "an RSJ job runs and does not end", Stops: true, arm: func(p *Pair) error {
			return p.add(Home, "etc/processes", "34567890 1 SYM000 /usr/bin/perl /ops/bin/RSJ 000 NIGHTLY\n")
		}},
		{Name: "stale-lock", About: "an RSJ job was cut short some time ago and left its lock", Stops: true,
			arm: on(Home, "SYM/SYM000/sma_lock", "99999999 20261122 NIGHTLY CLOSEDAY\n")},
		{Name: "batch-busy", About: "a batch job is queued and does not end", Stops: true,
			arm: on(Home, "etc/queue", idleQueue+"\n      BATCH1   Queued   001234 CLOSEDAY             SYM000\n")},
		{Name: "runner-killed", About: "somebody ends the launcher's wrapper; the macro works on"},
		{Name: "macro-forks", About: "the macro forks and ends at once; its child swaps the roles later"},
		{Name: "leaves-services", About: "the macro leaves a service running behind it"},
		{Name: "foreign-macro", About: "a colleague has typed FAILOVER on the primary, and it runs", Stops: true,
			arm: func(p *Pair) error {
				return p.add(Home, "etc/processes", "34567891 1 root /usr/bin/ksh "+Root+"/SYM/MACROS/FAILOVER -swap\n")
			}},
		{Name: "foreign-macro-on-secondary", About: "a colleague has typed FAILOVER on the secondary, and it runs",
			Stops: true, arm: func(p *Pair) error {
				return p.add(Partner, "etc/processes", "34567891 1 root /usr/bin/ksh "+Root+"/SYM/MACROS/FAILOVER -takeover\n")
			}},
		{Name: "ps-fails", About: "the primary's ps ends with an error and prints nothing", Stops: true,
			arm: on(Home, "etc/ps-fault", "fails\n")},
		{Name: "ps-header", About: "the primary's ps prints its header only, and ends with 0", Stops: true,
			arm: on(Home, "etc/ps-fault", "header\n")},
		{Name: "statedir-readonly", About: "the state directory's file system is read-only on the secondary", Stops: true,
			arm: func(p *Pair) error {
				return p.refuseMkdir(Partner, "/var/tmp/", "Read-only file system", "1048576")
			}},
		{Name: "statedir-full", About: "the primary's state directory fills up between the launcher's lock and the run's folder", Stops: true, arm: func(p *Pair) error {
			return p.refuseMkdir(Home, "/run.", "No space left on device", "0")
		}},
		{Name: "probe-hangs", About: "a role probe hangs on the new primary right after the swap"},
		{Name: "csh-login", About: "the account's login shell is a C shell on both hosts"},
		{Name: "hostile-text", About: "the macro prints control sequences that clear the screen and forge a line of the run"},
		{Name: "rsj-missing", About: "RSJ is not on the secondary", Stops: true, arm: func(p *Pair) error {
			return os.Remove(p.hosts[Partner].path("ops/bin/RSJ"))
		}},
		{Name: "agent-missing", About: "the OpCon agent is not installed on the secondary", Stops: true,
			arm: func(p *Pair) error {
				return os.Remove(p.hosts[Partner].path("bin/lsam3100"))
			}},
		{Name: "primary-no-kex", Gone: true,
			About: "the primary lives, and its SSH server offers only algorithms that are refused", Stops: true},
		{Name: "primary-full", Gone: true, About: "the primary lives, and its SSH server is full: it hangs up", Stops: true},
		{Name: "primary-hangs", Gone: true, About: "the primary lives, and its SSH server takes connections and says nothing",
			Stops: true},
		{Name: "primary-refuses", Gone: true,
			About: "the primary lives, and its SSH server is stopped: the kernel refuses the connection", Stops: true},
		{Name: "primary-returns", Gone: true,
			About: "somebody switches the primary on again while the emergency is under way", Stops: true,
			arm: func(p *Pair) error { return p.PowerOff(Home) }},
		{Name: "primary-slow-probe", Gone: true, About: "the primary lives, and its role probe takes longer than a look",
			Stops: true},
		{Name: "agent-stuck", About: "the agent on the primary does not stop", Stops: true,
			arm: on(Home, "etc/agent-stuck", "stop\n")},
	}
	slices.SortFunc(list, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Go lets a macro go on that waits: with the fault "waits", which is not in the list, it does until then.
func (p *Pair) Go() error { return os.WriteFile(filepath.Join(p.dir, "go"), nil, 0o600) }

// Arm arms a fault. Arming the one that is armed already, as a second process over the same folder does, changes
// nothing. Arm before Config: some faults change the host keys or the time limits.
func (p *Pair) Arm(name string) error {
	if name == "" || p.Armed() == name {
		return nil
	}
	all := Faults()
	at := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
	if at < 0 && name != "prompts" && name != "waits" {
		return failover.Invalid("fault", strconv.Quote(name)+" is unknown", "use one of symitartest.Faults")
	}
	if at >= 0 && all[at].arm != nil {
		if err := all[at].arm(p); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "fault"), []byte(name+"\n"), 0o600); err != nil {
		return err
	}
	return p.restart(name)
}

// restart starts the servers anew that a fault changes.
func (p *Pair) restart(fault string) error {
	for name, which := range map[string]bool{Home: fault == "csh-login" || strings.HasPrefix(fault, "primary-"),
		Partner: fault == "csh-login" || fault == "peer-key"} {
		if !which {
			continue
		}
		h := p.hosts[name]
		h.stop()
		if err := h.start(); err != nil {
			return err
		}
	}
	return nil
}

// refuseMkdir makes mkdir on a host refuse every path that holds part.
func (p *Pair) refuseMkdir(name, part, why, room string) error {
	h := p.hosts[name]
	if err := h.write("etc/room", room+"\n"); err != nil {
		return err
	}
	text := "#!/bin/sh\nfor path; do :; done\ncase $path in *" + part + "*) echo \"mkdir: cannot create directory " +
		"'$path': " + why + "\" >&2; exit 1 ;; esac\nPATH=/usr/bin:/bin exec mkdir \"$@\"\n"
	return os.WriteFile(h.path("bin/mkdir"), []byte(text), 0o700) //nolint:gosec // a program
}

// Repair takes the armed fault away, as a person does who follows what the procedure said when it stopped: the foreign
// macro has ended, ps works again, the file system has room, the primary that lived is switched off.
func (p *Pair) Repair() error {
	fault := p.Armed()
	if err := os.WriteFile(filepath.Join(p.dir, "fault"), nil, 0o600); err != nil {
		return err
	}
	if strings.HasPrefix(fault, "primary-") {
		return p.PowerOff(Home)
	}
	for _, h := range p.hosts {
		for _, file := range []string{"etc/ps-fault", "bin/mkdir", "etc/agent-stuck", "SYM/SYM000/sma_lock",
			"var/tmp/failover/pair.lock", "var/tmp/failover/lock"} {
			if err := os.RemoveAll(h.path(file)); err != nil {
				return err
			}
		}
		if err := h.write("etc/room", "1048576\n"); err != nil {
			return err
		}
		if err := h.furnish(); err != nil {
			return err
		}
	}
	if fault == "two-primaries" || fault == "no-primary" {
		for name, role := range map[string]string{Home: "primary", Partner: "secondary"} {
			if err := p.Put(name, "etc/role", role+"\n"); err != nil {
				return err
			}
		}
	}
	return p.restart(fault)
}

// Armed returns the fault that is armed, or "".
func (p *Pair) Armed() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "fault"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Put writes a file of a host, path relative to the host's folder.
func (p *Pair) Put(name, file, text string) error {
	h := p.hosts[name]
	if err := os.MkdirAll(filepath.Dir(h.path(file)), 0o700); err != nil {
		return err
	}
	return h.write(file, text)
}

func (p *Pair) putAll(name string, files map[string]string) error {
	for file, text := range files {
		if err := p.Put(name, file, text); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pair) add(name, file, text string) error {
	f, err := os.OpenFile(p.hosts[name].path(file), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// strikes reports whether a fault that happens once happens now. The mark outlives the process.
func (p *Pair) strikes() bool {
	return os.Mkdir(filepath.Join(p.dir, "fault-struck"), 0o700) == nil
}

// every reports whether this is the n-th call.
func (p *Pair) every(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := filepath.Join(p.dir, "calls")
	text, _ := os.ReadFile(path) //nolint:gosec // a missing count is the first call
	count, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	count++
	_ = os.WriteFile(path, []byte(strconv.Itoa(count)), 0o600)
	return count%n == 0
}
