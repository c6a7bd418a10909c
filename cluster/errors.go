package cluster

import (
	"errors"
	"fmt"

	"github.com/01b61c5c/failover"
)

// Sentinels for what a cluster can answer or what a move can come to. They are wrapped in *failover.Error, which
// carries the outcome; test with errors.Is.
var (
	// ErrNotFound: the cluster knows no group, node or resource of that name.
	ErrNotFound = errors.New("not found in the cluster")
	// ErrUnreachable: no node could be asked; or, from a Driver, this node could not.
	ErrUnreachable = errors.New("cluster node not reachable")
	// ErrWrongNode: the machine says it is another one.
	ErrWrongNode = errors.New("another node answers at this address")
	// ErrTargetUnfit: a member may not run there, or the cluster keeps the node out. The two reasons below wrap it.
	ErrTargetUnfit = errors.New("the target cannot take the group")
	// ErrNodeDown: it is not a running member of the cluster.
	ErrNodeDown = fmt.Errorf("%w: node is not up", ErrTargetUnfit)
	// ErrNodePaused: it is paused, in standby or draining.
	ErrNodePaused = fmt.Errorf("%w: node is paused", ErrTargetUnfit)
	// ErrOwnerUnknown: no node, or more than one, has the group.
	ErrOwnerUnknown = errors.New("the group has no single known owner")
	ErrOtherOwner   = errors.New("the group is owned by another node than expected")
	// ErrNotOnline: the group is not in the state the move needs.
	ErrNotOnline = errors.New("the group is not online")
	// ErrBusy: the cluster is moving the group or joining a node right now; nothing was done. Ask again later.
	ErrBusy = errors.New("the cluster is busy with this group")
	// ErrGroupLocked: the group or a member is.
	ErrGroupLocked = errors.New("the group is locked from moving")
	// ErrUnmanaged: the cluster was told to leave the group, a member or everything alone (maintenance), so a move would
	// never happen.
	ErrUnmanaged  = errors.New("the cluster does not manage the group at the moment")
	ErrNoQuorum   = errors.New("the cluster has no quorum")
	ErrPermission = errors.New("no permission in the cluster") // of the account
	// ErrTimeout: the time ended before that, or the cluster has put the move off and may still carry it out.
	ErrTimeout = errors.New("the wanted state was not seen in time")
	// ErrFailed: the group or the resource is in the failed state.
	ErrFailed = errors.New("the group failed")
	// ErrPartial: it is on the target and not all of it is up.
	ErrPartial = errors.New("the group is only partly up")
	// ErrReturned: it had left. Where it is up at its source, the error wraps failover.ErrReverted too.
	ErrReturned = errors.New("the group returned to its source")
	// ErrElsewhere: nobody asked for that node. Where it is up there, the error wraps failover.ErrReverted too.
	ErrElsewhere = errors.New("the group landed on another node")
	// ErrNotStarted: the cluster accepted the request and the group never left.
	ErrNotStarted = errors.New("the group did not begin to move")
	// ErrStandingRequest: one that is not ours stands in the cluster's configuration.
	ErrStandingRequest = errors.New("a move request of somebody else stands in the cluster")
	ErrAmbiguous       = errors.New("more than one group has the service")
	// ErrDisk: a disk the group needs is not in the group, or nothing in the group is said to need a disk it has.
	ErrDisk          = errors.New("the group and its disks do not belong together")
	ErrBackup        = errors.New("a backup of the cluster is in progress") // of its database
	ErrRebootPending = errors.New("a reboot is pending")
	// ErrNotTold: a machine does not say what a check looks for. That is no proof in either direction.
	ErrNotTold = errors.New("it is not told")
	ErrBuilds  = errors.New("the nodes run different builds")
	// ErrStopTime: it would kill the service before it usually has stopped.
	ErrStopTime     = errors.New("the cluster allows less time than the service needs to stop")
	ErrNotSupported = errors.New("not supported by this cluster manager")
)

// CodeError is a refusal by the cluster manager, judged by its number and never by its text, which is localised.
type CodeError struct {
	System string // "win32", "pacemaker", or "shell" for what the shell around Pacemaker's tools says
	Code   int
	Name   string // symbolic name, for example ERROR_CLUSTER_NODE_PAUSED; "" when the table does not have it
	Text   string // what the cluster said, for people
	Kind   error  // the sentinel the code stands for; nil when the table does not have it
}

// Error returns system, code, name and text.
func (e *CodeError) Error() string {
	text := fmt.Sprintf("%s error %d", e.System, e.Code)
	if e.Name != "" {
		text += " " + e.Name
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Unwrap returns the sentinel the code stands for.
func (e *CodeError) Unwrap() error { return e.Kind }

// refuse builds the error for something that was checked and does not hold, before anything was changed.
func refuse(op, target, next string, kind error, format string, args ...any) error {
	return unchanged(op, target, next,
		fmt.Errorf("%w: %w: %s", failover.ErrPrecondition, kind, fmt.Sprintf(format, args...)))
}

// unchanged builds the error for something that did not happen.
func unchanged(op, target, next string, err error) error {
	return &failover.Error{Op: op, Target: target, Outcome: failover.NotApplied, Next: next, Err: err}
}

// doubt builds the error for something that may have happened.
func doubt(op, target, next string, err error) error {
	return &failover.Error{Op: op, Target: target, Outcome: failover.InDoubt, Next: next, Err: err}
}

// stays reports whether an error says that the request did not take effect.
func stays(err error) bool { return failover.OutcomeOf(err) == failover.NotApplied }
