package symitar

import (
	"context"
	_ "embed"
	"fmt"
	"path"
	"strings"

	"github.com/01b61c5c/failover"
)

var (
	//go:embed scripts/processes.sh
	processesText string
	//go:embed scripts/programs.sh
	programsText string

	programsScript = processesText + programsText
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
			return nil, h.fail(op, failover.NotApplied,
				"run ps -eo pid,ppid,pgid,user,etime,args by hand as "+h.set.Macro.User+" and see what is wrong",
				fmt.Errorf("%w: nothing is proven by this list of processes: %s", errAnswerIncomplete, why))
		}
		if rest, ok := strings.CutPrefix(line, "named="); ok {
			name, process, _ := strings.Cut(rest, " ")
			found = append(found, programRow{name, process})
		}
		me = me || strings.HasPrefix(line, "me=")
	}
	if !me {
		return nil, h.fail(op, failover.NotApplied, "see whether awk works on the host",
			fmt.Errorf("%w: the list of processes was not read", errAnswerIncomplete))
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
func (f firing) noForeignMacro(ctx context.Context) (failover.Observation, error) {
	mine, _, err := macroRunFact.Load(ctx)
	if err != nil {
		return failover.Observation{}, unchanged(err)
	}
	return each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
		found, err := h.programs(ctx, mine.Run, h.set.Macro.name())
		if err != nil || len(found) == 0 {
			return failover.Item{Done: err == nil, Found: h.set.Macro.name() + " absent"}, err
		}
		return failover.Item{Found: "runs: " + listed(found) + "; wait for its end, then see what it did"}, nil
	})
}

// parseRespawners finds what would start the program called name: inittab lines that are not off, active subsystems,
// crontab lines. dormant counts those that are switched off. unread lists the sources that could not be read, partly
// those that could be read in part only.
func parseRespawners(text, name string) (found []string, dormant int, unread, partly []string) {
	name = strings.ToLower(name)
	for line := range strings.SplitSeq(text, "\n") {
		if source, why, ok := strings.Cut(line, "? "); ok && source == "crontab" {
			partly = append(partly, source+", "+why)
			continue
		}
		source, rest, ok := strings.Cut(line, ": ")
		if !ok || strings.ContainsAny(source, " !") {
			if source, why, ok := strings.Cut(line, "! "); ok && !strings.Contains(source, " ") {
				unread = append(unread, source+" ("+why+")")
			}
			continue
		}
		rest = strings.TrimSpace(rest)
		if !strings.Contains(strings.ToLower(rest), name) {
			continue
		}
		switch source {
		case "inittab":
			if strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "#") {
				continue // a comment, on AIX and elsewhere
			}
			if f := strings.SplitN(rest, ":", 4); len(f) == 4 && f[2] == "off" {
				dormant++
				continue
			}
		case "src":
			f := strings.Fields(rest)
			if f[len(f)-1] == "inoperative" {
				dormant++
				continue
			}
		case "crontab":
			command := rest
			if user, after, ok := strings.Cut(rest, ": "); ok && !strings.ContainsAny(user, " *") {
				command = after
			}
			if strings.HasPrefix(strings.TrimSpace(command), "#") {
				continue
			}
		}
		found = append(found, source+": "+rest)
	}
	return found, dormant, unread, partly
}
