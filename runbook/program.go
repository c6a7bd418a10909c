package runbook

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

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

// Verb is a command of one program only. Its Name is the first word; what follows it shows in the help.
type Verb struct {
	Name  string
	About string
	Run   func(ctx context.Context, config string, args []string) error
	// Answer takes the place of Run where a person has to answer for what the verb does: -reason is required.
	Answer func(ctx context.Context, config string, args []string, actor, reason string) error
}

type call struct {
	config, procedure, journal, actor, reason, approve string
	json, html                                         bool
	warnAfter, stopAfter                               time.Duration
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
  undo                     take back what can be taken back
  status                   show how far the journal says it has come
  report                   print the report (-json, -html)
  resolve STEP applied|not-applied
                           settle a step that is in doubt, after looking at the target
  confirm STEP TEXT        say that a manual step is done
  lock                     show who holds the lock in the target system
  take-over HOLDER         take the lock over from a run that is known to be dead; lock shows HOLDER
`

// Main runs the program and returns its exit status: 0 done, 1 not done and nothing of the run is in effect, 2 called wrongly,
// 3 in doubt, 4 a person is needed, 5 stopped part-way or interrupted: changes may be in effect, and none is in doubt.
// Flags may stand before and behind the verb.
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
	flags.DurationVar(&c.warnAfter, "warn-after", 0, "say so when a run takes longer than this `time`, for example 90m; 0 is never")
	flags.DurationVar(&c.stopAfter, "stop-after", 0, "stop at the next safe point when a run has taken this `time`; 0 is never")
	flags.Var(c.waive, "waive", "let a check fail: `STEP=REASON`; may be repeated")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "%s: %s\n\nusage: %s [flags] [verb]\n%s", p.Name, p.About, p.Name, commonVerbs)
		for _, v := range p.Verbs {
			fmt.Fprintf(flags.Output(), "  %-24s %s\n", v.Name, v.About)
		}
		fmt.Fprint(flags.Output(), "status, report, resolve and confirm need the journal only: they work when no machine can be reached.\n\n")
		flags.PrintDefaults()
	}
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	verb := "plan"
	if len(words) > 0 {
		verb, c.args = words[0], words[1:]
	}
	if c.journal == "" {
		c.journal = c.procedure + ".journal"
	}
	ctx, stop, end := interruptible()
	defer end()
	if err = p.do(ctx, stop, verb, c); err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
	if next := failover.NextOf(err); next != "" {
		fmt.Fprintf(os.Stderr, "next: %s\n", next)
	}
	var ended reported
	switch {
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, failover.ErrInDoubt):
		return 3
	case errors.Is(err, failover.ErrWaiting):
		return 4
	case errors.As(err, &ended) && (ended.rep.Result == failover.ResultPartWay || ended.rep.Result == failover.ResultInterrupted):
		return 5
	}
	return 1
}

// parse reads flags before, between and behind the words, up to "--".
func parse(flags *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if at := len(args) - len(rest); len(rest) == 0 || at > 0 && args[at-1] == "--" {
			return append(words, rest...), nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

var (
	errUsage    = errors.New("usage")
	errNoReason = fmt.Errorf("%w: -reason is empty; give the change ticket", errUsage)
)

// arity says how many words a common verb takes behind it; confirm takes at least so many.
func arity(verb string) (n int, known bool) {
	switch verb {
	case "check", "plan", "run", "undo", "status", "report", "lock":
		return 0, true
	case "take-over":
		return 1, true
	case "resolve", "confirm":
		return 2, true
	}
	return 0, false
}

func (p Program) do(ctx context.Context, stop <-chan struct{}, verb string, c call) (err error) {
	if i := slices.IndexFunc(p.Verbs, func(v Verb) bool { name, _, _ := strings.Cut(v.Name, " "); return name == verb }); i >= 0 {
		v := p.Verbs[i]
		switch {
		case v.Answer == nil:
			return v.Run(ctx, c.config, c.args)
		case c.reason == "":
			return errNoReason
		}
		return v.Answer(ctx, c.config, c.args, c.actor, c.reason)
	}
	n, known := arity(verb)
	switch {
	case !known:
		return fmt.Errorf("%w: no verb is called %q; -h lists them", errUsage, verb)
	case len(c.args) < n || len(c.args) > n && verb != "confirm":
		return fmt.Errorf("%w: %s takes %d words behind it, not %q; -h shows them", errUsage, verb, n, c.args)
	case !slices.Contains(p.Procedures, c.procedure):
		return fmt.Errorf("%w: no procedure is called %q; there are %s", errUsage, c.procedure, strings.Join(p.Procedures, ", "))
	case c.reason == "" && slices.Contains([]string{"run", "undo", "resolve", "confirm", "take-over"}, verb):
		return errNoReason
	}
	switch verb {
	case "status", "report":
		return report(c)
	case "resolve", "confirm":
		return settle(verb, c)
	case "undo":
		if _, err := failover.ReadJournal(c.journal); err != nil {
			return err
		}
	}
	proc, closer, err := p.Build(ctx, c.config, c.procedure)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	switch verb {
	case "check":
		return check(ctx, proc, c)
	case "plan":
		return plan(ctx, proc, c)
	case "lock":
		return holder(ctx, proc)
	}
	journal, err := open(verb, c.journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	switch verb {
	case "take-over":
		return takeOver(ctx, proc, journal, c)
	case "undo":
		return undo(ctx, proc, journal, c)
	}
	return run(ctx, stop, proc, journal, c)
}

// open opens the journal. Only a run or a take-over may begin a new one, and says so: a wrong path would begin everything again.
func open(verb, path string) (*failover.Journal, error) {
	journal, err := failover.OpenJournal(path)
	if verb != "run" && verb != "take-over" || !errors.Is(err, fs.ErrNotExist) {
		return journal, err
	}
	if full, err := filepath.Abs(path); err == nil {
		fmt.Fprintf(os.Stderr, "begins a new journal: %s\n", full)
	}
	return failover.CreateJournal(path)
}

// interruptible makes the first interrupt stop the run at its next safe point and the second one end it at once; a third
// one kills the process, which the journal survives.
func interruptible() (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stop, signals, ended := make(chan struct{}), make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
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
					fmt.Fprintln(os.Stderr, "ending at once; interrupt again to kill this process")
					cancel()
					signal.Stop(signals)
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
