package symitar

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

// Switchover swaps the roles while both hosts are alive: Home gives the primary role to Partner. The steps are listed
// in the package documentation. The procedure uses the pair's connections; close the pair after the run.
//
// Errors wrap failover.ErrInvalid.
func Switchover(p *Pair) (failover.Procedure, error) {
	f, s, err := p.swap(PurposeSwitchover)
	return f.procedure("symitar.Switchover", s, err)
}

// Failback is the way back: Partner gives the primary role to Home, with the same holds, the macro "in reverse"
// (vendor) and the machine record pointing back. It needs Macro.FailbackArgs, since no public text says what "in
// reverse" means.
//
// Errors wrap failover.ErrInvalid.
func Failback(p *Pair) (failover.Procedure, error) {
	f, s, err := p.swap(PurposeFailback)
	return f.procedure("symitar.Failback", s, err)
}

// Failover makes Partner primary when Home is gone. A person states, in plan, journal and report, that Home is down and
// will not come back as primary by itself. Home is asked nevertheless, before and after, and nobody can waive what it
// shows: see the package documentation. Only Partner is locked.
//
// It needs Macro.FailoverArgs. Errors wrap failover.ErrInvalid.
func Failover(p *Pair, gone failover.Statement) (failover.Procedure, error) {
	f, s, err := p.emergency(gone)
	return f.procedure("symitar.Failover", s, err)
}

// parameters is what makes one swap another one than the next. Addresses and ports are not in it, for us and for OpCon: a
// host may be reached another way when a run is resumed. Neither is what a check looks for, nor how OpCon follows: a slip
// in a role probe, or an alias that cannot be moved, may only show behind the swap, and is corrected then. The machine
// ids tie it to the hosts.
func (f firing) parameters() []failover.Parameter {
	set := f.on.set
	args, _ := json.Marshal(f.args) // strings always can be
	params := []failover.Parameter{{Name: "direction", Value: f.dir.String()},
		{Name: "machine-ids", Value: f.dir.old.cfg.MachineID + " → " + f.dir.next.cfg.MachineID},
		{Name: "macro", Value: set.Macro.Path}, {Name: "macro-arguments", Value: string(args)},
		{Name: "macro-host", Value: f.on.Name()}, {Name: "macro-user", Value: set.Macro.User},
		{Name: "macro-mode", Value: set.Macro.Mode.String()}, {Name: "state-dir", Value: set.StateDir}}
	if o := set.OpCon; o != nil {
		params = append(params, failover.Parameter{Name: "opcon-machine", Value: o.Machine})
	}
	return params
}

// Preflight looks at everything the procedure for this purpose checks before it changes anything. Its plan has one step
// a check, in order, also for those that could not be asked. It changes nothing.
func (p *Pair) Preflight(ctx context.Context, purpose Purpose) (failover.Plan, error) {
	f, err := p.firing("", purpose)
	if err != nil {
		return failover.Plan{}, err
	}
	stages := []failover.Stage{f.preflight(), {Name: quietStage, Steps: f.idle()}}
	for _, stage := range stages {
		for i := range stage.Steps {
			stage.Steps[i].Guards = "" // what they guard is not here
		}
	}
	return failover.Procedure{Name: "symitar.Preflight", Stages: stages}.Plan(ctx, nil)
}

const quietStage = "quiet"

// quiet lies between OpCon's hold and the macro.
func (f firing) quiet() failover.Stage {
	steps := f.idle()
	if lag := f.replication(true); lag != nil && f.alive() && f.on.set.Replication.Command != "" {
		steps = append(steps, *lag)
	}
	steps = append(steps, f.rolesBefore())
	for i, s := range steps {
		steps[i].Observe = f.orSwapped(s.Observe)
	}
	if f.alive() {
		steps = append([]failover.Step{f.agentStop()}, steps...)
	}
	return failover.Stage{Name: quietStage, Steps: steps}
}

