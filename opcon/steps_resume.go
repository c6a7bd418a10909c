package opcon

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

type resume struct {
	work
	o       ResumeOptions
	waiting recent[[]Schedule]
	alone   bool // without a journal, and so without anybody to ask
}

// stepFor builds a step whose observation needs the record. In a plan made beforehand there is none yet. What look
// returns beside an error does not count.
func (r *resume) stepFor(name, title, source, would string,
	look func(context.Context, Record) (failover.Observation, error)) failover.Step {
	return r.step(name, title, source, func(ctx context.Context) (failover.Observation, error) {
		obs := failover.Observation{Found: "known once the machine is quiesced", Would: would}
		rec, ok, err := r.load(ctx)
		if err == nil && ok {
			obs, err = look(ctx, rec)
		}
		if err != nil {
			return failover.Observation{}, err
		}
		return obs, nil
	})
}

// guards is the step that a check guards. Without a journal nothing is looked at again, and that step may be left out.
func (r *resume) guards(step string) string {
	if r.alone {
		return ""
	}
	return r.prefix + step
}

func (r *resume) hold() failover.Step {
	s := r.stepFor("schedules", "Hold the schedules built while the machine was down", sourceOps,
		"hold what was built meanwhile", func(ctx context.Context, rec Record) (failover.Observation, error) {
			sc, err := r.lookHeld(ctx, stepHoldNew, rec, surveyAge)
			return holdObservation(sc, rec.withoutReleased(sc.toHold())), err
		})
	s.Timeout, s.Apply = r.o.HoldTimeout, r.holdNew(stepHoldNew)
	// What is held here stays held in an undo: with the machine down, a schedule that is free would send its jobs to
	// their alternate machines. The undo of the quiesce's first hold releases it with the others.
	s.Undo = failover.NothingToUndo
	return s
}

func (r *resume) repoint() failover.Step {
	const op = "repoint machine"
	s := r.step("machine", "Point the machine record at the new host",
		"vendor, RSJ and FAILOVER, June 2026: update the UNIX machine record to the new host",
		r.onMachine("repoint", func(_ context.Context, m Machine, _ Record) failover.Observation {
			obs := failover.Observation{Done: m.Address.equal(r.o.Address), Found: "address " + m.Address.String()}
			if m.TLS {
				obs.Note = "the line to the agent uses TLS: the agent on the new host has a certificate of its own, and the " +
					"record's TLS fields may have to follow"
			}
			if !obs.Done {
				obs.Would = "write the address " + r.o.Address.String() + " into the machine record"
			}
			return obs
		}))
	s.Apply = r.with(op, func(ctx context.Context, rec Record) error {
		rec.MovedTo = &r.o.Address
		if err := r.keep(ctx, op, rec); err != nil {
			return err
		}
		return r.setAddress(ctx, rec, r.o.Address)
	})
	s.Undo = r.with(op, func(ctx context.Context, rec Record) error { return r.setAddress(ctx, rec, rec.Machine.Address) })
	return s
}

func (r *resume) setAddress(ctx context.Context, rec Record, to Address) error {
	r.now.forget()
	m, err := r.c.setAddress(ctx, rec.Machine.ID, to)
	if err == nil {
		r.now.put(m, time.Now(), 0)
	}
	return err
}

func (r *resume) oldAgent() failover.Step {
	s := r.stepFor("old-agent", "The agent on the old host is stopped", sourceWrong, "",
		func(ctx context.Context, _ Record) (failover.Observation, error) { return r.o.OldAgent(ctx) })
	s.Kind, s.Wait = failover.Check, true // waits, since before the quiesce the agent still runs
	s.Guards = r.guards(stepRelease)      // it could take the line as long as nothing is released
	s.Help = "stop the agent on the old host, then run again"
	return s
}

