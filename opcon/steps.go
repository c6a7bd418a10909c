package opcon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

const (
	sourceEpisys = "vendor, RSJ and FAILOVER: bring the Symitar server down in OpCon and hold at least all schedules of " +
		"the machine before the macro"
	sourceMachine = "vendor, machines: a job whose machine is down may start on an alternate machine; a record is edited " +
		"when the machine is down"
	sourceWrong = "vendor, RSJ and FAILOVER: it is the users' responsibility that OpCon does not run jobs on the wrong " +
		"machine once the macro has run"
	sourceOps  = "vendor, schedule operations: a hold does not cover schedules built later"
	sourceOurs = "ours: what was found is needed to take the changes back and to release no more than was held"
)

type quiesce struct {
	work
	o QuiesceOptions
}

func (q *quiesce) checkService() failover.Step {
	s := q.step("service", "OpCon's API answers, the login works and the scheduling engine runs", sourceOurs,
		seen(q.c.Service, func(version string) failover.Observation {
			return failover.Observation{Done: true, Found: "version " + version + ", scheduling engine runs"}
		}))
	s.Kind, s.Target, s.Entry = failover.Check, "OpCon", true // later steps say themselves when OpCon does not answer
	return s
}

func (q *quiesce) checkMachine() failover.Step {
	s := q.step("machine", "Exactly one OpCon machine has this name and is of the type expected", sourceOurs,
		seen(func(ctx context.Context) (Machine, error) { return q.c.FindMachine(ctx, q.machine) },
			func(m Machine) failover.Observation {
				obs := failover.Observation{Done: m.TypeID == q.o.TypeID,
					Found: fmt.Sprintf("machine %d, type %d, address %s", m.ID, m.TypeID, m.Address),
					Note:  fmt.Sprintf("%s, asked %s; OpCon %s", m.State, m.Asked, m.jobs())}
				if !obs.Done {
					obs.Found += fmt.Sprintf(", not the type %d expected", q.o.TypeID)
				}
				if m.AllowKill {
					obs.Note += "; OpCon may kill its jobs, which the vendor advises against on RSJ hosts"
				}
				return obs
			}))
	s.Kind, s.Firm, s.Guards = failover.Check, true, q.prefix+stepDown
	return s
}

func (q *quiesce) checkScope() failover.Step {
	s := q.step("scope", "The machine has schedules that the service account can see", sourceOurs,
		seen(func(ctx context.Context) (scope, error) {
			r, err := q.record(ctx)
			if err != nil {
				return scope{}, err
			}
			return q.c.scopeOf(ctx, r.Machine, q.dates, 0)
		}, func(sc scope) failover.Observation {
			if len(sc.roots) == 0 {
				return failover.Observation{Found: "no schedule has a job for this machine; the service account may lack " +
					"schedule or department access"}
			}
			return failover.Observation{Done: true, Found: fmt.Sprintf("%d schedules", len(sc.roots)),
				Note: fmt.Sprintf("%d jobs on %d dates", len(sc.jobs), len(sc.dates))}
		}))
	s.Kind, s.Entry = failover.Check, true // the hold reads the scope again by itself
	return s
}

// record returns the record, or one with the machine alone where there is none yet.
func (q *quiesce) record(ctx context.Context) (Record, error) {
	r, ok, err := q.load(ctx)
	if err == nil && !ok {
		r.Machine, err = q.c.FindMachine(ctx, q.machine)
	}
	return r, err
}

func (q *quiesce) snapshot() failover.Step {
	s := q.step("snapshot", "Record the machine, its address, its schedules and its running jobs", sourceOurs,
		func(ctx context.Context) (failover.Observation, error) {
			r, ok, err := q.load(ctx)
			if err != nil || ok {
				return failover.Observation{Done: ok, Found: "recorded", Note: r.TakenAt}, err
			}
			return failover.Observation{Found: "not recorded", Would: "write the record to the journal"}, nil
		})
	s.Undo = failover.NothingToUndo
	s.Apply = func(ctx context.Context) error {
		r, err := q.record(ctx)
		if err == nil {
			r, err = q.c.snapshot(ctx, r.Machine, q.reason, q.dates)
		}
		if err != nil {
			return err
		}
		return q.keep(ctx, "record", r)
	}
	return s
}

