package efttest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
)

// World is a simulated pair. It is safe for concurrent use, also by several processes on one directory.
type World struct{ sim *clustertest.Sim }

// Start makes a pair in memory for a test.
func Start(tb testing.TB, l Layout) *World {
	tb.Helper()
	w, err := Open("", l)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// Open goes on with the pair kept in dir, or starts one there: the group is online on ActiveNode, both nodes have the
// old version. A pair without a dir lives in memory.
func Open(dir string, l Layout) (*World, error) {
	m := clustertest.TwoNodes(ActiveNode, PassiveNode, Group, OldService)
	s := newState(l)
	if err := store(&m, &s); err != nil {
		return nil, err
	}
	sim, err := clustertest.Open(dir, m)
	return &World{sim}, err
}

// Sim returns the simulated cluster.
func (w *World) Sim() *clustertest.Sim { return w.sim }

// Cluster returns the simulated cluster behind its interface.
func (w *World) Cluster() (cluster.Cluster, error) { return w.sim.Cluster() }

// Node returns one of the two installations.
func (w *World) Node(name string) eft.Node { return &node{w, name} }

// Admin returns the settings of whichever node runs the service.
func (w *World) Admin() eft.Admin { return admin{w} }

// State returns copies of the installation and of the cluster. No time passes.
func (w *World) State() (*State, *clustertest.Model, error) {
	m, err := w.sim.Model()
	if err != nil {
		return nil, nil, err
	}
	s, err := load(m)
	return s, m, err
}

// Update changes the model. Nothing is kept when f returns an error.
func (w *World) Update(f func(*clustertest.Model, *State) error) error {
	return w.sim.Update(func(m *clustertest.Model) error {
		s, err := load(m)
		if err != nil {
			return err
		}
		if err := f(m, s); err != nil {
			return err
		}
		s.audit(m)
		for name, n := range s.Nodes {
			m.Node(name).Disabled = map[string]bool{n.Service: n.StartMode == eft.StartDisabled}
		}
		return store(m, s)
	})
}

// TwoActive reports whether both nodes were ever seen with the service running.
func (w *World) TwoActive() (bool, error) {
	s, m, err := w.State()
	if err != nil {
		return false, err
	}
	s.audit(m)
	return s.Counters.BothRunning > 0 || m.Counters.TwoOwners > 0, nil
}

// Options returns options that fit this world, with times for a simulator.
func (w *World) Options() (eft.Options, error) {
	c, err := w.Cluster()
	if err != nil {
		return eft.Options{}, err
	}
	file := installerFile()
	quick := cluster.StateOptions{Timeout: 10 * time.Second, Poll: time.Millisecond, Settle: 200 * time.Millisecond}
	return eft.Options{
		Cluster: c, Group: Group, Active: w.Node(ActiveNode), Passive: w.Node(PassiveNode),
		Installer: eft.Installer{Path: InstallerPath, SHA256: file.SHA256, Size: file.Size, Version: NewVersion,
			Product: "EFT Server", Mode: eft.ModeSilent,
			Args: []string{"/S"}, StopAfter: 4 * time.Second, Settle: 50 * time.Millisecond,
			Source: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(installerBytes)), nil
			}},
		ConfigDir: ConfigDir, BackupDir: BackupDir, Admin: w.Admin(),
		AccountPassword: func(context.Context) (failover.Secret, error) { return failover.NewSecret(Password), nil },
		Consoles:        []eft.Console{{Name: "ADMIN-PC"}},
		Move: cluster.MoveOptions{Timeout: quick.Timeout, Poll: quick.Poll, Settle: quick.Settle,
			Grace: 20 * time.Millisecond},
		State: quick, Hold: time.Millisecond, Verify: 3 * time.Second, Poll: time.Millisecond,
	}, nil
}

// Procedure returns the upgrade that fits the layout, with Options.
func (w *World) Procedure() (failover.Procedure, error) {
	o, err := w.Options()
	if err != nil {
		return failover.Procedure{}, err
	}
	s, _, err := w.State()
	if err != nil {
		return failover.Procedure{}, err
	}
	if s.Layout == LayoutShared {
		return eft.UpgradeShared(o)
	}
	return eft.Upgrade(o)
}

// Confirm is the person at the machines: asked for a reboot they reboot, asked to run the installer they do, asked for
// anything else they say it is done.
func (w *World) Confirm(_ context.Context, q failover.Request) (failover.Statement, error) {
	step := q.Step
	says := "done: " + step.Title
	for role, name := range map[string]string{"active": ActiveNode, "passive": PassiveNode} {
		var err error
		switch step.ID {
		case role + "/reboot":
			says, err = "rebooted "+name, w.Reboot(name)
			if err == nil && strings.Contains(step.Help, "move the group back") {
				err = w.Fetch(name)
			}
		case role + "/install":
			says, err = "ran the installer on "+name+", Repair", w.InstallByHand(name)
		}
		if err != nil {
			return failover.Statement{}, err
		}
	}
	return failover.Statement{By: "operator", Says: says, Reason: "did it"}, nil
}

// InstallByHand is the run of the installer by a person.
func (w *World) InstallByHand(name string) error {
	return w.Update(func(m *clustertest.Model, s *State) error {
		if s.Counters.InstallerRuns == nil {
			s.Counters.InstallerRuns = map[string]int{}
		}
		s.Counters.InstallerRuns[name]++
		(&node{w, name}).finish(m, s, s.Nodes[name], &Run{})
		return nil
	})
}

// Reboot reboots a node. A group that is there goes to the other one, as far up as it is.
func (w *World) Reboot(name string) error {
	return w.Update(func(m *clustertest.Model, s *State) error {
		if g := m.Group(Group); g.Owner == name {
			g.Owner = map[string]string{ActiveNode: PassiveNode, PassiveNode: ActiveNode}[name]
		}
		n := s.Nodes[name]
		n.Reboot, n.Booted = false, time.Now().Add(time.Second)
		m.Node(name).RebootPending = false
		if n.StartMode == eft.StartAutomatic {
			setRunning(m, name, n.Service, true)
		}
		return nil
	})
}

// Fetch is the move of the group by a person, as far up as it is.
func (w *World) Fetch(name string) error {
	return w.Update(func(m *clustertest.Model, _ *State) error {
		m.Group(Group).Owner = name
		return nil
	})
}

// put lays a file on a node.
func (w *World) put(name, path string, f eft.File) error {
	return w.Update(func(_ *clustertest.Model, s *State) error {
		s.Nodes[name].Files[path] = f
		return nil
	})
}

// Break makes the requests with this verb, of the cluster or of a node (see Call), end like that, until the world is
// healed.
func (w *World) Break(verb string, how clustertest.Break) error { return w.sim.Break(verb, how) }

// Heal ends every break.
func (w *World) Heal() error { return w.sim.Heal() }

// Start starts the service on a node behind the cluster's back.
func (w *World) Start(name string) error {
	return w.Update(func(m *clustertest.Model, s *State) error {
		setRunning(m, name, s.Nodes[name].Service, true)
		return nil
	})
}
