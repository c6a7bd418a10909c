package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/runbook"
	"github.com/01b61c5c/failover/symitar"
)

// opconSite says how to reach OpCon and what it calls the Symitar machine.
type opconSite struct {
	URL         string         `yaml:"url"`
	Roots       string         `yaml:"roots"`       // PEM file of the authority that signed its certificate
	Fingerprint string         `yaml:"fingerprint"` // or the certificate's SHA-256
	Token       runbook.Secret `yaml:"token"`       // an application or external token
	User        string         `yaml:"user"`        // or a user with password
	Password    runbook.Secret `yaml:"password"`    //
	Machine     string         `yaml:"machine"`     //
	Reason      string         `yaml:"reason"`      // what OpCon's audit shows
	Addresses   *addresses     `yaml:"addresses"`   // leave out when the record names an alias that is moved elsewhere
	// Decisions: file with a decision per interrupted job; leave out to decide in OpCon by hand
	Decisions string           `yaml:"decisions"`
	KeepHeld  []string         `yaml:"keep_held"` // schedules that stay held
	Drain     runbook.Duration `yaml:"drain"`     // wait for running jobs
	AgentUp   runbook.Duration `yaml:"agent_up"`  // wait for the agent on the new host
}

type addresses struct {
	Home    string `yaml:"home"`
	Partner string `yaml:"partner"`
}

func (o opconSite) config() (*symitar.OpCon, error) {
	conf := opcon.Config{URL: o.URL, TLS: failover.TLS{RootsFile: o.Roots}, Token: o.Token.Func()}
	if o.Fingerprint != "" {
		conf.TLS.Fingerprints = []string{o.Fingerprint}
	}
	if conf.Token == nil {
		conf.User, conf.Password = o.User, o.Password.Func()
	}
	if conf.Token == nil && conf.Password == nil {
		return nil, failover.Invalid("opcon.token", "names no source, and there is no user with a password",
			"name a file, an environment variable or a prompt")
	}
	client, err := opcon.New(conf)
	if err != nil {
		return nil, err
	}
	c := &symitar.OpCon{Client: client, Machine: o.Machine, Reason: o.Reason, Repoint: opcon.RepointAliasMoves,
		KeepHeld:     o.KeepHeld,
		DrainTimeout: time.Duration(o.Drain), UpTimeout: time.Duration(o.AgentUp)}
	if o.Addresses != nil {
		c.Repoint = opcon.RepointEditRecord
		c.Home, c.Partner = address(o.Addresses.Home), address(o.Addresses.Partner)
	}
	if o.Decisions != "" {
		c.Decide = func(_ context.Context, jobs []opcon.Interrupted) ([]opcon.Decision, error) {
			return decide(o.Decisions, jobs)
		}
	}
	return c, nil
}

// address is a host by its name or by its IP address, each a field of its own in OpCon.
func address(text string) opcon.Address {
	if net.ParseIP(text) != nil {
		return opcon.Address{IP: text}
	}
	return opcon.Address{FQDN: text}
}

// decision is one line of the decisions file.
type decision struct {
	Job             string      `yaml:"job"`
	Number          int64       `yaml:"number"`
	Action          opcon.Rerun `yaml:"action"`
	MarkFailedFirst bool        `yaml:"mark_failed_first"`
	Step            string      `yaml:"step"`
	By              string      `yaml:"by"`
	Reason          string      `yaml:"reason"`
}

// decide reads the decisions file. As long as one job that needs a decision has none, the run waits and shows what is
// proposed, in lines that can be copied into the file once somebody answers for them.
func decide(path string, jobs []opcon.Interrupted) ([]opcon.Decision, error) {
	var file struct {
		Decisions []decision `yaml:"decisions"`
	}
	if _, err := os.Stat(path); err == nil {
		if err := runbook.ReadConfig(path, &file); err != nil {
			return nil, err
		}
	}
	var decided []opcon.Decision
	for _, d := range file.Decisions {
		decided = append(decided,
			opcon.Decision{Job: opcon.JobID(d.Job), Number: d.Number, Action: d.Action, MarkFailedFirst: d.MarkFailedFirst,
				Step: d.Step, By: d.By, Reason: d.Reason})
	}
	var open []string
	for _, j := range jobs {
		if !slices.ContainsFunc(decided,
			func(d opcon.Decision) bool { return d.Job == j.Job.ID && d.Number == j.Job.Number }) {
			open = append(open, fmt.Sprintf("  # %s\n  # %s\n  - {job: %q, number: %d, action: %s, mark_failed_first: %t, by: "+
				"\"\", reason: %q}",
				j.Why, j.Hint, j.Job.ID, j.Job.Number, j.Proposal.Action, j.Proposal.MarkFailedFirst, j.Proposal.Reason))
		}
	}
	if len(open) > 0 {
		return nil, fmt.Errorf("%w: fill in who decides, change what should be otherwise, and write into %s:\ndecisions:\n%s",
			failover.ErrWaiting, path, strings.Join(open, "\n"))
	}
	return decided, nil
}
