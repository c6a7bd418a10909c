package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/internal/wsfc"
	"github.com/01b61c5c/failover/internal/powershell"
)

// WindowsConfig describes a Windows cluster. The zero value of a field but Nodes is the default that its comment names.
type WindowsConfig struct {
	Nodes []Address // every node that can be asked

	Logger      *slog.Logger  // see Config
	CallTimeout time.Duration // see Config
	// Dial replaces the TCP dialer, for sites that go through a proxy; nil dials directly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Windows is a Windows Server Failover Cluster reached over SSH (Win32-OpenSSH) to any of its nodes.
//
// The scripts run in Windows PowerShell 5.1, which is part of every Windows Server; PowerShell 7 has the module
// FailoverClusters only as copies through its compatibility layer (documented). They call its cmdlets without -Cluster,
// so each talks to its own node's cluster service, which acts for the whole cluster (documented), and no credentials
// have to travel a second hop. A move is started with -Wait 0 and followed by readings, so that no command is long and
// a dropped line ends nothing. What Windows refuses is judged by Win32 code. The account must be a local administrator
// of the nodes.
//
// What a move does to other groups is not known beforehand. Not read are: affinity and anti-affinity rules
// (Get-ClusterAffinityRule, AntiAffinityClassNames), dependencies between groups (Get-ClusterGroupSetDependency),
// groups of a higher priority that take the memory of others, and the start order of groups. How the other groups
// stand is compared afterwards.
//
// The lock is a private property of the cluster object. It is read, written and read back after a pause, which is no
// true compare-and-set across two nodes; the engine's check before every change notices a lost race.
//
// A request whose answer is lost cannot be taken back here. From before it is sent until its end is known a second
// private property, failover-move-…, says so; as long as it stands, a move that is not seen stays in doubt.
//
// The scripts were not tried on a live cluster: how it behaves is inferred from documented cmdlets.
type Windows struct {
	Cluster

	d *windowsDriver
}

// NewWindows prepares a Windows cluster. It connects to nothing. Close it when done.
func NewWindows(conf WindowsConfig) (*Windows, error) {
	d := &windowsDriver{}
	c, err := d.open(d, conf.Nodes, conf.Dial, Config{Logger: conf.Logger, CallTimeout: conf.CallTimeout})
	if err != nil {
		return nil, err
	}
	return &Windows{Cluster: c, d: d}, nil
}

// Close closes the connections.
func (w *Windows) Close() error { return w.d.close() }

type windowsDriver struct{ hosts }

var windowsNode = regexp.MustCompile(`\A[A-Za-z0-9_][A-Za-z0-9_.-]*\z`)

// Check refuses names that could not exist. Group and resource names may hold nearly anything: they travel as data.
func (d *windowsDriver) Check(field, name string) error {
	switch {
	case name == "" || len(name) > 1024 || strings.ToValidUTF8(name, "") != name ||
		strings.ContainsFunc(name, unicode.IsControl):
		return failover.Invalid(field, fmt.Sprintf("%.60q is empty, too long or holds control characters", name),
			"use the name the cluster shows")
	case field == "node" && !windowsNode.MatchString(name):
		return failover.Invalid(field, fmt.Sprintf("%q cannot be a computer name", name),
			"use the node's name in the cluster")
	}
	return nil
}

func (d *windowsDriver) KeepsMoves() bool { return false }

func (d *windowsDriver) run(ctx context.Context, op, via, script string, req wsfc.Request, answer any) error {
	host, err := d.host(via)
	if err != nil {
		return err
	}
	err = powershell.Run(ctx, host, wsfc.Script(script), req, answer)
	outcome := failover.OutcomeOf(err)
	f, failed := errors.AsType[*powershell.Failure](err)
	switch {
	case err == nil:
		return nil
	case failed:
		return windowsError(op, via, f, outcome)
	case errors.Is(err, powershell.ErrNoAnswer) || errors.Is(err, powershell.ErrBadAnswer):
		return &failover.Error{Op: op, Target: via, Outcome: outcome, Next: failover.NextOf(err), Err: err}
	}
	return lineError(ctx, op, via, err)
}

func (d *windowsDriver) ReadSnapshot(ctx context.Context, via, group string) (Snapshot, error) {
	const op = "read cluster"
	var s wsfc.State
	if err := d.run(ctx, op, via, wsfc.Snapshot, wsfc.Request{Group: group}, &s); err != nil {
		return Snapshot{}, readElsewhere(ctx, op, via, err)
	}
	if !strings.EqualFold(s.Local, via) {
		return Snapshot{}, wrongNode(op, via, s.Local)
	}
	return windowsSnapshot(s, via), nil
}

func (d *windowsDriver) Inspect(ctx context.Context, via string) (Inspection, error) {
	var in wsfc.Inspection
	if err := d.run(ctx, "inspect node", via, wsfc.Inspect, wsfc.Request{}, &in); err != nil {
		return Inspection{}, err
	}
	if strings.EqualFold(in.Node, via) {
		in.Node = via // the machine spells its name in capitals
	}
	return Inspection{Node: in.Node, Build: in.Build, RebootKnown: in.Reasons != nil,
		RebootPending: len(in.Reasons) > 0, Reasons: in.Reasons}, nil
}

func (d *windowsDriver) StartMove(ctx context.Context, via, group, node string) error {
	return d.run(ctx, "move group", via, wsfc.Move, wsfc.Request{Group: group, Node: node}, nil)
}

// ClearMove removes the mark that says that a request may be on its way; the request itself it cannot take back.
func (d *windowsDriver) ClearMove(ctx context.Context, via, group string) error {
	key := wsfc.MoveKey(group)
	text, err := d.ReadMark(ctx, via, key)
	if err != nil || text == "" {
		return err
	}
	return d.SwapMark(ctx, via, key, text, "")
}

func (d *windowsDriver) StartState(ctx context.Context, via, group string, want State) error {
	return d.run(ctx, "set state of group", via, wsfc.GroupState, wsfc.Request{Group: group, Want: want.String()}, nil)
}

func (d *windowsDriver) StartResourceState(ctx context.Context, via, resource string, want State) error {
	return d.run(ctx, "set state of resource", via, wsfc.ResourceState,
		wsfc.Request{Resource: resource, Want: want.String()}, nil)
}

func (d *windowsDriver) StartPause(ctx context.Context, via, node string) error {
	return d.run(ctx, "pause node", via, wsfc.NodeState, wsfc.Request{Node: node, Want: "drain"}, nil)
}

// Foresee is not supported: no cmdlet tells beforehand what a move does to other groups. See Windows.
func (d *windowsDriver) Foresee(_ context.Context, _, group, _ string, _ Failback) (Foresight, error) {
	return Foresight{}, unchanged("foresee move", group, "look at the affinity rules and group sets of the cluster",
		fmt.Errorf("%w: a Windows cluster does not say beforehand what a move does", ErrNotSupported))
}

func (d *windowsDriver) StartResume(ctx context.Context, via, node string) error {
	return d.run(ctx, "resume node", via, wsfc.NodeState, wsfc.Request{Node: node, Want: "resume"}, nil)
}

func (d *windowsDriver) SetFailback(ctx context.Context, via, group string, f Failback) error {
	kind := 0
	if f.Policy == FailbackAllowed {
		kind = 1
	}
	return d.run(ctx, "set failback", via, wsfc.Failback, wsfc.Request{Group: group, Type: kind}, nil)
}

func (d *windowsDriver) SetService(ctx context.Context, via, resource, service string) error {
	return d.run(ctx, "set service of resource", via, wsfc.Service, wsfc.Request{Resource: resource, Service: service},
		nil)
}

func (d *windowsDriver) ReadMark(ctx context.Context, via, key string) (string, error) {
	var m wsfc.Marked
	err := d.run(ctx, "read mark", via, wsfc.Mark, wsfc.Request{Key: key}, &m)
	return m.Text, readElsewhere(ctx, "read mark", via, err)
}

func (d *windowsDriver) SwapMark(ctx context.Context, via, key, old, text string) error {
	const op = "swap mark"
	var m wsfc.Marked
	if err := d.run(ctx, op, via, wsfc.Mark, wsfc.Request{Key: key, Swap: true, Old: old, Text: text}, &m); err != nil {
		return err
	}
	if !m.Swapped {
		return unchanged(op, key, "read the mark", ErrMarkChanged)
	}
	return nil
}

var _ Driver = (*windowsDriver)(nil)

// Numbers of the FailoverClusters enumerations (documented: clusapi.h; seen: published stubs of the module).
const (
	nodeIsolated, nodeQuarantined, nodeDraining, nodeDrainFailed = 1, 2, 4, 16
	drainInProgress, drainFailed                                 = 1, 3
	groupLocked, groupQueued, groupWaiting                       = 1, 4, 16
	groupEmbeddedFailure, groupNetworkFailure, groupUnmonitored  = 32, 128, 256
)

func windowsSnapshot(s wsfc.State, via string) Snapshot {
	// The cluster service of a node without quorum stops, so an answer is proof of quorum.
	v := Snapshot{Cluster: s.Cluster, ReadFrom: via, Quorum: QuorumPresent, BackupUnknown: s.Backup == nil,
		BackupInProgress: s.Backup != nil && *s.Backup != 0}
	for _, n := range s.Nodes {
		state, drain := NodeUnknown, wsfc.Number(-1)
		if n.DrainCode != nil {
			drain = *n.DrainCode
			state = known(n.Code, map[wsfc.Number]NodeState{0: NodeUp, 1: NodeDown, 2: NodePaused, 3: NodeJoining})
		}
		v.Nodes = append(v.Nodes, Node{Name: n.Name, State: state, Build: n.Build,
			Draining:    drain == drainInProgress || n.Info&nodeDraining != 0,
			DrainFailed: drain == drainFailed || n.Info&nodeDrainFailed != 0,
			Isolated:    n.Info&nodeIsolated != 0, Quarantined: n.Info&nodeQuarantined != 0,
			Raw: fmt.Sprintf("%s (%s), drain %s", n.State, said(n.Code), n.Drain)})
	}
	for _, g := range s.Groups {
		state := known(g.Code, map[wsfc.Number]State{0: StateOnline, 1: StateOffline, 2: StateFailed, 3: StatePartial,
			4: StatePending})
		policy := known(g.Failback, map[wsfc.Number]FailbackPolicy{0: FailbackPrevented, 1: FailbackAllowed})
		group := Group{Name: g.Name, Owner: g.Owner, State: state, Core: g.Core,
			Failback: Failback{Policy: policy, Raw: said(g.Failback)},
			Raw:      fmt.Sprintf("%s (%s), information %s", g.State, said(g.Code), said(g.Info))}
		info := wsfc.Number(groupUnmonitored) // what is not said
		if g.Info != nil {
			info = *g.Info
		}
		group.Locked, group.Queued = g.Locked || info&groupLocked != 0, info&(groupQueued|groupWaiting) != 0
		switch {
		case group.State == StateOnline && info&groupUnmonitored != 0, g.Failed != "":
			group.State = StateUnknown
		case group.State == StateOnline && info&(groupEmbeddedFailure|groupNetworkFailure) != 0:
			group.State = StateFailed
		}
		if g.Owner != "" {
			group.Owners = []string{g.Owner}
		}
		for _, m := range s.Marks {
			if strings.EqualFold(m.Key, wsfc.MoveKey(g.Name)) {
				group.Standing = append(group.Standing, MoveRequest{ID: m.Key, Node: m.Text, Ours: true, Inert: true})
			}
		}
		for _, r := range s.Resources {
			if r.Group != g.Name && r.Group != "" { // one that does not tell its group may be of any
				continue
			}
			group.Members = append(group.Members, windowsResource(r))
			if r.Failed != "" {
				group.State, g.Failed = StateUnknown, strings.TrimSpace(g.Failed+" "+r.Name+": "+r.Failed)
			}
		}
		if g.Failed != "" {
			group.Raw += "; could not be read: " + g.Failed
		}
		v.Groups = append(v.Groups, group)
	}
	return v
}

// known looks a number up. One that was not said or is none of these is the zero value, which is "unknown": on Windows
// 0 is a good state.
func known[T any](code *wsfc.Number, states map[wsfc.Number]T) T {
	var unknown T
	if code == nil {
		return unknown
	}
	return states[*code]
}

func said(code *wsfc.Number) string {
	if code == nil {
		return "no number"
	}
	return strconv.FormatInt(int64(*code), 10)
}

var dependency = regexp.MustCompile(`\[([^\]]*)\]`)

func windowsResource(r wsfc.Resource) Resource {
	state := known(r.Code, map[wsfc.Number]State{1: StatePending, 2: StateOnline, 3: StateOffline, 4: StateFailed,
		128: StatePending, 129: StatePending, 130: StatePending})
	v := Resource{Name: r.Name, Group: r.Group, Owner: r.Owner, Type: r.Type, State: state, Possible: r.Possible,
		Service: r.Service, Core: r.Core, Disk: r.Type == "Physical Disk", Maintenance: r.Maintenance,
		PendingTimeout: time.Duration(max(0, r.PendingMs)) * time.Millisecond,
		Raw:            fmt.Sprintf("%s (%s)", r.State, said(r.Code))}
	for _, m := range dependency.FindAllStringSubmatch(r.Depends, -1) {
		v.DependsOn = append(v.DependsOn, m[1])
	}
	return v
}
