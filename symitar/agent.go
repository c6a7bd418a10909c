package symitar

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

const agentBegun = "@@BEGUN\n" // what comes behind it is the control script's

// askAgent asks the control script, which answers whatever the agent does.
func (h *Host) askAgent(ctx context.Context, verb string) (string, error) {
	op := "ask the agent's " + verb
	a, err := h.repeat(ctx, op, `"$1" "$2" </dev/null 2>&1`, h.set.Agent.Control, verb)
	if err == nil {
		err = h.controlRan(op, failover.NotApplied, a)
	}
	return a.out, unchanged(err)
}

// controlRan refuses the answer of a shell that could not run the control script, or of a script that could not run
// what it calls, perhaps behind what it had done already.
func (h *Host) controlRan(op string, outcome failover.Outcome, a answer) error {
	if a.exit != 126 && a.exit != 127 {
		return nil
	}
	return h.fail(op, outcome, "see why "+h.set.Agent.Control+" or what it calls cannot be run there, or correct "+
		"Config.Agent.Control", fmt.Errorf("%w: %s", errCommandFailed, a.ending()))
}

// agent tells whether the agent lives. Several agents of one host share the names of their processes (documented), so
// those count that its own control script lists by their numbers. Where it lists none, the names are all there is.
func (h *Host) agent(ctx context.Context) (life, string, error) {
	list, err := h.programs(ctx, "", h.set.Agent.Must...)
	if err == nil && len(list) == 0 {
		return lifeGone, "agent stopped", nil
	}
	out := ""
	if err == nil {
		out, err = h.askAgent(ctx, "status")
	}
	if err != nil {
		return lifeUnknown, "", err
	}
	table, ours := false, map[string]bool{} // UID PID PPID … COMMAND (documented)
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 {
			table, ours[f[1]] = table || f[1] == "PID", true
		}
	}
	lacks, runs := slices.Clone(h.set.Agent.Must), "agent runs"
	if !table {
		runs += ", by the names of its processes"
	}
	for _, r := range list {
		if pid, _, _ := strings.Cut(r.process, " "); ours[pid] || !table {
			lacks = slices.DeleteFunc(lacks, func(must string) bool { return must == r.program })
		}
	}
	switch len(lacks) {
	case 0:
		return lives, runs, nil
	case len(h.set.Agent.Must):
		return lifeGone, "agent stopped; processes of the same names are here, which its status does not list", nil
	}
	return lifeUnknown, "agent runs in part, without " + strings.Join(lacks, ", "), nil
}

// agents asks every agent, and notes what jobs those that run say to track. How that is written is not public, so
// nothing is concluded from it. A stopped agent is no fault on the secondary: it may be the custom to keep it down.
func (f firing) agents(ctx context.Context) (failover.Observation, error) {
	notes := make([]string, len(f.all))
	obs, err := each(ctx, f.all, func(ctx context.Context, h *Host) (failover.Item, error) {
		if _, err := h.askAgent(ctx, "status"); err != nil { // does the control script work?
			return failover.Item{}, err
		}
		state, found, err := h.agent(ctx)
		switch {
		case err != nil || state == lifeUnknown:
			return failover.Item{Found: found}, err
		case state == lives:
			if out, err := h.askAgent(ctx, "dumptracking"); err == nil {
				notes[slices.Index(f.all, h)] = h.Name() + " tracks" + tail(": ", out)
			}
		case h == f.dir.old: // that it is stopped later would prove nothing
			return unwanted(found + ", or Config.Agent.Must does not name its processes; where it is meant to be stopped, " +
				"waive this check with a reason")
		}
		return wanted(found)
	})
	obs.Note = strings.Join(slices.DeleteFunc(notes, func(s string) bool { return s == "" }), "; ")
	return obs, err
}

// agentChange is a step that starts or stops the agent of a host; both are safe to repeat.
func (f firing) agentChange(h *Host, id, title, source, verb, back string) failover.Step {
	control := func(verb string) func(context.Context) error {
		return func(ctx context.Context) error {
			op := verb + " the agent"
			a, err := h.run(ctx, op, agentScript, nil, h.set.Agent.Control, verb)
			if err != nil {
				return err
			}
			out, begun := strings.CutPrefix(a.out, agentBegun)
			if !begun {
				return h.refused(op, failover.NotApplied, a)
			}
			failover.Progress(ctx, strings.TrimSpace(tail("agent: ", out)))
			return h.controlRan(op, failover.InDoubt, answer{out: out, exit: a.exit}) // no proof; the processes are
		}
	}
	is := func(verb string) observe {
		return func(ctx context.Context) (failover.Observation, error) {
			state, found, err := h.agent(ctx)
			return failover.Observation{Done: state == map[string]life{"start": lives, "stop": lifeGone}[verb], Found: found,
				Would: verb + " the agent"}, err
		}
	}
	return failover.Step{ID: id, Title: title + h.Name(), Target: h.Name(), Kind: failover.Change,
		Timeout: h.set.Agent.Timeout, Poll: f.pair.cfg.Poll, Source: source, Apply: control(verb), Undo: control(back),
		Observe: is(verb), Undone: is(back)}
}

func (f firing) agentStop() failover.Step {
	s := f.agentChange(f.dir.old, "stop-agent", "Stop the OpCon agent on ",
		"vendor, UNIX agent: stop the agent for work on the host, setting up a failover system included", "stop", "start")
	start := s.Undo
	s.Undo = func(ctx context.Context) error {
		if roles, err := f.roles(ctx); err == nil && roles.Done { // jobs would run on the wrong host behind this undo
			return f.dir.old.notApplied("start the agent", "swap the roles back by the site's runbook and undo again, or leave "+
				"the undo and set OpCon going for "+f.dir.next.Name()+" by hand", "%w: the roles are swapped: %s",
				failover.ErrPrecondition, roles.Found)
		}
		return start(ctx)
	}
	return s
}

func (f firing) agentStart() failover.Step {
	return f.agentChange(f.dir.next, "start", "Start the OpCon agent on ",
		"vendor, UNIX agent: RSJ runs only under the agent", "start", "stop")
}
