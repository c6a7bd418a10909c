package eft

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// remember writes to the journal how things are.
func (u upgrade) remember() failover.Step {
	return record(u, "facts", "Remember how EFT Server is installed on each node", u.Active.Name()+", "+u.Passive.Name(),
		added+"account and start mode are put back as they were", startFact, func(s start) failover.Observation {
			return failover.Observation{Found: "run " + s.Run,
				Would: "write service, versions and configuration directories to the journal"}
		}, func(ctx context.Context) error {
			_, err := startFact.Capture(ctx, func(ctx context.Context) (start, error) {
				nodes, err := u.facts(ctx)
				return start{Run: strings.ToLower(rand.Text()[:12]), Nodes: nodes}, err
			})
			return err
		})
}

// prepare remembers how things are and keeps the group from going home.
func (u upgrade) prepare() failover.Stage {
	steps := []failover.Step{u.remember()}
	if u.Admin != nil {
		steps = append(steps, record(u, "settings", "Remember the settings, to compare them afterwards", u.Group,
			u.vendor("7.1", "9.1", asExpected), settingsFact, func(s Settings) failover.Observation {
				found := fmt.Sprintf("%d values", len(s.Values))
				if len(s.Absent) > 0 {
					found += "; not there in this version: " + strings.Join(s.Absent, ", ")
				}
				return failover.Observation{Found: found, Would: "write the settings to the journal"}
			}, func(ctx context.Context) error {
				_, err := settingsFact.Capture(ctx, u.Admin.Read)
				return err
			}))
	}
	return failover.Stage{Name: "prepare", Steps: append(steps, u.transfer.Prepare.Steps...)}
}

// staging brings the installer to both nodes.
func (u upgrade) staging() failover.Stage {
	compare := look("compare", "The same installer lies on both nodes and is the right one", u.Installer.Path,
		u.vendor("1", "1", download), firm, u.until(u.last), func(ctx context.Context) (string, error) {
			_, err := u.each(func(n Node) (string, error) { return "", u.rightInstaller(ctx, n) })
			return fmt.Sprintf("%d bytes, SHA-256 %.16s…", u.Installer.Size, u.Installer.SHA256), err
		})
	// In a plan nothing was copied yet: the run waits for the step before, so this is no obstacle.
	compare.Wait = true
	return failover.Stage{Name: "stage", Steps: []failover.Step{u.stage("passive"), u.stage("active"), compare}}
}

// rightInstaller refuses another file than the specified one, on a node that has yet to run it.
func (u upgrade) rightInstaller(ctx context.Context, n Node) error {
	f, err := n.File(ctx, u.Installer.Path)
	if err != nil {
		return err
	}
	wrong := u.rightFile(n, f)
	if wrong == nil {
		return nil
	}
	facts, err := n.Facts(ctx)
	if err == nil && facts.has(u.Installer.Version) {
		return nil
	}
	return errors.Join(wrong, err)
}

// facts reads how the product is installed on each node.
func (u upgrade) facts(ctx context.Context) (map[string]Facts, error) {
	nodes := map[string]Facts{}
	for _, n := range u.nodes() {
		f, err := n.Facts(ctx)
		if err != nil {
			return nil, err
		}
		f.Busy = nil
		nodes[n.Name()] = f
	}
	return nodes, nil
}

func (u upgrade) stage(role string) failover.Step {
	n, i := u.node(role), u.Installer
	s := u.change(role, "Bring the installer to "+n.Name(), n.Name(), u.vendor("1", "1", download),
		func(ctx context.Context) (failover.Observation, error) {
			f, err := n.File(ctx, i.Path)
			switch {
			case err != nil:
				return failover.Observation{}, err
			case f != File{}:
				return failover.Observation{Done: true, Found: "there, with the right size and SHA-256"}, u.rightFile(n, f)
			}
			how := "upload it"
			if i.Source == nil {
				how = "let the node fetch it from " + i.URL
			}
			return failover.Observation{Found: "not there", Would: how + " to " + i.Path}, nil
		}, func(ctx context.Context) error { return n.Stage(ctx, i) }, failover.NothingToUndo)
	s.Timeout = time.Hour
	return s
}

// backupAt is this run's copy.
func (u upgrade) backupAt(ctx context.Context) (Backup, error) {
	s, err := remembered(ctx)
	if err != nil {
		return Backup{}, err
	}
	return Backup{From: u.ConfigDir, To: joinPath(u.BackupDir, "eft-"+s.Run), Exclude: u.BackupExclude}, nil
}

