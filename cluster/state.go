package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover/internal/enum"
)

// State is how a group or one of its resources stands, in words that hold for every cluster manager. The vendor's own
// value is kept beside it in a Raw field.
type State int

// The states. StatePartial means that some members are up and none is changing or failed: after a move that is not
// success.
const (
	StateUnknown State = iota
	StateOnline
	StateOffline
	StatePartial
	StatePending
	StateFailed
)

var stateNames = []string{StateUnknown: "unknown", StateOnline: "online", StateOffline: "offline",
	StatePartial: "partial", StatePending: "pending", StateFailed: "failed"}

// String returns the state as a word, for example "online".
func (s State) String() string { return enum.Name(stateNames, s) }

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return enum.Marshal(stateNames, s) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error { return enum.Parse(stateNames, text, s) }

// NodeState is how a cluster node stands.
type NodeState int

// The node states. A paused node (standby, maintenance) is a member that takes no groups.
const (
	NodeUnknown NodeState = iota
	NodeUp
	NodePaused
	NodeDown
	NodeJoining
)

var nodeStateNames = []string{NodeUnknown: "unknown", NodeUp: "up", NodePaused: "paused", NodeDown: "down",
	NodeJoining: "joining"}

// String returns the state as a word, for example "up".
func (s NodeState) String() string { return enum.Name(nodeStateNames, s) }

// MarshalText implements encoding.TextMarshaler.
func (s NodeState) MarshalText() ([]byte, error) { return enum.Marshal(nodeStateNames, s) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *NodeState) UnmarshalText(text []byte) error { return enum.Parse(nodeStateNames, text, s) }

// Quorum says whether the cluster has a majority.
type Quorum int

// The quorum states.
const (
	QuorumUnknown Quorum = iota
	QuorumPresent
	QuorumLost
)

var quorumNames = []string{QuorumUnknown: "unknown", QuorumPresent: "present", QuorumLost: "lost"}

// String returns the quorum as a word, for example "present".
func (q Quorum) String() string { return enum.Name(quorumNames, q) }

