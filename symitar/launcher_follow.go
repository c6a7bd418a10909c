package symitar

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
)

// startGrace is how many looks a launched runner gets to set its mark before the run is voided.
const startGrace = 10

// follow observes the run to its end or the context's. It changes nothing, except that a run which does not come to
// fire is voided.
func (f firing) follow(ctx context.Context, res Result, secrets []failover.Secret) Result {
	log := newLogReader(f.on, f.run, secrets)
	if f.eyes != nil {
		*f.eyes = watcher{run: f.run, log: log}
	}
	waits := 0
	quiet := false
	var last status // the last look that succeeded
	for {
		s, err := f.status(ctx)
		seenFired := last.fired
		if err == nil {
			last = s
		}
		switch {
		case err != nil:
			if !quiet {
				failover.Progress(ctx, f.on.Name()+" cannot be asked at the moment; a swap may cut lines, the macro is not touched by that")
				quiet = true
			}
		case s.void:
			res.State = NotExecuted
			res.Evidence = append(res.Evidence, s.String())
			return res
		case seenFired && !s.exists:
			res.State = Unknown
			res.Evidence = append(res.Evidence, errMarksGone.Error())
			return res
		case !s.exists || !s.fired:
			quiet = false
			if waits++; waits > startGrace {
				if f.observeOnly {
					res.Evidence = append(res.Evidence, s.String())
					return res
				}
				proof, fired, err := f.conclude(ctx)
				if err == nil && !fired {
					res.State = NotExecuted
					res.Evidence = append(res.Evidence, "the runner did not fire", proof)
					for _, h := range f.all {
						if err := h.archive(ctx, f.run, "the runner did not fire"); err != nil {
							res.Evidence = append(res.Evidence, err.Error())
						}
					}
					return res
				}
			}
		default:
			quiet = false
			_ = log.readTo(ctx, s.logSize) // the marks are what counts; the rest of the output comes with the next look
			res.LogTail = log.tail()
			if s.finished() {
				return f.judge(ctx, res, s, log)
			}
			if !s.alive {
				return f.judgeLost(ctx, res, s)
			}
		}
		if f.pair.pause(ctx) != nil {
			return f.outOfTime(res, last, err)
		}
	}
}

// outOfTime tells what the last successful look showed. Looks that failed only because time ran out say nothing.
func (f firing) outOfTime(res Result, last status, err error) Result {
	res.State = Unknown
	if last.fired && last.alive && (err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		res.State = Running
	}
	res.Evidence = append(res.Evidence, last.String())
	if res.State == Unknown && err != nil {
		res.Evidence = append(res.Evidence, "last look: "+err.Error())
	}
	res.Evidence = append(res.Evidence, "time is up; the macro was left alone")
	return res
}

// judge decides on a run that ended: by the roles both hosts show. The exit status alone proves nothing, either way.
func (f firing) judge(ctx context.Context, res Result, s status, log *logReader) Result {
	log.flush(ctx)
	res.Exit, res.LogTail = s.rc, log.tail()
	res.Evidence = append(res.Evidence, s.String())
	accepted := slices.Contains(f.on.set.Macro.ExitOK, *s.rc)
	if !accepted {
		res.Evidence = append(res.Evidence, fmt.Sprintf("exit status %d is not an accepted one", *s.rc))
	}
	trouble := log.textTrouble()
	if trouble != "" {
		res.Evidence = append(res.Evidence, trouble)
	}
	swapped, found, err := f.settled(ctx)
	if err != nil {
		res.State = Unknown
		res.Evidence = append(res.Evidence, err.Error())
		return res
	}
	res.Evidence = append(res.Evidence, found)
	res.State = Failed
	if swapped && trouble == "" {
		res.State = Succeeded
	}
	return res
}

// judgeLost decides on a run whose process is gone without an exit status.
func (f firing) judgeLost(ctx context.Context, res Result, s status) Result {
	res.State = Unknown
	res.Evidence = append(res.Evidence, s.String())
	swapped, found, err := f.settled(ctx)
	switch {
	case err != nil:
		res.Evidence = append(res.Evidence, err.Error())
	default:
		res.Evidence = append(res.Evidence, found)
		if swapped {
			res.State = Succeeded
		}
	}
	return res
}

// settled looks at the roles until they are as wanted or Macro.Settle has passed.
func (f firing) settled(ctx context.Context) (swapped bool, found string, err error) {
	deadline := time.Now().Add(f.on.set.Macro.Settle)
	for {
		swapped, found, err = f.roles(ctx)
		if swapped && err == nil || time.Now().After(deadline) || f.pair.pause(ctx) != nil {
			return swapped, found, err
		}
	}
}

// roles observes whether the roles are as wanted. In a Failover the dead host is not asked.
func (f firing) roles(ctx context.Context) (bool, string, error) {
	old := f.dir.old
	if !slices.Contains(f.all, old) {
		old = nil
	}
	return rolesWanted(ctx, f.dir.next, old)
}
