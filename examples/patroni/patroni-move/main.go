// Patroni-move hands the leadership of a PostgreSQL cluster over, or promotes a member when the leader is dead.
//
// Copy site.example.yaml, fill it in, then:
//
//	patroni-move -config site.yaml plan
//	patroni-move -config site.yaml -reason CHG-1042 run
//	patroni-move -config site.yaml -reason CHG-1042 -procedure failover run
//
// "plan" is the default and changes nothing. A run that stops goes on when it is called again. Verbs, flags, exit statuses and consent are
// those of package runbook.
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
	return runbook.Program{
		Name:       "patroni-move",
		About:      "move the leadership of a PostgreSQL cluster that Patroni runs",
		Procedures: []string{"switchover", "failover"},
		Site:       func() any { return new(site) },
		Build:      build,
	}
}

// site is the configuration file. Everything in it is explained in site.example.yaml.
type site struct {
	Members []struct {
		Name string `yaml:"name"`
		URL  string `yaml:"url"`
	} `yaml:"members"`
	User          string         `yaml:"user"`
	Password      runbook.Secret `yaml:"password"`
	Roots         string         `yaml:"roots"`
	InsecureClear bool           `yaml:"insecure_clear"`
	From          string         `yaml:"from"`
	To            string         `yaml:"to"`
	Dead          []string       `yaml:"dead"`
	Gone          struct {
		By     string `yaml:"by"`
		Says   string `yaml:"says"`
		Reason string `yaml:"reason"`
	} `yaml:"gone"`
}

func build(_ context.Context, path, name string) (failover.Procedure, io.Closer, error) {
	var s site
	if err := runbook.ReadConfig(path, &s); err != nil {
		return failover.Procedure{}, nil, err
	}
	config := patroni.Config{User: s.User, TLS: failover.TLS{RootsFile: s.Roots}, InsecureClear: s.InsecureClear}
	if s.User != "" {
		config.Password = s.Password.Func()
	}
	for _, m := range s.Members {
		config.Members = append(config.Members, patroni.Member(m))
	}
	c, err := patroni.New(config)
	if err != nil {
		return failover.Procedure{}, nil, err
	}
	p, err := patroni.Switchover(patroni.SwitchoverOptions{Cluster: c, From: s.From, To: s.To})
	if name == "failover" {
		p, err = patroni.Failover(patroni.FailoverOptions{Cluster: c, To: s.To, Dead: s.Dead, Gone: failover.Statement(s.Gone)})
	}
	return p, io.NopCloser(nil), err
}
