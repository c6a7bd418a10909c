package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// UndoPlan is what an undo would do, newest first, as the journal stands. It is data.
type UndoPlan struct {
	Findings PlanHash   `json:"findings"` // an approval is given for this one
	Steps    []UndoStep `json:"steps"`    // up to and including the one where the undo would have to stop
}

// UndoStep is one line of what Undo would do.
type UndoStep struct {
	StepInfo
	Status StepStatus `json:"status"`        // how the step stands
	Undo   bool       `json:"undo"`          // false: Undo stops here
	Why    string     `json:"why,omitempty"` // why it stops
}

// UndoPlan lists, newest first, the changes that are or may be in effect because of the journal's runs, up to and
// including the one where an undo would have to stop.
func (p Procedure) UndoPlan(j *Journal) UndoPlan {
	plan := UndoPlan{Steps: []UndoStep{}}
	p = p.flatten()
	infos := p.info()
	for i, s := range slices.Backward(p.steps) {
		st := j.state(s.ID)
		if !st.touched() {
			continue
		}
		u := UndoStep{StepInfo: infos[i], Status: st.status(), Undo: true}
		switch {
		case s.Kind == Once:
			u.Undo, u.Why = false, "it cannot be taken back; run the procedure for the way back"
		case s.Undo == nil:
			u.Undo, u.Why = false, "the step has no undo"
		}
		plan.Steps = append(plan.Steps, u)
		if !u.Undo {
			break
		}
	}
	plan.Findings = PlanHash(hashJSON(struct {
		Definition, Journal string
		Steps               []UndoStep
	}{p.Definition(), j.ID(), plan.Steps}))
	return plan
}

// Undo takes back, newest first, what is in effect because of the journal's runs. It never passes a Once or a Change
// without an Undo that is or may be in effect (ErrIrreversible): what lies before it stays. A step in doubt is looked
// at first: where its wanted state is not seen, Undo refuses (ErrInDoubt) until a run or a person has settled it. The
// same holds for the first Once that stands open, with a journal that was opened: it may lack the record of it. Each step
// passes gate or approved UndoPlan like a change, is written to the journal before and after, and is observed:
// what is not seen to be taken back stays open, and Undo resumes there. After an undo has begun the journal cannot be
// run any more.
//
// Undo works on time of its own: the end of ctx, which may be what made the run fail, stops it between two steps only.
func (p Procedure) Undo(ctx context.Context, o RunOptions) (*Report, error) {
	r, err := p.start(o)
	if err != nil {
		return nil, err
	}
	defer r.j.leave()
	r.undo = true
	return r.do(ctx, recUndo, r.undoAll)
}

