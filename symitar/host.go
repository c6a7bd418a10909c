package symitar

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
)

// What can be wrong with an answer of a host.
var (
	// errAnswerIncomplete: the command's answer was cut short or carries no end mark; what it did is not known.
	errAnswerIncomplete = errors.New("answer incomplete")
	// errNoShell: the account's login does not lead to a shell that runs our scripts. The text says what stands in the
	// way.
	errNoShell = errors.New("no usable shell")
	// errCommandFailed: the command ran to its end with an exit status that is not accepted.
	errCommandFailed = errors.New("command failed")
)

// Host is one AIX machine of the pair, reached over SSH. Its methods are safe for concurrent use. Reading methods may
// be repeated freely.
type Host struct {
	cfg    HostConfig
	set    Config
	remote *remote.Host
}

// Name returns the configured name of the machine.
func (h *Host) Name() string { return h.cfg.Name }

func newHost(cfg HostConfig, set Config) (*Host, error) {
	r, err := remote.New(remote.Config{SSH: cfg.SSH, Logger: set.Logger, Dial: set.Dial})
	if err != nil {
		return nil, err
	}
	return &Host{cfg: cfg, set: set, remote: r}, nil
}

// preamble makes every shell read what follows the same way: no aliases of an ENV file, and zsh as a POSIX shell.
const preamble = "unalias -a >/dev/null 2>&1\n[ -z \"${ZSH_VERSION-}\" ] || emulate sh\n"

type answer struct {
	out       string
	exit      int
	complaint string // the last line of its standard error output, which the shell's start-up files may have written too
}

// ending says how it ended, with what it printed last: a command that fails says why on standard error.
func (a answer) ending() string {
	text := tail(": ", a.out)
	if a.complaint != "" {
		text += tail("; on standard error: ", a.complaint)
	}
	return fmt.Sprintf("exit status %d%s", a.exit, text)
}

// program is the text that the shell reads from its standard input. It is one compound command: a stream that is cut
// leaves it unfinished, and the shell runs nothing of it. stdin is what the script reads.
func program(nonce, path, script string, stdin []byte, args []string) []byte {
	var b bytes.Buffer
	b.WriteString(preamble + "{\n" + frameScript + "script() {\n" + script + "\n}\nframe")
	for _, arg := range append([]string{nonce, path}, args...) {
		b.WriteString(" " + remote.Quote(arg))
	}
	if len(stdin) == 0 {
		b.WriteString(" </dev/null\n}\n")
	} else {
		fmt.Fprintf(&b, " <<'@@%s'\n%s@@%s\n}\n", nonce, stdin, nonce)
	}
	return b.Bytes()
}

// run runs one of our scripts with a shell of its own and returns what it printed. stdin is empty or ends with a line
// end.
//
// Without error the script ended and all of its output is here. An error is a *failover.Error: NotApplied if the
// script did not start, InDoubt otherwise.
func (h *Host) run(ctx context.Context, op, script string, stdin []byte, args ...string) (answer, error) {
	nonce := newNonce()
	// Process lists of busy hosts stay far below 4 MiB.
	res, err := h.remote.Run(ctx, remote.Command{Name: op, Line: h.set.Shell,
		Stdin: program(nonce, h.set.Path, script, stdin, args), MaxOutput: 4 << 20})
	if err != nil {
		return answer{}, h.named(op, err)
	}
	out, exit, err := unframe(string(res.Stdout), nonce)
	said := func(text []byte) string { return redactInput(string(text), stdin) }
	switch {
	case err == nil && exit == res.Exit:
		return answer{out, exit, tail("", said(res.Stderr))}, nil
	case ctx.Err() != nil: // the exit status is that of a command whose line we gave up
		return answer{}, h.fail(op, failover.InDoubt, "look again", fmt.Errorf("%w: %w", ctx.Err(), context.Cause(ctx)))
	case err == nil:
		err = fmt.Errorf("%w: end mark says %d, SSH says %d", errAnswerIncomplete, exit, res.Exit)
	case errors.Is(err, errNoBegin):
		why, next := noShell(h.set.Shell, said(res.Stdout), said(res.Stderr), res.Exit)
		return answer{}, h.fail(op, failover.InDoubt, next, fmt.Errorf("%w: %w: %s", errAnswerIncomplete, errNoShell, why))
	default:
		err = fmt.Errorf("%w: exit status %d%s", err, res.Exit, tail(": ", said(res.Stderr)))
	}
	return answer{}, h.fail(op, failover.InDoubt,
		"look again; where it stays so, look what ends commands of this account on the host", err)
}

