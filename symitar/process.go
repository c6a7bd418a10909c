package symitar

import (
	"context"
	"path"
	"regexp"
	"strings"

	"github.com/01b61c5c/failover"
)

// programRow is a process that runs a program, or may run it.
type programRow struct {
	program string // which of the names that were asked for
	process string // number, account and command line
}

// programs looks in the list of all processes for the programs called names. Those of the run, which may be "", are
// left out. A list that cannot be trusted is an error: what it does not show may be there all the same.
func (h *Host) programs(ctx context.Context, run RunID, names ...string) ([]programRow, error) {
	const op = "look at the processes"
	args := append([]string{h.set.StateDir, string(run), h.set.Macro.Path}, names...)
	out, err := h.read(ctx, op, programsScript, args...)
	if err != nil {
		return nil, err
	}
	var found []programRow
	me := false
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if why, ok := strings.CutPrefix(line, "unseen="); ok {
			return nil, h.notApplied(op, "run ps -eo pid,ppid,pgid,user,etime,args by hand as "+h.set.Macro.User+" and see "+
				"what is wrong", "%w: nothing is proven by this list of processes: %s", errAnswerIncomplete, why)
		}
		if rest, ok := strings.CutPrefix(line, "named="); ok {
			name, process, _ := strings.Cut(rest, " ")
			found = append(found, programRow{name, process})
		}
		me = me || strings.HasPrefix(line, "me=")
	}
	if !me {
		return nil, h.notApplied(op, "see whether awk works on the host", "%w: the list of processes was not read",
			errAnswerIncomplete)
	}
	return found, nil
}

func listed(found []programRow) string {
	var list []string
	for _, r := range found {
		list = append(list, "process "+failover.Printable(r.process))
	}
	return strings.Join(list, ", ")
}

// name is the macro's name as it stands in a list of processes.
func (m Macro) name() string { return path.Base(m.Path) }

// noForeignMacro makes sure that nobody else runs the macro: a colleague who typed it, or FAILOVERD a moment ago.
func noForeignMacro(ctx context.Context, h *Host) (failover.Item, error) {
	mine, _, err := macroRunFact.Load(ctx)
	if err != nil {
		return failover.Item{}, err
	}
	found, err := h.programs(ctx, mine.Run, h.set.Macro.name())
	if err != nil || len(found) == 0 {
		return failover.Item{Done: err == nil, Found: h.set.Macro.name() + " absent"}, err
	}
	return unwanted("runs: " + listed(found) + "; wait for its end, then see what it did")
}

// parseRespawners finds what would start the program called name: inittab lines that are not off, active subsystems,
// crontab lines. dormant counts those that are switched off. unread lists the sources that could not be read, partly
// those that could be read in part only.
func parseRespawners(text, name string) (found []string, dormant int, unread, partly []string) {
	for line := range strings.SplitSeq(text, "\n") {
		m := respawnLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		source, rest := m[1], strings.TrimSpace(m[3])
		switch {
		case m[2] == "?" && source == "crontab":
			partly = append(partly, source+", "+m[3])
		case m[2] == "!":
			unread = append(unread, source+" ("+m[3]+")")
		case m[2] != ":" || !strings.Contains(strings.ToLower(rest), strings.ToLower(name)) || comment(source, rest):
		case switchedOff(source, rest):
			dormant++
		default:
			found = append(found, source+": "+rest)
		}
	}
	return found, dormant, unread, partly
}

// respawnLine is the source, ":" before one of its lines, and "!" or "?" before the reason why it was not read, or not
// read whole.
var respawnLine = regexp.MustCompile(`^([^ :!?]+)([:!?]) (.*)$`)

func comment(source, line string) bool {
	switch source {
	case "inittab": // on AIX and elsewhere
		return strings.HasPrefix(line, ":") || strings.HasPrefix(line, "#")
	case "crontab":
		if user, command, ok := strings.Cut(line, ": "); ok && !strings.ContainsAny(user, " *") {
			line = command
		}
		return strings.HasPrefix(strings.TrimSpace(line), "#")
	}
	return false
}

func switchedOff(source, line string) bool {
	f := strings.SplitN(line, ":", 4)
	return source == "inittab" && len(f) == 4 && f[2] == "off" ||
		source == "src" && line[strings.LastIndexAny(line, " \t")+1:] == "inoperative"
}
