package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/runbook"
)

// hook is a step of the site's own.
type hook struct {
	ID      string           `yaml:"id"`
	Title   string           `yaml:"title"`
	Target  string           `yaml:"target"`
	Help    string           `yaml:"help"`
	Run     []string         `yaml:"run"`
	Done    []string         `yaml:"done"`
	Timeout runbook.Duration `yaml:"timeout"`
}

// hooks returns the steps of the site's own as a stage, none where there are no steps.
func hooks(name string, list []hook) ([]failover.Stage, error) {
	if len(list) == 0 {
		return nil, nil
	}
	stage := failover.Stage{Name: name}
	for i, h := range list {
		field := fmt.Sprintf("%s[%d]", name, i)
		s := failover.Step{ID: h.ID, Title: h.Title, Target: h.Target, Help: h.Help, Timeout: time.Duration(h.Timeout),
			Source: "added: a step of the site's own"}
		switch byPerson := len(h.Run) == 0 && len(h.Done) == 0; {
		case h.ID == "":
			return nil, failover.Invalid(field+".id", "is empty", "give the step a short name")
		case byPerson && h.Help != "":
			s.Kind = failover.Manual
		case byPerson:
			return nil, failover.Invalid(field, "says neither help nor run", "say what a person does, or what this machine runs")
		case h.Help != "":
			return nil, failover.Invalid(field, "has both help and run", "leave one of them out")
		case len(h.Run) == 0 || len(h.Done) == 0:
			return nil, failover.Invalid(field, "has only one of run and done", "say also how to see that nothing is left to do")
		default:
			s.Kind, s.Undo = failover.Change, failover.NothingToUndo
			s.Observe = func(ctx context.Context) (failover.Observation, error) { return h.look(ctx) }
			s.Apply = func(ctx context.Context) error { return h.apply(ctx) }
		}
		stage.Steps = append(stage.Steps, s)
	}
	return []failover.Stage{stage}, nil
}

func (h hook) look(ctx context.Context) (failover.Observation, error) {
	would := "run " + strings.Join(h.Run, " ")
	out, err := command(ctx, h.Done)
	if code, ok := errors.AsType[*exec.ExitError](err); ok && code.ExitCode() > 0 {
		return failover.Observation{Found: "not done", Would: would}, nil
	}
	if err != nil {
		return failover.Observation{Would: would},
			&failover.Error{Op: "look", Target: h.Done[0], Outcome: failover.NotApplied,
				Next: "make the command run on this machine", Err: fmt.Errorf("%w: %s", err, out)}
	}
	return failover.Observation{Done: true, Found: "done", Would: would}, nil
}

// apply runs the command. One that failed may have done something: whether it is done is looked at afterwards.
func (h hook) apply(ctx context.Context) error {
	out, err := command(ctx, h.Run)
	if err == nil {
		return nil
	}
	outcome := failover.NotApplied
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		outcome = failover.InDoubt
	}
	return &failover.Error{Op: "run", Target: h.Run[0], Outcome: outcome, Next: "mend what the command says and run again",
		Err: fmt.Errorf("%w: %s", err, out)}
}

const shownOutput = 400

// command runs a program of this machine, without a shell, and returns the end of what it printed.
func command(ctx context.Context, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = 5 * time.Second // what it left running may hold the pipes
	raw, err := cmd.CombinedOutput()
	out := strings.TrimSpace(strings.ToValidUTF8(string(raw), "?"))
	if len(out) > shownOutput {
		out = "…" + strings.ToValidUTF8(out[len(out)-shownOutput:], "")
	}
	return out, err
}
