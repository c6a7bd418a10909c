package symitar

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// Exit statuses of the scripts that are asked for by name.
const (
	exitReadOnly = 60 // the first and the last status of a mark that could not be made
	exitNoMark   = 66
	exitKnown    = 72
	exitHeld     = 75
	exitForeign  = 80
	exitFired    = 83
	exitActive   = 84
	exitUnseen   = 85
)

// refusals are what the scripts' exit statuses mean. None of them has fired anything.
var refusals = map[int]struct{ cause, next string }{
	60: {"the file system of the state directory is read-only",
		"make it writable"},
	61: {"the file system of the state directory is full", "make room there"},
	62: {"the file system of the state directory has no inodes left", "remove files there"},
	63: {"the account may not write there", "give the state directory to Macro.User with mode 0700"},
	65: {"something that is no folder is in the way", "move it away"},
	66: {"a mark cannot be written", "look why it cannot be written there"},
	73: {"a program the launcher needs is missing", "install it, or add its folder to Config.Path"},
	74: {"logged in as another user than Macro.User", "log in as Macro.User"},
	76: {"the answers did not arrive whole", "run again"},
	77: {"the state directory belongs to somebody else or is open to others", "give it to Macro.User with mode 0700"},
	78: {"it cannot be executed", "look at its path and rights"},
	79: {"the list of processes cannot be trusted, so nobody can tell whether the macro runs already",
		"see what is wrong with ps on the host"},
	80: {"the macro or its daemon runs already, started by somebody else",
		"find out who started it and wait for its end; nothing here ends it"},
}

// refused is the error of a script that ended without doing what it was asked for. An exit status that no script of
// ours has proves nothing.
func (h *Host) refused(op string, outcome failover.Outcome, a answer) error {
	r, known := refusals[a.exit]
	if !known {
		return h.fail(op, failover.InDoubt, "look at "+h.set.StateDir+" on the host",
			fmt.Errorf("%w: %s", errCommandFailed, a.ending()))
	}
	return h.fail(op, outcome, r.next+", then run again",
		fmt.Errorf("%w: %s (exit status %d)%s", errCommandFailed, r.cause, a.exit, tail(": ", a.out)))
}

// firing is one run of the macro: on which host, with which partner, for which direction.
type firing struct {
	run  RunID
	dir  direction
	on   *Host   // where it is fired
	all  []*Host // whose lock is taken, in fixed order
	args []string
	pair *Pair

	observeOnly bool       // never void a run that does not come to fire
	seen        bool       // it was launched: if nothing on the host tells of that any more, it proves nothing
	fresh       bool       // the run id was made a moment ago; nobody else can have launched it
	log         *logReader // nil outside a step

	noteLaunched func(context.Context) error // nil outside a step
}

// conclude makes sure that the run never fires, if it has not: it leaves a tombstone at whichever stage the launcher
// stands. fired tells that it is too late for that. An error proves nothing, either way.
func (f firing) conclude(ctx context.Context) (proof string, fired bool, err error) {
	const op = "void the run"
	a, err := f.on.repeat(ctx, op, concludeScript, f.on.set.StateDir, string(f.run))
	_, stage, said := strings.Cut(strings.TrimSpace(a.out), "@@VOID ")
	switch {
	case err != nil:
		return "", false, err
	case a.exit == exitFired:
		return "", true, nil
	case a.unwritten():
		return "", false, f.on.refused(op, failover.NotApplied, a)
	case a.exit != 0 || !said:
		return "", false, f.on.refused(op, failover.InDoubt, a)
	}
	return "voided at mark " + stage, false, nil
}

// reserve takes the launcher's lock on one host. The owner's name is written a moment after the lock is made, so a lock
// without a name is looked at again.
func (f firing) reserve(ctx context.Context, h *Host) error {
	const op = "take the launcher's lock"
	for try := 1; ; try++ {
		a, err := h.repeat(ctx, op, reserveScript, h.set.StateDir, string(f.run))
		switch {
		case err != nil:
			return err
		case a.exit == 0 && strings.Contains(a.out, "@@RESERVED "+string(f.run)):
			return nil
		case a.exit == exitKnown:
			return h.notApplied(op, "make a new run id", "%w: the run was voided", ErrNotExecuted)
		case a.exit != exitHeld:
			return h.refused(op, failover.NotApplied, a)
		case !unnamed(a) || try >= startGrace || f.pair.pause(ctx) != nil:
			return h.heldError(a)
		}
	}
}

func unnamed(a answer) bool { return strings.TrimSpace(a.out) == "@@HELD ?" }

// unwritten reports whether a mark could not be made.
func (a answer) unwritten() bool { return a.exit >= exitReadOnly && a.exit <= exitNoMark }

