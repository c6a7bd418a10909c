package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// takeOver replaces the holder of the cluster's lock by the journal of another run, as a person decides who knows that
// the run which holds it does not go on. Without a reason it only shows the holder.
func takeOver(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	flags := flag.NewFlagSet("take-over", flag.ContinueOnError)
	name := flags.String("procedure", "rollback", "for which procedure, one of "+strings.Join(procedures, ", "))
	path := flags.String("journal", "", "journal `file` of that procedure; default is its name with .journal")
	actor := flags.String("actor", account(), "who answers for it")
	reason := flags.String("reason", "", "why, and how it is known that the other run does not go on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !slices.Contains(procedures, *name) {
		return failover.Invalid("procedure", fmt.Sprintf("%q is none", *name), "use one of "+strings.Join(procedures, ", "))
	}
	if flags.NArg() > 0 {
		return failover.Invalid("argument", fmt.Sprintf("%q is not understood here", flags.Arg(0)), "use the flags")
	}
	p, open, err := build(ctx, config, *name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	holder, held, err := p.Lock.Holder(ctx)
	switch {
	case err != nil:
		return err
	case !held:
		_, err = fmt.Fprintln(out, "Nobody holds the lock.")
		return err
	}
	if _, err := fmt.Fprintf(out, "Held by %s since %s for %s (%s).\n", holder.Owner, holder.Since.Format(time.RFC3339), holder.Purpose, holder.ID); err != nil {
		return err
	}
	if *reason == "" {
		return nil
	}
	if *path == "" {
		*path = *name + ".journal"
	}
	journal, err := failover.OpenJournal(*path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	if err := p.TakeOverLock(ctx, holder, failover.RunOptions{Journal: journal, Actor: *actor, Reason: *reason}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Taken over for %s.\n", *path)
	return err
}

func account() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
