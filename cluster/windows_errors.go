package cluster

import (
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/powershell"
)

// windowsCode is what a Win32 code means here. A refused request did not take effect; the others leave open whether it
// is under way.
type windowsCode struct {
	name    string
	kind    error
	refused bool
}

// windowsCodes lists the codes of winerror.h that cluster cmdlets report (documented).
var windowsCodes = map[int]windowsCode{
	5:    {"ERROR_ACCESS_DENIED", ErrPermission, true},
	50:   {"ERROR_NOT_SUPPORTED", ErrNotSupported, true},
	87:   {"ERROR_INVALID_PARAMETER", failover.ErrInvalid, true},
	170:  {"ERROR_BUSY", ErrBusy, true},
	258:  {"WAIT_TIMEOUT", ErrTimeout, false},
	997:  {"ERROR_IO_PENDING", nil, false},
	1722: {"RPC_S_SERVER_UNAVAILABLE", ErrUnreachable, false},
	1753: {"EPT_S_NOT_REGISTERED", ErrUnreachable, false},
	5005: {"ERROR_HOST_NODE_NOT_AVAILABLE", ErrNodeDown, true},
	5007: {"ERROR_RESOURCE_NOT_FOUND", ErrNotFound, true},
	5012: {"ERROR_GROUP_NOT_AVAILABLE", ErrNotFound, true},
	5013: {"ERROR_GROUP_NOT_FOUND", ErrNotFound, true},
	5014: {"ERROR_GROUP_NOT_ONLINE", ErrNotOnline, true},
	5015: {"ERROR_HOST_NODE_NOT_RESOURCE_OWNER", ErrTargetUnfit, true},
	5016: {"ERROR_HOST_NODE_NOT_GROUP_OWNER", ErrTargetUnfit, true},
	5018: {"ERROR_RESMON_ONLINE_FAILED", ErrFailed, false},
	5019: {"ERROR_RESOURCE_ONLINE", failover.ErrPrecondition, true},
	5020: {"ERROR_QUORUM_RESOURCE", failover.ErrPrecondition, true},
	5022: {"ERROR_CLUSTER_SHUTTING_DOWN", ErrUnreachable, false},
	5023: {"ERROR_INVALID_STATE", ErrBusy, false},
	5036: {"ERROR_NODE_NOT_AVAILABLE", ErrNodeDown, true},
	5037: {"ERROR_ALL_NODES_NOT_AVAILABLE", ErrNodeDown, true},
	5038: {"ERROR_RESOURCE_FAILED", ErrFailed, false},
	5041: {"ERROR_CLUSTER_JOIN_IN_PROGRESS", ErrBusy, true},
	5042: {"ERROR_CLUSTER_NODE_NOT_FOUND", ErrNotFound, true},
	5050: {"ERROR_CLUSTER_NODE_DOWN", ErrNodeDown, true},
	5051: {"ERROR_CLUSTER_NODE_UNREACHABLE", ErrNodeDown, true},
	5052: {"ERROR_CLUSTER_NODE_NOT_MEMBER", ErrNodeDown, true},
	5056: {"ERROR_CLUSTER_NODE_UP", nil, false},
	5058: {"ERROR_CLUSTER_NODE_NOT_PAUSED", nil, false},
	5061: {"ERROR_CLUSTER_NODE_ALREADY_UP", nil, false},
	5062: {"ERROR_CLUSTER_NODE_ALREADY_DOWN", nil, false},
	5070: {"ERROR_CLUSTER_NODE_PAUSED", ErrNodePaused, true},
	5071: {"ERROR_NODE_CANT_HOST_RESOURCE", ErrTargetUnfit, true},
	5072: {"ERROR_CLUSTER_NODE_NOT_READY", ErrBusy, true},
	5073: {"ERROR_CLUSTER_NODE_SHUTTING_DOWN", ErrNodeDown, true},
	5082: {"ERROR_CLUSTER_OWNER_NOT_IN_PREFLIST", ErrTargetUnfit, true},
	5084: {"ERROR_RESMON_INVALID_STATE", ErrBusy, false},
	5908: {"ERROR_CLUSTER_GROUP_MOVING", ErrBusy, true},
	5910: {"ERROR_RESOURCE_CALL_TIMED_OUT", ErrTimeout, false},
	5925: {"ERROR_CLUSTER_NO_QUORUM", ErrNoQuorum, true},
	5931: {"ERROR_CLUSTER_RHS_FAILED_INITIALIZATION", ErrFailed, false},
	5932: {"ERROR_CLUSTER_NOT_INSTALLED", ErrUnreachable, true},
	5943: {"ERROR_CLUSTER_RESOURCE_CONFIGURATION_ERROR", ErrFailed, false},
	5944: {"ERROR_CLUSTER_GROUP_BUSY", ErrBusy, true},
	5949: {"ERROR_CLUSTER_BACKUP_IN_PROGRESS", ErrBackup, true},
	5953: {"ERROR_CLUSTER_RESOURCE_VETOED_MOVE_INCOMPATIBLE_NODES", ErrTargetUnfit, true},
	5955: {"ERROR_CLUSTER_RESOURCE_VETOED_CALL", failover.ErrPrecondition, true},
	5956: {"ERROR_RESMON_SYSTEM_RESOURCES_LACKING", ErrTargetUnfit, false},
	5957: {"ERROR_CLUSTER_RESOURCE_VETOED_MOVE_NOT_ENOUGH_RESOURCES_ON_DESTINATION", ErrTargetUnfit, true},
	5958: {"ERROR_CLUSTER_RESOURCE_VETOED_MOVE_NOT_ENOUGH_RESOURCES_ON_SOURCE", failover.ErrPrecondition, true},
	5959: {"ERROR_CLUSTER_GROUP_QUEUED", ErrTimeout, false},
	5960: {"ERROR_CLUSTER_RESOURCE_LOCKED_STATUS", ErrGroupLocked, true},
	5961: {"ERROR_CLUSTER_SHARED_VOLUME_FAILOVER_NOT_ALLOWED", failover.ErrPrecondition, true},
	5962: {"ERROR_CLUSTER_NODE_DRAIN_IN_PROGRESS", ErrBusy, true},
	5963: {"ERROR_CLUSTER_DISK_NOT_CONNECTED", ErrTargetUnfit, true},
	5970: {"ERROR_CLUSTER_RESOURCE_IS_IN_MAINTENANCE_MODE", ErrUnmanaged, true},
	5971: {"ERROR_CLUSTER_AFFINITY_CONFLICT", ErrTargetUnfit, true},
	5976: {"ERROR_CLUSTER_UPGRADE_IN_PROGRESS", failover.ErrPrecondition, true},
	5977: {"ERROR_CLUSTER_UPGRADE_INCOMPLETE", failover.ErrPrecondition, true},
	5978: {"ERROR_CLUSTER_NODE_IN_GRACE_PERIOD", ErrBusy, true},
	5984: {"ERROR_CLUSTER_NODE_ISOLATED", ErrTargetUnfit, true},
	5985: {"ERROR_CLUSTER_NODE_QUARANTINED", ErrTargetUnfit, true},
}

// windowsError gives a failed script its meaning, by number. outcome is what the frame knows: NotApplied when the
// script had touched nothing.
func windowsError(op, via string, f *powershell.Failure, outcome failover.Outcome) error {
	code := f.Win32()
	known, ok := windowsCodes[code]
	if ok && known.refused && !f.Changed {
		outcome = failover.NotApplied
	}
	kind := known.kind
	// Error ids are not localised: the module FailoverClusters is not on this machine.
	if !ok && strings.HasPrefix(f.FQID, "Modules_ModuleNotFound,") {
		kind, outcome = ErrUnreachable, failover.NotApplied
	}
	return &failover.Error{Op: op, Target: via, Outcome: outcome, Next: "act on what Windows says",
		Err: &CodeError{System: "win32", Code: code, Name: known.name, Text: f.Error(), Kind: kind}}
}
