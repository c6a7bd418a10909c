package cluster

import (
	"bytes"
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
	Status *struct {
		Code    int    `xml:"code,attr"`
		Message string `xml:"message,attr"`
	} `xml:"status"`
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

type cib struct {
	XMLName xml.Name
	Config  struct {
		Properties []propertySet `xml:"crm_config>cluster_property_set"`
		Groups     []struct {
			ID         string         `xml:"id,attr"`
			Meta       []nvpair       `xml:"meta_attributes>nvpair"`
			Primitives []cibPrimitive `xml:"primitive"`
		} `xml:"resources>group"`
		Primitives []cibPrimitive `xml:"resources>primitive"`
		Locations  []struct {
			ID    string `xml:"id,attr"`
			Rsc   string `xml:"rsc,attr"`
			Node  string `xml:"node,attr"`
			Score string `xml:"score,attr"`
		} `xml:"constraints>rsc_location"`
	} `xml:"configuration"`
}

type cibPrimitive struct {
	ID   string   `xml:"id,attr"`
	Meta []nvpair `xml:"meta_attributes>nvpair"`
	Ops  []struct {
		Name    string `xml:"name,attr"`
		Timeout string `xml:"timeout,attr"`
	} `xml:"operations>op"`
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
	switch {
	case r.mon.XMLName.Local != "pacemaker-result" && r.mon.XMLName.Local != "pacemaker-status" &&
		r.mon.XMLName.Local != "crm_mon":
		return r, fmt.Errorf("crm_mon answered with <%s>", r.mon.XMLName.Local)
	case r.mon.Status != nil && r.mon.Status.Code != 0:
		return r, fmt.Errorf("crm_mon says %d %s", r.mon.Status.Code, r.mon.Status.Message)
	case r.cib.XMLName.Local != "cib":
		return r, fmt.Errorf("cibadmin answered with <%s>", r.cib.XMLName.Local)
	case r.local == "" || len(r.mon.Nodes) == 0:
		return r, errors.New("the answer names no node")
	}
	return r, nil
}

// mark returns the text stored under a key.
func (r crmReading) mark(key string) string {
	for _, set := range r.cib.Config.Properties {
		if set.ID == key {
			return set.text(key)
		}
	}
	return ""
}

// text returns the text a property set of ours holds. What is not in our encoding is somebody else's, but not nothing.
func (p propertySet) text(key string) string {
	for _, pair := range p.Pairs {
		if pair.Name == key {
			if text, err := base64.StdEncoding.DecodeString(pair.Value); err == nil {
				return string(text)
			}
			return pair.Value
		}
	}
	return ""
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
		if n.Type == "" || n.Type == "member" {
			s.Nodes = append(s.Nodes, n.neutral())
		}
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
	node := Node{Name: n.Name, State: NodeUp}
	raw := []string{}
	for _, a := range []struct {
		set  bool
		name string
	}{{n.Online, "online"}, {n.Standby, "standby"}, {n.OnFail, "standby_onfail"}, {n.Maintenance, "maintenance"},
		{n.Pending, "pending"},
		{n.Unclean, "unclean"}, {n.Shutdown, "shutdown"}} {
		if a.set {
			raw = append(raw, a.name)
		}
	}
	node.Raw = strings.Join(raw, " ")
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
	pending := false
	raw := []string{}
	before := ""
	for _, res := range g.Resources {
		m := Resource{Name: res.ID, Group: g.ID, Type: res.Agent, State: res.state(), Service: services[res.ID],
			Maintenance: res.Maint, PendingTimeout: r.stopTimeout(res.ID), Raw: res.Role}
		if class, name, ok := strings.Cut(res.Agent, ":"); ok && m.Service == "" &&
			(class == "systemd" || class == "lsb" || class == "service") {
			m.Service = name
		}
		m.Disk = isStorage(res.Agent)
		if before != "" {
			m.DependsOn = []string{before} // members of a group start in order
		}
		before = res.ID
		if r.mon.Summary.Options.Symmetric {
			m.Possible = r.possible(s, g.ID, res.ID)
		}
		for _, n := range res.Nodes {
			if m.Owner = n.Name; !slices.Contains(v.Owners, n.Name) {
				v.Owners = append(v.Owners, n.Name)
			}
		}
		if res.Managed != nil && !*res.Managed || res.Maint {
			v.Unmanaged = true
		}
		count[m.State]++
		pending = pending || m.State == StatePending
		raw = append(raw, res.ID+"="+res.Role)
		v.Members = append(v.Members, m)
	}
	if len(v.Owners) == 1 {
		v.Owner = v.Owners[0]
	}
	v.Raw = strings.Join(raw, " ")
	switch {
	case count[StateFailed] > 0:
		v.State = StateFailed
	case pending:
		v.State = StatePending
	case len(v.Members) == 0 || count[StateOffline] == len(v.Members):
		v.State = StateOffline
	case count[StateOnline] == len(v.Members) && len(v.Owners) == 1:
		v.State = StateOnline
	default:
		v.State = StatePartial
	}
	v.Failback = r.failback(g.ID)
	v.Standing = r.standing(v)
	return v
}

func (r crmResource) state() State {
	switch {
	case r.Failed && !r.Ignored || r.Blocked:
		return StateFailed
	case r.Pending != "" && r.Pending != "Monitoring" || r.Role == "Starting" || r.Role == "Stopping":
		return StatePending
	case r.Role == "Stopped":
		return StateOffline
	case r.Active && (r.Role == "Started" || r.Role == "Promoted" || r.Role == "Master"):
		return StateOnline
	}
	return StateUnknown
}

func isStorage(agent string) bool {
	for _, kind := range []string{":Filesystem", ":LVM", ":LVM-activate", ":ZFS", ":drbd"} {
		if strings.HasSuffix(agent, kind) {
			return true
		}
	}
	return false
}

const infinity = 1000000

// possible returns the nodes from which neither the member nor its group is banned.
func (r crmReading) possible(s Snapshot, group, member string) []string {
	nodes := []string{}
	for _, n := range s.Nodes {
		banned := false
		for _, b := range r.mon.Bans {
			banned = banned || b.Weight <= -infinity && b.Node == n.Name && (b.Resource == group || b.Resource == member)
		}
		if !banned {
			nodes = append(nodes, n.Name)
		}
	}
	return nodes
}

// stopTimeout returns how long the cluster lets a resource stop, 0 when its configuration does not say.
func (r crmReading) stopTimeout(id string) time.Duration {
	all := slices.Clone(r.cib.Config.Primitives)
	for _, g := range r.cib.Config.Groups {
		all = append(all, g.Primitives...)
	}
	for _, p := range all {
		for _, op := range p.Ops {
			if p.ID == id && op.Name == "stop" {
				if seconds, err := strconv.Atoi(strings.TrimSuffix(op.Timeout, "s")); err == nil {
					return time.Duration(seconds) * time.Second
				}
				if d, err := time.ParseDuration(op.Timeout); err == nil {
					return d
				}
			}
		}
	}
	return 0
}

const stickiness = "resource-stickiness"

// guardStickiness holds a group against every finite preference that is smaller, and gives way to a move request,
// which is infinite. At infinity it would hold the group against the request, too.
const guardStickiness = 100000

func (r crmReading) failback(group string) Failback {
	f := Failback{Policy: FailbackAllowed}
	var meta []nvpair
	for _, g := range r.cib.Config.Groups {
		if g.ID == group {
			meta = g.Meta
		}
	}
	for _, p := range r.cib.Config.Primitives {
		if p.ID == group {
			meta = p.Meta
		}
	}
	for _, p := range meta {
		if p.Name == stickiness {
			f.Raw = p.Value
			if n, err := strconv.Atoi(p.Value); err == nil && n >= guardStickiness || p.Value == "INFINITY" ||
				p.Value == "+INFINITY" {
				f.Policy = FailbackPrevented
			}
		}
	}
	return f
}

func moveKey(group string) string { return "failover-move-" + group }

// standing returns the move requests for the group or one of its members. crm_resource names its constraints cli-….
// One for the node our mark names is ours.
func (r crmReading) standing(g Group) []MoveRequest {
	var list []MoveRequest
	target := r.mark(moveKey(g.Name))
	effective := false
	for _, l := range r.cib.Config.Locations {
		if !strings.HasPrefix(l.ID, "cli-") || l.Rsc != g.Name &&
			!slices.ContainsFunc(g.Members, func(m Resource) bool { return m.Name == l.Rsc }) {
			continue
		}
		req := MoveRequest{ID: l.ID, Node: l.Node, Ban: strings.HasPrefix(l.ID, "cli-ban-")}
		req.Ours = !req.Ban && l.Rsc == g.Name && target != "" && l.Node == target
		effective = effective || req.Ours
		list = append(list, req)
	}
	if target != "" && !effective {
		list = append(list, MoveRequest{ID: moveKey(g.Name), Node: target, Ours: true, Inert: true})
	}
	return list
}
