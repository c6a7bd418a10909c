package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// firmness says whether a person may waive a check.
type firmness bool

const (
	firm     firmness = true
	waivable firmness = false
)

// preflight returns the checks that precede a transfer. Each reports its own error. All of them stand until the last
// move, since what they look at can change while a run waits for a person; the two that are about leaving the source
// and about taking the group stand until the first one, which makes them untrue.
func (t transfer) preflight() []failover.Step {
	check := func(id, title string, f firmness, guards string,
		look func(context.Context, Snapshot, Group) (string, error)) failover.Step {
		return failover.Step{ID: id, Title: title, Target: t.o.Group, Kind: failover.Check, Firm: bool(f), Guards: guards,
			Source: "added: what makes a move fail or act twice, collected from the vendors' error codes and field reports",
			Observe: func(ctx context.Context) (failover.Observation, error) {
				s, err := t.sight.snapshot(ctx)
				if err != nil {
					return failover.Observation{}, err
				}
				g, err := s.named("check "+id, t.o.Group)
				if err != nil {
					return failover.Observation{}, err
				}
				found, err := look(ctx, s, g)
				return failover.Observation{Done: err == nil, Found: found}, err
			}}
	}
	first := "move/move"
	last := cmp.Or(t.afterMove(), first)
	whole := cmp.Or(t.o.DownFrom, first) // the group is taken down there, by a procedure that does
	return []failover.Step{
		check("reachable", "Each node answers at its own address and says its own name", waivable, last, t.reachable),
		check("quorum", "The cluster has quorum and its witness is up", firm, last, t.quorum),
		check("nodes", "Every node is up, none is kept out or draining", waivable, last, t.nodesUp),
		check("group", "The group is up on exactly one node and free to move", firm, whole, t.groupFree),
		check("target", "The target can take every member of the group", firm, first, t.targetFit),
		check("disks", "Every disk the group needs is part of it and of its dependencies", waivable, last, t.disks),
		check("maintenance", "No member is in maintenance", waivable, last, t.maintenance),
		check("backup", "No backup of the cluster is in progress", waivable, last, t.backup),
		check("stop-time", "The cluster gives the service the time it needs to stop", waivable, last, t.stopTime),
		check("reboot", "No node waits for a reboot", waivable, last, t.reboot),
		check("build", "All nodes run the same build", waivable, last, t.builds),
	}
}

// sight lets the checks of one preflight look at one and the same reading instead of a dozen in a row. It is no
// memory: what is older than sightAge is read again.
type sight struct {
	c Cluster

	mu          sync.Mutex
	at          time.Time
	s           Snapshot
	inspections map[string]Inspection
}

const sightAge = 3 * time.Second

func (v *sight) snapshot(ctx context.Context) (Snapshot, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.at.IsZero() && time.Since(v.at) < sightAge {
		return v.s, nil
	}
	s, err := v.c.Snapshot(ctx)
	if err != nil {
		return s, err
	}
	v.s, v.at, v.inspections = s, time.Now(), map[string]Inspection{}
	return s, nil
}

func (v *sight) inspect(ctx context.Context, node string) (Inspection, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if in, ok := v.inspections[node]; ok {
		return in, nil
	}
	in, err := v.c.Inspect(ctx, node)
	if err == nil && v.inspections != nil {
		v.inspections[node] = in
	}
	return in, err
}

func (t transfer) reachable(ctx context.Context, s Snapshot, _ Group) (string, error) {
	var errs []error
	members := s.members()
	for _, n := range members {
		in, err := t.sight.inspect(ctx, n.Name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case in.Node != n.Name:
			errs = append(errs, refuse("check reachable", n.Name, "correct the node's address", ErrWrongNode,
				"it says it is %q", in.Node))
		}
	}
	return fmt.Sprintf("%d nodes answer", len(members)-len(errs)), errors.Join(errs...)
}

func (t transfer) quorum(_ context.Context, s Snapshot, _ Group) (string, error) {
	if s.Quorum != QuorumPresent {
		return "", refuse("check quorum", s.Cluster, "restore the quorum first", ErrNoQuorum, "quorum is %s as seen from %s",
			s.Quorum, s.ReadFrom)
	}
	for _, g := range s.Groups {
		for _, m := range g.Members {
			if m.Core && (m.Disk || strings.Contains(m.Type, "Witness")) && m.State != StateOnline {
				return "", refuse("check quorum", m.Name, "bring the witness online", ErrNoQuorum, "the witness is %s", m.State)
			}
		}
	}
	return "quorum is present", nil
}

func (t transfer) nodesUp(_ context.Context, s Snapshot, _ Group) (string, error) {
	var errs []error
	for _, n := range s.Nodes {
		errs = append(errs, fitNode("check nodes", s, n.Name))
	}
	return fmt.Sprintf("%d nodes are up", len(s.Nodes)), errors.Join(errs...)
}

func (t transfer) groupFree(_ context.Context, _ Snapshot, g Group) (string, error) {
	const op = "check group"
	if g.Core {
		return "", refuse(op, g.Name, "name the group of the service", ErrNotFound, "it is the cluster's own group")
	}
	if g.State != StateOnline && g.State != StatePending && g.Owner != "" {
		kind := map[State]error{StateFailed: ErrFailed, StatePartial: ErrPartial}[g.State]
		if kind == nil {
			kind = ErrNotOnline
		}
		return "", refuse(op, g.Name, "bring the group up first", errors.Join(ErrNotOnline, kind), "%s", g)
	}
	return g.String(), fitToLeave(op, g, t.o.Target, t.o.From)
}

func (t transfer) targetFit(_ context.Context, s Snapshot, g Group) (string, error) {
	return t.o.Target + " can take the group", fitToTake("check target", s, g, t.o.Target)
}

