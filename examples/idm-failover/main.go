// Idm-failover is the reference script for a site with two Identity Manager servers: it moves the drivers between them.
//
// Copy site.example.yaml, fill it in, then:
//
//	idm-failover prepare -config site.yaml -reason CHG-1042 run
//	idm-failover failover -config site.yaml plan
//	idm-failover failover -config site.yaml -reason INC-77 run
//	idm-failover guard -config site.yaml -reason INC-77 run
//	idm-failover -config site.yaml export
//	idm-failover -config site.yaml verify
//	idm-failover -config site.yaml import standby
//	idm-failover -config site.yaml -reason CHG-1042 import standby apply
//	idm-failover -config site.yaml export xml
//	idm-failover -config site.yaml import standby designer.xml "cn=AD,cn=Driver Set,o=system"
//
// The export that the procedures use is LDIF; with xml it is one driver configuration for each driver, as Designer and
// iManager read and write it. An import shows the differences and writes only with "apply"; like every verb that
// changes something, and like "watch", it then asks for a reason and for consent, or takes the first word behind the
// verb with -approve.
//
// The procedure is named first, or with -procedure. "plan" is the default verb and changes nothing. A run that stops,
// for whatever reason, goes on when it is called again.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/runbook"
)

var procedures = []string{"prepare", "failover", "switchover", "failback", "guard"}

func main() { os.Exit(program().Main(arguments(os.Args[1:]))) }

func program() runbook.Program {
	return runbook.Program{
		Name: "idm-failover",
		About: "move Identity Manager drivers between two servers; the procedure may be named first, as in " +
			"\"idm-failover guard run\"",
		Procedures: procedures,
		Site:       func() any { return new(site) },
		Build:      build,
		Verbs:      verbs(os.Stdout),
	}
}

// arguments lets the procedure be named first, as if it were a verb.
func arguments(args []string) []string {
	if len(args) == 0 || !slices.Contains(procedures, args[0]) {
		return args
	}
	return append([]string{"-procedure", args[0]}, args[1:]...)
}

// connections are the servers a procedure uses.
type connections []*idm.Server

func (c *connections) open(ctx context.Context, dial dialer) (*idm.Server, error) {
	s, err := dial(ctx)
	if err == nil {
		*c = append(*c, s)
	}
	return s, err
}

// Close ends them all.
func (c *connections) Close() error {
	var err error
	for _, s := range *c {
		err = errors.Join(err, s.Close())
	}
	return err
}

func build(ctx context.Context, path, name string) (failover.Procedure, io.Closer, error) {
	open := &connections{}
	p, err := procedure(ctx, path, name, open)
	if err != nil {
		return failover.Procedure{}, nil, errors.Join(err, open.Close())
	}
	return p, open, nil
}

func procedure(ctx context.Context, path, name string, open *connections) (failover.Procedure, error) {
	var none failover.Procedure
	s, err := readSite(path)
	if err != nil {
		return none, err
	}
	var dead idm.FailoverOptions
	if name == "failover" {
		if dead, err = s.failover(); err != nil {
			return none, err
		}
	}
	dialHome, err := s.dialer("home")
	if err != nil {
		return none, err
	}
	dialStandby, err := s.dialer("standby")
	if err != nil {
		return none, err
	}
	standby, err := open.open(ctx, dialStandby)
	if err != nil {
		return none, err
	}
	switch name { // where home is gone or may be
	case "failover":
		dead.Route, dead.TrySource = s.route(standby), dialHome
		return idm.Failover(dead)
	case "guard":
		return idm.GuardOldServer(s.guard(standby, dialHome))
	}
	home, err := open.open(ctx, dialHome)
	if err != nil {
		return none, err
	}
	switch name {
	case "switchover":
		return idm.Switchover(s.switchover(home, standby))
	case "failback":
		return idm.Failback(s.switchover(standby, home))
	}
	return idm.Prepare(idm.PrepareOptions{Route: s.route(standby), Source: home, Export: s.kept(), OnRequest: s.OnRequest})
}
