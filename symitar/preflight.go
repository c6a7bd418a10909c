package symitar

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

const (
	sourceFactSheet = "ours: read-only preflight, so that nothing is begun that cannot be finished"
	sourceDaemon    = "vendor, RSJ and FAILOVER: it is the recommendation that FAILOVERD not be run, but FAILOVER be " +
		"run manually, since nothing notifies OpCon that the primary was replaced"
	sourceSystem = "vendor, RSJ and FAILOVER: if FAILOVER or FAILOVERD is configured, the complete FAILOVER system must " +
		"be implemented as Symitar's technical discussion describes it, or RSJ will not run"
)

// preflight looks at the hosts before anything changes.
func (f firing) preflight() failover.Stage {
	var steps []failover.Step
	if !f.alive() {
		steps = append(steps, f.silentStep(false))
	}
	// A check that is firm nobody can waive. An entry check is about the start: every later look goes through the shell;
	// our own step stops the agent; dates and clocks are nothing that a swap could lose. All others stand until the macro
	// is fired.
	const firm, entry = 1, 2
	add := func(marks int, id, title, source string, see observe) {
		s := f.check(id, title, source, f.all, see)
		s.Firm, s.Entry = marks&firm != 0, marks&entry != 0
		steps = append(steps, s)
	}
	on := func(ask askHost) observe { return onEach(f.all, ask) }
	add(firm|entry, "shell", "Every account leads to a shell that runs our scripts", sourceFactSheet, on(usableShell))
	add(firm, "identity", "Each address leads to the machine it should: host key, machine id, host name, account",
		sourceFactSheet, on(identity))
	roles := f.rolesBefore()
	if roles.Entry = true; !f.alive() { // FAILOVERD may have swapped them already, and OpCon has to follow
		roles.Observe = f.orSwapped(roles.Observe)
	}
	steps = append(steps, roles)
	add(firm, "failoverd", "FAILOVERD does not run and nothing would start it", sourceDaemon, on(noFailoverD))
	add(firm, "foreign-macro", "Nobody runs the FAILOVER macro now",
		"ours: no public text says that running FAILOVER twice at once is harmless", on(noForeignMacro))
	add(firm, "macro", "The FAILOVER macro is there, can be executed, and is the same on both hosts", sourceSystem,
		f.macroEqual)
	add(firm, "launcher", "No run of ours is open, and the state directory is local, ours and can be written",
		sourceFactSheet, on(launcherFree))
	add(0, "licences", "All RSJ licences of both systems are in a single file on both systems", "vendor, RSJ and "+
		"FAILOVER, until June 2026: both the primary and the secondary system have all of their RSJ licenses in a single "+
		"file on both systems, or RSJ will not run after the macro", f.licences)
	add(0, "root-info", "RSJ's root information is on every host",
		"vendor, RSJ and FAILOVER: the encrypted root information is not replicated; check both hosts", on(rootInfo))
	add(0, "rsj", "RSJ is on every host and is the same", sourceSystem, f.rsjEqual)
	add(entry, "agent", "The OpCon agent answers", "vendor, UNIX agent: lsam status, dumptracking", f.agents)
	add(0, "agent-files", "The OpCon agent is installed on every host, in the same version, for the same OpCon servers",
		"vendor, move of an AIX system with Symitar: /ops/bin and the agent have to be on the box; copying folders alone "+
			"does not install it", f.agentFiles)
	add(0, "stale-locks", "No RSJ job was cut short before: no stale sma_lock",
		"vendor, RSJ: sma_lock holds the number of the process that made it", f.noStaleLocks)
	add(0, "disk", "No file system is nearly full", "vendor, host moves: file systems below 90 % before a move",
		on(diskRoom))
	add(entry, "sym-dates", "SMA_DATES is present and current in every SYM", "ours: RSJ takes its dates from it",
		f.symDates)
	add(entry, "clock", "The clocks of the hosts agree", sourceFactSheet, f.clocks)
	add(0, "errors", "The hosts report no permanent hardware errors", sourceFactSheet, on(noHardErrors))
	if lag := f.replication(false); lag != nil {
		// Where the procedure waits for the lag later, that wait stands.
		lag.Entry = f.on.set.Replication.Command != "" && f.alive()
		steps = append(steps, *lag)
	}
	return failover.Stage{Name: "preflight", Steps: steps}
}

