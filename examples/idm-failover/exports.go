package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
)

// request is what the words behind export, verify and import ask for.
type request struct {
	server string // home or standby
	named  bool   // the server was named, not taken because nothing else was said
	xml    bool   // the kept driver configurations instead of the kept LDIF
	file   string // a file of another tool instead of what is kept
	driver string // only this driver
}

// requestOf understands the words of a verb; what it does not understand is refused before a server is asked. server is
// the one the verb works on unless told otherwise.
func requestOf(s site, args []string, server string, allowed ...string) (request, error) {
	r := request{}
	for i, a := range args {
		invalid := func(was string) (request, error) {
			return r, failover.Invalid("argument", fmt.Sprintf("%q %s", a, was),
				"use home or standby, one of the drivers of the file, and "+strings.Join(allowed, ", ")+
					", each at most once; a FILE ends in .xml or .ldif")
		}
		if slices.Contains(args[:i], a) {
			return invalid("appears twice")
		}
		kind := a
		switch extension := strings.ToLower(filepath.Ext(a)); {
		case a == "home" || a == "standby":
			if r.server != "" {
				return invalid("names a second server")
			}
			r.server, r.named = a, true
			continue
		case slices.ContainsFunc(s.Drivers, func(dn string) bool { return idm.SameDN(dn, a) }):
			if r.driver != "" {
				return invalid("names a second driver")
			}
			r.driver = a
			continue
		case extension == ".xml" || extension == ".ldif":
			kind = "FILE"
		}
		if !slices.Contains(allowed, kind) {
			return invalid("is not understood here")
		}
		switch kind {
		case "FILE":
			if r.file != "" {
				return invalid("names a second file")
			}
			r.file = a
		case "xml":
			r.xml = true
		}
	}
	if r.server == "" {
		r.server = server
	}
	if r.xml && r.file != "" {
		return r, failover.Invalid("argument", "both xml and a file are named", "name one")
	}
	if r.xml && s.Export.Configurations == "" {
		return r, failover.Invalid("export.configurations", "is empty",
			"name the folder the driver configurations are kept in")
	}
	return r, nil
}

// begin reads the file, understands the words and connects.
func begin(ctx context.Context, config string, args []string, server string, allowed ...string) (site, request,
	*idm.Server, error) {
	s, err := readSite(config)
	if err != nil {
		return s, request{}, nil, err
	}
	r, err := requestOf(s, args, server, allowed...)
	if err != nil {
		return s, r, nil, err
	}
	connected, err := s.connect(ctx, r.server)
	return s, r, connected, err
}

// chosenDrivers is the driver that was named, or all of the file.
func (s site) chosenDrivers(r request) []string {
	if r.driver != "" {
		return []string{r.driver}
	}
	return s.Drivers
}

// configuration is where the driver configuration of a driver is kept, by its common name.
func (s site) configuration(driver string) (string, error) {
	dn, err := ldap.ParseDN(driver)
	if err != nil || len(dn.RDNs) == 0 {
		return "", failover.Invalid("drivers", fmt.Sprintf("%q is no DN", driver),
			"write it like cn=Driver,cn=Driver Set,o=system")
	}
	// any name is a file name then, and no two are the same
	name := strings.ReplaceAll(url.PathEscape(dn.RDNs[0].Attributes[0].Value), ":", "%3A")
	return filepath.Join(s.Export.Configurations, name+".xml"), nil
}

