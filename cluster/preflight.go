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

const firm, waivable firmness = true, false

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
				if err != nil {
					return failover.Observation{}, err // "enough" beside it would be untrue
				}
				return failover.Observation{Done: true, Found: found}, nil
			}}
	}
	first := "move/move"
	last := cmp.Or(t.second, first)
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

// inspectEach asks every member of the cluster. One that cannot be asked is an error: nothing is known of it.
func (t transfer) inspectEach(ctx context.Context, s Snapshot, judge func(node string, in Inspection) error) []error {
	var errs []error
	for _, n := range s.members() {
		in, err := t.sight.inspect(ctx, n.Name)
		if err == nil {
			err = judge(n.Name, in)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (t transfer) reachable(ctx context.Context, s Snapshot, _ Group) (string, error) {
	errs := t.inspectEach(ctx, s, func(node string, in Inspection) error {
		if in.Node == node {
			return nil
		}
		return refuse("check reachable", node, "correct the node's address", ErrWrongNode, "it says it is %q", in.Node)
	})
	return fmt.Sprintf("%d nodes answer", len(s.members())-len(errs)), errors.Join(errs...)
}

func (t transfer) quorum(_ context.Context, s Snapshot, _ Group) (string, error) {
	if s.Quorum != QuorumPresent {
		return "", refuse("check quorum", s.Cluster, "restore the quorum first", ErrNoQuorum, "quorum is %s as seen from %s",
			s.Quorum, s.ReadFrom)
	}
	for _, m := range s.resources() {
		if m.Core && (m.Disk || strings.Contains(m.Type, "Witness")) && m.State != StateOnline {
			return "", refuse("check quorum", m.Name, "bring the witness online", ErrNoQuorum, "the witness is %s", m.State)
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
		return "", refuse(op, g.Name, "bring the group up first", errors.Join(ErrNotOnline, kind), "%s", g)
	}
	return g.String(), fitToLeave(op, g, t.o.Target, t.o.From)
}

// targetFit also asks the cluster itself, where it can be asked: more can hold a group than is read here.
func (t transfer) targetFit(ctx context.Context, s Snapshot, g Group) (string, error) {
	const op = "check target"
	err := fitToTake(op, s, g, t.o.Target)
	if err == nil && g.State == StateOnline && g.Owner != t.o.Target {
		if f, unknown := t.c.Foresee(ctx, t.o.Group, t.o.Target, g.Failback); unknown == nil && f.Stays {
			err = refuse(op, g.Name, "ask the cluster why: colocation, utilization, tickets, stickiness (crm_simulate -sL)",
				ErrTargetUnfit, "it foresees that the group will not be up on %s", t.o.Target)
		}
	}
	return t.o.Target + " can take the group", err
}

func (t transfer) disks(_ context.Context, s Snapshot, g Group) (string, error) {
	const op = "check disks"
	wanted, needed := map[string]bool{}, map[string]bool{}
	for _, m := range g.Members {
		for _, d := range m.DependsOn {
			wanted[d], needed[d] = true, true
		}
	}
	for _, d := range t.o.Disks {
		wanted[d] = true
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		is := func(m Resource) bool { return m.Name == name }
		if slices.ContainsFunc(g.Members, is) {
			continue
		}
		where := "no group has it"
		if m, ok := find(s.resources(), is); ok {
			where = "it is in " + m.Group
		}
		errs = append(errs,
			refuse(op, name, "move the resource into the group, or correct Disks", ErrDisk, "%s needs it and %s", g.Name, where))
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
	return slices.ContainsFunc(s.resources(), func(m Resource) bool { return len(m.DependsOn) > 0 })
}

func (t transfer) maintenance(_ context.Context, s Snapshot, g Group) (string, error) {
	const op = "check maintenance"
	if s.Maintenance {
		return "", refuse(op, s.Cluster, "end the maintenance of the cluster", ErrUnmanaged,
			"the whole cluster is in maintenance")
	}
	if m, ok := find(g.Members, func(m Resource) bool { return m.Maintenance }); ok {
		return "", refuse(op, m.Name, "end the maintenance of the resource", ErrUnmanaged, "the resource is in maintenance")
	}
	return "none", nil
}

func (t transfer) backup(_ context.Context, s Snapshot, _ Group) (string, error) {
	const op = "check backup"
	switch {
	case s.BackupUnknown:
		return "", refuse(op, s.Cluster, "see that no backup runs, then waive this step", ErrNotTold,
			"whether a backup is in progress, as seen from %s", s.ReadFrom)
	case s.BackupInProgress:
		return "", refuse(op, s.Cluster, "wait for the backup to end", ErrBackup, "as seen from %s", s.ReadFrom)
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

func (t transfer) reboot(ctx context.Context, s Snapshot, _ Group) (string, error) {
	return "no node says that it waits for one", errors.Join(t.inspectEach(ctx, s, func(_ string, in Inspection) error {
		const op = "check reboot"
		switch how := strings.Join(in.Reasons, ", "); {
		case in.RebootPending:
			return refuse(op, in.Node, "reboot the node while it is passive", ErrRebootPending, "%s", how)
		case !in.RebootKnown:
			return refuse(op, in.Node, "see on the node whether it waits for a reboot, then waive this step", ErrNotTold,
				"whether a reboot is pending (%s)", how)
		}
		return nil
	})...)
}

func (t transfer) builds(ctx context.Context, s Snapshot, _ Group) (string, error) {
	seen := map[string][]string{}
	errs := t.inspectEach(ctx, s, func(_ string, in Inspection) error {
		seen[in.Build] = append(seen[in.Build], in.Node)
		return nil
	})
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
