package failover

import (
	"context"
	"errors"
	"fmt"
)

// approve takes the lines of the approved plan: from the journal when it knows the hash, otherwise from a plan made
// now, which must be the same.
func (r *run) approve(ctx context.Context) error {
	if r.o.Approved == "" {
		return nil
	}
	if r.recall() {
		return nil
	}
	plan, err := r.p.Plan(ctx, r.j)
	if err != nil {
		return err
	}
	if plan.Findings != r.o.Approved {
		return r.fail("compare with the approved plan", "read the new plan and approve that one", NotApplied,
			fmt.Errorf("%w: approved %.12s, found %.12s", ErrPlanChanged, r.o.Approved, plan.Findings))
	}
	return r.remember(plan.shown())
}

// recall reports whether the journal knows the approved plan.
func (r *run) recall() bool {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	r.approved = r.j.fold.shown[approval{r.o.Approved, r.undo, r.definition}]
	return r.approved != nil
}

// remember records the approval with everything that was shown.
func (r *run) remember(shown []shownStep) error {
	rec := record{Type: recConsent, Actor: r.o.Actor, Reason: r.o.Reason, From: r.claim.Holder.from(), Hash: r.o.Approved,
		Shown: shown, Undo: r.undo}
	if err := r.j.append(rec); err != nil {
		return err
	}
	r.recall()
	return nil
}

// ready brings a Change or Once to the point where it may be applied: what is found right now was approved, the lock is
// ours and the Checks that guard it hold. The bool is true when nothing is left to do; that is recorded.
func (r *run) ready(ctx context.Context, i, attempt int) (obs Observation, done bool, err error) {
	s := &r.p.steps[i]
	if obs, err = r.observe(ctx, i); err != nil {
		return obs, false, r.unseen(i, err)
	}
	for range 3 {
		if obs.Done {
			return obs, true, r.j.append(observed(s, StatusAlready, obs, nil))
		}
		asked, err := r.consent(i, attempt, obs)
		if err != nil {
			return obs, false, err
		}
		lane := &r.lanes[r.p.in[i]]
		if waits := r.waits.Load(); s.Kind == Once || lane.looked != waits {
			if err := r.standing(ctx, i); err != nil {
				return obs, false, err
			}
			lane.looked = waits
		}
		if err := r.lockStillOurs(ctx); err != nil {
			return obs, false, err
		}
		same := true
		if asked { // a person may have taken an hour to answer: what was approved must still be what is found
			shown := r.findings(i, obs)
			if obs, err = r.observe(ctx, i); err != nil {
				return obs, false, r.unseen(i, err)
			}
			same = r.findings(i, obs) == shown
		}
		if asked || attempt == 1 { // a step under way is not cut short between two attempts
			if err := r.stopped(ctx); err != nil {
				return obs, false, err
			}
		}
		if same {
			return obs, false, nil
		}
	}
	return obs, false, stepError(s, r.outcomeOf(i),
		"find out what changes the target, then run again with the same journal", ErrPlanChanged)
}

