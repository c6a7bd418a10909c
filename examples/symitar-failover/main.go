// Symitar-failover is the reference script for a Symitar host pair: it swaps the primary and the secondary through the
// FAILOVER macro, with OpCon held still around it.
//
// Copy site.example.yaml, fill it in, then:
//
//	symitar-failover -config site.yaml check
//	symitar-failover -config site.yaml plan
//	symitar-failover -config site.yaml -reason CHG-1042 run
//	symitar-failover -config site.yaml status
//
// "plan" is the default and changes nothing. "run" asks before the macro, unless -approve gives the findings hash of
// the plan that was approved. A run that stops, for whatever reason, goes on when it is called again.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/internal/runbook"
	"github.com/01b61c5c/failover/symitar"
)

func main() {
	program := runbook.Program{
		Name:       "symitar-failover",
		About:      "swap a Symitar host pair through the FAILOVER macro",
		Procedures: []string{"switchover", "failover", "failback"},
		Build:      build,
	}
	os.Exit(program.Main(os.Args[1:]))
}

func build(_ context.Context, path, name string) (failover.Procedure, io.Closer, error) {
	var s site
	if err := runbook.ReadConfig(path, &s); err != nil {
		return failover.Procedure{}, nil, err
	}
	config, err := s.config()
	if err != nil {
		return failover.Procedure{}, nil, err
	}
	pair, err := symitar.NewPair(config)
	if err != nil {
		return failover.Procedure{}, nil, err
	}
	var p failover.Procedure
	switch name {
	case "switchover":
		p, err = symitar.Switchover(pair)
	case "failover":
		p, err = symitar.Failover(pair, s.Gone.value())
	case "failback":
		p, err = symitar.Failback(pair)
	}
	if err != nil {
		return p, nil, errors.Join(err, pair.Close())
	}
	return p, pair, nil
}
