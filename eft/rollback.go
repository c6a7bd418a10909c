package eft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// RollbackOptions describes the way back from an upgrade that got no further than the first node.
type RollbackOptions struct {
	// Options of the upgrade. Active is the node that still carries the old version, Passive the one with the new.
	Options
	Old      Version // what Active carries
	Copy     string  // the directory of the backup on Active, as the report of the upgrade names it
	Manifest string  // the hash of its manifest, as the report names it

	// Failback is the group's setting before the upgrade, which keeps the group from going home until its end; its report
	// names the setting at prepare/remember. The zero value leaves what is found, which after an upgrade that was given up
	// is that failback is prevented.
	Failback cluster.Failback

	// Restore says when the group is taken offline and its configuration put back. The zero value is RestoreWhenMoved.
	Restore RestoreWhen
}

// RestoreWhen says when a rollback restores the configuration.
type RestoreWhen int

const (
	// RestoreWhenMoved leaves a group alone that is online on the node with the old version: the new program never had
	// it, nobody is cut off, and nothing that was changed since the backup is lost.
	RestoreWhenMoved RestoreWhen = iota
	// RestoreAlways restores then too: for a group that came back by itself, after the new program had converted the
	// configuration.
	RestoreAlways
)

var (
	restoredFact = failover.Fact[string]{Name: "eft/restored"}
	stayedFact   = failover.Fact[bool]{Name: "eft/stayed"}
)

// Rollback returns the procedure that gives the group back to the node with the old version, with the configuration
// as it was backed up. It is possible until the installer has run on the second node; the program on a shared disk
// cannot be rolled back. A group that never left the node with the old version is left alone (RollbackOptions.Restore):
// then only the new program is kept from starting and the failback setting put back.
//
// Its own point of no return is the restore: whatever users and administrators changed since the backup is lost to the
// service. The configuration found is kept beside the restored one. The copy is read before anything is changed and once
// more before it takes the place. The service on the node with the new version stays disabled, so that the cluster cannot
// start the new program on the old configuration.
func Rollback(o RollbackOptions) (failover.Procedure, error) {
	opts, err := o.validate()
	if err != nil {
		return failover.Procedure{}, err
	}
	bad := func(field, wrong, right string) (failover.Procedure, error) {
		return failover.Procedure{}, failover.Invalid("RollbackOptions."+field, wrong, right)
	}
	switch {
	case o.Old.IsZero() || o.Old.Compare(opts.Installer.Version) >= 0:
		return bad("Old", fmt.Sprintf("%s is not older than %s", o.Old, opts.Installer.Version),
			"give the version to go back to")
	case !cleanName(o.Copy):
		return bad("Copy", "is empty or has control characters", "take it from the report of the upgrade")
	case len(o.Manifest) != 64:
		return bad("Manifest", "is no SHA-256", "take it from the report of the upgrade")
	case o.Restore != RestoreWhenMoved && o.Restore != RestoreAlways:
		return bad("Restore", fmt.Sprintf("is %d", o.Restore), "use RestoreWhenMoved or RestoreAlways")
	case o.Failback.Policy < cluster.FailbackUnknown || o.Failback.Policy > cluster.FailbackAllowed:
		return bad("Failback", "is "+o.Failback.Policy.String(), "take it from the report of the upgrade, or leave it out")
	}
	const source = "added: stop the group, restore the backup, move to the node with the old version, start (inferred)"
	old := opts.Active
	r := rollback{upgrade: upgrade{Options: opts}, way: o}
	// The group may be on either node.
	r.transfer, err = cluster.TransferStages(opts.Cluster, cluster.TransferOptions{Group: opts.Group,
		Target: old.Name(), Move: opts.Move, Hold: opts.Hold, Failback: o.Failback, DownFrom: "offline/group"})
	if err != nil {
		return failover.Procedure{}, err
	}
	move := asked(r.transfer.Move, source)
	for i, s := range move.Steps {
		move.Steps[i] = r.unlessStayed(s)
	}
	check := failover.Stage{Name: "check", Steps: []failover.Step{
		look("old-version", "One node still carries the old version", old.Name(), source, firm, "online/group", r.oldVersion),
		look("busy", "No installer runs and no administration interface is open", old.Name(), added+
			"an installer of the upgrade that still runs would bring the new version under the service", waivable, "online/group",
			r.free),
		r.unlessStayed(r.readBackup(source))}}
	when := "unless it is online with the old version"
	if o.Restore == RestoreAlways {
		when = "always"
	}
	p := failover.Procedure{Name: "eft.Rollback", Lock: opts.Cluster.Lock(),
		Parameters: []failover.Parameter{{Name: "group", Value: opts.Group}, {Name: "to", Value: old.Name()},
			{Name: "from", Value: opts.Passive.Name()}, {Name: "version", Value: o.Old.String()},
			{Name: "copy", Value: o.Copy}, {Name: "manifest", Value: o.Manifest}, {Name: "restore", Value: when},
			{Name: "failback afterwards", Value: o.Failback.Policy.String() + " " + o.Failback.Raw},
			{Name: "point of no return", Value: "restore/config: what was changed since the backup is lost to the service"}},
		Stages: slices.Concat([]failover.Stage{check}, opts.Before, []failover.Stage{
			{Name: "prepare", Steps: append([]failover.Step{r.remember(), r.where(source)}, r.transfer.Prepare.Steps...)},
			outage("offline", r.unlessStayed(r.offline("Take the group offline", source)), r.disabled(source),
				r.unlessStayed(r.down())),
			move,
			outage("restore", r.unlessStayed(r.diskAlone(old)), r.unlessStayed(r.restore(source)), r.startable(source)),
			r.rename(old),
			outage("online", r.online("Bring the group online on "+old.Name(), source, old, nil)),
			r.transfer.Arrived,
			outage("verify", r.serves(old, "", source), r.verify(source)),
			r.transfer.Finish,
		}, opts.After)}
	return p, p.Validate()
}

