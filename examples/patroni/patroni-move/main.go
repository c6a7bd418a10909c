// Patroni-move hands the leadership of a PostgreSQL cluster over, or promotes a member when the leader is dead.
//
//	patroni-move -config site.json plan
//	patroni-move -config site.json -journal move.journal -reason CHG-1042 -approve HASH run
//	patroni-move -config site.json -journal move.journal status
//	patroni-move -config site.json -journal move.journal -reason CHG-1042 undo
//
// Copy site.example.json and fill it in. With Dead it is a failover, otherwise a switchover. "plan" changes nothing and prints the hash to approve; "run" changes nothing
// without it. A run that stops goes on when it is called again with the same journal. -approve is then the same.
//
// Exit statuses: 0 done, 1 nothing in effect, 2 usage, 3 in doubt, 4 a person is needed, 5 part of it in effect.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"os/user"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/patroni"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(program(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // nothing is left to stop
}

// settings are the configuration file, in JSON, and what the flags add.
type settings struct {
	Members                   []patroni.Member
	User, PasswordFile, Roots string   // of the REST API
	InsecureClear             bool     // allow http, for a lab
	From, To                  string   // the leader now and the leader to be
	Dead                      []string // members that are off: a failover, without From
	Gone, Known               string   // what you state of the dead members, and how you know it

	actor, journal, reason, approve string
}

func program(ctx context.Context, args []string, out, errs io.Writer) int {
	var s settings
	flags := flag.NewFlagSet("patroni-move", flag.ContinueOnError)
	flags.SetOutput(errs)
	config := flags.String("config", "patroni-move.json", "`file` that says what is moved; see site.example.json")
	flags.StringVar(&s.journal, "journal", "", "`file` that remembers the run")
	flags.StringVar(&s.reason, "reason", "", "why, for example the change ticket")
	flags.StringVar(&s.approve, "approve", "", "`hash` of the plan you agree to")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		_, _ = fmt.Fprintln(errs, "give one of plan, run, undo, status")
		return 2
	}
	text, err := os.ReadFile(*config)
	if err = errors.Join(err, json.Unmarshal(text, &s)); err != nil {
		_, _ = fmt.Fprintln(errs, *config+":", err)
		return 2
	}
	if account, err := user.Current(); err == nil {
		s.actor = account.Username
	}
	status, err := s.do(ctx, flags.Arg(0), out)
	if err != nil {
		_, _ = fmt.Fprintln(errs, err)
	}
	return status
}

func (s settings) do(ctx context.Context, verb string, out io.Writer) (int, error) {
	if verb == "status" {
		j, err := failover.ReadJournal(s.journal)
		if err != nil {
			return 2, err
		}
		_, _ = fmt.Fprintln(out, j.Report())
		return exit(j.Report()), nil
	}
	p, err := s.procedure()
	if err != nil {
		return 2, err
	}
	if verb == "plan" {
		plan, err := p.Plan(ctx, nil)
		if err == nil && len(plan.Blockers()) > 0 {
			err = errors.New("as things stand, a run would stop")
		}
		_, _ = fmt.Fprintf(out, "%s\nto agree: -approve %s\n", plan, plan.Findings)
		if err != nil {
			return 1, err
		}
		return 0, nil
	}
	if verb != "run" && verb != "undo" || verb == "run" && s.approve == "" {
		return 2, errors.New("run needs the hash of a plan: -approve")
	}
	j, err := failover.CreateJournal(s.journal)
	if errors.Is(err, fs.ErrExist) {
		j, err = failover.OpenJournal(s.journal)
	}
	if err != nil {
		return 2, err
	}
	defer func() { _ = j.Close() }()
	o := failover.RunOptions{Journal: j, Actor: s.actor, Reason: s.reason, Approved: failover.PlanHash(s.approve),
		Observer: func(e failover.Event) {
			if e.Kind == failover.EventStepEnded {
				_, _ = fmt.Fprintf(out, "%s %d/%d %s: %s\n", e.At.Format("15:04:05"), e.Number, e.Total, e.Step.Title, e.Status)
			}
		}}
	work := map[string]func(context.Context, failover.RunOptions) (*failover.Report, error){"run": p.Run, "undo": p.Undo}[verb]
	report, err := work(ctx, o)
	if report == nil {
		return 2, err
	}
	_, _ = fmt.Fprintln(out, report)
	return exit(report), err
}

// exit is the exit status for how a run ended.
func exit(r *failover.Report) int {
	return [...]int{failover.ResultNone: 1, failover.ResultCompleted: 0, failover.ResultFailed: 1, failover.ResultPartWay: 5, failover.ResultInDoubt: 3,
		failover.ResultWaiting: 4, failover.ResultStopped: 1, failover.ResultInterrupted: 5, failover.ResultUndone: 0}[r.Result]
}

func (s settings) procedure() (failover.Procedure, error) {
	config := patroni.Config{Members: s.Members, User: s.User, TLS: failover.TLS{RootsFile: s.Roots}, InsecureClear: s.InsecureClear}
	if s.PasswordFile != "" {
		config.Password = func(context.Context) (failover.Secret, error) {
			text, err := os.ReadFile(s.PasswordFile)
			return failover.NewSecret(strings.TrimSpace(string(text))), err
		}
	}
	c, err := patroni.New(config)
	switch {
	case err != nil:
		return failover.Procedure{}, err
	case len(s.Dead) == 0:
		return patroni.Switchover(patroni.SwitchoverOptions{Cluster: c, From: s.From, To: s.To})
	}
	return patroni.Failover(patroni.FailoverOptions{Cluster: c, To: s.To, Dead: s.Dead,
		Gone: failover.Statement{By: s.actor, Says: s.Gone, Reason: s.Known}})
}
