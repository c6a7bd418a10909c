package symitar

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// The launcher's scripts. Each begins with what it does and what its exit statuses mean.
var (
	//go:embed scripts/launch.sh
	launchScript string
	//go:embed scripts/runner.sh
	runnerScript string
	//go:embed scripts/answer.exp
	answerScript string
	//go:embed scripts/reserve.sh
	reserveScript string
	//go:embed scripts/status.sh
	statusScript string
	//go:embed scripts/conclude.sh
	concludeScript string
	//go:embed scripts/acknowledge.sh
	acknowledgeScript string
	//go:embed scripts/log.sh
	logScript string
)

// Exit statuses of the scripts.
const (
	exitKnown  = 72
	exitHeld   = 75
	exitFired  = 83
	exitActive = 84
)

// exitMeanings are the refusals that prove that nothing was fired.
var exitMeanings = map[int]string{
	70: "the state directory cannot be made", 71: "a mark cannot be written, probably the disk is full", 73: "the runner cannot be written, probably the disk is full",
	74: "logged in as another user than Macro.User", 76: "the answers did not arrive whole", 77: "the state directory belongs to somebody else or is open to others",
	78: "the macro or expect cannot be executed",
}

// firing is one run of the macro: on which host, with which partner, for which direction.
type firing struct {
	run  RunID
	dir  direction
	on   *Host   // where it is fired
	all  []*Host // whose lock is taken, in fixed order
	args []string
	pair *Pair

	observeOnly bool     // never void a run that does not come to fire
	eyes        *watcher // nil outside a step

	noteLaunched func(context.Context) error // called when the run's folder was seen on the host; nil outside a step
}

// status reads the marks on the firing host.
func (f firing) status(ctx context.Context) (status, error) {
	return f.on.runStatus(ctx, f.run)
}

func (h *Host) runStatus(ctx context.Context, run RunID) (status, error) {
	out, err := h.read(ctx, "look at the macro's marks", statusScript, h.set.StateDir, string(run))
	if err != nil {
		return status{}, err
	}
	kv := keyValues(out)
	s := status{lock: kv["lock"], exists: kv["run"] == "yes", void: kv["void"] == "yes", acknowledged: kv["acknowledged"] == "yes",
		fired: kv["fired"] == "yes" && kv["void"] != "yes", alive: kv["alive"] == "yes", pid: kv["pid"], started: kv["started"], boot: strings.Join(strings.Fields(kv["boot"]), " ")}
	if s.lock == "-" {
		s.lock = ""
	}
	if rc, err := strconv.Atoi(kv["rc"]); err == nil {
		s.rc = &rc
	}
	s.logSize, _ = strconv.ParseInt(kv["log"], 10, 64)
	ended, err1 := time.Parse(time.RFC3339, kv["ended"])
	now, err2 := time.Parse(time.RFC3339, kv["now"])
	if err1 == nil && err2 == nil {
		s.sinceEnd = now.Sub(ended)
	}
	return s, nil
}

// conclude makes sure that the run never fires, if it has not: it leaves a tombstone at whichever stage the launcher
// stands. fired tells that it is too late for that.
func (f firing) conclude(ctx context.Context) (proof string, fired bool, err error) {
	a, err := f.on.repeat(ctx, "void the run", concludeScript, f.on.set.StateDir, string(f.run))
	switch {
	case err != nil:
		return "", false, err
	case a.exit == exitFired:
		return "", true, nil
	case a.exit != 0:
		return "", false, f.on.fail("void the run", failover.InDoubt, "look at the state directory on the host", scriptError(a))
	}
	_, stage, _ := strings.Cut(strings.TrimSpace(a.out), "@@VOID ")
	return "voided at mark " + stage, false, nil
}

// reserve takes the launcher's lock on one host.
func (f firing) reserve(ctx context.Context, h *Host) error {
	a, err := h.repeat(ctx, "take the launcher's lock", reserveScript, h.set.StateDir, string(f.run))
	if err != nil {
		return err
	}
	switch a.exit {
	case 0:
		return nil
	case exitHeld:
		return heldError(h, a)
	}
	return h.fail("take the launcher's lock", failover.NotApplied, "mend the cause on the host and run again", scriptError(a))
}

func heldError(h *Host, a answer) error {
	_, owner, _ := strings.Cut(strings.TrimSpace(a.out), "@@HELD ")
	return h.fail("take the launcher's lock", failover.NotApplied, "find out what became of run "+owner+" and acknowledge it; the lock never expires by itself",
		fmt.Errorf("%w: run %s", failover.ErrLocked, owner))
}

func scriptError(a answer) error {
	if text, ok := exitMeanings[a.exit]; ok {
		return fmt.Errorf("%w: %s (exit status %d)%s", ErrCommandFailed, text, a.exit, tail(": ", a.out))
	}
	return fmt.Errorf("%w: exit status %d%s", ErrCommandFailed, a.exit, tail(": ", a.out))
}

// launch sends the launcher once. Sending it again for the same run is harmless: the marks let one through.
func (f firing) launch(ctx context.Context, stdin []byte) (launched bool, a answer, err error) {
	m := f.on.set.Macro
	expect, answerer := "", ""
	if m.Mode == HostExpect {
		expect, answerer = m.Expect, answerScript
	}
	args := append([]string{f.on.set.StateDir, string(f.run), m.User, f.on.set.Shell, strconv.Itoa(len(stdin)), runnerScript, expect, answerer, m.Path}, f.args...)
	a, err = f.on.run(ctx, "launch the macro", launchScript, stdin, args...)
	return err == nil && a.exit == 0 && strings.Contains(a.out, "@@LAUNCHED "+string(f.run)), a, err
}