// rollback holds what the steps share. Active is the node that still carries the old version.
type rollback struct {
	upgrade
	way RollbackOptions
}

func (r rollback) oldVersion(ctx context.Context) (string, error) {
	f, err := r.Active.Facts(ctx)
	if err == nil && !f.has(r.way.Old) {
		err = refuse("check old version", r.Active.Name(), "finish the upgrade instead, or reinstall the old version from a "+
			"copy", ErrWrongVersion, "%s, wanted is %s", f, r.way.Old)
	}
	return f.String(), err
}

func (r rollback) free(ctx context.Context) (string, error) {
	f, err := r.Active.Facts(ctx)
	if err != nil {
		return "", err
	}
	return free(r.Active, f)
}

// readBackup reads the copy before anything is changed. It is no check: that would have a minute, and a large copy takes
// longer.
func (r rollback) readBackup(source string) failover.Step {
	s := record(r.upgrade, "backup", "Read the backup again and see that it is the one that was made", r.Active.Name(), source,
		backupFact, func(hash string) failover.Observation {
			return failover.Observation{Note: "manifest " + hash, Would: "read every file of " + r.way.Copy}
		}, func(ctx context.Context) error {
			if err := r.backupGood(ctx); err != nil {
				return err
			}
			return backupFact.Save(ctx, r.way.Manifest)
		})
	s.Timeout = time.Hour
	return s
}

func (r rollback) backupGood(ctx context.Context) error {
	m, err := readCopy(ctx, r.Active, r.way.Copy)
	if err == nil && m.Hash != r.way.Manifest {
		err = refuse("check backup", r.Active.Name(), "name the copy of this upgrade", ErrBackup,
			"its manifest is %.16s…, wanted is %.16s…", m.Hash, r.way.Manifest)
	}
	if err == nil {
		failover.Progress(ctx, fmt.Sprintf("%d files, %d bytes", len(m.Files), m.Bytes()))
	}
	return err
}

