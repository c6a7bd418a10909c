package eft

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
// service. The configuration found is kept beside the restored one. The copy is read once more before, within the
// minute that a check has, and compared with its list before it takes the place. The service on the node with the new
// version stays disabled, so that the cluster cannot start the new program on the old configuration.
func Rollback(o RollbackOptions) (failover.Procedure, error) {
	opts, err := o.validate()
	switch {
	case err != nil:
		return failover.Procedure{}, err
	case o.Old.IsZero() || o.Old.Compare(opts.Installer.Version) >= 0:
		return failover.Procedure{},
			failover.Invalid("RollbackOptions.Old", fmt.Sprintf("%s is not older than %s", o.Old, opts.Installer.Version),
				"give the version to go back to")
	case !cleanName(o.Copy):
		return failover.Procedure{},
			failover.Invalid("RollbackOptions.Copy", "is empty or has control characters",
				"take it from the report of the upgrade")
	case len(o.Manifest) != 64:
		return failover.Procedure{},
			failover.Invalid("RollbackOptions.Manifest", "is no SHA-256", "take it from the report of the upgrade")
	case o.Restore != RestoreWhenMoved && o.Restore != RestoreAlways:
		return failover.Procedure{},
			failover.Invalid("RollbackOptions.Restore", fmt.Sprintf("is %d", o.Restore), "use RestoreWhenMoved or RestoreAlways")
	case o.Failback.Policy < cluster.FailbackUnknown || o.Failback.Policy > cluster.FailbackAllowed:
		return failover.Procedure{},
			failover.Invalid("RollbackOptions.Failback", "is "+o.Failback.Policy.String(),
				"take it from the report of the upgrade, or leave it out")
	}
	const added = "added: stop the group, restore the backup, move to the node with the old version, start (inferred)"
	o.Options = opts
	u := upgrade{o: opts}
	// The group may be on either node.
	u.transfer, err = cluster.TransferStages(opts.Cluster,
		cluster.TransferOptions{Group: opts.Group, Target: opts.Active.Name(), Move: opts.Move, Hold: opts.Hold,
			Failback: o.Failback, DownFrom: "offline/group"})
	if err != nil {
		return failover.Procedure{}, err
	}
	stages := []failover.Stage{{Name: "check", Steps: []failover.Step{
		look("old-version", "One node still carries the old version", opts.Active.Name(), added, firm, "online/group",
			o.oldVersion),
		look("backup", "The backup is complete and the one that was made", opts.Active.Name(), added, firm, "restore/config",
			o.backupGood),
	}}}
	stages = append(stages, opts.Before...)
	stages = append(stages,
		failover.Stage{Name: "prepare",
			Steps: append([]failover.Step{u.remember(), o.where(u, added)}, u.transfer.Prepare.Steps...)},
		failover.Stage{Name: "offline", Outage: true, Steps: []failover.Step{
			o.unlessStayed(u.offline("Take the group offline", added)), u.disabled(opts.Passive, added),
			o.unlessStayed(u.down())}},
		o.unlessStayedAll(asked(u.transfer.Move, added)),
		failover.Stage{Name: "restore", Outage: true,
			Steps: []failover.Step{o.unlessStayed(u.diskAlone(opts.Active)), o.unlessStayed(o.restore(u, added)),
				u.startable(opts.Active, added)}},
		u.rename(opts.Active),
		failover.Stage{Name: "online", Outage: true,
			Steps: []failover.Step{u.online("Bring the group online on "+opts.Active.Name(), added, opts.Active, nil)}},
		u.transfer.Arrived,
		failover.Stage{Name: "verify", Outage: true, Steps: []failover.Step{
			u.wait("service", "See the service run on "+opts.Active.Name()+" and nowhere else", opts.Active.Name(),
				added, firm, "",
				func(ctx context.Context) (string, error) { return u.runsOnceMoved(ctx, opts.Active) }),
			o.verify(u, added)}},
		u.transfer.Finish,
	)
	p := failover.Procedure{Name: "eft.Rollback",
		Parameters: []failover.Parameter{{Name: "group", Value: opts.Group}, {Name: "to", Value: opts.Active.Name()},
			{Name: "from", Value: opts.Passive.Name()}, {Name: "version", Value: o.Old.String()}, {Name: "copy", Value: o.Copy},
			{Name: "manifest", Value: o.Manifest},
			{Name: "restore", Value: map[RestoreWhen]string{RestoreWhenMoved: "when the new version had the group",
				RestoreAlways: "always"}[o.Restore]},
			{Name: "failback afterwards", Value: o.Failback.Policy.String() + " " + o.Failback.Raw},
			{Name: "point of no return", Value: "restore/config: what was changed since the backup is lost to the service"}},
		Stages: append(stages, opts.After...), Lock: opts.Cluster.Lock()}
	return p, p.Validate()
}

func (o RollbackOptions) oldVersion(ctx context.Context) (string, error) {
	f, err := o.Active.Facts(ctx)
	if err == nil && !f.has(o.Old) {
		err = refuse("check old version", o.Active.Name(),
			"finish the upgrade instead, or reinstall the old version from a copy", ErrWrongVersion,
			"%s, wanted is %s", f, o.Old)
	}
	return f.String(), err
}

func (o RollbackOptions) backupGood(ctx context.Context) (string, error) {
	m, err := o.Active.ReadBackup(ctx, o.Copy)
	if err == nil {
		err = m.usable(o.Active.Name(), o.Copy)
	}
	if err == nil && m.Hash != o.Manifest {
		err = refuse("check backup", o.Active.Name(), "name the copy of this upgrade", ErrBackup,
			"its manifest is %.16s…, wanted is %.16s…", m.Hash, o.Manifest)
	}
	return fmt.Sprintf("%d files, %d bytes", len(m.Files), m.Bytes()), err
}