// joinPath appends a name to a directory in the style of the directory.
func joinPath(dir, name string) string {
	sep := "/"
	if strings.Contains(dir, `\`) || len(dir) > 1 && dir[1] == ':' {
		sep = `\`
	}
	return strings.TrimRight(dir, `\/`) + sep + name
}

// readCopy reads a copy and refuses one from which nothing could be restored.
func readCopy(ctx context.Context, n Node, dir string) (Manifest, error) {
	m, err := n.ReadBackup(ctx, dir)
	if err == nil {
		err = m.usable(n.Name(), dir)
	}
	return m, err
}

func (u upgrade) backup() failover.Stage {
	node := u.Active
	source := u.vendor("2", "2", "back up the configuration files directory on the shared resource")
	run := u.change("copy", "Back up the configuration directory on the node that has the shared disk",
		node.Name(), source, func(ctx context.Context) (failover.Observation, error) {
			obs := failover.Observation{Found: "there is none of this run",
				Would: "copy " + u.ConfigDir + " into " + u.BackupDir}
			b, err := u.backupAt(ctx)
			if err != nil {
				return obs, err
			}
			// What was copied is read in Apply, which has the time for many gigabytes. A copy of which nothing is on record
			// is asked for again, which leaves a complete one as it is.
			c, ok, err := copyFact.Load(ctx)
			if obs.Done = ok; ok {
				obs.Found = fmt.Sprintf("%s: %d files, %d bytes, manifest %.16s…", b.To, c.Files, c.Bytes, c.Hash)
			}
			return obs, err
		}, func(ctx context.Context) error {
			b, err := u.backupAt(ctx)
			if err == nil {
				err = node.Backup(ctx, b)
			}
			if err != nil {
				return err
			}
			m, err := readCopy(ctx, node, b.To)
			if err != nil { // it was asked for, so something of it may be there or come
				return &failover.Error{Op: "back up", Target: node.Name(), Outcome: failover.InDoubt,
					Next: failover.NextOf(err), Err: err}
			}
			return copyFact.Save(ctx, copied{Files: len(m.Files), Bytes: m.Bytes(), Hash: m.Hash})
		}, failover.NothingToUndo)
	run.Timeout, run.Writes = time.Hour, []string{copyFact.Name}
	verify := record(u, "verify", "Read the backup again and compare it with its manifest", node.Name(), source,
		backupFact, func(hash string) failover.Observation {
			return failover.Observation{Found: "manifest " + hash, Would: "read every file of the copy"}
		}, func(ctx context.Context) error {
			b, err := u.backupAt(ctx)
			if err != nil {
				return err
			}
			m, err := readCopy(ctx, node, b.To)
			c, _, loadErr := copyFact.Load(ctx)
			switch {
			case err != nil || loadErr != nil:
				return errors.Join(err, loadErr)
			case c.Hash != m.Hash:
				return refuse("check backup", node.Name(), "find out who changes the copy, undo, and begin again", ErrBackup,
					"its manifest is %.16s…, it was %.16s…", m.Hash, c.Hash)
			}
			failover.Progress(ctx, fmt.Sprintf("%d files, %d bytes, manifest %s in %s on %s", len(m.Files), m.Bytes(), m.Hash,
				b.To, node.Name()))
			return backupFact.Save(ctx, m.Hash)
		})
	verify.Timeout = run.Timeout
	return failover.Stage{Name: "backup", Steps: []failover.Step{run, verify}}
}

// quiesce waits until nobody would be cut off, if that is wanted. It stands until the service goes down: users come back
// while a run waits for a person.
func (u upgrade) quiesce() failover.Stage {
	const op = "wait for quiet"
	if u.Quiesce == 0 {
		return failover.Stage{Name: "quiesce"}
	}
	down := "move/move"
	if u.shared {
		down = u.downFrom
	}
	s := u.wait("wait", "Wait until nobody is connected", u.Group, added+"a move cuts every connection", waivable, down,
		func(ctx context.Context) (string, error) {
			g, err := u.group(ctx)
			if err != nil || g.State == cluster.StateOffline { // as after another service name was given to the cluster
				return "the service is down", err
			}
			now, err := u.Admin.Read(ctx)
			switch {
			case err != nil:
				return "", err
			case now.Activity == nil:
				return "", unchanged(op, u.Group, "see by hand that nobody is connected, then waive this step with a reason",
					fmt.Errorf("%w: who is connected", cluster.ErrNotTold))
			case !now.Activity.Idle():
				return "", refuse(op, u.Group, "run again at a quieter time, or waive this step with a reason", ErrNodeBusy,
					"still %s", now.Activity)
			}
			return "nobody is connected", nil
		})
	s.Timeout = u.Quiesce
	return failover.Stage{Name: "quiesce", Steps: []failover.Step{s}}
}
