package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/internal/edir"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/runbook"
)

// site is the configuration file. Everything in it is explained in site.example.yaml.
type site struct {
	Home    edir.Server  `yaml:"home"`
	Standby edir.Server  `yaml:"standby"`
	Dialect edir.Dialect `yaml:"dialect"`

	DriverSet string   `yaml:"driver_set"`
	Drivers   []string `yaml:"drivers"`
	Holds     []string `yaml:"holds"`
	OnRequest []string `yaml:"on_request"`
	CacheDir  string   `yaml:"cache_dir"`
	Gap       string   `yaml:"gap"`

	Export struct {
		Path           string           `yaml:"path"`
		MaxAge         runbook.Duration `yaml:"max_age"`
		Configurations string           `yaml:"configurations"`
	} `yaml:"export"`

	// Passwords left out means that a person sets them.
	Passwords []password `yaml:"passwords"`

	// Failover is for the failover procedure only.
	Failover struct {
		SourceDead statement `yaml:"source_dead"`
		Since      string    `yaml:"since"`
		Data       string    `yaml:"data"`
	} `yaml:"failover"`

	Guard struct {
		Wait     runbook.Duration `yaml:"wait"`
		Interval runbook.Duration `yaml:"interval"`
	} `yaml:"guard"`

	Limits struct {
		Drivers int              `yaml:"drivers"`
		Start   runbook.Duration `yaml:"start"`
		Stop    runbook.Duration `yaml:"stop"`
		Settle  runbook.Duration `yaml:"settle"`
		Margin  runbook.Duration `yaml:"margin"`
		Poll    runbook.Duration `yaml:"poll"`
	} `yaml:"limits"`

	LockAttribute string `yaml:"lock_attribute"`
}

type statement struct {
	By     string `yaml:"by"`
	Says   string `yaml:"says"`
	Reason string `yaml:"reason"`
}

var (
	gaps    = map[string]idm.GapPolicy{"close": idm.GapClose, "leave": idm.GapLeave}
	sources = map[string]idm.ServerDataFrom{"preparation": idm.ServerDataFromPreparation,
		"export": idm.ServerDataFromExport, "export-whole": idm.ServerDataFromExportWhole}
)

// readSite reads the file and refuses everything that is missing at once, by the names of the file and before any
// server is asked.
func readSite(path string) (site, error) {
	var s site
	if err := runbook.ReadConfig(path, &s); err != nil {
		return s, err
	}
	problems := []error{
		s.Home.Check("home"), s.Standby.Check("standby"), s.Dialect.Check("dialect"),
		edir.Filled("driver_set", s.DriverSet, "the DN of the driver set"),
		edir.OneOf("gap", s.Gap, gaps),
		edir.Filled("export.path", s.Export.Path, "the file the export is kept in"),
	}
	if s.Export.MaxAge <= 0 {
		problems = append(problems,
			failover.Invalid("export.max_age", "is no time above zero", "say how old an export may be, for example 24h"))
	}
	if len(s.Drivers) == 0 {
		problems = append(problems,
			failover.Invalid("drivers", "is empty", "name each driver by its DN; there is no \"all\""))
	}
	for i, dn := range s.Drivers {
		problems = append(problems, edir.Filled(fmt.Sprintf("drivers[%d]", i), dn, "the DN of the driver"))
	}
	for i, p := range s.Passwords {
		problems = append(problems, p.check(fmt.Sprintf("passwords[%d]", i), s.Passwords[:i]))
	}
	return s, errors.Join(problems...)
}

func (s site) kept() idm.KeptExport {
	return idm.KeptExport{Path: s.Export.Path, MaxAge: time.Duration(s.Export.MaxAge)}
}

func (s site) route(target *idm.Server) idm.Route {
	l := s.Limits
	r := idm.Route{DriverSet: s.DriverSet, Drivers: s.Drivers, Target: target, Holds: s.Holds,
		Passwords: passwordSource(s.Passwords), Limit: l.Drivers,
		StartTimeout: time.Duration(l.Start), StopTimeout: time.Duration(l.Stop), Settle: time.Duration(l.Settle),
		Margin: time.Duration(l.Margin), Poll: time.Duration(l.Poll)}
	if s.LockAttribute != "" {
		r.Lock = idm.DirectoryLock{Server: target, Entry: s.DriverSet, Attribute: s.LockAttribute}
	}
	return r
}

func (s site) switchover(source, target *idm.Server) idm.SwitchoverOptions {
	return idm.SwitchoverOptions{Route: s.route(target), Source: source, CacheDir: s.CacheDir, OnRequest: s.OnRequest,
		Gap: gaps[s.Gap]}
}

// failover returns the options without what needs a connection.
func (s site) failover() (idm.FailoverOptions, error) {
	f := s.Failover
	o := idm.FailoverOptions{SourceDN: s.Home.DN,
		SourceDead: failover.Statement{By: f.SourceDead.By, Says: f.SourceDead.Says, Reason: f.SourceDead.Reason},
		Gap:        gaps[s.Gap], Data: sources[f.Data], Export: s.kept()}
	problems := []error{edir.OneOf("failover.data", f.Data, sources), o.SourceDead.Validate("failover.source_dead")}
	if o.Gap == idm.GapClose {
		since, err := time.Parse(time.RFC3339, f.Since)
		if err != nil {
			problems = append(problems, failover.Invalid("failover.since", fmt.Sprintf("%q is no moment", f.Since),
				"write when the source was last known to work, as in 2026-03-01T02:10:00+01:00, or choose gap: leave"))
		}
		o.Since = since
	} else if f.Since != "" {
		problems = append(problems,
			failover.Invalid("failover.since", "is given although the gap is to be left", "leave it out, or choose gap: close"))
	}
	return o, errors.Join(problems...)
}

func (s site) guard(active *idm.Server, dial dialer) idm.GuardOptions {
	return idm.GuardOptions{DriverSet: s.DriverSet, Drivers: s.Drivers, Active: active, OldDN: s.Home.DN, Dial: dial,
		CacheDir: s.CacheDir, Limit: s.Limits.Drivers,
		StopTimeout: time.Duration(s.Limits.Stop), Wait: time.Duration(s.Guard.Wait), Poll: time.Duration(s.Limits.Poll)}
}
