// Patroni-move hands the leadership of a PostgreSQL cluster over, or promotes a member when the leader is dead.
//
//	patroni-move -members pg1=https://pg1:8008,pg2=https://pg2:8008 -from pg1 -to pg2 plan
//	patroni-move … -journal move.journal -reason CHG-1042 -approve HASH run
//	patroni-move … -journal move.journal status
//	patroni-move … -journal move.journal -reason CHG-1042 undo
//	patroni-move … -to pg2 -dead pg1 -gone "switched off" -known "I pulled the plug" plan
//
// With -dead it is a failover, otherwise a switchover. "plan" changes nothing and prints the hash to approve; "run" changes nothing
// without it. A run that stops goes on when it is called again with the same journal. -approve is then the same.
//
// Exit statuses: 0 done, 1 nothing in effect, 2 usage, 3 in doubt, 4 a person is needed, 5 part of it in effect.
package main

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
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/patroni"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(program(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // nothing is left to stop
}

type settings struct {
	members, user, passwordFile, roots, from, to, dead, gone, known string
	journal, actor, reason, approve                                 string
	clear                                                           bool
}

func program(ctx context.Context, args []string, out, errs io.Writer) int {
	var s settings
	flags := flag.NewFlagSet("patroni-move", flag.ContinueOnError)
	flags.SetOutput(errs)
	for _, f := range []struct {
		name, usage string
		at          *string
	}{
		{"members", "every member: `NAME=URL,NAME=URL`", &s.members}, {"user", "of the REST API", &s.user},
		{"password", "`file` with the password of the user", &s.passwordFile}, {"roots", "PEM `file` with the authorities to trust", &s.roots},
		{"from", "the leader now", &s.from}, {"to", "the leader to be", &s.to}, {"dead", "`members` that are off: a failover", &s.dead},
		{"gone", "`what` you state of the dead members", &s.gone}, {"known", "`how` you know it", &s.known},
		{"journal", "`file` that remembers the run", &s.journal}, {"actor", "who you are; the account's name where it is empty", &s.actor},
		{"reason", "why, for example the change ticket", &s.reason}, {"approve", "`hash` of the plan you agree to", &s.approve},
	} {
		flags.StringVar(f.at, f.name, "", f.usage)
	}
	flags.BoolVar(&s.clear, "insecure-clear", false, "allow http, for a lab")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		_, _ = fmt.Fprintln(errs, "give one of plan, run, undo, status")
		return 2
	}
	if account, err := user.Current(); s.actor == "" && err == nil {
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
	status, known := map[failover.Result]int{failover.ResultCompleted: 0, failover.ResultUndone: 0, failover.ResultInDoubt: 3,
		failover.ResultWaiting: 4, failover.ResultPartWay: 5, failover.ResultInterrupted: 5}[r.Result]
	if !known {
		return 1
	}
	return status
}

func (s settings) procedure() (failover.Procedure, error) {
	config := patroni.Config{User: s.user, TLS: failover.TLS{RootsFile: s.roots}, InsecureClear: s.clear}
	if s.passwordFile != "" {
		config.Password = func(context.Context) (failover.Secret, error) {
			text, err := os.ReadFile(s.passwordFile)
			return failover.NewSecret(strings.TrimSpace(string(text))), err
		}
	}
	for entry := range strings.SplitSeq(s.members, ",") {
		name, url, _ := strings.Cut(entry, "=")
		config.Members = append(config.Members, patroni.Member{Name: name, URL: url})
	}
	c, err := patroni.New(config)
	switch {
	case err != nil:
		return failover.Procedure{}, err
	case s.dead == "":
		return patroni.Switchover(patroni.SwitchoverOptions{Cluster: c, From: s.from, To: s.to})
	}
	return patroni.Failover(patroni.FailoverOptions{Cluster: c, To: s.to, Dead: strings.Split(s.dead, ","),
		Gone: failover.Statement{By: s.actor, Says: s.gone, Reason: s.known}})
}
