package runbook

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/01b61c5c/failover"
)

// Program is an operator's program: some procedures, built from a configuration file, and the verbs.
type Program struct {
	Name       string   // as it is called; the default configuration file is Name.yaml
	About      string   // one line for the help
	Procedures []string // the first is the default
	// Site returns a pointer to an empty configuration. When it is set, the configuration file is read into it, and every
	// local file that a [Secret] or [SSH] in it names is looked at, before Build is called and anything is dialled.
	Site func() any
	// Build makes the procedure from the configuration file. The closer ends its connections.
	Build func(ctx context.Context, config, procedure string) (failover.Procedure, io.Closer, error)
	// Verbs are the program's own, beside the common ones.
	Verbs []Verb
}

// Verb is a command of one program only.
type Verb struct {
	Name  string // the first word is the verb; what follows it shows in the help
	About string // one line for the help
	// Run is a call that changes nothing.
	Run func(ctx context.Context, config string, args []string) error
	// Answer is a call that changes something. It is made when a person has given the reason and has consented, by typing
	// the first word behind the verb again or giving it with -approve.
	Answer func(ctx context.Context, config string, args []string, actor, reason string) error
	// Changes tells whether a call of a verb that has both Run and Answer changes something. Nil: it does when there is an
	// Answer.
	Changes func(args []string) bool
}

func (v Verb) changes(args []string) bool {
	return v.Answer != nil && (v.Run == nil || v.Changes == nil || v.Changes(args))
}

