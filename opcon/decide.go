package opcon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

// Decider returns one decision for each of the jobs, and may add others, for example for SMA_DATES. It is asked on
// every run until its decisions are carried out, so that they can be corrected until then; it must not change anything.
// An error wrapping failover.ErrWaiting parks the run.
type Decider func(context.Context, []Interrupted) ([]Decision, error)

// decisions asks for the decisions anew and joins them with those that were sent already. It refuses them, all together
// and before any is carried out, unless every interrupted job has one and each fits its job as it is now.
func (r *resume) decisions(ctx context.Context, rec Record) ([]Decided, error) {
	// What was sent is carried on with, or seen to be done.
	list := slices.DeleteFunc(slices.Clone(rec.Decided), func(d Decided) bool { return d.Phase < phaseSending })
	sent := func(id JobID) int { return slices.IndexFunc(list, func(d Decided) bool { return d.Job == id }) }
	jobs, err := r.c.Interrupted(ctx, rec)
	if err != nil {
		return nil, err
	}
	// A start that does not show is for a person to settle.
	jobs = slices.DeleteFunc(jobs, func(in Interrupted) bool {
		i := sent(in.Job.ID)
		return i >= 0 && (!list[i].starts() || list[i].showsIn(in.Job))
	})
	for i, in := range jobs {
		if sent(in.Job.ID) >= 0 {
			jobs[i].Proposal.Action, jobs[i].Proposal.MarkFailedFirst = RerunLeave, false
			jobs[i].Hint = "It was sent and its end was not seen. Look at the job in OpCon and settle it there; leave means " +
				"that nothing more is sent. " + in.Hint
		}
	}
	given, err := r.o.Decide(ctx, jobs)
	if err != nil {
		return nil, unchanged(opDecide, r.machine, "give the decisions and run again with the same journal", err)
	}
	var wrong []string
	decided := map[JobID]bool{}
	for _, d := range given {
		if err := d.validate(); err != nil {
			return nil, err
		}
		if decided[d.Job] {
			return nil, failover.Invalid("Decision.Job", string(d.Job)+" is decided upon twice",
				"give one decision for each job")
		}
		decided[d.Job] = true
		switch i := sent(d.Job); {
		case i < 0:
			list = append(list, Decided{Decision: d, Phase: rec.phase(d.Job)})
		case list[i].Phase == phaseSending && d.Action == RerunLeave:
			list[i] = Decided{Decision: d} // settled by a person: nothing more is sent
		case list[i].Phase == phaseSending && d.Action != list[i].Action:
			wrong = append(wrong, fmt.Sprintf("%s: %s was sent and its end was not seen, so only leave can take its place",
				d.Job, list[i].describe()))
		}
	}
	open := slices.DeleteFunc(slices.Clone(jobs),
		func(in Interrupted) bool { return decided[in.Job.ID] || sent(in.Job.ID) >= 0 })
	if len(open) > 0 {
		return nil, unchanged(opDecide, r.machine,
			"decide on every job, leave included, then run again with the same journal",
			because(failover.ErrWaiting, "no decision for "+strings.Join(convert(open, Interrupted.String), "; ")))
	}
	more, err := r.misfits(ctx, list, jobs)
	if err != nil {
		return nil, err
	}
	if wrong = append(wrong, more...); len(wrong) > 0 {
		return nil, unchanged(opDecide, r.machine,
			"correct these decisions and run again with the same journal: nothing more is sent before they fit",
			because(failover.ErrPrecondition, strings.Join(wrong, "; ")))
	}
	return list, nil
}

// misfits says which decisions that were not sent yet do not fit their jobs as they are now.
func (r *resume) misfits(ctx context.Context, list []Decided, jobs []Interrupted) ([]string, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(d Decided) bool {
		return d.Phase >= phaseSending || d.Action == RerunLeave
	})
	now := map[JobID]Job{}
	for _, in := range jobs {
		now[in.Job.ID] = in.Job
	}
	err := r.c.addJobs(ctx, now, convert(list, func(d Decided) JobID { return d.Job }))
	var wrong []string
	for _, d := range list {
		if j, ok := now[d.Job]; !ok {
			wrong = append(wrong, string(d.Job)+": OpCon shows no such job")
		} else if err := d.check(j); err != nil {
			wrong = append(wrong, j.String()+": "+d.describe()+": "+err.Error())
		}
	}
	return wrong, err
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

