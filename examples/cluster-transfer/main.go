// Cluster-transfer is the reference script for a group in a failover cluster, Windows or Pacemaker: it moves the group
// to another node and proves that it arrived and stays.
//
// Copy site.example.yaml, fill it in, then:
//
//	cluster-transfer -config site.yaml check
//	cluster-transfer -config site.yaml plan
//	cluster-transfer -config site.yaml -reason CHG-1042 run
//	cluster-transfer -config site.yaml status
//
// "plan" is the default and changes nothing. "run" shows the plan, asks for consent to it and asks again before each
// move. Without a terminal, -approve gives the findings hash of the plan that was approved. A run that stops, for
// whatever reason, goes on when it is called again: it reads where the group is before it asks the cluster for
// anything.
//
// The procedure "rehearsal" moves the group there and, when it was verified, back again. No plan can show beforehand
// where the group is found for the way back: without a terminal the run stops there, and the plan made then is approved
// in the same way.
//
// Exit statuses and consent are those of package runbook.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/runbook"
)

func main() { os.Exit(program().Main(os.Args[1:])) }

func program() runbook.Program {
	return runbook.Program{
		Name:       "cluster-transfer",
		About:      "move a group to another node of its Windows or Pacemaker cluster",
		Procedures: []string{"transfer", "rehearsal"},
		Site:       func() any { return new(site) },
		Build:      build,
	}
}

func build(_ context.Context, path, name string) (failover.Procedure, io.Closer, error) {
	var s site
	if err := runbook.ReadConfig(path, &s); err != nil {
		return failover.Procedure{}, nil, err
	}
	options := s.options()
	if name == "rehearsal" {
		options.Then = cluster.AfterMoveBack
	}
	c, closer, err := s.Cluster.open()
	if err != nil {
		return failover.Procedure{}, nil, err
	}
	p, err := cluster.Transfer(c, options)
	if err != nil {
		return p, nil, errors.Join(err, closer.Close())
	}
	return p, closer, nil
}
