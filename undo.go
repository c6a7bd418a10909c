package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// UndoStep is one line of what Undo would do.
type UndoStep struct {
	ID     string `json:"id"`               // as in Step
	Title  string `json:"title"`            // as in Step
	Target string `json:"target,omitempty"` // as in Step
	Undo   bool   `json:"undo"`             // false: Undo stops here
	Why    string `json:"why,omitempty"`    // why it stops
}

// UndoPlan lists, newest first, the changes that the journal says are in effect, up to and including the one where
// an undo would have to stop.
func (p Procedure) UndoPlan(j *Journal) []UndoStep {
	var plan []UndoStep
	states := j.states()
	for _, s := range slices.Backward(p.Steps) {
		st := states[s.ID]
		if !st.touched() && (st == nil || !st.undoOpen) {
			continue
		}
		u := UndoStep{ID: s.ID, Title: s.Title, Target: s.Target, Undo: true}
		switch {
		case s.Kind == Once:
			u.Undo, u.Why = false, "it cannot be taken back; run the procedure for the way back"
		case s.Undo == nil:
			u.Undo, u.Why = false, "the step has no undo"
		}
		plan = append(plan, u)
		if !u.Undo {
			break
		}
	}
	return plan
}

// Undo takes back, newest first, what the journal says was applied. It refuses to begin while any outcome is in
// doubt (ErrInDoubt), and it never passes an applied Once or a Change without an Undo (ErrIrreversible): what lies
// before it stays. Each undo is written to the journal before and after, so that Undo resumes like Run does. After an
// undo has begun the journal cannot be run any more.
//
// Undo works on time of its own: the end of ctx, which may be what made the run fail, stops it between two steps only.
func (p Procedure) Undo(ctx context.Context, o RunOptions) (*Report, error) {
	r, err := p.start(o)
	if err != nil {
		return nil, err
	}
	defer r.j.leave()
	for id, st := range r.j.states() {
		if st.Status == StatusInDoubt && !st.fired && !st.undoOpen {
			return p.Report(r.j), &Error{Op: "undo", Target: id, Outcome: NotApplied, Next: "settle the step first: run again, or resolve it",
				Err: fmt.Errorf("%w: %s", ErrInDoubt, id)}
		}
	}
	if err := r.j.append(record{Type: recRun, Actor: o.Actor, Reason: "undo: " + o.Reason}); err != nil {
		return p.Report(r.j), err
	}
	r.event(Event{Kind: EventRunStarted})
	return r.end(r.locked(ctx, r.undoAll))
}

func (r *run) undoAll(ctx context.Context) error {
	for _, u := range r.p.UndoPlan(r.j) {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		i := r.p.index(u.ID)
		s := r.p.Steps[i]
		r.number = i + 1
		if !u.Undo {
			return stepError(s, NotApplied, u.Why, fmt.Errorf("%w: %s is in effect and stays", ErrIrreversible, s.ID))
		}
		r.event(Event{Kind: EventStepStarted, Step: s})
		err := r.undoStep(ctx, s)
		r.event(Event{Kind: EventStepEnded, Step: s, Status: r.j.states()[s.ID].Status, Err: err})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) undoStep(ctx context.Context, s Step) error {
	if err := r.lockStillOurs(ctx); err != nil {
		return err
	}
	if err := r.j.append(record{Type: recUndoIntent, Step: s.ID}); err != nil {
		return err
	}
	r.event(Event{Kind: EventIntent, Step: s})
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
	defer cancel()
	err := undo(r.stepContext(fresh, s, r.j), s)
	outcome := OutcomeOf(err)
	rec := record{Type: recUndoOutcome, Step: s.ID, Outcome: &outcome, Targets: targetsOf(err)}
	if err != nil {
		err = stepError(s, outcome, "undo again with the same journal: an undo is safe to repeat", fmt.Errorf("undo: %w", err))
		rec.Error, rec.Next = err.Error(), NextOf(err)
	}
	return errors.Join(err, r.j.append(rec))
}

// TakeOverLock replaces the holder of the lock, named by from, with this journal's claim, and records who did it and
// why. Only a person who knows that the other run is dead may do this: two runs at once is what the lock prevents.
func (p Procedure) TakeOverLock(ctx context.Context, from Claim, o RunOptions) error {
	if p.Lock == nil {
		return Invalid("Procedure.Lock", "is nil", "there is no lock to take over")
	}
	r, err := p.start(o)
	if err != nil {
		return err
	}
	defer r.j.leave()
	rec := record{Type: recTakeOver, Actor: o.Actor, Reason: o.Reason,
		Found: fmt.Sprintf("held by %s for %s since %s (%s)", from.Owner, from.Purpose, from.Since.Format(time.RFC3339), from.ID)}
	if err := r.j.append(rec); err != nil {
		return err
	}
	if err := p.Lock.TakeOver(ctx, from, r.j.claim()); err != nil {
		return r.fail("take the lock over", "read the holder again; it may have changed", OutcomeOf(err), err)
	}
	return nil
}