func targets(hosts []*Host) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name()
	}
	return strings.Join(names, "+")
}

func identity(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "ask the machine who it is", identityScript)
	if err != nil {
		return failover.Item{}, err
	}
	kv := keyValues(out)
	found := fmt.Sprintf("machine %s, host name %s, logged in as %s", kv["machine"], kv["hostname"], kv["user"])
	var wrong []string
	if kv["machine"] != h.cfg.MachineID {
		wrong = append(wrong, "machine id should be "+h.cfg.MachineID)
	}
	if h.cfg.Hostname != "" && kv["hostname"] != h.cfg.Hostname {
		wrong = append(wrong, "host name should be "+h.cfg.Hostname)
	}
	if kv["user"] != h.set.Macro.User {
		wrong = append(wrong, "account should be "+h.set.Macro.User)
	}
	return unless(wrong, found+", but ", found)
}

func noFailoverD(ctx context.Context, h *Host) (failover.Item, error) {
	match := h.set.FailoverD
	list, err := h.programs(ctx, "", match)
	if err != nil {
		return failover.Item{}, err
	}
	var bad []string
	if len(list) > 0 {
		bad = append(bad, "runs as "+listed(list))
	}
	out, err := h.read(ctx, "look for what would start "+match, respawnScript)
	if err != nil {
		return failover.Item{}, err
	}
	out, whole := strings.CutSuffix(out, "looked=yes\n")
	found, dormant, unread, partly := parseRespawners(out, match)
	if !whole {
		unread = append(unread, "the answer is incomplete")
	}
	for _, r := range found {
		bad = append(bad, "would be started by "+failover.Printable(r))
	}
	for _, u := range unread {
		bad = append(bad, "not proven, "+u)
	}
	if len(bad) > 0 {
		return unwanted(match + " " + strings.Join(bad, "; "))
	}
	text := match + " absent"
	if dormant > 0 {
		text += fmt.Sprintf(" (%d entries that are switched off)", dormant)
	}
	if len(partly) > 0 {
		text += " as far as can be seen (" + strings.Join(partly, "; ") + ")"
	}
	return wanted(text)
}

func (f firing) macroEqual(ctx context.Context) (failover.Observation, error) {
	return f.sameFile(ctx, "the macro differs", func(ctx context.Context, h *Host) (sum, wrong string, err error) {
		out, err := h.read(ctx, "look at the macro", macroScript, h.set.Macro.Path)
		kv := keyValues(out)
		if kv["executable"] != "yes" {
			wrong = h.set.Macro.Path + " cannot be executed by " + kv["user"]
		}
		return kv["sum"], wrong, err
	})
}

// sameFile asks every host for the checksum of a file. differ is said when the hosts do not have the same.
func (f firing) sameFile(ctx context.Context, differ string,
	ask func(context.Context, *Host) (sum, wrong string, err error)) (failover.Observation, error) {
	sums := make([]string, len(f.all))
	obs, err := each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
		sum, wrong, err := ask(ctx, h)
		switch {
		case err != nil:
			return failover.Item{}, err
		case wrong != "":
			return unwanted(wrong)
		case sum == "":
			return unwanted("its checksum cannot be read")
		}
		sums[slices.Index(f.all, h)] = sum
		return wanted("checksum " + sum)
	})
	if same(sums) {
		differ = ""
	}
	return unlike(obs, err, differ)
}

// noOpenRun is said with and without a state directory: the pair lock of a run makes it, and that must not void an
// approval given before.
const noOpenRun = "no open run"

