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

// lab is the configuration file. Everything in it is explained in lab.example.yaml.
type lab struct {
	Server edir.Server `yaml:"server"`
	Driver string      `yaml:"driver"`

	UnservedDriver string `yaml:"unserved_driver"`
	LimitedUser    struct {
		DN       string         `yaml:"dn"`
		Password runbook.Secret `yaml:"password"`
	} `yaml:"limited_user"`

	Scratch struct {
		Driver string           `yaml:"driver"`
		Watch  runbook.Duration `yaml:"watch"`
		Start  runbook.Duration `yaml:"start"`
		Poll   runbook.Duration `yaml:"poll"`
	} `yaml:"scratch"`
}

// readLab reads the file and refuses everything that is missing at once. write is the DN given on the command line: the
// scratch driver is changed only when both say the same.
func readLab(path, write string) (lab, error) {
	var l lab
	if err := runbook.ReadConfig(path, &l); err != nil {
		return l, err
	}
	problems := []error{l.Server.Check("server"), edir.Filled("driver", l.Driver, "the DN of a driver to read from")}
	if l.LimitedUser.DN != "" && l.LimitedUser.Password.Func() == nil {
		problems = append(problems,
			failover.Invalid("limited_user.password", "names no source", "name a file, an environment variable or a prompt"))
	}
	if write != "" {
		problems = append(problems, l.checkScratch(write))
	}
	return l, errors.Join(problems...)
}

func (l lab) checkScratch(write string) error {
	s := l.Scratch
	problems := []error{edir.Filled("scratch.driver", s.Driver, "the DN of a driver nobody needs")}
	if s.Driver != "" && !idm.SameDN(s.Driver, write) {
		problems = append(problems,
			failover.Invalid("-write-to-scratch-driver", fmt.Sprintf("is %s, the file says %s", write, s.Driver),
				"name the scratch driver of the file"))
	}
	for name, d := range map[string]runbook.Duration{"watch": s.Watch, "start": s.Start, "poll": s.Poll} {
		if time.Duration(d) <= 0 {
			problems = append(problems,
				failover.Invalid("scratch."+name, "is no time above zero", "say how long, for example 20s"))
		}
	}
	return errors.Join(problems...)
}
