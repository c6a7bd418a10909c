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
	// ErrWrongNode: the machine at a node's address says it is another node.
	ErrWrongNode = errors.New("another node answers at this address")
	// ErrTargetUnfit: the target cannot take the group: a member may not run there, or the cluster keeps the node out. The
	// two reasons below wrap it.
	ErrTargetUnfit = errors.New("the target cannot take the group")
	// ErrNodeDown: the node is not a running member of the cluster.
	ErrNodeDown = fmt.Errorf("%w: node is not up", ErrTargetUnfit)
	// ErrNodePaused: the node is paused, in standby or draining.
	ErrNodePaused = fmt.Errorf("%w: node is paused", ErrTargetUnfit)
	// ErrOwnerUnknown: no node, or more than one, has the group.
	ErrOwnerUnknown = errors.New("the group has no single known owner")
	// ErrOtherOwner: the group is not on the node the caller believed it to be on.
	ErrOtherOwner = errors.New("the group is owned by another node than expected")
	// ErrNotOnline: the group is not in the state the move needs.
	ErrNotOnline = errors.New("the group is not online")
	// ErrBusy: the cluster is moving the group or joining a node right now; nothing was done. Ask again later.
	ErrBusy = errors.New("the cluster is busy with this group")
	// ErrGroupLocked: the group or a member is locked against moving.
	ErrGroupLocked = errors.New("the group is locked from moving")
	// ErrUnmanaged: the cluster was told to leave the group, a member or everything alone (maintenance), so a move would
	// never happen.
	ErrUnmanaged = errors.New("the cluster does not manage the group at the moment")
	// ErrNoQuorum: the cluster has no majority.
	ErrNoQuorum = errors.New("the cluster has no quorum")
	// ErrPermission: the account may not do this.
	ErrPermission = errors.New("no permission in the cluster")
	// ErrTimeout: the time ended before the wanted state was seen, or the cluster has put the move off and may still carry
	// it out.
	ErrTimeout = errors.New("the wanted state was not seen in time")
	// ErrFailed: the group or the resource is in the failed state.
	ErrFailed = errors.New("the group failed")
	// ErrPartial: the group is on the target and not all of it is up.
	ErrPartial = errors.New("the group is only partly up")
	// ErrReturned: the group left and went back to the node it came from. Where it is up there, the error wraps
	// failover.ErrReverted too.
	ErrReturned = errors.New("the group returned to its source")
	// ErrElsewhere: the group is up on a node nobody asked for; the error wraps failover.ErrReverted too.
	ErrElsewhere = errors.New("the group landed on another node")
	// ErrNotStarted: the cluster accepted the request and the group never left.
	ErrNotStarted = errors.New("the group did not begin to move")
	// ErrStandingRequest: a move request that is not ours stands in the cluster's configuration.
	ErrStandingRequest = errors.New("a move request of somebody else stands in the cluster")
	// ErrAmbiguous: more than one group runs the service.
	ErrAmbiguous = errors.New("more than one group has the service")
	// ErrDisk: a disk the group needs is not in the group, or nothing in the group is said to need a disk it has.
	ErrDisk = errors.New("the group and its disks do not belong together")
	// ErrBackup: a backup of the cluster database is in progress.
	ErrBackup = errors.New("a backup of the cluster is in progress")
	// ErrRebootPending: a node waits for a reboot.
	ErrRebootPending = errors.New("a reboot is pending")
	// ErrBuilds: the nodes do not run the same build.
	ErrBuilds = errors.New("the nodes run different builds")
	// ErrStopTime: the cluster would kill the service before it usually has stopped.
	ErrStopTime = errors.New("the cluster allows less time than the service needs to stop")
	// ErrNotSupported: this cluster manager has nothing of the kind.
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
	return &failover.Error{Op: op, Target: target, Outcome: failover.NotApplied, Next: next,
		Err: fmt.Errorf("%w: %w: %s", failover.ErrPrecondition, kind, fmt.Sprintf(format, args...))}
}

// stays reports whether an error says that the request did not take effect.
func stays(err error) bool { return failover.OutcomeOf(err) == failover.NotApplied }