func launcherFree(ctx context.Context, h *Host) (failover.Item, error) {
	const op = "look at the state directory"
	mine, _, err := macroRunFact.Load(ctx)
	if err != nil {
		return failover.Item{}, err
	}
	a, err := h.repeat(ctx, op, stateDirScript, h.set.StateDir)
	dir, kv := h.set.StateDir, keyValues(a.out)
	r, known := refusals[a.exit]
	switch {
	case err != nil:
		return failover.Item{}, err
	case known:
		return unwanted(dir + ": " + r.cause + "; " + r.next + tail(" (", a.out) + ")")
	case a.exit != 0:
		return failover.Item{}, h.refused(op, failover.NotApplied, a)
	case kv["filesystem"] == "":
		return unwanted("df does not say on which file system " + dir + " is; it must be local")
	case strings.Contains(kv["filesystem"], ":"):
		return unwanted(dir + " is on the remote file system " + kv["filesystem"] + "; it must be local")
	case kv["state"] == "absent":
		return wanted(noOpenRun)
	case kv["state"] != "ours":
		return unwanted(dir + " is " + kv["state"] + "; it must belong to " + h.set.Macro.User + " with mode 0700")
	}
	owner, err := h.lockOwner(ctx)
	switch {
	case err != nil:
		return failover.Item{}, err
	case owner != "" && owner != string(mine.Run):
		return unwanted("run " + owner + " has the launcher's lock; " + h.freeLock(owner))
	}
	return wanted(noOpenRun)
}

func (f firing) licences(ctx context.Context) (failover.Observation, error) {
	l := f.on.set.Licence
	if l.Path == "" {
		return failover.Observation{Done: true, Found: "not checked: no licence file is configured. Sites whose RSJ still " +
			"reads licences need all of them in a single file on both systems"}, nil
	}
	return f.sameFile(ctx, "the licence files differ", func(ctx context.Context, h *Host) (sum, wrong string, err error) {
		out, err := h.read(ctx, "look at the licence file", licenceScript, append([]string{l.Path, l.User}, l.Patterns...)...)
		kv := keyValues(out)
		switch {
		case kv["state"] != "present":
			wrong = l.Path + " is " + kv["state"]
		case kv["unread"] != "":
			wrong = "Licence.Patterns: number " + kv["unread"] + " cannot be read by grep -E"
		case kv["unmatched"] != "":
			n := strings.Count(out, "unmatched=")
			wrong = fmt.Sprintf("%d of %d patterns match no line of %s", n, len(l.Patterns), l.Path)
		}
		return kv["sum"], wrong, err
	})
}

// replication is the check of the lag, or the statement that takes its place. Nil when nobody can be asked.
func (f firing) replication(wait bool) *failover.Step {
	const id = "replication"
	r := f.on.set.Replication
	title := "The secondary is not further behind than allowed"
	if r.Command == "" {
		s := r.Waiver.Step(id, title, f.dir.next.Name())
		return &s
	}
	host := f.dir.host(r.On)
	if !slices.Contains(f.all, host) {
		return nil // the dead host cannot be asked; the statement about it covers the loss
	}
	re := regexp.MustCompile(r.Lag)
	s := f.check(id, title, "ours: what is not replicated is lost by the swap", []*Host{host},
		func(ctx context.Context) (failover.Observation, error) {
			out, err := host.read(ctx, "read the replication lag", evalScript, r.Command)
			if err != nil {
				return failover.Observation{}, err
			}
			lag, why := r.worst(re.FindAllStringSubmatch(out, -1))
			switch {
			case why != "":
				return failover.Observation{Found: why + tail(": ", out)}, nil
			case lag > r.MaxLag:
				return failover.Observation{Found: "the lag exceeds " + r.MaxLag.String(), Note: lag.String()}, nil
			}
			return failover.Observation{Done: true, Found: "the lag is within " + r.MaxLag.String(), Note: lag.String()}, nil
		})
	if s.Firm, s.Wait = true, wait; wait {
		s.Timeout = f.on.set.Limits.Quiet
	}
	return &s
}

// worst returns the largest of the lags that the probe tells, one for each volume; or why they cannot be used.
func (r Replication) worst(lags [][]string) (lag time.Duration, why string) {
	if len(lags) == 0 {
		return 0, "the lag cannot be read from the probe's answer"
	}
	for _, m := range lags {
		n, err := strconv.ParseFloat(strings.TrimSpace(m[1]), 64)
		if err != nil || !(n >= 0) { // NaN is no number either
			return 0, "the lag is not a usable number: " + failover.Printable(m[1])
		}
		// What no duration can hold is more than is allowed.
		lag = max(lag, time.Duration(min(n*float64(r.Unit), math.MaxInt64/2)))
	}
	return lag, ""
}
