package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

func openHosts(nodes []Address, dial func(ctx context.Context, network, address string) (net.Conn, error),
	log *slog.Logger,
	check func(field, name string) error) (hosts, error) {
	h := hosts{byName: map[string]*remote.Host{}}
	if len(nodes) == 0 {
		return h, failover.Invalid("nodes", "is empty", "give the address of every node; one that is down is passed over")
	}
	fail := func(err error) (hosts, error) { return h, errors.Join(err, h.close()) }
	addresses := map[string]string{}
	for _, n := range nodes {
		if err := check("node", n.Node); err != nil {
			return fail(err)
		}
		if h.byName[n.Node] != nil {
			return fail(failover.Invalid("nodes", n.Node+" appears twice", "give each node once"))
		}
		if other, ok := addresses[n.SSH.Address]; ok {
			return fail(failover.Invalid("nodes", other+" and "+n.Node+" have the same address",
				"give each node its own fixed address, not one that moves with a group"))
		}
		addresses[n.SSH.Address] = n.Node
		host, err := remote.New(remote.Config{SSH: n.SSH, Dial: dial, Logger: log})
		if err != nil {
			return fail(fmt.Errorf("node %s: %w", n.Node, err))
		}
		h.names, h.byName[n.Node] = append(h.names, n.Node), host
	}
	return h, nil
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
	return &failover.Error{Op: op, Target: want, Outcome: failover.NotApplied, Next: "correct the node's address",
		Err: fmt.Errorf("%w: it says it is %q", ErrWrongNode, got)}
}
