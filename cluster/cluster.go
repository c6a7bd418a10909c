package cluster

import (
	"cmp"
	"context"
	"time"

	"github.com/01b61c5c/failover"
)

// Cluster is a failover cluster seen from outside, whatever its make. Any one node serves every call; which one is
// asked, and that another is asked when a line drops, is the implementation's business.
//
// Every change reads first (being there already is success with nothing done), sends its request at most once, and
// reads afterwards until owner and state are what was asked for. When the line drops after a request was sent, the
// state is read from another node; only if that does not settle it does the call return an error in doubt. The three
// implementations share these semantics: they are built on [Driver] by [New].
type Cluster interface {
	// Snapshot reads the whole cluster.
	Snapshot(ctx context.Context) (Snapshot, error)
	// Group reads one group with its members. ErrNotFound when there is none of that name.
	Group(ctx context.Context, name string) (Group, error)
	// Inspect asks the node at its own address what it says about itself. It does not fall back on another node.
	Inspect(ctx context.Context, node string) (Inspection, error)
	// ServiceResources returns the resources that run the operating-system service, over all groups.
	ServiceResources(ctx context.Context, service string) ([]Resource, error)

	// Foresee asks the cluster what a move of the group to the node would do, to other groups too, when failback is
	// prevented meanwhile and then set as given. It changes nothing. ErrNotSupported where this make of cluster cannot be
	// asked.
	Foresee(ctx context.Context, group, node string, then Failback) (Foresight, error)

	// Move brings the group to the node and returns when owner and state have been observed there, the state being
	// the one before the move. It sends one request at most and never a second one.
	Move(ctx context.Context, group, node string, o MoveOptions) (MoveResult, error)
	// ClearMove removes what a move of ours left in the configuration: the request on Pacemaker, on a Windows cluster the
	// mark that there may be one. Safe to repeat.
	ClearMove(ctx context.Context, group string) error
	// Withdraw takes back every request to move the group that was sent, also one that is still on its way: afterwards
	// none acts. Safe to repeat. ErrNotSupported where that cannot be done and one may be on its way, as on a Windows
	// cluster: nothing shows then that a request without an effect will not act later.
	Withdraw(ctx context.Context, group string) error
	// StateOffline takes the whole group down and returns when it is. Safe to repeat.
	Offline(ctx context.Context, group string, o StateOptions) error
	// StateOnline brings the whole group up and returns when it is. Safe to repeat.
	Online(ctx context.Context, group string, o StateOptions) error
	// OfflineResource takes one resource down, with what depends on it. Safe to repeat.
	OfflineResource(ctx context.Context, resource string, o StateOptions) error
	// OnlineResource brings one resource up, with what it depends on and nothing else. Safe to repeat.
	OnlineResource(ctx context.Context, resource string, o StateOptions) error
	// Pause makes the node take no groups and moves its groups away first: it returns when each of them is online
	// elsewhere. Safe to repeat.
	Pause(ctx context.Context, node string, o StateOptions) error
	// Resume makes a paused node a full member again, without bringing anything back to it. Safe to repeat.
	Resume(ctx context.Context, node string, o StateOptions) error
	// SetFailback sets whether the group may go home by itself: NoFailback, or a value read earlier, to be put back
	// as it was. Safe to repeat.
	SetFailback(ctx context.Context, group string, f Failback) error
	// SetService changes which operating-system service a resource runs. Safe to repeat.
	SetService(ctx context.Context, resource, service string) error

	// Lock returns the lock that lives in this cluster's own configuration.
	Lock() failover.Lock
}

// MoveOptions says how a move is followed. The zero value has sensible times.
type MoveOptions struct {
	Expect  string        // node the caller believes to own the group; "" means whichever does
	Timeout time.Duration // until the group is up on the target; 0 means 10 min
	Poll    time.Duration // between two readings; 0 means 2 s
	Grace   time.Duration // how long a group may be failed or partly up on the target before that counts; 0 means 10 s
	Settle  time.Duration // how long an unmoved group is watched before it counts as not moving; 0 means 30 s
}

// MoveResult is what a move did and what was seen of it.
type MoveResult struct {
	From   string        `json:"from"`
	To     string        `json:"to"`
	State  State         `json:"state"`  // the state before, which is also the state after
	Moved  bool          `json:"moved"`  // false: the target had it already
	Outage time.Duration `json:"outage"` // for how long readings showed the group not in its state
}

// StateOptions says how a change of state is followed. The zero value has sensible times.
type StateOptions struct {
	Timeout time.Duration // 0 means 10 min
	Poll    time.Duration // 0 means 2 s
	// Settle: how long a state that does not change is watched before the request counts as lost; 0 means 30 s
	Settle time.Duration
}

func (o MoveOptions) withDefaults() (MoveOptions, error) {
	s, err := StateOptions{Timeout: o.Timeout, Poll: o.Poll, Settle: o.Settle}.withDefaults()
	if err != nil || o.Grace < 0 {
		return o, failover.Invalid("MoveOptions", "has a negative time", "use zero for the default")
	}
	o.Timeout, o.Poll, o.Settle, o.Grace = s.Timeout, s.Poll, s.Settle, cmp.Or(o.Grace, 10*time.Second)
	return o, nil
}

func (o StateOptions) withDefaults() (StateOptions, error) {
	if o.Timeout < 0 || o.Poll < 0 || o.Settle < 0 {
		return o, failover.Invalid("StateOptions", "has a negative time", "use zero for the default")
	}
	return StateOptions{Timeout: cmp.Or(o.Timeout, 10*time.Minute), Poll: cmp.Or(o.Poll, 2*time.Second),
		Settle: cmp.Or(o.Settle, 30*time.Second)}, nil
}
