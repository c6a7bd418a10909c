package failover

import (
	"context"
	"errors"
	"fmt"
)

// check looks whether the condition holds, once or until the step's timeout. What was waited for in vain before and is
// waived now is not waited for again.
func (r *run) check(ctx context.Context, s Step, st *stepState) error {
	var obs Observation
	var err error
	reason, waived := r.o.Waive[s.ID]
	if s.Wait && !(waived && st.Status == StatusFailed) {
		limit, cancel := context.WithTimeout(ctx, s.timeout())
		obs, err = r.until(limit, s, func(o Observation) { r.event(Event{Kind: EventWaiting, Step: s, Observation: o}) })
		cancel()
	} else if obs, err = observe(ctx, s); err == nil {
		r.event(Event{Kind: EventObserved, Step: s, Observation: obs})
		if !obs.Done {
			err = fmt.Errorf("found %s", found(obs))
		}
	}
	if err == nil {
		return r.j.append(observed(s, StatusAlready, obs, nil))
	}
	if ctx.Err() != nil {
		return stepError(s, NotApplied, "run again with the same journal", err)
	}
	err = stepError(s, NotApplied, "make the check hold and run again with the same journal", fmt.Errorf("%w: %w", ErrPrecondition, err))
	if !waived {
		return errors.Join(err, r.j.append(observed(s, StatusFailed, obs, err)))
	}
	rec := observed(s, StatusWaived, obs, err)
	rec.Type, rec.Actor, rec.Reason = recWaive, r.o.Actor, reason
	return r.j.append(rec)
}

