package opcon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
	"github.com/01b61c5c/failover/internal/waiting"
)

// settleTime is how long the state is watched after a result was lost or a success does not show yet.
func (c *Client) settleTime() time.Duration { return min(c.conf.ActionTimeout, 5*c.conf.MaxPoll) }

// minLooks is how often the state is looked at at least before the settling time counts as over: on a slow line the
// time may pass in a single look.
const minLooks = 5

// settling watches a state for the settling time.
type settling struct {
	until time.Time
	pause time.Duration
	looks int
}

func (c *Client) settling() *settling {
	return &settling{until: time.Now().Add(c.settleTime()), pause: c.conf.Poll}
}

// over reports whether it has been looked for long enough, after one more look.
func (s *settling) over() bool {
	s.looks++
	return s.looks >= minLooks && !time.Now().Before(s.until)
}

// more waits for the next look, and returns false when there is to be none.
func (s *settling) more(ctx context.Context) bool {
	return !s.over() && waiting.For(ctx, s.pause) == nil
}

// watch reads the state until seen says that it need not be read again, the settling time is over, or a reading fails.
func watch[T any](ctx context.Context, c *Client, read func() (T, error), seen func(T) bool) (T, error) {
	for s := c.settling(); ; {
		now, err := read()
		if err != nil || seen(now) || !s.more(ctx) {
			return now, err
		}
	}
}

// notSeen is the error of an order behind which the state could not be read: then only a refusal proves something.
func notSeen(op, target string, res, err error) error {
	outcome := failover.InDoubt
	if notDone(res) {
		outcome = failover.NotApplied
	}
	return fail(op, target, outcome, nextLook, errors.Join(res, err))
}

// lookHeld returns the scope that was just read, if the step may take it, or reads it.
func (w *work) lookHeld(ctx context.Context, step string, r Record, age time.Duration) (scope, error) {
	return w.last.get(step, age, func() (scope, error) { return w.c.scopeFor(ctx, r, w.dates, age) })
}

// holdAll holds every schedule from which a job could start on the machine and looks again until a pass finds nothing
// to hold. The first pass is what the step has just looked at, or reads the jobs again that were read more than age
// ago; later ones look for new schedules. What it is about to hold goes into the record first. Schedules held by
// somebody else are left alone and not recorded. All schedules are tried; the error names what became of each. It
// returns what the last pass found, and how many schedules it held.
func (w *work) holdAll(ctx context.Context, step string, age time.Duration) (sc scope, held int, err error) {
	const op, maxPasses = "hold schedules of", 10 // while schedules keep appearing
	defer func() { err = lowered(err, held > 0) }()
	r, err := w.must(ctx, op)
	if err != nil {
		return sc, held, err
	}
	var all []Schedule
	for range maxPasses {
		if sc, err = w.lookHeld(ctx, step, r, age); err != nil {
			return sc, held, unchanged(op, w.machine, failover.NextOf(err), err)
		}
		age = surveyAge
		list := r.withoutReleased(sc.toHold())
		if len(list) == 0 {
			return sc, held, nil
		}
		fresh := r.plan(list, w.prefix+step)
		if err := w.keep(ctx, op, r); err != nil {
			return sc, held, err
		}
		w.last.forget()
		all = append(all, list...)
		err := w.setAll(ctx, op, verbHold, r, list, all, func(h *HeldSchedule, err error) {
			if !notDone(err) || fresh[h.ID] { // a refusal of this hold lowers no earlier one
				h.Outcome = failover.OutcomeOf(err)
			}
		})
		if err != nil {
			return sc, held, err
		}
		held = len(all)
		failover.Progress(ctx, fmt.Sprintf("held %d schedules, looking again for new ones", len(list)))
	}
	return sc, held, inDoubt(op, w.machine, "stop whoever builds schedules, then run again",
		fmt.Errorf("%w: new schedules still appear after %d passes", failover.ErrNotObserved, maxPasses))
}

// setAll holds or releases the schedules in list, notes in the record what became of each, and makes one error of what
// became of all.
func (w *work) setAll(ctx context.Context, op string, v verb, r Record, list, all []Schedule,
	note func(*HeldSchedule, error)) error {
	failed := w.c.setSchedules(ctx, v, w.reason, list)
	for i := range r.Held {
		if err, tried := failed[r.Held[i].ID]; tried {
			note(&r.Held[i], err)
		}
	}
	maps.DeleteFunc(failed, func(_ ScheduleID, err error) bool { return errors.Is(err, errTheirs) })
	if err := w.save(ctx, r); err != nil {
		return inDoubt(op, w.machine, "make the journal writable and run again, which looks first", err)
	}
	return together(op, w.machine, convert(all, func(s Schedule) failover.TargetResult {
		return failover.TargetResult{Target: s.String(), Err: failed[s.ID]}
	}))
}