func (t transfer) disks(_ context.Context, s Snapshot, g Group) (string, error) {
	const op = "check disks"
	members := map[string]Resource{}
	needed := map[string]bool{}
	for _, m := range g.Members {
		members[m.Name] = m
		for _, d := range m.DependsOn {
			needed[d] = true
		}
	}
	elsewhere := func(name string) string {
		for _, other := range s.Groups {
			for _, m := range other.Members {
				if m.Name == name {
					return "it is in " + other.Name
				}
			}
		}
		return "no group has it"
	}
	var errs []error
	wanted := maps.Clone(needed)
	for _, d := range t.o.Disks {
		wanted[d] = true
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, ok := members[name]; !ok {
			errs = append(errs, refuse(op, name, "move the resource into the group", ErrDisk, "%s needs it and %s", g.Name,
				elsewhere(name)))
		}
	}
	count := 0
	for _, m := range g.Members {
		if !m.Disk && !slices.Contains(t.o.Disks, m.Name) {
			continue
		}
		count++
		if len(g.Members) > 1 && !needed[m.Name] && s.tellsDependencies() {
			errs = append(errs, refuse(op, m.Name, "make the service depend on its disk", ErrDisk,
				"no member depends on it, so the service may start before the disk is there"))
		}
	}
	found := fmt.Sprintf("%d disks, all in the group", count)
	if count == 0 {
		found = "no member is known to be a disk; name in Disks what the service uses"
	}
	return found, errors.Join(errs...)
}

// tellsDependencies reports whether this make of cluster says what depends on what.
func (s Snapshot) tellsDependencies() bool {
	return slices.ContainsFunc(s.Groups, func(g Group) bool {
		return slices.ContainsFunc(g.Members, func(m Resource) bool { return len(m.DependsOn) > 0 })
	})
}

func (t transfer) maintenance(_ context.Context, s Snapshot, g Group) (string, error) {
	if s.Maintenance {
		return "", refuse("check maintenance", s.Cluster, "end the maintenance of the cluster", ErrUnmanaged,
			"the whole cluster is in maintenance")
	}
	for _, m := range g.Members {
		if m.Maintenance {
			return "", refuse("check maintenance", m.Name, "end the maintenance of the resource", ErrUnmanaged,
				"the resource is in maintenance")
		}
	}
	return "none", nil
}

func (t transfer) backup(_ context.Context, s Snapshot, _ Group) (string, error) {
	switch {
	case s.BackupUnknown:
		return "", refuse("check backup", s.Cluster, "see that no backup runs, then waive this step", ErrBackup,
			"%s does not say whether one is", s.ReadFrom)
	case s.BackupInProgress:
		return "", refuse("check backup", s.Cluster, "wait for the backup to end", ErrBackup, "as seen from %s", s.ReadFrom)
	}
	return "none", nil
}

// stopTime compares the limit of every member that is known to run a service. Where none is known, every member may be
// the one, and a limit that is not known is not enough.
func (t transfer) stopTime(_ context.Context, _ Snapshot, g Group) (string, error) {
	if t.o.StopTime == 0 {
		return "not compared: no stop time is configured", nil
	}
	serves := func(m Resource) bool { return m.Service != "" }
	anyone := !slices.ContainsFunc(g.Members, serves)
	var errs []error
	for _, m := range g.Members {
		limit := m.PendingTimeout.String()
		switch {
		case m.PendingTimeout >= t.o.StopTime || !anyone && !serves(m):
			continue
		case m.PendingTimeout <= 0:
			limit = "an unknown time"
		}
		next := "raise the resource's pending timeout or the timeout of its stop operation"
		if anyone {
			next += "; if it is not the service, say which member is or waive this step with a reason"
		}
		errs = append(errs, refuse("check stop time", m.Name, next, ErrStopTime, "it has %s, the service needs %s", limit,
			t.o.StopTime))
	}
	return "enough for " + t.o.StopTime.String(), errors.Join(errs...)
}

// inspections asks every member of the cluster. One that cannot be asked is an error: nothing is known of it.
func (t transfer) inspections(ctx context.Context, s Snapshot) ([]Inspection, []error) {
	var list []Inspection
	var errs []error
	for _, n := range s.members() {
		in, err := t.sight.inspect(ctx, n.Name)
		if err == nil {
			list = append(list, in)
		}
		errs = append(errs, err)
	}
	return list, errs
}

func (t transfer) reboot(ctx context.Context, s Snapshot, _ Group) (string, error) {
	list, errs := t.inspections(ctx, s)
	for _, in := range list {
		if in.RebootPending {
			errs = append(errs, refuse("check reboot", in.Node, "reboot the node while it is passive", ErrRebootPending, "%s",
				strings.Join(in.Reasons, ", ")))
		}
	}
	return "no reboot is pending", errors.Join(errs...)
}

func (t transfer) builds(ctx context.Context, s Snapshot, _ Group) (string, error) {
	list, errs := t.inspections(ctx, s)
	seen := map[string][]string{}
	for _, in := range list {
		seen[in.Build] = append(seen[in.Build], in.Node)
	}
	var texts []string
	for build, nodes := range seen {
		if build == "" {
			build = "an unknown build"
		}
		texts = append(texts, fmt.Sprintf("%s on %s", build, strings.Join(nodes, ", ")))
	}
	slices.Sort(texts)
	if len(seen) > 1 || len(seen[""]) > 0 {
		errs = append(errs, refuse("check build", s.Cluster,
			"bring the nodes to one build, or waive this during a rolling upgrade of the operating system", ErrBuilds, "%s",
			strings.Join(texts, "; ")))
	}
	return strings.Join(texts, "; "), errors.Join(errs...)
}
