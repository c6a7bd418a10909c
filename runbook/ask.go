package runbook

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/01b61c5c/failover"
)

// console is where a program reads and writes.
type console struct {
	in, out, err *os.File
}

// person is whoever sits at the terminal, if anybody does.
type person struct {
	in      *bufio.Reader
	discard func() // drops what was typed before a question was shown
	out     io.Writer
	screen  *Screen
	there   bool
	actor   string
	stop    <-chan struct{}
}

// person looks whether somebody can read a question and answer it.
func (c call) person() *person {
	p := &person{in: bufio.NewReader(c.con.in), out: c.con.err, screen: NewScreen(c.con.err), actor: c.actor, stop: c.stop,
		there: term.IsTerminal(int(c.con.in.Fd())) && term.IsTerminal(int(c.con.err.Fd()))}
	p.discard = func() {
		flushInput(c.con.in)
		_, _ = p.in.Discard(p.in.Buffered())
	}
	return p
}

// place names where answers come from.
func (p *person) place() string {
	host, _ := os.Hostname() // what cannot be told is left out
	if u, err := user.Current(); err == nil {
		return "terminal of " + u.Username + "@" + host
	}
	return "terminal on " + host
}

// ask shows the line with the question and reads one line. An interrupt while the question stands ends it; the reader
// is left behind, since the program ends then.
func (p *person) ask(ctx context.Context, format string, args ...any) (string, error) {
	defer p.screen.question()()
	p.discard() // in front of the question: whoever reads it may answer at once
	_, _ = io.WriteString(p.out, clean(format, args...))
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := p.in.ReadString('\n')
		read <- line{strings.TrimSpace(text), err}
	}()
	select {
	case l := <-read:
		if l.err != nil {
			return "", fmt.Errorf("%w: no answer: %w", failover.ErrWaiting, l.err)
		}
		return l.text, nil
	case <-p.stop:
	case <-ctx.Done():
	}
	say(p.out, "")
	return "", fmt.Errorf("%w: interrupted at the question", failover.ErrWaiting)
}

// consent asks for a word of what is shown above.
func (p *person) consent(ctx context.Context, why, word string) error {
	answer, err := p.ask(ctx, "  %sType %s to go on, anything else to stop here: ", why, word)
	if err == nil && answer != word {
		err = fmt.Errorf("%w: %s answered %q", failover.ErrRejected, p.actor, failover.Printable(answer))
	}
	return err
}

// word is what a person has to type: the name of the target where it can be typed, otherwise the beginning of the hash.
func word(target string, hash failover.PlanHash) string {
	const longest = 40 // that a person is asked to type
	if target == "" || len([]rune(target)) > longest || oneLine(target) != target ||
		failover.Printable(target) != target || strings.EqualFold(target, "yes") || strings.EqualFold(target, "y") {
		return fmt.Sprintf("%.8s", string(hash))
	}
	return target
}

// approve asks about a step that cannot be taken back, or that is not as the plan has shown it.
func (p *person) approve(ctx context.Context, q failover.Request) (failover.Approval, error) {
	s, obs := q.Step, q.Observation
	p.screen.Line("\n%s (%s)\n  target: %s\n  found:  %s", oneLine(s.Title), s.ID, oneLine(s.Target), oneLine(obs.Found))
	open := slices.DeleteFunc(slices.Clone(obs.Items), func(item failover.Item) bool { return item.Done })
	for i, item := range open {
		if i == 20 {
			p.screen.Line("          and others; the JSON plan has all of them")
			break
		}
		p.screen.Line("          %s: %s", oneLine(item.Target), oneLine(item.Found))
	}
	p.screen.Line("  will:   %s", oneLine(obs.Would))
	why := "The plan did not show it like this. "
	switch {
	case !s.CanUndo:
		why = "It cannot be taken back. "
	case q.Undo:
		why = "The plan of the undo did not show it. "
	}
	return failover.Approval{By: p.actor, From: p.place()}, p.consent(ctx, why, word(s.Target, q.Findings))
}

// confirm asks for the word that a manual step is done.
func (p *person) confirm(ctx context.Context, q failover.Request) (failover.Statement, error) {
	s, obs := q.Step, q.Observation
	if !p.there {
		return failover.Statement{}, fmt.Errorf("%w: %s", failover.ErrWaiting, s.Help)
	}
	p.screen.Line("\nTo do by hand: %s (%s)", oneLine(s.Title), oneLine(s.Target))
	block(p.out, "  ", s.Help)
	if obs.Found != "" {
		p.screen.Line("  found: %s", oneLine(obs.Found))
	}
	says, err := p.ask(ctx, "  When it is done, say what was done; leave empty to stop here: ")
	switch {
	case err != nil:
		return failover.Statement{}, err
	case says == "":
		return failover.Statement{}, fmt.Errorf("%w: not confirmed", failover.ErrWaiting)
	}
	return failover.Statement{By: p.actor, Says: says, Reason: "confirmed at the " + p.place()}, nil
}