// MarshalText implements encoding.TextMarshaler.
func (q Quorum) MarshalText() ([]byte, error) { return enum.Marshal(quorumNames, q) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (q *Quorum) UnmarshalText(text []byte) error { return enum.Parse(quorumNames, text, q) }

// FailbackPolicy says whether the cluster may pull a group home by itself.
type FailbackPolicy int

// The policies.
const (
	FailbackUnknown FailbackPolicy = iota
	FailbackPrevented
	FailbackAllowed
)

var failbackNames = []string{FailbackUnknown: "unknown", FailbackPrevented: "prevented", FailbackAllowed: "allowed"}

// String returns the policy as a word, for example "prevented".
func (p FailbackPolicy) String() string { return enum.Name(failbackNames, p) }

// MarshalText implements encoding.TextMarshaler.
func (p FailbackPolicy) MarshalText() ([]byte, error) { return enum.Marshal(failbackNames, p) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *FailbackPolicy) UnmarshalText(text []byte) error { return enum.Parse(failbackNames, text, p) }

// Failback is a group's setting for going home by itself, complete enough to be put back as it was.
//
// On a Windows cluster Raw is the number of AutoFailbackType. On Pacemaker it is the group's resource-stickiness as
// set on the group itself, empty when none is set there.
type Failback struct {
	Policy FailbackPolicy `json:"policy"`
	Raw    string         `json:"raw"`
}

// NoFailback is the setting that keeps a group where it is.
var NoFailback = Failback{Policy: FailbackPrevented}

// Node is one cluster node as the cluster sees it.
type Node struct {
	Name        string    `json:"name"`
	State       NodeState `json:"state"`
	Draining    bool      `json:"draining,omitempty"`
	DrainFailed bool      `json:"drainFailed,omitempty"` // the last drain ended with groups that would not leave
	Isolated    bool      `json:"isolated,omitempty"`
	Remote      bool      `json:"remote,omitempty"` // it runs resources without being a member (Pacemaker)
	Quarantined bool      `json:"quarantined,omitempty"`
	// Build: build of operating system or cluster software, where the cluster tells it
	Build string `json:"build,omitempty"`
	Raw   string `json:"raw,omitempty"`
}

// silent reports whether the cluster does not hear of the node, so that what it says of it may be out of date.
func (n Node) silent() bool { return n.Isolated || n.State != NodeUp && n.State != NodePaused }

func (n Node) describe() string {
	switch {
	case n.Isolated:
		return n.State.String() + " and isolated"
	case n.Quarantined:
		return n.State.String() + " and quarantined"
	}
	return n.State.String()
}

// Resource is one member of a group.
type Resource struct {
	Name  string `json:"name"`
	Group string `json:"group"`
	Owner string `json:"owner"`
	// Type: the vendor's type name, for example "Generic Service" or "ocf:heartbeat:IPaddr2"
	Type        string   `json:"type"`
	State       State    `json:"state"`
	Possible    []string `json:"possible,omitempty"`  // nodes that may own it; nil when the cluster does not say
	DependsOn   []string `json:"dependsOn,omitempty"` // resources it needs
	Service     string   `json:"service,omitempty"`   // operating-system service it runs, if it runs one
	Disk        bool     `json:"disk,omitempty"`      // it is storage
	Core        bool     `json:"core,omitempty"`      // it belongs to the cluster itself, for example the witness
	Maintenance bool     `json:"maintenance,omitempty"`
	// PendingTimeout: how long the cluster lets it start or stop; 0 when unknown
	PendingTimeout time.Duration `json:"pendingTimeout,omitempty"`
	Raw            string        `json:"raw,omitempty"`
}

// MoveRequest is a request to place a group that stands in the cluster's configuration: the location constraint that
// crm_resource --move leaves. On a Windows cluster it is the mark that a request of ours may be on its way.
type MoveRequest struct {
	ID   string `json:"id"`
	Node string `json:"node"`
	Ban  bool   `json:"ban,omitempty"`  // it keeps the group off the node instead of drawing it there
	Ours bool   `json:"ours,omitempty"` // this library made it, in this or in an earlier run

	// Inert marks a request of ours, or the record of one, that is not in effect.
	Inert bool `json:"inert,omitempty"`
}

// Group is a set of resources that move together.
type Group struct {
	Name      string        `json:"name"`
	Owner     string        `json:"owner"` // "" when no node or more than one has it
	Owners    []string      `json:"owners,omitempty"`
	State     State         `json:"state"`
	Core      bool          `json:"core,omitempty"` // belongs to the cluster itself
	Locked    bool          `json:"locked,omitempty"`
	Queued    bool          `json:"queued,omitempty"`    // the cluster has put its move or start off
	Unmanaged bool          `json:"unmanaged,omitempty"` // the cluster was told to leave it alone
	Failback  Failback      `json:"failback"`
	Members   []Resource    `json:"members,omitempty"`
	Standing  []MoveRequest `json:"standing,omitempty"`
	Failures  []Failure     `json:"failures,omitempty"` // of its members, as the cluster has them on record
	Raw       string        `json:"raw,omitempty"`
}

// Failure is something that failed on a node, in the cluster's own words.
type Failure struct {
	Node string `json:"node"`
	Text string `json:"text"`
}

// String returns "group on owner: state" with what is unusual about it.
func (g Group) String() string {
	text := fmt.Sprintf("%s is %s on %s", g.Name, g.State, g.place())
	for _, word := range words(mark{g.Locked, "locked"}, mark{g.Queued, "queued"}, mark{g.Unmanaged, "unmanaged"}) {
		text += ", " + word
	}
	if g.State != StateOnline && g.State != StateOffline {
		for _, m := range g.Members {
			if m.State != StateOnline {
				text += fmt.Sprintf("; %s %s", m.Name, m.State)
			}
		}
	}
	if g.State == StateUnknown && g.Raw != "" {
		text += " (" + g.Raw + ")"
	}
	return text
}

// mark is a word for what may be so.
type mark struct {
	set  bool
	word string
}

// words returns the words of what is so.
func words(marks ...mark) []string {
	var list []string
	for _, m := range marks {
		if m.set {
			list = append(list, m.word)
		}
	}
	return list
}

// place names the node the group is on.
func (g Group) place() string {
	switch {
	case g.Owner != "":
		return g.Owner
	case len(g.Owners) > 1:
		return strings.Join(g.Owners, " and ")
	}
	return "no single node"
}

// Unwilling returns the names of the members that may not run on the node. One whose possible owners the cluster does
// not tell is not among them.
func (g Group) Unwilling(node string) []string {
	var names []string
	for _, m := range g.Members {
		if m.Possible != nil && !slices.Contains(m.Possible, node) {
			names = append(names, m.Name)
		}
	}
	return names
}

// Snapshot is the whole cluster at one moment, as one of its nodes tells it.
type Snapshot struct {
	Cluster          string  `json:"cluster"`
	ReadFrom         string  `json:"readFrom"` // the node that answered
	Quorum           Quorum  `json:"quorum"`
	BackupInProgress bool    `json:"backupInProgress,omitempty"`
	BackupUnknown    bool    `json:"backupUnknown,omitempty"` // the cluster did not say
	Maintenance      bool    `json:"maintenance,omitempty"`   // the whole cluster was told to leave its resources alone
	Nodes            []Node  `json:"nodes"`
	Groups           []Group `json:"groups"`
}

// Node returns the node called name.
func (s Snapshot) Node(name string) (Node, bool) {
	return find(s.Nodes, func(n Node) bool { return n.Name == name })
}

// Group returns the group called name.
func (s Snapshot) Group(name string) (Group, bool) {
	return find(s.Groups, func(g Group) bool { return g.Name == name })
}

func find[T any](list []T, is func(T) bool) (T, bool) {
	if at := slices.IndexFunc(list, is); at >= 0 {
		return list[at], true
	}
	var none T
	return none, false
}

// resources returns the members of all groups.
func (s Snapshot) resources() []Resource {
	var all []Resource
	for _, g := range s.Groups {
		all = append(all, g.Members...)
	}
	return all
}

// members returns the nodes that make up the cluster.
func (s Snapshot) members() []Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(n Node) bool { return n.Remote })
}

