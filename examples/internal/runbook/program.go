package runbook

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

// Program is a reference program: some procedures, built from a configuration file, and the operator's verbs.
type Program struct {
	Name       string
	About      string
	Procedures []string // the first is the default
	// Build makes the procedure from the configuration file. The closer ends its connections.
	Build func(ctx context.Context, config, procedure string) (failover.Procedure, io.Closer, error)
	// Verbs are the program's own, beside the common ones.
	Verbs []Verb
}

// Verb is a command of one program only.
type Verb struct {
	Name  string
	About string
	Run   func(ctx context.Context, config string, args []string) error
}

type call struct {
	config, procedure, journal, actor, reason, approve string
	json, html                                         bool
	waive                                              waivers
	args                                               []string
}

type waivers map[string]string

func (w waivers) String() string { return "" }

func (w waivers) Set(text string) error {
	id, reason, ok := strings.Cut(text, "=")
	if !ok || reason == "" {
		return errors.New("write STEP=REASON")
	}
	w[id] = reason
	return nil
}

const commonVerbs = `  check                    look at every precondition, change nothing
  plan                     show what would be done, change nothing (the default)
  run                      do it, or go on with a run that was stopped
  status                   show how far the journal says it has come
  resolve STEP applied|not-applied
                           settle a step that is in doubt, after looking at the target
  confirm STEP TEXT        say that a manual step is done
  report                   print the report (-json, -html)
  undo                     take back what can be taken back
`

// Main runs the program and returns its exit status: 0 done, 1 not done, 2 called wrongly, 3 in doubt, 4 a person is needed.
func (p Program) Main(args []string) int {
	c := call{waive: waivers{}}
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.StringVar(&c.config, "config", p.Name+".yaml", "configuration `file`, YAML or JSON; unknown keys are refused")
	flags.StringVar(&c.procedure, "procedure", p.Procedures[0], "one of "+strings.Join(p.Procedures, ", "))
	flags.StringVar(&c.journal, "journal", "", "journal `file`; default is the procedure's name with .journal")
	flags.StringVar(&c.actor, "actor", currentUser(), "who answers for it")
	flags.StringVar(&c.reason, "reason", "", "why, for example the change ticket; required by everything that changes something")
	flags.StringVar(&c.approve, "approve", "", "the findings `hash` of the plan that was approved; run then does not ask")
	flags.BoolVar(&c.json, "json", false, "print plan or report as JSON")
	flags.BoolVar(&c.html, "html", false, "print the report as one HTML page")
	flags.Var(c.waive, "waive", "let a check fail: `STEP=REASON`; may be repeated")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "%s: %s\n\nusage: %s [flags] [verb]\n%s", p.Name, p.About, p.Name, commonVerbs)
		for _, v := range p.Verbs {
			fmt.Fprintf(flags.Output(), "  %-24s %s\n", v.Name, v.About)
		}
		fmt.Fprintln(flags.Output())
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	verb := "plan"
	if c.args = flags.Args(); len(c.args) > 0 {
		verb, c.args = c.args[0], c.args[1:]
	}
	if c.journal == "" {
		c.journal = c.procedure + ".journal"
	}
	ctx, stop, end := interruptible()
	defer end()
	err := p.do(ctx, stop, verb, c)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
	if next := failover.NextOf(err); next != "" {
		fmt.Fprintf(os.Stderr, "next: %s\n", next)
	}
	switch {
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, failover.ErrInDoubt):
		return 3
	case errors.Is(err, failover.ErrWaiting):
		return 4
	}
	return 1
}

var errUsage = errors.New("usage")

