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
	"github.com/01b61c5c/failover/internal/waiting"
)

// maxPasses limits how often the scope is read again while schedules keep appearing.
const maxPasses = 10

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

// lookHeld returns what the step has just read, or reads it.
func (w *work) lookHeld(ctx context.Context, step string, r Record) (scope, error) {
	began := time.Now()
	sc, ok := w.last.take(step, surveyAge)
	if ok {
		return sc, nil
	}
	sc, err := w.c.scopeFor(ctx, r, w.dates, surveyAge)
	if err == nil {
		w.last.put(sc, began, surveyAge)
	}
	return sc, err
}

// holdAll holds every schedule from which a job could start on the machine and looks again until a pass finds nothing
// to hold. The first pass is what the step has just looked at, or reads the jobs again that were read more than age
// ago; later ones look for new schedules. What it is about to hold goes into the record first. Schedules held by
// somebody else are left alone and not recorded. All schedules are tried; the error names what became of each. It
// returns what the last pass found, and how many schedules it held.
func (w *work) holdAll(ctx context.Context, step string, age time.Duration) (scope, int, error) {
	const op = "hold schedules of"
	r, err := w.must(ctx, op)
	if err != nil {
		return scope{}, 0, err
	}
	var held []Schedule // in earlier passes
	fail := func(outcome failover.Outcome, next string, err error) error {
		return lowered(fail(op, w.machine, outcome, next, err), len(held) > 0)
	}
	for range maxPasses {
		began := time.Now()
		sc, ok := w.last.take(step, age)
		if !ok {
			if sc, err = w.c.scopeFor(ctx, r, w.dates, age); err != nil {
				return sc, len(held), fail(failover.NotApplied, failover.NextOf(err), err)
			}
		}
		read := age
		age = surveyAge
		list := r.withoutReleased(sc.toHold())
		if len(list) == 0 {
			if !ok {
				w.last.put(sc, began, read)
			}
			return sc, len(held), nil
		}
		fresh := r.plan(list, w.prefix+step)
		if err := w.keep(ctx, op, r); err != nil {
			return sc, len(held), lowered(err, len(held) > 0)
		}
		failed := w.c.setSchedules(ctx, verbHold, w.reason, list)
		for _, s := range list {
			r.settle(s.ID, failover.OutcomeOf(failed[s.ID]), fresh[s.ID])
		}
		if err := w.save(ctx, r); err != nil {
			return sc, len(held), fail(failover.InDoubt, nextWritable, err)
		}
		held = append(held, list...)
		if err := together(op, w.machine, targetsOf(held, failed)); err != nil {
			return sc, len(held), err
		}
		failover.Progress(ctx, fmt.Sprintf("held %d schedules, looking again for new ones", len(list)))
	}
	return scope{}, len(held), fail(failover.InDoubt, "stop whoever builds schedules, then run again",
		fmt.Errorf("%w: new schedules still appear after %d passes", failover.ErrNotObserved, maxPasses))
}

// lowered makes a refusal part of what is in effect: where something was changed before it, it is not true that nothing
// was.
func lowered(err error, changed bool) error {
	if err == nil || !changed || failover.OutcomeOf(err) != failover.NotApplied {
		return err
	}
	fe, ok := errors.AsType[*failover.Error](err)
	if !ok {
		return err
	}
	return &failover.Error{Op: fe.Op, Target: fe.Target, Outcome: failover.InDoubt, Next: fe.Next, Err: err}
}

// targetsOf is what became of schedules, each by its name.
func targetsOf(list []Schedule, failed map[ScheduleID]error) failover.Targets {
	targets := make(failover.Targets, len(list))
	for i, s := range list {
		targets[i] = failover.TargetResult{Target: s.String(), Err: failed[s.ID]}
	}
	return targets
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
		failed[s.ID] = inDoubt(string(v)+" schedule", s.String(),
			"look in OpCon whether it is there: if it was deleted, name it in KeepHeld or resolve the step as applied; "+
				"otherwise give the service account access to it and run again",
			fmt.Errorf("%w: it is %s", failover.ErrNotObserved, s.words()))
	}
	var mu sync.Mutex
	batches := slices.Collect(slices.Chunk(shown, batchSize))
	_ = failover.EachTarget(ctx, 2, batches, func(b []Schedule) string { return string(b[0].ID) },
		func(ctx context.Context, batch []Schedule) error {
			got := c.setBatch(ctx, v, reason, batch)
			mu.Lock()
			defer mu.Unlock()
			for _, s := range batch {
				failed[s.ID] = got[s.ID]
			}
			return nil
		})
	for _, s := range list { // a batch whose turn never came
		if _, ok := failed[s.ID]; !ok {
			failed[s.ID] = unchanged(string(v)+" schedule", s.String(), "run again with more time",
				context.Cause(ctx))
		}
	}
	return failed
}

func (c *Client) setBatch(ctx context.Context, v verb, reason string, batch []Schedule) map[ScheduleID]error {
	items := make([]actionItem, len(batch))
	for i, s := range batch {
		items[i] = actionItem{id: string(s.ID), name: s.String()}
	}
	results := c.act(ctx, scheduleActions, v, reason, items)
	if len(batch) > 1 && refusedContent(results[items[0].id]) {
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
	give := func(s Schedule, outcome failover.Outcome, next string, err error) {
		failed[s.ID] = fail(string(v)+" schedule", s.String(), outcome, next, err)
	}
	open := slices.Clone(batch)
	watch := c.settling()
	for {
		ids := make([]ScheduleID, len(open))
		for i, s := range open {
			ids[i] = s.ID
		}
		now, err := c.schedulesByID(ctx, ids)
		if err != nil {
			for _, s := range open {
				res := results[string(s.ID)]
				outcome := failover.InDoubt
				if failover.OutcomeOf(res) == failover.NotApplied {
					outcome = failover.NotApplied
				}
				give(s, outcome, nextLook, errors.Join(res, err))
			}
			return failed
		}
		var left []Schedule
		for _, s := range open {
			state, seen := now[s.ID]
			switch res := results[string(s.ID)]; {
			case seen && reached(state.State):
				// as wanted, whoever did it
			case failover.OutcomeOf(res) != failover.NotApplied:
				left = append(left, s)
			case seen && state.State == ScheduleUnknown:
				give(s, failover.NotApplied, failover.NextOf(res), fmt.Errorf("it is %s: %w", state.words(), res))
			default:
				failed[s.ID] = res
			}
		}
		if open = left; len(open) == 0 {
			return failed
		}
		if watch.more(ctx) {
			continue
		}
		for _, s := range open {
			err := results[string(s.ID)]
			if err == nil {
				state, seen := now[s.ID]
				state.hidden = !seen
				err = fmt.Errorf("%w: the server reported success and it is %s", failover.ErrNotObserved, state.words())
			}
			give(s, failover.InDoubt, cmp.Or(failover.NextOf(err), nextLook), err)
		}
		return failed
	}
}
