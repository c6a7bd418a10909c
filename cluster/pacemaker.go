package cluster

import (
	"context"
	"embed"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
)

// scripts are for Pacemaker nodes. Each can be read and run by an administrator alone.
//
//go:embed scripts/*.sh
var scripts embed.FS

// Address says how to reach one cluster node: by its own fixed address, never by one that moves with a group.
type Address struct {
	Node string // the node's name in the cluster
	SSH  failover.SSH
}

// PacemakerConfig describes a Pacemaker cluster. The zero value of a field but Nodes is the default that its comment
// names.
type PacemakerConfig struct {
	Nodes []Address // every node that can be asked
	// Privilege says how the account gets at the tools, which need root or the group haclient.
	Privilege Privilege
	// Services names the operating-system service that a resource runs, by resource id, where the resource's agent
	// does not tell. For systemd, lsb and service resources it does.
	Services map[string]string

	Logger      *slog.Logger  // see Config
	CallTimeout time.Duration // see Config
	// Dial replaces the TCP dialer, for sites that go through a proxy; nil dials directly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Privilege says how an account gets its rights on a node.
type Privilege int

const (
	// PrivilegeOwn uses the account's own rights.
	PrivilegeOwn Privilege = iota
	// PrivilegeSudo puts "sudo -n" before every command.
	PrivilegeSudo
)

// Pacemaker is a Pacemaker cluster reached over SSH to any of its nodes.
//
// State is read with crm_mon and cibadmin as XML; exit statuses are judged by number. A move is the constraint that
// crm_resource --move makes, then readings until the group is up on the target, then its removal: it would hold the
// group for ever. A mark in the cluster's configuration (property failover-move-GROUP) tells
// it from an administrator's, so that a later run finds and clears what a crash left. It is created with score 0, which
// draws nothing, and the request replaces it by one with INFINITY where it still stands: once it was cleared, a request
// that is late does nothing.
//
// Pausing is standby. Failback is resource-stickiness of the group itself; where each member has its own, that of the
// group holds nothing, and a transfer is refused. Members follow their group up and down: a target-role of their own is
// removed then. SetService is refused with ErrNotSupported: the service is part
// of the resource's type. The lock is the cluster property failover-lock, changed by compare-and-set inside the cluster's
// configuration. Clones and bundles are not read.
type Pacemaker struct {
	Cluster

	d *pacemakerDriver
}

// NewPacemaker prepares a Pacemaker cluster. It connects to nothing. Close it when done.
func NewPacemaker(conf PacemakerConfig) (*Pacemaker, error) {
	d := &pacemakerDriver{conf: conf}
	if conf.Privilege != PrivilegeOwn && conf.Privilege != PrivilegeSudo {
		return nil, failover.Invalid("PacemakerConfig.Privilege", fmt.Sprintf("is %d", conf.Privilege),
			"use PrivilegeOwn or PrivilegeSudo")
	}
	d.conf.Services = maps.Clone(conf.Services)
	c, err := d.open(d, conf.Nodes, conf.Dial, Config{Logger: conf.Logger, CallTimeout: conf.CallTimeout})
	if err != nil {
		return nil, err
	}
	return &Pacemaker{Cluster: c, d: d}, nil
}

// Close closes the connections.
func (p *Pacemaker) Close() error { return p.d.close() }

type pacemakerDriver struct {
	hosts
	conf PacemakerConfig
}

var (
	// A resource id is an XML ID, of letters of any script; a node name is a host name. So no name that a shell or XPath
	// could take for something else exists in a Pacemaker cluster.
	pacemakerID   = regexp.MustCompile(`\A[\pL_][\pL\pM\p{Nd}_.-]*\z`)
	pacemakerNode = regexp.MustCompile(`\A[A-Za-z0-9_][A-Za-z0-9_.-]*\z`)
)

// Check refuses names that could not exist in a Pacemaker cluster.
func (d *pacemakerDriver) Check(field, name string) error {
	ok := pacemakerID.MatchString(name)
	right := "use the id that crm_mon shows: letters, digits, dot, hyphen and underscore"
	switch field {
	case "node":
		ok = pacemakerNode.MatchString(name)
	case "service":
		ok, right = name != "" && !strings.ContainsFunc(name, unicode.IsControl), "use the service's name"
	}
	if !ok {
		return failover.Invalid(field, fmt.Sprintf("%q cannot be a name in a Pacemaker cluster", name), right)
	}
	return nil
}

func (d *pacemakerDriver) KeepsMoves() bool { return true }

// run runs a script on a node and judges its exit status by number.
func (d *pacemakerDriver) run(ctx context.Context, op, via, script string, args ...string) ([]byte, error) {
	host, err := d.host(via)
	if err != nil {
		return nil, err
	}
	text, err := scripts.ReadFile("scripts/" + script + ".sh")
	if err != nil {
		return nil, unchanged(op, via, "report this", err)
	}
	line := remote.ShellLine("/bin/sh", string(text), args...)
	if d.conf.Privilege == PrivilegeSudo {
		line = "sudo -n " + line
	}
	res, err := host.Run(ctx, remote.Command{Name: op, Line: line, MaxOutput: 64 << 20})
	if err != nil {
		return nil, lineError(ctx, op, via, err)
	}
	switch {
	case res.Truncated:
		return nil, doubt(op, via, "read the state", errors.New("the answer is too long"))
	case res.Exit != 0:
		return res.Stdout, pacemakerError(op, via, res)
	}
	return res.Stdout, nil
}

// pacemakerError gives an exit status its meaning and its outcome (documented: Pacemaker's results.h).
func pacemakerError(op, via string, res remote.Result) error {
	known := pacemakerCodes[res.Exit] // in doubt where it is none of these
	text := strings.TrimSpace(string(res.Stderr))
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "…"
	}
	system := "pacemaker"
	if res.Exit >= 126 { // the shell's own; above 128 it names the signal that ended a tool
		system = "shell"
	}
	return &failover.Error{Op: op, Target: via, Outcome: known.outcome, Next: "act on what Pacemaker says",
		Err: &CodeError{System: system, Code: res.Exit, Name: known.name, Text: text, Kind: known.kind}}
}

