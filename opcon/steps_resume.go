package opcon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// ResumeSteps returns the steps that set a quiesced machine going again, for use in any procedure after QuiesceSteps for
// the same machine and journal. Their IDs are, after the prefix:
//
//	hold-new-schedules   Change  hold what was built while the machine was down
//	repoint-machine      Change  write the new address into the machine record (EditRecord only)
//	machine-up           Change  bring the machine up and wait until the agent on the new host answers
//	interrupted          Check   list the jobs that need a decision; it always holds
//	rerun-interrupted    Change  carry out the decisions, or Manual: a person decides and does it
//	release-schedules    Change  release exactly what was held, schedule by schedule
//
// The agent on the new host has to run and to accept this OpCon server before machine-up.
func ResumeSteps(c *Client, o ResumeOptions) ([]failover.Step, error) {
	return resumeSteps(c, o, factStore(o.Machine, o.Record))
}

func resumeSteps(c *Client, o ResumeOptions, st store) ([]failover.Step, error) {
	if c == nil {
		return nil, failover.Invalid("client", "is nil", "make one with New")
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := &resume{c: c, o: o, st: st}
	steps := []failover.Step{r.holdNew()}
	if o.Repoint == EditRecord {
		steps = append(steps, r.repoint())
	}
	return writing(append(steps, r.up(), r.interrupted(), r.rerun(), r.release()), o.Machine), nil
}

type resume struct {
	c  *Client
	o  ResumeOptions
	st store
}

// step builds a step whose observation needs the record. In a plan made beforehand there is none yet.
func (r *resume) step(name, title, source, would string, look func(context.Context, Record) (failover.Observation, error)) failover.Step {
	s := failover.Step{ID: r.o.Prefix + name, Title: title, Target: r.o.Machine, Kind: failover.Change, Source: source,
		Timeout: time.Minute, Poll: r.c.set.pollFirst}
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		rec, ok, err := r.st.load(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		if !ok {
			return failover.Observation{Found: "known once the machine is quiesced", Would: would}, nil
		}
		return look(ctx, rec)
	}
	return s
}

func (r *resume) holdNew() failover.Step {
	s := r.step("hold-new-schedules", "Hold the schedules built while the machine was down", sourceOps, "hold what was built meanwhile",
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			sc, err := r.c.scopeOf(ctx, rec.Machine, r.o.Dates)
			if err != nil {
				return failover.Observation{}, err
			}
			return holdObservation(sc, rec.withoutReleased(sc.toHold())), nil
		})
	s.Timeout = r.o.HoldTimeout
	s.Apply = func(ctx context.Context) error {
		return r.c.holdAll(ctx, r.st, r.o.Machine, s.ID, r.o.Reason, r.o.Dates)
	}
	s.Undo = func(ctx context.Context) error { return r.c.releaseStep(ctx, r.st, r.o.Machine, r.o.Reason, s.ID) }
	return s
}

func (r *resume) repoint() failover.Step {
	would := "write the address " + r.o.Address.String() + " into the machine record"
	s := r.step("repoint-machine", "Point the machine record at the new host", "vendor, RSJ and FAILOVER, June 2026: update the UNIX machine record to the new host", would,
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			m, err := r.c.Machine(ctx, rec.Machine.ID)
			if err != nil {
				return failover.Observation{}, err
			}
			obs := failover.Observation{Done: m.Address.equal(r.o.Address), Found: "address " + m.Address.String()}
			if m.TLS {
				obs.Note = "the line to the agent uses TLS: the agent on the new host has a certificate of its own, and the record's TLS fields may have to follow"
			}
			if !obs.Done {
				obs.Would = would
			}
			return obs, nil
		})
	s.Apply = func(ctx context.Context) error {
		rec, err := r.st.must(ctx, "repoint machine", r.o.Machine)
		if err != nil {
			return err
		}
		to := r.o.Address
		rec.MovedTo = &to
		if err := r.st.keep(ctx, "repoint machine", rec); err != nil {
			return err
		}
		return r.c.setAddress(ctx, rec.Machine.ID, to)
	}
	s.Undo = func(ctx context.Context) error {
		rec, err := r.st.must(ctx, "repoint machine", r.o.Machine)
		if err != nil {
			return err
		}
		return r.c.setAddress(ctx, rec.Machine.ID, rec.Machine.Address)
	}
	return s
}

