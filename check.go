package failover

import (
	"context"
	"errors"
	"fmt"
)

// due reports whether the Check at index i has to be looked at in this run, when the run comes to it.
func (r *run) due(i int) bool {
	s, st := &r.p.steps[i], r.j.state(r.p.steps[i].ID)
	switch {
	case !st.done():
		return true
	case st.run == r.number, r.lanes[r.p.in[i]].pending <= i:
		return false
	case s.Entry:
		return r.lanes[r.p.in[i]].begun <= i
	}
	return r.guards[i] >= 0 && r.open(r.guards[i])
}

// open reports whether the step at index i was neither begun nor done.
func (r *run) open(i int) bool {
	st := r.j.state(r.p.steps[i].ID)
	return st.attempts == 0 && !st.done()
}

// standing looks again at the Checks that still have to hold when the step at index i is about to be applied.
func (r *run) standing(ctx context.Context, i int) error {
	var checks []int
	for k := r.lanes[r.p.in[i]].from; k < i; k++ {
		s := &r.p.steps[k]
		if s.Kind != Check {
			continue
		}
		if s.Entry && r.lastBegun(k, i) || !s.Entry && r.guards[k] < i {
			continue
		}
		if st := r.j.state(s.ID); st.status() == StatusWaived && st.run == r.number {
			continue
		}
		checks = append(checks, k)
	}
	var failed []error
	for _, k := range checks {
		err := r.check(ctx, k)
		if err != nil {
			r.ended(ctx, k, err)
			failed = append(failed, err)
		}
		if r.pause.Err() != nil {
			break
		}
	}
	if len(failed) <= 1 {
		return errors.Join(failed...)
	}
	return &Error{Op: "check again", Target: r.p.Name, Outcome: NotApplied,
		Next: "make every check hold, then run again with the same journal", Err: errors.Join(failed...)}
}

// lastBegun reports whether a step between two others was begun.
func (r *run) lastBegun(k, i int) bool {
	for _, s := range r.p.steps[k+1 : i] {
		if r.j.state(s.ID).attempts > 0 {
			return true
		}
	}
	return false
}

// check looks whether the condition holds, once or until the step's timeout. What was waited for in vain before and is
// waived now is not waited for again.
func (r *run) check(ctx context.Context, i int) error {
	s, st := &r.p.steps[i], r.j.state(r.p.steps[i].ID)
	reason, waived := r.o.Waive[s.ID]
	var obs Observation
	var err error
	if s.Wait && !(waived && st.waitedOut) {
		limit, cancel := context.WithTimeout(r.pause, s.timeout())
		obs, err = r.until(limit, i)
		cancel()
	} else if obs, err = r.observe(r.pause, i); err == nil && !obs.Done {
		err = fmt.Errorf("found %s", found(obs))
	}
	if err == nil {
		return r.j.append(observed(s, StatusAlready, obs, nil))
	}
	if r.pause.Err() != nil {
		return stepError(s, NotApplied, "run again with the same journal", fmt.Errorf("%w: %w", context.Cause(r.pause), err))
	}
	err = stepError(s, NotApplied, "make the check hold and run again with the same journal"+waiverHint(s),
		fmt.Errorf("%w: %w", ErrPrecondition, err))
	if !waived {
		return errors.Join(err, r.j.append(observed(s, StatusFailed, obs, err)))
	}
	rec := observed(s, StatusWaived, obs, err)
	rec.Type, rec.Status, rec.Actor, rec.Reason, rec.From = recWaive, 0, r.o.Actor, reason, r.claim.Holder.from()
	rec.Next = ""
	return r.j.append(rec)
}

func waiverHint(s *Step) string {
	if s.Firm {
		return ""
	}
	return ", or waive " + s.ID + " with a reason"
}

// observe looks once, within the step's timeout and never longer than DefaultTimeout.
func (r *run) observe(ctx context.Context, i int) (Observation, error) {
	obs, err := observe(r.stepContext(ctx, i, r.facts(i)), &r.p.steps[i])
	if err == nil {
		r.stepEvent(i, Event{Kind: EventObserved, Observation: obs})
	}
	return obs, err
}

func observe(ctx context.Context, s *Step) (Observation, error) {
	if s.Observe == nil {
		return Observation{}, nil
	}
	return look(ctx, s, "observe", s.Observe)
}

func look(ctx context.Context, s *Step, what string, fn func(context.Context) (Observation, error)) (Observation,
	error) {
	limit, cancel := context.WithTimeout(ctx, min(s.timeout(), DefaultTimeout))
	defer cancel()
	return call(limit, what+" "+s.ID, fn)
}

