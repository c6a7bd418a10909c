package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// Config says how the nodes of a [Driver] are asked. The zero value is the default.
type Config struct {
	// Logger: which node was asked for what, at debug level, and what was lost, at warning level; nil is silent
	Logger      *slog.Logger
	CallTimeout time.Duration // for each single request to each single node, connecting included; 0 means 45 s
}

const defaultPerNode = 45 * time.Second

// core gives a Driver the semantics of Cluster.
type core struct {
	d   Driver
	log *slog.Logger

	perNode time.Duration

	mu   sync.Mutex
	last string // the node that answered last; asked first, to spare the timeouts of a dead one
}

// New builds a Cluster on a Driver. The clusters of this package are made by NewWindows and NewPacemaker.
func New(d Driver, conf Config) (Cluster, error) {
	if d == nil {
		return nil, failover.Invalid("Driver", "is nil", "give a driver")
	}
	if len(d.Nodes()) == 0 {
		return nil, failover.Invalid("Driver.Nodes", "is empty", "give at least one node that can be asked")
	}
	if conf.CallTimeout < 0 {
		return nil, failover.Invalid("Config.CallTimeout", "is "+conf.CallTimeout.String(), "use zero for the default")
	}
	c := &core{d: d, log: conf.Logger, perNode: cmp.Or(conf.CallTimeout, defaultPerNode)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// order returns the nodes in the order to ask them: the one that answered last first, the one to avoid at the end.
func (c *core) order(avoid string) []string {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	nodes := slices.Clone(c.d.Nodes())
	rank := func(n string) int {
		switch n {
		case avoid:
			return 2
		case last:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(nodes, func(a, b string) int { return rank(a) - rank(b) })
	return nodes
}

func (c *core) answered(via string) {
	c.mu.Lock()
	c.last = via
	c.mu.Unlock()
}

// send gives a request to one node after the other as long as it provably did not reach the cluster, and returns the
// node that had it last. It never gives the request to a second node when the first may have carried it out.
func (c *core) send(ctx context.Context, op, avoid string, request func(context.Context, string) error) (string,
	error) {
	var unreachable []error
	for _, via := range c.order(avoid) {
		err := c.ask(ctx, via, request)
		c.log.DebugContext(ctx, "asked cluster", "op", op, "node", via, "error", err)
		switch {
		case err == nil:
			c.answered(via)
			return via, nil
		case ctx.Err() != nil, !stays(err), !errors.Is(err, ErrUnreachable):
			return via, err
		}
		c.log.WarnContext(ctx, "cluster node not reachable", "op", op, "node", via, "error", err)
		unreachable = append(unreachable, err)
	}
	return "", &failover.Error{Op: op, Target: "cluster", Outcome: failover.NotApplied,
		Next: "restore the connection to at least one cluster node", Err: errors.Join(unreachable...)}
}

// ask gives one node its share of the time, so that a node that swallows requests does not use up everybody's. What
// the node left unanswered when its share ended is in doubt, as after a cut line; for a read that means the next node.
func (c *core) ask(ctx context.Context, via string, request func(context.Context, string) error) error {
	share, cancel := context.WithTimeout(ctx, c.perNode)
	defer cancel()
	err := request(share, via)
	if err != nil && stays(err) && share.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrUnreachable) {
		return &failover.Error{Op: "ask node", Target: via, Outcome: failover.NotApplied, Next: "ask another node",
			Err: fmt.Errorf("%w: %w", ErrUnreachable, err)}
	}
	return err
}

// snapshot reads the cluster, or of its groups at least the one called group.
func (c *core) snapshot(ctx context.Context, avoid, group string) (Snapshot, error) {
	var s Snapshot
	_, err := c.send(ctx, "read cluster", avoid, func(ctx context.Context, via string) (err error) {
		s, err = c.d.ReadSnapshot(ctx, via, group)
		return readError(ctx, "read cluster", via, err)
	})
	return s.believed(), err
}

func (c *core) group(ctx context.Context, avoid, name string) (Group, error) {
	s, err := c.snapshot(ctx, avoid, name)
	if err != nil {
		return Group{}, err
	}
	return s.named("read group", name)
}

// readError makes a lost reply to a read what it is: nothing happened, and another node can be asked.
func readError(ctx context.Context, op, target string, err error) error {
	if err == nil || stays(err) {
		return err
	}
	if ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return &failover.Error{Op: op, Target: target, Outcome: failover.NotApplied, Next: "ask another node", Err: err}
}

// Snapshot implements Cluster.
func (c *core) Snapshot(ctx context.Context) (Snapshot, error) { return c.snapshot(ctx, "", "") }

// Group implements Cluster.
func (c *core) Group(ctx context.Context, name string) (Group, error) {
	if err := c.d.Check("group", name); err != nil {
		return Group{}, err
	}
	return c.group(ctx, "", name)
}

// Inspect implements Cluster.
func (c *core) Inspect(ctx context.Context, node string) (Inspection, error) {
	if !slices.Contains(c.d.Nodes(), node) {
		return Inspection{}, failover.Invalid("node", fmt.Sprintf("%q has no address of its own here", node),
			"use one of "+strings.Join(c.d.Nodes(), ", "))
	}
	in, err := c.d.Inspect(ctx, node)
	return in, readError(ctx, "inspect node", node, err)
}

// ServiceResources implements Cluster.
func (c *core) ServiceResources(ctx context.Context, service string) ([]Resource, error) {
	if err := c.d.Check("service", service); err != nil {
		return nil, err
	}
	s, err := c.snapshot(ctx, "", "")
	if err != nil {
		return nil, err
	}
	var found []Resource
	for _, g := range s.Groups {
		for _, m := range g.Members {
			if m.Service != "" && strings.EqualFold(m.Service, service) {
				found = append(found, m)
			}
		}
	}
	return found, nil
}

// SetFailback implements Cluster.
func (c *core) SetFailback(ctx context.Context, group string, f Failback) error {
	const op = "set failback"
	if err := c.d.Check("group", group); err != nil {
		return err
	}
	if f.Policy != FailbackPrevented && f.Policy != FailbackAllowed {
		return failover.Invalid("Failback.Policy", "is "+f.Policy.String(), "use NoFailback or a value read from the group")
	}
	holds := func(g Group) bool {
		return g.Failback == f || f == NoFailback && g.Failback.Policy == FailbackPrevented
	}
	return c.setting(ctx, op, group, func(ctx context.Context) (bool, error) {
		g, err := c.group(ctx, "", group)
		return holds(g), err
	}, func(ctx context.Context, via string) error { return c.d.SetFailback(ctx, via, group, f) })
}

// SetService implements Cluster.
func (c *core) SetService(ctx context.Context, resource, service string) error {
	const op = "set service of resource"
	if err := errors.Join(c.d.Check("resource", resource), c.d.Check("service", service)); err != nil {
		return err
	}
	return c.setting(ctx, op, resource, func(ctx context.Context) (bool, error) {
		r, err := c.resource(ctx, "", resource)
		return r.Service == service, err
	}, func(ctx context.Context, via string) error { return c.d.SetService(ctx, via, resource, service) })
}

// setting is the shape of a change that takes effect at once: read, request, read. A lost reply is settled by the
// second reading, which is enough because a setting is not under way.
func (c *core) setting(ctx context.Context, op, target string, holds func(context.Context) (bool, error),
	request func(context.Context, string) error) error {
	if done, err := holds(ctx); err != nil || done {
		return err
	}
	_, sent := c.send(ctx, op, "", request)
	if sent != nil && stays(sent) {
		return sent
	}
	done, err := holds(ctx)
	switch {
	case err != nil:
		return &failover.Error{Op: op, Target: target, Outcome: failover.InDoubt, Next: "read the setting from the cluster",
			Err: errors.Join(sent, err)}
	case !done:
		return &failover.Error{Op: op, Target: target, Outcome: failover.InDoubt,
			Next: "read the setting from the cluster again; it is safe to set it again",
			Err:  errors.Join(sent, failover.ErrNotObserved)}
	}
	return nil
}

func (c *core) resource(ctx context.Context, avoid, name string) (Resource, error) {
	s, err := c.snapshot(ctx, avoid, "")
	if err != nil {
		return Resource{}, err
	}
	for _, g := range s.Groups {
		for _, m := range g.Members {
			if m.Name == name {
				return m, nil
			}
		}
	}
	return Resource{}, refuse("read resource", name, "use a name the snapshot shows", ErrNotFound,
		"no resource of that name")
}
