package clustertest

import (
	"fmt"
	"slices"

	"github.com/01b61c5c/failover/cluster"
)

// Ending says how cluster.Transfer ends when it meets a fault.
type Ending int

const (
	// EndingCompletes: the group ends on the target, in this run.
	EndingCompletes Ending = iota + 1
	// EndingRefused: nothing moves, and the error names what does not hold.
	EndingRefused
	// EndingStops: something moved or was tried, and the run stops with a named failure.
	EndingStops
)

// Fault is one nasty thing the simulator can do.
type Fault struct {
	Name   string
	Title  string // what happens, in one sentence
	Ending Ending
	Err    error // what the error of a [cluster.Transfer] wraps; nil where it completes
}

// Faults lists what [Sim.Arm] takes.
func Faults() []Fault {
	return []Fault{
		{"slow", "the group stays pending for very long, at the source and at the target", EndingCompletes, nil},
		{"queued", "the cluster queues the move and carries it out later", EndingCompletes, nil},
		{"lost-reply", "the move takes effect and the line drops before the answer", EndingCompletes, nil},
		{"node-dies", "the move takes effect and the node that was asked stops answering", EndingCompletes, nil},
		{"garbage", "the move takes effect and the answer is no answer", EndingCompletes, nil},
		{"lost-request", "the line drops before the move takes effect, and nobody can tell from the line", EndingStops,
			cluster.ErrNotStarted},
		{"fails", "the service does not start on the target and the group stays failed there", EndingStops,
			cluster.ErrFailed},
		{"partial", "all of the group but the service comes up on the target", EndingStops, cluster.ErrPartial},
		{"returns", "the service fails on the target and the cluster takes the group back to its source", EndingStops,
			cluster.ErrReturned},
		{"elsewhere", "the group lands on a third node, or back at its source where there is none", EndingStops,
			cluster.ErrReturned},
		{"busy", "the cluster refuses the move because another one is under way", EndingStops, cluster.ErrBusy},
		{"unreachable", "the first node's address does not answer", EndingRefused, cluster.ErrUnreachable},
		{"locked", "the group is locked from moving", EndingRefused, cluster.ErrGroupLocked},
		{"stranded-disk", "the group's disk lies in Available Storage", EndingRefused, cluster.ErrDisk},
		{"paused", "the target is paused", EndingRefused, cluster.ErrNodePaused},
		{"quarantined", "the target is quarantined", EndingRefused, cluster.ErrTargetUnfit},
		{"not-possible", "the service may not run on the target", EndingRefused, cluster.ErrTargetUnfit},
		{"no-quorum", "the cluster has lost its quorum", EndingRefused, cluster.ErrNoQuorum},
		{"backup", "a backup of the cluster is in progress", EndingRefused, cluster.ErrBackup},
		{"reboot-pending", "the target waits for a reboot", EndingRefused, cluster.ErrRebootPending},
		{"owner-unknown", "no node has the group", EndingRefused, cluster.ErrOwnerUnknown},
	}
}

// provoke puts the fault into the model: at once where it is a condition, otherwise for the next move.
func (m *Model) provoke(name, group string) error {
	if !slices.ContainsFunc(Faults(), func(f Fault) bool { return f.Name == name }) {
		return fmt.Errorf("clustertest: no fault is called %q", name)
	}
	g := m.Group(group)
	if g == nil {
		return fmt.Errorf("clustertest: no group is called %q", group)
	}
	var target *Node
	for _, n := range m.Nodes {
		if n.Name != g.Owner {
			target = n
			break
		}
	}
	members := m.Members(g.Name)
	switch name {
	case "locked":
		g.Locked = true
	case "stranded-disk":
		for _, r := range members {
			if r.Disk {
				r.Group = m.available()
			}
		}
	case "paused":
		target.State = cluster.NodePaused
	case "quarantined":
		target.Quarantined = true
	case "not-possible":
		members[len(members)-1].Possible = []string{g.Owner}
	case "no-quorum":
		m.NoQuorum = true
	case "backup":
		m.Backup = true
	case "reboot-pending":
		target.RebootPending = true
	case "owner-unknown":
		g.Owner = ""
	case "unreachable":
		m.Nodes[0].Unreachable = true
	default:
		m.Armed = append(m.Armed, armedFault{Name: name, Group: g.Name})
	}
	return nil
}

func (m *Model) available() string {
	for _, g := range m.Groups {
		if g.Available {
			return g.Name
		}
	}
	m.Groups = append(m.Groups,
		&Group{Name: "Available Storage", Owner: m.Nodes[0].Name, Core: true, Available: true, Wanted: cluster.StateOnline})
	return "Available Storage"
}

// take removes and returns the fault armed for a group's next move.
func (m *Model) take(group string) string {
	for i, a := range m.Armed {
		if a.Group == group {
			m.Armed = slices.Delete(m.Armed, i, i+1)
			return a.Name
		}
	}
	return ""
}