func (r *run) undoAll(ctx context.Context) error {
	if err := r.settleDoubts(ctx); err != nil {
		return err
	}
	plan := r.p.UndoPlan(r.j)
	if r.o.Approved != "" && !r.recall() {
		if plan.Findings != r.o.Approved {
			return r.fail("compare with the approved undo", "read the new plan of the undo and approve that one", NotApplied,
				fmt.Errorf("%w: approved %.12s, found %.12s", ErrPlanChanged, r.o.Approved, plan.Findings))
		}
		if err := r.remember(plan.shown()); err != nil {
			return err
		}
	}
	for _, u := range plan.Steps {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		i := r.index[u.ID]
		s := &r.p.steps[i]
		if !u.Undo {
			return stepError(s, r.outcomeOf(i), u.Why, fmt.Errorf("%w: %s is in effect and stays", ErrIrreversible, s.ID))
		}
		r.stepEvent(i, Event{Kind: EventStepStarted})
		err := r.undoStep(ctx, i)
		r.ended(ctx, i, err)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p UndoPlan) shown() []shownStep {
	var lines []shownStep
	for _, s := range p.Steps {
		lines = append(lines, shownStep{Step: s.ID, Action: ActionApply, Found: s.Status.String()})
	}
	return lines
}

// settleDoubts looks at every step that may be in effect. Only the wanted state closes a doubt here: a change that was
// not seen may still come, and an undo that came before it would be taken back by it.
func (r *run) settleDoubts(ctx context.Context) error {
	for i := range r.p.steps {
		s := &r.p.steps[i]
		st := r.j.state(s.ID)
		lost := r.mayHaveFired(i)
		if !lost && (st.effect != effectDoubt || st.undoOpen) {
			continue
		}
		var err error
		var obs Observation
		if s.Kind == Once {
			var outcome Outcome
			outcome, err = r.probe(ctx, i)
			switch {
			case lost && outcome == NotApplied, lost && outcome == InDoubt && st.settled:
				continue
			case lost || outcome != InDoubt:
				if err := r.outcome(i, outcome, proofProbed, Observation{Found: "asked before an undo"}, nil, err); err != nil {
					return err
				}
			}
			if outcome != InDoubt {
				continue
			}
		} else if obs, err = r.observe(ctx, i); err == nil && obs.Done {
			if err := r.j.append(observed(s, StatusAlready, obs, nil)); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			err = fmt.Errorf("found %s, and it may still take effect", found(obs))
		}
		return &Error{Op: "undo", Target: s.ID, Outcome: InDoubt,
			Next: "settle the step first: run again, or look at the target and resolve it",
			Err:  fmt.Errorf("%w: %s: %w", ErrInDoubt, s.ID, err)}
	}
	return nil
}

// mayHaveFired reports whether the step at index i is a Once that the run of a journal that lost its end may have fired:
// the first one that stands open behind something that is to be taken back.
func (r *run) mayHaveFired(i int) bool {
	st, touched := r.j.state(r.p.steps[i].ID), false
	if r.p.steps[i].Kind != Once || st.effect != effectNone || st.done() || !r.j.mayLack(st) {
		return false
	}
	for k := i - 1; k >= r.lanes[r.p.in[i]].from; k-- {
		before := r.j.state(r.p.steps[k].ID)
		if r.p.steps[k].Kind == Once && !before.done() {
			return false
		}
		touched = touched || before.touched()
	}
	return touched
}

func (r *run) undoStep(ctx context.Context, i int) error {
	s := &r.p.steps[i]
	obs := r.beforeUndo(ctx, i)
	for try := 1; ; try++ {
		asked, err := r.consentToUndo(i, obs)
		if err != nil {
			return err
		}
		if !asked {
			break
		}
		shown := r.findings(i, obs)
		if obs = r.beforeUndo(ctx, i); r.findings(i, obs) == shown {
			break // what was approved is still what is found
		}
		if try == 3 {
			return stepError(s, r.outcomeOf(i), "find out what changes the target, then undo again with the same journal",
				ErrPlanChanged)
		}
	}
	if err := r.stopped(ctx); err != nil {
		return err // the answer may have come after it was asked to end
	}
	if err := r.lockStillOurs(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if err := r.j.append(record{Type: recUndoIntent, Step: s.ID}); err != nil {
		return err
	}
	r.stepEvent(i, Event{Kind: EventIntent, Observation: obs, Attempt: 1})
	limit, end := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
	defer end()
	facts, err := r.act(limit, i, "undo", s.Undo)
	if errors.Is(err, errNothingToUndo) {
		return r.undoOutcome(i, Applied, Observation{Found: "nothing to take back"}, facts, nil)
	}
	if err != nil && OutcomeOf(err) == NotApplied || errors.Is(err, ErrUnresponsive) {
		return r.undoOutcome(i, OutcomeOf(err), Observation{}, facts, err)
	}
	if _, lost := errors.AsType[unsavedError](err); lost {
		end() // one look is enough: what could not be kept does not come by waiting
	}
	seen, lookErr := r.untilUndone(limit, i)
	if lookErr == nil {
		return r.undoOutcome(i, Applied, seen, facts, nil)
	}
	if err == nil {
		err = lookErr
	} else {
		err = fmt.Errorf("%w; and: %w", err, lookErr)
	}
	return r.undoOutcome(i, InDoubt, seen, facts, err)
}

// beforeUndo is what a person is shown who is asked about the undo of a step.
func (r *run) beforeUndo(ctx context.Context, i int) Observation {
	s := &r.p.steps[i]
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
	defer cancel()
	obs, err := r.observe(limit, i)
	if err != nil {
		obs = Observation{Found: "cannot be observed", Note: err.Error()}
	}
	obs.Would = "take back: " + s.Title
	return obs
}

// consentToUndo asks the gate about a step that no approved plan of the undo has shown.
func (r *run) consentToUndo(i int, obs Observation) (asked bool, err error) {
	_, planned := r.approved[r.p.steps[i].ID]
	if planned || r.o.Gate == nil && r.approved == nil {
		return false, nil
	}
	if r.o.Gate == nil {
		return false, stepError(&r.p.steps[i], r.outcomeOf(i), "read the new plan of the undo and approve that one",
			fmt.Errorf("%w: %w: the approved undo did not show it", ErrWaiting, ErrPlanChanged))
	}
	r.asking.Lock()
	defer r.asking.Unlock()
	return true, r.ask(i, 1, obs, false)
}

// untilUndone looks until nothing of the change is left, at least once on time of its own.
func (r *run) untilUndone(limit context.Context, i int) (Observation, error) {
	s := &r.p.steps[i]
	before := r.j.state(s.ID).before0
	own := context.WithoutCancel(limit)
	for {
		ctx := r.stepContext(own, i, r.facts(i))
		var obs Observation
		var err error
		done := false
		if s.Undone != nil {
			obs, err = look(ctx, s, "observe the undo of", s.Undone)
			done = obs.Done
		} else if obs, err = observe(ctx, s); err == nil {
			if done = takenBack(obs, before); !done {
				obs.Found += unlisted(obs, before)
			}
		}
		switch {
		case err == nil && done:
			return obs, nil
		case err == nil:
			err = fmt.Errorf("%w: found %s", ErrNotObserved, found(obs))
		}
		if errors.Is(err, ErrUnresponsive) || limit.Err() != nil || sleep(limit, s.poll()) != nil {
			return obs, err
		}
	}
}

// takenBack reports whether an observation shows nothing of the change: every target was looked at, the wanted state
// does not hold, and no target has it that did not have it before.
func takenBack(obs Observation, before []Item) bool {
	had := wanted(before)
	for _, item := range obs.Items {
		if item.Unknown || item.Done && !had[jsonText(item.Target)] {
			return false
		}
	}
	return !obs.Done && unlisted(obs, before) == ""
}

// wanted are the targets that stood as wanted.
func wanted(items []Item) map[string]bool {
	had := map[string]bool{}
	for _, item := range items {
		had[item.Target] = item.Done
	}
	return had
}

// unlisted tells of a target that may have been changed and that an observation does not show any more.
func unlisted(obs Observation, before []Item) string {
	for _, was := range before {
		if !was.Done && !slices.ContainsFunc(obs.Items, func(item Item) bool { return jsonText(item.Target) == was.Target }) {
			return "; " + was.Target + " is not listed any more"
		}
	}
	return ""
}

func (r *run) undoOutcome(i int, o Outcome, obs Observation, facts *stepFacts, err error) error {
	s := &r.p.steps[i]
	rec := record{Type: recUndoOutcome, Step: s.ID, Outcome: &o, Found: obs.Found, Items: obs.Items, Said: facts.lines()}
	if err == nil {
		return r.j.append(rec)
	}
	rec.Targets = facts.targets
	err = stepError(s, o, "undo again with the same journal: an undo is safe to repeat", fmt.Errorf("undo: %w", err))
	rec.Error, rec.Next = bareText(err), NextOf(err)
	return errors.Join(err, r.j.append(rec))
}
