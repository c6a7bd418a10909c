package symitar

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// life says whether anything of a run lives on its host. What could not be seen is unknown, never gone.
type life int

const (
	lifeUnknown life = iota
	lifeGone
	lives
)

// process is one that belongs to a run, or may belong to it.
type process struct {
	kind    string // launcher, runner, macro, or left: started by the macro, and not the macro itself
	command string // number and command line
}

// status is how the marks and processes of a run stand on the host where it is fired.
type status struct {
	lock    string // "" no lock, "?" owner unreadable
	refused string // why the runner did not fire
	life    life
	alive   []process
	unseen  string // why the list of processes cannot be trusted

	exists, void, acknowledged, fired bool

	started, boot string
	rc            *int
	sinceEnd      time.Duration // by the host's own clock
	logSize       int64
	hasLog        bool
}

// status reads the marks on the firing host.
func (f firing) status(ctx context.Context) (status, error) { return f.on.runStatus(ctx, f.run) }

func (h *Host) runStatus(ctx context.Context, run RunID) (status, error) {
	out, err := h.read(ctx, "look at the macro's marks", statusScript, h.set.StateDir, string(run), h.set.Macro.Path)
	if err != nil {
		return status{}, err
	}
	if !strings.Contains(out, "\nrun=") {
		return status{}, h.notApplied("look at the macro's marks", "look again", "%w: it does not tell of the run",
			errAnswerIncomplete)
	}
	return parseStatus(out), nil
}

func parseStatus(out string) status {
	kv := keyValues(out)
	s := status{lock: kv["lock"], exists: kv["run"] == "yes", void: kv["void"] == "yes",
		acknowledged: kv["acknowledged"] == "yes", fired: kv["fired"] == "yes" && kv["void"] != "yes",
		life: map[string]life{"lives": lives, "gone": lifeGone}[kv["life"]], refused: kv["refused"], unseen: kv["unseen"],
		started: kv["started"], boot: strings.Join(strings.Fields(kv["boot"]), " ")}
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "alive="); ok {
			kind, command, _ := strings.Cut(rest, " ")
			s.alive = append(s.alive, process{kind, failover.Printable(command)})
		}
	}
	if s.lock == "-" {
		s.lock = ""
	}
	if rc, err := strconv.Atoi(kv["rc"]); err == nil {
		s.rc = &rc
	}
	var err error
	s.logSize, err = strconv.ParseInt(kv["log"], 10, 64)
	s.hasLog = err == nil
	ended, err1 := time.Parse(time.RFC3339, kv["ended"])
	now, err2 := time.Parse(time.RFC3339, kv["now"])
	if err1 == nil && err2 == nil {
		s.sinceEnd = now.Sub(ended)
	}
	return s
}

func (s status) finished() bool { return s.rc != nil }

// working reports whether the macro itself, or its runner, lives.
func (s status) working() bool {
	return s.life == lives &&
		(!s.finished() || slices.ContainsFunc(s.alive, func(p process) bool { return p.kind != "left" }))
}

// who names the processes that live, at most five.
func (s status) who() string {
	const most = 5
	var list []string
	for _, p := range s.alive[:min(most, len(s.alive))] {
		list = append(list, p.command)
	}
	text := strings.Join(list, ", ")
	if n := len(s.alive) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func (s status) String() string {
	switch {
	case s.void:
		return "voided, it never fires"
	case !s.exists:
		return "not launched so far"
	case !s.fired && s.refused != "":
		return "launched, and not fired: " + failover.Printable(s.refused)
	case !s.fired && s.life == lifeGone:
		return "launched, and its runner is gone without having fired"
	case !s.fired:
		return "launched, not fired yet"
	}
	text := "fired at " + s.started
	if s.finished() {
		text += fmt.Sprintf(", ended with exit status %d", *s.rc)
	}
	switch {
	case s.life == lives && s.finished():
		text += ", and left processes: " + s.who()
	case s.life == lives:
		text += ", runs: " + s.who()
	case s.life == lifeUnknown && !s.finished():
		text += ", and nobody can tell whether it lives (" + s.unseen + ")"
	case !s.finished():
		text += ", no process of it lives, and it left no exit status"
		if s.boot != "" {
			text += " (" + s.boot + ")"
		}
	}
	return text
}