// disabled keeps the service of the new version from starting; it stays so.
func (r rollback) disabled(source string) failover.Step {
	n := r.Passive
	return r.unstartable("guard", "Make the new version's service on "+n.Name()+" unstartable", n, source,
		onNode(n, func(f Facts) (failover.Observation, error) {
			free := slices.ContainsFunc(f.Services, func(s Service) bool { return s.Running || s.StartMode != StartDisabled })
			return failover.Observation{Done: !free, Note: f.String(), Would: "stop and disable it"}, nil
		}))
}

// where remembers whether the node with the old version has the group and serves.
func (r rollback) where(source string) failover.Step {
	return record(r.upgrade, "where", "Remember whether the old version serves", r.Group, source, stayedFact,
		func(bool) failover.Observation { return failover.Observation{Would: "write it to the journal"} },
		func(ctx context.Context) error {
			_, err := stayedFact.Capture(ctx, r.stayed)
			return err
		})
}

// stayed reports whether the group is online where the old version is.
func (r rollback) stayed(ctx context.Context) (bool, error) {
	g, err := r.group(ctx)
	return err == nil && g.Owner == r.Active.Name() && g.State == cluster.StateOnline, err
}

// unlessStayed makes a step of the way back unnecessary for a group that never left.
func (r rollback) unlessStayed(s failover.Step) failover.Step {
	inner := s.Observe
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		stayed, ok, err := stayedFact.Load(ctx)
		if err == nil && !ok { // in a plan
			stayed, err = r.stayed(ctx)
		}
		if err != nil || r.way.Restore == RestoreAlways || !stayed {
			obs, innerErr := inner(ctx)
			return obs, errors.Join(err, innerErr)
		}
		return failover.Observation{Done: true, Found: "at the start it was online with the old version on " +
			r.Active.Name() + "; RestoreAlways is for a group that the new version had before"}, nil
	}
	return s
}

// startable lets the cluster start a service that an upgrade disabled for an installation that did not come.
func (r rollback) startable(source string) failover.Step {
	n := r.Active
	return r.change("start-mode", "Let the cluster start the service on "+n.Name(), n.Name(), source,
		onNode(n, func(f Facts) (failover.Observation, error) {
			s, err := f.service("see start mode")
			return failover.Observation{Done: err == nil && s.StartMode != StartDisabled, Note: f.String(),
				Would: "set it to manual"}, err
		}), func(ctx context.Context) error {
			s, err := service(ctx, n, "set start mode")
			if err != nil {
				return err
			}
			return n.ConfigureService(ctx, s.Name, ServiceConfig{StartMode: StartManual})
		}, nil)
}

func (r rollback) restore(source string) failover.Step {
	s := record(r.upgrade, "config", "Put the configuration back as it was backed up; what was changed since is lost",
		r.Active.Name(), source, restoredFact, func(hash string) failover.Observation {
			return failover.Observation{Note: "restored: " + hash,
				Would: "replace " + r.ConfigDir + " by " + r.way.Copy + " and keep what is there beside it"}
		}, func(ctx context.Context) error {
			_, g, err := r.serving(ctx, r.Active)
			if err == nil && serviceOnline(g) {
				err = refuse("restore", r.Active.Name(), "take the group offline first", ErrServiceRunning, "%s", g)
			}
			if err == nil {
				err = r.backupGood(ctx) // what takes the place is what it was
			}
			if err == nil {
				err = r.Active.Restore(ctx, Backup{From: r.ConfigDir, To: r.way.Copy, Exclude: r.BackupExclude})
			}
			if err != nil {
				return err
			}
			return restoredFact.Save(ctx, r.way.Manifest)
		})
	s.Undo, s.Timeout = nil, time.Hour
	return s
}

func (r rollback) verify(source string) failover.Step {
	n, old := r.Active, r.way.Old
	if r.Admin == nil {
		return failover.Step{ID: "version", Title: "See the old version and its settings", Target: n.Name(),
			Kind: failover.Manual, Source: source, Help: fmt.Sprintf(
				"Log in through the administration interface of version %s, compare the settings, and confirm.", old)}
	}
	return r.tells("See the running server tell the old version", source, n, old, "")
}
