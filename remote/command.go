package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

// maxCommandLine keeps the exec request in one packet and one shell argument: Linux takes 128 KiB per argument
// (documented), an SSH packet 256 KiB.
const maxCommandLine = 128<<10 - 1

// Command is one command line for the login shell of the account.
type Command struct {
	Name      string // what it is for, in errors: "launch the macro"; empty means "run command"
	Line      string // the command line; build it with ShellLine and Quote; no secrets
	Stdin     []byte // what the command reads; the place for secrets; then end of file
	MaxOutput int    // bytes kept of each of stdout and stderr; 0 means 1 MiB; the rest is read and dropped

	// OnLine is called for every line of stdout and stderr as it arrives, without its line end, one call at a time and
	// never after Run has returned. It must not block for long: the command waits meanwhile. Lines over 64 KiB come in
	// pieces.
	OnLine func(line string)
}

// Result is what is known about a command. It is filled as far as known also when Run returns an error.
type Result struct {
	Sent       bool   // the request left this machine, or may have
	Exited     bool   // an exit status came back
	Exit       int    // the exit status, if Exited
	Signal     string // the signal that ended the command, without SIG, if one did
	Stdout     []byte
	Stderr     []byte
	Truncated  bool // more came than MaxOutput
	StreamOpen bool // the command ended, but a process it left behind keeps its output open; more may have followed
}

func (c Command) validate() error {
	switch {
	case strings.TrimSpace(c.Line) == "":
		return failover.Invalid("Command.Line", "is empty", "give a command line")
	case strings.ContainsRune(c.Line, 0):
		return failover.Invalid("Command.Line", "holds a NUL byte", "pass binary data on Stdin")
	case len(c.Line) > maxCommandLine:
		return failover.Invalid("Command.Line", fmt.Sprintf("is %d bytes long", len(c.Line)),
			fmt.Sprintf("keep it below %d bytes and pass data on Stdin", maxCommandLine))
	case c.MaxOutput < 0:
		return failover.Invalid("Command.MaxOutput", "is negative", "use zero for the default")
	}
	return nil
}

// Run runs one command without a terminal and waits for its end or the context's.
//
// Without error the command ended with an exit status, which may be other than zero. Otherwise the error is a
// *failover.Error; see the package documentation for what is known then.
func (h *Host) Run(ctx context.Context, cmd Command) (Result, error) {
	if err := cmd.validate(); err != nil {
		return Result{}, err
	}
	cmd.Name = cmp.Or(cmd.Name, "run command")
	if err := h.begin(cmd.Name); err != nil {
		return Result{}, err
	}
	defer h.calls.Done()
	if ctx.Err() != nil {
		return Result{}, h.notApplied(cmd.Name, "try again with more time", "not begun: %w", ended(ctx))
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return Result{}, h.notApplied(cmd.Name, "try again with more time", "not begun, all sessions are busy: %w",
			ended(ctx))
	}
	for again := false; ; again = true {
		l, fresh, err := h.acquire(ctx)
		if err != nil {
			return Result{}, err
		}
		res, err := l.run(ctx, cmd)
		if err == nil && looksExpired(res) && l.refusesAll(ctx) {
			err = h.notApplied(cmd.Name, "log in with a terminal, change the password of "+h.cfg.User+" and configure the new "+
				"one", "%w: the server runs nothing for %s until its password is changed", ErrPasswordExpired, h.cfg.User)
		}
		l.release()
		if err != nil && !res.Sent && !fresh && !again && ctx.Err() == nil {
			continue // provably not sent, on a line that was there before; once more on a fresh one
		}
		return res, err
	}
}

// expiredText is what OpenSSH prints instead of running the command when the account's password has expired; the
// exit status is then 1 (source: do_pwchange in OpenSSH's session.c).
const expiredText = "Password change required but no TTY available."

func looksExpired(res Result) bool {
	return res.Exit == 1 && len(res.Stdout) == 0 && strings.HasSuffix(strings.TrimSpace(string(res.Stderr)), expiredText)
}

// refusesAll settles whether it was the server that printed expiredText or the command itself, which may have
// called another machine: an expired account gets the same answer to a command that does nothing.
func (l *line) refusesAll(ctx context.Context) bool {
	res, err := l.run(ctx, Command{Name: "check the account", Line: "exit 0"})
	return err == nil && looksExpired(res)
}