// redactInput takes out of text what was sent as input: what stands in the way of a shell may repeat it.
func redactInput(text string, stdin []byte) string {
	var secrets []failover.Secret
	for line := range strings.Lines(string(stdin)) {
		secrets = append(secrets, failover.NewSecret(strings.TrimSuffix(line, "\n")))
	}
	return failover.Redact(text, telling(secrets)...)
}

// repeat runs a script that may run twice without harm, because it reads or because its marks let only one through. It
// is sent again when the line broke under it. What one try may have done, a later one that fails does not take back.
func (h *Host) repeat(ctx context.Context, op, script string, args ...string) (answer, error) {
	ctx, cancel := h.limit(ctx)
	defer cancel()
	const tries = 3
	doubt := false
	for try := 1; ; try++ {
		a, err := h.run(ctx, op, script, nil, args...)
		lost := errors.Is(err, remote.ErrLineLost) || errors.Is(err, remote.ErrNoExitStatus)
		if err != nil && doubt {
			err = h.fail(op, failover.InDoubt, failover.NextOf(err),
				fmt.Errorf("sent before, and the answer was lost; now: %w", err))
		}
		if err == nil || !lost || try == tries || ctx.Err() != nil {
			return a, err
		}
		doubt = doubt || failover.OutcomeOf(err) != failover.NotApplied
	}
}

// limit is the time for one look or one mark: nothing that only looks may hold the run up.
func (h *Host) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, h.set.Limits.Look,
		fmt.Errorf("no answer within %s (Limits.Look)", h.set.Limits.Look))
}

// read runs a script that changes nothing, and takes any exit status but 0 for a failure.
func (h *Host) read(ctx context.Context, op, script string, args ...string) (string, error) {
	a, err := h.repeat(ctx, op, script, args...)
	if err != nil {
		return "", unchanged(err)
	}
	if a.exit != 0 {
		return a.out, h.notApplied(op, "run the command by hand on the host", "%w: %s", errCommandFailed, a.ending())
	}
	return a.out, nil
}

func (h *Host) fail(op string, outcome failover.Outcome, next string, err error) *failover.Error {
	return &failover.Error{Op: op, Target: h.cfg.Name, Outcome: outcome, Next: next, Err: err}
}

// runFolder is where a run keeps its marks and its output.
func (h *Host) runFolder(run RunID) string { return h.set.StateDir + "/run." + string(run) }

func (h *Host) notApplied(op, next, format string, args ...any) error {
	return h.fail(op, failover.NotApplied, next, fmt.Errorf(format, args...))
}

// named puts the machine's name, which does not change, in place of its address.
func (h *Host) named(op string, err error) error {
	if e, ok := errors.AsType[*failover.Error](err); ok {
		return h.fail(op, e.Outcome, e.Next, e.Err)
	}
	return h.fail(op, failover.InDoubt, "look at the host", err)
}

// unchanged marks the failure of something that only reads: whatever happened to it, nothing changed.
func unchanged(err error) error {
	e, known := errors.AsType[*failover.Error](err)
	if err == nil || known && e.Outcome == failover.NotApplied {
		return err
	}
	if !known {
		e = &failover.Error{Op: "observe", Err: err}
	}
	next := "try again"
	if errors.Is(err, errNoShell) {
		next = e.Next
	}
	return &failover.Error{Op: e.Op, Target: e.Target, Outcome: failover.NotApplied, Next: next, Err: e.Err}
}

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x", b)
}

var errNoBegin = fmt.Errorf("%w: no begin mark", errAnswerIncomplete)

var endMark = regexp.MustCompile(`^ END rc=([0-9]{1,3})\n`)

