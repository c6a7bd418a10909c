package failover

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// change applies an idempotent step until its observation holds.
func (r *run) change(ctx context.Context, i int) error {
	s := &r.p.steps[i]
	left := s.timeout()
	var before error // of the attempt before
	for attempt := 1; ; attempt++ {
		obs, done, err := r.ready(ctx, i, attempt)
		if err != nil && before != nil {
			err = fmt.Errorf("%w; before that: %w", err, before)
		}
		if done || err != nil && (attempt == 1 || permanent(err)) {
			return err
		}
		if err == nil {
			began := time.Now()
			if err = r.attempt(ctx, i, attempt, left, obs); err == nil {
				return nil
			}
			left -= time.Since(began)
		}
		left, before = left-s.poll(), err
		if attempt == s.attempts() || left <= 0 || permanent(err) || OutcomeOf(err) == Applied || sleep(ctx, s.poll()) != nil {
			return err
		}
	}
}

// attempt applies a Change once, looks for its effect and records what is known.
func (r *run) attempt(ctx context.Context, i, attempt int, left time.Duration, obs Observation) error {
	s := &r.p.steps[i]
	before := r.j.state(s.ID).effect
	if err := r.intent(i, obs, attempt); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	facts, applyErr := r.act(limit, i, "apply", s.Apply)
	refused := OutcomeOf(applyErr) == NotApplied
	err := applyErr
	if !errors.Is(applyErr, ErrUnresponsive) && ctx.Err() == nil && (!refused || before != effectNone) {
		after, lookErr := r.effect(ctx, limit, i, applyErr)
		switch {
		case lookErr == nil:
			return r.seen(i, after, facts, applyErr)
		case applyErr == nil:
			err = lookErr
		case !errors.Is(lookErr, errNotYet):
			err = fmt.Errorf("%w; and: %w", applyErr, lookErr)
		}
		if after.Found != "" {
			obs = after
		}
	}
	outcome := OutcomeOf(applyErr)
	if outcome == Applied {
		outcome = InDoubt // what was not seen is not known
	}
	jerr := r.outcome(i, outcome, proofAnswer, obs, facts, err)
	known := outcome
	if r.j.state(s.ID).touched() {
		known = InDoubt
	}
	if ctx.Err() != nil && applyErr == nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), ErrNotObserved)
	}
	return errors.Join(stepError(s, known, "run again with the same journal: the step is safe to repeat", err), jerr)
}

// seen records that the wanted state holds. What Apply could not keep for a later step ends the run all the same.
func (r *run) seen(i int, obs Observation, facts *stepFacts, applyErr error) error {
	err := r.outcome(i, Applied, proofObserved, obs, facts, nil)
	if _, lost := errors.AsType[unsavedError](applyErr); lost {
		const next = "find out why it is not on record: a later step needs it"
		err = errors.Join(stepError(&r.p.steps[i], Applied, next, applyErr), err)
	}
	return err
}

var errNotYet = errors.New("the wanted state does not hold")

// effect watches for the wanted state after Apply. When Apply reported an error, one look is enough. The last look has
// time of its own: what used up the step's limit may have taken effect all the same.
func (r *run) effect(ctx, limit context.Context, i int, applyErr error) (Observation, error) {
	var obs Observation
	err := errNotYet
	if applyErr == nil && limit.Err() == nil {
		obs, err = r.until(limit, i)
	}
	if err == nil || ctx.Err() != nil || permanent(err) {
		return obs, err
	}
	fresh, lookErr := r.observe(ctx, i)
	switch {
	case lookErr != nil:
		return obs, fmt.Errorf("it cannot be observed: %w", lookErr)
	case fresh.Done:
		return fresh, nil
	}
	return fresh, err
}

// act calls Apply or Undo of a step. Facts of a call that is not waited for any more are refused.
func (r *run) act(limit context.Context, i int, what string, fn func(context.Context) error) (*stepFacts, error) {
	facts := r.facts(i)
	facts.writes = true
	err := do(r.stepContext(limit, i, facts), what+" "+r.p.steps[i].ID, fn)
	facts.over.Store(true)
	facts.targets = outcomesIn(err)
	return facts, err
}

func (r *run) intent(i int, obs Observation, attempt int) error {
	rec := observed(&r.p.steps[i], 0, obs, nil)
	rec.Type, rec.Would = recIntent, obs.Would
	if err := r.j.append(rec); err != nil {
		return err
	}
	r.stepEvent(i, Event{Kind: EventIntent, Observation: obs, Attempt: attempt})
	return nil
}

