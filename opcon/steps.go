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

func (q *quiesce) find(ctx context.Context) (Machine, error) {
	return q.c.FindMachine(ctx, q.machine)
}

func (q *quiesce) checkService() failover.Step {
	s := q.step("service", "OpCon's API answers, the login works and the scheduling engine runs", sourceOurs)
	s.Kind, s.Target, s.Entry = failover.Check, "OpCon", true // later steps say themselves when OpCon does not answer
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		version, err := q.c.Service(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		return failover.Observation{Done: true, Found: "version " + version + ", scheduling engine runs"}, nil
	}
	return s
}

func (q *quiesce) checkMachine() failover.Step {
	s := q.step("machine", "Exactly one OpCon machine has this name and is of the type expected", sourceOurs)
	s.Kind, s.Firm, s.Guards = failover.Check, true, q.prefix+stepDown
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		m, err := q.find(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		obs := failover.Observation{Done: m.TypeID == q.o.TypeID,
			Found: fmt.Sprintf("machine %d, type %d, address %s", m.ID, m.TypeID, m.Address)}
		if !obs.Done {
			obs.Found += fmt.Sprintf(", not the type %d expected", q.o.TypeID)
		}
		obs.Note = fmt.Sprintf("%s, asked %s; OpCon %s", m.State, m.Asked, m.jobs())
		if m.AllowKill {
			obs.Note += "; OpCon may kill its jobs, which the vendor advises against on RSJ hosts"
		}
		return obs, nil
	}
	return s
}

func (q *quiesce) checkScope() failover.Step {
	s := q.step("scope", "The machine has schedules that the service account can see", sourceOurs)
	s.Kind, s.Entry = failover.Check, true // the hold reads the scope again by itself
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		r, err := q.record(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		sc, err := q.c.scopeOf(ctx, r.Machine, q.dates, 0)
		if err != nil {
			return failover.Observation{}, err
		}
		if len(sc.roots) == 0 {
			return failover.Observation{Found: "no schedule has a job for this machine; the service account may lack schedule " +
				"or department access"}, nil
		}
		return failover.Observation{Done: true, Found: fmt.Sprintf("%d schedules", len(sc.roots)),
			Note: fmt.Sprintf("%d jobs on %d dates", len(sc.jobs), len(sc.dates))}, nil
	}
	return s
}

// record returns the record, or one with the machine alone where there is none yet.
func (q *quiesce) record(ctx context.Context) (Record, error) {
	r, ok, err := q.load(ctx)
	if err == nil && !ok {
		r.Machine, err = q.find(ctx)
	}
	return r, err
}

func (q *quiesce) snapshot() failover.Step {
	s := q.step("snapshot", "Record the machine, its address, its schedules and its running jobs", sourceOurs)
	s.Undo = failover.NothingToUndo
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		r, ok, err := q.load(ctx)
		if err != nil || ok {
			return failover.Observation{Done: ok, Found: "recorded", Note: r.TakenAt}, err
		}
		return failover.Observation{Found: "not recorded", Would: "write the record to the journal"}, nil
	}
	s.Apply = func(ctx context.Context) error {
		m, err := q.find(ctx)
		if err != nil {
			return err
		}
		r, err := q.c.snapshot(ctx, m, q.reason, q.dates)
		if err != nil {
			return err
		}
		return q.keep(ctx, "record", r)
	}
	return s
}

func (q *quiesce) holdFirst() failover.Step {
	// The last undo of all: with the machine as it was, everything held on the way is released.
	return q.hold(stepHold, "Hold every schedule that can start a job on the machine",
		func(HeldSchedule) bool { return true })
}

func (q *quiesce) holdMore() failover.Step {
	return q.hold(stepHoldMore, "Hold the schedules built while the machine was drained", q.heldBy(stepHoldMore))
}

// hold is a step that holds schedules; its undo releases those that are its own.
func (q *quiesce) hold(step, title string, ours func(HeldSchedule) bool) failover.Step {
	s := q.step("schedules", title, sourceEpisys+"; "+sourceOps)
	s.Timeout = q.o.HoldTimeout
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		r, err := q.record(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		sc, err := q.lookHeld(ctx, step, r)
		if err != nil {
			return failover.Observation{}, err
		}
		return holdObservation(sc, sc.toHold()), nil
	}
	s.Apply = func(ctx context.Context) error {
		_, _, err := q.holdAll(ctx, step, surveyAge)
		return err
	}
	s.Undo = func(ctx context.Context) error { return q.release(ctx, ours) }
	s.Undone = func(ctx context.Context) (failover.Observation, error) { return q.released(ctx, ours) }
	return s
}

