package symitar

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

var (
	//go:embed scripts/symdates.sh
	symDatesScript string
	//go:embed scripts/rootinfo.sh
	rootInfoScript string
	//go:embed scripts/agent.sh
	agentText string

	agentScript = marksText + agentText
)

func rootInfo(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look for the root information", rootInfoScript, h.set.RootInfoDir)
	if err != nil {
		return failover.Item{}, err
	}
	names := strings.Fields(out)
	if len(names) == 0 {
		return failover.Item{Found: "neither rootInfo nor rootInfo.encrypted in " + h.set.RootInfoDir}, nil
	}
	return failover.Item{Done: true, Found: strings.Join(names, " and ") + " present"}, nil
}

// agentProcesses returns which of the processes that make up the agent run, and which do not.
func (h *Host) agentProcesses(ctx context.Context) (running, missing []string, err error) {
	list, err := h.programs(ctx, "", h.set.Agent.Must...)
	if err != nil {
		return nil, nil, err
	}
	for _, must := range h.set.Agent.Must {
		if slices.ContainsFunc(list, func(r programRow) bool { return r.program == must }) {
			running = append(running, must)
		} else {
			missing = append(missing, must)
		}
	}
	return running, missing, nil
}

// agents asks every agent, and notes what jobs those that run say to track. How that is written is not public, so
// nothing is concluded from it.
func (f firing) agents(ctx context.Context) (failover.Observation, error) {
	obs, err := each(ctx, f.all, agentKnown)
	if err != nil {
		return obs, err
	}
	var notes []string
	for i, h := range f.all {
		if obs.Items[i].Found != agentRuns {
			continue
		}
		a, err := h.repeat(ctx, "ask the agent what it tracks", agentScript, h.set.Agent.Control, "dumptracking")
		if err == nil && a.exit == 0 {
			notes = append(notes, h.Name()+" tracks"+tail(": ", strings.TrimPrefix(a.out, agentBegun)))
		}
	}
	obs.Note = strings.Join(notes, "; ")
	return obs, nil
}

const (
	agentRuns    = "agent runs"
	agentStopped = "agent stopped"
	agentBegun   = "@@BEGUN\n" // what comes behind it is the control script's
)

// agentKnown asks the agent's control script, to see that it works, and looks for the processes that make up the agent.
// A stopped agent is no fault before a swap: it may be the secondary's custom to keep it down.
func agentKnown(ctx context.Context, h *Host) (failover.Item, error) {
	a, err := h.repeat(ctx, "ask the agent's state", agentScript, h.set.Agent.Control, "status")
	if err != nil {
		return failover.Item{}, unchanged(err)
	}
	out, begun := strings.CutPrefix(a.out, agentBegun)
	switch {
	case !begun:
		return failover.Item{}, h.refused("ask the agent's state", failover.NotApplied, a)
	case a.exit == 126 || a.exit == 127:
		return failover.Item{Found: h.set.Agent.Control + " cannot be run" + tail(": ", out)}, nil
	}
	running, missing, err := h.agentProcesses(ctx)
	switch {
	case err != nil:
		return failover.Item{}, err
	case len(running) == 0:
		return failover.Item{Done: true, Found: agentStopped}, nil
	case len(missing) > 0:
		return failover.Item{Found: "agent runs in part: only " + strings.Join(running, ", ")}, nil
	}
	return failover.Item{Done: true, Found: agentRuns}, nil
}

func diskRoom(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look at the file systems", dfCommand)
	if err != nil {
		return failover.Item{}, err
	}
	list, unread, err := parseDF(out)
	if err != nil {
		return failover.Item{}, h.fail("look at the file systems", failover.NotApplied, "run df -k by hand", err)
	}
	most := h.set.Limits.DiskPercent
	var full []string
	for _, row := range unread {
		if mount := row[strings.LastIndex(row, " ")+1:]; !slices.Contains(h.set.Limits.DiskIgnore, mount) {
			full = append(full, "perhaps, since df does not say: "+failover.Printable(row))
		}
	}
	for _, fs := range list {
		if (fs.space >= most || fs.inodes >= most) && !slices.Contains(h.set.Limits.DiskIgnore, fs.mount) {
			full = append(full, fmt.Sprintf("%s %d %% (inodes %d %%)", fs.mount, fs.space, max(fs.inodes, 0)))
		}
	}
	if len(list) == 0 {
		return failover.Item{Found: "df -k lists no file system, so nothing is proven"}, nil
	}
	if len(full) > 0 {
		return failover.Item{Found: "nearly full: " + strings.Join(full, ", ")}, nil
	}
	return failover.Item{Done: true, Found: fmt.Sprintf("%d file systems below %d %%", len(list), most)}, nil
}