// unframe takes the part between the two marks. What stands before the first comes from a banner or an ENV file.
func unframe(text, nonce string) (out string, exit int, err error) {
	_, rest, found := strings.Cut(text, "@@"+nonce+" BEGIN\n")
	if !found {
		return "", 0, errNoBegin
	}
	at := strings.LastIndex(rest, "\n@@"+nonce)
	if at < 0 {
		return "", 0, fmt.Errorf("%w: no end mark", errAnswerIncomplete)
	}
	m := endMark.FindStringSubmatch(rest[at+len("\n@@"+nonce):])
	if m == nil {
		return "", 0, fmt.Errorf("%w: end mark cut", errAnswerIncomplete)
	}
	exit, _ = strconv.Atoi(m[1]) // up to three digits
	return rest[:at], exit, nil
}

// tail returns the last line of text that says something, shortened, with lead before it; or "".
func tail(lead, text string) string {
	text = strings.TrimSpace(text)
	last := strings.TrimSpace(text[strings.LastIndex(text, "\n")+1:])
	const most = 200
	switch {
	case last == "":
		return ""
	case len(last) > most:
		last = last[:most] + "…"
	}
	return lead + failover.Printable(last)
}

func keyValues(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if key, value, ok := strings.Cut(line, "="); ok {
			values[key] = strings.TrimSpace(value)
		}
	}
	return values
}

// noShell says in words what an answer without a begin mark tells, and what helps.
func noShell(shell, stdout, stderr string, exit int) (why, next string) {
	text := strings.ToLower(stdout + "\n" + stderr)
	said := fmt.Sprintf(" (exit status %d%s%s)", exit, tail(", it printed: ", stdout), tail(", and: ", stderr))
	has := func(list ...string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(text, s) })
	}
	for _, c := range []struct {
		hit       bool
		why, next string
	}{
		// OpenSSH's own exit status behind that file's text (session.c, do_nologin)
		{exit == 254, "the host takes no logins while it starts, goes down or is in maintenance (/etc/nologin)",
			"have /etc/nologin removed when the host may be worked on"},
		{has("restricted"), "the account has a restricted shell, which does not run " + shell,
			"give the account an ordinary login shell, or use another account"},
		{has("not currently available", "currently not available", "nologin"), "the account is closed for logins",
			"give the account a login shell, or use another account"},
		{menu.MatchString(text), "a menu stands before the shell",
			"let the account run commands over SSH without the menu, or use another account"},
		{has("syntax error", "parse error", "unexpected", "unmatched", "missing }"),
			shell + " does not read our scripts: it is no POSIX shell, or what was sent did not arrive whole",
			"set Config.Shell to a POSIX shell such as /bin/sh or /usr/bin/ksh"},
		{exit == 126 || exit == 127 || has("not found", "no such file", "unknown command"),
			"the login shell does not find or run " + shell, "set Config.Shell to a POSIX shell that is on the host"},
		{has("password"), "a question about the password stands before the shell",
			"log in by hand once and change the password"},
	} {
		if c.hit {
			return c.why + said, c.next
		}
	}
	return "what was sent did not come to a shell: a forced command (ForceCommand, or command= at the key) or a profile " +
		"that ends the session stands before it" + said, "let the account run commands over SSH, or use another account"
}

var menu = regexp.MustCompile(`selection ?:|menu|userid ?:|dedicate this console|choose an? `)

// usableShell proves that the account runs our scripts, and has the programs they need. What is in the way is said
// here, before anything is sent that changes something.
func usableShell(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "try the account's shell", shellScript)
	if errors.Is(err, errNoShell) || errors.Is(err, remote.ErrRefused) {
		return unwanted(plain(err) + "; " + failover.NextOf(err))
	}
	if err != nil {
		return failover.Item{}, err
	}
	kv := keyValues(out)
	var missing []string
	for line := range strings.Lines(out) {
		if tool, ok := strings.CutPrefix(strings.TrimSpace(line), "missing="); ok {
			missing = append(missing, tool)
		}
	}
	if kv["looked"] != "yes" {
		return unwanted("the account's shell answers, and does not carry out our script")
	}
	found := "scripts run with " + h.set.Shell
	if kv["login"] != "" {
		found += " behind the login shell " + kv["login"]
	}
	if kv["forced"] != "" {
		found += "; a forced command stands before it and passes them on"
	}
	return unless(missing, "not found with Config.Path: ", found)
}