func export(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	s, r, server, err := begin(ctx, config, args, "home", "xml")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if !r.xml {
		if r.driver != "" {
			return failover.Invalid("argument", "a driver is named for the export of the driver set", "leave it out, or add xml")
		}
		return keep(ctx, out, server, s.Export.Path, idm.ExportOptions{Base: s.DriverSet})
	}
	if err := os.MkdirAll(s.Export.Configurations, 0o700); err != nil {
		return err
	}
	var problems []error // one driver that cannot be exported does not keep the others from it
	for _, driver := range s.chosenDrivers(r) {
		path, err := s.configuration(driver)
		if err == nil {
			err = keep(ctx, out, server, path, idm.ExportOptions{Base: driver, Format: idm.FormatDriverConfiguration})
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// keep takes an export, unless that would be in the place of the values of another server: when that one is gone, they
// stand nowhere else.
func keep(ctx context.Context, out io.Writer, server *idm.Server, path string, o idm.ExportOptions) error {
	old := idm.CheckExport(path, time.Now(), 0)
	if old.Present && !idm.SameDN(old.Manifest.Server, server.DN()) {
		holds := "it holds the values of " + old.Manifest.Server
		if old.Manifest.Server == "" {
			holds = "nobody knows whose values it holds: " + old.Problem
		}
		return &failover.Error{Op: "export to", Target: path, Outcome: failover.NotApplied,
			Next: "move the file and its manifest to another place first",
			Err:  fmt.Errorf("%w: %s", failover.ErrPrecondition, holds)}
	}
	m, err := server.SaveExport(ctx, path, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d objects of %s as %s has them, %d drivers, SHA-256 %s\n", path, m.Objects, m.Base, m.Server,
		len(m.Drivers), m.SHA256)
	for _, n := range m.Secrets {
		fmt.Fprintln(out, "not in it:", n)
	}
	if o.Format == idm.FormatDriverConfiguration {
		for _, name := range slices.Sorted(maps.Keys(m.LeftOut)) {
			fmt.Fprintf(out, "not in it: %s (%d times)\n", name, m.LeftOut[name])
		}
	}
	return nil
}

// kept is one file to compare or import.
type kept struct {
	path   string
	driver string // "" is everything in it
	maxAge time.Duration
	bare   bool // of another tool: no manifest says whence and how old it is
}

// files are what a request is about.
func (s site) files(r request) ([]kept, error) {
	maxAge := time.Duration(s.Export.MaxAge)
	switch {
	case r.file != "":
		k := kept{path: r.file, driver: r.driver}
		_, err := os.Stat(r.file + ".manifest.json")
		if k.bare = errors.Is(err, os.ErrNotExist); !k.bare {
			k.maxAge = maxAge
		}
		return []kept{k}, nil
	case !r.xml:
		return []kept{{path: s.Export.Path, driver: r.driver, maxAge: maxAge}}, nil
	}
	var list []kept
	for _, driver := range s.chosenDrivers(r) {
		path, err := s.configuration(driver)
		if err != nil {
			return nil, err
		}
		list = append(list, kept{path: path, driver: driver, maxAge: maxAge})
	}
	return list, nil
}

// open opens a file and says whose per-server values in it are meant for the server: its own where the export has them,
// those of the server it was taken from otherwise. A driver configuration holds those of one server and does not say of
// which.
func (k kept) open(server *idm.Server) (idm.ExportSource, io.Closer, string, error) {
	if k.bare {
		f, err := os.Open(k.path)
		if err != nil {
			return idm.ExportSource{}, nil, "", err
		}
		return idm.ExportSource{Name: k.path, Content: f}, f, "", nil
	}
	src, closer, err := idm.OpenExport(k.path)
	if err != nil || src.Manifest.Format == idm.FormatDriverConfiguration {
		return src, closer, "", err
	}
	for dn := range src.Manifest.PerServer {
		if idm.SameDN(dn, server.DN()) {
			return src, closer, "", nil
		}
	}
	return src, closer, src.Manifest.Server, nil
}

func verify(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	s, r, server, err := begin(ctx, config, args, "home", "xml", "FILE")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	files, err := s.files(r)
	if err != nil {
		return err
	}
	var problems []error
	for _, k := range files {
		problems = append(problems, k.verify(ctx, out, server))
	}
	return errors.Join(problems...)
}

func (k kept) verify(ctx context.Context, out io.Writer, server *idm.Server) (err error) {
	stale := false
	if !k.bare {
		check := idm.CheckExport(k.path, time.Now(), k.maxAge)
		fmt.Fprintln(out, check)
		if stale = check.Stale; !check.Present || !check.Complete {
			return &failover.Error{Op: "verify", Target: k.path, Outcome: failover.NotApplied, Next: "make a new export",
				Err: fmt.Errorf("%w: %s", failover.ErrPrecondition, check)}
		}
	}
	src, closer, values, err := k.open(server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	c, err := server.Verify(ctx, src, idm.ImportOptions{Driver: k.driver, ValuesOf: values})
	if err != nil {
		return err
	}
	fmt.Fprint(out, c)
	if !c.Equal() {
		return &failover.Error{Op: "verify", Target: server.DN(), Outcome: failover.NotApplied,
			Next: "look who changed the directory; where it is right, make a new export of the same server",
			Err:  fmt.Errorf("%w: %s", idm.ErrDrift, k.path)}
	}
	if stale {
		return &failover.Error{Op: "verify", Target: k.path, Outcome: failover.NotApplied, Next: "make a new export",
			Err: idm.ErrExportTooOld}
	}
	return nil
}

// preview shows what an import would write.
func preview(ctx context.Context, out io.Writer, config string, args []string) (err error) {
	s, r, server, err := begin(ctx, config, args, "standby", "xml", "FILE")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if _, err := s.planned(ctx, out, r, server); err != nil {
		return err
	}
	fmt.Fprintf(out, "Nothing was written. To write it to %s, say the same with apply\n", server.DN())
	return nil
}

// apply is the import. It holds the lock of the procedures: what one of them is doing is not written over.
func apply(ctx context.Context, out io.Writer, config string, args []string, actor, reason string) (err error) {
	s, r, server, err := begin(ctx, config, args, "standby", "xml", "FILE", "apply")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	files, err := s.planned(ctx, out, r, server)
	if err != nil {
		return err
	}
	if !r.named {
		if err := s.idle(ctx, r, server); err != nil {
			return err
		}
	}
	// The claim is the same for each import of one person on one machine: who repeats one that died half-way gives the
	// lock back.
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	lock := idm.DirectoryLock{Server: server, Entry: s.DriverSet, Attribute: s.LockAttribute}
	claim := failover.Claim{ID: "import by " + actor + " on " + host, Owner: actor, Purpose: "import: " + reason,
		Since: time.Now().UTC()}
	if err := lock.Acquire(ctx, claim); err != nil {
		return err
	}
	var wrote failover.Targets // a file that is refused behind another one does not make that one unwritten
	for _, k := range files {
		wrote.Add(k.path, k.write(ctx, out, server))
	}
	if err := lock.Release(context.WithoutCancel(ctx), claim); err != nil {
		wrote.Add("lock", err)
	}
	return wrote.Err()
}

// idle refuses the server that is taken when none is named, if the drivers are enabled there: after a failover it is
// the one that is in use.
func (s site) idle(ctx context.Context, r request, server *idm.Server) error {
	for _, driver := range s.chosenDrivers(r) {
		st, err := server.Status(ctx, driver)
		switch {
		case errors.Is(err, idm.ErrNoEntry) || errors.Is(err, idm.ErrNotServed):
			continue
		case err == nil && st.Option == idm.StartDisabled:
			continue
		case err == nil:
			err = fmt.Errorf("it is %s there", st)
		}
		return &failover.Error{Op: "import to", Target: server.DN(), Outcome: failover.NotApplied,
			Next: "if it is meant, name the server: say " + r.server + " behind import",
			Err:  fmt.Errorf("%w: no server was named, and %s: %w", failover.ErrPrecondition, driver, err)}
	}
	return nil
}

// planned shows what each file would write. Every file is looked at before the first one is written: what one of them
// lacks stops all.
func (s site) planned(ctx context.Context, out io.Writer, r request, server *idm.Server) ([]kept, error) {
	files, err := s.files(r)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, k := range files {
		problems = append(problems, k.plan(ctx, out, server))
	}
	return files, errors.Join(problems...)
}

func (k kept) plan(ctx context.Context, out io.Writer, server *idm.Server) (err error) {
	src, closer, values, err := k.open(server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	r, err := server.PlanImport(ctx, src, idm.ImportOptions{Driver: k.driver, ValuesOf: values, MaxAge: k.maxAge})
	if err != nil {
		return err
	}
	if k.bare {
		fmt.Fprintf(out, "%s has no manifest: nobody knows how old it is and of which tree\n", k.path)
	}
	fmt.Fprint(out, &r.Comparison)
	return nil
}

func (k kept) write(ctx context.Context, out io.Writer, server *idm.Server) (err error) {
	src, closer, values, err := k.open(server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	r, err := server.Import(ctx, src, idm.ImportOptions{Driver: k.driver, ValuesOf: values, MaxAge: k.maxAge})
	if r != nil {
		fmt.Fprintf(out, "%s: %d objects created, %d changed on %s\n", k.path, r.Created, r.Changed, server.DN())
	}
	return err
}
