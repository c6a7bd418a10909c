package runbook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// agree asks the person for the consent to what was shown. It returns a refusal where nobody is there to ask.
func (c call) agree(ctx context.Context, what, word, approve string) error {
	if !c.at.there {
		return refuse(ExitWaiting, "consent to "+what, c.procedure,
			"read what is shown above, then call it again with -approve "+approve+", or on a terminal",
			fmt.Errorf("%w: nobody is here to consent; nothing was changed", failover.ErrWaiting))
	}
	err := c.at.consent(ctx, "", word)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, failover.ErrWaiting):
		return refuse(ExitWaiting, "consent to "+what, c.procedure, "call it again",
			fmt.Errorf("%w; nothing was changed", err))
	}
	return unchanged("consent to "+what, c.procedure, "settle the objection, then call it again",
		fmt.Errorf("%w; nothing was changed", err))
}

// existing opens the journal; nil where there is none yet.
func (c call) existing() (*failover.Journal, error) {
	journal, err := failover.OpenJournal(c.journal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return journal, err
}

// begin creates the journal where there is none. Only what was consented to begins one, and says so: a wrong path would
// begin everything again.
func (c call) begin(journal *failover.Journal) (*failover.Journal, error) {
	if journal != nil {
		return journal, nil
	}
	if full, err := filepath.Abs(c.journal); err == nil {
		say(c.con.err, "begins a new journal: %s", full)
	}
	return failover.CreateJournal(c.journal)
}

// finished says what a journal records that no run can go on with; "" where one can.
func finished(rep *failover.Report) string {
	what := "a run"
	switch {
	case rep.Result == failover.ResultUndone, rep.Result == failover.ResultCompleted && rep.Undo:
		what = "an undo"
	case rep.Result != failover.ResultCompleted:
		return ""
	}
	return what + " that was completed at " + rep.Ended.Format(time.RFC3339)
}

// usable says what is wrong with the journal before anything is dialled.
func (c call) usable() error {
	journal, err := failover.ReadJournal(c.journal)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.verb != "undo":
		return nil
	case err != nil || c.verb == "undo":
		return err
	}
	rep := journal.Report()
	// Last year's journal under the usual name must not make tonight's run look done.
	if what := finished(rep); what != "" {
		return refuse(ExitUsage, c.verb+" with", c.journal,
			"name a new journal with -journal; status shows what this one records",
			fmt.Errorf("%w: it records %s, nothing was done now", failover.ErrPrecondition, what))
	}
	if c.verb == "take-over" {
		return nil // an undo that has begun needs the lock too
	}
	return c.undoing(rep)
}

// undoing refuses to go on behind an undo that has begun.
func (c call) undoing(rep *failover.Report) error {
	if !rep.UndoBegun {
		return nil
	}
	return refuse(ExitBlocked, "run with", c.journal, "finish the undo, then begin a new journal",
		fmt.Errorf("%w; nothing was done now", failover.ErrUndone))
}

func (c call) run(ctx context.Context, proc failover.Procedure) (err error) {
	journal, err := c.existing()
	if err != nil {
		return err
	}
	defer func() {
		if journal != nil {
			err = errors.Join(err, journal.Close())
		}
	}()
	if err := c.waivable(proc); err != nil {
		return err
	}
	if c.approve == "" {
		plan, err := proc.Plan(ctx, journal)
		if err != nil {
			return err
		}
		say(c.con.err, "%v", plan)
		for _, id := range slices.Sorted(maps.Keys(c.waive)) {
			say(c.con.err, "Waived: %s: %s", id, c.waive[id])
		}
		if err := c.blocked(plan); err != nil {
			return err
		}
		if err := c.agree(ctx, "the plan", word("", plan.Findings), string(plan.Findings)); err != nil {
			return err
		}
		c.approve = string(plan.Findings)
	}
	if journal, err = c.begin(journal); err != nil {
		return err
	}
	o := c.options(journal)
	o.Waive, o.Confirm = c.waive, c.at.confirm
	rep, err := proc.Run(ctx, o)
	return c.ended(rep, err)
}

// waivable refuses a waiver that the run would refuse, before anybody is asked.
func (c call) waivable(proc failover.Procedure) error {
	steps := proc.AllSteps()
	for _, id := range slices.Sorted(maps.Keys(c.waive)) {
		i := slices.IndexFunc(steps, func(s failover.Step) bool { return s.ID == id })
		if i < 0 || steps[i].Kind != failover.Check || steps[i].Firm {
			return usage("-waive %s: this is no check of %s that may be waived; plan shows the checks", id, proc.Name)
		}
	}
	return nil
}

// options are what run and undo have in common. Somebody at the terminal is asked about each step that cannot be taken
// back and each that the plan did not show as it is; without a terminal the run stops there.
func (c call) options(journal *failover.Journal) failover.RunOptions {
	o := failover.RunOptions{Journal: journal, Actor: c.actor, Reason: c.reason, Approved: failover.PlanHash(c.approve),
		WarnAfter: c.warnAfter, StopAfter: c.stopAfter, Observer: c.at.screen.Event, Stop: c.stop}
	if c.at.there {
		o.Gate = c.at.approve
	}
	return o
}

