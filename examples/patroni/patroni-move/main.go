// Patroni-move hands the leadership of a PostgreSQL cluster over, or promotes a member when the leader is dead. Copy
// site.example.yaml, fill it in, then:
//
//	patroni-move -config site.yaml plan
//	patroni-move -config site.yaml -reason CHG-1042 run
//	patroni-move -config site.yaml -reason CHG-1042 -procedure failover run
//
// A run that stops goes on when it is called again. Verbs, flags and consent are those of package runbook.
package main

import (
	"context"
	"io"
	"os"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/patroni"
	"github.com/01b61c5c/failover/runbook"
)

func main() { os.Exit(program().Main(os.Args[1:])) }

func program() runbook.Program {
	return runbook.Program{Name: "patroni-move", About: "move the leadership of a PostgreSQL cluster that Patroni runs",
		Procedures: []string{"switchover", "failover"}, Site: func() any { return new(site) }, Build: build}
}

// site is the configuration file. Everything in it is explained in site.example.yaml.
type site struct {
	Members       []patroni.Member
	User          string
	Password      runbook.Secret
	Roots         string
	InsecureClear bool `yaml:"insecure_clear"`
	From, To      string
	Dead          []string
	Gone          failover.Statement
}

func build(_ context.Context, path, name string) (failover.Procedure, io.Closer, error) {
	var s site
	if err := runbook.ReadConfig(path, &s); err != nil {
		return failover.Procedure{}, nil, err
	}
	c, err := patroni.New(patroni.Config{Members: s.Members, User: s.User, Password: s.Password.Func(),
		TLS: failover.TLS{RootsFile: s.Roots}, InsecureClear: s.InsecureClear})
	if err != nil {
		return failover.Procedure{}, nil, err
	}
	p, err := patroni.Switchover(patroni.SwitchoverOptions{Cluster: c, From: s.From, To: s.To})
	if name == "failover" {
		p, err = patroni.Failover(patroni.FailoverOptions{Cluster: c, To: s.To, Dead: s.Dead, Gone: s.Gone})
	}
	return p, io.NopCloser(nil), err
}
