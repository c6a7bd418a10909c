package eft

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/waiting"
)

// errNotYet: an earlier step has not run, which is the rule in a plan.
var errNotYet = errors.New("eft: not remembered yet")

// change builds a harmless, repeatable Change.
func (u upgrade) change(id, title, target, source string, observe func(context.Context) (failover.Observation, error),
	apply, undo func(context.Context) error) failover.Step {
	return failover.Step{ID: id, Title: title, Target: target, Kind: failover.Change, Source: source, Timeout: changeTime,
		Poll:     u.o.Poll,
		Attempts: u.o.Attempts, Observe: later(observe), Apply: apply, Undo: undo}
}

// later turns "an earlier step has not run" into an observation that is not done.
func later(observe func(context.Context) (failover.Observation, error)) func(context.Context) (failover.Observation,
	error) {
	return func(ctx context.Context) (failover.Observation, error) {
		obs, err := observe(ctx)
		if errors.Is(err, errNotYet) {
			return failover.Observation{Found: obs.Found, Note: "not yet", Would: obs.Would}, nil
		}
		return obs, err
	}
}

// remember writes to the journal how things are.
func (u upgrade) remember() failover.Step {
	s := u.change("facts", "Remember how EFT Server is installed on each node", u.o.Active.Name()+", "+u.o.Passive.Name(),
		added+"account and start mode are put back as they were", func(ctx context.Context) (failover.Observation, error) {
			s, ok, err := startFact.Load(ctx)
			return failover.Observation{Done: ok, Found: "run " + s.Run,
				Would: "write service, versions and configuration directories to the journal"}, err
		}, func(ctx context.Context) error {
			_, err := startFact.Capture(ctx, u.readStart)
			return err
		}, failover.NothingToUndo)
	s.Writes = []string{startFact.Name}
	return s
}

// prepare remembers how things are and keeps the group from going home.
func (u upgrade) prepare() failover.Stage {
	stage := failover.Stage{Name: "prepare", Steps: []failover.Step{u.remember()}}
	if u.o.Admin != nil {
		s := u.change("settings", "Remember the settings, to compare them afterwards", u.o.Group,
			u.vendor("7.1", "9.1", asExpected), func(ctx context.Context) (failover.Observation, error) {
				s, ok, err := settingsFact.Load(ctx)
				found := fmt.Sprintf("%d values", len(s.Values))
				if len(s.Absent) > 0 {
					found += "; not there in this version: " + strings.Join(s.Absent, ", ")
				}
				return failover.Observation{Done: ok, Found: found,
					Would: "write the settings to the journal"}, err
			}, func(ctx context.Context) error {
				_, err := settingsFact.Capture(ctx, u.o.Admin.Read)
				return err
			}, failover.NothingToUndo)
		s.Writes = []string{settingsFact.Name}
		stage.Steps = append(stage.Steps, s)
	}
	stage.Steps = append(stage.Steps, u.transfer.Prepare.Steps...)
	return stage
}

// staging brings the installer to both nodes.
func (u upgrade) staging() failover.Stage {
	compare := look("compare", "The same installer lies on both nodes and is the right one", u.o.Installer.Path,
		u.vendor("1", "1", download), firm, u.until(u.lastRole()), func(ctx context.Context) (string, error) {
			var errs []error
			for _, n := range u.nodes() {
				errs = append(errs, u.rightInstaller(ctx, n))
			}
			return fmt.Sprintf("%d bytes, SHA-256 %.16s…", u.o.Installer.Size, u.o.Installer.SHA256), errors.Join(errs...)
		})
	// In a plan nothing was copied yet: the run waits for the step before, so this is no obstacle.
	compare.Wait = true
	return failover.Stage{Name: "stage",
		Steps: []failover.Step{u.stage("passive", u.o.Passive), u.stage("active", u.o.Active), compare}}
}

// rightInstaller refuses another file than the specified one, on a node that has yet to run it.
func (u upgrade) rightInstaller(ctx context.Context, n Node) error {
	f, err := n.File(ctx, u.o.Installer.Path)
	if err != nil {
		return err
	}
	wrong := u.rightFile(n, f)
	if wrong == nil {
		return nil
	}
	facts, err := n.Facts(ctx)
	if err == nil && facts.has(u.o.Installer.Version) {
		return nil
	}
	return errors.Join(wrong, err)
}

func (u upgrade) readStart(ctx context.Context) (start, error) {
	s := start{Run: strings.ToLower(rand.Text()[:12]), Nodes: map[string]Facts{}}
	for _, n := range u.nodes() {
		f, err := n.Facts(ctx)
		if err != nil {
			return s, err
		}
		f.Busy = nil
		s.Nodes[n.Name()] = f
	}
	return s, nil
}

func (u upgrade) stage(role string, n Node) failover.Step {
	s := u.change(role, "Bring the installer to "+n.Name(), n.Name(), u.vendor("1", "1", download),
		func(ctx context.Context) (failover.Observation, error) {
			f, err := n.File(ctx, u.o.Installer.Path)
			if err != nil {
				return failover.Observation{}, err
			}
			if f != (File{}) {
				return failover.Observation{Done: true, Found: "there, with the right size and SHA-256"}, u.rightFile(n, f)
			}
			how := "upload it"
			if u.o.Installer.Source == nil {
				how = "let the node fetch it from " + u.o.Installer.URL
			}
			return failover.Observation{Found: "not there", Would: how + " to " + u.o.Installer.Path}, nil
		}, func(ctx context.Context) error { return n.Stage(ctx, u.o.Installer) }, failover.NothingToUndo)
	s.Timeout = time.Hour
	return s
}

