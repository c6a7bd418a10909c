package opcon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
	"github.com/01b61c5c/failover/internal/waiting"
)

// Rerun says what is done with an interrupted job.
type Rerun int

const (
	// RerunLeave: nothing is sent. It is a decision like the others: a job that waits runs when its schedule is released.
	RerunLeave         Rerun = iota + 1
	RerunRestartOnHold       // puts the job back to On Hold; a person releases it: the best default after a swap
	// RerunRestart puts it back to the start of its dependencies; it runs as soon as they hold and its schedule is free.
	RerunRestart
	RerunForceRestart   // runs it at once, ignoring start time and dependencies
	RerunMarkFinishedOK // ends it as finished, with all its events: for a job that is known to have ended well
	RerunMarkFailed     // ends it as failed, with all its events
	// RerunHold holds a job that waits, so that the release of its schedule does not start it; a person releases it.
	RerunHold
	RerunCancel // takes a job out of processing; jobs that depend on it are not satisfied
)

var restartable = []JobCategory{JobFailed, JobUnderReview, JobFixed, JobFinishedOK, JobCancelled, JobSkipped}

// reruns has the action sent for each, the categories in which a job takes it (documented), and those in which its
// effect shows.
var reruns = []struct {
	verb        verb
	from, shows []JobCategory
}{
	RerunRestartOnHold: {verbRestartOnHold, restartable, []JobCategory{JobHeld}},
	RerunRestart:       {verbRestart, restartable, []JobCategory{JobWaiting, JobRunning, JobHeld}},
	RerunForceRestart:  {verbForceRestart, restartable, []JobCategory{JobWaiting, JobRunning, JobHeld}},
	RerunMarkFinishedOK: {verbMarkFinishedOK, []JobCategory{JobRunning, JobFailed, JobHeld, JobWaiting, JobUnderReview,
		JobFixed, JobMissedStart}, []JobCategory{JobFinishedOK}},
	RerunMarkFailed: {verbMarkFailed, []JobCategory{JobRunning, JobHeld, JobWaiting, JobFinishedOK, JobUnderReview,
		JobFixed, JobMissedStart}, []JobCategory{JobFailed}},
	RerunHold: {verbHold, []JobCategory{JobWaiting}, []JobCategory{JobHeld}},
	RerunCancel: {verbCancel, []JobCategory{JobWaiting, JobHeld, JobFailed, JobUnderReview, JobMissedStart},
		[]JobCategory{JobCancelled}},
}

var rerunWords = []string{RerunLeave: "leave", RerunRestartOnHold: "restart-on-hold", RerunRestart: "restart",
	RerunForceRestart: "force-restart", RerunMarkFinishedOK: "mark-finished-ok", RerunMarkFailed: "mark-failed",
	RerunHold: "hold", RerunCancel: "cancel"}

// String returns the decision as a word, for example "restart-on-hold".
func (r Rerun) String() string { return enum.Name(rerunWords, r) }

// MarshalText writes the word.
func (r Rerun) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the word and refuses others.
func (r *Rerun) UnmarshalText(text []byte) error {
	n := slices.Index(rerunWords, string(text))
	if n < int(RerunLeave) {
		return failover.Invalid("Decision.Action", fmt.Sprintf("%q is not known", text),
			"use one of "+strings.Join(rerunWords[RerunLeave:], ", "))
	}
	*r = Rerun(n)
	return nil
}

// Decision is one person's decision on one job. Number ties it to the run that was looked at: once the job has been
// started again, the decision no longer fits and is refused.
type Decision struct {
	Job    JobID `json:"job"`    // id from the list of interrupted jobs
	Number int64 `json:"number"` // Job.Number of the run decided upon
	Action Rerun `json:"action"` // what is done, RerunLeave included
	// MarkFailedFirst: the job is still shown running; OpCon restarts no running job, and marking it failed runs its
	// failure events. Once the job is neither running nor failed any more the decision does not fit: it may have ended well.
	MarkFailedFirst bool `json:"markFailedFirst,omitempty"`
	// Step: restart on this step, one of Job.Steps; with RerunRestart only
	Step   string `json:"step,omitempty"`
	By     string `json:"by"`     // who decided
	Reason string `json:"reason"` // why
}

