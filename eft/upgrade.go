package eft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// upgrade holds what the steps of one procedure share: values that never change.
type upgrade struct {
	Options
	shared      bool   // the program lies on the shared disk
	first, last string // roles in the vendor's order; until the last one is upgraded Rollback is possible
	downFrom    string // the step that takes the group offline, where that has to be

	transfer cluster.Stages // of cluster.Transfer there and back
}

func newUpgrade(o Options, shared bool) (upgrade, error) {
	o, err := o.validate()
	if err != nil {
		return upgrade{}, err
	}
	u := upgrade{Options: o, first: "passive", last: "active", downFrom: "rename/resource"}
	if shared {
		u.shared, u.first, u.last, u.downFrom = true, u.last, u.first, "offline/group"
	}
	u.transfer, err = cluster.TransferStages(o.Cluster, cluster.TransferOptions{Group: o.Group,
		Target: o.Passive.Name(), From: o.Active.Name(), Then: cluster.AfterMoveBack, Move: o.Move, Hold: o.Hold,
		StopTime: o.StopTime, Disks: o.Disks, DownFrom: u.downFrom})
	return u, err
}

func (u upgrade) nodes() []Node { return []Node{u.Passive, u.Active} }

// node returns the node that had a role at the start, "active" or "passive".
func (u upgrade) node(role string) Node {
	if role == "active" {
		return u.Active
	}
	return u.Passive
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
	move := u.vendor("5", "", "change ownership of the EFT Server service and its resources to the newly upgraded node")
	verify := u.vendor("7.1", "", asExpected+", including checking the version")
	back := u.vendor("7.2", "", "change ownership to the passive node, and then repeat step A")
	return u.procedure("eft.Upgrade",
		"active/install: from then on no node carries the old version; before it, Rollback goes back",
		failover.Stage{Name: "passive", Steps: u.install("passive",
			u.vendor("4", "", "run the new installation file on the passive node, selecting Repair when prompted"),
			"move/move")},
		u.quiesce(),
		u.rename(u.Passive),
		asked(u.transfer.Move, move),
		outage("online", u.online("See the group online on "+u.Passive.Name(), move, u.Passive, failover.NothingToUndo)),
		u.transfer.Arrived,
		u.verify("moved", added+"verified already now, while the other node still carries the old version", u.Passive,
			u.until("active")),
		failover.Stage{Name: "active", Steps: u.install("active",
			u.vendor("6", "", "run the new installation file on what is now the passive node with the older version, "+
				"selecting Repair when prompted"), "back/move")},
		u.verify("upgraded", verify, u.Passive, "back/move"),
		asked(u.transfer.Back, back),
		u.transfer.Returned,
		u.verify("home", back, u.Active, ""),
		u.transfer.Finish,
		u.consoles())
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
	online := u.vendor("", "8", "bring the EFT Server group online")
	verify := u.vendor("", "9.1", asExpected+", including checking the version")
	back := u.vendor("", "9.2", "change ownership to the passive node, and then repeat step A")
	first := append([]failover.Step{u.diskAlone(u.Active)}, u.install("active",
		u.vendor("", "5", "run the new installation file on the active node, selecting Repair when prompted"),
		"move/move")...)
	second := append([]failover.Step{u.diskAlone(u.Passive)}, u.install("passive",
		u.vendor("", "7", "run the new installation file on what is now the active node, selecting Repair when prompted"),
		"back/move")...)
	return u.procedure("eft.UpgradeShared",
		"active/install: the program on the shared disk is replaced for both nodes",
		u.quiesce(),
		outage("offline", u.offline("Take the group offline", u.vendor("", "3", "take the EFT Server group offline")),
			look("active", "The active node still owns the group", u.Group,
				u.vendor("", "4", "verify which node is currently the active node, and begin with that one"), firm,
				"move/move", u.owner)),
		outage("active", append(first, u.diskAway(u.Active), u.down())...),
		asked(u.transfer.Move, u.vendor("", "6",
			"change ownership of the EFT Server service and its resources to the previously passive node")),
		outage("passive", second...),
		u.rename(u.Passive),
		outage("online", u.online("Bring the group online on "+u.Passive.Name(), online, u.Passive, nil)),
		u.transfer.Arrived,
		u.verify("upgraded", verify, u.Passive, "back/move"),
		asked(u.transfer.Back, back),
		u.transfer.Returned,
		u.verify("home", back, u.Active, ""),
		u.transfer.Finish,
		u.consoles())
}

// outage is a stage during which the service is down.
func outage(name string, steps ...failover.Step) failover.Stage {
	return failover.Stage{Name: name, Outage: true, Steps: steps}
}

// procedure puts what every upgrade begins with in front of the stages.
func (u upgrade) procedure(name, noReturn string, stages ...failover.Stage) (failover.Procedure, error) {
	mode := "run by a person"
	if u.Installer.Mode == ModeSilent {
		mode = "silent: " + strings.Join(u.Installer.Args, " ")
	}
	params := []failover.Parameter{
		{Name: "group", Value: u.Group}, {Name: "active", Value: u.Active.Name()}, {Name: "passive", Value: u.Passive.Name()},
		{Name: "version", Value: u.Installer.Version.String()}, {Name: "installer", Value: u.Installer.Path},
		{Name: "sha256", Value: u.Installer.SHA256}, {Name: "installer mode", Value: mode},
		{Name: "configuration", Value: u.ConfigDir}, {Name: "backup", Value: u.BackupDir},
		{Name: "order", Value: u.node(u.first).Name() + ", " + u.node(u.last).Name()},
		{Name: "point of no return", Value: noReturn}}
	if len(u.Consoles) > 0 {
		var names []string
		for _, c := range u.Consoles {
			names = append(names, c.Name)
		}
		params = append(params, failover.Parameter{Name: "consoles", Value: strings.Join(names, ", ")})
	}
	if len(u.Disks) > 0 {
		params = append(params, failover.Parameter{Name: "disks", Value: fmt.Sprintf("%q", u.Disks)})
	}
	begin := append([]failover.Stage{u.preflight()}, u.Before...)
	p := failover.Procedure{Name: name, Parameters: params, Lock: u.Cluster.Lock(),
		Stages: slices.Concat(begin, []failover.Stage{u.prepare(), u.staging(), u.backup()}, stages, u.After)}
	return p, p.Validate()
}