// hold is a step that holds schedules; its undo releases those that are its own.
func (q *quiesce) hold(step, title string, ours func(HeldSchedule) bool) failover.Step {
	s := q.step("schedules", title, sourceEpisys+"; "+sourceOps, seen(func(ctx context.Context) (scope, error) {
		r, err := q.record(ctx)
		if err != nil {
			return scope{}, err
		}
		return q.lookHeld(ctx, step, r, surveyAge)
	}, func(sc scope) failover.Observation { return holdObservation(sc, sc.toHold()) }))
	s.Timeout = q.o.HoldTimeout
	s.Apply, s.Undo, s.Undone = q.holdNew(step), q.free(ours), q.freed(ours)
	return s
}

// holdNew holds, in a step, what is not held yet.
func (w *work) holdNew(step string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := w.holdAll(ctx, step, surveyAge)
		return err
	}
}

// heldBy tells what a step has held.
func (q *quiesce) heldBy(step string) func(HeldSchedule) bool {
	return func(h HeldSchedule) bool { return h.Step == q.prefix+step }
}

// free releases what is ours, and freed looks whether nothing of it is held any more.
func (q *quiesce) free(ours func(HeldSchedule) bool) func(context.Context) error {
	return func(ctx context.Context) error {
		return q.release(ctx, func(ctx context.Context, r Record) ([]Schedule, error) {
			return q.c.pendingRelease(ctx, r, ours)
		})
	}
}

func (q *quiesce) freed(ours func(HeldSchedule) bool) looker {
	return seen(func(ctx context.Context) ([]Schedule, error) {
		r, ok, err := q.load(ctx)
		if err != nil || !ok {
			return nil, err
		}
		return q.c.pendingRelease(ctx, r, ours)
	}, func(list []Schedule) failover.Observation {
		return failover.Observation{Done: len(list) == 0,
			Found: fmt.Sprintf("%d schedules held by this step are not free", len(list))}
	})
}

// holdObservation has one row per root schedule, in the order of date and name.
func holdObservation(sc scope, list []Schedule) failover.Observation {
	open := map[ScheduleID]bool{}
	for _, sch := range list {
		open[sch.ID] = true
	}
	telling := []ScheduleState{ScheduleHeld, ScheduleParentHeld, ScheduleFinished, ScheduleUnknown}
	obs := failover.Observation{Done: len(list) == 0, Found: fmt.Sprintf("%d schedules are to be held", len(list))}
	for _, id := range sc.roots {
		sch, found := sc.schedules[id], "not held"
		// What changes by itself, such as waiting becoming running, is left out, since it is hashed into the plan.
		if slices.Contains(telling, sch.State) {
			found = sch.words()
		}
		obs.Items = append(obs.Items, failover.Item{Target: sch.String(), Done: !open[id], Found: found})
	}
	for _, sch := range list {
		if sc.rootOf[sch.ID] != "" && sc.rootOf[sch.ID] != sch.ID {
			obs.Items = append(obs.Items, failover.Item{Target: sch.String(), Found: "did not follow its parent's hold"})
		}
	}
	if len(list) > 0 {
		obs.Would = "hold " + strings.Join(convert(list, Schedule.String), ", ")
	}
	return obs
}

func (q *quiesce) limited() failover.Step {
	s := q.step("limited", "Let the machine start no more jobs",
		"vendor, AIX and Symitar maintenance: stop job starts, let jobs end, mark down",
		q.asked("limited", "let no more jobs start", MachineLimited, MachineDown))
	s.Apply, s.Undo = q.set(MachineLimited), q.restore(false)
	return s
}

// asked observes what OpCon was asked for; the line's own state follows later and by itself. The finding does not name
// the state before, which the steps in front change.
func (q *quiesce) asked(what, would string, want ...MachineState) looker {
	return seen(func(ctx context.Context) (Machine, error) {
		r, err := q.record(ctx)
		if err != nil {
			return Machine{}, err
		}
		return q.readMachine(ctx, r)
	}, func(m Machine) failover.Observation {
		obs := failover.Observation{Found: "the machine is not " + what, Would: would,
			Note: fmt.Sprintf("asked %s, line %s; OpCon %s", m.Asked, m.State, m.jobs())}
		if slices.Contains(want, m.Asked) {
			obs.Done, obs.Found, obs.Would = true, "the machine is "+m.Asked.String(), ""
		}
		return obs
	})
}

// restore asks for what was asked for before. After a planned quiesce the way back from down leads over limited, whose
// own undo opens it.
func (q *quiesce) restore(fromDown bool) func(context.Context) error {
	const op = "restore machine"
	return q.with(op, func(ctx context.Context, r Record) error {
		want := r.Machine.Asked
		if fromDown && q.o.Mode == ModePlanned && want == MachineUp {
			want = MachineLimited
		}
		if want == MachineUnknown {
			return unchanged(op, q.machine, "bring the machine up by hand",
				because(failover.ErrPrecondition, "what it was asked for before is not known"))
		}
		return q.c.setMachine(ctx, r.Machine.ID, want)
	})
}