type pacemakerCode struct {
	name    string
	kind    error
	outcome failover.Outcome
}

// pacemakerCodes lists what Pacemaker's tools exit with. What may come after the cluster took the request is in doubt.
var pacemakerCodes = map[int]pacemakerCode{
	1:   {"CRM_EX_ERROR", nil, failover.InDoubt},
	4:   {"CRM_EX_INSUFFICIENT_PRIV", ErrPermission, failover.NotApplied},
	5:   {"CRM_EX_NOT_INSTALLED", ErrUnreachable, failover.NotApplied},
	6:   {"CRM_EX_NOT_CONFIGURED", nil, failover.NotApplied},
	64:  {"CRM_EX_USAGE", nil, failover.NotApplied},
	68:  {"CRM_EX_NOHOST", ErrNotFound, failover.NotApplied},
	69:  {"CRM_EX_UNAVAILABLE", ErrUnreachable, failover.InDoubt},
	75:  {"CRM_EX_TEMPFAIL", ErrBusy, failover.InDoubt},
	77:  {"CRM_EX_NOPERM", ErrPermission, failover.NotApplied},
	102: {"CRM_EX_DISCONNECT", ErrUnreachable, failover.InDoubt},
	105: {"CRM_EX_NOSUCH", ErrNotFound, failover.NotApplied},
	106: {"CRM_EX_QUORUM", ErrNoQuorum, failover.NotApplied},
	107: {"CRM_EX_UNSAFE", nil, failover.NotApplied},
	108: {"CRM_EX_EXISTS", nil, failover.NotApplied},
	109: {"CRM_EX_MULTIPLE", nil, failover.NotApplied},
	110: {"CRM_EX_EXPIRED", nil, failover.NotApplied},
	111: {"CRM_EX_NOT_YET_IN_EFFECT", nil, failover.NotApplied},
	112: {"CRM_EX_INDETERMINATE", nil, failover.InDoubt},
	113: {"CRM_EX_UNSATISFIED", ErrTargetUnfit, failover.NotApplied},
	114: {"CRM_EX_NO_DC", ErrBusy, failover.InDoubt},
	124: {"CRM_EX_TIMEOUT", ErrTimeout, failover.InDoubt},
	// The shell's own: the tool is not there or may not be run, so nothing was asked.
	126: {"", ErrUnreachable, failover.NotApplied},
	127: {"", ErrUnreachable, failover.NotApplied},
}

// Exit statuses that are an answer.
const noSuch, exists = 105, 108

func ended(err error, status int) bool {
	code, ok := errors.AsType[*CodeError](err)
	return ok && code.Code == status
}

func (d *pacemakerDriver) read(ctx context.Context, op, via string) (crmReading, error) {
	out, err := d.run(ctx, op, via, "read")
	var r crmReading
	if err == nil {
		r, err = parseReading(out)
	}
	if err == nil && r.local != via {
		return r, wrongNode(op, via, r.local)
	}
	return r, readElsewhere(ctx, op, via, err)
}

// ReadSnapshot reads everything: crm_mon and cibadmin do, too.
func (d *pacemakerDriver) ReadSnapshot(ctx context.Context, via, _ string) (Snapshot, error) {
	r, err := d.read(ctx, "read cluster", via)
	if err != nil {
		return Snapshot{}, err
	}
	return r.snapshot(d.conf.Services), nil
}