type execution struct {
	line *line
	cmd  Command
	ch   ssh.Channel
	out  *output
	ends sync.WaitGroup // goroutines of this command

	exited chan struct{} // closed when the server told how the command ended
	mu     sync.Mutex
	res    Result
	gaveUp bool // this end closed the session; what the server reports from then on may be our own doing
}

func (l *line) run(ctx context.Context, cmd Command) (Result, error) {
	h := l.host
	ch, reqs, err := l.open(ctx, cmd.Name)
	if err != nil {
		return Result{}, err
	}
	x := &execution{line: l, cmd: cmd, ch: ch, exited: make(chan struct{}), res: Result{Sent: true},
		out: &output{limit: cmp.Or(cmd.MaxOutput, 1<<20), onLine: cmd.OnLine}}
	x.spawn(func() { x.watch(reqs) })

	const next = "observe the machine to see whether the command ran"
	before := l.wire.writes.Load()
	var accepted bool
	var sendErr error
	replied := x.spawn(func() {
		accepted, sendErr = ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{cmd.Line}))
	})
	select {
	case <-replied:
	case <-ctx.Done():
		x.abandon(ctx.Err())
		return Result{Sent: true}, h.inDoubt(cmd.Name, next, "sent, then %w", ended(ctx))
	}
	switch {
	case sendErr != nil:
		l.retire(ErrLineLost)
		l.close() // nothing that is still queued may leave after the counter was read
		sent := l.wire.writes.Load() != before
		x.ends.Wait()
		if !sent {
			return Result{}, h.notApplied(cmd.Name, "try again", "%w before the command was sent", l.why())
		}
		return Result{Sent: true}, h.inDoubt(cmd.Name, next, "%w after the command was sent", l.why())
	case !accepted:
		x.abandon(ErrRefused)
		return Result{Sent: true}, h.refusal(cmd.Name, "see in the SSH server's log why it does not run commands for this "+
			"account", "the exec request")
	}
	return x.wait(ctx)
}

// open opens a session channel. Failing here proves that no command was sent.
func (l *line) open(ctx context.Context, op string) (ssh.Channel, <-chan *ssh.Request, error) {
	ch, reqs, err := l.channel(ctx, "session", nil)
	refused, isRefusal := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case err == nil:
		return ch, reqs, nil
	case isRefusal:
		l.retire(ErrRefused)
		return nil, nil, l.host.refusal(op, "lower the number of parallel sessions or raise MaxSessions in sshd_config",
			fmt.Sprintf("a session: %q", refused.Message))
	case ctx.Err() != nil:
		return nil, nil, l.host.notApplied(op, "try again with more time", "no session was opened, nothing was sent: %w", err)
	}
	l.retire(ErrLineLost)
	return nil, nil, l.host.notApplied(op, "try again", "%w before the command was sent: %w", l.why(), err)
}

// channel opens a channel of a kind. When ctx ends first, the line takes no more calls.
func (l *line) channel(ctx context.Context, kind string, data []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	var ch ssh.Channel
	var reqs <-chan *ssh.Request
	var err error
	select {
	case <-l.host.background(func() { ch, reqs, err = l.conn.OpenChannel(kind, data) }):
		return ch, reqs, err
	case <-ctx.Done():
		l.retire(ctx.Err())
		return nil, nil, ended(ctx)
	}
}

func (x *execution) spawn(f func()) (done <-chan struct{}) {
	x.ends.Add(1)
	return x.line.host.background(func() {
		defer x.ends.Done()
		f()
	})
}

// watch takes the server's messages about the command.
func (x *execution) watch(reqs <-chan *ssh.Request) {
	for req := range reqs {
		x.mu.Lock()
		known := x.res.Exited || x.res.Signal != "" || x.gaveUp
		switch req.Type {
		case "exit-status":
			var msg struct{ Status uint32 }
			if ssh.Unmarshal(req.Payload, &msg) == nil && !known {
				x.res.Exited, x.res.Exit = true, int(msg.Status)
				close(x.exited)
			}
		case "exit-signal":
			var msg struct {
				Signal        string
				CoreDumped    bool
				Message, Lang string
			}
			if ssh.Unmarshal(req.Payload, &msg) == nil && !known && msg.Signal != "" {
				x.res.Signal = msg.Signal
				close(x.exited)
			}
		}
		x.mu.Unlock()
		if req.WantReply {
			_ = req.Reply(false, nil)
		}
	}
}

