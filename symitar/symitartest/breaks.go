package symitartest

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/01b61c5c/failover/remote/remotetest"
)

// Break says what becomes of the requests that carry one of symitar's scripts. A launcher that is carried out has been
// when the macro has begun.
type Break int

const (
	// BreakNothing is a request that nothing is wrong with.
	BreakNothing Break = iota
	// BreakLosesReply carries it out, and the line drops in place of the answer.
	BreakLosesReply
	// BreakLosesHost carries it out, the line drops, and from then on the host's port is closed.
	BreakLosesHost
	// BreakRefuses carries it out, the line drops, and from then on the host's server refuses every session.
	BreakRefuses
	// BreakUnsent drops the line when the request arrives; it is not carried out.
	BreakUnsent
	// BreakGarbles carries it out, and answers a word and an exit status that nobody knows.
	BreakGarbles
	// BreakIgnores answers with nothing and exit status 0, and does nothing.
	BreakIgnores
	// BreakDelays drops the line, and carries the request out when the host has been asked a few times more.
	BreakDelays
)

var breakNames = []string{"whole", "reply lost", "reply lost, then unreachable", "reply lost, then refused",
	"request lost", "unknown word", "empty success", "late effect"}

// String says in a few words what happens.
func (b Break) String() string { return breakNames[b] }

// delayRequests is how many requests later a delayed one arrives.
const delayRequests = 3

// late is a request that is on its way.
type late struct {
	line, stdin string
	left        int // requests until it arrives
}

// Break makes every request that carries script, for example "launch.sh", end like that on all hosts, until Heal. It
// holds for this process only.
func (p *Pair) Break(script string, how Break) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script, p.how, p.struck = script, how, 0
}

// Struck returns how many requests the break has met since Break was called. One that is carried out counts when it has
// been.
func (p *Pair) Struck() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}

// Heal ends the break. What is on its way still arrives.
func (p *Pair) Heal() error {
	p.mu.Lock()
	p.how = BreakNothing
	p.mu.Unlock()
	for _, h := range p.hosts {
		h.server.Clear()
		if h.read("etc/down") != "" {
			continue
		}
		if err := h.server.Start(); err != nil {
			return err
		}
	}
	return nil
}

// broken returns what is wrong with a request.
func (p *Pair) broken(stdin string) Break {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(stdin, "\n# "+p.script+" ") {
		return BreakNothing
	}
	return p.how
}

func (p *Pair) strike() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.struck++
}

// begun waits until the macro was executed once more than before.
func (p *Pair) begun(ctx context.Context, before int) {
	for range 2000 {
		if p.MacroRuns() > before || ctx.Err() != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// perform runs a request as its break says.
func (h *host) perform(ctx context.Context, cmd *remotetest.Command, stdin string) remotetest.Ending {
	how := h.pair.broken(stdin)
	if how != BreakNothing {
		defer h.pair.strike()
	}
	run := func(stdin string) remotetest.Ending {
		here, before := *cmd, h.pair.MacroRuns()
		here.Stdin = strings.NewReader(stdin)
		if how != BreakNothing && how != BreakGarbles && how != BreakIgnores {
			here.Stdout, here.Stderr = io.Discard, io.Discard
		}
		end := h.shell.Handle(ctx, &here)
		if how != BreakNothing && how != BreakIgnores && strings.Contains(stdin, launcher) {
			h.pair.begun(ctx, before)
		}
		return end
	}
	switch how {
	case BreakUnsent:
		return remotetest.Drop()
	case BreakDelays:
		h.pair.mu.Lock()
		h.late = append(h.late, late{cmd.Line, stdin, delayRequests})
		h.pair.mu.Unlock()
		return remotetest.Drop()
	case BreakIgnores:
		return run(strings.Replace(stdin, "\n}\nframe ", "\n}\nscript() { :; }\nframe ", 1))
	case BreakGarbles:
		stdin = strings.Replace(stdin, "script() {\n", "script() {\n(\n", 1)
		return run(strings.Replace(stdin, "\n}\nframe ", "\n) >/dev/null 2>&1\necho '@@PERHAPS'\nreturn 99\n}\nframe ", 1))
	case BreakLosesReply, BreakLosesHost, BreakRefuses, BreakNothing:
	}
	end := run(stdin)
	switch how {
	case BreakLosesHost:
		h.server.Stop()
		return remotetest.Drop()
	case BreakRefuses:
		h.server.Inject(remotetest.FaultRefuseSession, remotetest.Always)
		return remotetest.Drop()
	case BreakLosesReply:
		return remotetest.Drop()
	case BreakNothing, BreakUnsent, BreakGarbles, BreakIgnores, BreakDelays:
	}
	return end
}

// arrive carries out what was delayed long enough, before the request that is at hand.
func (h *host) arrive(ctx context.Context) {
	h.pair.mu.Lock()
	var due []late
	var left []late
	for _, l := range h.late {
		if l.left--; l.left <= 0 {
			due = append(due, l)
		} else {
			left = append(left, l)
		}
	}
	h.late = left
	h.pair.mu.Unlock()
	for _, l := range due {
		h.shell.Handle(ctx, &remotetest.Command{Line: l.line, Stdin: strings.NewReader(l.stdin), Stdout: io.Discard,
			Stderr: io.Discard})
	}
}