type call struct {
	con                                                      console
	verb, config, procedure, journal, actor, reason, approve string
	json, html                                               bool
	warnAfter, stopAfter                                     time.Duration
	waive                                                    map[string]string
	args                                                     []string
	stop                                                     <-chan struct{} // closed by the first interrupt
	at                                                       *person
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
  take-over HOLDER …       take the lock over from a run that is known to be dead; lock shows HOLDER
`

// Main runs the program with the arguments behind its name and returns its exit status; the package documentation lists
// the statuses. Flags may stand before and behind the verb.
func (p Program) Main(args []string) int {
	return int(p.main(args, console{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

func (p Program) main(args []string, con console) ExitStatus {
	c, err := p.call(args, con)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return ExitDone
	case err != nil:
		return ExitUsage
	}
	ctx, stop, end := interruptible(con.err)
	defer end()
	c.stop = stop
	c.at = c.person()
	if err = p.do(ctx, c); err == nil {
		return ExitDone
	}
	say(con.err, "%s: %v", p.Name, err)
	if next := failover.NextOf(err); next != "" {
		say(con.err, "next: %s", next)
	}
	return c.status(err)
}

// call reads the command line.
func (p Program) call(args []string, con console) (call, error) {
	c := call{con: con, verb: "plan", waive: map[string]string{}}
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(con.err)
	flags.StringVar(&c.config, "config", p.Name+".yaml", "configuration `file`, YAML or JSON; unknown keys are refused")
	flags.StringVar(&c.procedure, "procedure", p.Procedures[0], "one of "+strings.Join(p.Procedures, ", "))
	flags.StringVar(&c.journal, "journal", "", "journal `file`; default is the procedure's name with .journal")
	flags.StringVar(&c.actor, "actor", currentUser(), "who answers for it")
	flags.StringVar(&c.reason, "reason", "",
		"why, for example the change ticket; required by everything that changes something")
	flags.StringVar(&c.approve, "approve", "",
		"the findings `hash` of the plan, or of the plan of the undo, that was approved; for take-over the holder, or the holders with commas")
	flags.BoolVar(&c.json, "json", false, "print plan or report as JSON")
	flags.BoolVar(&c.html, "html", false, "print the report as one HTML page")
	flags.DurationVar(&c.warnAfter, "warn-after", 0,
		"say so when a run takes longer than this `time`, for example 90m; 0 is never")
	flags.DurationVar(&c.stopAfter, "stop-after", 0,
		"stop at the next safe point when a run has taken this `time`; 0 is never")
	flags.Func("waive", "let a check fail: `STEP=REASON`; may be repeated", func(text string) error {
		id, reason, ok := strings.Cut(text, "=")
		if !ok || strings.TrimSpace(reason) == "" {
			return errors.New("write STEP=REASON")
		}
		c.waive[id] = reason
		return nil
	})
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "%s: %s\n\nusage: %s [flags] [verb]\n%s", p.Name, p.About, p.Name, commonVerbs)
		for _, v := range p.Verbs {
			fmt.Fprintf(flags.Output(), "  %-24s %s\n", v.Name, v.About)
		}
		fmt.Fprintf(flags.Output(), "status, report, resolve and confirm need the journal only: they work when no machine "+
			"can be reached.\n\n%s\n", statuses)
		flags.PrintDefaults()
	}
	words, err := parse(flags, args)
	if len(words) > 0 {
		c.verb, c.args = words[0], words[1:]
	}
	c.actor, c.reason = strings.TrimSpace(c.actor), strings.TrimSpace(c.reason)
	c.journal = cmp.Or(c.journal, c.procedure+".journal")
	return c, err
}

const statuses = `exit status: 0 done; 1 not done, nothing in effect; 2 called wrongly; 3 in doubt; 4 a person is needed;
5 part-way or interrupted; 6 something stands in the way, nothing was done
`

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

// commonVerb is a verb that every program has.
type commonVerb struct {
	words int  // that it takes behind it
	more  bool // or more than these
	// changes: it needs somebody who answers for it, and its failure is judged by what the journal says is in effect
	changes bool
	local   func(call, context.Context) error                     // needs the journal only
	does    func(call, context.Context, failover.Procedure) error // where it is not local
}

var common = map[string]commonVerb{
	"check":     {does: call.check},
	"plan":      {does: call.plan},
	"run":       {changes: true, does: call.run},
	"undo":      {changes: true, does: call.undo},
	"status":    {local: call.report},
	"report":    {local: call.report},
	"resolve":   {words: 2, changes: true, local: call.settle},
	"confirm":   {words: 2, more: true, changes: true, local: call.settle},
	"lock":      {does: call.holder},
	"take-over": {words: 1, more: true, changes: true, does: call.takeOver},
}

func (p Program) do(ctx context.Context, c call) (err error) {
	if i := slices.IndexFunc(p.Verbs,
		func(v Verb) bool { name, _, _ := strings.Cut(v.Name, " "); return name == c.verb }); i >= 0 {
		return c.own(ctx, p.Verbs[i])
	}
	verb, known := common[c.verb]
	switch {
	case !known:
		return usage("no verb is called %s; -h lists them", c.verb)
	case len(c.args) < verb.words || len(c.args) > verb.words && !verb.more:
		return usage("%s takes %d words behind it, not %d; -h shows them", c.verb, verb.words, len(c.args))
	case !slices.Contains(p.Procedures, c.procedure):
		return usage("no procedure is called %s; there are %s", c.procedure, strings.Join(p.Procedures, ", "))
	}
	if verb.changes {
		err = c.answeredFor()
	}
	switch {
	case err != nil:
		return err
	case verb.local != nil:
		return verb.local(c, ctx)
	case verb.changes:
		err = c.usable()
	}
	if err == nil {
		err = p.lookAtFiles(c.config)
	}
	if err != nil {
		return err
	}
	proc, closer, err := p.Build(ctx, c.config, c.procedure)
	if err != nil {
		return err
	}
	defer func() {
		if err := closer.Close(); err != nil {
			say(c.con.err, "close the connections: %v", err) // what was asked for is done or not, all the same
		}
	}()
	return verb.does(c, ctx, proc)
}

// answeredFor refuses to change something for nobody, or for no reason.
func (c call) answeredFor() error {
	switch {
	case c.reason == "":
		return usage("-reason is empty; give the change ticket")
	case c.actor == "":
		return usage("-actor is empty; name who answers for it")
	}
	return nil
}

// lookAtFiles says what is wrong with a file of this machine, all of it at once.
func (p Program) lookAtFiles(config string) error {
	if p.Site == nil {
		return nil
	}
	site := p.Site()
	if err := ReadConfig(config, site); err != nil {
		return err
	}
	return errors.Join(localFiles("", reflect.ValueOf(site))...)
}

// own calls a verb of the program's own. One that changes something is called with consent only.
func (c call) own(ctx context.Context, v Verb) error {
	if !v.changes(c.args) {
		return v.Run(ctx, c.config, c.args)
	}
	if err := c.answeredFor(); err != nil {
		return err
	}
	word := c.verb
	if len(c.args) > 0 {
		word = c.args[0]
	}
	if c.approve != word {
		say(c.con.err, "%s %s\n  %s", c.verb, strings.Join(c.args, " "), v.About)
		if err := c.agree(ctx, c.verb, word, word); err != nil {
			return err
		}
	}
	if err := v.Answer(ctx, c.config, c.args, c.actor, c.reason); err != nil {
		return refusal{answered(err), err}
	}
	return nil
}

// interruptible makes the first interrupt stop the run at its next safe point and the second one end it at once; a
// third one kills the process, which the journal survives.
func interruptible(out io.Writer) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stop, signals, ended := make(chan struct{}), make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for n := range 2 {
			select {
			case <-ended:
				return
			case <-signals:
			}
			if n == 0 {
				say(out, "stopping at the next safe point; interrupt again to end at once")
				close(stop)
			} else {
				say(out, "ending at once; interrupt again to kill this process")
				cancel()
				signal.Stop(signals)
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