// blocked refuses a plan with a step that stands in the way.
func (c call) blocked(plan failover.Plan) error {
	var ids []string
	for _, s := range plan.Blockers() {
		if _, waived := c.waive[s.ID]; !waived || s.Firm {
			ids = append(ids, s.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return refuse(ExitBlocked, "plan", plan.Procedure,
		"make them hold, or waive with -waive STEP=REASON what may be waived; then plan again",
		fmt.Errorf("%w: a run would stop at %s; nothing was changed", failover.ErrPrecondition, strings.Join(ids, ", ")))
}

func (c call) undo(ctx context.Context, proc failover.Procedure) (err error) {
	journal, err := failover.OpenJournal(c.journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	if name, _ := journal.Procedure(); name != "" && name != proc.Name {
		return unchanged("undo with", c.journal,
			"name the procedure of this journal with -procedure, or the journal of this procedure with -journal",
			fmt.Errorf("%w: it was begun for %s, this is %s", failover.ErrWrongJournal, name, proc.Name))
	}
	if c.approve == "" {
		plan := proc.UndoPlan(journal)
		c.showUndo(proc, plan, journal)
		if len(plan.Steps) > 0 && !plan.Steps[0].Undo {
			return refuse(ExitBlocked, "undo", proc.Name, plan.Steps[0].Why,
				fmt.Errorf("%w: %s; nothing was changed", failover.ErrIrreversible, plan.Steps[0].ID))
		}
		if err := c.agree(ctx, "the undo", word("", plan.Findings), string(plan.Findings)); err != nil {
			return err
		}
		c.approve = string(plan.Findings)
	}
	rep, err := proc.Undo(ctx, c.options(journal))
	return c.ended(rep, err)
}

// showUndo shows what an undo would do, newest first.
func (c call) showUndo(proc failover.Procedure, plan failover.UndoPlan, journal *failover.Journal) {
	say(c.con.err, "Plan of the undo of %s, newest first", proc.Name)
	if len(plan.Steps) == 0 {
		say(c.con.err, "  nothing of this journal is in effect; the undo would only give the lock back")
	}
	for _, u := range plan.Steps {
		if u.Undo {
			say(c.con.err, "  take back: %s (%s) on %s: %s", oneLine(u.Title), u.ID, oneLine(u.Target), u.Status)
		} else {
			say(c.con.err, "  stays:     %s (%s) on %s: %s: %s", oneLine(u.Title), u.ID, oneLine(u.Target), u.Status,
				oneLine(u.Why))
		}
	}
	for _, s := range slices.Backward(journal.Report().Steps) {
		if s.Kind == failover.Manual && s.Status == failover.StatusConfirmed {
			say(c.con.err, "  by hand:   %s (%s): was done by hand, and is yours to take back", oneLine(s.Title), s.ID)
		}
	}
	say(c.con.err, "Findings: %s", plan.Findings)
}

// takeOver replaces the holders of the lock that are known to be dead. Who calls it names each of them twice: as an
// argument, and as the answer or with -approve.
func (c call) takeOver(ctx context.Context, proc failover.Procedure) (err error) {
	holders, err := proc.LockHolders(ctx)
	switch {
	case err != nil:
		return err
	case len(holders) == 0:
		say(c.con.out, "nobody holds the lock; run takes it")
		return nil
	}
	for _, claim := range holders {
		if !slices.Contains(c.args, name(claim)) {
			return unchanged("take the lock over", proc.Name, "find out what the holder does; lock shows all who have to be named",
				fmt.Errorf("%w: by %s (%s), who is not named", failover.ErrLocked, name(claim), claim.Owner))
		}
		c.showClaim(c.con.err, claim)
	}
	say(c.con.err, "Take it over only when it is certain that this run is dead: two runs at once is what the lock "+
		"prevents.")
	if word := strings.Join(c.args, ","); c.approve != word {
		if err := c.agree(ctx, "the take-over", word, word); err != nil {
			return err
		}
	}
	journal, err := c.existing()
	if err == nil {
		journal, err = c.begin(journal)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	o := failover.RunOptions{Journal: journal, Actor: c.actor, Reason: c.reason}
	if err := proc.TakeOverLock(ctx, o, holders...); err != nil {
		return err
	}
	next := "Run"
	if journal.Report().UndoBegun {
		next = "Undo"
	}
	say(c.con.out, "taken over from %s. %s with the same journal to go on.", strings.Join(c.args, ", "), next)
	return nil
}

// ended shows the report and lets the error say where the reason stands.
func (c call) ended(rep *failover.Report, err error) error {
	if rep == nil {
		return err
	}
	shown := c.show(rep)
	if err == nil || shown != nil {
		return errors.Join(err, shown)
	}
	return reported{rep, err}
}

// reported is an error that stands in the report above.
type reported struct {
	rep *failover.Report
	err error
}

func (r reported) Error() string {
	what := r.rep.Procedure
	if r.rep.Undo {
		what = "undo of " + what
	}
	return what + ": " + r.rep.Result.String() + "; the report above says why"
}

func (r reported) Unwrap() error { return r.err }