func (r *resume) up() failover.Step {
	s := r.step("machine-up", "Bring the machine up and wait until the agent on the new host answers", sourceMachine, "hold what is new, then bring the machine up",
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			m, err := r.c.Machine(ctx, rec.Machine.ID)
			if err != nil {
				return failover.Observation{}, err
			}
			obs := failover.Observation{Done: m.Asked == Up && m.State == Up, Found: "asked " + m.Asked.String() + ", line " + m.State.String(), Note: "address " + m.Address.String()}
			switch {
			case obs.Done:
			case m.Asked != Up:
				obs.Would = "hold what is new, then bring the machine up"
			case m.State == NotResponding:
				obs.Would = "wait for the agent: it does not answer; check that it runs on " + m.Address.String() + " and accepts this OpCon server"
			default:
				obs.Would = "wait for the agent"
			}
			return obs, nil
		})
	s.Timeout = r.o.UpTimeout
	s.Help = "check that the agent runs on the new host and accepts this OpCon server, then run again"
	s.Observe = r.c.lastSeen(s, s.Observe)
	s.Apply = func(ctx context.Context) error {
		if err := r.c.holdAll(ctx, r.st, r.o.Machine, s.ID, r.o.Reason, r.o.Dates); err != nil {
			return err
		}
		rec, err := r.st.must(ctx, "bring up machine", r.o.Machine)
		if err != nil {
			return err
		}
		if err := r.c.setMachine(ctx, rec.Machine.ID, Up); err != nil {
			return err
		}
		// Midnight may have come between the last pass and the machine being up.
		if err := r.c.holdAll(ctx, r.st, r.o.Machine, s.ID, r.o.Reason, r.o.Dates); err != nil {
			return r.c.fail("hold schedules of", r.o.Machine, failover.InDoubt, failover.NextOf(err), err)
		}
		return nil
	}
	s.Undo = func(ctx context.Context) error {
		rec, err := r.st.must(ctx, "take down machine", r.o.Machine)
		if err != nil {
			return err
		}
		if err := r.c.setMachine(ctx, rec.Machine.ID, Down); err != nil {
			return err
		}
		return r.c.releaseStep(ctx, r.st, r.o.Machine, r.o.Reason, s.ID)
	}
	return s
}

func (r *resume) interrupted() failover.Step {
	s := r.step("interrupted", "List the jobs that need a person's decision", "vendor, RSJ and FAILOVER: think of jobs that were interrupted and of jobs that never ran", "",
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			jobs, err := r.c.Interrupted(ctx, rec)
			if err != nil {
				return failover.Observation{}, err
			}
			obs := failover.Observation{Done: true, Found: fmt.Sprintf("%d jobs need a decision", len(jobs))}
			for _, j := range jobs {
				obs.Items = append(obs.Items, failover.Item{Target: j.Job.String(), Done: false, Found: fmt.Sprintf("%s; proposed: %s. %s", j.Why, j.Proposal.describe(), j.Hint)})
			}
			return obs, nil
		})
	s.Kind = failover.Check
	look := s.Observe
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		obs, err := look(ctx)
		obs.Done = err == nil // a list, never an obstacle, also in a plan made before there is a record
		return obs, err
	}
	return s
}

// describe says what a decision does, in one phrase.
func (d Decision) describe() string {
	text := d.Action.String()
	if d.MarkFailedFirst {
		text = "mark failed, then " + text
	}
	if d.Step != "" {
		text += " on step " + d.Step
	}
	return text
}

const rerunHelp = "Look at the list of interrupted jobs and at the schedules that stayed held. Decide job by job what must be run again; mark what OpCon " +
	"still shows running as failed before you restart it, and restart on hold. Rerun SMA_DATES if the date has changed. Confirm when it is determined what runs " +
	"once the schedules are released."