func (f firing) idle() []failover.Step {
	steps := []failover.Step{f.check("rsj", "No RSJ job runs",
		"vendor, RSJ: never kill a job; cancel_rsj ends one after its current program", f.all, onEach(f.all, f.rsjIdle))}
	if f.alive() {
		old := []*Host{f.dir.old}
		steps = append(steps, f.check("batch", "The batch queue is idle",
			"ours: QUEUECONTROL -BATCH shows what RSJ does not", old, onEach(old, batchIdle)))
	}
	for i := range steps {
		steps[i].Wait, steps[i].Timeout = true, f.on.set.Limits.Quiet
	}
	return steps
}

func (f firing) check(id, title, source string, on []*Host, see observe) failover.Step {
	return failover.Step{ID: id, Title: title, Target: targets(on), Kind: failover.Check, Source: source,
		Poll: f.pair.cfg.Poll, Observe: see}
}

// rolesStep ends the outage. Like the other checks of who is primary it holds until jobs are released: an old primary
// that comes back while a person decides about jobs must stop the release.
func (f firing) rolesStep() failover.Step {
	s := f.check("roles", f.dir.next.Name()+" is primary, and nobody else",
		"ours: an exit status proves nothing, the roles do", f.all, f.roles)
	s.Firm, s.Wait, s.Timeout, s.Guards = true, true, max(f.on.set.Macro.Settle, failover.DefaultTimeout), stepRelease
	return s
}

func (f firing) verify() failover.Stage {
	var steps []failover.Step
	if !f.alive() {
		silent := f.silentStep(true)
		silent.Guards = stepRelease
		steps = append(steps, silent)
	}
	// It waits, since a swap may still cut lines when it has ended; trouble in the output ends it at once.
	result := f.check("macro-result", "The macro's output tells of no failure",
		"vendor, RSJ: texts that RSJ treats as fatal", []*Host{f.on}, f.resultText)
	result.Wait, result.Entry = true, true // what was printed does not change any more
	daemon := f.check("failoverd", "FAILOVERD does not run and nothing would start it", sourceDaemon, f.all,
		onEach(f.all, noFailoverD))
	daemon.Guards = stepRelease
	next := []*Host{f.dir.next}
	steps = append(steps, result, daemon,
		f.check("sym-dates", "SMA_DATES is present and current in every SYM of the new primary",
			"ours: RSJ takes its dates from it", next, onEach(next, symDates)))
	for _, v := range f.on.set.Verify {
		host := f.dir.host(v.On)
		if !slices.Contains(f.all, host) {
			continue
		}
		on := []*Host{host}
		s := f.check(v.Name, v.Title, "site: Config.Verify", on, onEach(on, v.ask))
		s.Wait, s.Timeout = true, v.Within
		steps = append(steps, s)
	}
	return failover.Stage{Name: "verify", Steps: steps}
}

// resultText reads the whole output of the macro again. An exit status that is not accepted does not fail the check
// when the roles are as wanted, but it is said.
func (f firing) resultText(ctx context.Context) (failover.Observation, error) {
	mine, ok, err := macroRunFact.Load(ctx)
	if err != nil {
		return failover.Observation{}, unchanged(err)
	}
	if !ok {
		return f.withoutRun(ctx)
	}
	f.run = mine.Run
	s, err := f.status(ctx)
	const op = "read the macro's output"
	switch {
	case err != nil:
		return failover.Observation{}, err
	case !s.fired && !(mine.Launched && s.untold()):
		return f.withoutRun(ctx)
	case !s.fired:
		return failover.Observation{Found: errMarksGone.Error()}, f.on.notApplied(op,
			"look at both hosts; when the swap is in order, run again and waive this check with a reason",
			"%w: %w", failover.ErrPrecondition, errMarksGone)
	}
	log := newLogReader(f.on, f.run, f.on.set.Macro.knownSecrets())
	log.quiet = true
	if err := log.readTo(ctx, s); err != nil {
		return failover.Observation{}, err
	}
	log.flush(ctx)
	text := s.String()
	if s.life == lives && s.finished() {
		text += " (taken for what the macro was to start, since the roles are as wanted)"
	}
	if s.rc != nil && !slices.Contains(f.on.set.Macro.ExitOK, *s.rc) {
		text += ", which is not an accepted one; judged by the roles"
	}
	if trouble := log.textTrouble(); trouble != "" {
		return failover.Observation{Found: text + "; " + trouble}, f.on.notApplied(op, "read "+f.on.runFolder(f.run)+
			"/log on the host; when the swap is in order all the same, run again and waive this check with a reason",
			"%w: %s; %s", failover.ErrPrecondition, text, trouble)
	}
	return failover.Observation{Done: true, Found: text}, nil
}

