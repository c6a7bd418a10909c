package clustertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/internal/wsfc"
)

// Style says which make of cluster the model behaves like.
type Style int

const (
	// StyleWindows leaves nothing behind after a move.
	StyleWindows Style = iota
	// StylePacemaker leaves a standing request after a move, which holds the group until it is cleared.
	StylePacemaker
)

// Model is the whole state of a simulated cluster. It is plain data and survives a JSON round trip.
type Model struct {
	Cluster   string
	Style     Style
	Nodes     []*Node
	Groups    []*Group
	Resources []*Resource
	NoQuorum  bool
	Backup    bool
	Marks     map[string]string

	// Shell is what the machines' sshd hands command lines to, as served by ServeWindows.
	Shell Shell

	// StopReadings and StartReadings say for how many readings a group is pending at the source and at the target.
	StopReadings, StartReadings int

	Armed    []armedFault
	Broken   []brokenRequest
	Delayed  []delayedRequest
	Delay    int  // how many readings a delayed request takes; 0 means 3
	Cut      bool // no node answers
	Counters Counters
	Requests []Request
	Events   []Event
	// Extra belongs to simulators built on this one, for example efttest. It is stored together with the rest.
	Extra map[string]json.RawMessage
}

// Node is a simulated node.
type Node struct {
	Name          string
	State         cluster.NodeState
	Draining      bool
	DrainFailed   bool
	Quarantined   bool
	Build         string
	RebootPending bool
	RebootUntold  bool            // its system has nothing that says whether a reboot is pending
	NoPowerShell  bool            // its shell does not find powershell.exe
	Unreachable   bool            // its address does not answer; the cluster still counts it as it says in State
	Services      map[string]bool // operating-system services that are running on it
	Disabled      map[string]bool // operating-system services that it refuses to start
}

// Group is a simulated group.
type Group struct {
	Name      string
	Owner     string
	Core      bool
	Available bool // Available Storage
	Locked    bool
	Queued    int // readings until a queued move goes on
	Failback  cluster.Failback
	Standing  []cluster.MoveRequest
	Avoids    []string      // groups that it is never on one node with: it leaves a node to which one of them moves
	Move      *Move         `json:",omitempty"`
	Wanted    cluster.State // StateOnline or StateOffline: what the cluster restores after a move
}

// Move is a move under way.
type Move struct {
	From, To string
	Phase    string // "stop", "start", "back-stop", "back-start"
	Left     int    // readings left in this phase
	End      string // how it ends: "", or a fault's name
}

// Resource is a simulated resource.
type Resource struct {
	Name           string
	Group          string
	Type           string
	State          cluster.State
	Left           int // readings left while pending
	Next           cluster.State
	Possible       []string
	DependsOn      []string
	Service        string
	Disk           bool
	Maintenance    bool
	PendingTimeout time.Duration
}

// Counters count what must not happen twice or not at all.
type Counters struct {
	Moves         map[string]int // accepted move requests by group
	MovesByTarget map[string]int // accepted move requests by "group to node"
	TwoOwners     int            // how often a service was seen running on two nodes
	Restarts      map[string]int // how often each service was started
}

// Request is one thing the simulator was asked.
type Request struct {
	Node string // the node that was asked
	Verb string
	Args []string
}

// Event is a resource that came up or went down.
type Event struct {
	Seq      int
	Resource string
	Node     string
	Online   bool
}

// armedFault is a fault waiting for its moment.
type armedFault struct {
	Name  string
	Group string
	Node  string
}

// TwoNodes returns the model of a healthy two-node cluster with one group: a disk, an address, a name and a service.
// The group is online on the first node.
func TwoNodes(first, second, group, service string) Model {
	nodes := []string{first, second}
	var list []*Node
	for _, n := range nodes {
		list = append(list, &Node{Name: n, State: cluster.NodeUp, Build: "10.0.20348", Services: map[string]bool{}})
	}
	list[0].Services[service] = true
	res := func(name, kind string, disk bool, svc string, deps ...string) *Resource {
		return &Resource{Name: name, Group: group, Type: kind, State: cluster.StateOnline, Possible: slices.Clone(nodes),
			DependsOn: deps, Service: svc,
			Disk: disk, PendingTimeout: 3 * time.Minute}
	}
	return Model{Cluster: "CLU1", Nodes: list, Marks: map[string]string{}, StopReadings: 2, StartReadings: 2,
		Groups: []*Group{
			{Name: "Cluster Group", Owner: first, Core: true, Wanted: cluster.StateOnline,
				Failback: cluster.Failback{Policy: cluster.FailbackPrevented, Raw: "0"}},
			{Name: "Available Storage", Owner: first, Core: true, Available: true, Wanted: cluster.StateOnline,
				Failback: cluster.Failback{Policy: cluster.FailbackPrevented, Raw: "0"}},
			{Name: group, Owner: first, Wanted: cluster.StateOnline,
				Failback: cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "1"}},
		},
		Resources: []*Resource{
			{Name: "Cluster Name", Group: "Cluster Group", Type: "Network Name", State: cluster.StateOnline,
				Possible: slices.Clone(nodes), PendingTimeout: 3 * time.Minute},
			{Name: "File Share Witness", Group: "Cluster Group", Type: "File Share Witness", State: cluster.StateOnline,
				Possible: slices.Clone(nodes), PendingTimeout: 3 * time.Minute},
			res(group+" Disk", "Physical Disk", true, ""),
			res(group+" IP", "IP Address", false, ""),
			res(group+" Name", "Network Name", false, "", group+" IP"),
			res(group+" Service", "Generic Service", false, service, group+" Disk", group+" Name"),
		}}
}

