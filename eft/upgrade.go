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
	t, err := cluster.Transfer(o.Cluster, cluster.TransferOptions{Group: o.Group, Target: o.Passive.Name(), From: o.Active.Name(), Then: cluster.MoveBack,
		Move: o.Move, Hold: o.Hold, StopTime: o.StopTime, Disks: o.Disks})
	return upgrade{o: o, shared: shared, transfer: t}, err
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
	var (
		move   = u.vendor("5", "", "change ownership of the EFT Server service and its resources to the newly upgraded node")
		verify = u.vendor("7.1", "", "double-check that the settings are as expected, including checking the version")
		back   = u.vendor("7.2", "", "change ownership to the passive node, and then repeat step A")
	)
	moves := u.move("move", move, o.Passive.Name)
	last := len(moves) - 1 // the one that verifies
	steps := slices.Concat(
		u.preflight(),
		o.Before,
		u.prepare(),
		u.install("passive", o.Passive, u.vendor("4", "", "run the new installation file on the passive node, selecting Repair when prompted")),
		u.quiesce(),
		[]failover.Step{u.rename("move/service-name", o.Passive)},
		moves[:last],
		[]failover.Step{u.online("move/online", "See the group online on "+o.Passive.Name(), move, o.Passive, failover.NothingToUndo), moves[last]},
		u.verify("moved", added+"verified already now, while the other node still carries the old version", o.Passive),
		u.install("active", o.Active, u.vendor("6", "", "run the new installation file on what is now the passive node with the older version, selecting Repair when prompted")),
		u.verify("upgraded", verify, o.Passive),
		u.move("back", back, nil),
		u.verify("home", back, o.Active),
		u.transferSteps("finish/"),
		u.consoles(u.vendor("8", "", "upgrade to the same version any installations of the Administrative Interface on any other systems")),
		o.After,
	)
	return u.procedure("eft.Upgrade", steps, failover.Window{From: "move/service-name", To: "back/verify"},
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
	var (
		online = u.vendor("", "8", "bring the EFT Server group online")
		verify = u.vendor("", "9.1", "double-check that the settings are as expected, including checking the version")
		back   = u.vendor("", "9.2", "change ownership to the passive node, and then repeat step A")
	)
	steps := slices.Concat(
		u.preflight(),
		o.Before,
		u.prepare(),
		u.quiesce(),
		[]failover.Step{
			u.offline("offline/group", "Take the group offline", u.vendor("", "3", "take the EFT Server group offline")),
			look("offline/active", "The active node still owns the group", o.Group, u.vendor("", "4", "verify which node is currently the active node, and begin with that one"), firm, u.owner),
			u.diskAlone("active", o.Active),
		},
		u.install("active", o.Active, u.vendor("", "5", "run the new installation file on the active node, selecting Repair when prompted")),
		[]failover.Step{
			u.diskAway("active", o.Active),
			u.moveOffline("move/group", u.vendor("", "6", "change ownership of the EFT Server service and its resources to the previously passive node"), o.Active, o.Passive),
			u.diskAlone("passive", o.Passive),
		},
		u.install("passive", o.Passive, u.vendor("", "7", "run the new installation file on what is now the active node, selecting Repair when prompted")),
		[]failover.Step{
			u.rename("online/service-name", o.Passive),
			u.online("online/group", "Bring the group online on "+o.Passive.Name(), online, o.Passive, nil),
		},
		u.verify("upgraded", verify, o.Passive),
		u.move("back", back, nil),
		u.verify("home", back, o.Active),
		u.transferSteps("finish/"),
		u.consoles(u.vendor("", "10", "upgrade to the same version any installations of the Administrative Interface on any other systems")),
		o.After,
	)
	return u.procedure("eft.UpgradeShared", steps, failover.Window{From: "offline/group", To: "back/verify"},
		"active/install: the program on the shared disk is replaced for both nodes")
}

// procedure puts the parts together and gives the steps what they lack.
func (u upgrade) procedure(name string, steps []failover.Step, outage failover.Window, noReturn string) (failover.Procedure, error) {
	var ids []string
	for _, c := range u.o.Consoles {
		ids = append(ids, c.Name)
	}
	order := []string{u.o.Passive.Name(), u.o.Active.Name()}
	if u.shared {
		slices.Reverse(order)
	}
	params := append(u.o.parameters(), failover.Parameter{Name: "order", Value: strings.Join(order, ", ")}, failover.Parameter{Name: "point of no return", Value: noReturn})
	if len(ids) > 0 {
		params = append(params, failover.Parameter{Name: "consoles", Value: strings.Join(ids, ", ")})
	}
	if len(u.o.Disks) > 0 {
		params = append(params, failover.Parameter{Name: "disks", Value: fmt.Sprintf("%q", u.o.Disks)})
	}
	p := failover.Procedure{Name: name, Parameters: params, Steps: steps, Outage: outage, Lock: u.o.Cluster.Lock()}
	return p, p.Validate()
}