// symDates looks at the host that is, or becomes, primary: the SYM file systems may be mounted there only.
func (f firing) symDates(ctx context.Context) (failover.Observation, error) {
	host := f.dir.old
	if !slices.Contains(f.all, host) {
		return failover.Observation{Done: true, Found: "looked at after the swap: the old primary is gone"}, nil
	}
	return each(ctx, []*Host{host}, symDates)
}

func symDates(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look at SMA_DATES", symDatesScript, h.set.SymRoot, strconv.Itoa(h.set.Limits.DatesAgeDays))
	if err != nil {
		return failover.Item{}, err
	}
	var bad []string
	n := 0
	for line := range strings.Lines(out) {
		sym, state, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		n++
		if state != "current" {
			bad = append(bad, sym+" "+state)
		}
	}
	switch {
	case n == 0:
		return failover.Item{Found: "no SYM found below " + h.set.SymRoot}, nil
	case len(bad) > 0:
		return failover.Item{Found: "SMA_DATES: " + strings.Join(bad, ", ")}, nil
	}
	return failover.Item{Done: true, Found: fmt.Sprintf("SMA_DATES current in %d SYMs", n)}, nil
}

func (f firing) clocks(ctx context.Context) (failover.Observation, error) {
	offsets := make([]time.Duration, len(f.all))
	limit := f.on.set.Limits.ClockSkew
	obs, err := each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
		before := time.Now()
		out, err := h.read(ctx, "read the clock", clockCommand)
		if err != nil {
			return failover.Item{}, err
		}
		at, err := time.Parse(time.RFC3339, strings.TrimSpace(out))
		if err != nil {
			return failover.Item{}, h.fail("read the clock", failover.NotApplied, "run date -u by hand", err)
		}
		took := time.Since(before)
		offsets[slices.Index(f.all, h)] = at.Sub(before.Add(took / 2))
		if took > limit {
			return failover.Item{Found: fmt.Sprintf("its clock took more than %s to answer, too long to compare", limit)}, nil
		}
		return failover.Item{Done: true, Found: "its clock answers"}, nil
	})
	if err != nil || !obs.Done {
		return obs, err
	}
	skew := (slices.Max(offsets) - slices.Min(offsets)).Abs().Round(time.Second)
	if skew > limit {
		return failover.Observation{Found: fmt.Sprintf("the clocks differ by more than %s", limit), Note: skew.String()}, nil
	}
	return failover.Observation{Done: true, Found: fmt.Sprintf("the clocks agree within %s", limit), Note: skew.String()},
		nil
}

func noHardErrors(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "read the clock", localCommand)
	if err != nil {
		return failover.Item{}, err
	}
	now, err := time.Parse("2006-01-02T15:04:05", strings.TrimSpace(out))
	if err != nil {
		return failover.Item{}, h.fail("read the clock", failover.NotApplied, "run date by hand", err)
	}
	// errpt takes the host's local time as mmddhhmmyy (documented).
	since := now.Add(-h.set.Limits.ErrorsSince).Format("0102150406")
	if out, err = h.read(ctx, "read the error log", "errpt -s "+since+" 2>&1"); err != nil {
		return failover.Item{}, err
	}
	rows, unread := hardErrors(out)
	switch {
	case unread != "":
		return failover.Item{Found: "errpt does not list errors, so nothing is proven: " + failover.Printable(unread)}, nil
	case len(rows) > 0:
		return failover.Item{Found: fmt.Sprintf("%d permanent hardware errors, the newest: %s", len(rows),
			failover.Printable(rows[0]))}, nil
	}
	return failover.Item{Done: true, Found: "no permanent hardware errors"}, nil
}
