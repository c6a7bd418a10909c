package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// swap moves the primary role from one host of a Symitar pair to the other, with OpCon held still around it.
func swap() scenario {
	sc := scenario{name: "symitar", repairs: true, open: func(_ context.Context, dir string, s settings) (*stage, error) {
		return openPair(dir, s, bothOn, symitar.Switchover)
	}}
	for _, f := range symitartest.Faults() {
		if !f.Gone {
			sc.faults = append(sc.faults, fault{f.Name, f.About})
		}
	}
	sc.faults = append(sc.faults, officeFaultList()...)
	return sc
}

// besides are the faults of the swap that the emergency meets too.
var besides = []string{"agent-missing", "csh-login", "drop-after-launch", "exit0-unchanged",
	"foreign-macro-on-secondary", "macro-forks", "macro-hangs", "no-status-after-launch",
	"probe-hangs", "reboot-after-swap", "reboot-before-swap", "runner-killed", "statedir-readonly", "unexpected-prompt"}

// takeOver makes the other host primary when the first one has lost power.
func takeOver() scenario {
	sc := scenario{name: "symitar-failover", repairs: true,
		open: func(_ context.Context, dir string, s settings) (*stage, error) {
			power := homeOff
			if strings.HasPrefix(s.fault, "primary-") {
				power = bothOn // that is the fault: somebody says that it is gone, and it lives
			}
			return openPair(dir, s, power, func(p *symitar.Pair) (failover.Procedure, error) {
				return symitar.Failover(p,
					failover.Statement{By: "drill", Says: symitartest.Home + " lost power and stays off",
						Reason: "the drill switched it off"})
			})
		}}
	for _, f := range symitartest.Faults() {
		if f.Gone || slices.Contains(besides, f.Name) {
			sc.faults = append(sc.faults, fault{f.Name, f.About})
		}
	}
	sc.faults = append(sc.faults, officeFaultList()...)
	return sc
}

func bothOn(*symitartest.Pair) error { return nil }

func homeOff(p *symitartest.Pair) error { return p.PowerOff(symitartest.Home) }

func openPair(dir string, s settings, power func(*symitartest.Pair) error,
	procedure func(*symitar.Pair) (failover.Procedure, error)) (_ *stage, err error) {
	pair, err := symitartest.Open(filepath.Join(dir, "pair"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pair.Close())
		}
	}()
	patience := 10 * time.Second
	if ofOffice(s.fault) {
		patience = 2 * time.Second
	} else if err := pair.Arm(s.fault); err != nil {
		return nil, err
	}
	if s.repair && pair.Armed() != "" {
		if err := pair.Repair(); err != nil {
			return nil, err
		}
	}
	if err := power(pair); err != nil {
		return nil, err
	}
	o, err := openOffice(dir, s, pair)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	config := pair.Config()
	if config.OpCon, err = o.client(patience); err != nil {
		return nil, err
	}
	hosts, err := symitar.NewPair(config)
	if err != nil {
		return nil, err
	}
	p, err := procedure(hosts)
	if err != nil {
		return nil, errors.Join(err, hosts.Close())
	}
	return &stage{acts: only(p),
		judge: func(context.Context) (verdict, error) { return judgePair(pair, o), nil },
		close: func() error { return errors.Join(hosts.Close(), o.close(), pair.Close()) }}, nil
}

func judgePair(pair *symitartest.Pair, o *office) verdict {
	v := verdict{
		once: []effect{{what: "FAILOVER macro", times: pair.MacroRuns(), most: 1},
			{what: "job on the wrong machine", times: len(o.wrongStarts())},
			{what: "job lost", times: len(o.lost())}},
		// That fault has two primaries before anything is done.
		twoActive: pair.EverTwoPrimaries() && pair.Armed() != "two-primaries",
		faulty:    pair.Armed() != "",
	}
	state, asked, address := o.server.MachineState(o.site.Machine)
	held := "what was held is released"
	if !o.free() {
		held = "schedules are still held"
	}
	v.end = fmt.Sprintf("primary: %s; OpCon's machine is %s (asked %s) at %s, %s", strings.Join(pair.Primaries(), " and "),
		state, asked, address, held)
	v.asWanted = slices.Equal(pair.Primaries(), []string{symitartest.Partner}) && pair.AgentRuns(symitartest.Partner) &&
		state == "U" && address == partnerAddress && o.free()
	return v
}
