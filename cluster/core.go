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

// core gives a Driver the semantics of Cluster.
type core struct {
	d       Driver
	log     *slog.Logger
	perNode time.Duration

	mu   sync.Mutex
	last string // the node that answered last; asked first, to spare the timeouts of a dead one
}

// New builds a Cluster on a Driver. The clusters of this package are made by NewWindows and NewPacemaker.
func New(d Driver, conf Config) (Cluster, error) {
	switch {
	case d == nil:
		return nil, failover.Invalid("Driver", "is nil", "give a driver")
	case len(d.Nodes()) == 0:
		return nil, failover.Invalid("Driver.Nodes", "is empty", "give at least one node that can be asked")
	case conf.CallTimeout < 0:
		return nil, failover.Invalid("Config.CallTimeout", "is "+conf.CallTimeout.String(), "use zero for the default")
	}
	return &core{d: d, log: cmp.Or(conf.Logger, slog.New(slog.DiscardHandler)),
		perNode: cmp.Or(conf.CallTimeout, 45*time.Second)}, nil
}

// order returns the nodes in the order to ask them: the one that answered last first, the one to avoid at the end.
func (c *core) order(avoid string) []string {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	rank := map[string]int{last: -1}
	rank[avoid] = 1
	return slices.SortedStableFunc(slices.Values(c.d.Nodes()), func(a, b string) int { return rank[a] - rank[b] })
}

// asking is one request to one node.
type asking = func(ctx context.Context, via string) error

// send gives a request to one node after the other as long as it provably did not reach the cluster, and returns the
// node that had it last. It never gives the request to a second node when the first may have carried it out.
func (c *core) send(ctx context.Context, op, avoid string, request asking) (string, error) {
	var unreachable []error
	for _, via := range c.order(avoid) {
		err := c.ask(ctx, via, request)
		c.log.DebugContext(ctx, "asked cluster", "op", op, "node", via, "error", err)
		switch {
		case err == nil:
			c.mu.Lock()
			c.last = via
			c.mu.Unlock()
			return via, nil
		case ctx.Err() != nil, !stays(err), !errors.Is(err, ErrUnreachable):
			return via, err
		}
		c.log.WarnContext(ctx, "cluster node not reachable", "op", op, "node", via, "error", err)
		unreachable = append(unreachable, err)
	}
	return "", unchanged(op, "cluster", "restore the connection to at least one cluster node", errors.Join(unreachable...))
}

// ask gives one node its share of the time, so that a node that swallows requests does not use up everybody's. What
// the node left unanswered when its share ended is in doubt, as after a cut line; for a read that means the next node.
func (c *core) ask(ctx context.Context, via string, request asking) error {
	share, cancel := context.WithTimeout(ctx, c.perNode)
	defer cancel()
	err := request(share, via)
	if stays(err) && share.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrUnreachable) {
		return unchanged("ask node", via, "ask another node", fmt.Errorf("%w: %w", ErrUnreachable, err))
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
	return unchanged(op, target, "ask another node", err)
}

func (c *core) Snapshot(ctx context.Context) (Snapshot, error) { return c.snapshot(ctx, "", "") }

func (c *core) Group(ctx context.Context, name string) (Group, error) {
	if err := c.d.Check("group", name); err != nil {
		return Group{}, err
	}
	return c.group(ctx, "", name)
}

func (c *core) Inspect(ctx context.Context, node string) (Inspection, error) {
	if !slices.Contains(c.d.Nodes(), node) {
		return Inspection{}, failover.Invalid("node", fmt.Sprintf("%q has no address of its own here", node),
			"use one of "+strings.Join(c.d.Nodes(), ", "))
	}
	in, err := c.d.Inspect(ctx, node)
	return in, readError(ctx, "inspect node", node, err)
}

func (c *core) ServiceResources(ctx context.Context, service string) ([]Resource, error) {
	if err := c.d.Check("service", service); err != nil {
		return nil, err
	}
	s, err := c.snapshot(ctx, "", "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(s.resources(), func(m Resource) bool {
		return m.Service == "" || !strings.EqualFold(m.Service, service)
	}), nil
}

func (c *core) SetFailback(ctx context.Context, group string, f Failback) error {
	if err := c.d.Check("group", group); err != nil {
		return err
	}
	if f.Policy != FailbackPrevented && f.Policy != FailbackAllowed {
		return failover.Invalid("Failback.Policy", "is "+f.Policy.String(), "use NoFailback or a value read from the group")
	}
	holds := func(g Group) bool {
		return g.Failback == f || f == NoFailback && g.Failback.Policy == FailbackPrevented
	}
	return c.setting(ctx, "set failback", group, func(ctx context.Context) (bool, error) {
		g, err := c.group(ctx, "", group)
		return holds(g), err
	}, func(ctx context.Context, via string) error { return c.d.SetFailback(ctx, via, group, f) })
}

func (c *core) SetService(ctx context.Context, resource, service string) error {
	if err := errors.Join(c.d.Check("resource", resource), c.d.Check("service", service)); err != nil {
		return err
	}
	return c.setting(ctx, "set service of resource", resource, func(ctx context.Context) (bool, error) {
		r, err := c.resource(ctx, "", resource)
		return r.Service == service, err
	}, func(ctx context.Context, via string) error { return c.d.SetService(ctx, via, resource, service) })
}

// setting is the shape of a change that takes effect at once: read, request, read. A lost reply is settled by the
// second reading, which is enough because a setting is not under way.
func (c *core) setting(ctx context.Context, op, target string, holds func(context.Context) (bool, error),
	request asking) error {
	if done, err := holds(ctx); err != nil || done {
		return err
	}
	_, sent := c.send(ctx, op, "", request)
	if stays(sent) {
		return sent
	}
	done, err := holds(ctx)
	switch {
	case err != nil:
		return doubt(op, target, "read the setting from the cluster", errors.Join(sent, err))
	case !done:
		return doubt(op, target, "read the setting from the cluster again; it is safe to set it again",
			errors.Join(sent, failover.ErrNotObserved))
	}
	return nil
}

func (c *core) resource(ctx context.Context, avoid, name string) (Resource, error) {
	s, err := c.snapshot(ctx, avoid, "")
	if err != nil {
		return Resource{}, err
	}
	if m, ok := find(s.resources(), func(m Resource) bool { return m.Name == name }); ok {
		return m, nil
	}
	return Resource{}, refuse("read resource", name, "use a name the snapshot shows", ErrNotFound,
		"no resource of that name")
}
