package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
)

// hosts are the nodes of a cluster that can be asked over SSH.
type hosts struct {
	names  []string
	byName map[string]*remote.Host
}

// open gets the nodes ready to be asked and builds a Cluster on their driver, which has them as its hosts.
func (h *hosts) open(d Driver, nodes []Address, dial func(context.Context, string, string) (net.Conn, error),
	conf Config) (Cluster, error) {
	h.byName = map[string]*remote.Host{}
	if len(nodes) == 0 {
		return nil, failover.Invalid("nodes", "is empty", "give the address of every node; one that is down is passed over")
	}
	fail := func(err error) (Cluster, error) { return nil, errors.Join(err, h.close()) }
	addresses := map[string]string{}
	for _, n := range nodes {
		if err := d.Check("node", n.Node); err != nil {
			return fail(err)
		}
		if h.byName[n.Node] != nil {
			return fail(failover.Invalid("nodes", n.Node+" appears twice", "give each node once"))
		}
		if other, ok := addresses[n.SSH.Address]; ok {
			return fail(failover.Invalid("nodes", other+" and "+n.Node+" have the same address",
				"give each node its own fixed address, not one that moves with a group"))
		}
		host, err := remote.New(remote.Config{SSH: n.SSH, Dial: dial, Logger: conf.Logger})
		if err != nil {
			return fail(fmt.Errorf("node %s: %w", n.Node, err))
		}
		addresses[n.SSH.Address], h.byName[n.Node] = n.Node, host
		h.names = append(h.names, n.Node)
	}
	c, err := New(d, conf)
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// Nodes returns the nodes in the order they were given.
func (h hosts) Nodes() []string { return h.names }

func (h hosts) host(via string) (*remote.Host, error) {
	if host := h.byName[via]; host != nil {
		return host, nil
	}
	return nil, failover.Invalid("node", via+" has no address", "use one of "+strings.Join(h.names, ", "))
}

func (h hosts) close() error {
	var errs []error
	for _, name := range h.names {
		errs = append(errs, h.byName[name].Close())
	}
	return errors.Join(errs...)
}

// lineError marks what went wrong with the line as ErrUnreachable, so that another node is asked where that is safe.
func lineError(ctx context.Context, op, via string, err error) error {
	if ctx.Err() != nil || errors.Is(err, failover.ErrInvalid) {
		return err
	}
	return &failover.Error{Op: op, Target: via, Outcome: failover.OutcomeOf(err), Next: failover.NextOf(err),
		Err: fmt.Errorf("%w: %w", ErrUnreachable, err)}
}

func wrongNode(op, want, got string) error {
	return unchanged(op, want, "correct the node's address", fmt.Errorf("%w: it says it is %q", ErrWrongNode, got))
}