// disabled keeps the service of the new version from starting; it stays so.
func (u upgrade) disabled(n Node, source string) failover.Step {
	return u.unstartable("guard", "Make the new version's service on "+n.Name()+" unstartable", n.Name(), source,
		func(ctx context.Context) (failover.Observation, error) {
			f, err := n.Facts(ctx)
			ok := !slices.ContainsFunc(f.Services, func(s Service) bool { return s.Running || s.StartMode != StartDisabled })
			return failover.Observation{Done: err == nil && ok, Note: f.String(), Would: "stop and disable it"}, err
		}, n)
}

// where remembers whether the node with the old version has the group and serves.
func (o RollbackOptions) where(u upgrade, source string) failover.Step {
	s := u.change("where", "Remember whether the old version serves", o.Group, source,
		func(ctx context.Context) (failover.Observation, error) {
			_, ok, err := stayedFact.Load(ctx)
			return failover.Observation{Done: ok, Would: "write it to the journal"}, err
		}, func(ctx context.Context) error {
			_, err := stayedFact.Capture(ctx, o.serves)
			return err
		}, failover.NothingToUndo)
	s.Writes = []string{stayedFact.Name}
	return s
}

// serves reports whether the group is online where the old version is.
func (o RollbackOptions) serves(ctx context.Context) (bool, error) {
	g, err := o.Cluster.Group(ctx, o.Group)
	return err == nil && g.Owner == o.Active.Name() && g.State == cluster.StateOnline, err
}

// unlessStayed makes a step of the way back unnecessary for a group that never left.
func (o RollbackOptions) unlessStayed(s failover.Step) failover.Step {
	inner := s.Observe
	s.Observe = func(ctx context.Context) (failover.Observation, error) {
		stayed, ok, err := stayedFact.Load(ctx)
		if err == nil && !ok { // in a plan
			stayed, err = o.serves(ctx)
		}
		if err != nil || o.Restore == RestoreAlways || !stayed {
			obs, innerErr := inner(ctx)
			return obs, errors.Join(err, innerErr)
		}
		return failover.Observation{Done: true, Found: "the old version on " + o.Active.Name() + " served all the time"}, nil
	}
	return s
}

// startable lets the cluster start a service that an upgrade disabled for an installation that did not come.
func (u upgrade) startable(n Node, source string) failover.Step {
	return u.change("start-mode", "Let the cluster start the service on "+n.Name(), n.Name(), source,
		func(ctx context.Context) (failover.Observation, error) {
			f, err := n.Facts(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			s, err := f.service("see start mode")
			return failover.Observation{Done: err == nil && s.StartMode != StartDisabled, Note: f.String(),
				Would: "set it to manual"}, err
		}, func(ctx context.Context) error {
			f, err := n.Facts(ctx)
			if err != nil {
				return err
			}
			s, err := f.service("set start mode")
			if err != nil {
				return err
			}
			return n.ConfigureService(ctx, s.Name, ServiceConfig{StartMode: StartManual})
		}, nil)
}

// unlessStayedAll does it to every step of a stage.
func (o RollbackOptions) unlessStayedAll(stage failover.Stage) failover.Stage {
	for i, s := range stage.Steps {
		stage.Steps[i] = o.unlessStayed(s)
	}
	return stage
}

func (o RollbackOptions) restore(u upgrade, source string) failover.Step {
	s := u.change("config", "Put the configuration back as it was backed up; what was changed since is lost",
		o.Active.Name(), source,
		func(ctx context.Context) (failover.Observation, error) {
			hash, ok, err := restoredFact.Load(ctx)
			return failover.Observation{Done: ok, Note: "restored: " + hash,
				Would: "replace " + o.ConfigDir + " by " + o.Copy + " and keep what is there beside it"}, err
		}, func(ctx context.Context) error {
			g, err := o.Cluster.Group(ctx, o.Group)
			if err == nil && serviceOnline(g) {
				err = refuse("restore", o.Active.Name(), "take the group offline first", ErrServiceRunning, "%s", g)
			}
			if err == nil {
				err = o.Active.Restore(ctx, Backup{From: o.ConfigDir, To: o.Copy, Exclude: o.BackupExclude})
			}
			if err != nil {
				return err
			}
			return restoredFact.Save(ctx, o.Manifest)
		}, nil)
	s.Timeout, s.Writes = moveTime(o.Move)*3, []string{restoredFact.Name}
	return s
}

func (u upgrade) runsOnceMoved(ctx context.Context, n Node) (string, error) {
	if _, err := remembered(ctx); err != nil {
		return "", err
	}
	return u.runsOn(ctx, n)
}

func (o RollbackOptions) verify(u upgrade, source string) failover.Step {
	if o.Admin == nil {
		return failover.Step{ID: "version", Title: "See the old version and its settings", Target: o.Active.Name(),
			Kind: failover.Manual, Source: source,
			Help: fmt.Sprintf("Log in through the administration interface of version %s, compare the settings, and confirm.",
				o.Old)}
	}
	return u.wait("version", "See the running server tell the old version", o.Active.Name(), source, firm, "",
		func(ctx context.Context) (string, error) {
			if _, err := remembered(ctx); err != nil {
				return "", err
			}
			s, err := o.Admin.Read(ctx)
			if err == nil && s.Version != o.Old {
				err = refuse("verify version", o.Active.Name(), "find out which program the service runs", ErrWrongVersion,
					"it says %s, wanted is %s", s.Version, o.Old)
			}
			return s.Version.String(), err
		})
}