// Node returns the node called name, nil when there is none. Names compare as the modelled cluster compares them.
func (m *Model) Node(name string) *Node {
	for _, n := range m.Nodes {
		if m.same(n.Name, name) {
			return n
		}
	}
	return nil
}

// Group returns the group called name, or nil.
func (m *Model) Group(name string) *Group {
	for _, g := range m.Groups {
		if m.same(g.Name, name) {
			return g
		}
	}
	return nil
}

// Resource returns the resource called name, or nil.
func (m *Model) Resource(name string) *Resource {
	for _, r := range m.Resources {
		if m.same(r.Name, name) {
			return r
		}
	}
	return nil
}

func (m *Model) same(a, b string) bool {
	return a == b || m.Style == StyleWindows && strings.EqualFold(a, b)
}

// Members returns the resources of a group.
func (m *Model) Members(group string) []*Resource {
	var list []*Resource
	for _, r := range m.Resources {
		if r.Group == group {
			list = append(list, r)
		}
	}
	return list
}

// GroupState derives a group's state from its resources: failed before pending before partial, an empty group is
// offline.
func (m *Model) GroupState(group string) cluster.State {
	count := map[cluster.State]int{}
	for _, r := range m.Members(group) {
		count[r.State]++
	}
	switch {
	case count[cluster.StateFailed] > 0:
		return cluster.StateFailed
	case count[cluster.StatePending] > 0:
		return cluster.StatePending
	case count[cluster.StateOnline] == 0:
		return cluster.StateOffline
	case count[cluster.StateOffline] == 0:
		return cluster.StateOnline
	}
	return cluster.StatePartial
}

// set brings a resource into a state at its group's owner and starts or stops the service it runs.
func (m *Model) set(r *Resource, s cluster.State) {
	was := r.State
	owner := m.Group(r.Group).Owner
	if n := m.Node(owner); s == cluster.StateOnline && was != s && n != nil && n.Disabled[r.Service] {
		s = cluster.StateFailed
	}
	r.State, r.Left = s, 0
	if was == s || was != cluster.StateOnline && s != cluster.StateOnline {
		return
	}
	up := s == cluster.StateOnline
	m.Events = append(m.Events, Event{Seq: len(m.Events) + 1, Resource: r.Name, Node: owner, Online: up})
	if r.Service != "" {
		m.setService(owner, r.Service, up)
	}
}

// setService starts or stops an operating-system service on a node and counts it.
func (m *Model) setService(node, service string, up bool) {
	n := m.Node(node)
	if n == nil {
		return
	}
	if n.Services == nil {
		n.Services = map[string]bool{}
	}
	if up && !n.Services[service] {
		m.Counters.Restarts = bump(m.Counters.Restarts, service)
	}
	if n.Services[service] = up; !up {
		delete(n.Services, service)
	}
}

func bump(counts map[string]int, key string) map[string]int {
	if counts == nil {
		counts = map[string]int{}
	}
	counts[key]++
	return counts
}

// audit counts services that run on two nodes. It runs after every change of the model.
func (m *Model) audit() {
	running := map[string]int{}
	for _, n := range m.Nodes {
		for s := range n.Services {
			running[s]++
		}
	}
	for _, count := range running {
		if count > 1 {
			m.Counters.TwoOwners++
		}
	}
}

// tick lets one reading's worth of time pass.
func (m *Model) tick() {
	m.arrive()
	for _, g := range m.Groups {
		m.tickMove(g)
	}
	for _, r := range m.Resources {
		if r.State == cluster.StatePending && m.Group(r.Group).Move == nil {
			if r.Left--; r.Left <= 0 {
				m.set(r, r.Next)
			}
		}
	}
	for _, n := range m.Nodes {
		if n.Draining && !m.owns(n.Name) {
			n.Draining = false
		}
	}
}

func (m *Model) owns(node string) bool {
	for _, g := range m.Groups {
		if !g.Core && g.Owner == node && m.GroupState(g.Name) != cluster.StateOffline {
			return true
		}
	}
	return false
}

func (m *Model) setAll(g *Group, s cluster.State) {
	for _, r := range m.Members(g.Name) {
		m.set(r, s)
	}
}