// until looks again and again until the wanted state holds, the deadline of ctx passes or looking is refused. The
// last observation is returned also on error. A failed look is repeated: on a network it says little.
func (r *run) until(ctx context.Context, i int) (Observation, error) {
	s := &r.p.steps[i]
	var last Observation
	seen := false
	for {
		obs, err := r.observe(ctx, i)
		if err == nil {
			last, seen = obs, true
			if obs.Done {
				return obs, nil
			}
			r.stepEvent(i, Event{Kind: EventWaiting, Observation: obs})
		} else if errors.Is(err, ErrUnresponsive) || ctx.Err() == nil && permanent(err) {
			return last, err
		}
		if waitErr := sleep(ctx, s.poll()); waitErr != nil {
			// The end of the time cuts the last look short; what was seen before says more than that.
			if err != nil && (!seen || !errors.Is(err, context.DeadlineExceeded)) {
				return last, err
			}
			return last, fmt.Errorf("%w: found %s", ErrNotObserved, found(last))
		}
	}
}

// permanent reports whether looking or applying again cannot help.
func permanent(err error) bool {
	for _, kind := range []error{ErrPrecondition, ErrRejected, ErrInvalid, ErrLocked, ErrLockLost, ErrWaiting, ErrInDoubt,
		ErrPlanChanged, ErrUnresponsive, ErrStopped, ErrJournalDamaged, ErrJournalBusy} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func found(o Observation) string {
	if o.Found == "" {
		return "nothing"
	}
	return o.Found
}

// manual asks a person for their word and verifies it where it can be observed.
func (r *run) manual(ctx context.Context, i int) error {
	s, st := &r.p.steps[i], r.j.state(r.p.steps[i].ID)
	obs, err := r.observe(r.pause, i)
	if errors.Is(err, ErrUnresponsive) {
		return stepError(s, NotApplied, "run again with the same journal", err)
	}
	if err == nil && s.Observe != nil && obs.Done {
		return r.j.append(observed(s, StatusAlready, obs, nil))
	}
	says := st.found
	if !st.confirmed {
		if r.o.Confirm == nil {
			return r.waiting(s, obs, nextManual, fmt.Errorf("%w: %s", ErrWaiting, s.Help))
		}
		word, err := r.confirm(i, obs)
		if err == nil {
			err = word.Validate("Confirm")
		}
		if err != nil {
			if r.pause.Err() != nil && !errors.Is(err, ErrWaiting) {
				err = fmt.Errorf("%w: %w", ErrWaiting, err)
			}
			return r.waiting(s, obs, nextManual, err)
		}
		rec := record{Type: recConfirm, Step: s.ID, Actor: word.By, Found: word.Says, Reason: word.Reason,
			From: r.claim.Holder.from()}
		if err := r.j.append(rec); err != nil {
			return err
		}
		says = word.Says
	}
	if s.Observe == nil {
		obs.Found = says
		return r.j.append(observed(s, StatusConfirmed, obs, nil))
	}
	limit, cancel := context.WithTimeout(r.pause, s.timeout())
	defer cancel()
	if s.Wait {
		obs, err = r.until(limit, i)
	} else if obs, err = r.observe(limit, i); err == nil && !obs.Done {
		err = fmt.Errorf("found %s", found(obs))
	}
	switch {
	case err == nil:
		return r.j.append(observed(s, StatusConfirmed, obs, nil))
	case r.pause.Err() != nil:
		return stepError(s, NotApplied, "run again with the same journal", fmt.Errorf("%w: %w", context.Cause(r.pause), err))
	}
	err = stepError(s, NotApplied,
		"do the step and confirm it again: what is observed does not bear out the confirmation; then run again",
		fmt.Errorf("%w: %w", ErrPrecondition, err))
	return errors.Join(err, r.j.append(observed(s, StatusFailed, obs, err)))
}

// confirm asks for the word of a person, one question at a time.
func (r *run) confirm(i int, obs Observation) (Statement, error) {
	r.asking.Lock()
	defer r.asking.Unlock()
	defer r.waits.Add(1) // an answer may have taken days
	return call(r.pause, "confirm "+r.p.steps[i].ID,
		func(ctx context.Context) (Statement, error) { return r.o.Confirm(ctx, r.request(i, 1, obs)) })
}

const nextManual = "do what the step says, confirm it, and run again with the same journal"

func (r *run) waiting(s *Step, obs Observation, next string, err error) error {
	err = stepError(s, NotApplied, next, err)
	return errors.Join(err, r.j.append(observed(s, StatusWaiting, obs, err)))
}

func observed(s *Step, status StepStatus, obs Observation, err error) record {
	rec := record{Type: recObserved, Step: s.ID, Status: status, Found: obs.Found, Note: obs.Note, Items: obs.Items}
	if err != nil {
		rec.Error, rec.Next = err.Error(), NextOf(err)
	}
	return rec
}

// facts is what an observation of the step sees.
func (r *run) facts(i int) *stepFacts {
	return &stepFacts{j: r.j, step: &r.p.steps[i], part: r.p.part(i)}
}

// stepContext gives the functions of a step its facts and its way to tell progress.
func (r *run) stepContext(ctx context.Context, i int, facts *stepFacts) context.Context {
	ctx = context.WithValue(ctx, factKey{}, factStore(facts))
	return context.WithValue(ctx, progressKey{}, func(text string) {
		if facts.over.Load() {
			return
		}
		facts.tell(text)
		r.stepEvent(i, Event{Kind: EventProgress, Text: text})
	})
}
