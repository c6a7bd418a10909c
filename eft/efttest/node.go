package efttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
)

// node implements eft.Node on the model.
type node struct {
	w    *World
	name string
}

var (
	errLost    = errors.New("efttest: the reply is lost")
	errGarbage = errors.New("efttest: the reply is a word that nobody knows")
)

// ask runs one request. The loss is what the line does after the effect.
func (n *node) ask(ctx context.Context, op string,
	f func(*clustertest.Model, *State, *NodeState) (loss, refusal error)) error {
	if err := ctx.Err(); err != nil {
		return &failover.Error{Op: op, Target: n.name, Outcome: failover.NotApplied, Next: "run again", Err: err}
	}
	var loss error
	err := n.w.Update(func(m *clustertest.Model, s *State) (err error) {
		n.w.arrive(m, s)
		if c := m.Node(n.name); m.Cut || c.Unreachable || c.State == cluster.NodeDown {
			return errors.New("efttest: the node does not answer")
		}
		loss, err = f(m, s, s.Nodes[n.name])
		return err
	})
	if err != nil {
		return &failover.Error{Op: op, Target: n.name, Outcome: failover.NotApplied, Next: "act on what the node says",
			Err: err}
	}
	if loss != nil {
		return &failover.Error{Op: op, Target: n.name, Outcome: failover.InDoubt, Next: "read the node again", Err: loss}
	}
	return nil
}

// delay is how many requests a delayed one is behind.
const delay = 3

// arrive carries out what was delayed long enough.
func (w *World) arrive(m *clustertest.Model, s *State) {
	var left []delayedRequest
	for _, d := range s.Delayed {
		if d.Left--; d.Left > 0 {
			left = append(left, d)
			continue
		}
		_, _ = (&node{w, d.Node}).perform(m, s, s.Nodes[d.Node], d.Call) // nobody waits for its answer
	}
	s.Delayed = left
}

// change is ask for a request that changes something; see clustertest.Break.
func (n *node) change(ctx context.Context, op string, c Call) error {
	return n.ask(ctx, op, func(m *clustertest.Model, s *State, st *NodeState) (loss, refusal error) {
		how := m.Break(c.Verb)
		switch how {
		case clustertest.BreakUnsent:
			return nil, errors.New("efttest: the node does not answer")
		case clustertest.BreakIgnores:
			return nil, nil
		case clustertest.BreakDelays:
			s.Delayed = append(s.Delayed, delayedRequest{Call: c, Node: n.name, Left: cmp.Or(m.Delay, delay)})
			return errLost, nil
		case clustertest.BreakNothing, clustertest.BreakLosesReply, clustertest.BreakLosesNodes, clustertest.BreakGarbles:
		}
		loss, refusal = n.perform(m, s, st, c)
		switch {
		case refusal != nil || loss != nil || how == clustertest.BreakNothing:
		case how == clustertest.BreakGarbles:
			loss = errGarbage
		default:
			loss, m.Cut = errLost, m.Cut || how == clustertest.BreakLosesNodes
		}
		return loss, refusal
	})
}

// perform does what a node does when it is asked.
func (n *node) perform(m *clustertest.Model, s *State, st *NodeState, c Call) (loss, refusal error) {
	switch c.Verb {
	case "stage":
		st.Files[c.Path] = installerFile()
	case "start-installer":
		return n.startInstaller(s, st, c.Start)
	case "stop-service":
		setRunning(m, n.name, c.Service, false)
	case "configure-service":
		return nil, configure(s, st, c)
	case "backup":
		if c.Backup.From != ConfigDir || !hasDisk(m, n.name) {
			return nil, fmt.Errorf("efttest: %q is not there", c.Backup.From)
		}
		if _, there := st.Backups[c.Backup.To]; !there {
			st.Backups[c.Backup.To] = Copy{Manifest: s.Config.manifest(), Config: s.Config.clone()}
		}
	case "restore":
		kept, there := st.Backups[c.Backup.To]
		if !there || c.Backup.From != ConfigDir || !hasDisk(m, n.name) {
			return nil, fmt.Errorf("efttest: %q or %q is not there", c.Backup.From, c.Backup.To)
		}
		s.Config = kept.Config.clone()
	}
	return nil, nil
}

func (n *node) simple(ctx context.Context, op string, f func(*clustertest.Model, *State, *NodeState) error) error {
	return n.ask(ctx, op, func(m *clustertest.Model, s *State, st *NodeState) (error, error) { return nil, f(m, s, st) }) //nolint:revive // loss first
}

func (n *node) Name() string { return n.name }