// change applies an idempotent step until its observation holds.
func (r *run) change(ctx context.Context, s Step, st *stepState) error {
	obs, err := r.ready(ctx, s, st)
	if err != nil || obs.Done {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	for attempt := 1; ; attempt++ {
		if err := r.intent(s, obs, attempt); err != nil {
			return err
		}
		applyErr := apply(r.stepContext(limit, s, r.j), s)
		if applyErr == nil || OutcomeOf(applyErr) != NotApplied || len(targetsOf(applyErr)) > 0 {
			obs, err = r.effect(limit, s, applyErr)
		} else {
			err = applyErr
		}
		if err == nil {
			return r.outcome(s, Applied, false, obs, nil)
		}
		last := attempt == s.attempts() || permanent(err) || limit.Err() != nil
		if !last && sleep(limit, s.poll()) == nil {
			lockErr := r.lockStillOurs(ctx)
			if lockErr == nil {
				continue
			}
			err = fmt.Errorf("%w; before that: %w", lockErr, err)
		}
		return r.changeFailed(ctx, s, obs, applyErr, err)
	}
}

// effect watches for the wanted state after Apply. When Apply reported an error and time is left for another
// attempt, one look is enough: Change may be applied again.
func (r *run) effect(ctx context.Context, s Step, applyErr error) (Observation, error) {
	if applyErr == nil {
		return r.until(ctx, s, func(o Observation) { r.event(Event{Kind: EventWaiting, Step: s, Observation: o}) })
	}
	obs, err := observe(ctx, s)
	switch {
	case err != nil:
		return obs, fmt.Errorf("%w; and: %w", applyErr, err)
	case obs.Done:
		return obs, nil
	}
	return obs, applyErr
}

func (r *run) changeFailed(ctx context.Context, s Step, obs Observation, applyErr, err error) error {
	outcome := InDoubt
	if applyErr != nil {
		outcome = OutcomeOf(applyErr)
	}
	next := "run again with the same journal: the step is safe to repeat"
	if outcome == InDoubt && ctx.Err() == nil {
		// A last look on time of its own: the step's limit is what ended the first ones.
		if fresh, obsErr := observe(context.WithoutCancel(ctx), s); obsErr == nil {
			if fresh.Done {
				return r.outcome(s, Applied, false, fresh, nil)
			}
			obs = fresh
		} else {
			err = fmt.Errorf("%w: %w; and it cannot be observed: %w", ErrInDoubt, err, obsErr)
		}
	}
	err = stepError(s, outcome, next, err)
	return errors.Join(err, r.outcome(s, outcome, false, obs, err))
}

// once fires a step that must not be fired twice, or finds out what became of an earlier firing.
func (r *run) once(ctx context.Context, s Step, st *stepState) error {
	if st.Status == StatusInDoubt {
		outcome, err := Applied, error(nil)
		if !st.fired {
			outcome, err = probe(ctx, s)
		}
		switch {
		case outcome == Applied:
			limit, cancel := context.WithTimeout(ctx, s.timeout())
			defer cancel()
			return r.confirmed(ctx, limit, s, nil)
		case outcome == InDoubt || err != nil:
			return r.inDoubt(s, err)
		}
		if err := r.outcome(s, NotApplied, false, Observation{Found: "the probe proves that it did not take effect"}, nil); err != nil {
			return err
		}
		st = &stepState{}
	}
	obs, err := r.ready(ctx, s, st)
	if err != nil || obs.Done {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	if err := r.intent(s, obs, 1); err != nil {
		return err
	}
	applyErr := apply(r.stepContext(limit, s, r.j), s)
	outcome := OutcomeOf(applyErr)
	if outcome == InDoubt && ctx.Err() == nil {
		probed, probeErr := probe(context.WithoutCancel(ctx), s)
		if outcome = probed; probeErr != nil {
			outcome, applyErr = InDoubt, fmt.Errorf("%w; and: %w", applyErr, probeErr)
		}
	}
	switch outcome {
	case Applied:
		return r.confirmed(ctx, limit, s, applyErr)
	case NotApplied:
		err := stepError(s, NotApplied, "mend the cause and run again with the same journal", applyErr)
		return errors.Join(err, r.outcome(s, NotApplied, false, obs, err))
	case InDoubt:
	}
	return r.inDoubt(s, applyErr)
}

// confirmed records that a Once took effect, then waits for the wanted state. It is never applied again, also when
// that state does not come: exit code 0 with the roles unchanged is a fact for a person, not a reason to fire twice.
func (r *run) confirmed(ctx, limit context.Context, s Step, applyErr error) error {
	obs, err := r.until(limit, s, func(o Observation) { r.event(Event{Kind: EventWaiting, Step: s, Observation: o}) })
	if err == nil {
		return r.outcome(s, Applied, false, obs, nil)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if applyErr != nil {
		err = fmt.Errorf("%w; and: %w", applyErr, err)
	}
	err = stepError(s, Applied, "it took effect and is not fired again; look at the target, then run again, or resolve the step",
		fmt.Errorf("%w: %w", ErrNotObserved, err))
	return errors.Join(err, r.outcome(s, Applied, true, obs, err))
}

func (r *run) inDoubt(s Step, cause error) error {
	err := fmt.Errorf("%w: it may have taken effect", ErrInDoubt)
	if cause != nil {
		err = fmt.Errorf("%w: %w", ErrInDoubt, cause)
	}
	err = stepError(s, InDoubt, "look at the target; run again when it can be reached, or resolve the step as applied or not-applied", err)
	return errors.Join(err, r.outcome(s, InDoubt, false, Observation{}, err))
}

// manual asks a person for their word and verifies it where it can be observed.
func (r *run) manual(ctx context.Context, s Step, st *stepState) error {
	obs, err := observe(ctx, s)
	if err == nil && s.Observe != nil && obs.Done {
		return r.j.append(observed(s, StatusAlready, obs, nil))
	}
	if !st.confirmed {
		if r.o.Confirm == nil {
			return r.waiting(s, obs, nextManual, fmt.Errorf("%w: %s", ErrWaiting, s.Help))
		}
		word, err := r.o.Confirm(ctx, s, obs)
		if err == nil {
			err = word.Validate("Confirm")
		}
		if err != nil {
			return r.waiting(s, obs, nextManual, err)
		}
		if err := r.j.append(record{Type: recConfirm, Step: s.ID, Actor: word.By, Found: word.Says, Reason: word.Reason}); err != nil {
			return err
		}
		st.Found = word.Says
	}
	if s.Observe != nil {
		limit, cancel := context.WithTimeout(ctx, s.timeout())
		defer cancel()
		if s.Wait {
			obs, err = r.until(limit, s, func(o Observation) { r.event(Event{Kind: EventWaiting, Step: s, Observation: o}) })
		} else if obs, err = observe(limit, s); err == nil && !obs.Done {
			err = fmt.Errorf("found %s", found(obs))
		}
		if err != nil {
			err = stepError(s, NotApplied, "do the step: what is observed does not bear out the confirmation; then run again",
				fmt.Errorf("%w: %w", ErrPrecondition, err))
			return errors.Join(err, r.j.append(observed(s, StatusFailed, obs, err)))
		}
	} else {
		obs.Found = st.Found
	}
	return r.j.append(observed(s, StatusConfirmed, obs, nil))
}

const nextManual = "do what the step says, confirm it, and run again with the same journal"

func (r *run) waiting(s Step, obs Observation, next string, err error) error {
	err = stepError(s, NotApplied, next, err)
	return errors.Join(err, r.j.append(observed(s, StatusWaiting, obs, err)))
}

// ready observes a Change or Once, and brings it past lock and gate. An Observation that is Done means that there is
// nothing left to do; it is recorded.
func (r *run) ready(ctx context.Context, s Step, st *stepState) (Observation, error) {
	obs, err := observe(ctx, s)
	if err != nil {
		outcome, next := NotApplied, "make the target observable and run again with the same journal"
		if st.Status == StatusInDoubt {
			outcome = InDoubt
			err = fmt.Errorf("%w: %w", ErrInDoubt, err)
		}
		return obs, stepError(s, outcome, next, err)
	}
	for range 3 {
		r.event(Event{Kind: EventObserved, Step: s, Observation: obs})
		if obs.Done {
			if st.Status == StatusInDoubt {
				return obs, r.outcome(s, Applied, false, obs, nil)
			}
			return obs, r.j.append(observed(s, StatusAlready, obs, nil))
		}
		if err := r.gate(ctx, s, obs); err != nil {
			return obs, err
		}
		if err := r.lockStillOurs(ctx); err != nil {
			return obs, err
		}
		if r.o.Gate == nil {
			return obs, nil
		}
		// A person may have taken an hour to answer: what was approved must still be what is found.
		again, err := observe(ctx, s)
		if err != nil {
			return again, stepError(s, NotApplied, "make the target observable and run again with the same journal", err)
		}
		if hashJSON(again.hashed()) == hashJSON(obs.hashed()) {
			return again, nil
		}
		obs = again
	}
	return obs, stepError(s, NotApplied, "find out what changes the target, then run again with the same journal", ErrPlanChanged)
}

func (r *run) gate(ctx context.Context, s Step, obs Observation) error {
	if r.o.Gate == nil {
		return nil
	}
	err := r.o.Gate.Approve(ctx, s, obs)
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrWaiting) || ctx.Err() != nil {
		return r.waiting(s, obs, "nothing was done; approve it and run again with the same journal", err)
	}
	err = stepError(s, NotApplied, "settle the objection and run again with the same journal", fmt.Errorf("%w: %w", ErrRejected, err))
	return errors.Join(err, r.j.append(observed(s, StatusFailed, obs, err)))
}

func (r *run) lockStillOurs(ctx context.Context) error {
	if r.p.Lock == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	if err := r.p.Lock.Check(ctx, r.j.claim()); err != nil {
		return r.fail("check the lock", "find out who took the lock over before anything else is changed", NotApplied, err)
	}
	return nil
}

func (r *run) intent(s Step, obs Observation, attempt int) error {
	rec := observed(s, StatusInDoubt, obs, nil)
	rec.Type, rec.Would = recIntent, obs.Would
	if err := r.j.append(rec); err != nil {
		return err
	}
	r.event(Event{Kind: EventIntent, Step: s, Observation: obs, Attempt: attempt})
	r.event(Event{Kind: EventAttempt, Step: s, Observation: obs, Attempt: attempt})
	return nil
}

func (r *run) outcome(s Step, o Outcome, fired bool, obs Observation, err error) error {
	rec := observed(s, outcomeStatus(o, fired), obs, err)
	rec.Type, rec.Outcome, rec.Fired, rec.Targets = recOutcome, &o, fired, targetsOf(err)
	if jerr := r.j.append(rec); jerr != nil {
		return stepError(s, o, "mend the journal's disk and run again with the same journal: what became of the step is not on record", jerr)
	}
	return nil
}

func observed(s Step, status StepStatus, obs Observation, err error) record {
	rec := record{Type: recObserved, Step: s.ID, Status: status, Found: obs.Found, Note: obs.Note, Items: obs.Items}
	if err != nil {
		rec.Error, rec.Next = err.Error(), NextOf(err)
	}
	return rec
}