func (r *resume) rerun() failover.Step {
	const source = "vendor, RSJ and FAILOVER: hold all schedules until it is determined what needs to run or be rerun"
	if r.o.Decide == nil {
		return failover.Step{ID: r.o.Prefix + "rerun-interrupted", Title: "Decide job by job what has to run again", Target: r.o.Machine,
			Kind: failover.Manual, Help: rerunHelp, Source: source}
	}
	s := r.step("rerun-interrupted", "Carry out the decisions on interrupted jobs", source, "carry out the decisions, job by job", r.lookDecided)
	s.Timeout = r.o.HoldTimeout
	s.Apply = func(ctx context.Context) error {
		rec, err := r.st.must(ctx, "carry out decisions for", r.o.Machine)
		if err != nil {
			return err
		}
		if len(rec.Decided) == 0 {
			jobs, err := r.c.Interrupted(ctx, rec)
			if err != nil {
				return err
			}
			decisions, err := decide(ctx, r.o.Machine, r.o.Decide, jobs)
			if err != nil {
				return err
			}
			for _, d := range decisions {
				rec.Decided = append(rec.Decided, Decided{Decision: d})
			}
			if err := r.st.keep(ctx, "carry out decisions for", rec); err != nil {
				return err
			}
		}
		return r.carryOut(ctx, rec)
	}
	return s
}

func (r *resume) lookDecided(ctx context.Context, rec Record) (failover.Observation, error) {
	obs := failover.Observation{Done: true}
	var texts []string
	list := rec.Decided
	if len(list) == 0 {
		jobs, err := r.c.Interrupted(ctx, rec)
		if err != nil {
			return obs, err
		}
		decisions, err := decide(ctx, r.o.Machine, r.o.Decide, jobs)
		if err != nil {
			return obs, err
		}
		for _, d := range decisions {
			list = append(list, Decided{Decision: d})
		}
	}
	for _, d := range list {
		done := d.Phase == PhaseDone
		obs.Items = append(obs.Items, failover.Item{Target: string(d.Job), Done: done, Found: d.describe() + ", decided by " + d.By})
		if !done {
			obs.Done = false
			texts = append(texts, d.describe()+" "+string(d.Job))
		}
	}
	obs.Found = fmt.Sprintf("%d decisions, %d to carry out", len(list), len(texts))
	obs.Would = strings.Join(texts, "; ")
	return obs, nil
}

// carryOut goes through the decisions in order. One that fails does not keep the others from being carried out.
func (r *resume) carryOut(ctx context.Context, rec Record) error {
	failed := map[ScheduleID]error{}
	var list []Schedule
	for i := range rec.Decided {
		d := &rec.Decided[i]
		if d.Phase == PhaseDone {
			continue
		}
		key := Schedule{ID: ScheduleID(d.Job), Name: string(d.Job)}
		list = append(list, key)
		if err := r.c.rerun(ctx, d.Decision, d.Phase, func(p Phase) error {
			d.Phase = p
			return r.st.save(ctx, rec)
		}); err != nil {
			failed[key.ID] = err
			continue
		}
		failover.Progress(ctx, fmt.Sprintf("%s: %s", d.Job, d.describe()))
	}
	return together("carry out decisions for", r.o.Machine, list, failed)
}

func (r *resume) release() failover.Step {
	ours := func(h HeldSchedule) bool { return !r.o.keeps(h) }
	s := r.step("release-schedules", "Release exactly what was held, schedule by schedule", sourceOurs, "release what this run has held",
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			list, err := r.c.pendingRelease(ctx, rec, ours)
			if err != nil {
				return failover.Observation{}, err
			}
			held := map[ScheduleID]bool{}
			names := make([]string, len(list))
			for i, sch := range list {
				held[sch.ID], names[i] = true, sch.String()
			}
			obs := failover.Observation{Done: len(list) == 0, Found: fmt.Sprintf("%d of %d schedules held by this run are still held", len(list), len(rec.Held))}
			for _, h := range rec.Held {
				found := "not held"
				switch {
				case !h.Ours():
					found = "its hold had failed, so it is not ours"
				case r.o.keeps(h):
					found = "stays held by decision"
				case held[h.ID]:
					found = "held"
				}
				obs.Items = append(obs.Items, failover.Item{Target: h.String(), Done: !held[h.ID], Found: found})
			}
			if len(list) > 0 {
				obs.Would = "release " + strings.Join(names, ", ")
			}
			return obs, nil
		})
	s.Timeout = 6 * r.o.HoldTimeout // one request after the other
	s.Apply = func(ctx context.Context) error {
		return r.c.releaseEach(ctx, r.st, r.o.Machine, r.o.Reason, ours)
	}
	s.Undo = func(ctx context.Context) error { return r.c.holdAgain(ctx, r.st, r.o.Machine, r.o.Reason) }
	return s
}
