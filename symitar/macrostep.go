package symitar

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/01b61c5c/failover"
)

// macroRun is what the journal holds about the macro before its first byte is sent.
type macroRun struct {
	Run  RunID  `json:"run"`
	Host string `json:"host"`
	// Launched: it was seen on the host. If nothing there tells of it later, somebody has removed its folder, and that
	// proves nothing.
	Launched bool `json:"launched,omitempty"`
}

// errMarksGone: the run was launched, and what it left on the host has been removed.
var errMarksGone = errors.New("it was launched, and its folder on the host has been removed since")

var macroRunFact = failover.Fact[macroRun]{Name: "symitar/macro-run"}

// macroStep fires the macro, at most once over all runs of the journal.
func (f firing) macroStep() failover.Step {
	m := f.on.set.Macro
	f.log = &logReader{}
	return failover.Step{ID: "run", Title: "Run the FAILOVER macro on " + f.on.Name() + ", once", Target: f.on.Name(),
		Kind: failover.Once, Writes: []string{macroRunFact.Name}, Poll: f.pair.cfg.Poll,
		Timeout: m.Timeout + m.Settle + f.on.set.Limits.Look,
		Source:  vendorFailover + "FAILOVER allows a user to swap a primary and secondary machine",
		Observe: f.observe, Apply: f.apply, Probe: f.probe}
}

// reader returns what reads the output of the run. Within a step it is always the same, so that nobody who reads its
// first line a second time believes that the macro was fired twice; another process shows the lines again.
func (f firing) reader(secrets []failover.Secret) *logReader {
	log := cmp.Or(f.log, &logReader{})
	if log.host == nil || log.run != f.run {
		*log = *newLogReader(f.on, f.run, secrets)
	}
	return log
}

// observe tells whether the roles are as wanted. A run of ours that still works is waited for; one that has ended
// without bringing them about, or is gone, cannot be waited for any longer, and says so.
func (f firing) observe(ctx context.Context) (failover.Observation, error) {
	obs := failover.Observation{Would: "run " + f.on.set.Macro.Path + " once, on " + f.on.Name()}
	mine, known, err := macroRunFact.Load(ctx)
	if err != nil {
		return obs, unchanged(err)
	}
	var s status
	var log *logReader
	if known {
		f.run = mine.Run
		if s, err = f.status(ctx); err != nil {
			return obs, err
		}
		if s.fired && !s.acknowledged {
			log = f.reader(f.on.set.Macro.knownSecrets())
			_ = log.readTo(ctx, s) // the roles are what counts
			if s.working() {
				obs.Found = "the macro runs"
				return obs, nil
			}
		}
	}
	roles, err := f.roles(ctx)
	obs.Done, obs.Found, obs.Items = roles.Done, roles.Found, roles.Items
	settling := s.finished() && s.sinceEnd <= f.on.set.Macro.Settle
	switch {
	case err != nil || roles.Done || !known || !s.fired || s.acknowledged || settling:
		return obs, err
	case s.life == lives: // what it left behind works on
		obs.Found = "the macro " + s.String() + "; " + roles.Found
		return obs, nil
	case s.life == lifeUnknown && !s.finished():
		obs.Found = "nobody can tell whether the macro lives; " + roles.Found
		return obs, nil
	}
	return obs, f.on.notApplied("observe the roles", settle(f.on.runFolder(f.run)+"/log", f.run),
		"%w: %s, and %s%s", failover.ErrInDoubt, s, roles.Found, ends(log.tail()))
}

// apply writes the run id down, then fires.
func (f firing) apply(ctx context.Context) error {
	if err := f.clear(ctx); err != nil {
		return err
	}
	id := NewRunID()
	if err := macroRunFact.Save(ctx, macroRun{Run: id, Host: f.on.Name()}); err != nil {
		return &failover.Error{Op: "write down the run id", Target: f.on.Name(), Outcome: failover.NotApplied,
			Next: "fix the journal's disk and run again", Err: err}
	}
	f.run, f.fresh = id, true
	f.noteLaunched = func(ctx context.Context) error {
		return macroRunFact.Save(ctx, macroRun{Run: id, Host: f.on.Name(), Launched: true})
	}
	res := f.fire(ctx)
	failover.Progress(ctx, res.said().Error())
	return res.err()
}

