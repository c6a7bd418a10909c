package symitar

import (
	"context"
	_ "embed"
	"strings"

	"github.com/01b61c5c/failover"
)

// rsjIdle looks for RSJ jobs and the locks of living ones.
func rsjIdle(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "list processes", psCommand)
	if err != nil {
		return failover.Item{}, err
	}
	var busy []string
	for _, p := range parseProcesses(out) {
		if p.runs("RSJ") {
			busy = append(busy, "process "+p.String())
		}
	}
	locks, err := h.symLocks(ctx)
	if err != nil {
		return failover.Item{}, err
	}
	for _, l := range locks {
		if !l.stale {
			busy = append(busy, l.sym+" locked by "+l.content)
		}
	}
	if len(busy) > 0 {
		return failover.Item{Found: "RSJ works: " + strings.Join(busy, ", ")}, nil
	}
	return failover.Item{Done: true, Found: "no RSJ job"}, nil
}

// symLock is one sma_lock file.
type symLock struct {
	sym     string
	stale   bool
	content string
}

func (h *Host) symLocks(ctx context.Context) ([]symLock, error) {
	out, err := h.read(ctx, "look at the RSJ locks", symLocksScript, h.set.SymRoot)
	if err != nil {
		return nil, err
	}
	var locks []symLock
	for line := range strings.Lines(out) {
		if f := strings.SplitN(strings.TrimSpace(line), "\t", 3); len(f) == 3 {
			locks = append(locks, symLock{f[0], f[1] == "stale", strings.Join(strings.Fields(f[2]), " ")})
		}
	}
	return locks, nil
}

func noStaleLocks(ctx context.Context, h *Host) (failover.Item, error) {
	locks, err := h.symLocks(ctx)
	if err != nil {
		return failover.Item{}, err
	}
	var stale []string
	for _, l := range locks {
		if l.stale {
			stale = append(stale, l.sym+" ("+l.content+")")
		}
	}
	if len(stale) > 0 {
		return failover.Item{Found: "left behind by jobs that are gone: " + strings.Join(stale, ", ") + "; such a job was cut short and needs a decision"}, nil
	}
	return failover.Item{Done: true, Found: "no stale RSJ locks"}, nil
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
	var busy []string
	for _, r := range rows {
		if r.busy() {
			busy = append(busy, r.String())
		}
	}
	if len(busy) > 0 {
		return failover.Item{Found: strings.Join(busy, ", ")}, nil
	}
	return failover.Item{Done: true, Found: "batch queue idle"}, nil
}
