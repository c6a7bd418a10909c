package symitar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	tell := teller(ctx)
	var last status  // the last look that succeeded
	var unread error // why the output was not read to its end
	for {
		s, err := f.status(ctx)
		if err == nil {
			if !s.untold() {
				res = f.note(ctx, res)
			}
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
		case f.seen && s.untold():
			return res.with(errMarksGone.Error())
		case s.void:
			res.verdict = ErrNotExecuted
			return res.with(s.String())
		case !s.fired && s.exists && (s.refused != "" || s.life == lifeGone):
			return f.runnerGone(ctx, res, s)
		case !s.fired:
			tell("waiting for the launched macro to begin")
			if waits++; waits > startGrace {
				if f.observeOnly {
					return res.with(s.String())
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
		case s.finished() || s.life == lifeGone: // or gone without an exit status
			return f.judge(ctx, res, s, log)
		default:
			tell("nobody can tell whether the macro lives: " + s.unseen)
		}
		if f.pair.pause(ctx) != nil {
			return f.outOfTime(res, last, lost, err)
		}
	}
}

// teller returns what says, once each time it changes, what is waited for.
func teller(ctx context.Context) func(string) {
	said := ""
	return func(text string) {
		if text != said {
			failover.Progress(ctx, text)
			said = text
		}
	}
}

// runnerGone ends a run whose runner is gone before it fired: its folder keeps every other launcher away.
func (f firing) runnerGone(ctx context.Context, res Result, s status) Result {
	why := fmt.Errorf("%w: %s", errCommandFailed, s)
	next := "look at the log of the run on the host, and fix the cause"
	if s.refused != "" {
		next = "clear what it says, then run again"
	}
	cause := f.on.fail("launch the macro", failover.NotApplied, next, why)
	if f.observeOnly {
		res.verdict, res.cause = ErrNotExecuted, cause
		return res.with(s.String())
	}
	return f.never(ctx, res, cause, f.all, true)
}

// outOfTime tells what the last successful look showed. A look that failed because time ran out says nothing; a host
// that had stopped answering before does.
func (f firing) outOfTime(res Result, last status, lost bool, err error) Result {
	if last.fired && last.life == lives && !lost {
		res.verdict = ErrMacroRunning
	}
	res = res.with(last.String())
	if lost && err != nil {
		res = res.with("last look: " + plain(err))
	}
	return res.with("time is up; the macro was left alone")
}

// judge decides on a run that ended, or whose processes are gone without an exit status: by the roles both hosts show.
// The exit status alone proves nothing, either way.
func (f firing) judge(ctx context.Context, res Result, s status, log *logReader) Result {
	log.flush(ctx)
	res.Exit, res.LogTail = s.rc, log.tail()
	res = res.with(s.String())
	trouble := ""
	if s.finished() {
		trouble = log.textTrouble()
		if !slices.Contains(f.on.set.Macro.ExitOK, *s.rc) {
			res = res.with(fmt.Sprintf("exit status %d is not an accepted one", *s.rc))
		}
	}
	if trouble != "" {
		res = res.with(trouble)
	}
	roles, err := f.settled(ctx)
	if err != nil {
		return res.with(plain(err)) // unknown
	}
	res = res.with(roles.Found)
	switch {
	case !s.finished() && !roles.Done: // unknown
	case s.finished() && !s.hasLog:
		return res.with("its output is gone from the host, so nobody can tell what it said")
	case roles.Done && trouble == "":
		res.verdict = errSwapped
	case s.life == lifeUnknown:
		return res.with("nobody can tell whether a part of it still works: " + s.unseen)
	default:
		res.verdict = ErrMacroFailed
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
	tell := teller(ctx)
	for {
		roles, err := f.roles(ctx)
		if roles.Done && err == nil || time.Now().After(deadline) || f.pair.pause(ctx) != nil {
			return roles, err
		}
		tell(fmt.Sprintf("the macro has ended; waiting up to %s for the roles to show", f.on.set.Macro.Settle))
	}
}

// roles observes whether the roles are as wanted behind the swap.
func (f firing) roles(ctx context.Context) (failover.Observation, error) {
	return f.rolesWanted(ctx, f.dir.next, f.dir.old)
}

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

// life says whether anything of a run lives on its host. What could not be seen is unknown, never gone.
type life int

const (
	lifeUnknown life = iota
	lifeGone
	lives
)

// process is one that belongs to a run, or may belong to it.
type process struct {
	kind    string // launcher, runner, macro, or left: started by the macro, and not the macro itself
	command string // number and command line
}

// status is how the marks and processes of a run stand on the host where it is fired.
type status struct {
	lock    string // "" no lock, "?" owner unreadable
	refused string // why the runner did not fire
	life    life
	alive   []process
	unseen  string // why the list of processes cannot be trusted

	exists, void, acknowledged, fired bool
	marked                            bool // "fired" is there; with void it only keeps the runner from firing

	started, boot string
	rc            *int
	sinceEnd      time.Duration // by the host's own clock
	logSize       int64
	hasLog        bool
}

func (f firing) status(ctx context.Context) (status, error) { return f.on.runStatus(ctx, f.run) }

func (h *Host) runStatus(ctx context.Context, run RunID) (status, error) {
	out, err := h.read(ctx, "look at the macro's marks", statusScript, h.set.StateDir, string(run), h.set.Macro.Path)
	if err != nil {
		return status{}, err
	}
	if !strings.Contains(out, "\nrun=") {
		return status{}, h.notApplied("look at the macro's marks", "look again", "%w: it does not tell of the run",
			errAnswerIncomplete)
	}
	return parseStatus(out), nil
}

func parseStatus(out string) status {
	kv := keyValues(out)
	s := status{lock: kv["lock"], exists: kv["run"] == "yes", void: kv["void"] == "yes", marked: kv["fired"] == "yes",
		acknowledged: kv["acknowledged"] == "yes", fired: kv["fired"] == "yes" && kv["void"] != "yes",
		life: map[string]life{"lives": lives, "gone": lifeGone}[kv["life"]], refused: kv["refused"], unseen: kv["unseen"],
		started: kv["started"], boot: strings.Join(strings.Fields(kv["boot"]), " ")}
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "alive="); ok {
			kind, command, _ := strings.Cut(rest, " ")
			s.alive = append(s.alive, process{kind, failover.Printable(command)})
		}
	}
	if s.lock == "-" {
		s.lock = ""
	}
	if rc, err := strconv.Atoi(kv["rc"]); err == nil {
		s.rc = &rc
	}
	var err error
	s.logSize, err = strconv.ParseInt(kv["log"], 10, 64)
	s.hasLog = err == nil
	ended, err1 := time.Parse(time.RFC3339, kv["ended"])
	now, err2 := time.Parse(time.RFC3339, kv["now"])
	if err1 == nil && err2 == nil {
		s.sinceEnd = now.Sub(ended)
	}
	return s
}

