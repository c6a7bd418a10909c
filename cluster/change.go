package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/waiting"
)

func (c *core) Offline(ctx context.Context, group string, o StateOptions) error {
	return c.groupState(ctx, "take group offline", group, StateOffline, o)
}

func (c *core) Online(ctx context.Context, group string, o StateOptions) error {
	return c.groupState(ctx, "bring group online", group, StateOnline, o)
}

func (c *core) groupState(ctx context.Context, op, group string, want State, o StateOptions) error {
	if err := c.d.Check("group", group); err != nil {
		return err
	}
	return c.change(ctx, op, group, want.String(), o, func(ctx context.Context, avoid string) (reading, error) {
		g, err := c.group(ctx, avoid, group)
		if err == nil && g.Unmanaged {
			return reading{}, refuse(op, group, "end the maintenance of the group or the cluster", ErrUnmanaged, "%s", g)
		}
		return reading{text: g.String(), done: g.State == want, moving: g.State == StatePending || g.Queued,
			failed: g.State == StateFailed && want != StateFailed}, err
	}, func(ctx context.Context, via string) error { return c.d.StartState(ctx, via, group, want) })
}

func (c *core) OfflineResource(ctx context.Context, resource string, o StateOptions) error {
	return c.resourceState(ctx, "take resource offline", resource, StateOffline, o)
}

func (c *core) OnlineResource(ctx context.Context, resource string, o StateOptions) error {
	return c.resourceState(ctx, "bring resource online", resource, StateOnline, o)
}

func (c *core) resourceState(ctx context.Context, op, resource string, want State, o StateOptions) error {
	if err := c.d.Check("resource", resource); err != nil {
		return err
	}
	return c.change(ctx, op, resource, want.String(), o, func(ctx context.Context, avoid string) (reading, error) {
		r, err := c.resource(ctx, avoid, resource)
		return reading{text: fmt.Sprintf("%s is %s on %s", r.Name, r.State, r.Owner), done: r.State == want,
			moving: r.State == StatePending, failed: r.State == StateFailed}, err
	}, func(ctx context.Context, via string) error { return c.d.StartResourceState(ctx, via, resource, want) })
}

func (c *core) Pause(ctx context.Context, node string, o StateOptions) error {
	const op = "pause node"
	if err := c.d.Check("node", node); err != nil {
		return err
	}
	drained := map[string]State{} // the groups that were seen on the node, with how they stood first
	return c.change(ctx, op, node, "paused", o,
		func(ctx context.Context, avoid string) (reading, error) {
			s, n, err := c.node(ctx, op, avoid, node)
			if err != nil {
				return reading{}, err
			}
			holds, moving, down, failed := 0, 0, "", n.DrainFailed
			for _, g := range s.Groups {
				was, left := drained[g.Name]
				switch {
				case g.Core:
				case slices.Contains(g.Owners, node) && g.State != StateOffline:
					if holds++; !left {
						drained[g.Name] = g.State
					}
				case left && (g.State == StatePending || g.Queued):
					moving++
				case left && g.State != StateOnline && g.State != was:
					failed, down = failed || g.State == StateFailed, down+"; "+g.String()
				}
			}
			paused := n.State == NodePaused
			return reading{text: fmt.Sprintf("%s is %s with %d groups, %d on their way%s", n.Name, n.State, holds, moving, down),
				done:   paused && !n.Draining && holds+moving == 0 && down == "",
				moving: n.Draining || paused && holds+moving > 0, failed: failed}, nil
		}, func(ctx context.Context, via string) error { return c.d.StartPause(ctx, via, node) })
}

func (c *core) Resume(ctx context.Context, node string, o StateOptions) error {
	const op = "resume node"
	if err := c.d.Check("node", node); err != nil {
		return err
	}
	return c.change(ctx, op, node, "up", o, func(ctx context.Context, avoid string) (reading, error) {
		_, n, err := c.node(ctx, op, avoid, node)
		if err == nil && n.State == NodeDown {
			return reading{}, refuse(op, node, "start the cluster service on the node", ErrNodeDown,
				"a node that is down cannot be resumed")
		}
		return reading{text: fmt.Sprintf("%s is %s", n.Name, n.State), done: n.State == NodeUp && !n.Draining,
			moving: n.State == NodeJoining || n.Draining}, err
	}, func(ctx context.Context, via string) error { return c.d.StartResume(ctx, via, node) })
}

func (c *core) node(ctx context.Context, op, avoid, name string) (Snapshot, Node, error) {
	s, err := c.snapshot(ctx, avoid, "")
	if err != nil {
		return s, Node{}, err
	}
	n, ok := s.Node(name)
	if !ok {
		err = refuse(op, name, "use a node the snapshot shows", ErrNotFound, "the cluster has no such node")
	}
	return s, n, err
}

// reading is what a change of state watches.
type reading struct {
	text                 string
	done, moving, failed bool
}

// change is the shape of a change that takes time: read, request once, read until it holds, fails or time is up. A
// request that was taken and shows no effect is in doubt: silence is no proof that nothing will come, and a part may
// have changed.
func (c *core) change(ctx context.Context, op, target, want string, o StateOptions,
	read func(ctx context.Context, avoid string) (reading, error), request asking) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	r, err := read(ctx, "")
	if err != nil || r.done {
		return err
	}
	via, sent := c.send(ctx, op, "", request)
	if stays(sent) {
		return sent
	}
	avoid := ""
	if sent != nil {
		avoid = via
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	still, failed, started := time.Now(), 0, r.text
	for {
		r, err = read(ctx, avoid)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, ErrUnreachable): // keep asking: the request is out and only a reading settles it
			still = time.Now()
		case err != nil:
			return doubt(op, target, "read the state from the cluster", errors.Join(sent, err))
		case r.done:
			return nil
		case r.failed:
			if failed++; failed >= 2 && r.text != started || time.Since(still) >= o.Settle {
				return doubt(op, target, "repair what failed, then ask again",
					errors.Join(sent, fmt.Errorf("%w: %s", ErrFailed, r.text)))
			}
		case r.moving || r.text != started:
			still, failed = time.Now(), 0
			if r.text != started {
				started = r.text
				failover.Progress(ctx, r.text)
			}
		case time.Since(still) >= o.Settle:
			return doubt(op, target, "find out why the cluster did nothing, then ask again",
				errors.Join(sent, fmt.Errorf("%w: still: %s", failover.ErrNotObserved, r.text)))
		}
		if waitErr := waiting.For(ctx, o.Poll); waitErr != nil {
			return doubt(op, target, "read the state from any node; it is safe to ask for "+want+" again",
				errors.Join(sent, err, fmt.Errorf("%w: last seen: %s", ErrTimeout, r.text), context.Cause(ctx)))
		}
	}
}