// phase is how far the decision on the job came.
func (r Record) phase(id JobID) phase {
	if i := slices.IndexFunc(r.Decided, func(d Decided) bool { return d.Job == id }); i >= 0 {
		return r.Decided[i].Phase
	}
	return phaseDecided
}

const rerunHelp = "Look at the jobs that the step before this one lists, row by row, and at the schedules that stayed " +
	"held. Decide job by job what must be run again; mark what OpCon still shows running as failed before you restart " +
	"it, and restart on hold. A job that fell due meanwhile starts when its schedule is released: hold or cancel it if " +
	"it must not. Nothing runs before the release: where the date has changed, so that SMA_DATES must run before the " +
	"rest, keep the schedules that need it held (KeepHeld) and release them by hand behind it. Confirm when it is " +
	"determined what runs once the schedules are released."

func (r *resume) rerun() failover.Step {
	const source = "vendor, RSJ and FAILOVER: hold all schedules until it is determined what needs to run or be rerun"
	switch {
	case r.o.Decide == nil && r.alone:
		return r.nothingOpen(source)
	case r.o.Decide == nil:
		return failover.Step{ID: "rerun", Title: "Decide job by job what has to run again", Target: r.machine,
			Kind: failover.Manual, Help: rerunHelp, Source: source}
	}
	s := r.stepFor("rerun", "Carry out the decisions on interrupted jobs", source,
		"carry out the decisions, job by job", r.lookDecided)
	s.Timeout = r.o.HoldTimeout
	s.Apply = r.with(opDecisions, func(ctx context.Context, rec Record) (err error) {
		if rec.Decided, err = r.decisions(ctx, rec); err != nil {
			return err
		}
		who, err := r.look(ctx, rec)
		if err == nil && who.verdict == wrongHost {
			err = unchanged(opDecisions, r.machine, nextWrongHost, because(failover.ErrPrecondition, who.found))
		}
		if err == nil {
			err = r.keep(ctx, opDecisions, rec)
		}
		if err != nil {
			return err
		}
		return r.carryOut(ctx, rec)
	})
	return s
}

const (
	opDecide    = "decide on interrupted jobs of"
	opDecisions = "carry out decisions for"
)

// nothingOpen is the step where there is nobody to ask: it holds when no job needs a decision.
func (r *resume) nothingOpen(source string) failover.Step {
	s := r.stepFor("rerun", "No job needs a person's decision", source, "",
		func(ctx context.Context, rec Record) (failover.Observation, error) {
			jobs, err := r.c.Interrupted(ctx, rec)
			if err != nil || len(jobs) == 0 {
				return failover.Observation{Done: err == nil, Found: "no job needs a decision"}, err
			}
			return failover.Observation{}, unchanged(opDecide, r.machine, "give ResumeOptions.Decide, or carry out each "+
				"decision with Rerun and then call Release; nothing more is released",
				because(failover.ErrWaiting, "no decision for "+strings.Join(convert(jobs, Interrupted.String), "; ")))
		})
	s.Kind = failover.Check
	return s
}

func (r *resume) lookDecided(ctx context.Context, rec Record) (failover.Observation, error) {
	list, err := r.decisions(ctx, rec)
	var obs failover.Observation
	var texts []string
	for _, d := range list {
		done := d.Phase == phaseDone
		obs.Items = append(obs.Items, failover.Item{Target: string(d.Job), Done: done,
			Found: d.describe() + ", decided by " + d.By + ": " + d.Reason})
		if !done {
			texts = append(texts, d.describe()+" "+string(d.Job)+" (decided by "+d.By+")")
		}
	}
	obs.Done = len(texts) == 0
	obs.Found = fmt.Sprintf("%d decisions, %d to carry out", len(list), len(texts))
	obs.Would = strings.Join(texts, "; ")
	return obs, err
}

// carryOut goes through the decisions in order. One that fails does not keep the others from being carried out.
func (r *resume) carryOut(ctx context.Context, rec Record) error {
	var targets failover.Targets
	for i := range rec.Decided {
		d := &rec.Decided[i]
		if d.Phase == phaseDone {
			continue
		}
		err := r.c.rerun(ctx, d.Decision, d.Phase, func(p phase) error {
			d.Phase = p
			return r.save(ctx, rec)
		})
		if targets.Add(string(d.Job), err) {
			failover.Progress(ctx, fmt.Sprintf("%s: %s, decided by %s", d.Job, d.describe(), d.By))
		}
	}
	return together(opDecisions, r.machine, targets)
}