// untold reports whether nothing on the host tells of a launch. Where there was one, its folder was removed; one that is
// there again was made when the run was voided or acknowledged behind that.
func (s status) untold() bool { return !s.exists || s.void && !s.marked }

func (s status) finished() bool { return s.rc != nil }

// working reports whether the macro itself, or its runner, lives.
func (s status) working() bool {
	return s.life == lives &&
		(!s.finished() || slices.ContainsFunc(s.alive, func(p process) bool { return p.kind != "left" }))
}

// who names the processes that live, at most five.
func (s status) who() string {
	const most = 5
	var list []string
	for _, p := range s.alive[:min(most, len(s.alive))] {
		list = append(list, p.command)
	}
	text := strings.Join(list, ", ")
	if n := len(s.alive) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func (s status) String() string {
	switch {
	case s.void:
		return "voided, it never fires"
	case !s.exists:
		return "not launched so far"
	case !s.fired && s.refused != "":
		return "launched, and not fired: " + failover.Printable(s.refused)
	case !s.fired && s.life == lifeGone:
		return "launched, and its runner is gone without having fired"
	case !s.fired:
		return "launched, not fired yet"
	}
	text := "fired at " + s.started
	if s.finished() {
		text += fmt.Sprintf(", ended with exit status %d", *s.rc)
	}
	switch {
	case s.life == lives && s.finished():
		text += ", and left processes: " + s.who()
	case s.life == lives:
		text += ", runs: " + s.who()
	case s.life == lifeUnknown && !s.finished():
		text += ", and nobody can tell whether it lives (" + s.unseen + ")"
	case !s.finished():
		text += ", no process of it lives, and it left no exit status"
		if s.boot != "" {
			text += " (" + s.boot + ")"
		}
	}
	return text
}