func (n *node) Facts(ctx context.Context) (eft.Facts, error) {
	var f eft.Facts
	err := n.simple(ctx, "read facts", func(m *clustertest.Model, s *State, st *NodeState) error {
		program := st.Program
		if s.Layout == LayoutShared && hasDisk(m, n.name) {
			program = s.Shared
		}
		f = eft.Facts{Node: n.name, Program: program, Products: slices.Clone(st.Products), ConfigDir: ConfigDir,
			LocalConfigs:  slices.Clone(st.LocalConfigs),
			RebootPending: st.Reboot, Booted: st.Booted, Busy: slices.Clone(st.Busy)}
		if st.Service != "" {
			f.Services = []eft.Service{{Name: st.Service, Running: m.Node(n.name).Services[st.Service], StartMode: st.StartMode,
				Account: st.Account,
				Path:    `C:\Program Files\Globalscape\cftpstes.exe`}}
		}
		return nil
	})
	return f, err
}

func (n *node) File(ctx context.Context, path string) (eft.File, error) {
	var f eft.File
	err := n.simple(ctx, "read file", func(_ *clustertest.Model, _ *State, st *NodeState) error {
		f = st.Files[path]
		return nil
	})
	return f, err
}

func (n *node) Space(ctx context.Context, path string) (eft.Space, error) {
	var sp eft.Space
	err := n.simple(ctx, "read space", func(m *clustertest.Model, s *State, st *NodeState) error {
		sp = eft.Space{Free: st.Free}
		if path == ConfigDir {
			if !hasDisk(m, n.name) {
				return errors.New("efttest: the node does not have the shared disk")
			}
			m := s.Config.manifest()
			sp.Used = m.Bytes()
		}
		return nil
	})
	return sp, err
}

func (n *node) Stage(ctx context.Context, i eft.Installer) error {
	src, err := i.Source(ctx)
	if err != nil {
		return &failover.Error{Op: "stage", Target: n.name, Outcome: failover.NotApplied, Next: "make the installer readable",
			Err: err}
	}
	raw, err := io.ReadAll(src)
	if err := errors.Join(err, src.Close()); err != nil {
		return &failover.Error{Op: "stage", Target: n.name, Outcome: failover.NotApplied, Next: "make the installer readable",
			Err: err}
	}
	if string(raw) != string(installerBytes) {
		return &failover.Error{Op: "stage", Target: n.name, Outcome: failover.NotApplied, Next: "use the installer",
			Err: eft.ErrInstallerDiffers}
	}
	return n.change(ctx, "stage", Call{Verb: "stage", Path: i.Path})
}

// readings is how many looks an installer takes.
const readings = 3

func (n *node) StartInstaller(ctx context.Context, start eft.Start) error {
	return n.change(ctx, "start installer", Call{Verb: "start-installer", Start: start})
}

func (n *node) startInstaller(s *State, st *NodeState, start eft.Start) (loss, refusal error) {
	if s.take("lost-request") {
		return errLost, nil
	}
	if st.Runs[start.ID] != nil {
		return nil, nil // claimed: nothing is started
	}
	if start.Turn < st.Voids[start.ID] {
		return nil, eft.ErrNodeBusy // it comes too late
	}
	if !strings.EqualFold(st.Files[start.Path].SHA256, start.SHA256) {
		return nil, eft.ErrInstallerDiffers
	}
	st.Runs[start.ID] = &Run{InstallerRun: eft.InstallerRun{State: eft.RunRunning, Began: time.Now()}, Left: readings,
		Start: start}
	if s.Counters.InstallerRuns == nil {
		s.Counters.InstallerRuns = map[string]int{}
	}
	s.Counters.InstallerRuns[n.name]++
	if s.take("lost-reply") {
		return errLost, nil
	}
	return nil, nil
}

func (n *node) InstallerRun(ctx context.Context, id string) (eft.InstallerRun, error) {
	run := eft.InstallerRun{State: eft.RunNotStarted}
	err := n.simple(ctx, "read installer run", func(m *clustertest.Model, s *State, st *NodeState) error {
		r := st.Runs[id]
		if r == nil {
			run.Turn = st.Voids[id]
			return nil
		}
		if r.State == eft.RunRunning && !s.armed("hangs") {
			if r.Left--; r.Left <= 0 {
				n.finish(m, s, st, r)
			}
		}
		run = r.InstallerRun
		return nil
	})
	return run, err
}

func (n *node) VoidInstaller(ctx context.Context, id string) (eft.InstallerRun, error) {
	err := n.simple(ctx, "keep installer from starting", func(_ *clustertest.Model, _ *State, st *NodeState) error {
		if st.Voids == nil {
			st.Voids = map[string]int{}
		}
		if st.Runs[id] == nil {
			st.Voids[id]++
		}
		return nil
	})
	if err != nil {
		return eft.InstallerRun{}, err
	}
	return n.InstallerRun(ctx, id)
}

