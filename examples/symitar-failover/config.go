package main

import (
	"fmt"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/runbook"
	"github.com/01b61c5c/failover/symitar"
)

// site is the configuration file. Everything in it is explained in site.example.yaml.
type site struct {
	Home    host `yaml:"home"`
	Partner host `yaml:"partner"`

	Macro struct {
		Path           string           `yaml:"path"`
		User           string           `yaml:"user"`
		On             symitar.On       `yaml:"on"`
		SwitchoverArgs []string         `yaml:"switchover_args"`
		FailoverArgs   []string         `yaml:"failover_args"`
		FailbackArgs   []string         `yaml:"failback_args"`
		Mode           symitar.Mode     `yaml:"mode"`
		Prompts        []prompt         `yaml:"prompts"`
		Expect         string           `yaml:"expect"`
		Timeout        runbook.Duration `yaml:"timeout"`
		Settle         runbook.Duration `yaml:"settle"`
		ExitOK         []int            `yaml:"exit_ok"`
		Success        string           `yaml:"success"`
		Failure        string           `yaml:"failure"`
	} `yaml:"macro"`

	Role struct {
		Quorum int `yaml:"quorum"`
		Probes []struct {
			Name      string `yaml:"name"`
			Command   string `yaml:"command"`
			Primary   string `yaml:"primary"`
			Secondary string `yaml:"secondary"`
		} `yaml:"probes"`
	} `yaml:"role"`

	Replication struct {
		Command string           `yaml:"command"`
		On      symitar.On       `yaml:"on"`
		Lag     string           `yaml:"lag"`
		Unit    runbook.Duration `yaml:"unit"`
		MaxLag  runbook.Duration `yaml:"max_lag"`
		Waiver  statement        `yaml:"waiver"`
	} `yaml:"replication"`

	FailoverD string `yaml:"failoverd"`

	Licence struct {
		Path     string   `yaml:"path"`
		User     string   `yaml:"user"`
		Patterns []string `yaml:"patterns"`
	} `yaml:"licence"`

	Agent struct {
		Control string           `yaml:"control"`
		Must    []string         `yaml:"must"`
		Timeout runbook.Duration `yaml:"timeout"`
	} `yaml:"agent"`

	Verify []struct {
		Name    string           `yaml:"name"`
		Title   string           `yaml:"title"`
		On      symitar.On       `yaml:"on"`
		Command string           `yaml:"command"`
		Want    string           `yaml:"want"`
		Reject  string           `yaml:"reject"`
		Within  runbook.Duration `yaml:"within"`
	} `yaml:"verify"`

	Limits struct {
		DiskPercent  int              `yaml:"disk_percent"`
		DiskIgnore   []string         `yaml:"disk_ignore"`
		ClockSkew    runbook.Duration `yaml:"clock_skew"`
		DatesAgeDays int              `yaml:"dates_age_days"`
		ErrorsSince  runbook.Duration `yaml:"errors_since"`
		Quiet        runbook.Duration `yaml:"quiet"`
		Look         runbook.Duration `yaml:"look"`
	} `yaml:"limits"`

	SymRoot     string `yaml:"sym_root"`
	RootInfoDir string `yaml:"root_info_dir"`
	RSJ         string `yaml:"rsj"`
	StateDir    string `yaml:"state_dir"`
	Shell       string `yaml:"shell"`
	CommandPath string `yaml:"command_path"`

	Poll runbook.Duration `yaml:"poll"`

	OpCon *opconSite `yaml:"opcon"`

	// Gone is the statement that the primary is gone, for the failover procedure only.
	Gone statement `yaml:"primary_gone"`
}

type host struct {
	Name      string      `yaml:"name"`
	MachineID string      `yaml:"machine_id"`
	Hostname  string      `yaml:"hostname"`
	SSH       runbook.SSH `yaml:"ssh"`
}

type prompt struct {
	Question string         `yaml:"question"`
	Answer   runbook.Secret `yaml:"answer"`
}

type statement struct {
	By     string `yaml:"by"`
	Says   string `yaml:"says"`
	Reason string `yaml:"reason"`
}

func (s statement) value() failover.Statement {
	return failover.Statement{By: s.By, Says: s.Says, Reason: s.Reason}
}

func (h host) config(peer host) symitar.HostConfig {
	return symitar.HostConfig{Name: h.Name, MachineID: h.MachineID, Hostname: h.Hostname, SSH: h.SSH.Target(peer.SSH)}
}

// config returns the settings as the library takes them; the library refuses what is missing or wrong.
func (s site) config() (symitar.Config, error) {
	m, r := s.Macro, s.Replication
	c := symitar.Config{
		Home: s.Home.config(s.Partner), Partner: s.Partner.config(s.Home),
		Macro: symitar.Macro{Path: m.Path, User: m.User, On: m.On, SwitchoverArgs: m.SwitchoverArgs,
			FailoverArgs: m.FailoverArgs,
			FailbackArgs: m.FailbackArgs, Mode: m.Mode, Expect: m.Expect, Timeout: time.Duration(m.Timeout),
			Settle: time.Duration(m.Settle),
			ExitOK: m.ExitOK, Success: m.Success, Failure: m.Failure},
		Role: symitar.Role{Quorum: s.Role.Quorum},
		Replication: symitar.Replication{Command: r.Command, On: r.On, Lag: r.Lag, Unit: time.Duration(r.Unit),
			MaxLag: time.Duration(r.MaxLag),
			Waiver: r.Waiver.value()},
		FailoverD: s.FailoverD,
		Licence:   symitar.Licence{Path: s.Licence.Path, User: s.Licence.User, Patterns: s.Licence.Patterns},
		Agent:     symitar.Agent{Control: s.Agent.Control, Must: s.Agent.Must, Timeout: time.Duration(s.Agent.Timeout)},
		Limits: symitar.Limits{DiskPercent: s.Limits.DiskPercent, DiskIgnore: s.Limits.DiskIgnore,
			ClockSkew:    time.Duration(s.Limits.ClockSkew),
			DatesAgeDays: s.Limits.DatesAgeDays, ErrorsSince: time.Duration(s.Limits.ErrorsSince),
			Quiet: time.Duration(s.Limits.Quiet), Look: time.Duration(s.Limits.Look)},
		SymRoot: s.SymRoot, RootInfoDir: s.RootInfoDir, RSJ: s.RSJ, StateDir: s.StateDir, Shell: s.Shell, Path: s.CommandPath,
	}
	for i, p := range m.Prompts {
		fetch := p.Answer.Func()
		if fetch == nil {
			return c, failover.Invalid(fmt.Sprintf("macro.prompts[%d].answer", i), "names no source",
				"name a file, an environment variable or a prompt")
		}
		c.Macro.Prompts = append(c.Macro.Prompts, symitar.Prompt{Question: p.Question, Fetch: fetch})
	}
	for _, p := range s.Role.Probes {
		c.Role.Probes = append(c.Role.Probes,
			symitar.RoleProbe{Name: p.Name, Command: p.Command, Primary: p.Primary, Secondary: p.Secondary})
	}
	for _, v := range s.Verify {
		c.Verify = append(c.Verify,
			symitar.Verification{Name: v.Name, Title: v.Title, On: v.On, Command: v.Command, Want: v.Want, Reject: v.Reject,
				Within: time.Duration(v.Within)})
	}
	if s.OpCon != nil {
		o, err := s.OpCon.config()
		if err != nil {
			return c, err
		}
		c.OpCon = o
	}
	return c, nil
}