func (p Program) do(ctx context.Context, stop <-chan struct{}, verb string, c call) (err error) {
	if i := slices.IndexFunc(p.Verbs, func(v Verb) bool { return v.Name == verb }); i >= 0 {
		return p.Verbs[i].Run(ctx, c.config, c.args)
	}
	if !slices.Contains([]string{"check", "plan", "run", "status", "resolve", "confirm", "report", "undo"}, verb) {
		return fmt.Errorf("%w: no verb is called %q; -h lists them", errUsage, verb)
	}
	if !slices.Contains(p.Procedures, c.procedure) {
		return fmt.Errorf("%w: no procedure is called %q; there are %s", errUsage, c.procedure, strings.Join(p.Procedures, ", "))
	}
	proc, closer, err := p.Build(ctx, c.config, c.procedure)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	switch verb {
	case "check":
		return check(ctx, proc)
	case "plan":
		return plan(ctx, proc, c)
	case "status", "report":
		return report(proc, c)
	}
	if len(c.reason) == 0 {
		return fmt.Errorf("%w: -reason is empty; give the change ticket", errUsage)
	}
	journal, err := failover.OpenJournal(c.journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	switch verb {
	case "resolve":
		return resolve(journal, c)
	case "confirm":
		if len(c.args) < 2 {
			return fmt.Errorf("%w: confirm STEP TEXT", errUsage)
		}
		return journal.Confirm(c.args[0], failover.Statement{By: c.actor, Says: strings.Join(c.args[1:], " "), Reason: c.reason})
	case "undo":
		return undo(ctx, proc, journal, c)
	}
	return run(ctx, stop, proc, journal, c)
}

func check(ctx context.Context, proc failover.Procedure) error {
	proc.Steps = slices.DeleteFunc(slices.Clone(proc.Steps), func(s failover.Step) bool { return s.Kind != failover.Check })
	proc.Outage = failover.Window{}
	plan, err := proc.Plan(ctx)
	if err != nil {
		return err
	}
	fmt.Print(plan)
	if n := len(plan.Blockers()); n > 0 {
		return fmt.Errorf("%w: %d of %d checks", failover.ErrPrecondition, n, len(plan.Steps))
	}
	return nil
}

func plan(ctx context.Context, proc failover.Procedure, c call) error {
	plan, err := proc.Plan(ctx)
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

func report(proc failover.Procedure, c call) error {
	journal, err := failover.ReadJournal(c.journal)
	if err != nil {
		return err
	}
	rep := proc.Report(journal)
	switch {
	case c.json:
		raw, err := rep.JSON()
		fmt.Println(string(raw))
		return err
	case c.html:
		return rep.WriteHTML(os.Stdout)
	}
	fmt.Print(rep)
	return nil
}

func resolve(journal *failover.Journal, c call) error {
	if len(c.args) != 2 {
		return fmt.Errorf("%w: resolve STEP applied|not-applied", errUsage)
	}
	var outcome failover.Outcome
	if err := outcome.UnmarshalText([]byte(c.args[1])); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return journal.Resolve(c.args[0], outcome, c.actor, c.reason)
}

func run(ctx context.Context, stop <-chan struct{}, proc failover.Procedure, journal *failover.Journal, c call) error {
	screen, at := NewScreen(os.Stderr), newPerson(c.actor)
	o := failover.RunOptions{Journal: journal, Actor: c.actor, Reason: c.reason, Approved: c.approve, Waive: c.waive,
		Confirm: at.confirm, Observer: screen.Event, Stop: stop}
	if c.approve == "" {
		o.Gate = failover.GateFunc(at.approve)
	}
	rep, err := proc.Run(ctx, o)
	return errors.Join(err, show(rep, c))
}

func undo(ctx context.Context, proc failover.Procedure, journal *failover.Journal, c call) error {
	for _, u := range proc.UndoPlan(journal) {
		if u.Undo {
			fmt.Fprintf(os.Stderr, "will undo: %s (%s)\n", u.Title, u.ID)
		} else {
			fmt.Fprintf(os.Stderr, "stays:     %s (%s): %s\n", u.Title, u.ID, u.Why)
		}
	}
	rep, err := proc.Undo(ctx, failover.RunOptions{Journal: journal, Actor: c.actor, Reason: c.reason, Observer: NewScreen(os.Stderr).Event})
	return errors.Join(err, show(rep, c))
}

func show(rep *failover.Report, c call) error {
	if rep == nil {
		return nil
	}
	if c.json {
		raw, err := rep.JSON()
		fmt.Println(string(raw))
		return err
	}
	fmt.Print(rep)
	return nil
}

// interruptible makes the first interrupt stop the run at its next safe point and the second one end it at once.
func interruptible() (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stop, signals, ended := make(chan struct{}), make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				return
			case <-signals:
				if n == 0 {
					fmt.Fprintln(os.Stderr, "stopping at the next safe point; interrupt again to end at once")
					close(stop)
				} else {
					cancel()
				}
			}
		}
	}()
	return ctx, stop, func() {
		signal.Stop(signals)
		close(ended)
		cancel()
	}
}

func currentUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
