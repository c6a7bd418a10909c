package clustertest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/internal/wsfc"
)

// Refusal is a cluster's own no, with the number a Windows cluster gives it.
type Refusal struct {
	Win32 int
	Kind  error
	Text  string
}

// Error returns the text.
func (r *Refusal) Error() string { return fmt.Sprintf("%s (%d)", r.Text, r.Win32) }

// Unwrap returns the sentinel of package cluster.
func (r *Refusal) Unwrap() error { return r.Kind }

// Losses of the line, told to the transport that serves the model.
var (
	errLostReply   = errors.New("clustertest: the reply is lost")
	errLostRequest = errors.New("clustertest: the request is lost")
	errGarbage     = errors.New("clustertest: the reply is garbage")
)

func noGroup(name string) error {
	return &Refusal{5013, cluster.ErrNotFound, fmt.Sprintf("group %q not found", name)}
}

func noNode(name string) error {
	return &Refusal{5042, cluster.ErrNotFound, fmt.Sprintf("node %q not found", name)}
}

func noResource(name string) error {
	return &Refusal{5007, cluster.ErrNotFound, fmt.Sprintf("resource %q not found", name)}
}

// record writes down what a node was asked.
func (m *Model) record(via, verb string, args ...string) {
	m.Requests = append(m.Requests, Request{Node: via, Verb: verb, Args: args})
}

// move is what a cluster does when it is asked to move a group. The second error is a loss of the line.
func (m *Model) move(via, group, node string) (loss, refusal error) {
	m.record(via, "move", group, node)
	g, n := m.Group(group), m.Node(node)
	if g == nil {
		return nil, noGroup(group)
	}
	if n == nil {
		return nil, noNode(node)
	}
	if g.Owner == n.Name && g.Move == nil {
		return nil, nil
	}
	fault := m.take(g.Name)
	if fault == "busy" {
		return nil, &Refusal{5908, cluster.ErrBusy, "the group is moving"}
	}
	if fault == "lost-request" {
		return errLostRequest, nil
	}
	if err := m.mayMove(g, n); err != nil {
		return nil, err
	}
	m.Counters.Moves = bump(m.Counters.Moves, g.Name)
	m.Counters.MovesByTarget = bump(m.Counters.MovesByTarget, g.Name+" to "+n.Name)
	m.arm(g, n.Name, false)
	end := fault
	if slices.ContainsFunc(m.Resources, func(r *Resource) bool {
		return m.Group(r.Group).Available && r.Disk && m.needs(g.Name, r.Name)
	}) {
		end = "stranded-disk"
	}
	for name, to := range m.driven(g, n.Name) {
		m.begin(m.Group(name), to, "")
	}
	m.begin(g, n.Name, end)
	switch fault {
	case "lost-reply":
		return errLostReply, nil
	case "garbage":
		return errGarbage, nil
	case "node-dies":
		m.Node(via).Unreachable = true
		return errLostReply, nil
	}
	return nil, nil
}

// arm writes what a Pacemaker cluster keeps of a request: inert until it is made effective.
func (m *Model) arm(g *Group, node string, inert bool) {
	if m.Style == StylePacemaker {
		g.Standing = append(slices.DeleteFunc(g.Standing, ours),
			cluster.MoveRequest{ID: "cli-prefer-" + g.Name, Node: node, Ours: true, Inert: inert})
	}
}

func ours(r cluster.MoveRequest) bool { return r.Ours }

// driven returns where the groups go that a move of the group drives off its target: to the node that it leaves.
func (m *Model) driven(g *Group, to string) map[string]string {
	list := map[string]string{}
	for _, other := range m.Groups {
		if other.Owner == to && g.Owner != to && slices.Contains(other.Avoids, g.Name) {
			list[other.Name] = g.Owner
		}
	}
	return list
}

// foresee says what a move would do, as a cluster does that can be asked.
func (m *Model) foresee(group, node string) (cluster.Foresight, error) {
	g, n := m.Group(group), m.Node(node)
	switch {
	case m.Style == StyleWindows:
		return cluster.Foresight{}, cluster.ErrNotSupported
	case g == nil:
		return cluster.Foresight{}, noGroup(group)
	case n == nil:
		return cluster.Foresight{}, noNode(node)
	}
	f := cluster.Foresight{Stays: m.mayMove(g, n) != nil}
	for name, to := range m.driven(g, n.Name) {
		f.Others = append(f.Others, fmt.Sprintf("%s moves from %s to %s", name, n.Name, to))
	}
	slices.Sort(f.Others)
	return f, nil
}

// needs reports whether a member of the group depends on the resource.
func (m *Model) needs(group, resource string) bool {
	for _, r := range m.Members(group) {
		if slices.Contains(r.DependsOn, resource) {
			return true
		}
	}
	return false
}

