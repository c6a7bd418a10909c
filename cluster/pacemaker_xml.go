package cluster

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What crm_mon and cibadmin print, as far as it is used here (documented: Pacemaker's api schemas; seen: 2.1.5).
type crmMon struct {
	XMLName xml.Name
	Summary struct {
		DC *struct {
			Present bool   `xml:"present,attr"`
			Quorum  bool   `xml:"with_quorum,attr"`
			Version string `xml:"version,attr"`
		} `xml:"current_dc"`
		Options struct {
			Maintenance bool `xml:"maintenance-mode,attr"`
			Symmetric   bool `xml:"symmetric-cluster,attr"`
		} `xml:"cluster_options"`
	} `xml:"summary"`
	Nodes     []crmNode     `xml:"nodes>node"`
	Groups    []crmGroup    `xml:"resources>group"`
	Resources []crmResource `xml:"resources>resource"`
	Bans      []struct {
		ID       string `xml:"id,attr"`
		Resource string `xml:"resource,attr"`
		Node     string `xml:"node,attr"`
		Weight   int    `xml:"weight,attr"`
	} `xml:"bans>ban"`
	History  []crmHistory `xml:"node_history>node"`
	Failures []crmFailure `xml:"failures>failure"`
	Status   *struct {
		Code    int      `xml:"code,attr"`
		Message string   `xml:"message,attr"`
		Errors  []string `xml:"errors>error"`
	} `xml:"status"`
}

// crmHistory is what a node has tried. A member that failed as often as it may is not placed there again.
type crmHistory struct {
	Node      string `xml:"name,attr"`
	Resources []struct {
		ID        string `xml:"id,attr"`
		Failed    string `xml:"fail-count,attr"`
		Threshold string `xml:"migration-threshold,attr"`
	} `xml:"resource_history"`
}

type crmFailure struct {
	Op     string `xml:"op_key,attr"` // resource, task and interval
	Node   string `xml:"node,attr"`
	Status string `xml:"exitstatus,attr"`
	Reason string `xml:"exitreason,attr"`
	Task   string `xml:"task,attr"`
	When   string `xml:"last-rc-change,attr"`
}

// of reports whether the failure is of the resource.
func (f crmFailure) of(resource string) bool { return strings.HasPrefix(f.Op, resource+"_"+f.Task+"_") }

func (f crmFailure) String() string {
	text := fmt.Sprintf("%s of %s on %s failed: %s", f.Task, strings.SplitN(f.Op, "_"+f.Task+"_", 2)[0], f.Node, f.Status)
	if f.Reason != "" {
		text += " (" + f.Reason + ")"
	}
	return text + " at " + f.When
}

type crmNode struct {
	Name        string `xml:"name,attr"`
	Online      bool   `xml:"online,attr"`
	Standby     bool   `xml:"standby,attr"`
	OnFail      bool   `xml:"standby_onfail,attr"`
	Maintenance bool   `xml:"maintenance,attr"`
	Pending     bool   `xml:"pending,attr"`
	Unclean     bool   `xml:"unclean,attr"`
	Shutdown    bool   `xml:"shutdown,attr"`
	Type        string `xml:"type,attr"`
}

type crmGroup struct {
	ID        string        `xml:"id,attr"`
	Managed   *bool         `xml:"managed,attr"`
	Maint     bool          `xml:"maintenance,attr"`
	Resources []crmResource `xml:"resource"`
}

type crmResource struct {
	ID      string `xml:"id,attr"`
	Agent   string `xml:"resource_agent,attr"`
	Role    string `xml:"role,attr"`
	Target  string `xml:"target_role,attr"`
	Orphan  bool   `xml:"orphaned,attr"` // it is not in the configuration any more
	Removed bool   `xml:"removed,attr"`  // the same, in version 3
	Pending string `xml:"pending,attr"`
	Active  bool   `xml:"active,attr"`
	Blocked bool   `xml:"blocked,attr"`
	Managed *bool  `xml:"managed,attr"`
	Maint   bool   `xml:"maintenance,attr"`
	Failed  bool   `xml:"failed,attr"`
	Ignored bool   `xml:"failure_ignored,attr"`
	Nodes   []struct {
		Name string `xml:"name,attr"`
	} `xml:"node"`
}

type nvpair struct {
	ID    string `xml:"id,attr"`
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type propertySet struct {
	ID    string   `xml:"id,attr"`
	Pairs []nvpair `xml:"nvpair"`
}

// metaSet is one set of meta attributes. Rules and references make it depend on what is not read here.
type metaSet struct {
	Reference string    `xml:"id-ref,attr"`
	Rule      *struct{} `xml:"rule"`
	Pairs     []nvpair  `xml:"nvpair"`
}

// value returns what the sets say of an attribute. plain is false when it depends on more than one value without a
// condition.
func value(sets []metaSet, name string) (text string, plain bool) {
	plain, found := true, 0
	for _, set := range sets {
		plain = plain && set.Reference == ""
		for _, p := range set.Pairs {
			if p.Name == name {
				text = p.Value
				found++
				plain = plain && set.Rule == nil
			}
		}
	}
	return text, plain && found <= 1
}

type cib struct {
	XMLName xml.Name
	Config  struct {
		Properties []propertySet `xml:"crm_config>cluster_property_set"`
		Groups     []struct {
			ID         string         `xml:"id,attr"`
			Meta       []metaSet      `xml:"meta_attributes"`
			Primitives []cibPrimitive `xml:"primitive"`
		} `xml:"resources>group"`
		Primitives []cibPrimitive `xml:"resources>primitive"`
		Templates  []cibPrimitive `xml:"resources>template"`
		OpDefaults []metaSet      `xml:"op_defaults>meta_attributes"`
		Locations  []struct {
			ID    string `xml:"id,attr"`
			Rsc   string `xml:"rsc,attr"`
			Node  string `xml:"node,attr"`
			Score string `xml:"score,attr"`
		} `xml:"constraints>rsc_location"`
	} `xml:"configuration"`
}

type cibPrimitive struct {
	ID         string    `xml:"id,attr"`
	Template   string    `xml:"template,attr"`
	Meta       []metaSet `xml:"meta_attributes"`
	Operations []struct {
		Reference string `xml:"id-ref,attr"`
		Ops       []struct {
			Reference string    `xml:"id-ref,attr"`
			Name      string    `xml:"name,attr"`
			Timeout   string    `xml:"timeout,attr"`
			Meta      []metaSet `xml:"meta_attributes"`
		} `xml:"op"`
	} `xml:"operations"`
}

const cut = "=====failover====="

// crmReading is one reading of a Pacemaker cluster.
type crmReading struct {
	local string
	mon   crmMon
	cib   cib
}

// parseReading takes apart what read.sh printed.
func parseReading(out []byte) (crmReading, error) {
	var r crmReading
	parts := bytes.Split(out, []byte(cut+"\n"))
	if len(parts) != 4 {
		return r, fmt.Errorf("the answer has %d parts instead of 4", len(parts))
	}
	r.local = strings.TrimSpace(string(parts[0]))
	if err := xml.Unmarshal(parts[1], &r.mon); err != nil {
		return r, fmt.Errorf("read crm_mon: %w", err)
	}
	if err := xml.Unmarshal(parts[2], &r.cib); err != nil {
		return r, fmt.Errorf("read cibadmin: %w", err)
	}
	nameless := r.local == "" || len(r.mon.Nodes) == 0
	switch {
	case !slices.Contains([]string{"pacemaker-result", "pacemaker-status", "crm_mon"}, r.mon.XMLName.Local):
		return r, fmt.Errorf("crm_mon answered with <%s>", r.mon.XMLName.Local)
	case r.mon.Status != nil && r.mon.Status.Code != 0:
		return r, fmt.Errorf("crm_mon says %d %s", r.mon.Status.Code, r.mon.Status.Message)
	case r.cib.XMLName.Local != "cib":
		return r, fmt.Errorf("cibadmin answered with <%s>", r.cib.XMLName.Local)
	case nameless && r.mon.Status != nil && len(r.mon.Status.Errors) > 0:
		return r, fmt.Errorf("crm_mon says: %s", strings.Join(r.mon.Status.Errors, "; "))
	case nameless:
		return r, errors.New("the answer names no node")
	}
	return r, nil
}

// mark returns the text stored under a key.
func (r crmReading) mark(key string) string {
	set, _ := find(r.cib.Config.Properties, func(p propertySet) bool { return p.ID == key })
	return set.text(key)
}

// text returns the text a property set of ours holds. What is not in our encoding is somebody else's, but not nothing.
func (p propertySet) text(key string) string {
	pair, _ := find(p.Pairs, func(n nvpair) bool { return n.Name == key })
	if text, err := base64.StdEncoding.DecodeString(pair.Value); err == nil {
		return string(text)
	}
	return pair.Value
}

func (r crmReading) snapshot(services map[string]string) Snapshot {
	s := Snapshot{ReadFrom: r.local, Maintenance: r.mon.Summary.Options.Maintenance}
	for _, set := range r.cib.Config.Properties {
		for _, p := range set.Pairs {
			if p.Name == "cluster-name" {
				s.Cluster = p.Value
			}
		}
	}
	if dc := r.mon.Summary.DC; dc != nil && dc.Present {
		if s.Quorum = QuorumLost; dc.Quorum {
			s.Quorum = QuorumPresent
		}
	}
	for _, n := range r.mon.Nodes {
		s.Nodes = append(s.Nodes, n.neutral())
	}
	for _, g := range r.mon.Groups {
		s.Groups = append(s.Groups, r.group(g, s, services))
	}
	for _, res := range r.mon.Resources {
		// A resource outside every group is a group of one.
		s.Groups = append(s.Groups,
			r.group(crmGroup{ID: res.ID, Managed: res.Managed, Maint: res.Maint, Resources: []crmResource{res}}, s, services))
	}
	return s
}

func (n crmNode) neutral() Node {
	node := Node{Name: n.Name, State: NodeUp, Remote: n.Type != "" && n.Type != "member"}
	node.Raw = strings.Join(words(mark{n.Online, "online"}, mark{n.Standby, "standby"}, mark{n.OnFail, "standby_onfail"},
		mark{n.Maintenance, "maintenance"}, mark{n.Pending, "pending"}, mark{n.Unclean, "unclean"},
		mark{n.Shutdown, "shutdown"}), " ")
	switch {
	case n.Pending:
		node.State = NodeJoining
	case !n.Online || n.Unclean || n.Shutdown:
		node.State = NodeDown
	case n.Standby || n.OnFail || n.Maintenance:
		node.State = NodePaused
	}
	return node
}

func (r crmReading) group(g crmGroup, s Snapshot, services map[string]string) Group {
	v := Group{Name: g.ID, Unmanaged: g.Managed != nil && !*g.Managed || g.Maint || s.Maintenance}
	count := map[State]int{}
	var raw []string
	for i, res := range g.Resources {
		m := Resource{Name: res.ID, Group: g.ID, Type: res.Agent, State: res.state(), Service: services[res.ID],
			Maintenance: res.Maint, PendingTimeout: r.stopTimeout(res.ID), Disk: isStorage(res.Agent), Raw: res.Role}
		for _, f := range r.mon.Failures {
			if f.of(res.ID) {
				v.Failures = append(v.Failures, Failure{f.Node, f.String()})
			}
		}
		if class, name, ok := strings.Cut(res.Agent, ":"); ok && m.Service == "" &&
			(class == "systemd" || class == "lsb" || class == "service") {
			m.Service = name
		}
		if i > 0 {
			m.DependsOn = []string{g.Resources[i-1].ID} // members of a group start in order
		}
		if r.mon.Summary.Options.Symmetric {
			m.Possible = r.possible(s, g.ID, res.ID)
		}
		for _, n := range res.Nodes {
			if m.Owner = n.Name; !slices.Contains(v.Owners, n.Name) {
				v.Owners = append(v.Owners, n.Name)
			}
		}
		if res.Managed != nil && !*res.Managed || res.Maint || res.Orphan || res.Removed {
			v.Unmanaged = true
		}
		count[m.State]++
		raw = append(raw, res.words())
		v.Members = append(v.Members, m)
	}
	if len(v.Owners) == 1 {
		v.Owner = v.Owners[0]
	}
	v.Raw = strings.Join(raw, " ")
	switch {
	case count[StateFailed] > 0:
		v.State = StateFailed
	case count[StatePending] > 0:
		v.State = StatePending
	case len(v.Members) == 0 || count[StateOffline] == len(v.Members):
		v.State = StateOffline
	case count[StateOnline] == len(v.Members) && len(v.Owners) == 1:
		v.State = StateOnline
	default:
		v.State = StatePartial
	}
	v.Failback, v.Standing = r.failback(v), r.standing(v)
	return v
}

// words are the role of a resource and what is unusual about it.
func (r crmResource) words() string {
	text := r.ID + "=" + r.Role
	for _, word := range words(mark{r.Blocked, "blocked"}, mark{r.Orphan || r.Removed, "not in the configuration"},
		mark{r.Target == "Stopped" && r.Role != r.Target, "about to stop"}) {
		text += " (" + word + ")"
	}
	return text
}

func (r crmResource) state() State {
	switch {
	case r.Failed && !r.Ignored || r.Blocked, r.Role == "Stopped" && r.Active: // the latter after a failed migration
		return StateFailed
	case r.Pending != "" && r.Pending != "Monitoring" || r.Role == "Starting" || r.Role == "Stopping" ||
		r.Role == "Migrating", r.Target == "Stopped" && r.Role != "Stopped": // the latter is about to stop
		return StatePending
	case r.Role == "Stopped":
		return StateOffline
	case r.Active && (r.Role == "Started" || r.Role == "Promoted" || r.Role == "Master"):
		return StateOnline
	}
	return StateUnknown
}

// isStorage guesses by the agent's name; what an administrator names counts wherever it matters.
func isStorage(agent string) bool {
	kind := agent[strings.LastIndexByte(agent, ':')+1:]
	return slices.Contains([]string{"Filesystem", "LVM", "LVM-activate", "ZFS", "drbd"}, kind)
}

const infinity = 1000000

func infinite(score string) bool {
	n, err := strconv.Atoi(score)
	return err == nil && n >= infinity || score == "INFINITY" || score == "+INFINITY"
}

// spent reports whether a member has failed on a node as often as it may. The cluster does not place it there again
// before somebody clears the failures.
func (r crmReading) spent(node, member string) bool {
	for _, h := range r.mon.History {
		for _, res := range h.Resources {
			if h.Node != node || res.ID != member {
				continue
			}
			failed, err1 := strconv.Atoi(res.Failed)
			threshold, err2 := strconv.Atoi(res.Threshold)
			if infinite(res.Failed) || err1 == nil && err2 == nil && threshold > 0 && failed >= threshold {
				return true
			}
		}
	}
	return false
}

// possible returns the nodes from which neither the member nor its group is banned and where it may still be tried.
func (r crmReading) possible(s Snapshot, group, member string) []string {
	nodes := []string{}
	for _, n := range s.Nodes {
		banned := r.spent(n.Name, member)
		for _, b := range r.mon.Bans {
			banned = banned || b.Weight <= -infinity && b.Node == n.Name && (b.Resource == group || b.Resource == member)
		}
		if !banned {
			nodes = append(nodes, n.Name)
		}
	}
	return nodes
}

// defaultStopTimeout is the time for an action when nothing is configured (documented: Pacemaker Explained).
const defaultStopTimeout = 20 * time.Second

// stopTimeout returns how long the cluster lets a resource stop, 0 when that depends on what is not read here: rules,
// references, several values of one attribute.
func (r crmReading) stopTimeout(id string) time.Duration {
	for {
		p, ok := r.primitive(id)
		if !ok {
			return 0
		}
		for _, operations := range p.Operations {
			if operations.Reference != "" {
				return 0
			}
			for _, op := range operations.Ops {
				text, plain := value(op.Meta, "timeout")
				text = cmp.Or(op.Timeout, text)
				switch {
				case op.Reference != "", op.Name == "stop" && !plain:
					return 0
				case op.Name == "stop" && text != "":
					return limit(text)
				}
			}
		}
		if p.Template == "" {
			break
		}
		id = p.Template // which cannot have a template itself
	}
	switch text, plain := value(r.cib.Config.OpDefaults, "timeout"); {
	case !plain:
		return 0
	case text != "":
		return limit(text)
	}
	return defaultStopTimeout
}

func (r crmReading) primitive(id string) (cibPrimitive, bool) {
	all := slices.Concat(r.cib.Config.Primitives, r.cib.Config.Templates)
	for _, g := range r.cib.Config.Groups {
		all = append(all, g.Primitives...)
	}
	return find(all, func(p cibPrimitive) bool { return p.ID == id })
}

// units of a time in Pacemaker; a number without one is seconds (its lib/common/strings.c).
var units = map[string]time.Duration{"": time.Second, "s": time.Second, "sec": time.Second, "ms": time.Millisecond,
	"msec": time.Millisecond, "us": time.Microsecond, "usec": time.Microsecond, "m": time.Minute, "min": time.Minute,
	"h": time.Hour, "hr": time.Hour}

// limit reads a time as Pacemaker does, 0 for one that it writes otherwise.
func limit(text string) time.Duration {
	text = strings.TrimSpace(text)
	end := strings.IndexFunc(text+"x", func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.ParseInt(text[:end], 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(n) * units[strings.ToLower(strings.TrimSpace(text[end:]))]
}

const stickiness = "resource-stickiness"

// guardStickiness holds a group against every finite preference that is smaller, and gives way to a move request,
// which is infinite. At infinity it would hold the group against the request, too.
const guardStickiness = 100000

// failback reads the group's own setting. It is not known where rules or several values decide, or where each member
// has a setting of its own: Pacemaker adds up what the members have, and the group's is theirs only by inheritance.
func (r crmReading) failback(g Group) Failback {
	text, plain := value(r.meta(g.Name), stickiness)
	n, err := strconv.Atoi(text)
	inherits := func(m Resource) bool {
		own, plain := value(r.meta(m.Name), stickiness)
		return own == "" && plain || m.Name == g.Name
	}
	switch {
	case !plain || !slices.ContainsFunc(g.Members, inherits):
		return Failback{}
	case infinite(text), err == nil && n >= guardStickiness:
		return Failback{Policy: FailbackPrevented, Raw: text}
	}
	return Failback{Policy: FailbackAllowed, Raw: text}
}

// meta returns the meta attributes of a group or of a resource.
func (r crmReading) meta(id string) []metaSet {
	for _, g := range r.cib.Config.Groups {
		if g.ID == id {
			return g.Meta
		}
	}
	p, _ := r.primitive(id)
	return p.Meta
}

func moveKey(group string) string { return "failover-move-" + group }

// standing returns the move requests for the group or one of its members, and what holds it on its node as strongly as
// a request draws it away. crm_resource names its constraints cli-…. One for the node our mark names is ours.
func (r crmReading) standing(g Group) []MoveRequest {
	var list []MoveRequest
	target := r.mark(moveKey(g.Name))
	effective := false
	for _, l := range r.cib.Config.Locations {
		if l.Rsc != g.Name && !slices.ContainsFunc(g.Members, func(m Resource) bool { return m.Name == l.Rsc }) ||
			!strings.HasPrefix(l.ID, "cli-") && (!infinite(l.Score) || l.Node != g.Owner || g.Owner == "") {
			continue
		}
		ours := l.ID == "cli-prefer-"+g.Name && l.Rsc == g.Name && target != "" && l.Node == target
		effective = effective || ours
		list = append(list, MoveRequest{ID: l.ID, Node: l.Node, Ban: strings.HasPrefix(l.ID, "cli-ban-"), Ours: ours,
			Inert: ours && !infinite(l.Score)})
	}
	ids := []string{g.Name}
	for _, m := range g.Members {
		ids = append(ids, m.Name)
	}
	for _, id := range slices.Compact(ids) { // a resource outside every group is its only member
		if text, _ := value(r.meta(id), stickiness); infinite(text) && g.Owner != "" {
			list = append(list, MoveRequest{ID: stickiness + " " + text + " of " + id, Node: g.Owner})
		}
	}
	if target != "" && !effective {
		list = append(list, MoveRequest{ID: moveKey(g.Name), Node: target, Ours: true, Inert: true})
	}
	return list
}
