package opcon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

// Why says what happened to a job because of the move.
type Why int

// What can have happened, the most urgent first. All of them need a decision before anything is released.
const (
	// WhySentNotStarted: sent to the old host just before the line went down; whether it began is not known. The vendor's
	// worst case.
	WhySentNotStarted Why = iota + 1
	WhyStillRunning       // OpCon still shows it running; on the old host it was cut off, or it goes on there unseen
	// WhyEndNotProven: seen running before the machine went down, and what OpCon shows now does not prove that it ended:
	// it waits, is held, cancelled, skipped or under review, was started again, is gone, or is in a state this package
	// does not know.
	WhyEndNotProven
	// WhyReportedFailed: failed since, or failed in its preparation. The agent on the new host knows nothing of jobs of
	// the old one and reports them so.
	WhyReportedFailed
	WhyRanElsewhere // has run or runs on another machine since, as an alternate or through a group
	WhyNeverStarted // missed its start time meanwhile
	// WhyDueMeanwhile: should have started meanwhile and still waits. It starts by itself when its schedule is released.
	WhyDueMeanwhile
)

var whyWords = []string{0: "unknown", WhySentNotStarted: "sent, maybe never begun",
	WhyStillRunning: "still shown running", WhyEndNotProven: "its end is not proven", WhyReportedFailed: "failed since",
	WhyRanElsewhere: "ran on another machine", WhyNeverStarted: "missed its start time",
	WhyDueMeanwhile: "was due meanwhile"}

// String returns the reason in words.
func (w Why) String() string { return enum.Name(whyWords, w) }

// MarshalText writes the reason in words.
func (w Why) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads the reason in words.
func (w *Why) UnmarshalText(text []byte) error { return placeOf(whyWords, text, w, sameName) }

// Interrupted is one job that needs a person's decision.
type Interrupted struct {
	// Job: as it is now, or as it was seen last where OpCon does not show it any more
	Job Job `json:"job"`
	Why Why `json:"why"` // what the move did to it
	// Seen: what OpCon said of it when it was seen running before the machine went down
	Seen     string   `json:"seen,omitempty"`
	Hint     string   `json:"hint"`     // what to find out before deciding
	Proposal Decision `json:"proposal"` // what we would do; nothing is done without the decision

	now string // what OpCon says of it now
}

// String names the job, what happened to it, what was last seen of it and the proposal, in one line.
func (in Interrupted) String() string { return in.Job.String() + ": " + in.row() }

func (in Interrupted) row() string {
	text := in.Why.String() + "; OpCon " + cmp.Or(in.now, "shows it "+in.Job.words())
	if in.Seen != "" {
		text += ", before the move " + in.Seen
	}
	return text + "; proposed: " + in.Proposal.describe()
}

// Interrupted lists the jobs of the record's machine that the move may have cut short, kept from running or sent to the
// wrong machine, each with a proposal: see "No job lost", and [Why] for what counts (inferred). It changes nothing.
//
// The new agent has no trace of the old host's jobs and reports them Failed when OpCon asks, by default within five
// minutes of the machine being up (documented interval); before that they are still shown running.
func (c *Client) Interrupted(ctx context.Context, r Record) ([]Interrupted, error) {
	const op = "list interrupted jobs of"
	taken, ok := parseTime(r.TakenAt)
	if !ok {
		return nil, unreadable(op, r.Machine.Name, fmt.Errorf("the record's time %q cannot be read", r.TakenAt))
	}
	sc, err := c.scopeFor(ctx, r, nil, 0)
	now := map[JobID]Job{}
	for _, j := range sc.jobs {
		now[j.ID] = j
	}
	if err == nil { // also those that have lost their tie to the machine
		err = c.addJobs(ctx, now, convert(r.Running, func(j Job) JobID { return j.ID }))
	}
	if err != nil {
		return nil, unchanged(op, r.Machine.Name, failover.NextOf(err), err)
	}
	clock := c.serverNow()
	var list []Interrupted
	seen := map[JobID]bool{}
	for _, was := range r.Running {
		seen[was.ID] = true
		j, shown := now[was.ID]
		why := WhyEndNotProven
		switch {
		case r.phase(was.ID) == phaseDone, shown && j.Category == JobFinishedOK && !j.startedSince(was.Number):
			continue
		case !shown:
			j = was
		case j.startedSince(was.Number):
		case (j.Category == JobRunning || j.Category == JobFailed) && was.JustSent(), j.JustSent():
			why = WhySentNotStarted
		case j.Category == JobRunning:
			why = WhyStillRunning
		case j.Category == JobFailed, j.prerunFailed():
			why = WhyReportedFailed
		}
		in := proposal(j, why, r.Reason)
		in.Seen = was.words()
		if !shown {
			in.now = "does not show it any more"
			in.Hint = "OpCon " + in.now + ": it was deleted, or the service account may not see it. " + in.Hint
		}
		list = append(list, in)
	}
	for _, j := range sc.jobs {
		why := sc.since(j, r, taken, clock)
		if why != 0 && !seen[j.ID] && !r.knows(j) && r.phase(j.ID) != phaseDone {
			list = append(list, proposal(j, why, r.Reason))
		}
	}
	slices.SortFunc(list, func(a, b Interrupted) int {
		return cmp.Or(cmp.Compare(a.Why, b.Why), cmp.Compare(a.Job.String(), b.Job.String()))
	})
	return list, nil
}

