package symitar

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// rsjPrograms are RSJ and SAJ, which is a wrapper around RSJ by the same vendor.
var rsjPrograms = []string{"RSJ", "SAJ"}

// rsjIdle looks for RSJ jobs on every host, and for the locks of living ones on the old primary: a lock holds the
// number of a process of the host that wrote it, and says nothing on a host to which it was replicated.
func (f firing) rsjIdle(ctx context.Context, h *Host) (failover.Item, error) {
	list, err := h.programs(ctx, "", rsjPrograms...)
	if err != nil {
		return failover.Item{}, err
	}
	var busy []string
	if len(list) > 0 {
		busy = append(busy, listed(list))
	}
	if h == f.dir.old {
		locks, syms, err := h.symLocks(ctx)
		if err != nil {
			return failover.Item{}, err
		}
		for _, l := range locks {
			switch l.state {
			case "stale":
			case "alive":
				busy = append(busy, l.sym+" locked by "+l.content)
			default:
				busy = append(busy, l.sym+" locked, and nobody can tell whether its process lives: "+l.content)
			}
		}
		if syms == 0 && len(busy) == 0 {
			return unwanted(h.noSyms())
		}
	}
	return unless(busy, "RSJ works: ", "no RSJ job")
}

// symLock is one sma_lock file.
type symLock struct {
	sym     string
	state   string // alive, stale or unknown
	content string
}

// symLocks returns the locks of a host, and how many SYMs it has. A lock may be empty.
func (h *Host) symLocks(ctx context.Context) (locks []symLock, syms int, err error) {
	out, err := h.read(ctx, "look at the RSJ locks", symLocksScript, h.set.SymRoot)
	if err != nil {
		return nil, 0, err
	}
	for line := range strings.Lines(out) {
		sym, rest, ok := strings.Cut(line, "\t")
		state, content, whole := strings.Cut(rest, "\t")
		if ok && whole {
			content = cmp.Or(failover.Printable(strings.Join(strings.Fields(content), " ")), "nothing stands in it")
			locks = append(locks, symLock{sym, state, content})
		}
	}
	syms, err = strconv.Atoi(keyValues(out)["syms"])
	if err != nil {
		return nil, 0, h.notApplied("look at the RSJ locks", "look again", "%w: it does not tell of the SYMs",
			errAnswerIncomplete)
	}
	return locks, syms, nil
}

func (h *Host) noSyms() string {
	return "no SYM found below " + h.set.SymRoot + ", so nothing is proven"
}

// noStaleLocks looks for the locks of jobs that were cut short, on the host that is primary. Where that host is gone,
// the locks that were replicated tell which of its jobs were cut short by that: they are named, and decided upon after
// the swap.
func (f firing) noStaleLocks(ctx context.Context) (failover.Observation, error) {
	on := f.all
	if f.alive() {
		on = []*Host{f.dir.old}
	}
	return each(ctx, on, func(ctx context.Context, h *Host) (failover.Item, error) {
		locks, syms, err := h.symLocks(ctx)
		if err != nil {
			return failover.Item{}, err
		}
		var cut, stale []string
		for _, l := range locks {
			cut = append(cut, l.sym+" ("+l.content+")")
			if l.state != "alive" {
				stale = append(stale, l.sym+" ("+l.state+": "+l.content+")")
			}
		}
		switch {
		case !f.alive() && len(cut) > 0:
			return wanted("jobs of " + f.dir.old.Name() + " that were cut short, to be decided upon after the swap: " +
				strings.Join(cut, ", "))
		case !f.alive():
			return wanted("no RSJ locks were replicated")
		case syms == 0:
			return unwanted(h.noSyms())
		case len(stale) > 0:
			return unwanted("left behind by jobs that are gone, as far as can be told: " + strings.Join(stale, ", ") +
				"; such a job was cut short and needs a decision")
		}
		return wanted("no stale RSJ locks")
	})
}

func batchIdle(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look at the batch queue", "QUEUECONTROL -BATCH")
	if err != nil {
		return failover.Item{}, err
	}
	rows, err := parseQueue(out)
	if err != nil {
		return failover.Item{}, h.notApplied("look at the batch queue", "run QUEUECONTROL -BATCH by hand", "%w", err)
	}
	if len(rows) == 0 {
		return unwanted("QUEUECONTROL -BATCH lists no queue at all, so nothing is proven")
	}
	var busy []string
	for _, r := range rows {
		if r.busy() {
			busy = append(busy, failover.Printable(r.String()))
		}
	}
	return unless(busy, "", "batch queue idle")
}