// withoutRun is for a journal that has fired nothing: before the macro's step, or when the roles were swapped by other
// means.
func (f firing) withoutRun(ctx context.Context) (failover.Observation, error) {
	roles, err := f.roles(ctx)
	if err != nil || !roles.Done {
		return failover.Observation{Found: "known once the macro has run"}, err
	}
	return failover.Observation{Done: true, Found: "this journal fired no macro; " + roles.Found}, nil
}

// archiveStep gives the launcher's lock back after a swap that was verified, so that the way back can be fired.
func (f firing) archiveStep() failover.Step {
	return failover.Step{ID: "lock", Title: "Archive the launcher's lock of this run", Target: targets(f.all),
		Kind: failover.Change, Poll: f.pair.cfg.Poll, Source: "ours: the lock never expires by itself",
		Undo: failover.NothingToUndo,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			mine, ok, err := macroRunFact.Load(ctx)
			if err != nil {
				return failover.Observation{}, unchanged(err)
			}
			// The same words before and behind the macro: a plan made before it shows what will be done.
			planned := failover.Observation{Found: "the run of the macro has the launcher's lock", Would: "archive it"}
			if !ok {
				if obs, err := f.withoutRun(ctx); err != nil || obs.Done {
					return obs, err
				}
				return planned, nil
			}
			obs, err := each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
				owner, err := h.lockOwner(ctx)
				if err != nil || owner != string(mine.Run) {
					return failover.Item{Done: err == nil, Found: "lock free of this run"}, err
				}
				return unwanted("this run has the launcher's lock")
			})
			if err == nil && !obs.Done {
				planned.Note = obs.Found
				return planned, nil
			}
			return obs, err
		},
		Apply: func(ctx context.Context) error {
			mine, ok, err := macroRunFact.Load(ctx)
			if err != nil || !ok {
				return unchanged(err)
			}
			// What the macro left behind are services it was to start: the roles were verified. The macro itself must not live.
			return f.pair.archive(ctx, mine.Run, "the procedure verified the swap", f.all, Left{services: true})
		}}
}

func (v Verification) ask(ctx context.Context, h *Host) (failover.Item, error) {
	a, err := h.repeat(ctx, "verify "+v.Name, evalScript, v.Command)
	if err != nil {
		return failover.Item{}, err
	}
	if why := v.judge(a); why != "" {
		return unwanted(why + " (" + a.ending() + ")")
	}
	return wanted("as wanted")
}

// judge says why a verification's output is not as wanted, or "". A command that failed, or printed nothing, has shown
// nothing: what must not be there is then not proven absent. A command that ends with another status for a reason is
// written so that it ends with 0, for example by "; true" behind it, and prints something.
func (v Verification) judge(a answer) string {
	switch {
	case a.exit != 0:
		return "the command failed, so it proves nothing"
	case v.Want == "" && strings.TrimSpace(a.out) == "":
		return "the command printed nothing, so it proves nothing absent"
	case v.Want != "" && !regexp.MustCompile(v.Want).MatchString(a.out):
		return "the output lacks " + v.Want
	case v.Reject != "" && regexp.MustCompile(v.Reject).MatchString(a.out):
		return "the output contains what it must not: " + v.Reject
	}
	return ""
}