// named is Group with words for a group that is not there.
func (s Snapshot) named(op, group string) (Group, error) {
	g, ok := s.Group(group)
	if !ok {
		return g, refuse(op, group, "use a name the snapshot shows", ErrNotFound, "the cluster has no such group")
	}
	return g, nil
}

// believed takes back what is said of groups on nodes that the cluster does not reach. It keeps the last state that it
// knew of them, which is history and no fact (seen: Pacemaker shows Started beside UNCLEAN). Nothing that waits for a
// group to be up may end on it.
func (s Snapshot) believed() Snapshot {
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		g := &s.Groups[i]
		g.Members = slices.Clone(g.Members)
		for _, owner := range g.Owners {
			n, ok := s.Node(owner)
			if !ok || !n.silent() {
				continue
			}
			for j := range g.Members {
				if m := &g.Members[j]; m.Owner == owner && m.State == StateOnline {
					m.State = StateUnknown
				}
			}
			if g.State == StateOnline || g.State == StatePartial {
				g.Raw = fmt.Sprintf("%s, and %s is %s", g.Raw, n.Name, n.describe())
				g.State = StateUnknown
			}
		}
	}
	return s
}

// Inspection is what a node says about itself, asked at its own address.
type Inspection struct {
	Node          string   `json:"node"`        // the name the machine itself gives
	Build         string   `json:"build"`       // operating system build
	RebootKnown   bool     `json:"rebootKnown"` // the machine told whether a reboot is pending
	RebootPending bool     `json:"rebootPending"`
	Reasons       []string `json:"reasons,omitempty"` // why a reboot is pending, or how that was asked
}