// clear makes sure that an earlier run of this journal can never fire any more, and archives its lock.
func (f firing) clear(ctx context.Context) error {
	mine, known, err := macroRunFact.Load(ctx)
	if err != nil || !known {
		return unchanged(err)
	}
	f.run = mine.Run
	s, err := f.status(ctx)
	if err != nil {
		return err
	}
	if !s.acknowledged {
		if mine.Launched && s.untold() {
			return f.marksGone()
		}
		_, fired, err := f.conclude(ctx)
		if err != nil {
			return unchanged(err)
		}
		if fired {
			return f.on.notApplied("run the macro", "find out what run "+string(f.run)+" did and acknowledge it with a "+
				"statement", "%w: %s", ErrRefired, s)
		}
	}
	return unchanged(f.pair.archive(ctx, f.run, "the run never fired, or was acknowledged", f.all, Left{}))
}

// probe settles a firing whose end this process did not see, by the marks on the host, and follows it where it runs. A
// run that has not fired is voided on the way: only then is it proven that it never will. Applied means that the roles
// are as wanted: a macro that was fired and ended without that is a person's to settle, either way.
func (f firing) probe(ctx context.Context) (failover.Outcome, error) {
	mine, known, err := macroRunFact.Load(ctx)
	if err != nil {
		return failover.InDoubt, err
	}
	if !known {
		return f.probeWithoutID(ctx)
	}
	f.run = mine.Run
	for look := 0; ; look++ {
		s, err := f.status(ctx)
		switch {
		case err != nil:
			return failover.InDoubt, err
		case mine.Launched && s.untold():
			return failover.InDoubt, f.marksGone()
		case s.void:
			return failover.NotApplied, nil
		case s.fired:
			f.observeOnly = true
			res := f.follow(ctx, Result{Run: f.run, Host: f.on.Name()}, f.on.set.Macro.knownSecrets())
			if errors.Is(res.verdict, errSwapped) {
				return failover.Applied, nil
			}
			return failover.InDoubt, res.err()
		}
		// Launched and about to fire, or not there at all: a runner gets a moment, nothing gets none.
		if !s.exists || s.life == lifeGone || look >= startGrace {
			_, fired, err := f.conclude(ctx)
			switch {
			case err != nil && s.exists && s.life == lifeGone:
				return failover.NotApplied, nil // its folder keeps every launcher away, and nothing of it lives
			case err != nil:
				return failover.InDoubt, err
			case !fired:
				return failover.NotApplied, nil
			}
		}
		if err := f.pair.pause(ctx); err != nil {
			return failover.InDoubt, f.on.fail("look at the macro's marks", failover.InDoubt, "run again", err)
		}
	}
}

// probeWithoutID is for a journal that knows of no firing, perhaps because its end was lost. The id is written down
// before the launcher's lock is taken, and the lock stays until the swap was verified: without a lock nothing was
// fired.
func (f firing) probeWithoutID(ctx context.Context) (failover.Outcome, error) {
	for _, h := range f.all {
		owner, err := h.lockOwner(ctx)
		if err != nil {
			return failover.InDoubt, err
		}
		if owner != "" {
			return failover.InDoubt, h.fail("look for a run of the macro that the journal does not know", failover.InDoubt,
				h.freeLock(owner)+"; then run again", fmt.Errorf("%w: run %s has the launcher's lock", failover.ErrInDoubt, owner))
		}
	}
	return failover.NotApplied, nil
}

func (f firing) marksGone() error {
	return f.on.fail("look at the macro's marks", failover.InDoubt, "look at both hosts and find out who cleans "+
		f.on.set.StateDir+"; then acknowledge run "+string(f.run)+" and resolve the step",
		fmt.Errorf("%w: %w", failover.ErrInDoubt, errMarksGone))
}
