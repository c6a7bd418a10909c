package symitar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

// Sentinels of a macro run that did not succeed; test with errors.Is.
var (
	// ErrMacroFailed: fired and ended, without the roles that were wanted, or its output tells of a failure.
	ErrMacroFailed = errors.New("the macro was fired and failed")
	// ErrMacroUnknown: fired or perhaps fired, and nothing tells what became of it. Never a reason to fire again.
	ErrMacroUnknown = errors.New("what became of the macro is not known")
	// ErrMacroRunning: fired and alive: the macro, its runner, or what it left at work while the roles are not as wanted.
	// It is left alone.
	ErrMacroRunning = errors.New("the macro is still running")
	// ErrNotExecuted: proven not to have fired, and that it never will for this run id.
	ErrNotExecuted = errors.New("the macro was not executed")
	// ErrRefired: the run was fired before; firing again is refused.
	ErrRefired = errors.New("the macro was fired before and is not fired again")
)

// RunID names one firing of the macro. It is random, and written down before the first byte is sent.
type RunID string

var runIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// NewRunID makes a random 128-bit run id. Write it to disk before handing it to [Pair.Fire].
func NewRunID() RunID { return RunID(newNonce()) }

// Validate refuses what NewRunID did not make.
func (id RunID) Validate() error {
	if !runIDForm.MatchString(string(id)) {
		return failover.Invalid("RunID", "is not 32 hexadecimal digits",
			"use the id that NewRunID made and the journal holds")
	}
	return nil
}

// Result is what is known about one run of the macro.
type Result struct {
	Run      RunID    `json:"run"`            // under which it was, or would have been, fired
	Host     string   `json:"host"`           // where it was, or would have been, fired
	Exit     *int     `json:"exit,omitempty"` // its exit status, where it ended and left one
	Evidence []string `json:"evidence"`       // what the error was concluded from, in order
	// LogTail: the end of its output; answers of Prompts are redacted, fetched ones by the process that fired only
	LogTail string `json:"logTail,omitempty"`

	verdict error // errSwapped, ErrMacroFailed, ErrMacroRunning or ErrNotExecuted; nil: not known
	cause   error // why it was not executed
}

// errSwapped: it was fired and both hosts show the roles that were wanted.
var errSwapped = errors.New("the macro was fired, and the roles are as wanted")

// said is the verdict in words.
func (r Result) said() error { return cmp.Or(r.verdict, ErrMacroUnknown) }

// with is the result with more evidence.
func (r Result) with(evidence ...string) Result {
	r.Evidence = append(r.Evidence, evidence...)
	return r
}

// err is what Fire returns for it.
func (r Result) err() error {
	outcome, cause, next := failover.InDoubt, r.said(), settle("its log", r.Run)
	switch {
	case errors.Is(cause, errSwapped):
		return nil
	case errors.Is(cause, ErrNotExecuted):
		outcome, next = failover.NotApplied, cmp.Or(failover.NextOf(r.cause), "fix the cause, then run again")
	case errors.Is(cause, ErrMacroRunning):
		next = "wait and resume run " + string(r.Run) + ": it is neither killed nor fired again"
	}
	if len(r.Evidence) > 0 {
		cause = fmt.Errorf("%w: %s", cause, strings.Join(r.Evidence, "; "))
	}
	return &failover.Error{Op: "run the macro", Target: r.Host, Outcome: outcome, Next: next,
		Err: fmt.Errorf("%w%s", cause, ends(r.LogTail))}
}

// settle is what helps where a run has failed or is in doubt.
func settle(log string, run RunID) string {
	return "look at " + log + " and at the roles on both hosts; bring them in order by the site's runbook, or correct " +
		"Config.Role where a probe does not see them, then run again; only when run " + string(run) + " was acknowledged " +
		"with what was found, and the step resolved as not-applied, the macro is fired once more"
}

// rsjFatal are the texts RSJ itself treats as fatal (documented, case-sensitive).
var rsjFatal = []string{
	"This batch job stream is now terminated", "Entire Batch Job File Terminated!", "CURRENT BATCH JOB TERMINATED",
	"REMAINDER OF BATCH JOB FILE TERMINATED", "System Is Not Available", "Error 13: Permission denied",
	"System logon problem:", "Unspecified error result code of", "DISKBACKUP FAILED", "No space left on device",
	"Failed -  On Host failed",
}

