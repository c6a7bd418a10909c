package symitar

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

//go:embed scripts/files.sh
var filesScript string

// hostFiles is what a host needs to work as primary.
type hostFiles struct {
	rsj, version   string   // the checksum, and what the agent calls its version
	missing        []string // what cannot be executed
	configs        []string // the agent's configuration files that were read
	servers, bound []string // what they say: OpCon servers that are accepted, the address that is bound
	unreadable     []string
}

func (h *Host) files(ctx context.Context) (hostFiles, error) {
	out, err := h.read(ctx, "look at RSJ and the agent", filesScript, h.set.RSJ, h.set.Agent.Control)
	if err != nil {
		return hostFiles{}, err
	}
	var f hostFiles
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = failover.Printable(strings.Join(strings.Fields(value), " "))
		_, setting, _ := strings.Cut(value, "=") // of a line of the configuration
		setting = strings.TrimSpace(setting)
		switch key {
		case "rsj":
			f.rsj = value
		case "version":
			f.version = value
		case "missing":
			f.missing = append(f.missing, value)
		case "config":
			f.configs = append(f.configs, value)
		case "server":
			f.servers = append(f.servers, setting)
		case "bound":
			f.bound = append(f.bound, setting)
		case "unreadable":
			f.unreadable = append(f.unreadable, value)
		}
	}
	slices.Sort(f.servers)
	return f, nil
}

// rsjEqual looks at RSJ itself. It cannot be tried out over SSH: it refuses to run outside the agent (documented).
func (f firing) rsjEqual(ctx context.Context) (failover.Observation, error) {
	return f.sameFile(ctx, "RSJ differs", func(ctx context.Context, h *Host) (sum, wrong string, err error) {
		files, err := h.files(ctx)
		if slices.Contains(files.missing, h.set.RSJ) {
			wrong = h.set.RSJ + " is not there or cannot be executed; RSJ does not run here"
		}
		return files.rsj, wrong, err
	})
}

// agentFiles looks at what the new primary's agent needs before anybody waits for it behind the macro: its control
// script and configuration, its version, the OpCon servers it accepts, and an address to bind that every host has.
func (f firing) agentFiles(ctx context.Context) (failover.Observation, error) {
	var versions, servers, addresses set
	obs, err := each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
		files, err := h.files(ctx)
		switch {
		case err != nil:
			return failover.Item{}, err
		case slices.Contains(files.missing, h.set.Agent.Control):
			return failover.Item{Found: h.set.Agent.Control +
				" is not there or cannot be executed; the agent is not installed here"}, nil
		case len(files.unreadable) > 0:
			return failover.Item{Found: "its configuration cannot be read: " + strings.Join(files.unreadable, ", ")}, nil
		case len(files.configs) == 0:
			return failover.Item{Found: "no lsam.conf is found beside " + h.set.Agent.Control}, nil
		case files.version == "":
			return failover.Item{Found: h.set.Agent.Control + " version does not tell its version"}, nil
		}
		versions.add(files.version)
		servers.add(strings.Join(files.servers, ", "))
		addresses.add(strings.Join(files.bound, ", "))
		found := fmt.Sprintf("installed, version %s, accepts %s", files.version,
			cmp.Or(strings.Join(files.servers, ", "), "not said"))
		if len(files.bound) > 0 {
			found += ", binds " + strings.Join(files.bound, ", ")
		}
		return failover.Item{Done: true, Found: found}, nil
	})
	switch {
	case err != nil:
	case versions.differ() || servers.differ():
		obs.Done = false
		obs.Found = "the agents differ: " + obs.Found
	case len(f.all) > 1 && !addresses.differ() && !addresses.only(""):
		obs.Done = false
		obs.Found = "the agents bind the same address, so one of them does not start on its host: " + obs.Found
	}
	return obs, err
}