func (h *Host) heldError(a answer) error {
	_, owner, _ := strings.Cut(strings.TrimSpace(a.out), "@@HELD ")
	owner = strings.TrimPrefix(owner, "void.")
	return h.notApplied("look at the launcher's lock", h.freeLock(owner), "%w: by run %s", failover.ErrLocked, owner)
}

// launch sends the launcher once. Sending it again for the same run is harmless: the marks let one through.
func (f firing) launch(ctx context.Context, stdin []byte) (launched bool, a answer, err error) {
	ctx, cancel := f.on.limit(ctx)
	defer cancel()
	m := f.on.set.Macro
	expect, answerer := "", ""
	if m.Mode == ModeHostExpect {
		expect, answerer = m.Expect, answerScript
	}
	args := append([]string{f.on.set.StateDir, string(f.run), m.User, f.on.set.Shell, strconv.Itoa(len(stdin)),
		runnerScript, m.name() + " " + f.on.set.FailoverD, expect, answerer, m.Path}, f.args...)
	a, err = f.on.run(ctx, "launch the macro", launchScript, stdin, args...)
	return err == nil && a.exit == 0 && strings.Contains(a.out, "@@LAUNCHED "+string(f.run)), a, err
}

// fire takes the locks in fixed order, launches, and follows to the end.
func (f firing) fire(ctx context.Context) Result {
	res := Result{Run: f.run, Host: f.on.Name()}
	stdin, secrets, err := f.on.set.Macro.input(ctx)
	if err != nil {
		return f.never(ctx, res, fmt.Errorf("the answers could not be fetched: %w", err), nil, true)
	}
	var mine []*Host
	for _, h := range f.all {
		if err := f.reserve(ctx, h); err != nil {
			if failover.OutcomeOf(err) != failover.NotApplied {
				mine = append(mine, h) // it may have been taken
			}
			// This call has sent no launcher, and where the id is fresh nobody else can have.
			return f.never(ctx, res, err, mine, f.fresh || len(mine) == 0)
		}
		mine = append(mine, h)
	}
	const tries = 3
	for try := 1; ; try++ {
		launched, a, err := f.launch(ctx, stdin)
		switch {
		case launched:
			res = f.note(ctx, res.with("launched"))
			return f.follow(ctx, res, secrets)
		case err == nil && a.exit == exitKnown:
			return f.follow(ctx, res, secrets)
		case err == nil && a.exit == exitHeld:
			return f.never(ctx, res, f.on.heldError(a), mine, try == 1)
		case err == nil:
			// The launcher itself says that it fires nothing, and no other one was sent.
			_, known := refusals[a.exit]
			return f.never(ctx, res, f.on.refused("launch the macro", failover.NotApplied, a), mine, known && try == 1)
		}
		res = res.with(plain(err))
		s, seen := f.lookAgain(ctx)
		switch {
		case !seen:
			return res.with(f.on.Name() + " cannot be asked any more") // unknown
		case s.exists:
			return f.follow(ctx, res, secrets)
		case try == tries:
			return f.never(ctx, res, fmt.Errorf("the launcher did not arrive: %w", err), mine, false)
		}
		res = res.with("not launched so far; launched again under the same run id, which lets only one through")
	}
}

// note writes down, once, that the run was launched.
func (f *firing) note(ctx context.Context, res Result) Result {
	if !f.seen && f.noteLaunched != nil {
		if err := f.noteLaunched(ctx); err != nil {
			res = res.with("not written down that it was launched: " + err.Error())
		}
	}
	f.seen = true
	return res
}

// lookAgain reads the marks until the host answers or ctx ends.
func (f firing) lookAgain(ctx context.Context) (status, bool) {
	tell := teller(ctx)
	for {
		s, err := f.status(ctx)
		if err == nil {
			return s, true
		}
		tell("waiting for " + f.on.Name() + " to answer, to see whether the macro was launched")
		if f.pair.pause(ctx) != nil {
			return status{}, false
		}
	}
}

// never ends a run that does not come to fire, and gives the locks back that were taken for it. proven tells that it is
// proven already; then a tombstone is left as well, but what becomes of it changes nothing.
func (f firing) never(ctx context.Context, res Result, why error, mine []*Host, proven bool) Result {
	res = res.with(plain(why))
	if res.cause = why; proven {
		res.verdict = ErrNotExecuted
	}
	if len(mine) == 0 {
		return res // nothing was sent for this run besides a refused reservation
	}
	proof, fired, err := f.conclude(ctx)
	switch {
	case fired && !proven:
		res = f.note(ctx, res)
		return f.follow(ctx, res, f.on.set.Macro.knownSecrets())
	case err != nil && !proven:
		return res.with(plain(err))
	case err != nil:
		proof = "no tombstone was left: " + plain(err)
	}
	res = res.with(proof)
	res.verdict = ErrNotExecuted
	for _, h := range mine {
		if err := h.archive(ctx, f.run, "never fired: "+plain(why), Left{}); err != nil {
			res = res.with(plain(err))
		}
	}
	return res
}

