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
	return failover.Step{ID: "jobs", Writes: []string{factJobsBefore.Name, factJobsTold.Name, factJobsToldBack.Name},
		Title: "Let the jobs run on the target instead of the source", Target: m.DriverSet, Kind: failover.Change,
		Poll: m.Poll, Timeout: m.allDrivers(m.StopTimeout), Observe: m.lookJobs, Apply: m.moveJobs,
		Source: ours + "a DirXML-Job runs only on the servers in its DirXML-ServerList (schema), which no export of the " +
			"vendor's tools carries",
		Undo: undoing(factJobsBefore, func(ctx context.Context, before map[string][]string) error {
			return m.eachJob(ctx, before, factJobsToldBack, func(job string) (out, in string) {
				if containsDN(before[job], m.Target.DN()) {
					return "", m.sourceDN // it ran on both before
				}
				return m.Target.DN(), m.sourceDN
			})
		}),
		Undone: undone(factJobsBefore, func(ctx context.Context, before map[string][]string) (failover.Observation, error) {
			lists, _, err := m.jobLists(ctx)
			told, errTold := factJobsToldBack.Load(ctx)
			if err = errors.Join(err, errTold); err != nil {
				return failover.Observation{}, err
			}
			var rows []failover.Item
			for _, job := range m.changed(before) {
				list, exists := lists[job]
				if !exists {
					continue // somebody has deleted it
				}
				back := containsDN(list, m.sourceDN) &&
					containsDN(list, m.Target.DN()) == containsDN(before[job], m.Target.DN())
				rows = append(rows, jobRow(job, list, back, told))
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
		of := told
		if !containsDN(before[job], m.sourceDN) {
			of = nil // nobody has to be told of it
		}
		rows = append(rows, jobRow(job, lists[job], !containsDN(lists[job], m.sourceDN), of))
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
	return m.eachJob(ctx, before, factJobsTold, func(string) (out, in string) { return m.sourceDN, m.Target.DN() })
}

// jobRow tells where a job runs, and whether the engines know it; told is nil where they need not.
func jobRow(job string, list []string, done bool, told map[string]string) failover.Item {
	row := failover.Item{Target: job, Done: done, Found: "runs on " + strings.Join(list, " and ")}
	if note, asked := told[job]; asked {
		row.Found += note
	} else if done && told != nil {
		row.Done, row.Found = false, row.Found+", the engines were not told"
	}
	return row
}

// eachJob puts one server in the place of another for every job that moves, and tells the engines.
func (m *mover) eachJob(ctx context.Context, before map[string][]string, told failover.FactMap[string],
	swap func(job string) (out, in string)) error {
	asked, err := told.Load(ctx)
	if err != nil {
		return notApplied(err)
	}
	return failover.EachTarget(ctx, m.Limit, m.changed(before), self, func(ctx context.Context, job string) error {
		out, in := swap(job)
		wrote, err := m.swapServers(ctx, job, out, in)
		if _, already := asked[job]; err != nil || !wrote && already {
			return unless(ErrNoEntry, err) // somebody has deleted it
		}
		list, err := m.Target.ServerList(ctx, job)
		if err != nil {
			return behind.Effect(err)
		}
		note, err := m.tellSource(ctx, job, list)
		if err != nil {
			return behind.Effect(err)
		}
		said, err := tellEngine(ctx, m.Target, job)
		if err != nil {
			return behind.Effect(err)
		}
		return told.Put(ctx, job, note+said)
	})
}

// tellSource tells the engine of the source, once the change has come there: an engine that is not told goes on by the
// list it knows, and the job would run on both. note is what a person has to know where there is nothing to tell.
func (m *mover) tellSource(ctx context.Context, job string, list []string) (note string, err error) {
	if m.source == nil {
		return "", nil
	}
	for {
		have, err := m.source.ServerList(ctx, job)
		switch {
		case err != nil:
		case len(lacking(have, list))+len(lacking(list, have)) == 0:
			note, err = tellEngine(ctx, m.source, job)
		case pause(ctx, m.Poll) == nil:
			continue
		default:
			err = notDone("tell the engine of", m.sourceDN, "see that the replicas synchronize, and run again",
				fmt.Errorf("%w: the change of %s has not come there", failover.ErrNotObserved, job))
		}
		if away(ctx, err) || notServed(err) {
			return untold(m.sourceDN), nil
		}
		return note, err
	}
}

// tellEngine lets an engine read a job again. The argument of the operation is inferred. A server that does not take it
// is no reason to stop: the list is right.
func tellEngine(ctx context.Context, s *Server, job string) (note string, err error) {
	if err = s.NotifyJob(ctx, job); errors.Is(err, ErrNotSupported) {
		return untold(s.DN()), nil
	}
	return "", err
}

func untold(serverDN string) string {
	return ", the engine could not be told on " + commonName(serverDN) + ": it sees the change when it is loaded again"
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
