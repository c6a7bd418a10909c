package symitar

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

func rootInfo(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look for the root information", rootInfoScript, h.set.RootInfoDir)
	if err != nil {
		return failover.Item{}, err
	}
	names := strings.Fields(out)
	if len(names) == 0 {
		return unwanted("neither rootInfo nor rootInfo.encrypted in " + h.set.RootInfoDir)
	}
	return wanted(strings.Join(names, " and ") + " present")
}

func diskRoom(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look at the file systems", "df -k")
	if err != nil {
		return failover.Item{}, err
	}
	list, unread, err := parseDF(out)
	if err != nil {
		return failover.Item{}, h.notApplied("look at the file systems", "run df -k by hand", "%w", err)
	}
	ignored := func(mount string) bool { return slices.Contains(h.set.Limits.DiskIgnore, mount) }
	list = slices.DeleteFunc(list, func(fs filesystem) bool { return ignored(fs.mount) })
	if len(list) == 0 {
		return unwanted("df -k lists no file system, so nothing is proven")
	}
	most := h.set.Limits.DiskPercent
	var full []string
	for _, row := range unread {
		if !ignored(row[strings.LastIndex(row, " ")+1:]) {
			full = append(full, "perhaps, since df does not say: "+failover.Printable(row))
		}
	}
	for _, fs := range list {
		if max(fs.space, fs.inodes) >= most {
			full = append(full, fmt.Sprintf("%s %d %% (inodes %d %%)", fs.mount, fs.space, max(fs.inodes, 0)))
		}
	}
	return unless(full, "nearly full: ", fmt.Sprintf("%d file systems below %d %%", len(list), most))
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
	if n == 0 {
		return unwanted("no SYM found below " + h.set.SymRoot)
	}
	return unless(bad, "SMA_DATES: ", fmt.Sprintf("SMA_DATES changed within %d days in %d SYMs", h.set.Limits.DatesAgeDays, n))
}

func (f firing) clocks(ctx context.Context) (failover.Observation, error) {
	offsets := make([]time.Duration, len(f.all))
	limit := f.on.set.Limits.ClockSkew
	obs, err := each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
		before := time.Now()
		at, err := h.clock(ctx, "date -u '+%Y-%m-%dT%H:%M:%SZ'", time.RFC3339)
		if err != nil {
			return failover.Item{}, err
		}
		took := time.Since(before)
		offsets[slices.Index(f.all, h)] = at.Sub(before.Add(took / 2))
		if took > limit {
			return unwanted(fmt.Sprintf("its clock took more than %s to answer, too long to compare", limit))
		}
		return wanted("its clock answers")
	})
	if err != nil || !obs.Done {
		return obs, err
	}
	skew := (slices.Max(offsets) - slices.Min(offsets)).Abs().Round(time.Second)
	if skew > limit {
		return failover.Observation{Found: "the clocks differ by more than " + limit.String(), Note: skew.String()}, nil
	}
	return failover.Observation{Done: true, Found: "the clocks agree within " + limit.String(), Note: skew.String()}, nil
}

func (h *Host) clock(ctx context.Context, command, layout string) (time.Time, error) {
	out, err := h.read(ctx, "read the clock", command)
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(layout, strings.TrimSpace(out))
	if err != nil {
		return at, h.notApplied("read the clock", "run "+command+" by hand", "%w", err)
	}
	return at, nil
}

