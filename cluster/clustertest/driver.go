package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// driver serves the model in the same process.
type driver struct {
	sim   *Sim
	nodes []string
	keeps bool
}

func (d *driver) Nodes() []string { return d.nodes }

func (d *driver) KeepsMoves() bool { return d.keeps }

func (d *driver) Check(field, name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return failover.Invalid(field, fmt.Sprintf("%q is empty or has control characters", name),
			"use the name the cluster shows")
	}
	return nil
}

// ask runs one request against the model as the node via would.
func (d *driver) ask(ctx context.Context, op, via string, request func(*Model) (loss, refusal error)) error {
	if err := ctx.Err(); err != nil {
		return &failover.Error{Op: op, Target: via, Outcome: failover.NotApplied, Next: "run again", Err: err}
	}
	var loss error
	err := d.sim.Update(func(m *Model) error {
		if n := m.Node(via); m.Cut || n == nil || n.Unreachable || n.State == cluster.NodeDown {
			return cluster.ErrUnreachable
		}
		var refusal error
		loss, refusal = request(m)
		return refusal
	})
	switch {
	case err != nil:
		return &failover.Error{Op: op, Target: via, Outcome: failover.NotApplied, Next: "act on what the cluster says",
			Err: err}
	case errors.Is(loss, errGarbage):
		return &failover.Error{Op: op, Target: via, Outcome: failover.InDoubt, Next: "read the state from another node",
			Err: loss}
	case loss != nil:
		return &failover.Error{Op: op, Target: via, Outcome: failover.InDoubt, Next: "read the state from another node",
			Err: fmt.Errorf("%w: %w", cluster.ErrUnreachable, loss)}
	}
	return nil
}

// simple is ask for requests whose reply is never lost.
func (d *driver) simple(ctx context.Context, op, via string, request func(*Model) error) error {
	return d.ask(ctx, op, via, func(m *Model) (error, error) { return nil, request(m) }) //nolint:revive // loss first, refusal second
}

func (d *driver) ReadSnapshot(ctx context.Context, via, _ string) (cluster.Snapshot, error) {
	var s cluster.Snapshot
	err := d.simple(ctx, "read cluster", via, func(m *Model) error {
		m.tick()
		s = m.Snapshot(via)
		return nil
	})
	return s, err
}

func (d *driver) Inspect(ctx context.Context, via string) (cluster.Inspection, error) {
	var in cluster.Inspection
	err := d.simple(ctx, "inspect node", via, func(m *Model) error {
		n := m.Node(via)
		in = cluster.Inspection{Node: n.Name, Build: n.Build, RebootKnown: !n.RebootUntold, RebootPending: n.RebootPending}
		if n.RebootPending {
			in.Reasons = []string{"component based servicing"}
		}
		return nil
	})
	return in, err
}

func (d *driver) Foresee(ctx context.Context, via, group, node string, _ cluster.Failback) (f cluster.Foresight,
	err error) {
	err = d.simple(ctx, "foresee move", via, func(m *Model) (err error) {
		f, err = m.foresee(group, node)
		return err
	})
	return f, err
}

// change is ask for a request that changes something.
func (d *driver) change(ctx context.Context, op, via, verb string, args ...string) error {
	return d.ask(ctx, op, via, func(m *Model) (error, error) { return m.request(via, verb, args...) }) //nolint:revive // as above
}

func (d *driver) StartMove(ctx context.Context, via, group, node string) error {
	return d.change(ctx, "move group", via, "move", group, node)
}

func (d *driver) ClearMove(ctx context.Context, via, group string) error {
	return d.change(ctx, "clear move request", via, "clear-move", group)
}

func (d *driver) StartState(ctx context.Context, via, group string, want cluster.State) error {
	return d.change(ctx, "set state of group", via, want.String(), group)
}

func (d *driver) StartResourceState(ctx context.Context, via, resource string, want cluster.State) error {
	return d.change(ctx, "set state of resource", via, "resource-"+want.String(), resource)
}

func (d *driver) StartPause(ctx context.Context, via, node string) error {
	return d.change(ctx, "pause node", via, "pause", node)
}

func (d *driver) StartResume(ctx context.Context, via, node string) error {
	return d.change(ctx, "resume node", via, "resume", node)
}

func (d *driver) SetFailback(ctx context.Context, via, group string, f cluster.Failback) error {
	return d.change(ctx, "set failback", via, "set-failback", group, f.Policy.String(), f.Raw)
}

func (d *driver) SetService(ctx context.Context, via, resource, service string) error {
	return d.change(ctx, "set service of resource", via, "set-service", resource, service)
}

func (d *driver) ReadMark(ctx context.Context, via, key string) (string, error) {
	var text string
	err := d.simple(ctx, "read mark", via, func(m *Model) error {
		text = m.Marks[key]
		return nil
	})
	return text, err
}

func (d *driver) SwapMark(ctx context.Context, via, key, old, text string) error {
	return d.change(ctx, "swap mark", via, "swap-mark", key, old, text)
}