// lowered makes a refusal part of what is in effect, where something was changed before it.
func lowered(err error, changed bool) error {
	if changed {
		return behind.Effect(err)
	}
	return err
}

// together makes one error of what became of all targets; its outcome is theirs if they agree.
func together(op, machine string, targets failover.Targets) error {
	err := targets.Err()
	if err == nil {
		return nil
	}
	var names []string
	own := ""
	for _, t := range targets {
		if t.Err != nil {
			names, own = append(names, t.Target), failover.NextOf(t.Err)
		}
	}
	next := fmt.Sprintf("clear the reason for %s, then run again: the others are as wanted and are not sent again",
		strings.Join(names, ", "))
	if len(names) == 1 && own != "" {
		next = fmt.Sprintf("for %s: %s; the others are as wanted and are not sent again", names[0], own)
	}
	return &failover.Error{Op: op, Target: machine, Outcome: failover.OutcomeOf(err), Next: next, Err: err}
}

// errTheirs: the hold was refused, and the schedule is held: somebody else did it meanwhile, and releases it.
var errTheirs = &failover.Error{Op: "hold schedule", Outcome: failover.NotApplied, Err: errors.New("it is held already")}

// setSchedules holds or releases schedules and returns an error for each that did not come to the wanted state. The
// result the server reports decides nothing by itself: every schedule is read again.
func (c *Client) setSchedules(ctx context.Context, v verb, reason string, list []Schedule) map[ScheduleID]error {
	failed := map[ScheduleID]error{}
	var shown []Schedule
	for _, s := range list {
		if !s.hidden {
			shown = append(shown, s)
			continue
		}
		failed[s.ID] = inDoubt(string(v)+" schedule", s.String(), "look in OpCon whether it is there: if it was deleted, "+
			"resolve the step as applied, or name it in KeepHeld for a release; otherwise give the service account access to it "+
			"and run again",
			fmt.Errorf("%w: it is %s", failover.ErrNotObserved, s.words()))
	}
	var mu sync.Mutex
	batches := slices.Collect(slices.Chunk(shown, batchSize))
	_ = failover.EachTarget(ctx, 2, batches, func(b []Schedule) string { return string(b[0].ID) },
		func(ctx context.Context, batch []Schedule) error {
			got := c.setBatch(ctx, v, reason, batch)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(failed, got)
			return nil
		})
	for _, s := range list { // a batch whose turn never came
		if _, ok := failed[s.ID]; !ok {
			failed[s.ID] = unchanged(string(v)+" schedule", s.String(), "run again with more time", context.Cause(ctx))
		}
	}
	return failed
}

func (c *Client) setBatch(ctx context.Context, v verb, reason string, batch []Schedule) map[ScheduleID]error {
	items := convert(batch, func(s Schedule) actionItem {
		return actionItem{id: string(s.ID), name: s.String(), sent: map[string]any{"id": s.ID}}
	})
	results := c.act(ctx, scheduleActions, v, reason, items)
	if first := results[items[0].id]; len(batch) > 1 && notDone(first) && refusedContent(first) {
		// One schedule may have spoilt the request for the others.
		failed := map[ScheduleID]error{}
		for _, s := range batch {
			maps.Copy(failed, c.setBatch(ctx, v, reason, []Schedule{s}))
		}
		return failed
	}
	reached := func(s ScheduleState) bool { return s == ScheduleHeld || s == ScheduleParentHeld }
	if v == verbRelease {
		reached = func(s ScheduleState) bool { return s != ScheduleHeld && s != ScheduleUnknown }
	}
	failed := map[ScheduleID]error{}
	op := string(v) + " schedule"
	open := slices.Clone(batch)
	now, err := watch(ctx, c, func() (map[ScheduleID]Schedule, error) {
		return c.schedulesByID(ctx, convert(open, func(s Schedule) ScheduleID { return s.ID }))
	}, func(now map[ScheduleID]Schedule) bool {
		open = slices.DeleteFunc(open, func(s Schedule) bool {
			state, seen := now[s.ID]
			res := results[string(s.ID)]
			switch {
			case seen && reached(state.State) && v == verbHold && notDone(res):
				res = errTheirs
			case seen && reached(state.State):
				res = nil
			case !notDone(res):
				return false
			case seen && state.State == ScheduleUnknown:
				res = unchanged(op, s.String(), failover.NextOf(res), fmt.Errorf("it is %s: %w", state.words(), res))
			}
			failed[s.ID] = res
			return true
		})
		return len(open) == 0
	})
	for _, s := range open {
		res := results[string(s.ID)]
		if err != nil {
			failed[s.ID] = notSeen(op, s.String(), res, err)
			continue
		}
		if res == nil {
			state, seen := now[s.ID]
			state.hidden = !seen
			res = fmt.Errorf("%w: the server reported success and it is %s", failover.ErrNotObserved, state.words())
		}
		failed[s.ID] = inDoubt(op, s.String(), cmp.Or(failover.NextOf(res), nextLook), res)
	}
	return failed
}