// heldBy tells what a step has held.
func (q *quiesce) heldBy(step string) func(HeldSchedule) bool {
	return func(h HeldSchedule) bool { return h.Step == q.prefix+step }
}

// holdObservation has one row per root schedule, in the order of date and name.
func holdObservation(sc scope, list []Schedule) failover.Observation {
	open := map[ScheduleID]bool{}
	names := make([]string, len(list))
	for i, sch := range list {
		open[sch.ID], names[i] = true, sch.String()
	}
	obs := failover.Observation{Done: len(list) == 0, Found: fmt.Sprintf("%d of %d schedules can start jobs",
		len(list), len(sc.roots))}
	for _, id := range sc.roots {
		sch := sc.schedules[id]
		obs.Items = append(obs.Items, failover.Item{Target: sch.String(), Done: !open[id], Found: heldWord(sch)})
	}
	for _, sch := range list {
		if sc.rootOf[sch.ID] != "" && sc.rootOf[sch.ID] != sch.ID {
			obs.Items = append(obs.Items, failover.Item{Target: sch.String(),
				Found: "did not follow its parent's hold"})
		}
	}
	if len(list) > 0 {
		obs.Would = "hold " + strings.Join(names, ", ")
	}
	return obs
}

// heldWord leaves out what changes by itself, such as waiting becoming running, since it is hashed into the plan.
func heldWord(s Schedule) string {
	switch s.State {
	case ScheduleHeld, ScheduleParentHeld, ScheduleFinished, ScheduleUnknown:
		return s.words()
	}
	return "not held"
}

// released looks whether nothing of what this run held is held any more.
func (w *work) released(ctx context.Context, ours func(HeldSchedule) bool) (failover.Observation, error) {
	r, ok, err := w.load(ctx)
	if err != nil || !ok {
		return failover.Observation{Done: err == nil, Found: "nothing was held"}, err
	}
	list, err := w.c.pendingRelease(ctx, r, ours)
	return failover.Observation{Done: err == nil && len(list) == 0,
		Found: fmt.Sprintf("%d schedules held by this step are not free", len(list))}, err
}

func (q *quiesce) limited() failover.Step {
	s := q.step("limited", "Let the machine start no more jobs",
		"vendor, AIX and Symitar maintenance: stop job starts, let jobs end, mark down")
	s.Observe = q.asked("limited", "let no more jobs start", MachineLimited, MachineDown)
	s.Apply = func(ctx context.Context) error { return q.set(ctx, MachineLimited) }
	s.Undo = func(ctx context.Context) error { return q.restore(ctx, false) }
	return s
}