// since says what has happened to a job that was not seen running, or 0.
func (sc *scope) since(j Job, r Record, taken, now time.Time) Why {
	elsewhere := j.StartedOn != "" && !sameName(j.StartedOn, sc.machine.Name)
	switch {
	case elsewhere && !j.startsElsewhereByRule(sc.machine):
		return WhyRanElsewhere
	case (j.Category == JobFailed || j.prerunFailed()) && !elsewhere:
		return WhyReportedFailed
	case j.Category == JobMissedStart:
		return WhyNeverStarted
	case j.Category == JobUnknown && !elsewhere:
		return WhyEndNotProven
	case j.mayRunOn(sc.machine, sc.groups) && j.JustSent():
		return WhySentNotStarted
	case j.mayRunOn(sc.machine, sc.groups) && !j.startedAfter(r.DownAt):
		return WhyStillRunning // it began after the last look at what runs
	case j.Category == JobWaiting && j.dueWithin(taken, now):
		return WhyDueMeanwhile
	}
	return 0
}

// startsElsewhereByRule reports whether the job belongs to another machine in the first place and only names m as an
// alternate.
func (j Job) startsElsewhereByRule(m Machine) bool {
	return j.Group == "" && j.Primary != "" && !sameName(j.Primary, m.Name) && sameName(j.StartedOn, j.Primary)
}

// dueWithin reports whether the job's computed start may lie between two moments of the server's clock. A start without
// an offset is read with the offset of either moment: they differ when the clocks were set in between. One that cannot
// be read may lie anywhere.
func (j Job) dueWithin(from, to time.Time) bool {
	start, ok := parseTime(j.Started)
	if !ok {
		return strings.TrimSpace(j.Started) != ""
	}
	between := func(t time.Time) bool { return t.After(from) && t.Before(to) }
	if zoned(j.Started) {
		return between(start)
	}
	// It was read as if it were UTC.
	return slices.ContainsFunc([]time.Time{from, to}, func(moment time.Time) bool {
		_, offset := moment.Zone()
		return between(start.Add(-time.Duration(offset) * time.Second))
	})
}

// startedAfter reports whether the job provably started after a moment that the server told.
func (j Job) startedAfter(moment string) bool {
	from, told := parseTime(moment)
	start, read := parseTime(j.Started)
	return told && read && zoned(j.Started) && start.After(from)
}

// startedSince reports whether the job was started once more since the run of that number: the end of the one says
// nothing of the other.
func (j Job) startedSince(number int64) bool {
	return j.Number != number && j.Number != 0 && number != 0
}

// knows reports whether the job already was as it is before anything was changed.
func (r Record) knows(j Job) bool {
	return slices.ContainsFunc(r.Before, func(m jobMark) bool {
		return m.ID == j.ID && m.Number == j.Number && m.Category == j.Category && sameName(m.StartedOn, j.StartedOn)
	})
}

// inTrouble reports what needs a person whether the machine moves or not.
func (j Job) inTrouble() bool {
	return j.Category == JobFailed || j.Category == JobMissedStart || j.prerunFailed()
}

func proposal(j Job, why Why, reason string) Interrupted {
	in := Interrupted{Job: j, Why: why,
		Proposal: Decision{Job: j.ID, Number: j.Number, Action: RerunLeave, Reason: reason}}
	point := " A long RSJ job may name a ;RESTART_POINT in its job file: add it to the job's parameters for this run and " +
		"take it out again afterwards."
	if len(j.Steps) > 0 {
		point += " The server offers the restart steps " + strings.Join(j.Steps, ", ") + "."
	}
	if why == WhySentNotStarted || why == WhyStillRunning || why == WhyReportedFailed {
		in.Proposal.Action = RerunRestartOnHold
	}
	switch why {
	case WhySentNotStarted:
		in.Hint = "Look in the RSJ output of the old host whether it began; if it did, treat it as cut off." + point
	case WhyStillRunning:
		in.Hint = "Make sure that it does not go on running on the old host before it is marked failed; marking it failed " +
			"runs its failure events." + point
	case WhyReportedFailed:
		in.Hint = "It may have ended well on the old host after the line went down: look at its output and at what the new " +
			"host holds." + point
	case WhyEndNotProven:
		in.Hint = "Find out on the old host and from whoever changed it whether it ended, and what has to run again." + point
	case WhyRanElsewhere:
		in.Hint = fmt.Sprintf("It was started on %s instead: find out what it did there before anything is run again.",
			j.StartedOn)
	case WhyNeverStarted:
		in.Hint = "It never ran. Decide whether it still has to; start it by hand when its schedule is released."
	case WhyDueMeanwhile:
		in.Hint = "Left as it is, it starts by itself when its schedule is released. Hold or cancel it if it must not run now."
	}
	in.Proposal.MarkFailedFirst = in.Proposal.Action != RerunLeave && j.Category == JobRunning
	if in.Proposal.check(j) != nil {
		in.Proposal.Action, in.Proposal.MarkFailedFirst = RerunLeave, false
		in.Hint += " OpCon restarts no job in this state: start, hold or cancel it in OpCon, or leave it."
	}
	return in
}