// lineStep is a step that brings the machine to a state in which the agent answers. is and isNot say whether it is
// there, would what is done about it.
func (r *resume) lineStep(name, title, source string, there func(Machine) bool, is, isNot, would string) failover.Step {
	look := func(ctx context.Context, m Machine, rec Record) failover.Observation {
		who := r.o.whoAnswers(ctx, rec, m)
		if there(m) && who.verdict != wrongHost {
			return failover.Observation{Done: true, Found: is, Note: m.line()}
		}
		return failover.Observation{Found: isNot, Would: would, Note: m.line() + "; " + who.found}
	}
	s := r.step(name, title, source, r.onMachine(name, look))
	s.Timeout, s.Help = r.o.UpTimeout, helpAgent
	return s
}

func (r *resume) openLine() failover.Step {
	s := r.lineStep("line", "Open the line to the agent on the new host, with no job started", sourceWrong,
		Machine.communicating, "the agent answers", "the line to the agent is not open",
		"set the machine to limited and wait for the agent on the new host")
	s.Apply = func(ctx context.Context) error {
		changed, err := r.connect(ctx, MachineLimited)
		return lowered(err, changed)
	}
	s.Undo, s.Undone = r.set(MachineDown), r.isAsked(MachineDown)
	return s
}

func (r *resume) up() failover.Step {
	s := r.lineStep("machine", "Bring the machine up, with every schedule held and the right host's agent answering",
		sourceMachine, func(m Machine) bool { return m.Asked == MachineUp && m.State == MachineUp },
		"the machine is up", "the machine is not up for the new host", "hold what is new, then bring the machine up")
	s.Apply = func(ctx context.Context) error {
		_, before, err := r.holdAll(ctx, stepUp, surveyAge)
		if err != nil {
			return err
		}
		changed, err := r.connect(ctx, MachineUp)
		if err != nil {
			return lowered(err, changed || before > 0)
		}
		r.last.forget() // midnight may have come between the last pass and the machine being up
		return lowered(r.holdNew(stepUp)(ctx), true)
	}
	s.Undo, s.Undone = r.set(MachineLimited), r.isAsked(MachineLimited)
	return s
}

// isAsked looks what the machine is asked: an agent that falls silent takes nothing back.
func (r *resume) isAsked(want MachineState) looker {
	return func(ctx context.Context) (failover.Observation, error) {
		rec, err := r.must(ctx, "look at")
		if err != nil {
			return failover.Observation{}, err
		}
		m, err := r.c.Machine(ctx, rec.Machine.ID)
		return failover.Observation{Done: err == nil && m.Asked == want, Found: m.line()}, err
	}
}

// onMachine observes the machine, also in a plan made before there is a record: what it finds then is what the step
// will find, since the finding does not name what earlier steps change.
func (r *resume) onMachine(step string, look func(context.Context, Machine, Record) failover.Observation) looker {
	return func(ctx context.Context) (failover.Observation, error) {
		rec, ok, err := r.load(ctx)
		var m Machine
		if err == nil && !ok {
			m, err = r.c.FindMachine(ctx, r.machine)
			rec.Machine = m
		} else if err == nil {
			var read bool
			if m, read = r.now.take(step, 0); !read {
				m, err = r.readMachine(ctx, rec)
			}
		}
		if err != nil {
			return failover.Observation{}, err
		}
		obs := look(ctx, m, rec)
		obs.Done = obs.Done && ok // nothing is done before the machine is quiesced
		return obs, nil
	}
}

// line says how the line to the agent stands.
func (m Machine) line() string {
	return fmt.Sprintf("asked %s, line %s, address %s", m.Asked, m.State, m.Address)
}

// look reads the machine and judges who answers.
func (r *resume) look(ctx context.Context, rec Record) (answer, error) {
	m, err := r.readMachine(ctx, rec)
	if err != nil {
		return answer{}, err
	}
	return r.o.whoAnswers(ctx, rec, m), nil
}

func (r *resume) checkAgent() failover.Step {
	s := r.stepFor("agent", "The agent that answers runs on the right host", sourceWrong, "",
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			who, err := r.look(ctx, rec)
			obs := failover.Observation{Done: who.verdict == rightHost, Found: who.found}
			switch {
			case obs.Done:
			case who.verdict == wrongHost:
				obs.Found += "; nothing more is released: stop the agent there, and see that record and alias lead to the " +
					"new host, then run again: OpCon opens the line anew"
			case r.o.Vouch != nil:
				obs.Done, obs.Found = true, who.found+"; "+r.o.Vouch.String()
			default:
				obs.Found += "; not proven, so nothing more is released: look in the agent's log on the new host whether OpCon " +
					"is connected, and if it is, waive the step with that as the reason"
			}
			return obs, err
		})
	s.Kind, s.Wait, s.Timeout = failover.Check, true, max(r.c.settleTime(), time.Second)
	// From the decisions on the steps ask by themselves, and open the line anew where the wrong host answers.
	s.Guards = r.guards(stepRerun)
	return s
}

