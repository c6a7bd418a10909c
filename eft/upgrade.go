package eft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

func newUpgrade(o Options, shared bool) (upgrade, error) {
	o, err := o.validate()
	if err != nil {
		return upgrade{}, err
	}
	u := upgrade{o: o, shared: shared}
	u.transfer, err = cluster.TransferStages(o.Cluster,
		cluster.TransferOptions{Group: o.Group, Target: o.Passive.Name(), From: o.Active.Name(),
			Then: cluster.AfterMoveBack, Move: o.Move, Hold: o.Hold, StopTime: o.StopTime, Disks: o.Disks,
			DownFrom: u.downFrom()})
	return u, err
}

// downFrom is the step that takes the group offline, where that has to be.
func (u upgrade) downFrom() string {
	if u.shared {
		return "offline/group"
	}
	return "rename/resource"
}

// Upgrade returns the procedure for a program that lies on each node's own disk, with only the configuration on the
// shared disk: the vendor's normal case. The package documentation lists its steps. It refuses options that could not
// work, and touches nothing.
//
// Until the installer runs on the first node everything can be undone. From then until it runs on the second one,
// [Rollback] goes back to the node that still carries the old version. After that nothing does.
func Upgrade(o Options) (failover.Procedure, error) {
	u, err := newUpgrade(o, false)
	if err != nil {
		return failover.Procedure{}, err
	}
	return u.local()
}

// local puts the stages together for a program on each node's own disk.
func (u upgrade) local() (failover.Procedure, error) {
	var (
		o      = u.o
		move   = u.vendor("5", "", "change ownership of the EFT Server service and its resources to the newly upgraded node")
		verify = u.vendor("7.1", "", "double-check that the settings are as expected, including checking the version")
		back   = u.vendor("7.2", "", "change ownership to the passive node, and then repeat step A")
	)
	stages := u.begin()
	stages = append(stages,
		failover.Stage{Name: "passive",
			Steps: u.install("passive", o.Passive,
				u.vendor("4", "", "run the new installation file on the passive node, selecting Repair when prompted"),
				"move/move")},
		u.quiesce(),
		u.rename(o.Passive),
		asked(u.transfer.Move, move),
		failover.Stage{Name: "online", Outage: true,
			Steps: []failover.Step{u.online("See the group online on "+o.Passive.Name(), move, o.Passive,
				failover.NothingToUndo)}},
		u.transfer.Arrived,
		u.verify("moved", added+"verified already now, while the other node still carries the old version", o.Passive,
			u.until("active")),
		failover.Stage{Name: "active",
			Steps: u.install("active", o.Active,
				u.vendor("6", "", "run the new installation file on what is now the passive node with the older version, "+
					"selecting Repair when prompted"), "back/move")},
		u.verify("upgraded", verify, o.Passive, "back/move"),
		asked(u.transfer.Back, back),
		u.transfer.Returned,
		u.verify("home", back, o.Active, ""),
		u.transfer.Finish,
		u.consoles(u.vendor("8", "", "upgrade to the same version any installations of the Administrative Interface on any "+
			"other systems")),
	)
	return u.procedure("eft.Upgrade", stages,
		"active/install: from then on no node carries the old version; before it, Rollback goes back")
}

// UpgradeShared returns the procedure for a program that lies on the shared disk itself, which the vendor does not
// recommend. The service is down from the first installation to the end of the second. The package documentation
// lists its steps.
//
// The first run of the installer replaces the program for both nodes: after it there is no way back but a restore of
// program and configuration from a copy made outside this procedure.
func UpgradeShared(o Options) (failover.Procedure, error) {
	u, err := newUpgrade(o, true)
	if err != nil {
		return failover.Procedure{}, err
	}
	return u.onSharedDisk()
}

// onSharedDisk puts the stages together for a program on the shared disk.
func (u upgrade) onSharedDisk() (failover.Procedure, error) {
	var (
		o      = u.o
		online = u.vendor("", "8", "bring the EFT Server group online")
		verify = u.vendor("", "9.1", "double-check that the settings are as expected, including checking the version")
		back   = u.vendor("", "9.2", "change ownership to the passive node, and then repeat step A")
	)
	first := []failover.Step{u.diskAlone(o.Active)}
	first = append(first, u.install("active", o.Active,
		u.vendor("", "5", "run the new installation file on the active node, selecting Repair when prompted"),
		"move/move")...)
	second := []failover.Step{u.diskAlone(o.Passive)}
	second = append(second, u.install("passive", o.Passive,
		u.vendor("", "7", "run the new installation file on what is now the active node, selecting Repair when prompted"),
		"back/move")...)
	stages := u.begin()
	stages = append(stages,
		u.quiesce(),
		failover.Stage{Name: "offline", Outage: true, Steps: []failover.Step{
			u.offline("Take the group offline", u.vendor("", "3", "take the EFT Server group offline")),
			look("active", "The active node still owns the group", o.Group,
				u.vendor("", "4", "verify which node is currently the active node, and begin with that one"), firm,
				"move/move", u.owner),
		}},
		failover.Stage{Name: "active", Outage: true, Steps: append(first, u.diskAway(o.Active), u.down())},
		asked(u.transfer.Move, u.vendor("", "6",
			"change ownership of the EFT Server service and its resources to the previously passive node")),
		failover.Stage{Name: "passive", Outage: true, Steps: second},
		u.rename(o.Passive),
		failover.Stage{Name: "online", Outage: true,
			Steps: []failover.Step{u.online("Bring the group online on "+o.Passive.Name(), online, o.Passive, nil)}},
		u.transfer.Arrived,
		u.verify("upgraded", verify, o.Passive, "back/move"),
		asked(u.transfer.Back, back),
		u.transfer.Returned,
		u.verify("home", back, o.Active, ""),
		u.transfer.Finish,
		u.consoles(u.vendor("", "10", "upgrade to the same version any installations of the Administrative Interface on any "+
			"other systems")),
	)
	return u.procedure("eft.UpgradeShared", stages,
		"active/install: the program on the shared disk is replaced for both nodes")
}

// begin returns the stages in front of the first installation.
func (u upgrade) begin() []failover.Stage {
	stages := append([]failover.Stage{u.preflight()}, u.o.Before...)
	return append(stages, u.prepare(), u.staging(), u.backup())
}

// procedure puts the parts together and gives the steps what they lack.
func (u upgrade) procedure(name string, stages []failover.Stage, noReturn string) (failover.Procedure, error) {
	var ids []string
	for _, c := range u.o.Consoles {
		ids = append(ids, c.Name)
	}
	order := []string{u.o.Passive.Name(), u.o.Active.Name()}
	if u.shared {
		slices.Reverse(order)
	}
	params := append(u.o.parameters(), failover.Parameter{Name: "order", Value: strings.Join(order, ", ")},
		failover.Parameter{Name: "point of no return", Value: noReturn})
	if len(ids) > 0 {
		params = append(params, failover.Parameter{Name: "consoles", Value: strings.Join(ids, ", ")})
	}
	if len(u.o.Disks) > 0 {
		params = append(params, failover.Parameter{Name: "disks", Value: fmt.Sprintf("%q", u.o.Disks)})
	}
	p := failover.Procedure{Name: name, Parameters: params, Stages: append(stages, u.o.After...), Lock: u.o.Cluster.Lock()}
	return p, p.Validate()
}