// finish is what the installer leaves behind.
func (n *node) finish(m *clustertest.Model, s *State, st *NodeState, r *Run) {
	r.State, r.Ended, r.Exit, r.Log = eft.RunEnded, time.Now(), 0, "Repair finished"
	end := func(exit int, log string) { r.Exit, r.Log = exit, log }
	if s.take("installer-fails") {
		end(1603, "Fatal error during installation")
		return
	}
	if s.Layout == LayoutShared {
		if !hasDisk(m, n.name) {
			end(1603, "The drive E: is not available")
			return
		}
		s.Shared = NewVersion
	} else {
		st.Program = NewVersion
	}
	if s.take("installer-dies") {
		r.State, r.Log = eft.RunLost, "copying files"
		return
	}
	if s.take("half-installed") {
		return
	}
	st.Products = []eft.InstalledProduct{{Name: "EFT Server", Version: NewVersion}}
	if s.armed("renames-service") {
		setRunning(m, n.name, st.Service, false)
		st.Service = newService
	}
	if s.armed("resets-service") {
		st.Account, st.StartMode = "LocalSystem", eft.StartAutomatic
	}
	if s.armed("starts-anyway") {
		st.StartMode = eft.StartAutomatic
	}
	if s.armed("restarts-service") || s.armed("starts-anyway") {
		s.Counters.Blocked++ // whoever runs the installer stops the service as often as it appears
	}
	if s.take("clean-config") {
		st.LocalConfigs = append(st.LocalConfigs, localConfig)
	}
	if s.armed("exit-3010") {
		st.Reboot = true
		m.Node(n.name).RebootPending = true
		end(3010, "A restart is required")
	}
}

func (n *node) StopService(ctx context.Context, service string) error {
	return n.change(ctx, "stop service", Call{Verb: "stop-service", Service: service})
}

func (n *node) ConfigureService(ctx context.Context, service string, c eft.ServiceConfig) error {
	return n.change(ctx, "configure service", Call{Verb: "configure-service", Service: service,
		StartMode: c.StartMode, Account: c.Account, Password: c.Password.Reveal()})
}

func configure(s *State, st *NodeState, c Call) error {
	if c.Service != st.Service {
		return fmt.Errorf("efttest: there is no service %q", c.Service)
	}
	if c.Account != "" {
		if c.Account == Account && c.Password != Password {
			return errors.New("efttest: the account name is invalid or does not exist, or the password is invalid")
		}
		s.Counters.Passwords++
		st.Account = c.Account
	}
	if c.StartMode != eft.StartUnknown {
		st.StartMode = c.StartMode
	}
	return nil
}

func (n *node) Backup(ctx context.Context, b eft.Backup) error {
	return n.change(ctx, "back up", Call{Verb: "backup", Backup: b})
}

func (n *node) ReadBackup(ctx context.Context, dir string) (eft.Manifest, error) {
	var man eft.Manifest
	err := n.simple(ctx, "read backup", func(_ *clustertest.Model, _ *State, st *NodeState) error {
		man = st.Backups[dir].Manifest
		return nil
	})
	return man, err
}

func (n *node) Restore(ctx context.Context, b eft.Backup) error {
	return n.change(ctx, "restore", Call{Verb: "restore", Backup: b})
}

// admin implements eft.Admin on the model.
type admin struct{ w *World }

func (a admin) Read(ctx context.Context) (eft.Settings, error) {
	var out eft.Settings
	fail := func(err error) error {
		return &failover.Error{Op: "read settings", Target: Group, Outcome: failover.NotApplied,
			Next: "see that the service runs", Err: err}
	}
	if err := ctx.Err(); err != nil {
		return out, fail(err)
	}
	err := a.w.Update(func(m *clustertest.Model, s *State) error {
		owner := m.Group(Group).Owner
		st := s.Nodes[owner]
		if m.Cut || st == nil || !m.Node(owner).Services[st.Service] || !hasDisk(m, owner) {
			return errors.New("efttest: connection refused")
		}
		program := st.Program
		if s.Layout == LayoutShared {
			program = s.Shared
		}
		switch c := program.Compare(s.Config.Version); {
		case c < 0: // an old program cannot read a converted configuration and makes an empty one
			s.Config = Config{Version: program, Values: map[string]string{}}
		case c > 0: // converted at the first start
			s.Config.Version = program
			s.Config.Values["server/newFeature"] = "off"
			if s.take("setting-lost") {
				delete(s.Config.Values, "sites/MySite/event-rules/nightly/enabled")
				s.Config.Values["sites/MySite/listenerSettings/sftp/port"] = "2222"
			}
			if s.take("licence-lost") {
				st.Licence = "Evaluation period"
			}
		}
		c := s.Config.clone()
		out = eft.Settings{Version: program, HA: c.HA, ConfigDir: ConfigDir + `\`,
			Licences: map[string]string{"EFTServer": st.Licence}, Values: c.Values, Activity: s.Activity}
		return nil
	})
	if err != nil {
		return out, fail(err)
	}
	return out, nil
}
