package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Foresight is what a cluster says beforehand of a move.
type Foresight struct {
	// Others tells in one sentence each what the move does to resources of other groups and to nodes.
	Others []string `json:"others,omitempty"`
	// Then tells the same of what follows once nothing holds the group there, of its own members too.
	Then []string `json:"then,omitempty"`
	// Stays: the cluster would not bring the group up on the node, whoever asks.
	Stays bool `json:"stays,omitempty"`
}

func (f Foresight) String() string {
	text := "the cluster foresees nothing for other groups"
	if len(f.Others) > 0 {
		text = "the cluster foresees: " + strings.Join(f.Others, ", ")
	}
	if len(f.Then) > 0 {
		text += "; and once nothing holds the group: " + strings.Join(f.Then, ", ")
	}
	return text
}

// unforeseen stands in a plan where the cluster cannot be asked, or not yet.
const unforeseen = "what other groups do then is not known beforehand"

func (c *core) Foresee(ctx context.Context, group, node string, then Failback) (Foresight, error) {
	const op = "foresee move"
	var f Foresight
	if err := errors.Join(c.d.Check("group", group), c.d.Check("node", node)); err != nil {
		return f, err
	}
	_, err := c.send(ctx, op, "", func(ctx context.Context, via string) (err error) {
		f, err = c.d.Foresee(ctx, via, group, node, then)
		return readError(ctx, op, via, err)
	})
	return f, err
}

// Foresee has the cluster's own scheduler work out the move on a copy of the configuration and state.
func (d *pacemakerDriver) Foresee(ctx context.Context, via, group, node string, then Failback) (Foresight, error) {
	const op = "foresee move"
	value, err := stickinessOf(then)
	if err != nil {
		return Foresight{}, err
	}
	if then.Policy == FailbackUnknown {
		value = "-"
	}
	meanwhile := strconv.Itoa(guardStickiness)
	if then.Policy == FailbackPrevented && then != NoFailback {
		meanwhile = "-" // it holds already
	}
	out, err := d.run(ctx, op, via, "foresee", group, node, meanwhile, value)
	var f Foresight
	if err == nil {
		f, err = parseForesight(out, group, node)
	}
	return f, readElsewhere(ctx, op, via, err)
}

// simulated is what crm_simulate prints (documented: Pacemaker's api schema crm_simulate; seen: 2.1.5).
type simulated struct {
	XMLName xml.Name
	Actions *struct {
		Nodes []struct {
			Task   string `xml:"task,attr"`
			Node   string `xml:"node,attr"`
			Reason string `xml:"reason,attr"`
		} `xml:"node_action"`
		Resources []simulatedAction `xml:"rsc_action"`
	} `xml:"actions"`
	After struct {
		Groups    []crmGroup    `xml:"resources>group"`
		Resources []crmResource `xml:"resources>resource"`
	} `xml:"revised_cluster_status"`
	Status struct {
		Code    int    `xml:"code,attr"`
		Message string `xml:"message,attr"`
	} `xml:"status"`
}

type simulatedAction struct {
	Action   string `xml:"action,attr"`
	Resource string `xml:"resource,attr"`
	Node     string `xml:"node,attr"`
	Source   string `xml:"source,attr"`
	Dest     string `xml:"dest,attr"`
	Reason   string `xml:"reason,attr"`
	Blocked  bool   `xml:"blocked,attr"`
}

func parseForesight(out []byte, group, node string) (Foresight, error) {
	parts := bytes.Split(out, []byte(cut+"\n"))
	if len(parts) != 2 {
		return Foresight{}, fmt.Errorf("the answer has %d parts instead of 2", len(parts))
	}
	move, err := parseSimulated(parts[0])
	if err != nil {
		return Foresight{}, err
	}
	then, err := parseSimulated(parts[1])
	if err != nil {
		return Foresight{}, err
	}
	return Foresight{Others: move.effects(group), Stays: !move.upOn(group, node), Then: then.effects("")}, nil
}

func parseSimulated(out []byte) (simulated, error) {
	var s simulated
	err := xml.Unmarshal(out, &s)
	switch {
	case err != nil:
		return s, fmt.Errorf("read crm_simulate: %w", err)
	case s.Status.Code != 0:
		return s, fmt.Errorf("crm_simulate says %d %s", s.Status.Code, s.Status.Message)
	case s.Actions == nil || len(s.After.Groups)+len(s.After.Resources) == 0:
		return s, fmt.Errorf("crm_simulate answered with <%s> and foresees nothing", s.XMLName.Local)
	}
	return s, nil
}

// groups returns the groups as they would be; a resource outside every group is a group of one.
func (s simulated) groups() []crmGroup {
	list := slices.Clone(s.After.Groups)
	for _, r := range s.After.Resources {
		list = append(list, crmGroup{ID: r.ID, Resources: []crmResource{r}})
	}
	return list
}

func (s simulated) upOn(group, node string) bool {
	g, ok := find(s.groups(), func(g crmGroup) bool { return g.ID == group })
	return ok && !slices.ContainsFunc(g.Resources, func(r crmResource) bool {
		return r.state() != StateOnline || len(r.Nodes) != 1 || r.Nodes[0].Name != node
	})
}

// effects tells what is done to nodes and to resources, but for those of one group.
func (s simulated) effects(but string) []string {
	groupOf := map[string]string{}
	for _, g := range s.groups() {
		for _, m := range g.Resources {
			groupOf[m.ID] = g.ID
		}
	}
	var list []string
	for _, n := range s.Actions.Nodes {
		list = append(list, because("node "+n.Node+": "+n.Task, n.Reason))
	}
	for _, a := range s.Actions.Resources {
		text, g := a.Resource, groupOf[a.Resource]
		if but != "" && g == but {
			continue
		}
		if g != "" && g != text {
			text += " of " + g
		}
		list = append(list, because(text+" "+a.String(), a.Reason))
	}
	slices.Sort(list)
	return list
}

func because(text, reason string) string {
	if reason != "" {
		text += " (" + reason + ")"
	}
	return text
}

func (a simulatedAction) String() string {
	text := a.Action + "s"
	switch {
	case a.Dest != "" && a.Source != "" && a.Dest != a.Source:
		text += " from " + a.Source + " to " + a.Dest
	case a.Node+a.Source+a.Dest != "":
		text += " on " + cmp.Or(a.Node, a.Source, a.Dest)
	}
	if a.Blocked {
		text += ", blocked"
	}
	return text
}