func (m *Model) mayMove(g *Group, n *Node) error {
	switch {
	case g.Move != nil:
		return &Refusal{5908, cluster.ErrBusy, "the group is moving"}
	case m.NoQuorum:
		return &Refusal{5925, cluster.ErrNoQuorum, "no quorum"}
	case g.Locked:
		return &Refusal{5960, cluster.ErrGroupLocked, "the group is locked"}
	case n.Quarantined:
		return &Refusal{5985, cluster.ErrTargetUnfit, "the node is quarantined"}
	case n.State == cluster.NodePaused:
		return &Refusal{5070, cluster.ErrNodePaused, "the node is paused"}
	case n.State != cluster.NodeUp:
		return &Refusal{5050, cluster.ErrNodeDown, "the node is down"}
	}
	for _, r := range m.Members(g.Name) {
		if r.Possible != nil && !slices.Contains(r.Possible, n.Name) {
			return &Refusal{5016, cluster.ErrTargetUnfit, "the node is not a possible owner"}
		}
	}
	return nil
}

// switchGroup brings all members of a group towards a state.
func (m *Model) switchGroup(via, verb, group string, want cluster.State) error {
	m.record(via, verb, group)
	g := m.Group(group)
	if g == nil {
		return noGroup(group)
	}
	if g.Move != nil {
		return &Refusal{5908, cluster.ErrBusy, "the group is moving"}
	}
	g.Wanted = want
	for _, r := range m.Members(g.Name) {
		m.towards(r, want)
	}
	return nil
}

// towards makes a resource pending on its way to a state.
func (m *Model) towards(r *Resource, want cluster.State) {
	if r.State == want {
		return
	}
	readings := m.StartReadings
	if want == cluster.StateOffline {
		readings = m.StopReadings
	}
	if readings == 0 {
		m.set(r, want)
		return
	}
	m.set(r, cluster.StatePending)
	r.Left, r.Next = readings, want
}

// switchResource brings one resource towards a state: up with what it needs, down with what needs it.
func (m *Model) switchResource(via, verb, resource string, want cluster.State) error {
	m.record(via, verb, resource)
	r := m.Resource(resource)
	if r == nil {
		return noResource(resource)
	}
	if m.Group(r.Group).Move != nil {
		return &Refusal{5908, cluster.ErrBusy, "the group is moving"}
	}
	for _, other := range m.Members(r.Group) {
		if want == cluster.StateOnline && m.reaches(r, other) || want == cluster.StateOffline && m.reaches(other, r) {
			m.towards(other, want)
		}
	}
	m.towards(r, want)
	return nil
}

// reaches reports whether a depends on b, directly or not.
func (m *Model) reaches(a, b *Resource) bool {
	for _, name := range a.DependsOn {
		if dep := m.Resource(name); dep != nil && (dep == b || m.reaches(dep, b)) {
			return true
		}
	}
	return false
}

func (m *Model) pause(via, node string) error {
	m.record(via, "pause", node)
	n := m.Node(node)
	if n == nil {
		return noNode(node)
	}
	if n.State == cluster.NodeDown {
		return &Refusal{5050, cluster.ErrNodeDown, "the node is down"}
	}
	n.State = cluster.NodePaused
	for _, g := range m.Groups {
		if g.Owner != n.Name || g.Core || m.GroupState(g.Name) == cluster.StateOffline {
			continue
		}
		n.Draining = true
		moved := false
		for _, to := range m.Nodes {
			if !moved && m.mayMove(g, to) == nil {
				m.begin(g, to.Name, "")
				moved = true
			}
		}
		if !moved {
			n.Draining, n.DrainFailed = false, true
		}
	}
	return nil
}

func (m *Model) resume(via, node string) error {
	m.record(via, "resume", node)
	n := m.Node(node)
	if n == nil {
		return noNode(node)
	}
	if n.State == cluster.NodePaused {
		n.State = cluster.NodeUp
	}
	n.Draining, n.DrainFailed = false, false
	return nil
}

func (m *Model) setFailback(via, group string, f cluster.Failback) error {
	m.record(via, "set-failback", group, f.Policy.String(), f.Raw)
	g := m.Group(group)
	if g == nil {
		return noGroup(group)
	}
	if f.Raw == "" {
		f.Raw = map[cluster.FailbackPolicy]string{cluster.FailbackPrevented: "0", cluster.FailbackAllowed: "1"}[f.Policy]
	}
	g.Failback = f
	return nil
}

func (m *Model) bindService(via, resource, service string) error {
	m.record(via, "set-service", resource, service)
	r := m.Resource(resource)
	if r == nil {
		return noResource(resource)
	}
	if r.State == cluster.StateOnline {
		return &Refusal{5019, cluster.ErrNotOnline, "the resource is online"}
	}
	r.Service = service
	return nil
}

func (m *Model) swapMark(via, key, old, text string) error {
	m.record(via, "swap-mark", key)
	if m.Marks[key] != old {
		return &Refusal{0, cluster.ErrMarkChanged, "another mark is stored"}
	}
	if m.Marks[key] = text; text == "" {
		delete(m.Marks, key)
	}
	return nil
}

func (m *Model) clearMove(via, group string) error {
	m.record(via, "clear-move", group)
	g := m.Group(group)
	if g == nil {
		return noGroup(group)
	}
	g.Standing = slices.DeleteFunc(g.Standing, ours)
	delete(m.Marks, wsfc.MoveKey(g.Name))
	return nil
}