// pendingRelease reads what is ours to release and is not proven to be free: it is held, or in a state this package does
// not know, or not shown. Schedules that somebody else has released meanwhile are not in it.
func (c *Client) pendingRelease(ctx context.Context, r Record, ours func(HeldSchedule) bool) ([]Schedule, error) {
	return c.readHeld(ctx, r, func(h HeldSchedule) bool { return h.Ours() && ours(h) },
		func(h HeldSchedule, s Schedule) bool {
			return s.State == ScheduleHeld || (s.State == ScheduleUnknown && !(s.hidden && h.Free))
		})
}

// toHoldAgain returns what this run has released and what is neither held nor finished since.
func (c *Client) toHoldAgain(ctx context.Context, r Record) ([]Schedule, error) {
	return c.readHeld(ctx, r, func(h HeldSchedule) bool { return h.Released },
		func(_ HeldSchedule, s Schedule) bool { return needsHold(s.State, false) })
}

// readHeld reads the record's schedules that of chooses, and returns those that want chooses by what they are now. One
// that is not shown is in an unknown state: it was deleted, or the account may not see it, and nothing tells which.
func (c *Client) readHeld(ctx context.Context, r Record, of func(HeldSchedule) bool,
	want func(HeldSchedule, Schedule) bool) ([]Schedule, error) {
	mine := slices.DeleteFunc(slices.Clone(r.Held), func(h HeldSchedule) bool { return !of(h) })
	now, err := c.schedulesByID(ctx, convert(mine, func(h HeldSchedule) ScheduleID { return h.ID }))
	if err != nil {
		return nil, err
	}
	var list []Schedule
	for _, h := range mine {
		s, shown := now[h.ID]
		if !shown {
			s = Schedule{ID: h.ID, Name: h.Name, Date: h.Date, hidden: true}
		}
		if want(h, s) {
			list = append(list, s)
		}
	}
	return list, nil
}

// release frees the schedules that are ours, as pending returns them. One that fails holds up no other and is reported
// by its name.
func (w *work) release(ctx context.Context, pending func(context.Context, Record) ([]Schedule, error)) error {
	const op = "release schedules of"
	r, err := w.must(ctx, op)
	if err != nil {
		return err
	}
	list, err := pending(ctx, r)
	if err != nil {
		return unchanged(op, w.machine, failover.NextOf(err), err)
	}
	if len(list) == 0 {
		return nil
	}
	fresh := map[ScheduleID]bool{} // only of these can a refusal say that no release is in effect
	for i, h := range r.Held {
		if slices.ContainsFunc(list, func(s Schedule) bool { return s.ID == h.ID && !s.hidden }) {
			fresh[h.ID], r.Held[i].Released = !h.Released, true
		}
	}
	if err := w.keep(ctx, op, r); err != nil {
		return err
	}
	return w.setAll(ctx, op, verbRelease, r, list, list, func(h *HeldSchedule, err error) {
		h.Free = h.Free || err == nil
		h.Released = h.Released && !(fresh[h.ID] && notDone(err))
	})
}

// holdAgain is the undo of a release: it holds what was released and has not been finished since.
func (w *work) holdAgain(ctx context.Context) error {
	const op = "hold schedules again of"
	r, err := w.must(ctx, op)
	if err != nil {
		return err
	}
	list, err := w.c.toHoldAgain(ctx, r)
	switch {
	case err != nil:
		return unchanged(op, w.machine, failover.NextOf(err), err)
	case len(list) == 0:
		return failover.NothingToUndo(ctx)
	}
	return w.setAll(ctx, op, verbHold, r, list, list, func(h *HeldSchedule, err error) {
		if err == nil {
			h.Released, h.Free = false, false
		}
	})
}