func (q *quiesce) drain() failover.Step {
	s := q.step("jobs", "Wait until no job runs on the machine",
		"vendor, AIX and Symitar maintenance: let jobs end before the machine goes down", q.lookRunning)
	s.Kind, s.Wait, s.Timeout, s.Poll = failover.Check, true, q.o.DrainTimeout, q.o.DrainPoll
	s.Guards = q.prefix + stepDown // down, OpCon hears nothing of the jobs any more
	s.Help = "let the jobs end, or waive the step with a reason: what still runs then is listed as interrupted"
	return s
}

func (q *quiesce) lookRunning(ctx context.Context) (failover.Observation, error) {
	// What runs changes by itself and has no place in a plan's findings.
	r, ok, err := q.load(ctx)
	if err != nil || !ok {
		return failover.Observation{Found: "known once the machine takes no more jobs"}, err
	}
	m, err := q.readMachine(ctx, r)
	var jobs []Job
	if err == nil && (m.CurrentJobs == nil || *m.CurrentJobs != 0) {
		jobs, err = q.c.runningOn(ctx, m, q.dates)
	}
	if err != nil {
		return failover.Observation{}, err
	}
	if len(jobs) == 0 {
		// Nothing in the category asked for: before that is believed, every job of the machine is read, also those
		// whose words are not known.
		began := time.Now()
		sc, err := q.c.scopeOf(ctx, m, q.dates, 0)
		if err != nil {
			return failover.Observation{}, err
		}
		q.last.put(sc, began, 0)
		jobs = sc.runningJobs()
	}
	names := strings.Join(convert(jobs[:min(10, len(jobs))], Job.String), ", ")
	if n := len(jobs) - 10; n > 0 {
		names += fmt.Sprintf(", and %d more", n)
	}
	var obs failover.Observation
	switch {
	case len(jobs) > 0:
		obs.Found = fmt.Sprintf("%d jobs run or may run (OpCon %s): %s", len(jobs), m.jobs(), names)
	case m.CurrentJobs == nil:
		obs.Found = "OpCon shows no running job, but does not tell how many jobs it counts on the machine; look on the " +
			"host, and waive the step with a reason if none runs"
	case *m.CurrentJobs != 0:
		obs.Found = fmt.Sprintf("OpCon %s and shows none running; the count may be stale, which only \"re-synchronize "+
			"running jobs\" of the desktop client corrects", m.jobs())
	default:
		obs.Done, obs.Found = true, "no job runs"
	}
	if !obs.Done && m.Asked == MachineDown {
		obs.Found += "; the machine is down, so OpCon does not hear of their end: set it to limited"
	}
	for _, j := range jobs {
		obs.Items = append(obs.Items, failover.Item{Target: j.String(), Found: j.words()})
	}
	return obs, nil
}

func (q *quiesce) down() failover.Step {
	const op = "take down machine"
	s := q.step("machine", "Take the machine down, with every schedule held", sourceEpisys+"; "+sourceMachine,
		q.asked("down", "hold what is new, note what runs, then take the machine down", MachineDown))
	s.Timeout = q.o.HoldTimeout
	s.Apply = func(ctx context.Context) error {
		// A schedule built since the hold would send its jobs to their alternate machines the moment this one is down.
		sc, held, err := q.holdAll(ctx, stepDown, 0)
		if err != nil {
			return err
		}
		return lowered(q.with(op, func(ctx context.Context, r Record) error {
			r.addRunning(sc.runningJobs())
			if held > 0 { // a job of what was held just now may have started before the hold took effect
				more, err := q.c.runningOn(ctx, r.Machine, q.dates)
				if err != nil {
					return err
				}
				r.addRunning(more)
			}
			if err := q.keep(ctx, op, r); err != nil {
				return err
			}
			if err := q.c.setMachine(ctx, r.Machine.ID, MachineDown); err != nil {
				return err
			}
			r.DownAt = q.c.stamp()
			return lowered(q.keep(ctx, op, r), true)
		})(ctx), held > 0)
	}
	ours, look := q.heldBy(stepDown), s.Observe
	s.Undo = func(ctx context.Context) error {
		if err := q.restore(true)(ctx); err != nil {
			return err
		}
		return lowered(q.free(ours)(ctx), true)
	}
	s.Undone = func(ctx context.Context) (failover.Observation, error) {
		obs, err := look(ctx)
		if err != nil || obs.Done {
			return failover.Observation{Found: obs.Found}, err
		}
		return q.freed(ours)(ctx)
	}
	return s
}
