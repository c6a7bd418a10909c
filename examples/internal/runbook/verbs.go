package runbook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/01b61c5c/failover"
)

// check looks at every Check up to the point of no return. Those that stand before the first change have to hold now;
// the others may come to hold by what the run does before it reaches them.
func check(ctx context.Context, proc failover.Procedure, c call) error {
	steps := proc.AllSteps()
	first := slices.IndexFunc(steps, func(s failover.Step) bool { return s.Kind != failover.Check })
	if first < 0 {
		first = len(steps)
	}
	end := slices.IndexFunc(steps, func(s failover.Step) bool { return s.Kind == failover.Once })
	if end < 0 {
		end = first
	}
	before := map[string]bool{}
	for _, s := range steps[:first] {
		before[s.ID] = true
	}
	proc = failover.Procedure{Name: proc.Name, Parameters: proc.Parameters}
	for _, s := range steps[:end] {
		if s.Kind == failover.Check {
			s.Guards = "" // the step it names is left out
			proc.Steps = append(proc.Steps, s)
		}
	}
	if len(proc.Steps) == 0 {
		fmt.Println("there is nothing to check before the first change; plan shows the steps")
		return nil
	}
	plan, err := proc.Plan(ctx, nil)
	if err != nil {
		return err
	}
	if c.json {
		raw, err := plan.JSON()
		fmt.Println(string(raw))
		if err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	var failed []string
	for _, s := range plan.Steps {
		word, found := "ok", s.Observation.Found
		if s.Error != "" {
			found = "cannot be observed: " + s.Error
		}
		switch {
		case s.Action == failover.ActionNone:
		case before[s.ID]:
			word, failed = "FAILS", append(failed, s.ID)
		default:
			word = "not yet"
		}
		if !c.json {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", word, s.ID, s.Title, strings.Join(strings.Fields(found), " "))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(failed) > 0 {
		return &failover.Error{Op: "check", Target: proc.Name, Outcome: failover.NotApplied,
			Next: "make them hold; what may be waived is waived by run with -waive STEP=REASON",
			Err:  fmt.Errorf("%w: %d of %d checks: %s", failover.ErrPrecondition, len(failed), len(plan.Steps), strings.Join(failed, ", "))}
	}
	return nil
}

func plan(ctx context.Context, proc failover.Procedure, c call) error {
	plan, err := proc.Plan(ctx, nil)
	if err != nil {
		return err
	}
	if !c.json {
		fmt.Print(plan)
		fmt.Printf("Nothing was changed. To do this: run -reason … -approve %s\n", plan.Findings)
		return nil
	}
	raw, err := plan.JSON()
	fmt.Println(string(raw))
	return err
}

// report needs nothing but the journal, also while another process runs with it.
func report(c call) error {
	journal, err := failover.ReadJournal(c.journal)
	if err != nil {
		return err
	}
	rep := journal.Report()
	if rep.Result == failover.ResultInterrupted {
		used, err := journal.InUse(context.Background())
		if err != nil {
			return err
		}
		if used {
			rep.Next = "nothing: the run is under way, in another process on this machine"
		}
	}
	switch {
	case rep.Result == failover.ResultNone:
		fmt.Printf("%s: no run was begun\n", c.journal)
		return nil
	case c.html:
		return rep.WriteHTML(os.Stdout)
	}
	return show(rep, c)
}

// settle writes a person's word into an existing journal.
func settle(verb string, c call) (err error) {
	if _, err := failover.ReadJournal(c.journal); err != nil {
		return err
	}
	journal, err := failover.OpenJournal(c.journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	step := c.args[0]
	if verb == "confirm" {
		err = journal.Confirm(step, failover.Statement{By: c.actor, Says: strings.Join(c.args[1:], " "), Reason: c.reason})
	} else {
		var outcome failover.Outcome
		if err := outcome.UnmarshalText([]byte(c.args[1])); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		err = journal.Resolve(step, outcome, c.actor, c.reason)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s: written down for %s. Run again with the same journal to go on.\n", step, c.actor)
	return nil
}

func run(ctx context.Context, stop <-chan struct{}, proc failover.Procedure, journal *failover.Journal, c call) error {
	// Last year's journal under the usual name must not make tonight's run look done.
	if done := journal.Report(); done.Result == failover.ResultCompleted {
		return &failover.Error{Op: "run with", Target: journal.Path(), Outcome: failover.NotApplied,
			Next: "name a new journal with -journal; status shows what this one records",
			Err:  fmt.Errorf("%w: it records a run that was completed at %s, nothing was done now", failover.ErrPrecondition, done.Ended.Format(time.RFC3339))}
	}
	screen, at := NewScreen(os.Stderr), newPerson(c.actor, stop)
	o := failover.RunOptions{Journal: journal, Actor: c.actor, Reason: c.reason, Approved: failover.PlanHash(c.approve), Waive: c.waive, WarnAfter: c.warnAfter, StopAfter: c.stopAfter,
		Confirm: at.confirm, Observer: screen.Event, Stop: stop}
	if c.approve == "" {
		o.Gate = failover.GateFunc(at.approve)
	}
	rep, err := proc.Run(ctx, o)
	return ended(rep, err, c)
}

func undo(ctx context.Context, proc failover.Procedure, journal *failover.Journal, c call) error {
	for _, u := range proc.UndoPlan(journal).Steps {
		if u.Undo {
			fmt.Fprintf(os.Stderr, "will undo: %s (%s)\n", u.Title, u.ID)
		} else {
			fmt.Fprintf(os.Stderr, "stays:     %s (%s): %s\n", u.Title, u.ID, u.Why)
		}
	}
	for _, s := range slices.Backward(journal.Report().Steps) {
		if s.Kind == failover.Manual && s.Status == failover.StatusConfirmed {
			fmt.Fprintf(os.Stderr, "by hand:   %s (%s): was done by hand, and is yours to take back\n", s.Title, s.ID)
		}
	}
	rep, err := proc.Undo(ctx, failover.RunOptions{Journal: journal, Actor: c.actor, Reason: c.reason, Observer: NewScreen(os.Stderr).Event,
		WarnAfter: c.warnAfter, StopAfter: c.stopAfter})
	return ended(rep, err, c)
}

// ended shows the report and lets the exit status say what the report says.
func ended(rep *failover.Report, err error, c call) error {
	if rep == nil {
		return err
	}
	if rep.Result == failover.ResultInDoubt && !errors.Is(err, failover.ErrInDoubt) {
		err = fmt.Errorf("%w: %w", failover.ErrInDoubt, err)
	}
	if shown := show(rep, c); shown != nil {
		return errors.Join(err, shown)
	}
	if err != nil {
		return reported{rep, err}
	}
	return nil
}

// reported is an error that stands in the report above.
type reported struct {
	rep *failover.Report
	err error
}

func (r reported) Error() string {
	return r.rep.Procedure + ": " + r.rep.Result.String() + "; the report above says why"
}

func (r reported) Unwrap() error { return r.err }

func show(rep *failover.Report, c call) error {
	if c.json {
		raw, err := rep.JSON()
		fmt.Println(string(raw))
		return err
	}
	fmt.Print(rep)
	return nil
}

// unnamed stands for a holder that never came to write its name.
const unnamed = "unnamed"

// holder shows who has the lock. A run that was stopped half-way keeps it until it is run again or undone.
func holder(ctx context.Context, proc failover.Procedure) error {
	claim, held, err := holding(ctx, proc)
	if err != nil {
		return err
	}
	if !held {
		fmt.Println("nobody holds the lock")
		return nil
	}
	fmt.Printf("%s\n  held by %s for %s since %s\n", name(claim), claim.Owner, claim.Purpose, claim.Since.Format(time.RFC3339))
	return nil
}

func takeOver(ctx context.Context, proc failover.Procedure, journal *failover.Journal, c call) error {
	claim, held, err := holding(ctx, proc)
	switch {
	case err != nil:
		return err
	case !held:
		fmt.Println("nobody holds the lock; run takes it")
		return nil
	case name(claim) != c.args[0]:
		return &failover.Error{Op: "take the lock over", Target: proc.Name, Outcome: failover.NotApplied, Next: "find out what the holder does, then name exactly this one",
			Err: fmt.Errorf("%w: by %s (%s)", failover.ErrLocked, name(claim), claim.Owner)}
	}
	if err := proc.TakeOverLock(ctx, claim, failover.RunOptions{Journal: journal, Actor: c.actor, Reason: c.reason}); err != nil {
		return err
	}
	fmt.Printf("taken over from %s. Run with the same journal to go on.\n", name(claim))
	return nil
}

func holding(ctx context.Context, proc failover.Procedure) (failover.Claim, bool, error) {
	if proc.Lock == nil {
		return failover.Claim{}, false, failover.Invalid("lock", "there is none in "+proc.Name, "nothing keeps two runs apart but the journal")
	}
	ctx, cancel := context.WithTimeout(ctx, failover.DefaultTimeout)
	defer cancel()
	return proc.Lock.Holder(ctx)
}

func name(c failover.Claim) string {
	if c.ID == "" {
		return unnamed
	}
	return c.ID
}
