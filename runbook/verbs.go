package runbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/01b61c5c/failover"
)

// check looks at every Check up to the point of no return. Those at which a run would stop have to hold now; the others
// may come to hold by what the run does before it reaches them.
func (c call) check(ctx context.Context, proc failover.Procedure) error {
	plan, err := proc.Plan(ctx, nil)
	if err != nil {
		return err
	}
	// Nobody has been shown the rest of the plan: it is not to be approved.
	plan.Steps, plan.Findings = checksAhead(plan.Steps), ""
	if len(plan.Steps) == 0 {
		say(c.con.out, "there is nothing to check before the first change; plan shows the steps")
		return nil
	}
	w := tabwriter.NewWriter(c.con.out, 0, 0, 2, ' ', 0)
	words := map[failover.PlanAction]string{failover.ActionNone: "ok", failover.ActionBlock: "FAILS",
		failover.ActionWait: "waits"}
	var failed []string
	for _, s := range plan.Steps {
		word, found := cmp.Or(words[s.Action], "not yet"), s.Observation.Found
		if s.Error != "" {
			word, found = "unknown", "cannot be observed: "+s.Error
		}
		if s.Action == failover.ActionBlock || s.Action == failover.ActionWait && s.Error != "" {
			failed = append(failed, s.ID)
		}
		if !c.json {
			say(w, "%s\t%s\t%s\t%s", word, s.ID, oneLine(s.Title), oneLine(found))
		}
	}
	if c.json {
		err = c.document(plan.JSON())
	} else {
		err = w.Flush()
	}
	if err != nil || len(failed) == 0 {
		return err
	}
	return refuse(ExitBlocked, "check", plan.Procedure,
		"make them hold; what may be waived is waived by run with -waive STEP=REASON", fmt.Errorf("%w: %d of %d checks: %s",
			failover.ErrPrecondition, len(failed), len(plan.Steps), strings.Join(failed, ", ")))
}

// checksAhead are the Checks of each part up to its point of no return, or up to its first change where it has none.
func checksAhead(steps []failover.PlanStep) (checks []failover.PlanStep) {
	fires, over := map[string]bool{}, map[string]bool{}
	for _, s := range steps {
		fires[s.Part] = fires[s.Part] || s.Kind == failover.Once
	}
	for _, s := range steps {
		over[s.Part] = over[s.Part] || s.Kind == failover.Once || s.Kind != failover.Check && !fires[s.Part]
		if s.Kind == failover.Check && !over[s.Part] {
			checks = append(checks, s)
		}
	}
	return checks
}

// plan shows what a run with the journal would do. A journal that records the end of a run is not gone on with: what is
// shown then is a run of its own.
func (c call) plan(ctx context.Context, proc failover.Procedure) error {
	journal, err := failover.ReadJournal(c.journal)
	path := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		journal = nil
	case err != nil:
		return err
	default:
		rep := journal.Report()
		if what := finished(rep); what != "" {
			say(c.con.err, "%s records %s. This is the plan of a new run, which needs a new journal.", c.journal, what)
			journal, path = nil, "-journal NEW "
		} else if err := c.undoing(rep); err != nil {
			return err
		}
	}
	plan, err := proc.Plan(ctx, journal)
	if err != nil {
		return err
	}
	if c.json {
		err = c.document(plan.JSON())
	} else {
		say(c.con.out, "%v", plan)
	}
	if err == nil {
		err = c.blocked(plan)
	}
	if err == nil && !c.json {
		say(c.con.out, "Nothing was changed. To do this, with the same flags: run %s-reason … -approve %s", path, plan.Findings)
	}
	return err
}

func (c call) document(raw []byte, err error) error {
	if err == nil {
		_, err = fmt.Fprintf(c.con.out, "%s\n", raw)
	}
	return err
}

// report needs nothing but the journal, also while another process runs with it.
func (c call) report(ctx context.Context) error {
	if c.json && c.html {
		return usage("-json and -html are both given; choose one")
	}
	journal, err := failover.ReadJournal(c.journal)
	if err != nil {
		return err
	}
	rep := journal.Report()
	if rep.Result == failover.ResultInterrupted || rep.Result == failover.ResultInDoubt {
		used, err := journal.InUse(ctx)
		if err != nil {
			return err
		}
		if used {
			rep.Next = "look at the process on this machine that has the journal open: the run may be under way there"
		}
	}
	switch {
	case c.html:
		return rep.WriteHTML(c.con.out)
	case rep.Result == failover.ResultNone && !c.json:
		say(c.con.out, "%s: no run was begun", c.journal)
		return nil
	}
	return c.show(rep)
}

// settle writes a person's word into an existing journal.
func (c call) settle(context.Context) (err error) {
	journal, err := failover.OpenJournal(c.journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	step := c.args[0]
	if c.verb == "confirm" {
		err = journal.Confirm(step, failover.Statement{By: c.actor, Says: strings.Join(c.args[1:], " "), Reason: c.reason})
	} else {
		var outcome failover.Outcome
		if err := outcome.UnmarshalText([]byte(c.args[1])); err != nil {
			return refusal{ExitUsage, err}
		}
		err = journal.Resolve(step, outcome, c.actor, c.reason)
	}
	switch {
	case errors.Is(err, failover.ErrPrecondition), errors.Is(err, failover.ErrInvalid):
		return refusal{ExitUsage, err}
	case err == nil:
		say(c.con.out, "%s: written down for %s. Next: %s.", step, c.actor, journal.Report().Next)
	}
	return err
}

func (c call) show(rep *failover.Report) error {
	if c.json {
		return c.document(rep.JSON())
	}
	say(c.con.out, "%v", rep)
	return nil
}

// holder shows who has the lock. A run that was stopped half-way keeps it until it is run again or undone.
func (c call) holder(ctx context.Context, proc failover.Procedure) error {
	holders, err := proc.LockHolders(ctx)
	for _, claim := range holders {
		c.showClaim(c.con.out, claim)
	}
	if err == nil && len(holders) == 0 {
		say(c.con.out, "nobody holds the lock")
	}
	return err
}

func (c call) showClaim(out io.Writer, claim failover.Claim) {
	say(out, "%s\n  held by %s for %s since %s", name(claim), oneLine(claim.Owner), oneLine(claim.Purpose),
		claim.Since.Format(time.RFC3339))
	if claim.Holder != (failover.Holder{}) {
		say(out, "  process %d of %s on %s, journal %s", claim.Holder.PID, claim.Holder.User, claim.Holder.Host,
			claim.Journal)
	}
}

// name is what a holder is called; one that never came to write its name is unnamed.
func name(c failover.Claim) string { return cmp.Or(c.ID, "unnamed") }
