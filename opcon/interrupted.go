package opcon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// Why says what happened to a job because of the move.
type Why int

// What can have happened, the most urgent first.
const (
	// SentNotStarted: sent to the old host just before the line went down; whether it began is not known. The vendor's
	// worst case.
	SentNotStarted Why = iota + 1
	// StillRunning: OpCon still shows it running; on the old host it was cut off, or it goes on there unseen.
	StillRunning
	// ReportedFailed: failed since. The agent on the new host knows nothing of jobs of the old one and reports them so.
	ReportedFailed
	// RanElsewhere: has run or runs on another machine since, as an alternate or through a group.
	RanElsewhere
	// NeverStarted: missed its start time meanwhile.
	NeverStarted
	// DueMeanwhile: should have started meanwhile and still waits; it runs when its schedule is released. It needs no
	// decision, unless it must not run any more.
	DueMeanwhile
)

var whyWords = []string{0: "unknown", SentNotStarted: "sent, maybe never begun", StillRunning: "still shown running", ReportedFailed: "failed since",
	RanElsewhere: "ran on another machine", NeverStarted: "missed its start time", DueMeanwhile: "was due meanwhile"}

// String returns the reason in words.
func (w Why) String() string { return word(whyWords, int(w)) }

// MarshalText writes the reason in words.
func (w Why) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads the reason in words.
func (w *Why) UnmarshalText(text []byte) error {
	*w = Why(max(0, slices.Index(whyWords, string(text))))
	return nil
}

// Interrupted is one job that needs a person's decision.
type Interrupted struct {
	Job      Job      `json:"job"`      // as it is now
	Why      Why      `json:"why"`      // what the move did to it
	Hint     string   `json:"hint"`     // what to find out before deciding
	Proposal Decision `json:"proposal"` // what we would do; nothing is done without the decision
}

// Interrupted lists the jobs of the record's machine that the move may have cut short, kept from running or sent to the
// wrong machine, each with a proposal. Which jobs these are after a swap is inferred: those seen running before the
// machine went down, those that failed or moved since, and those that missed their start. It changes nothing.
//
// The new agent has no trace of the old host's jobs and reports them Failed when OpCon asks, by default within five
// minutes of the machine being up (documented interval); before that they are still shown running.
func (c *Client) Interrupted(ctx context.Context, r Record) ([]Interrupted, error) {
	sc, err := c.scopeOf(ctx, r.Machine, nil)
	if err != nil {
		return nil, c.fail("list interrupted jobs of", r.Machine.Name, failover.NotApplied, failover.NextOf(err), err)
	}
	var ids []JobID // a job may have lost its tie to the machine, so those of the record are read by id
	for _, j := range r.Running {
		ids = append(ids, j.ID)
	}
	now, err := c.jobsByID(ctx, ids)
	if err != nil {
		return nil, c.fail("list interrupted jobs of", r.Machine.Name, failover.NotApplied, failover.NextOf(err), err)
	}
	for _, j := range sc.jobs {
		now[j.ID] = j
	}
	taken, _ := parseTime(r.TakenAt)
	clock, _ := c.serverNow()
	var list []Interrupted
	seen := map[JobID]bool{}
	for _, was := range r.Running {
		j, ok := now[was.ID]
		if !ok {
			j = was
		}
		seen[j.ID] = true
		if why, ok := interruption(was, j); ok {
			list = append(list, proposal(j, why, r.Reason))
		}
	}
	for _, j := range sc.jobs {
		if seen[j.ID] || r.knows(j) {
			continue
		}
		switch {
		case j.StartedOn != "" && !sameName(j.StartedOn, r.Machine.Name) && !j.startsElsewhereByRule(r.Machine):
			list = append(list, proposal(j, RanElsewhere, r.Reason))
		case j.Category == JobFailed && (j.StartedOn == "" || sameName(j.StartedOn, r.Machine.Name)):
			list = append(list, proposal(j, ReportedFailed, r.Reason))
		case j.Category == JobMissedStart:
			list = append(list, proposal(j, NeverStarted, r.Reason))
		case j.runningOn(r.Machine) && j.JustSent():
			list = append(list, proposal(j, SentNotStarted, r.Reason))
		case j.Category == JobWaiting && j.dueWithin(taken, clock):
			list = append(list, proposal(j, DueMeanwhile, r.Reason))
		}
	}
	slices.SortFunc(list, func(a, b Interrupted) int {
		if a.Why != b.Why {
			return int(a.Why) - int(b.Why)
		}
		return strings.Compare(a.Job.String(), b.Job.String())
	})
	return list, nil
}