// unseen is the error of a look that failed before anything was applied.
func (r *run) unseen(i int, err error) error {
	outcome := r.outcomeOf(i)
	if outcome == InDoubt {
		err = fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	return stepError(&r.p.steps[i], outcome, "make the target observable and run again with the same journal", err)
}

// outcomeOf is what is known of a step that was not applied right now.
func (r *run) outcomeOf(i int) Outcome {
	if r.j.state(r.p.steps[i].ID).touched() {
		return InDoubt
	}
	return NotApplied
}

func (r *run) findings(i int, obs Observation) PlanHash {
	return PlanHash(hashJSON(struct {
		Definition string
		Step       string
		Undo       bool
		Found      Observation
	}{r.definition, r.p.steps[i].ID, r.undo, obs.hashed()}))
}

// consent sees to it that somebody agreed to what was found. The bool reports whether a gate was asked.
func (r *run) consent(i, attempt int, obs Observation) (asked bool, err error) {
	s := &r.p.steps[i]
	if r.approved == nil && r.o.Gate == nil {
		return false, nil
	}
	line, planned := r.approved[s.ID]
	shown := planned && line.covers(obs)
	switch {
	case shown && (s.canUndo() || r.o.Gate == nil):
		return false, nil
	case r.o.Gate == nil:
		err := stepError(s, r.outcomeOf(i), "plan again with the same journal, and approve that plan",
			fmt.Errorf("%w: %w: the plan did not show it like this: %s", ErrWaiting, ErrPlanChanged, found(obs)))
		return false, errors.Join(err, r.j.append(observed(s, StatusWaiting, obs, err)))
	}
	hash := r.findings(i, obs)
	if agreed, _ := r.agreed.Load(s.ID); agreed == hash {
		return false, nil
	}
	r.asking.Lock()
	defer r.asking.Unlock()
	if err := r.ask(i, attempt, obs, planned); err != nil {
		return true, err
	}
	r.agreed.Store(s.ID, hash)
	return true, nil
}

func (r *run) request(i, attempt int, obs Observation) Request {
	return Request{Journal: r.j.ID(), Procedure: r.p.Name, Definition: r.definition, Findings: r.findings(i, obs),
		Approved: r.o.Approved,
		Actor:    r.o.Actor, Reason: r.o.Reason, Undo: r.undo, Attempt: attempt, Step: r.info[i], Observation: obs}
}

// ask puts the question to the gate and records the answer.
func (r *run) ask(i, attempt int, obs Observation, planned bool) error {
	s, req := &r.p.steps[i], r.request(i, attempt, obs)
	req.Planned = planned
	defer r.waits.Add(1)
	answer, err := call(r.pause, "ask about "+s.ID,
		func(ctx context.Context) (Approval, error) { return r.o.Gate(ctx, req) })
	if answer.By == "" {
		answer.By = r.o.Actor
	}
	rec := record{Type: recConsent, Step: s.ID, Actor: answer.By, From: answer.From, Hash: req.Findings, Undo: r.undo,
		Shown: []shownStep{{Step: s.ID, Action: ActionApply, Found: obs.Found, Would: obs.Would, Items: obs.Items}}}
	switch {
	case err == nil:
		return r.j.append(rec)
	case errors.Is(err, ErrWaiting), r.pause.Err() != nil:
		if !errors.Is(err, ErrWaiting) {
			err = fmt.Errorf("%w: %w", ErrWaiting, err)
		}
		return r.waiting(s, obs, "approve "+s.ID+" and run again with the same journal", err)
	}
	err = stepError(s, r.outcomeOf(i), "settle the objection and run again with the same journal",
		fmt.Errorf("%w: %w", ErrRejected, err))
	rec.Type, rec.Shown, rec.Hash, rec.Undo = recReject, nil, req.Findings, false
	rec.Found, rec.Items, rec.Error, rec.Next = obs.Found, obs.Items, err.Error(), NextOf(err)
	return errors.Join(err, r.j.append(rec))
}

// covers reports whether an observation is what was shown: the same, or of a step over many targets fewer targets, each
// with the finding that was shown.
func (line shownStep) covers(obs Observation) bool {
	if line.Action != ActionApply || (len(obs.Items) == 0) != (len(line.Items) == 0) {
		return false
	}
	shown := map[string]string{}
	for _, item := range line.Items {
		if !item.Done {
			shown[item.Target] = item.Found
		}
	}
	open := 0
	for _, item := range obs.Items {
		if item.Done {
			continue
		}
		open++
		if was, known := shown[jsonText(item.Target)]; !known || was != jsonText(item.Found) {
			return false
		}
	}
	if open < len(shown) {
		return true // what would be done is said of more targets than are left
	}
	return line.Would == jsonText(obs.Would) && (len(obs.Items) > 0 || line.Found == jsonText(obs.Found))
}
