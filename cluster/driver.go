package cluster

import (
	"context"
	"errors"
)

// Driver speaks to one make of cluster manager. Each method is one request to one node (via): it sends it at most
// once, does not wait for effects and judges nothing; [New] builds the semantics of [Cluster] on top.
//
// An error carries its outcome as *failover.Error: NotApplied when the request did not leave this machine or the
// cluster refused it, InDoubt when it was sent and no answer came. It wraps ErrUnreachable when the node itself could
// not be asked, and then another node may be. Reads report NotApplied.
//
// Names in what a Driver returns are spelled as the cluster spells them.
type Driver interface {
	// Nodes returns the nodes that can be asked, by cluster name, in the order in which to try them.
	Nodes() []string
	// Check refuses a group, node, resource or service name that could not be one in this make of cluster.
	Check(field, name string) error

	// ReadSnapshot reads the cluster. When group is not "", groups of another name may be left out.
	ReadSnapshot(ctx context.Context, via, group string) (Snapshot, error)
	Inspect(ctx context.Context, via string) (Inspection, error)

	// Foresee asks for what a move would do; ErrNotSupported where the cluster cannot say.
	Foresee(ctx context.Context, via, group, node string, then Failback) (Foresight, error)

	StartMove(ctx context.Context, via, group, node string) error
	// ClearMove removes what StartMove left. Where the cluster keeps moves, a StartMove that comes later then does
	// nothing.
	ClearMove(ctx context.Context, via, group string) error
	// StartState and StartResourceState ask for StateOnline or StateOffline.
	StartState(ctx context.Context, via, group string, want State) error
	StartResourceState(ctx context.Context, via, resource string, want State) error
	StartPause(ctx context.Context, via, node string) error // and moves its groups away
	StartResume(ctx context.Context, via, node string) error
	SetFailback(ctx context.Context, via, group string, f Failback) error
	SetService(ctx context.Context, via, resource, service string) error

	// ReadMark returns the text stored under key in the cluster's configuration, "" when there is none.
	ReadMark(ctx context.Context, via, key string) (string, error)
	// SwapMark stores text under key if what is stored now is old ("" for nothing); text "" removes it. When
	// something else is stored it changes nothing and returns ErrMarkChanged.
	SwapMark(ctx context.Context, via, key, old, text string) error

	// KeepsMoves reports whether a move leaves a request in the configuration that has to be cleared.
	KeepsMoves() bool
}

// ErrMarkChanged is what SwapMark returns when something else is stored than the caller believes.
var ErrMarkChanged = errors.New("the mark in the cluster is another one than expected")
