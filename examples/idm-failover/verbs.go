package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/internal/runbook"
	"github.com/01b61c5c/failover/idm"
)

// verbs are what this program has beside the common verbs. The reports go to out.
func verbs(out io.Writer) []runbook.Verb {
	return []runbook.Verb{
		{Name: "export", About: "[home|standby] keep an export of the driver set; from home unless told otherwise",
			Run: func(ctx context.Context, config string, args []string) error { return export(ctx, out, config, args) }},
		{Name: "verify", About: "[home|standby] compare the kept export with a server, home unless told otherwise",
			Run: func(ctx context.Context, config string, args []string) error { return verify(ctx, out, config, args) }},
		{Name: "import", About: "[home|standby] [apply] show what the kept export would write to a server, standby unless told otherwise; apply writes it",
			Run: func(ctx context.Context, config string, args []string) error { return restore(ctx, out, config, args) }},
		{Name: "watch", About: "disable the drivers on home whenever it comes back, until interrupted",
			Run: func(ctx context.Context, config string, args []string) error { return watch(ctx, out, config, args) }},
	}
}

// chosen takes the words allowed out of args and refuses every other one.
func chosen(args []string, allowed ...string) (map[string]bool, error) {
	words := map[string]bool{}
	for _, a := range args {
		if !slices.Contains(allowed, a) || words[a] {
			return nil, failover.Invalid("argument", fmt.Sprintf("%q is not understood here", a), fmt.Sprintf("use each of %q at most once", allowed))
		}
		words[a] = true
	}
	if words["home"] && words["standby"] {
		return nil, failover.Invalid("argument", "both home and standby are named", "name one")
	}
	return words, nil
}

// on opens the server a verb works on: home or standby.
func on(ctx context.Context, config, name string) (site, *idm.Server, error) {
	s, err := readSite(config)
	if err != nil {
		return s, nil, err
	}
	dial, err := s.dialer(name)
	if err != nil {
		return s, nil, err
	}
	server, err := dial(ctx)
	return s, server, err
}

func export(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	words, err := chosen(args, "home", "standby")
	if err != nil {
		return err
	}
	name := "home"
	if words["standby"] {
		name = "standby"
	}
	s, server, err := on(ctx, config, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	m, err := server.SaveExport(ctx, s.Export.Path, idm.ExportOptions{Base: s.DriverSet})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d objects of %s as %s has them, %d drivers, SHA-256 %s\n", s.Export.Path, m.Objects, m.Base, m.Server, len(m.Drivers), m.SHA256)
	for _, n := range m.Secrets {
		fmt.Fprintln(out, "not in it:", n)
	}
	return nil
}

// source opens the kept export and says whose per-server values in it are meant for the server: its own where the export
// has them, those of the server it was taken from otherwise.
func source(s site, server *idm.Server) (idm.ExportSource, io.Closer, string, error) {
	src, closer, err := idm.OpenExport(s.Export.Path)
	if err != nil {
		return src, nil, "", err
	}
	for dn := range src.Manifest.PerServer {
		if idm.SameDN(dn, server.DN()) {
			return src, closer, "", nil
		}
	}
	return src, closer, src.Manifest.Server, nil
}

func verify(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	words, err := chosen(args, "home", "standby")
	if err != nil {
		return err
	}
	name := "home"
	if words["standby"] {
		name = "standby"
	}
	s, server, err := on(ctx, config, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	check := idm.CheckExport(s.Export.Path, time.Now(), time.Duration(s.Export.MaxAge))
	fmt.Fprintln(out, check)
	if !check.Present || !check.Complete {
		return &failover.Error{Op: "verify", Target: s.Export.Path, Outcome: failover.NotApplied, Next: "make a new export",
			Err: fmt.Errorf("%w: %s", failover.ErrPrecondition, check)}
	}
	src, closer, values, err := source(s, server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	c, err := server.Verify(ctx, src, idm.VerifyOptions{ValuesOf: values})
	if err != nil {
		return err
	}
	fmt.Fprint(out, c)
	if !c.Equal() {
		return &failover.Error{Op: "verify", Target: server.DN(), Outcome: failover.NotApplied, Next: "make a new export, or look who changed the directory",
			Err: fmt.Errorf("%w: %s", idm.ErrDrift, s.Export.Path)}
	}
	if check.Stale {
		return &failover.Error{Op: "verify", Target: s.Export.Path, Outcome: failover.NotApplied, Next: "make a new export", Err: idm.ErrExportTooOld}
	}
	return nil
}

// restore is the import verb. Without "apply" it writes nothing.
func restore(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	words, err := chosen(args, "home", "standby", "apply")
	if err != nil {
		return err
	}
	name := "standby"
	if words["home"] {
		name = "home"
	}
	s, server, err := on(ctx, config, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	src, closer, values, err := source(s, server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	o := idm.ImportOptions{ValuesOf: values, MaxAge: time.Duration(s.Export.MaxAge)}
	if !words["apply"] {
		r, err := server.PlanImport(ctx, src, o)
		if err != nil {
			return err
		}
		fmt.Fprint(out, &r.Comparison)
		fmt.Fprintf(out, "Nothing was written. To write it to %s: import %s apply\n", server.DN(), name)
		return nil
	}
	r, err := server.Import(ctx, src, o)
	if r != nil {
		fmt.Fprint(out, &r.Comparison)
		fmt.Fprintf(out, "%d objects created, %d changed on %s\n", r.Created, r.Changed, server.DN())
	}
	return err
}

// watch is the guard that goes on. The first interrupt ends it: it is between two safe points all the time.
func watch(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	if _, err := chosen(args); err != nil {
		return err
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
		switch at := g.At.Format(time.RFC3339); {
		case g.Err != nil:
			fmt.Fprintf(out, "%s not settled, looking again: %v\n", at, g.Err)
		case !g.Answers:
			fmt.Fprintf(out, "%s %s does not answer\n", at, s.Home.DN)
		case g.Acted:
			fmt.Fprintf(out, "%s disabled and stopped on %s; before: %s\n", at, s.Home.DN, g.Found.Found)
		default:
			fmt.Fprintf(out, "%s %s\n", at, g.Found.Found)
		}
	})
}
