package eft

import (
	"errors"
	"fmt"

	"github.com/01b61c5c/failover"
)

// Sentinels for what a node, an installer or a verification can come to. They are wrapped in *failover.Error, which
// carries outcome and next action; test with errors.Is. What the cluster itself refuses carries a sentinel of package
// cluster instead: ErrOwnerUnknown, ErrNodePaused, ErrAmbiguous, ErrDisk and so on.
var (
	// ErrNotInstalled: the node has no service with the product's program, or no uninstall entry.
	ErrNotInstalled = errors.New("EFT Server is not installed on the node")
	// ErrActiveActive: EFT is its own cluster manager here; this procedure would break it.
	ErrActiveActive = errors.New("EFT Server runs in HA (active-active) mode")
	// ErrWrongProduct is about the installer or the installation.
	ErrWrongProduct = errors.New("another product")
	// ErrWrongVersion: also when a node has a newer one than the installer's.
	ErrWrongVersion = errors.New("another version than expected")
	// ErrInstallerDiffers from the one that was specified, by size or SHA-256.
	ErrInstallerDiffers = errors.New("the installer on the node is another file")
	// ErrInstallerMissing: nothing says where to get it, either.
	ErrInstallerMissing = errors.New("the installer is not on the node")

	ErrNoSpace = errors.New("not enough free space")
	// ErrNodeBusy: another installer runs on the node, or an administration interface is open there.
	ErrNodeBusy = errors.New("the node is busy with something that disturbs an installation")
	// ErrServiceRunning: without the shared disk it makes itself an empty configuration (documented: HA FAQ, eft8-1).
	ErrServiceRunning = errors.New("the service runs on a node that does not own the group")
	// ErrOtherNodes: they are not part of the upgrade and would start the group with the old program.
	ErrOtherNodes = errors.New("other nodes could take the group")
	// ErrAccount: the log-on account of the service cannot be put back without it.
	ErrAccount = errors.New("the password of the service account is not known")
	// ErrConfigDir: the installation reads its configuration from another directory than given.
	ErrConfigDir = errors.New("the configuration is in another directory")
	// ErrInstallerFailed: the installer ended, with whatever exit code or with none.
	ErrInstallerFailed = errors.New("the node does not have the new version completely")
	// ErrCleanConfig: it is on the node's own disk.
	ErrCleanConfig = errors.New("an empty configuration was created on the node")
	// ErrServiceName: more than one service runs the product's program, or the nodes register it under names that one
	// cluster resource cannot serve.
	ErrServiceName     = errors.New("the service does not have one name")
	ErrServiceSettings = errors.New("account or start mode of the service changed")
	// ErrBackup: it is missing, incomplete or not what was copied.
	ErrBackup = errors.New("the backup cannot be relied on")
	// ErrSettings: settings were lost or changed by the upgrade. The error is a *SettingsError, which lists them.
	ErrSettings = errors.New("settings differ from before")
	ErrLicence  = errors.New("a licence is not as before")
)

// refuse builds the error for something that was looked at and does not hold. Nothing was changed.
func refuse(op, target, next string, kind error, format string, args ...any) error {
	return unchanged(op, target, next,
		fmt.Errorf("%w: %w: %s", failover.ErrPrecondition, kind, fmt.Sprintf(format, args...)))
}

// unchanged builds the error for something that could not be read or done. Nothing was changed.
func unchanged(op, target, next string, err error) error {
	return &failover.Error{Op: op, Target: target, Outcome: failover.NotApplied, Next: next, Err: err}
}