// startsElsewhereByRule reports whether the job belongs to another machine in the first place and only names m as an
// alternate.
func (j Job) startsElsewhereByRule(m Machine) bool {
	return j.Group == "" && j.Primary != "" && !sameName(j.Primary, m.Name) && sameName(j.StartedOn, j.Primary)
}

// dueWithin reports whether the job's computed start lies between two moments. A start without an offset is read in
// the server's zone.
func (j Job) dueWithin(from, to time.Time) bool {
	start, ok := parseTime(j.Started)
	if !ok || from.IsZero() {
		return false
	}
	if !zoned(j.Started) {
		start = time.Date(start.Year(), start.Month(), start.Day(), start.Hour(), start.Minute(), start.Second(), start.Nanosecond(), to.Location())
	}
	return start.After(from) && start.Before(to)
}

// knows reports whether the job already was as it is before anything was changed.
func (r Record) knows(j Job) bool {
	return slices.ContainsFunc(r.Before, func(m JobMark) bool {
		return m.ID == j.ID && m.Number == j.Number && m.Category == j.Category && sameName(m.StartedOn, j.StartedOn)
	})
}

// interruption compares a job seen running with what it is now.
func interruption(was, now Job) (Why, bool) {
	if now.Number != was.Number && now.Number != 0 && was.Number != 0 {
		return 0, false // has been started again since; somebody has decided
	}
	switch now.Category {
	case JobRunning:
		if was.JustSent() || now.JustSent() {
			return SentNotStarted, true
		}
		return StillRunning, true
	case JobFailed:
		if was.JustSent() {
			return SentNotStarted, true
		}
		return ReportedFailed, true
	}
	return 0, false
}

func proposal(j Job, why Why, reason string) Interrupted {
	in := Interrupted{Job: j, Why: why, Proposal: Decision{Job: j.ID, Number: j.Number, Action: RestartOnHold, Reason: reason}}
	steps := ""
	if len(j.Steps) > 0 {
		steps = " The server offers the restart steps " + strings.Join(j.Steps, ", ") + "."
	}
	point := " A long RSJ job may name a ;RESTART_POINT in its job file: add it to the job's parameters for this run and take it out again afterwards." + steps
	switch why {
	case SentNotStarted:
		in.Hint = "Look in the RSJ output of the old host whether it began; if it did, treat it as cut off." + point
	case StillRunning:
		in.Hint = "Make sure that it does not go on running on the old host before it is marked failed; marking it failed runs its failure events." + point
	case ReportedFailed:
		in.Hint = "It may have ended well on the old host after the line went down: look at its output and at what the new host holds." + point
	case RanElsewhere:
		in.Proposal.Action = LeaveAsIs
		in.Hint = fmt.Sprintf("It was started on %s instead: find out what it did there before anything is run again.", j.StartedOn)
	case NeverStarted:
		in.Proposal.Action = LeaveAsIs
		in.Hint = "It never ran. Decide whether it still has to; start it by hand when its schedule is released."
	}
	if why == DueMeanwhile {
		in.Proposal.Action = LeaveAsIs
		in.Hint = "It runs when its schedule is released. Cancel or skip it in OpCon before that if it must not."
	}
	in.Proposal.MarkFailedFirst = in.Proposal.Action != LeaveAsIs && j.Category == JobRunning
	return in
}