// plain is an error without its outcome and next action, for a list of several.
func plain(err error) string {
	if e, ok := err.(*failover.Error); ok { //nolint:errorlint // only the outermost one
		return fmt.Sprintf("%s on %s: %v", e.Op, e.Target, e.Err)
	}
	return err.Error()
}

// input returns what the macro gets on standard input, and the secrets in it.
func (m Macro) input(ctx context.Context) ([]byte, []failover.Secret, error) {
	if m.Mode == ModeDetached {
		return nil, nil, nil
	}
	var b bytes.Buffer
	var secrets []failover.Secret
	if m.Mode == ModeHostExpect {
		fmt.Fprintln(&b, len(m.Prompts))
	}
	for _, p := range m.Prompts {
		answer := p.Answer
		if p.Fetch != nil {
			var err error
			if answer, err = p.Fetch(ctx); err != nil {
				return nil, nil, err
			}
			if strings.ContainsAny(answer.Reveal(), "\r\n\x00") {
				return nil, nil, failover.Invalid("Config.Macro.Prompts", "a fetched answer contains a line end or a NUL byte",
					"give one line")
			}
		}
		if m.Mode == ModeHostExpect {
			fmt.Fprintln(&b, p.Question)
		}
		fmt.Fprintln(&b, answer.Reveal())
		secrets = append(secrets, answer)
	}
	return b.Bytes(), telling(secrets), nil
}

// telling are the secrets that are worth hiding: a word of one or two letters is none, and redacting every "y" would
// make a text unreadable.
func telling(secrets []failover.Secret) []failover.Secret {
	return slices.DeleteFunc(secrets, func(s failover.Secret) bool { return len(s.Reveal()) <= 2 })
}

// knownSecrets are the fixed answers, which may stand in the macro's output.
func (m Macro) knownSecrets() []failover.Secret {
	var list []failover.Secret
	for _, p := range m.Prompts {
		list = append(list, p.Answer)
	}
	return telling(list)
}

// archive moves the launcher's lock of a run out of the way on one host. A lock of another run is left alone.
func (h *Host) archive(ctx context.Context, run RunID, note string, allow Left) error {
	const op = "archive the launcher's lock"
	a, err := h.repeat(ctx, op, acknowledgeScript, h.set.StateDir, string(run), note, allow.String(), h.set.Macro.Path)
	switch {
	case err != nil:
		return err
	case a.exit == exitHeld && unnamed(a):
		return h.heldError(a)
	case a.exit == 0 && (strings.Contains(a.out, "@@ARCHIVED") || strings.Contains(a.out, "@@NOLOCK")), a.exit == exitHeld:
		return nil
	case a.exit == exitActive:
		list := strings.Split(strings.TrimSpace(a.out), "\n")
		for i, line := range list {
			list[i] = "process " + failover.Printable(strings.TrimPrefix(line, "@@ALIVE "))
		}
		return h.notApplied(op, "wait for their end; what the macro was to leave running may be named by its process number "+
			"when the run is acknowledged", "%w: %s", ErrMacroRunning, strings.Join(list, ", "))
	case a.exit == exitUnseen:
		return h.notApplied(op, "look on the host whether the macro lives; when it is certain that nothing of it does, say "+
			"so by the word unseen when the run is acknowledged", "%w: nobody can tell whether it lives: %s", ErrMacroUnknown,
			failover.Printable(strings.TrimPrefix(strings.TrimSpace(a.out), "@@UNSEEN ")))
	case (a.unwritten() || a.exit == 77) && !strings.Contains(a.out, "@@NOTED"):
		return h.refused(op, failover.NotApplied, a)
	}
	return h.refused(op, failover.InDoubt, a)
}

// lockOwner returns which run holds the launcher's lock on the host: "" when none does, "?" when its name cannot be
// read. A run that was voided holds it like another one, until it is acknowledged.
func (h *Host) lockOwner(ctx context.Context) (string, error) {
	s, err := h.runStatus(ctx, RunID(strings.Repeat("0", 32)))
	return strings.TrimPrefix(s.lock, "void."), err
}

// freeLock is what helps against the launcher's lock of a run.
func (h *Host) freeLock(owner string) string {
	if owner == "?" {
		return "somebody was stopped between making the lock and writing a name into it: when " + h.set.StateDir +
			"/lock stays empty, remove that folder on the host"
	}
	return "find out what became of run " + owner + " and acknowledge it with a statement; the lock never expires by " +
		"itself"
}
