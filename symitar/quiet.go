package symitar

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

//go:embed scripts/symlocks.sh
var symLocksScript string

// rsjPrograms are RSJ and SAJ, which is a wrapper around RSJ by the same vendor.
var rsjPrograms = []string{"RSJ", "SAJ"}

// rsjIdle looks for RSJ jobs on every host, and for the locks of living ones on the old primary: a lock holds the
// number of a process of the host that wrote it, and says nothing on a host to which it was replicated.
func (f firing) rsjIdle(ctx context.Context) (failover.Observation, error) {
	return each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
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
				return failover.Item{Found: h.noSyms()}, nil
			}
		}
		if len(busy) > 0 {
			return failover.Item{Found: "RSJ works: " + strings.Join(busy, ", ")}, nil
		}
		return failover.Item{Done: true, Found: "no RSJ job"}, nil
	})
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
		return nil, 0, h.fail("look at the RSJ locks", failover.NotApplied, "look again",
			fmt.Errorf("%w: it does not tell of the SYMs", errAnswerIncomplete))
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
	if !f.alive() {
		return each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
			locks, _, err := h.symLocks(ctx)
			if err != nil || len(locks) == 0 {
				return failover.Item{Done: err == nil, Found: "no RSJ locks were replicated"}, err
			}
			var cut []string
			for _, l := range locks {
				cut = append(cut, l.sym+" ("+l.content+")")
			}
			return failover.Item{Done: true, Found: "jobs of " + f.dir.old.Name() + " that were cut short, to be decided upon " +
				"after the swap: " + strings.Join(cut, ", ")}, nil
		})
	}
	return each(ctx, []*Host{f.dir.old}, func(ctx context.Context, h *Host) (failover.Item, error) {
		locks, syms, err := h.symLocks(ctx)
		if err != nil {
			return failover.Item{}, err
		}
		if syms == 0 {
			return failover.Item{Found: h.noSyms()}, nil
		}
		var stale []string
		for _, l := range locks {
			if l.state != "alive" {
				stale = append(stale, l.sym+" ("+l.state+": "+l.content+")")
			}
		}
		if len(stale) > 0 {
			return failover.Item{Found: "left behind by jobs that are gone, as far as can be told: " +
				strings.Join(stale, ", ") + "; such a job was cut short and needs a decision"}, nil
		}
		return failover.Item{Done: true, Found: "no stale RSJ locks"}, nil
	})
}

func batchIdle(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look at the batch queue", queueCommand)
	if err != nil {
		return failover.Item{}, err
	}
	rows, err := parseQueue(out)
	if err != nil {
		return failover.Item{}, h.fail("look at the batch queue", failover.NotApplied, "run QUEUECONTROL -BATCH by hand", err)
	}
	if len(rows) == 0 {
		return failover.Item{Found: "QUEUECONTROL -BATCH lists no queue at all, so nothing is proven"}, nil
	}
	var busy []string
	for _, r := range rows {
		if r.busy() {
			busy = append(busy, failover.Printable(r.String()))
		}
	}
	if len(busy) > 0 {
		return failover.Item{Found: strings.Join(busy, ", ")}, nil
	}
	return failover.Item{Done: true, Found: "batch queue idle"}, nil
}
