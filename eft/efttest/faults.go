package efttest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
)

// Fault is one nasty thing the simulator can do, and how an upgrade ends when it meets it.
type Fault struct {
	Name   string
	Title  string
	Ending clustertest.Ending
	Err    error // what the error wraps; nil where it completes, or stops in a way that has no name of its own
}

// movePrefix marks the faults of clustertest.
const movePrefix = "move-"

// Faults lists what [World.Arm] takes: those of the installation, and those of the cluster with "move-" before them.
// The latter happen at the first move, which with LayoutShared is one of the offline group: nothing is started then
// that could fail.
func Faults(l Layout) []Fault {
	const completes, refused, stops = clustertest.EndingCompletes, clustertest.EndingRefused, clustertest.EndingStops
	list := []Fault{
		{"restarts-service", "the installer starts the service if it can be started", completes, nil},
		{"starts-anyway", "the installer sets the service to automatic and starts it", completes, nil},
		{"resets-service", "the installer resets account and start mode of the service", completes, nil},
		{"renames-service", "the new version registers the service under another name", completes, nil},
		{"exit-3010", "the installer asks for a reboot", completes, nil},
		{"lost-reply", "the installer starts and the line drops before the answer", completes, nil},
		{"lost-request", "the line drops before the installer starts, and nobody can tell from the line", stops, nil},
		{"hangs", "the installer never ends", stops, failover.ErrNotObserved},
		{"installer-fails", "the installer ends with 1603", stops, eft.ErrInstallerFailed},
		{"installer-dies", "the installer is gone without an exit code", stops, eft.ErrInstallerFailed},
		{"half-installed", "the installer reports success and the uninstall entry is still the old one", stops,
			eft.ErrInstallerFailed},
		{"clean-config", "an empty configuration appears on the disk of the wrong node", stops, eft.ErrCleanConfig},
		{"setting-lost", "a setting is lost and another one changed when the configuration is converted", stops,
			eft.ErrSettings},
		{"licence-lost", "the licence falls back to the evaluation period", stops, eft.ErrLicence},
		{"hash-differs", "another file lies where the installer goes on one node", refused, eft.ErrInstallerDiffers},
		{"older-installer", "one node has a newer version than the installer", refused, eft.ErrWrongVersion},
		{"wrong-product", "another product is installed", refused, eft.ErrWrongProduct},
		{"no-space", "the disk of the active node is full", refused, eft.ErrNoSpace},
		{"ha", "EFT runs in HA (active-active) mode", refused, eft.ErrActiveActive},
		{"two-groups", "a second group runs the service", refused, cluster.ErrAmbiguous},
		{"both-running", "the service runs on the passive node too", refused, eft.ErrServiceRunning},
		{"busy", "an administration interface is open on a node", refused, eft.ErrNodeBusy},
		{"third-node", "a third node could take the group", refused, eft.ErrOtherNodes},
	}
	for _, f := range clustertest.Faults() {
		ending, err := f.Ending, f.Err
		switch f.Name {
		case "node-dies":
			ending = stops // the node that stopped answering cannot be seen to have stopped the service
		case "fails", "partial", "returns", "elsewhere":
			if l == LayoutShared {
				ending, err = completes, nil
			}
		}
		list = append(list, Fault{movePrefix + f.Name, f.Title, ending, err})
	}
	return list
}

// Arm makes the fault called name happen: at once where it is a condition, otherwise at its moment. Arming it again,
// as a second process on the same directory does, changes nothing.
func (w *World) Arm(name string) error {
	if !slices.ContainsFunc(Faults(LayoutLocal), func(f Fault) bool { return f.Name == name }) {
		return fmt.Errorf("efttest: no fault is called %q", name)
	}
	again := false
	err := w.Update(func(_ *clustertest.Model, s *State) error {
		if again = slices.Contains(s.Ever, name); !again {
			s.Ever = append(s.Ever, name)
		}
		return nil
	})
	if err != nil || again {
		return err
	}
	if move, ok := strings.CutPrefix(name, movePrefix); ok {
		return w.sim.Arm(move, Group)
	}
	return w.Update(func(m *clustertest.Model, s *State) error {
		active, passive := s.Nodes[ActiveNode], s.Nodes[PassiveNode]
		switch name {
		case "hash-differs":
			f := installerFile()
			f.SHA256 = strings.Repeat("0", 64)
			passive.Files[InstallerPath] = f
		case "older-installer":
			newer := NewVersion
			newer[3]++
			passive.Products[0].Version = newer
		case "wrong-product":
			passive.Products[0].Name = "Mail Express"
		case "no-space":
			active.Free = 10
		case "ha":
			s.Config.HA = true
		case "two-groups":
			m.Groups = append(m.Groups, &clustertest.Group{Name: "Old EFT", Owner: ActiveNode, Wanted: cluster.StateOffline})
			m.Resources = append(m.Resources,
				&clustertest.Resource{Name: "Old EFT Service", Group: "Old EFT", Type: "Generic Service",
					State: cluster.StateOffline, Service: OldService})
		case "both-running":
			setRunning(m, PassiveNode, OldService, true)
		case "busy":
			passive.Busy = []string{"cftpsai.exe"}
		case "third-node":
			m.Nodes = append(m.Nodes, &clustertest.Node{Name: "EFT03", State: cluster.NodeUp, Build: m.Nodes[0].Build})
			for _, r := range m.Members(Group) {
				r.Possible = append(r.Possible, "EFT03")
			}
		default:
			s.Armed = append(s.Armed, name)
		}
		return nil
	})
}
