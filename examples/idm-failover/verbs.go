package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/runbook"
)

// verbs are what this program has beside the common verbs. The reports go to out.
func verbs(out io.Writer) []runbook.Verb {
	verb := func(run func(context.Context, io.Writer, string, []string) error) func(context.Context, string,
		[]string) error {
		return func(ctx context.Context, config string, args []string) error { return run(ctx, out, config, args) }
	}
	return []runbook.Verb{
		{Name: "export", About: "[home|standby] [xml] [DRIVER] keep an export of the driver set (LDIF), with xml one driver " +
			"configuration for each driver; from home unless told otherwise",
			Run: verb(export)},
		{Name: "verify", About: "[home|standby] [xml|FILE] [DRIVER] compare the kept export, or a file, with a server, home " +
			"unless told otherwise",
			Run: verb(verify)},
		{Name: "import", About: "[home|standby] [xml|FILE] [DRIVER] [apply] show what the kept export, or a file, would " +
			"write to a server, standby unless told otherwise; apply writes it",
			Run: verb(preview), Changes: func(args []string) bool { return slices.Contains(args, "apply") },
			Answer: func(ctx context.Context, config string, args []string, actor, reason string) error {
				return apply(ctx, out, config, args, actor, reason)
			}},
		{Name: "watch", About: "disable the drivers on home whenever it comes back, until interrupted",
			Answer: func(ctx context.Context, config string, args []string, _, _ string) error {
				return watch(ctx, out, config, args)
			}},
	}
}

// on opens the server a verb works on: home or standby.
func on(ctx context.Context, config, name string) (site, *idm.Server, error) {
	s, err := readSite(config)
	if err != nil {
		return s, nil, err
	}
	server, err := s.connect(ctx, name)
	return s, server, err
}

func (s site) connect(ctx context.Context, name string) (*idm.Server, error) {
	dial, err := s.dialer(name)
	if err != nil {
		return nil, err
	}
	return dial(ctx)
}

// watch is the guard that goes on. It takes no lock: disabling the old side is safe at any time. The first interrupt
// ends it: it is between two safe points all the time.
func watch(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	if len(args) > 0 {
		return failover.Invalid("argument", fmt.Sprintf("%q is not understood here", args), "call watch without any")
	}
	s, standby, err := on(ctx, config, "standby")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, standby.Close()) }()
	dial, err := s.dialer("home")
	if err != nil {
		return err
	}
	if s.Guard.Interval <= 0 {
		return failover.Invalid("guard.interval", "is no time above zero", "say how often to look, for example 5s")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	return idm.WatchOldServer(ctx, s.guard(standby, dial), time.Duration(s.Guard.Interval), func(g idm.GuardSighting) {
		at := g.At.Format(time.RFC3339)
		switch {
		case g.Err != nil:
			fmt.Fprintf(out, "%s not settled: %v\n", at, g.Err)
		case !g.Answers:
			fmt.Fprintf(out, "%s %s does not answer: %s\n", at, s.Home.DN, g.Found.Note)
		case g.Acted:
			fmt.Fprintf(out, "%s disabled and stopped on %s; before: %s\n", at, s.Home.DN, g.Found.Found)
		default:
			fmt.Fprintf(out, "%s %s\n", at, g.Found.Found)
		}
		for _, driver := range slices.Sorted(maps.Keys(g.Waited)) {
			fmt.Fprintf(out, "%s %s: %s\n", at, driver, g.Waited[driver])
		}
	})
}
