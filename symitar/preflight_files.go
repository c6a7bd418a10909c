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
			return failover.Item{Found: h.set.Agent.Control +
				" is not there or cannot be executed; the agent is not installed here"}, nil
		case len(files["unreadable"]) > 0:
			return failover.Item{Found: "its configuration cannot be read: " + strings.Join(files["unreadable"], ", ")}, nil
		case len(files["config"]) == 0:
			return failover.Item{Found: "no lsam.conf is found beside " + h.set.Agent.Control}, nil
		case version == "":
			return failover.Item{Found: h.set.Agent.Control + " version does not tell its version"}, nil
		}
		i := slices.Index(f.all, h)
		servers := slices.Sorted(slices.Values(files["server"])) // which stands first makes no difference
		found := fmt.Sprintf("installed, version %s, accepts %s", version, cmp.Or(strings.Join(servers, ", "), "not said"))
		installed[i], bound[i] = found, strings.Join(files["bound"], ", ")
		if bound[i] != "" {
			found += ", binds " + bound[i]
		}
		return failover.Item{Done: true, Found: found}, nil
	})
	switch {
	case err != nil || !obs.Done:
	case !same(installed):
		obs.Done = false
		obs.Found = "the agents differ: " + obs.Found
	case len(f.all) > 1 && same(bound) && bound[0] != "":
		obs.Done = false
		obs.Found = "the agents bind the same address, so one of them does not start on its host: " + obs.Found
	}
	return obs, err
}

// same reports whether all hosts say the same.
func same(list []string) bool { return len(slices.Compact(slices.Clone(list))) == 1 }