// backupAt is this run's copy.
func (u upgrade) backupAt(ctx context.Context) (Backup, error) {
	s, err := remembered(ctx)
	if err != nil {
		return Backup{}, err
	}
	return Backup{From: u.o.ConfigDir, To: joinPath(u.o.BackupDir, "eft-"+s.Run), Exclude: u.o.BackupExclude}, nil
}

// joinPath appends a name to a directory in the style of the directory.
func joinPath(dir, name string) string {
	sep := "/"
	if strings.Contains(dir, `\`) || len(dir) > 1 && dir[1] == ':' {
		sep = `\`
	}
	return strings.TrimRight(dir, `\/`) + sep + name
}

func (u upgrade) backup() failover.Stage {
	node := u.o.Active
	source := u.vendor("2", "2", "back up the configuration files directory on the shared resource")
	run := u.change("copy", "Back up the configuration directory on the node that has the shared disk",
		node.Name(), source,
		func(ctx context.Context) (failover.Observation, error) {
			would := failover.Observation{Found: "there is none of this run",
				Would: "copy " + u.o.ConfigDir + " into " + u.o.BackupDir}
			b, err := u.backupAt(ctx)
			if err != nil {
				return would, err
			}
			// What was copied is read in Apply, which has the time for many gigabytes. A copy of which nothing is on record
			// is asked for again, which leaves a complete one as it is.
			c, ok, err := copyFact.Load(ctx)
			if ok {
				would.Done, would.Found = true,
					fmt.Sprintf("%s: %d files, %d bytes, manifest %.16s…", b.To, c.Files, c.Bytes, c.Hash)
			}
			return would, err
		}, func(ctx context.Context) error {
			b, err := u.backupAt(ctx)
			if err == nil {
				err = node.Backup(ctx, b)
			}
			if err != nil {
				return err
			}
			m, err := node.ReadBackup(ctx, b.To)
			if err == nil {
				err = m.usable(node.Name(), b.To)
			}
			if err != nil { // it was asked for, so something of it may be there or come
				return &failover.Error{Op: "back up", Target: node.Name(), Outcome: failover.InDoubt,
					Next: failover.NextOf(err), Err: err}
			}
			return copyFact.Save(ctx, copied{Files: len(m.Files), Bytes: m.Bytes(), Hash: m.Hash})
		}, failover.NothingToUndo)
	run.Timeout, run.Writes = time.Hour, []string{copyFact.Name}
	verify := u.change("verify", "Read the backup again and compare it with its manifest", node.Name(), source,
		func(ctx context.Context) (failover.Observation, error) {
			hash, ok, err := backupFact.Load(ctx)
			return failover.Observation{Done: ok, Found: "manifest " + hash, Would: "read every file of the copy"}, err
		}, func(ctx context.Context) error {
			b, err := u.backupAt(ctx)
			if err != nil {
				return err
			}
			m, err := node.ReadBackup(ctx, b.To)
			if err == nil {
				err = m.usable(node.Name(), b.To)
			}
			c, _, loadErr := copyFact.Load(ctx)
			switch {
			case err != nil || loadErr != nil:
				return errors.Join(err, loadErr)
			case c.Hash != m.Hash:
				return refuse("check backup", node.Name(), "find out who changes the copy", ErrBackup,
					"its manifest is %.16s…, it was %.16s…", m.Hash, c.Hash)
			}
			failover.Progress(ctx, fmt.Sprintf("%d files, %d bytes, manifest %s in %s on %s", len(m.Files), m.Bytes(), m.Hash,
				b.To, node.Name()))
			return backupFact.Save(ctx, m.Hash)
		}, failover.NothingToUndo)
	verify.Timeout, verify.Writes = run.Timeout, []string{backupFact.Name}
	return failover.Stage{Name: "backup", Steps: []failover.Step{run, verify}}
}

// quiesce waits until nobody would be cut off, if that is wanted.
func (u upgrade) quiesce() failover.Stage {
	q := u.o.Quiesce
	stage := failover.Stage{Name: "quiesce"}
	if q.For == 0 {
		return stage
	}
	s := u.change("wait", "Wait until nobody is connected", u.o.Group, added+"a move cuts every connection",
		func(ctx context.Context) (failover.Observation, error) {
			// Users come and go: whether somebody is connected is looked at while it waits.
			text, ok, err := quiescedFact.Load(ctx)
			return failover.Observation{Done: ok, Note: text, Would: "wait up to " + q.For.String()}, err
		}, func(ctx context.Context) error {
			limit, cancel := context.WithTimeout(ctx, q.For)
			defer cancel()
			for {
				now, err := u.o.Admin.Read(ctx)
				if err != nil {
					return err
				}
				if now.Activity.Idle() {
					return quiescedFact.Save(ctx, "nobody was connected")
				}
				failover.Progress(ctx, now.Activity.String())
				if err := waiting.For(limit, u.o.Poll); err != nil {
					if ctx.Err() != nil {
						return &failover.Error{Op: "wait for quiet", Target: u.o.Group, Outcome: failover.NotApplied,
							Next: "run again", Err: err}
					}
					if q.Then == QuiesceMoveAnyway {
						return quiescedFact.Save(ctx, "moved in spite of "+now.Activity.String())
					}
					return refuse("wait for quiet", u.o.Group, "run again at a quieter time, or use QuiesceMoveAnyway", ErrNodeBusy,
						"still %s after %s", now.Activity, q.For)
				}
			}
		}, failover.NothingToUndo)
	s.Timeout, s.Writes = q.For+changeTime, []string{quiescedFact.Name}
	stage.Steps = []failover.Step{s}
	return stage
}