// fire takes the locks in fixed order, launches, and follows to the end.
func (f firing) fire(ctx context.Context) Result {
	res := Result{Run: f.run, Host: f.on.Name()}
	stdin, secrets, err := f.on.set.Macro.input(ctx)
	if err != nil {
		return f.never(ctx, res, "the answers could not be fetched: "+err.Error(), nil)
	}
	var mine []*Host
	for _, h := range f.all {
		if err := f.reserve(ctx, h); err != nil {
			if failover.OutcomeOf(err) != failover.NotApplied {
				mine = append(mine, h) // it may have been taken
			}
			return f.never(ctx, res, err.Error(), mine)
		}
		mine = append(mine, h)
	}
	const tries = 3
	for try := 1; ; try++ {
		launched, a, err := f.launch(ctx, stdin)
		switch {
		case launched:
			res.Evidence = append(res.Evidence, "launched")
			return f.launched(ctx, res, secrets)
		case err == nil && a.exit == exitKnown:
			return f.launched(ctx, res, secrets)
		case err == nil && a.exit == exitHeld:
			return f.never(ctx, res, heldError(f.on, a).Error(), mine)
		case err == nil:
			return f.never(ctx, res, scriptError(a).Error(), mine)
		}
		res.Evidence = append(res.Evidence, err.Error())
		s, seen := f.lookAgain(ctx)
		switch {
		case !seen:
			res.Evidence = append(res.Evidence, f.on.Name()+" cannot be asked any more")
			return res // Unknown
		case s.exists:
			return f.launched(ctx, res, secrets)
		case try == tries:
			return f.never(ctx, res, "the launcher did not arrive", mine)
		}
		res.Evidence = append(res.Evidence, "not launched so far; launched again under the same run id, which lets only one through")
	}
}

// launched writes down that the run's folder is on the host, and follows the run.
func (f firing) launched(ctx context.Context, res Result, secrets []failover.Secret) Result {
	if f.noteLaunched != nil {
		if err := f.noteLaunched(ctx); err != nil {
			res.Evidence = append(res.Evidence, "not written down that it was launched: "+err.Error())
		}
	}
	return f.follow(ctx, res, secrets)
}

// lookAgain reads the marks until the host answers or ctx ends.
func (f firing) lookAgain(ctx context.Context) (status, bool) {
	for {
		s, err := f.status(ctx)
		if err == nil {
			return s, true
		}
		if f.pair.pause(ctx) != nil {
			return status{}, false
		}
	}
}

// never proves that the run cannot fire any more and gives the locks back that were taken for it.
func (f firing) never(ctx context.Context, res Result, why string, mine []*Host) Result {
	res.Evidence = append(res.Evidence, why)
	if len(mine) == 0 {
		res.State = NotExecuted // nothing was sent for this run besides a refused reservation
		return res
	}
	proof, fired, err := f.conclude(ctx)
	switch {
	case err != nil:
		res.Evidence = append(res.Evidence, err.Error())
		return res
	case fired:
		return f.follow(ctx, res, f.on.set.Macro.knownSecrets())
	}
	res.State = NotExecuted
	res.Evidence = append(res.Evidence, proof)
	for _, h := range mine {
		if err := h.archive(ctx, f.run, "never fired: "+why); err != nil {
			res.Evidence = append(res.Evidence, err.Error())
		}
	}
	return res
}

// input returns what the macro gets on standard input, and the secrets in it.
func (m Macro) input(ctx context.Context) ([]byte, []failover.Secret, error) {
	if m.Mode == Detached {
		return nil, nil, nil
	}
	var b strings.Builder
	var secrets []failover.Secret
	if m.Mode == HostExpect {
		fmt.Fprintln(&b, len(m.Prompts))
	}
	for _, p := range m.Prompts {
		answer := p.Answer
		if p.Fetch != nil {
			var err error
			if answer, err = p.Fetch(ctx); err != nil {
				return nil, nil, err
			}
			if strings.ContainsAny(answer.Reveal(), "\r\n") {
				return nil, nil, failover.Invalid("Config.Macro.Prompts", "a fetched answer contains a line end", "give one line")
			}
		}
		if m.Mode == HostExpect {
			fmt.Fprintln(&b, p.Question)
		}
		fmt.Fprintln(&b, answer.Reveal())
		// A single letter is no secret, and redacting every "y" would make the log unreadable.
		if len(answer.Reveal()) > 2 {
			secrets = append(secrets, answer)
		}
	}
	return []byte(b.String()), secrets, nil
}

// archive moves the launcher's lock of a run out of the way on one host. A lock of another run is left alone.
func (h *Host) archive(ctx context.Context, run RunID, note string) error {
	a, err := h.repeat(ctx, "archive the launcher's lock", acknowledgeScript, h.set.StateDir, string(run), note)
	switch {
	case err != nil:
		return err
	case a.exit == 0 || a.exit == exitHeld:
		return nil
	case a.exit == exitActive:
		return h.fail("archive the launcher's lock", failover.NotApplied, "wait for the macro's end", fmt.Errorf("%w: %s", ErrMacroRunning, strings.TrimSpace(a.out)))
	}
	return h.fail("archive the launcher's lock", failover.InDoubt, "look at the state directory on the host", scriptError(a))
}

// lockOwner returns which run holds the launcher's lock on the host, "" when none does.
func (h *Host) lockOwner(ctx context.Context) (string, error) {
	s, err := h.runStatus(ctx, RunID(strings.Repeat("0", 32)))
	return s.lock, err
}
