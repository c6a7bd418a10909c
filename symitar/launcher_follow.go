package symitar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// startGrace is how many looks a launched runner gets to set its mark before the run is voided.
const startGrace = 10

// follow observes the run to its end or the context's. It changes nothing, except that a run which does not come to
// fire is voided.
func (f firing) follow(ctx context.Context, res Result, secrets []failover.Secret) Result {
	log := f.reader(secrets)
	waits := 0
	lost := false // the host does not answer
	said := ""    // what is waited for
	tell := func(text string) {
		if text != said {
			failover.Progress(ctx, text)
			said = text
		}
	}
	var last status  // the last look that succeeded
	var unread error // why the output was not read to its end
	for {
		s, err := f.status(ctx)
		if err == nil {
			f.seen = f.seen || s.exists
			last, lost = s, false
			unread = log.readTo(ctx, s) // the rest of the output comes with the next look
			res.LogTail = log.tail()
		}
		switch {
		case err != nil:
			if ctx.Err() == nil {
				lost = true
				tell(f.on.Name() + " cannot be asked at the moment; a swap may cut lines, the macro is not touched by that")
			}
		case s.void:
			res.state = stateNotExecuted
			res.Evidence = append(res.Evidence, s.String())
			return res
		case f.seen && !s.exists:
			res.state = stateUnknown
			res.Evidence = append(res.Evidence, errMarksGone.Error())
			return res
		case !s.fired && s.exists && (s.refused != "" || s.life == lifeGone):
			return f.runnerGone(ctx, res, s)
		case !s.fired:
			tell("waiting for the launched macro to begin")
			if waits++; waits > startGrace {
				if f.observeOnly {
					res.Evidence = append(res.Evidence, s.String())
					return res
				}
				proof, fired, err := f.conclude(ctx)
				if err == nil && !fired {
					return f.never(ctx, res, fmt.Errorf("the runner did not fire, %s", proof), f.all, true)
				}
				if err != nil {
					tell("the launched macro does not begin and cannot be voided: " + plain(err))
				}
			}
		case s.working():
			if s.finished() {
				tell("the macro has ended, and processes of it still run: " + s.who())
			}
		case s.finished() && s.hasLog && unread != nil:
			tell("the macro has ended, and its output cannot be read: " + plain(unread))
		case s.finished() && s.life == lives:
			// Only what it left behind: services that it was to start, or a part of it that works on.
			if roles, err := f.roles(ctx); err == nil && roles.Done {
				return f.judge(ctx, res, s, log)
			}
			tell("the macro has ended and left processes at work: " + s.who())
		case s.finished():
			return f.judge(ctx, res, s, log)
		case s.life == lifeGone: // its processes are gone without an exit status
			return f.judge(ctx, res, s, log)
		default:
			tell("nobody can tell whether the macro lives: " + s.unseen)
		}
		if f.pair.pause(ctx) != nil {
			return f.outOfTime(res, last, lost, err)
		}
	}
}

// runnerGone ends a run whose runner is gone before it fired: its folder keeps every other launcher away.
func (f firing) runnerGone(ctx context.Context, res Result, s status) Result {
	why := fmt.Errorf("%w: %s", errCommandFailed, s)
	next := "look at the log of the run on the host, and fix the cause"
	if s.refused != "" {
		next = "see to it that nothing runs that must not, then run again"
	}
	cause := f.on.fail("launch the macro", failover.NotApplied, next, why)
	if f.observeOnly {
		res.state, res.cause = stateNotExecuted, cause
		res.Evidence = append(res.Evidence, s.String())
		return res
	}
	return f.never(ctx, res, cause, f.all, true)
}

// outOfTime tells what the last successful look showed. A look that failed because time ran out says nothing; a host
// that had stopped answering before does.
func (f firing) outOfTime(res Result, last status, lost bool, err error) Result {
	res.state = stateUnknown
	if last.fired && last.life == lives && !lost {
		res.state = stateRunning
	}
	res.Evidence = append(res.Evidence, last.String())
	if lost && err != nil {
		res.Evidence = append(res.Evidence, "last look: "+plain(err))
	}
	res.Evidence = append(res.Evidence, "time is up; the macro was left alone")
	return res
}

// judge decides on a run that ended, or whose processes are gone without an exit status: by the roles both hosts show.
// The exit status alone proves nothing, either way.
func (f firing) judge(ctx context.Context, res Result, s status, log *logReader) Result {
	log.flush(ctx)
	res.Exit, res.LogTail = s.rc, log.tail()
	res.Evidence = append(res.Evidence, s.String())
	trouble := ""
	if s.finished() {
		trouble = log.textTrouble()
		if !slices.Contains(f.on.set.Macro.ExitOK, *s.rc) {
			res.Evidence = append(res.Evidence, fmt.Sprintf("exit status %d is not an accepted one", *s.rc))
		}
	}
	if trouble != "" {
		res.Evidence = append(res.Evidence, trouble)
	}
	roles, err := f.settled(ctx)
	if err != nil {
		res.Evidence = append(res.Evidence, plain(err))
		return res // Unknown
	}
	res.Evidence = append(res.Evidence, roles.Found)
	switch {
	case !s.finished() && !roles.Done: // Unknown
	case s.finished() && !s.hasLog:
		res.Evidence = append(res.Evidence, "its output is gone from the host, so nobody can tell what it said")
	case roles.Done && trouble == "":
		res.state = stateSucceeded
	case s.life == lifeUnknown:
		res.Evidence = append(res.Evidence, "nobody can tell whether a part of it still works: "+s.unseen)
	default:
		res.state = stateFailed
	}
	return res
}

// settled looks at the roles until they are as wanted or Macro.Settle has passed. A look that hangs is given up after
// Limits.Look, so it takes no longer than both together.
func (f firing) settled(ctx context.Context) (failover.Observation, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.on.set.Macro.Settle+f.on.set.Limits.Look,
		errors.New("the roles did not settle in time"))
	defer cancel()
	deadline := time.Now().Add(f.on.set.Macro.Settle)
	said := false
	for {
		roles, err := f.roles(ctx)
		if roles.Done && err == nil || time.Now().After(deadline) || f.pair.pause(ctx) != nil {
			return roles, err
		}
		if !said {
			failover.Progress(ctx, fmt.Sprintf("the macro has ended; waiting up to %s for the roles to show",
				f.on.set.Macro.Settle))
			said = true
		}
	}
}

// roles observes whether the roles are as wanted. In a Failover the dead host is not asked.
func (f firing) roles(ctx context.Context) (failover.Observation, error) {
	old := f.dir.old
	if !f.alive() {
		old = nil
	}
	return rolesWanted(ctx, f.dir.next, old)
}

// ends says how an output ends, on one line.
func ends(text string) string {
	const most = 3
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, failover.Printable(line))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "; its output ends: " + strings.Join(lines[max(0, len(lines)-most):], " / ")
}