func (d *pacemakerDriver) Inspect(ctx context.Context, via string) (Inspection, error) {
	const op = "inspect node"
	out, err := d.run(ctx, op, via, "inspect")
	if err != nil {
		return Inspection{}, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 3 {
		return Inspection{}, unchanged(op, via, "log in by hand and see what it answers",
			fmt.Errorf("unreadable answer %.80q", out))
	}
	return Inspection{Node: lines[0], Build: lines[1], RebootKnown: lines[2] == "no" || lines[2] == "yes",
		RebootPending: lines[2] == "yes", Reasons: lines[3:]}, nil
}

// StartMove gets the request ready and then makes it one, so that ClearMove can take it back wherever it is.
func (d *pacemakerDriver) StartMove(ctx context.Context, via, group, node string) error {
	const op = "move group"
	_, err := d.run(ctx, op, via, "arm", group, node, base64.StdEncoding.EncodeToString([]byte(node)))
	if err != nil { // whatever became of it, nothing was asked for
		return readElsewhere(ctx, op, via, readError(ctx, op, via, err))
	}
	_, err = d.run(ctx, op, via, "move", group, node)
	if ended(err, noSuch) { // it was taken back, or an earlier request for the same node came now and used it
		return doubt(op, group, "see whether the group moves",
			errors.New("the request that was got ready is not there any more"))
	}
	return err
}

func (d *pacemakerDriver) ClearMove(ctx context.Context, via, group string) error {
	const op = "clear move request"
	s, err := d.ReadSnapshot(ctx, via, group)
	if err != nil {
		return readError(ctx, op, group, err)
	}
	g, err := s.named(op, group)
	if err != nil {
		return err
	}
	var cleared failover.Targets
	for _, m := range g.Standing {
		if m.Ours {
			_, err = d.run(ctx, op, via, "clear", group, m.Node)
			cleared.Add(m.ID, err)
		}
	}
	return cleared.Err()
}

// StartState sets target-role, and removes it to bring a group up, which lets the cluster's defaults rule again.
func (d *pacemakerDriver) StartState(ctx context.Context, via, group string, want State) error {
	return d.meta(ctx, "set state of group", via, group, "target-role", map[State]string{StateOffline: "Stopped"}[want])
}

func (d *pacemakerDriver) StartResourceState(ctx context.Context, via, resource string, want State) error {
	return d.meta(ctx, "set state of resource", via, resource, "target-role",
		map[State]string{StateOffline: "Stopped", StateOnline: "Started"}[want])
}

func (d *pacemakerDriver) meta(ctx context.Context, op, via, resource, name, value string) error {
	_, err := d.run(ctx, op, via, "meta", resource, name, value)
	return err
}

func (d *pacemakerDriver) StartPause(ctx context.Context, via, node string) error {
	_, err := d.run(ctx, "pause node", via, "standby", node, "on")
	return err
}

func (d *pacemakerDriver) StartResume(ctx context.Context, via, node string) error {
	_, err := d.run(ctx, "resume node", via, "standby", node, "off")
	return err
}

func (d *pacemakerDriver) SetFailback(ctx context.Context, via, group string, f Failback) error {
	value, err := stickinessOf(f)
	if err != nil {
		return err
	}
	return d.meta(ctx, "set failback", via, group, stickiness, value)
}

// stickinessOf returns what a setting is on the group itself, "" for none.
func stickinessOf(f Failback) (string, error) {
	if f == NoFailback {
		return strconv.Itoa(guardStickiness), nil
	}
	_, err := strconv.Atoi(f.Raw)
	if err != nil && !slices.Contains([]string{"", "INFINITY", "+INFINITY", "-INFINITY"}, f.Raw) {
		return "", failover.Invalid("Failback.Raw", fmt.Sprintf("%q is no stickiness", f.Raw),
			"use a value read from the group")
	}
	return f.Raw, nil
}

func (d *pacemakerDriver) SetService(_ context.Context, _, resource, _ string) error {
	return unchanged("set service of resource", resource, "configure another resource for the other service",
		fmt.Errorf("%w: the service is part of the resource's type", ErrNotSupported))
}

func (d *pacemakerDriver) ReadMark(ctx context.Context, via, key string) (string, error) {
	const op = "read mark"
	if err := d.Check("mark", key); err != nil {
		return "", err
	}
	out, err := d.run(ctx, op, via, "readmark", key)
	var set propertySet
	switch {
	case ended(err, noSuch):
		return "", nil
	case err == nil:
		err = xml.Unmarshal(out, &set)
	}
	return set.text(key), readElsewhere(ctx, op, via, err)
}

// readElsewhere makes what spoiled a read a reason to ask another node; only rights are the same everywhere.
func readElsewhere(ctx context.Context, op, via string, err error) error {
	if err == nil || errors.Is(err, ErrPermission) || errors.Is(err, ErrNotFound) || ctx.Err() != nil {
		return err
	}
	return unchanged(op, via, "ask another node", fmt.Errorf("%w: %w", ErrUnreachable, err))
}

func (d *pacemakerDriver) SwapMark(ctx context.Context, via, key, old, text string) error {
	const op = "swap mark"
	if err := d.Check("mark", key); err != nil {
		return err
	}
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	_, err := d.run(ctx, op, via, "mark", key, encode(old), encode(text))
	if ended(err, noSuch) || ended(err, exists) {
		return unchanged(op, key, "read the mark", fmt.Errorf("%w: %w", ErrMarkChanged, err))
	}
	return err
}

var _ Driver = (*pacemakerDriver)(nil)