func (r *run) outcome(i int, o Outcome, by proof, obs Observation, facts *stepFacts, err error) error {
	s := &r.p.steps[i]
	rec := observed(s, 0, obs, err)
	rec.Type, rec.Outcome, rec.Proof = recOutcome, &o, by
	if by == proofAnswer && o == NotApplied && errors.Is(err, ErrReverted) {
		rec.Proof = proofReverted
	}
	if facts != nil {
		rec.Said = facts.lines()
	}
	if err != nil {
		rec.Error = bareText(err)
	}
	if err != nil && facts != nil {
		rec.Targets = facts.targets
	}
	if jerr := r.j.append(rec); jerr != nil {
		return stepError(s, InDoubt, "make the journal writable and run again with the same journal: what became of the "+
			"step is not on record", jerr)
	}
	return nil
}

// once fires a step that must not be fired twice, or finds out what became of an earlier firing.
func (r *run) once(ctx context.Context, i int) error {
	s, st := &r.p.steps[i], r.j.state(r.p.steps[i].ID)
	switch {
	case st.effect == effectFired:
		return r.confirmed(ctx, i, s.timeout(), proofProbed, nil, nil)
	case st.effect != effectNone, r.j.mayLack(st):
		outcome, err := r.probe(ctx, i)
		switch {
		case st.settled && outcome == InDoubt: // what a person said of it stands
		case err != nil || outcome == InDoubt:
			return r.inDoubt(i, proofProbed, nil, err)
		case outcome == Applied:
			return r.confirmed(ctx, i, s.timeout(), proofProbed, nil, nil)
		case st.effect != effectNone:
			found := Observation{Found: "the probe proves that it did not take effect"}
			if err := r.outcome(i, NotApplied, proofProbed, found, nil, nil); err != nil {
				return err
			}
		}
	}
	obs, done, err := r.ready(ctx, i, 1)
	if err != nil || done {
		return err
	}
	if err := r.intent(i, obs, 1); err != nil {
		return err
	}
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	facts, applyErr := r.act(limit, i, "apply", s.Apply)
	outcome, by := OutcomeOf(applyErr), proofAnswer
	if outcome == InDoubt && ctx.Err() == nil && !errors.Is(applyErr, ErrUnresponsive) {
		probed, probeErr := r.probe(ctx, i)
		if outcome, by = probed, proofProbed; probeErr != nil {
			outcome, applyErr = InDoubt, fmt.Errorf("%w; and: %w", applyErr, probeErr)
		}
	}
	switch outcome {
	case Applied:
		return r.confirmed(ctx, i, s.timeout()-time.Since(began), by, facts, applyErr)
	case NotApplied:
		err := stepError(s, NotApplied, "fix the cause and run again with the same journal", applyErr)
		return errors.Join(err, r.outcome(i, NotApplied, by, obs, facts, err))
	case InDoubt:
	}
	return r.inDoubt(i, proofAnswer, facts, applyErr)
}

func (r *run) probe(ctx context.Context, i int) (Outcome, error) {
	s := &r.p.steps[i]
	ctx = r.stepContext(ctx, i, r.facts(i))
	limit, cancel := context.WithTimeout(ctx, min(s.timeout(), DefaultTimeout))
	defer cancel()
	outcome, err := call(limit, "probe "+s.ID, s.Probe)
	if err != nil {
		outcome = InDoubt
	}
	return outcome, err
}

// confirmed records that a Once took effect, then waits for the wanted state as long as time is left for the step, and
// at least for the time of one look. It is never applied again, also when that state does not come: exit code 0 with
// the roles unchanged is a fact for a person, not a reason to fire twice.
func (r *run) confirmed(ctx context.Context, i int, left time.Duration, by proof, facts *stepFacts,
	applyErr error) error {
	s := &r.p.steps[i]
	if r.j.state(s.ID).effect != effectFired {
		if err := r.outcome(i, Applied, by, Observation{}, facts, nil); err != nil {
			return err
		}
	}
	limit, cancel := context.WithTimeout(ctx, max(left, min(s.timeout(), DefaultTimeout)))
	defer cancel()
	obs, err := r.until(limit, i)
	if err == nil {
		return r.seen(i, obs, facts, applyErr)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if applyErr != nil {
		err = fmt.Errorf("%w; and: %w", applyErr, err)
	}
	err = stepError(s, Applied, "it took effect and is not fired again; look at the target, then run again, or resolve "+
		"the step", fmt.Errorf("%w: %w", ErrNotObserved, err))
	return errors.Join(err, r.outcome(i, Applied, proofAnswer, obs, facts, err))
}

func (r *run) inDoubt(i int, by proof, facts *stepFacts, cause error) error {
	err := fmt.Errorf("%w: it may have taken effect", ErrInDoubt)
	if cause != nil {
		err = fmt.Errorf("%w: %w", ErrInDoubt, cause)
	}
	err = stepError(&r.p.steps[i], InDoubt,
		"look at the target; run again when it can be reached, or resolve the step as applied or not-applied", err)
	return errors.Join(err, r.outcome(i, InDoubt, by, Observation{}, facts, err))
}