func noHardErrors(ctx context.Context, h *Host) (failover.Item, error) {
	now, err := h.clock(ctx, "date '+%Y-%m-%dT%H:%M:%S'", "2006-01-02T15:04:05")
	if err != nil {
		return failover.Item{}, err
	}
	// errpt takes the host's local time as mmddhhmmyy (documented).
	since := now.Add(-h.set.Limits.ErrorsSince).Format("0102150406")
	out, err := h.read(ctx, "read the error log", "errpt -s "+since+" 2>&1")
	if err != nil {
		return failover.Item{}, err
	}
	rows, unread := hardErrors(out)
	switch {
	case unread != "":
		return unwanted("errpt does not list errors, so nothing is proven: " + failover.Printable(unread))
	case len(rows) > 0:
		return unwanted(fmt.Sprintf("%d permanent hardware errors, the newest: %s", len(rows), failover.Printable(rows[0])))
	}
	// errdemon writes the log (documented). Only AIX has it.
	out, err = h.read(ctx, "look for errdemon", "PATH=$PATH:/usr/lib; command -v errdemon || echo none")
	if err == nil && strings.TrimSpace(out) != "none" {
		var running []programRow
		if running, err = h.programs(ctx, "", "errdemon"); err == nil && len(running) == 0 {
			return unwanted("errdemon does not run, so nothing is logged and nothing is proven; start it with /usr/lib/errdemon")
		}
	}
	return failover.Item{Done: err == nil, Found: "no permanent hardware errors within " +
		h.set.Limits.ErrorsSince.String()}, err
}

// files returns what a host needs to work as primary, by the words of files.sh.
func (h *Host) files(ctx context.Context) (map[string][]string, error) {
	out, err := h.read(ctx, "look at RSJ and the agent", filesScript, h.set.RSJ, h.set.Agent.Control)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "server" || key == "bound" { // a line of the configuration
			_, value, _ = strings.Cut(value, "=")
		}
		found[key] = append(found[key], failover.Printable(strings.Join(strings.Fields(value), " ")))
	}
	return found, nil
}

// rsjEqual looks at RSJ itself. It cannot be tried out over SSH: it refuses to run outside the agent (documented).
func (f firing) rsjEqual(ctx context.Context) (failover.Observation, error) {
	return f.sameFile(ctx, "RSJ differs", func(ctx context.Context, h *Host) (sum, wrong string, err error) {
		files, err := h.files(ctx)
		if slices.Contains(files["missing"], h.set.RSJ) {
			wrong = h.set.RSJ + " is not there or cannot be executed; RSJ does not run here"
		}
		return strings.Join(files["rsj"], ""), wrong, err
	})
}

// agentFiles looks at what the new primary's agent needs before anybody waits for it behind the macro: its control
// script and configuration, its version, the OpCon servers it accepts, and an address to bind that every host has.
func (f firing) agentFiles(ctx context.Context) (failover.Observation, error) {
	installed, bound := make([]string, len(f.all)), make([]string, len(f.all))
	obs, err := each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
		files, err := h.files(ctx)
		version := strings.Join(files["version"], "")
		switch {
		case err != nil:
			return failover.Item{}, err
		case slices.Contains(files["missing"], h.set.Agent.Control):
			return unwanted(h.set.Agent.Control + " is not there or cannot be executed; the agent is not installed here")
		case len(files["unreadable"]) > 0:
			return unwanted("its configuration cannot be read: " + strings.Join(files["unreadable"], ", "))
		case len(files["config"]) == 0:
			return unwanted("no lsam.conf is found beside " + h.set.Agent.Control)
		case version == "":
			return unwanted(h.set.Agent.Control + " version does not tell its version")
		}
		i := slices.Index(f.all, h)
		// Which stands first makes no difference, nor whether another agent of the host accepts the same.
		servers := slices.Compact(slices.Sorted(slices.Values(files["server"])))
		found := fmt.Sprintf("installed, version %s, accepts %s", version, cmp.Or(strings.Join(servers, ", "), "not said"))
		installed[i], bound[i] = found, strings.Join(files["bound"], ", ")
		if bound[i] != "" {
			found += ", binds " + bound[i]
		}
		return wanted(found)
	})
	differ := ""
	switch {
	case !same(installed):
		differ = "the agents differ"
	case len(f.all) > 1 && same(bound) && bound[0] != "":
		differ = "the agents bind the same address, so one of them does not start on its host"
	}
	return unlike(obs, err, differ)
}

// unlike puts first what is wrong between hosts, unless it is "" or something is wrong on one of them already.
func unlike(obs failover.Observation, err error, what string) (failover.Observation, error) {
	if err == nil && obs.Done && what != "" {
		obs.Done, obs.Found = false, what+": "+obs.Found
	}
	return obs, err
}

// same reports whether all hosts say the same.
func same(list []string) bool { return len(slices.Compact(slices.Clone(list))) == 1 }