// begin starts a move; the members go down at the source first.
func (m *Model) begin(g *Group, to, end string) {
	g.Move = &Move{From: g.Owner, To: to, Phase: "stop", Left: m.StopReadings, End: end}
	if g.Wanted == cluster.StateOffline {
		g.Move.Left = 0
		return
	}
	if end != "queued" {
		m.setAll(g, cluster.StatePending)
	} else {
		g.Queued = 3
	}
	if end == "slow" {
		g.Move.Left += 20
	}
}

func (m *Model) tickMove(g *Group) {
	mv := g.Move
	if mv == nil {
		return
	}
	if g.Queued > 0 {
		if g.Queued--; g.Queued == 0 {
			m.setAll(g, cluster.StatePending)
		}
		return
	}
	if mv.Left--; mv.Left > 0 {
		return
	}
	up := func(at string) {
		g.Owner, g.Move = at, nil
		m.setAll(g, g.Wanted)
	}
	switch mv.Phase {
	case "stop":
		m.setAll(g, cluster.StateOffline)
		if n := m.Node(mv.To); n == nil || n.State != cluster.NodeUp {
			up(mv.From) // the target went away meanwhile
			return
		}
		g.Owner, mv.Phase, mv.Left = mv.To, "start", m.StartReadings
		if g.Wanted == cluster.StateOffline {
			g.Move = nil
			return
		}
		m.setAll(g, cluster.StatePending)
		if mv.End == "slow" {
			mv.Left += 20
		}
	case "start":
		switch mv.End {
		case "fails", "stranded-disk":
			up(mv.To)
			m.fail(g)
		case "partial":
			up(mv.To)
			members := m.Members(g.Name)
			m.set(members[len(members)-1], cluster.StateOffline)
		case "returns":
			mv.Phase, mv.Left = "back", m.StopReadings
			m.fail(g)
		case "elsewhere":
			for _, n := range m.Nodes {
				if n.Name != mv.From && n.Name != mv.To {
					up(n.Name)
					return
				}
			}
			up(mv.From)
		default:
			up(mv.To)
		}
	case "back":
		m.setAll(g, cluster.StateOffline)
		up(mv.From)
	}
}

// fail makes the last member, which is the service, fail.
func (m *Model) fail(g *Group) {
	members := m.Members(g.Name)
	m.set(members[len(members)-1], cluster.StateFailed)
}

// Snapshot renders the model as a cluster would tell it, without letting time pass.
func (m *Model) Snapshot(via string) cluster.Snapshot {
	s := cluster.Snapshot{Cluster: m.Cluster, ReadFrom: via, Quorum: cluster.QuorumPresent, BackupInProgress: m.Backup}
	if m.NoQuorum {
		s.Quorum = cluster.QuorumLost
	}
	for _, n := range m.Nodes {
		s.Nodes = append(s.Nodes, cluster.Node{Name: n.Name, State: n.State, Draining: n.Draining, DrainFailed: n.DrainFailed,
			Quarantined: n.Quarantined, Build: n.Build, Raw: n.State.String()})
	}
	for _, g := range m.Groups {
		s.Groups = append(s.Groups, m.view(g))
	}
	return s
}

func (m *Model) view(g *Group) cluster.Group {
	v := cluster.Group{Name: g.Name, Owner: g.Owner, State: m.GroupState(g.Name), Core: g.Core, Locked: g.Locked,
		Queued:   g.Queued > 0,
		Failback: g.Failback, Standing: slices.Clone(g.Standing)}
	v.Raw = v.State.String()
	if g.Owner != "" {
		v.Owners = []string{g.Owner}
	}
	key := wsfc.MoveKey(g.Name)
	if node, ok := m.Marks[key]; ok && m.Style == StyleWindows {
		v.Standing = append(v.Standing, cluster.MoveRequest{ID: key, Node: node, Ours: true, Inert: true})
	}
	for _, r := range m.Members(g.Name) {
		v.Members = append(v.Members,
			cluster.Resource{Name: r.Name, Group: g.Name, Owner: g.Owner, Type: r.Type, State: r.State,
				Possible: slices.Clone(r.Possible), DependsOn: slices.Clone(r.DependsOn), Service: r.Service, Disk: r.Disk,
				Core:        g.Core,
				Maintenance: r.Maintenance, PendingTimeout: r.PendingTimeout, Raw: r.State.String()})
	}
	return v
}

// clone copies the model, so that a change that fails leaves nothing behind.
func (m *Model) clone() (*Model, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("clustertest: copy model: %w", err)
	}
	c := new(Model)
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("clustertest: copy model: %w", err)
	}
	if c.Marks == nil {
		c.Marks = map[string]string{}
	}
	if c.Extra == nil {
		c.Extra = map[string]json.RawMessage{}
	}
	c.Counters.Moves = maps.Clone(c.Counters.Moves)
	return c, nil
}
