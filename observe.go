package failover

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// observe looks once, within the step's timeout and never longer than DefaultTimeout.
func observe(ctx context.Context, s Step) (obs Observation, err error) {
	if s.Observe == nil {
		return Observation{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout(), DefaultTimeout))
	defer cancel()
	defer recovered(s, "observe", NotApplied, &err)
	obs, err = s.Observe(ctx)
	return obs, err
}

// apply, undo and probe keep a panic of the step from crossing into the caller's process: what it left behind is unknown.

func apply(ctx context.Context, s Step) (err error) {
	defer recovered(s, "apply", InDoubt, &err)
	return s.Apply(ctx)
}

func undo(ctx context.Context, s Step) (err error) {
	defer recovered(s, "undo", InDoubt, &err)
	return s.Undo(ctx)
}

func probe(ctx context.Context, s Step) (outcome Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout(), DefaultTimeout))
	defer cancel()
	defer func() {
		if err != nil {
			outcome = InDoubt
		}
	}()
	defer recovered(s, "probe", InDoubt, &err)
	return s.Probe(ctx)
}

func recovered(s Step, op string, outcome Outcome, err *error) {
	if v := recover(); v != nil {
		*err = &Error{Op: op, Target: s.ID, Outcome: outcome, Next: "report this as a bug of the step, with the stack",
			Err: fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
	}
}

// until looks again and again until the wanted state holds, the deadline of ctx passes or looking is refused. The
// last observation is returned also on error. A failed look is repeated: on a network it says little.
func (r *run) until(ctx context.Context, s Step, stillWaiting func(Observation)) (Observation, error) {
	var last Observation
	seen := false
	for {
		obs, err := observe(ctx, s)
		if err == nil {
			last, seen = obs, true
			r.event(Event{Kind: EventObserved, Step: s, Observation: obs})
			if obs.Done {
				return obs, nil
			}
			stillWaiting(obs)
		} else if ctx.Err() == nil && permanent(err) {
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
	return errors.Is(err, ErrPrecondition) || errors.Is(err, ErrRejected) || errors.Is(err, ErrInvalid) ||
		errors.Is(err, ErrLocked) || errors.Is(err, ErrLockLost) || errors.Is(err, ErrWaiting) || errors.Is(err, ErrInDoubt)
}

func found(o Observation) string {
	if o.Found == "" {
		return "nothing"
	}
	return o.Found
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