func (d Decision) validate() error {
	switch {
	case d.Job == "":
		return failover.Invalid("Decision.Job", "is empty", "name the job by its id from the list of interrupted jobs")
	case d.Action < RerunLeave || d.Action > RerunCancel:
		return failover.Invalid("Decision.Action", "is not set for "+string(d.Job),
			"choose what is done, RerunLeave included")
	case strings.TrimSpace(d.By) == "":
		return failover.Invalid("Decision.By", "is empty for "+string(d.Job), "name who decided")
	case d.Step != "" && d.Action != RerunRestart:
		return failover.Invalid("Decision.Step", "is set with "+d.Action.String(), "a step goes with restart only")
	}
	return cleanReason(d.Reason)
}

// Decided is a decision and how far it came.
type Decided struct {
	Decision
	Phase phase `json:"phase"` // the last one that was written down
}

// phase is how far a decision came.
type phase int

const (
	phaseDecided phase = iota // recorded, nothing sent
	phaseMarking              // the job is about to be marked failed, or has been
	phaseSending              // the decided action is about to be sent, or has been
	phaseDone                 // its effect was seen
)

// Rerun carries out one decision. It reads the job first and sends nothing when the decision no longer fits the job, so
// a job is never started twice for one decision: after a lost reply the job's own state tells, and where it cannot the
// outcome is InDoubt and this client sends no start for that run of the job again. Another process knows nothing of
// that: use the steps or [Client.Resume], which write down how far a decision came. Errors: failover.ErrInvalid,
// failover.ErrPrecondition (the decision does not fit the job any more), failover.ErrInDoubt, failover.ErrNotObserved,
// ErrActionFailed, ErrNotFound.
func (c *Client) Rerun(ctx context.Context, d Decision) error {
	key, from := startOf{d.Job, d.Number}, phaseDecided
	if _, sent := c.starts.Load(key); sent {
		from = phaseSending
	}
	return c.rerun(ctx, d, from, func(p phase) error {
		if p == phaseSending && d.starts() {
			c.starts.Store(key, true)
		} else {
			c.starts.Delete(key)
		}
		return nil
	})
}

// startOf is one run of a job, over all decisions on it.
type startOf struct {
	job    JobID
	number int64
}

const nextDecision = "correct the decision by the list of interrupted jobs and run again"

// starts reports whether the decision makes the job run without another person's word.
func (d Decision) starts() bool { return d.Action == RerunRestart || d.Action == RerunForceRestart }

// rerun carries out a decision from the phase it has reached; reached records each phase before its effect.
func (c *Client) rerun(ctx context.Context, d Decision, from phase, reached func(phase) error) error {
	op := "carry out " + d.Action.String() + " for job"
	if err := d.validate(); err != nil {
		return err
	}
	if d.Action == RerunLeave {
		return reached(phaseDone)
	}
	j, err := c.settledJob(ctx, d.Job)
	if err != nil {
		return err
	}
	// In a later phase a run before this one sent the action, or the mark, and did not see its end.
	switch {
	case d.showsIn(j) && (from == phaseSending || from == phaseMarking && j.Category != JobRunning):
		return reached(phaseDone)
	case from == phaseSending && (d.check(j) != nil || d.starts()):
		// A start may still stand in the queue, run and end; a second one would run the job twice. A job that is put on
		// hold or marked twice is not harmed.
		return inDoubt(op, j.String(), "look at the job in OpCon and settle it there, then decide to leave it and run again",
			fmt.Errorf("%w: it was sent, and the job is now %s, number %d", failover.ErrInDoubt, j.Category, j.Number))
	}
	if err := d.check(j); err != nil {
		return unchanged(op, j.String(), nextDecision, err)
	}
	if d.marks() && d.showsIn(j) {
		return reached(phaseDone)
	}
	before, marked := from, false
	if j.Category == JobRunning && !d.marks() {
		if before, err = phaseMarking, reached(phaseMarking); err != nil {
			return err
		}
		if j, err = c.jobAction(ctx, verbMarkFailed, d, j,
			func(j Job) bool { return j.Category == JobFailed && !j.processingEvents() }); err != nil {
			return err
		}
		marked = true
		if err := d.allowed(j); err != nil {
			return inDoubt(op, j.String(), nextDecision, fmt.Errorf("it was marked failed: %w", err))
		}
	}
	if err := reached(phaseSending); err != nil {
		return err
	}
	if _, err = c.jobAction(ctx, reruns[d.Action].verb, d, j, d.showsIn); err == nil {
		return reached(phaseDone)
	}
	if !notDone(err) {
		return err
	}
	// Refused: nothing of this action is in effect, so the decision can be corrected. A mark sent before it stays.
	err = errors.Join(err, reached(before))
	if marked {
		return inDoubt(op, j.String(), nextDecision, fmt.Errorf("it was marked failed: %w", err))
	}
	return err
}

