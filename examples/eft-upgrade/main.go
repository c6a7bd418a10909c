// Eft-upgrade is the reference script for EFT Server on the two nodes of a Windows failover cluster: it brings both
// nodes to a new version, the way the vendor's page "Upgrading the Server in a Cluster" says, and proves each step.
//
// Copy site.example.yaml, fill it in, then:
//
//	eft-upgrade -config site.yaml check
//	eft-upgrade -config site.yaml plan
//	eft-upgrade -config site.yaml -reason CHG-1042 run
//	eft-upgrade -config site.yaml status
//
// "check" and "plan", which is the default, change nothing. "run" asks before everything that cannot be taken back,
// unless -approve gives the findings hash of the plan that was approved. A run that stops, for whatever reason, goes on
// when it is called again: what is done is not done twice, and the installer is started at most once on each node.
//
// # Procedures
//
//   - upgrade: the program lies on each node's own disk, only the configuration on the shared disk. The normal case.
//     Users are cut off twice, for one move each.
//   - upgrade-shared (-procedure upgrade-shared): the program lies on the shared disk too. Users are cut off from
//     offline/group until upgraded/service, which includes both installations, and for the move back.
//   - rollback (-procedure rollback): back to the node that still carries the old version, with the configuration as it
//     was backed up. It is possible until active/install of upgrade has begun, and not at all after upgrade-shared. A
//     group that never left that node goes on serving, with the configuration it has.
//
// The documentation of package eft lists the steps of each, with the sentence of the vendor's page that asks for it.
//
// # The installer
//
// With "mode: operator" a person logs in to the node's desktop when the run says so, runs the installer, chooses
// Repair, and confirms; the run sees for itself that the new version is there. Where nobody sits at the terminal of the
// run it stops with status 4, and "confirm passive/install 'ran it'" and "run" go on. With "mode: silent" the run
// starts it. The password of the service account travels on standard input, never in a command line.
//
// # When it stops
//
// The exit status is 0 when it is done, 1 when it is not, 3 when something is in doubt, 4 when a person is needed; the
// line "next:" says what to do. Settings that differ after the first move (moved/settings) are the moment to decide:
// set them right and run again, waive the step with -waive moved/settings=REASON, or roll back.
//
// # Rolling back
//
// The upgrade that stopped half-way still holds the lock of the cluster, so that nobody else moves the group. Fill in
// "rollback" from its report, then, when it is certain that the upgrade does not go on:
//
//	eft-upgrade -config site.yaml -procedure rollback plan
//	eft-upgrade -config site.yaml lock
//	eft-upgrade -config site.yaml -procedure rollback -reason INC-77 take-over HOLDER
//	eft-upgrade -config site.yaml -procedure rollback -reason INC-77 run
//
// "lock" shows HOLDER, and for whom and since when.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/runbook"
)

func main() { os.Exit(program().Main(os.Args[1:])) }

func program() runbook.Program {
	return runbook.Program{
		Name:       "eft-upgrade",
		About:      "upgrade EFT Server on both nodes of a Windows failover cluster",
		Procedures: []string{"upgrade", "upgrade-shared", "rollback"},
		Build:      build,
	}
}

// connections are what a procedure uses and has to be closed.
type connections []io.Closer

// Close closes the last one first.
func (c connections) Close() error {
	var err error
	for _, one := range slices.Backward(c) {
		err = errors.Join(err, one.Close())
	}
	return err
}

func build(_ context.Context, path, name string) (failover.Procedure, io.Closer, error) {
	var s site
	if err := runbook.ReadConfig(path, &s); err != nil {
		return failover.Procedure{}, nil, err
	}
	var open connections
	p, err := s.procedure(name, &open)
	if err != nil {
		return failover.Procedure{}, nil, errors.Join(err, open.Close())
	}
	return p, open, nil
}

func (s site) procedure(name string, open *connections) (failover.Procedure, error) {
	o, err := s.options(open)
	if err != nil {
		return failover.Procedure{}, err
	}
	if name != "rollback" {
		if o.Consoles, err = s.consoles(open); err == nil {
			o.Before, err = hooks("before", s.Before)
		}
		if err == nil {
			o.After, err = hooks("after", s.After)
		}
	}
	switch {
	case err != nil:
		return failover.Procedure{}, err
	case name == "upgrade-shared":
		return eft.UpgradeShared(o)
	case name == "rollback":
		r := s.Rollback
		old, err := version("rollback.old", r.Old)
		if err != nil {
			return failover.Procedure{}, err
		}
		failback, known := map[string]cluster.Failback{"": {}, "allowed": {Policy: cluster.FailbackAllowed, Raw: "1"},
			"prevented": {Policy: cluster.FailbackPrevented, Raw: "0"}}[r.Failback]
		if !known {
			return failover.Procedure{},
				failover.Invalid("rollback.failback", fmt.Sprintf("%q is not understood", r.Failback), "write allowed or prevented")
		}
		restore, known := map[string]eft.RestoreWhen{"": eft.RestoreWhenMoved, "when-moved": eft.RestoreWhenMoved,
			"always": eft.RestoreAlways}[r.Restore]
		if !known {
			return failover.Procedure{},
				failover.Invalid("rollback.restore", fmt.Sprintf("%q is not understood", r.Restore), "write when-moved or always")
		}
		return eft.Rollback(eft.RollbackOptions{Options: o, Old: old, Copy: r.Copy, Manifest: r.Manifest, Failback: failback,
			Restore: restore})
	}
	return eft.Upgrade(o)
}
