package runbook

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/01b61c5c/failover"
)

// person is whoever sits at the terminal, if anybody does.
type person struct {
	in    *bufio.Reader
	out   io.Writer
	there bool
	actor string
	stop  <-chan struct{}
}

func newPerson(actor string, stop <-chan struct{}) *person {
	return &person{in: bufio.NewReader(os.Stdin), out: os.Stderr, there: term.IsTerminal(int(os.Stdin.Fd())), actor: actor, stop: stop}
}

// answer reads one line. An interrupt while the question stands parks the run; the reader is left behind, since the
// program ends then.
func (p *person) answer(ctx context.Context) (string, error) {
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
	return "", fmt.Errorf("%w: interrupted at the question", failover.ErrWaiting)
}

// approve asks before a step that cannot be taken back. It parks the run when nobody is there to ask.
func (p *person) approve(ctx context.Context, q failover.Request) (failover.Approval, error) {
	s, obs, yes := q.Step, q.Observation, failover.Approval{By: p.actor, From: "terminal"}
	if s.Kind != failover.Once {
		return yes, nil
	}
	if !p.there {
		return yes, fmt.Errorf("%w: %s needs approval: give the plan's hash with -approve, or run on a terminal", failover.ErrWaiting, s.ID)
	}
	fmt.Fprintf(p.out, "\n%s on %s\n  found: %s\n  will:  %s\n  It cannot be taken back. Type yes to go on: ", s.Title, s.Target, obs.Found, obs.Would)
	answer, err := p.answer(ctx)
	if err == nil && answer != "yes" {
		err = fmt.Errorf("%s answered %q", p.actor, answer)
	}
	return yes, err
}

// confirm asks for the word that a manual step is done.
func (p *person) confirm(ctx context.Context, q failover.Request) (failover.Statement, error) {
	s, obs := q.Step, q.Observation
	if !p.there {
		return failover.Statement{}, fmt.Errorf("%w: %s", failover.ErrWaiting, s.Help)
	}
	fmt.Fprintf(p.out, "\nTo do by hand: %s (%s)\n  %s\n", s.Title, s.Target, strings.ReplaceAll(s.Help, "\n", "\n  "))
	if obs.Found != "" {
		fmt.Fprintf(p.out, "  found: %s\n", obs.Found)
	}
	fmt.Fprint(p.out, "  When it is done, say what was done; leave empty to stop here: ")
	says, err := p.answer(ctx)
	switch {
	case err != nil:
		return failover.Statement{}, err
	case says == "":
		return failover.Statement{}, fmt.Errorf("%w: not confirmed", failover.ErrWaiting)
	}
	return failover.Statement{By: p.actor, Says: says, Reason: "confirmed at the terminal"}, nil
}