// marks reports whether the action is sent for a job as it is, without marking it failed first.
func (d Decision) marks() bool { return d.Action > RerunForceRestart }

// check reports why the decision cannot be carried out for the job as it is now.
func (d Decision) check(j Job) error {
	switch {
	case d.Action == RerunLeave:
		return nil
	case j.startedSince(d.Number):
		return fmt.Errorf("%w: the job has been started again since (number %d, decided upon %d)",
			failover.ErrPrecondition, j.Number, d.Number)
	case d.marks() && d.showsIn(j): // whoever did it
		return nil
	case d.MarkFailedFirst && !d.marks() && j.Category != JobRunning && j.Category != JobFailed:
		return because(failover.ErrPrecondition, "it was decided upon as one that still runs, and is now "+j.words())
	case j.Category != JobRunning || d.marks():
		return d.allowed(j)
	case !d.MarkFailedFirst:
		return because(failover.ErrPrecondition, "OpCon restarts no job that it shows running; decide to mark it failed "+
			"first, once it is certain that it does not run on the old host")
	}
	return d.offered(j)
}

// allowed applies the table of status changes (documented) to the decision.
func (d Decision) allowed(j Job) error {
	if !slices.Contains(reruns[d.Action].from, j.Category) {
		return fmt.Errorf("%w: a job that is %s (%s) cannot be changed so", failover.ErrPrecondition, j.Category,
			j.Description)
	}
	return d.offered(j)
}

// offered reports whether the server offers the restart step.
func (d Decision) offered(j Job) error {
	if d.Step != "" && !slices.Contains(j.Steps, d.Step) {
		return fmt.Errorf("%w: the server offers no restart step %q for it", failover.ErrPrecondition, d.Step)
	}
	return nil
}

// showsIn reports whether the job's state shows the decision's effect.
func (d Decision) showsIn(j Job) bool {
	return d.Action == RerunLeave || !d.marks() && j.startedSince(d.Number) ||
		slices.Contains(reruns[d.Action].shows, j.Category)
}

// settledJob reads a job and waits while its last events are worked on.
func (c *Client) settledJob(ctx context.Context, id JobID) (Job, error) {
	deadline := time.Now().Add(c.conf.ActionTimeout)
	for {
		j, err := c.Job(ctx, id)
		if err != nil || !j.processingEvents() {
			return j, err
		}
		if !time.Now().Before(deadline) || waiting.For(ctx, c.conf.Poll) != nil {
			return j, unchanged("wait for the events of job", j.String(),
				"wait until OpCon has processed its events, then run again",
				fmt.Errorf("%w: it is still %q", failover.ErrPrecondition, j.Description))
		}
	}
}

// jobAction sends one action for one job and reads the job until the effect shows.
func (c *Client) jobAction(ctx context.Context, v verb, d Decision, j Job, shows func(Job) bool) (Job, error) {
	op, id := string(v)+" job", string(j.ID)
	sent := map[string]any{"id": id, "step": nil, "rebuildOnRestartIfContainer": false}
	if d.Step != "" {
		sent["step"] = d.Step
	}
	res := c.act(ctx, jobActions, v, d.Reason, []actionItem{{id: id, name: j.String(), sent: sent}})[id]
	if notDone(res) {
		return j, res
	}
	now, err := watch(ctx, c, func() (Job, error) { return c.Job(ctx, j.ID) }, shows)
	switch {
	case err == nil && shows(now):
		return now, nil
	case err == nil:
		err = fmt.Errorf("%w: it is %s (%s)", failover.ErrNotObserved, now.Category, now.Description)
	}
	return now, inDoubt(op, j.String(), "look at the job in OpCon and settle it there; it is not sent again",
		errors.Join(res, err))
}
