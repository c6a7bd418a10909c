package idm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
)

func (m *mover) jobs() failover.Step {
	return failover.Step{ID: "jobs", Writes: []string{factJobsBefore.Name, factJobsTold.Name},
		Title: "Let the jobs run on the target instead of the source", Target: m.DriverSet, Kind: failover.Change,
		Poll: m.Poll, Observe: m.lookJobs, Apply: m.moveJobs,
		Source: ours + "a DirXML-Job runs only on the servers in its DirXML-ServerList (schema), which no export of the " +
			"vendor's tools carries",
		Undo: undoing(factJobsBefore, func(ctx context.Context, before map[string][]string) error {
			return failover.EachTarget(ctx, m.Limit, m.changed(before), self, func(ctx context.Context, job string) error {
				out := m.Target.DN()
				if containsDN(before[job], out) {
					out = "" // it ran there before
				}
				if _, err := m.swapServers(ctx, job, out, m.sourceDN); err != nil {
					return err
				}
				_, err := m.tellEngine(ctx, job)
				return err
			})
		}),
		Undone: undone(factJobsBefore, func(ctx context.Context, before map[string][]string) (failover.Observation, error) {
			lists, _, err := m.jobLists(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			var rows []failover.Item
			for _, job := range m.changed(before) {
				list, exists := lists[job]
				back := containsDN(list, m.sourceDN) &&
					containsDN(list, m.Target.DN()) == containsDN(before[job], m.Target.DN())
				rows = append(rows, failover.Item{Target: job, Done: !exists || back,
					Found: "runs on " + strings.Join(list, " and ")})
			}
			return summary(rows, "jobs run on the source again, and on the target as before"), nil
		})}
}

// changed returns the jobs whose lists the step changes.
func (m *mover) changed(before map[string][]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(before)),
		func(job string) bool { return !containsDN(before[job], m.sourceDN) })
}

// jobLists returns the server lists of the jobs that move: those of the drivers, and those of the driver set when every
// driver moves.
func (m *mover) jobLists(ctx context.Context) (move map[string][]string, stay []string, err error) {
	sel, err := m.Target.selection(ctx, ServerDataOptions{DriverSet: m.DriverSet, Drivers: m.Drivers})
	if err != nil {
		return nil, nil, err
	}
	move = map[string][]string{}
	q := Query{Base: m.DriverSet, Scope: ScopeSubtree, Filter: "(objectClass=DirXML-Job)",
		Attributes: []string{serverList}}
	for e, err := range m.Target.Entries(ctx, q) {
		switch {
		case err != nil:
			return nil, nil, err
		case !sel.includes(e.DN):
		case SameDN(sel.holder(e.DN), m.DriverSet) && len(sel.leftOut) > 0:
			stay = append(stay, e.DN)
		case len(e.Get(serverList)) == 0: // a job cannot be without
			return nil, nil, notDone("read "+serverList+" of", e.DN, "grant the user the right to read it",
				fmt.Errorf("%w: it is not shown", ErrNoAccess))
		default:
			move[e.DN] = e.Texts(serverList)
		}
	}
	slices.Sort(stay)
	return move, stay, nil
}

func (m *mover) lookJobs(ctx context.Context) (failover.Observation, error) {
	lists, stay, err := m.jobLists(ctx)
	if err != nil {
		return failover.Observation{}, err
	}
	before, _, err := factJobsBefore.Load(ctx)
	told, errTold := factJobsTold.Load(ctx)
	if err := errors.Join(err, errTold); err != nil {
		return failover.Observation{}, err
	}
	var rows []failover.Item
	for _, job := range slices.Sorted(maps.Keys(lists)) {
		row := failover.Item{Target: job, Done: !containsDN(lists[job], m.sourceDN),
			Found: "runs on " + strings.Join(lists[job], " and ")}
		if was, changed := before[job]; row.Done && changed && containsDN(was, m.sourceDN) {
			switch said, asked := told[job]; {
			case !asked:
				row.Done, row.Found = false, row.Found+", the engine was not told"
			case !said:
				row.Found += ", the engine could not be told: it sees the change when it is loaded again"
			}
		}
		rows = append(rows, row)
	}
	for _, job := range stay {
		rows = append(rows, failover.Item{Target: job, Done: true,
			Found: "belongs to the driver set, of which other drivers stay: decide by hand"})
	}
	obs := summary(rows, "jobs name the right servers")
	obs.Would = "put the target in the place of the source and tell the engine"
	return obs, nil
}

func (m *mover) moveJobs(ctx context.Context) error {
	before, err := factJobsBefore.Capture(ctx, func(ctx context.Context) (map[string][]string, error) {
		lists, _, err := m.jobLists(ctx)
		return lists, err
	})
	if err != nil {
		return notApplied(err)
	}
	told, err := factJobsTold.Load(ctx)
	if err != nil {
		return notApplied(err)
	}
	return failover.EachTarget(ctx, m.Limit, m.changed(before), self, func(ctx context.Context, job string) error {
		wrote, err := m.swapServers(ctx, job, m.sourceDN, m.Target.DN())
		if _, asked := told[job]; err != nil || !wrote && asked {
			return err
		}
		said, err := m.tellEngine(ctx, job)
		if err != nil {
			return err
		}
		return factJobsTold.Put(ctx, job, said)
	})
}

// tellEngine lets the engine read the job again; said is false where that cannot be told it.
func (m *mover) tellEngine(ctx context.Context, job string) (said bool, err error) {
	// The argument of the operation is inferred. A server that does not take it is no reason to stop here: the list is
	// right.
	if err = m.Target.NotifyJob(ctx, job); errors.Is(err, ErrNotSupported) {
		return false, nil
	}
	return err == nil, behind.Effect(err)
}

// swapServers takes one server out of the list of a job, "" for none, and puts another one in, in one request: a job must
// never be without a server. What else is in the list was put there by others.
func (m *mover) swapServers(ctx context.Context, job, out, in string) (wrote bool, err error) {
	have, err := m.Target.ServerList(ctx, job)
	if err != nil {
		return false, notApplied(err)
	}
	var changes []AttributeChange
	if !containsDN(have, in) {
		changes = append(changes, AttributeChange{ChangeAdd, Text(serverList, in)})
	}
	for _, dn := range have {
		if SameDN(dn, out) {
			changes = append(changes, AttributeChange{ChangeDelete, Text(serverList, dn)})
		}
	}
	if len(changes) == 0 {
		return false, nil
	}
	return true, m.Target.Modify(ctx, job, changes...)
}