// logReader reads the macro's output piece by piece and judges it line by line.
type logReader struct {
	host             *Host
	run              RunID
	secrets          []failover.Secret
	success, failure *regexp.Regexp
	offset           int64 // bytes read so far
	partial          string
	still            int  // looks for which partial has not grown
	quiet            bool // its lines were shown before
	kept             string
	failures         []string
	succeeds         bool
}

const (
	maxLogLine = 64 << 10
	maxLogTail = 4 << 10
)

func newLogReader(h *Host, run RunID, secrets []failover.Secret) *logReader {
	m := h.set.Macro
	l := &logReader{host: h, run: run, secrets: secrets, success: regexp.MustCompile(m.Success), succeeds: m.Success == ""}
	if m.Failure != "" {
		l.failure = regexp.MustCompile(m.Failure)
	}
	return l
}

// readTo reads until all of the output was seen that a look has shown, and reports whole lines as progress.
func (l *logReader) readTo(ctx context.Context, s status) error {
	const op = "read the macro's output"
	if !s.hasLog {
		return l.host.notApplied(op, "look for it in "+l.host.runFolder(l.run)+" on the host",
			"%w: the file with it is gone", errAnswerIncomplete)
	}
	if l.offset == s.logSize {
		l.stands(ctx)
	}
	for l.offset < s.logSize {
		a, err := l.host.repeat(ctx, op, logScript, l.host.set.StateDir, string(l.run), fmt.Sprint(l.offset+1))
		if err != nil {
			return unchanged(err)
		}
		if a.out == "" {
			return l.host.notApplied(op, "look again", "%w: %d of %d bytes are there", errAnswerIncomplete, l.offset, s.logSize)
		}
		l.offset += int64(len(a.out))
		l.take(ctx, a.out)
	}
	return nil
}

// stands shows a line without an end that has not grown for a few looks: it may be a question that nobody expected.
func (l *logReader) stands(ctx context.Context) {
	const looks = 3
	if l.still++; !l.quiet && l.still == looks && strings.TrimSpace(l.partial) != "" {
		failover.Progress(ctx, shown(l.redact(l.partial))+"  (it stands at this line, which may be a question)")
	}
}

// shown marks a line as the macro's, so that it is not taken for one of the run's own.
func shown(line string) string { return "macro | " + failover.Printable(line) }

func (l *logReader) take(ctx context.Context, piece string) {
	l.still = 0
	l.kept += piece
	if len(l.kept) > 2*maxLogTail {
		// Before the cut: half an answer that was echoed would not be recognised any more.
		l.kept = failover.Redact(l.kept, l.secrets...)
		l.kept = l.kept[max(0, len(l.kept)-maxLogTail):]
	}
	lines := strings.Split(l.partial+piece, "\n")
	for _, line := range lines[:len(lines)-1] {
		l.line(ctx, line)
	}
	if l.partial = lines[len(lines)-1]; len(l.partial) > maxLogLine {
		l.flush(ctx)
	}
}

// flush judges a line without an end.
func (l *logReader) flush(ctx context.Context) {
	if l.partial != "" {
		l.line(ctx, l.partial)
		l.partial = ""
	}
}

func (l *logReader) line(ctx context.Context, line string) {
	line = l.redact(strings.TrimRight(line, "\r"))
	if !l.quiet {
		failover.Progress(ctx, shown(line))
	}
	l.succeeds = l.succeeds || l.success.MatchString(line)
	bad := l.failure != nil && l.failure.MatchString(line) ||
		slices.ContainsFunc(rsjFatal, func(text string) bool { return strings.Contains(line, text) })
	if bad && len(l.failures) < 5 {
		l.failures = append(l.failures, failover.Printable(strings.TrimSpace(line)))
	}
}

func (l *logReader) redact(text string) string {
	return strings.ToValidUTF8(failover.Redact(text, l.secrets...), "?")
}

func (l *logReader) tail() string {
	text := l.redact(l.kept)
	if len(text) > maxLogTail {
		text = text[len(text)-maxLogTail:]
		if _, rest, ok := strings.Cut(text, "\n"); ok {
			text = rest
		}
	}
	return strings.ToValidUTF8(text, "?")
}

// textTrouble says what the output tells against success, or "".
func (l *logReader) textTrouble() string {
	switch {
	case len(l.failures) > 0:
		return "the output says " + strings.Join(l.failures, " / ")
	case !l.succeeds:
		return "the output lacks the text of success"
	}
	return ""
}