// asked observes what OpCon was asked for; the line's own state follows later and by itself. The finding does not name
// the state before, which the steps in front change.
func (q *quiesce) asked(what, would string, want ...MachineState) func(context.Context) (failover.Observation, error) {
	return func(ctx context.Context) (failover.Observation, error) {
		m, err := q.find(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		obs := failover.Observation{Found: "the machine is not " + what,
			Note: fmt.Sprintf("asked %s, line %s; OpCon %s", m.Asked, m.State, m.jobs()), Would: would}
		if slices.Contains(want, m.Asked) {
			obs.Done, obs.Found, obs.Would = true, "the machine is "+what, ""
		}
		return obs, nil
	}
}

// restore asks for what was asked for before. After a planned quiesce the way back from down leads over limited, whose
// own undo opens it.
func (q *quiesce) restore(ctx context.Context, fromDown bool) error {
	r, err := q.must(ctx, "restore machine")
	if err != nil {
		return err
	}
	want := r.Machine.Asked
	if fromDown && q.o.Mode == ModePlanned && want == MachineUp {
		want = MachineLimited
	}
	if want == MachineUnknown {
		return unchanged("restore machine", q.machine, "bring the machine up by hand",
			fmt.Errorf("%w: what it was asked for before is not known", failover.ErrPrecondition))
	}
	return q.c.setMachine(ctx, r.Machine.ID, want)
}

func (q *quiesce) drain() failover.Step {
	s := q.step("jobs", "Wait until no job runs on the machine",
		"vendor, AIX and Symitar maintenance: let jobs end before the machine goes down")
	s.Kind, s.Wait, s.Timeout, s.Poll = failover.Check, true, q.o.DrainTimeout, q.o.DrainPoll
	s.Guards = q.prefix + stepDown // down, OpCon hears nothing of the jobs any more
	s.Help = "let the jobs end, or waive the step with a reason: what still runs then is listed as interrupted"
	s.Observe = q.lookRunning
	return s
}

func (q *quiesce) lookRunning(ctx context.Context) (failover.Observation, error) {
	// What runs changes by itself and has no place in a plan's findings.
	if _, ok, err := q.load(ctx); err != nil || !ok {
		return failover.Observation{Found: "known once the machine takes no more jobs"}, err
	}
	m, err := q.find(ctx)
	if err != nil {
		return failover.Observation{}, err
	}
	var jobs []Job
	if m.CurrentJobs == nil || *m.CurrentJobs != 0 {
		if jobs, err = q.c.runningOn(ctx, m, q.dates); err != nil {
			return failover.Observation{}, err
		}
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
	var obs failover.Observation
	switch {
	case len(jobs) > 0:
		obs.Found = fmt.Sprintf("%d jobs run or may run (OpCon %s): %s", len(jobs), m.jobs(), jobNames(jobs, 10))
	case m.CurrentJobs == nil:
		obs.Found = "OpCon shows no running job, but does not tell how many jobs it counts on the machine; look on the " +
			"host, and waive the step with a reason if none runs"
	case *m.CurrentJobs != 0:
		obs.Found = fmt.Sprintf("OpCon %s and shows none running; the count may be stale, which only \"re-synchronize "+
			"running jobs\" of the desktop client corrects",
			m.jobs())
	default:
		obs.Done, obs.Found = true, "no job runs"
	}
	for _, j := range jobs {
		obs.Items = append(obs.Items, failover.Item{Target: j.String(), Found: j.words()})
	}
	return obs, nil
}

// jobNames lists the first so many jobs.
func jobNames(jobs []Job, most int) string {
	var names []string
	for _, j := range jobs[:min(most, len(jobs))] {
		names = append(names, j.String())
	}
	if n := len(jobs) - most; n > 0 {
		names = append(names, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(names, ", ")
}

func (q *quiesce) down() failover.Step {
	s := q.step("machine", "Take the machine down, with every schedule held", sourceEpisys+"; "+sourceMachine)
	s.Timeout = q.o.HoldTimeout
	s.Observe = q.asked("down", "hold what is new, note what runs, then take the machine down", MachineDown)
	s.Apply = func(ctx context.Context) error {
		// A schedule built since the hold would send its jobs to their alternate machines the moment this one is down.
		sc, held, err := q.holdAll(ctx, stepDown, 0)
		if err != nil {
			return err
		}
		r, err := q.must(ctx, "take down machine")
		if err != nil {
			return err
		}
		r.addRunning(sc.runningJobs())
		if held > 0 { // a job of what was held just now may have started before the hold took effect
			more, err := q.c.runningOn(ctx, r.Machine, q.dates)
			if err != nil {
				return lowered(err, true)
			}
			r.addRunning(more)
		}
		r.DownAt = q.c.serverNow().Format(timeFormat)
		if err := q.keep(ctx, "take down machine", r); err != nil {
			return lowered(err, held > 0)
		}
		return lowered(q.c.setMachine(ctx, r.Machine.ID, MachineDown), held > 0)
	}
	ours := q.heldBy(stepDown)
	s.Undo = func(ctx context.Context) error {
		if err := q.restore(ctx, true); err != nil {
			return err
		}
		return q.release(ctx, ours)
	}
	look := s.Observe
	s.Undone = func(ctx context.Context) (failover.Observation, error) {
		obs, err := look(ctx)
		if err != nil || obs.Done {
			return failover.Observation{Found: obs.Found}, err
		}
		return q.released(ctx, ours)
	}
	return s
}