// wait follows a command that the server has started.
func (x *execution) wait(ctx context.Context) (Result, error) {
	h, op := x.line.host, x.cmd.Name
	x.spawn(func() {
		if len(x.cmd.Stdin) > 0 {
			_, _ = x.ch.Write(x.cmd.Stdin)
		}
		_ = x.ch.CloseWrite()
	})
	x.spawn(func() { x.out.drain(stdout, x.ch) })
	x.spawn(func() { x.out.drain(stderr, x.ch.Stderr()) })
	finished := h.background(x.ends.Wait)

	open := false
	select {
	case <-finished:
		if !closed(x.exited) { // a line that breaks closes its channels a moment before it is known to be dead
			x.line.settle(ctx)
		}
	case <-x.exited:
		if open = !x.linger(ctx, finished); open {
			x.abandon(nil)
		}
	case <-ctx.Done():
		x.abandon(ctx.Err())
	}
	x.mu.Lock()
	res := x.res
	x.mu.Unlock()
	res.StreamOpen = open
	x.out.seal(&res)
	const next = "observe the machine to see whether the command ran and what it did"
	switch {
	case res.Exited:
		return res, nil
	case res.Signal != "":
		return res, h.inDoubt(op, next, "%w: SIG%s", errSignalled, res.Signal)
	case ctx.Err() != nil:
		return res, h.inDoubt(op, next, "sent, no exit status yet: %w", ended(ctx))
	case closed(x.line.dead):
		return res, h.inDoubt(op, next, "sent, then %w", x.line.why())
	}
	return res, h.inDoubt(op, next, "%w: the server closed the channel without one", ErrNoExitStatus)
}

// linger waits for the rest of the output after the exit status. A process left in the background can hold the
// streams open for ever; then false is returned.
func (x *execution) linger(ctx context.Context, finished <-chan struct{}) bool {
	limits := x.line.host.limits
	end := time.Now().Add(limits.lingerMax)
	for {
		mark := time.Now()
		select {
		case <-finished:
			return true
		case <-ctx.Done():
			return false
		case <-time.After(limits.lingerIdle):
		}
		if time.Now().After(end) || x.out.lastByte().Before(mark) {
			return false
		}
	}
}

// abandon gives a session up without stopping the command, and hears no more of what becomes of it. If the server does
// not end it soon (OpenSSH waits for the process), the line takes no more calls and closes behind its last user, and
// with it this session.
func (x *execution) abandon(cause error) {
	h := x.line.host
	x.mu.Lock()
	x.gaveUp = true
	x.mu.Unlock()
	h.background(func() { _ = x.ch.Close() })
	if !h.ends(h.background(x.ends.Wait)) {
		x.line.retire(cause)
	}
}

// Quote makes s one word of a POSIX shell command line, whatever it contains. It uses single quotes only, which
// every Bourne-like shell reads the same way. A NUL byte cannot be passed to any command; [Host.Run] refuses it.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// ShellLine builds the command line that lets shell run script with args as its positional parameters $1, $2, …:
//
//	/bin/sh -c 'script' failover 'arg' 'arg'
//
// The script travels as one argument inside the exec request, so it arrives whole or not at all. It must not be
// piped to "sh -s": a cut stream runs the part that arrived.
func ShellLine(shell, script string, args ...string) string {
	if strings.Trim(shell, plain) != "" || shell == "" {
		shell = Quote(shell)
	}
	return shell + " -c " + Quote(script) + " failover" + quoteAll(args)
}

// EnvLine puts environment variables, given as NAME=value, in front of a command line of one simple command, such as
// ShellLine builds. It goes through /usr/bin/env, because not every login shell takes NAME=value in front of a command;
// the SSH protocol's own way needs the server's consent (AcceptEnv). Never pass a secret: command lines are visible in
// ps.
func EnvLine(line string, env ...string) string {
	if len(env) == 0 {
		return line
	}
	return "/usr/bin/env" + quoteAll(env) + " " + line
}

func quoteAll(words []string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" " + Quote(word))
	}
	return b.String()
}

// plain are the characters of a shell's path that stays unquoted, so that command lines are readable in ps and logs.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+"