func (r *resume) interrupted() failover.Step {
	s := r.stepFor("interrupted", "List the jobs that need a person's decision",
		"vendor, RSJ and FAILOVER: think of jobs that were interrupted and of jobs that never ran", "",
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			jobs, err := r.c.Interrupted(ctx, rec)
			obs := failover.Observation{Found: fmt.Sprintf("%d jobs need a decision", len(jobs))}
			for _, j := range jobs {
				failover.Progress(ctx, j.String()) // for who is asked next, before there is a report
				obs.Items = append(obs.Items, failover.Item{Target: j.Job.String(), Found: j.row() + ". " + j.Hint})
			}
			return obs, err
		})
	s.Kind, s.Guards = failover.Check, r.guards(stepUp) // listed anew whenever the run is resumed
	look := s.Observe
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		obs, err := look(ctx)
		obs.Done = err == nil // a list, never an obstacle, also in a plan made before there is a record
		return obs, err
	}
	return s
}

func (r *resume) releaseHeld() failover.Step {
	s := r.stepFor("schedules", "Release exactly what was held, and nothing else", sourceOurs,
		"release what this run has held", func(ctx context.Context, rec Record) (failover.Observation, error) {
			list, err := r.toRelease(ctx, rec)
			held := map[ScheduleID]string{}
			for _, sch := range list {
				held[sch.ID] = sch.words()
			}
			obs := failover.Observation{Done: len(list) == 0,
				Found: fmt.Sprintf("%d of %d schedules held by this run are to be released", len(list), len(rec.Held))}
			for _, h := range rec.Held {
				found := cmp.Or(held[h.ID], "free of this run's hold")
				switch {
				case !h.Ours():
					found = "its hold was refused, so it is not ours"
				case r.o.keeps(h):
					found = "stays held by decision"
				}
				obs.Items = append(obs.Items, failover.Item{Target: h.String(), Done: held[h.ID] == "", Found: found})
			}
			if len(list) > 0 {
				obs.Would = "release " + strings.Join(convert(list, Schedule.String), ", ")
			}
			return obs, err
		})
	s.Timeout = r.o.HoldTimeout
	s.Apply = func(ctx context.Context) error {
		// The decisions may have taken hours, in which the old host's agent came back or the machine was taken down.
		changed, err := r.connect(ctx, MachineUp)
		if err == nil {
			err = r.release(ctx, func(ctx context.Context, rec Record) ([]Schedule, error) {
				defer r.waiting.forget()
				return r.toRelease(ctx, rec)
			})
		}
		if err == nil {
			r.waiting.put(nil, time.Now(), 0) // each was seen free
		}
		return lowered(err, changed)
	}
	s.Undo = func(ctx context.Context) error {
		r.waiting.forget()
		return r.holdAgain(ctx)
	}
	s.Undone = seen(func(ctx context.Context) ([]Schedule, error) {
		rec, err := r.must(ctx, "look at")
		if err != nil {
			return nil, err
		}
		return r.c.toHoldAgain(ctx, rec)
	}, func(list []Schedule) failover.Observation {
		return failover.Observation{Done: len(list) == 0, Found: fmt.Sprintf("%d released schedules are not held", len(list))}
	})
	return s
}

// toRelease returns what is to be released: what was just read, or reads it.
func (r *resume) toRelease(ctx context.Context, rec Record) ([]Schedule, error) {
	return r.waiting.get("release", 0, func() ([]Schedule, error) {
		if err := r.o.keepsKnown(rec); err != nil {
			return nil, err
		}
		return r.c.pendingRelease(ctx, rec, func(h HeldSchedule) bool { return !r.o.keeps(h) })
	})
}
