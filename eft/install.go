package eft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/internal/waiting"
)

// install returns the steps that bring the node of a role to the new version. sentence is the one of the vendor's text
// that asks for it, next the move that follows.
func (u upgrade) install(role, sentence, next string) []failover.Step {
	n, complete := u.node(role), next
	if u.shared && role == u.first {
		complete = "disk-offline" // without the disk the program cannot be read
	}
	return []failover.Step{
		u.guard(n),
		u.ready(n),
		u.installer(role, n, sentence),
		u.settle(role, n),
		u.reboot(role, n),
		u.noCleanConfig(n, next),
		u.service(n),
		u.complete(role, n, complete),
	}
}

func runID(ctx context.Context, role string) (string, error) {
	s, err := remembered(ctx)
	return s.Run + "-" + role, err
}

// run tells what became of the installer. Without an ID nothing can have been started.
func run(ctx context.Context, role string, n Node) (InstallerRun, error) {
	id, err := runID(ctx, role)
	if err != nil {
		return InstallerRun{State: RunNotStarted}, err
	}
	return n.InstallerRun(ctx, id)
}

// guard makes the service unstartable while the installer works: installers are known to start what they installed.
func (u upgrade) guard(n Node) failover.Step {
	return u.unstartable("guard", "Make the service on "+n.Name()+" unstartable during the installation", n,
		added+"the service must not start on a node without the shared disk, and an installer may start it",
		onNode(n, func(f Facts) (failover.Observation, error) {
			if f.has(u.Installer.Version) {
				return failover.Observation{Done: true, Found: "the node has the new version already"}, nil
			}
			s, err := f.service("guard service")
			return failover.Observation{Done: s.StartMode == StartDisabled && !s.Running,
				Found: fmt.Sprintf("the service %q is not guarded", s.Name), Note: f.String(), Would: "set it to disabled"}, err
		}))
}

// unstartable is a Change that disables and stops the service of a node; observe says whether that has to be done.
func (u upgrade) unstartable(id, title string, n Node, source string, observe observing) failover.Step {
	s := u.change(id, title, n.Name(), source, observe, func(ctx context.Context) error {
		f, err := n.Facts(ctx)
		if err != nil {
			return err
		}
		return u.stop(ctx, n, f.Services, StartDisabled)
	}, func(ctx context.Context) error {
		was, is, err := startModes(ctx, n)
		if err != nil || is.StartMode == was.StartMode {
			return err
		}
		return n.ConfigureService(ctx, is.Name, ServiceConfig{StartMode: was.StartMode})
	})
	s.Undone = func(ctx context.Context) (failover.Observation, error) {
		was, is, err := startModes(ctx, n)
		return failover.Observation{Done: err == nil && was.StartMode == is.StartMode,
			Found: fmt.Sprintf("%s, it was %s", is.StartMode, was.StartMode)}, err
	}
	return s
}

// since returns how the product was installed on a node at the start, and how it is now.
func since(ctx context.Context, n Node) (was, is Facts, err error) {
	before, err := remembered(ctx)
	if err == nil {
		was = before.Nodes[n.Name()]
		is, err = n.Facts(ctx)
	}
	return was, is, err
}

// startModes returns the service as it was and as it is.
func startModes(ctx context.Context, n Node) (was, is Service, err error) {
	const op = "compare start mode"
	before, now, err := since(ctx, n)
	if err == nil {
		was, err = before.service(op)
	}
	if err == nil {
		is, err = now.service(op)
	}
	return was, is, err
}

// ready is the last look before the installer is run: on the right node, where the service neither runs nor can start.
func (u upgrade) ready(n Node) failover.Step {
	return look("ready", "The cluster does not run the service on "+n.Name()+", and it cannot start there", n.Name(),
		added+"the guard may have been taken away, or the group come back, while the run waited for a person", firm,
		"install", func(ctx context.Context) (string, error) {
			const op = "check guard"
			_, f, err := since(ctx, n)
			if err == nil {
				err = rightNode(op, n, f)
			}
			switch {
			case err != nil:
				return "", err
			case f.has(u.Installer.Version):
				return "the node has the new version already", nil
			}
			if err := u.product(op, n, f); err != nil {
				return "", err
			}
			s, err := f.service(op)
			if err == nil {
				err = u.mayNotRun(ctx, n, s)
			}
			switch {
			case err != nil:
				return "", err
			case s.Running:
				return "", refuse(op, n.Name(), "stop the service and disable it again", ErrServiceRunning, "%s", f)
			case s.StartMode != StartDisabled:
				return "", refuse(op, n.Name(), "disable the service again", ErrServiceSettings, "%s", f)
			}
			return f.String(), nil
		})
}

// stop stops services that do not serve their users; a start mode that is known is set before.
func (u upgrade) stop(ctx context.Context, n Node, list []Service, mode StartMode) error {
	var did failover.Targets
	for _, s := range list {
		if err := u.mayNotRun(ctx, n, s); err != nil {
			did.Add("touch "+s.Name, err)
			break
		}
		if mode != StartUnknown &&
			!did.Add("set start mode of "+s.Name, n.ConfigureService(ctx, s.Name, ServiceConfig{StartMode: mode})) ||
			s.Running && !did.Add("stop "+s.Name, n.StopService(ctx, s.Name)) {
			break
		}
	}
	return did.Err()
}

// mayNotRun refuses to touch a service that serves its users.
func (u upgrade) mayNotRun(ctx context.Context, n Node, s Service) error {
	serves, g, err := u.serving(ctx, n)
	if serves {
		err = refuse("install", n.Name(), "move the group off the node, or take it offline", cluster.ErrOtherOwner,
			"%s, and the service %q belongs to it", g, s.Name)
	}
	return err
}

// serving reports whether the cluster runs the service on a node. Where that is not known, a service that is found running
// is no stray.
func (u upgrade) serving(ctx context.Context, n Node) (bool, cluster.Group, error) {
	g, err := u.group(ctx)
	if err == nil && (g.State == cluster.StateUnknown || g.Owner == "" && serviceOnline(g)) {
		err = unchanged("look at the group", n.Name(), "find out how the group and its node stand, then run again",
			fmt.Errorf("%w: whether the cluster runs the service here: %s", cluster.ErrNotTold, g))
	}
	return err == nil && g.Owner == n.Name() && serviceOnline(g), g, err
}

// serviceOnline reports whether a member that runs a service is up or on its way.
func serviceOnline(g cluster.Group) bool {
	return slices.ContainsFunc(g.Members,
		func(r cluster.Resource) bool { return r.Service != "" && r.State != cluster.StateOffline })
}

// installer is the one run of the installer on this node.
func (u upgrade) installer(role string, n Node, sentence string) failover.Step {
	const op = "run installer"
	i := u.Installer
	s := failover.Step{ID: "install", Title: "Run the installer on " + n.Name() + ", Repair", Target: n.Name(),
		Source: sentence, Timeout: i.StopAfter, WarnAfter: i.WarnAfter, Poll: u.Poll}
	if role == u.last {
		s.Title += "; afterwards no node carries the old version"
	}
	if i.Mode == ModeByOperator {
		s.Kind, s.Wait = failover.Manual, true
		s.Help = fmt.Sprintf("Log in to the desktop of %s as an administrator, run %s, choose Repair, and confirm when it "+
			"has finished and its windows are closed. Do not start the service: it is disabled on purpose, so let an installer "+
			"that cannot start it go on.", n.Name(), i.Path)
		s.Observe = onNode(n, func(f Facts) (failover.Observation, error) {
			obs := failover.Observation{Done: f.has(i.Version) && len(f.Busy) == 0, Found: f.String(),
				Would: "wait for version " + i.Version.String()}
			if len(f.Busy) > 0 { // the version may be there before the installer has ended
				obs.Found += fmt.Sprintf(", and still at work: %q", f.Busy)
			}
			return obs, nil
		})
		return s
	}
	s.Kind = failover.Once
	s.Observe = func(ctx context.Context) (failover.Observation, error) { return u.installerState(ctx, role, n) }
	s.Apply = func(ctx context.Context) error {
		id, err := runID(ctx, role)
		if err != nil {
			return unchanged(op, n.Name(), "run from the beginning", err)
		}
		was, err := n.InstallerRun(ctx, id)
		switch {
		case err != nil:
			return unchanged(op, n.Name(), "make the node readable and run again", err)
		case was.State != RunNotStarted:
			return nil // it was taken already, or the node does not say: what is observed counts
		}
		if err := n.StartInstaller(ctx, Start{ID: id, Turn: was.Turn, Path: i.Path, SHA256: i.SHA256, Args: i.Args, Env: i.Env,
			Logs: i.Logs}); err != nil {
			return err
		}
		// That it was taken is the node's word; that it runs or ran is what counts.
		if run, err := n.InstallerRun(ctx, id); err != nil || run.State <= RunNotStarted {
			return &failover.Error{Op: op, Target: n.Name(), Outcome: failover.InDoubt,
				Next: "look whether an installer runs on the node", Err: errors.Join(failover.ErrNotObserved, err)}
		}
		return nil
	}
	s.Probe = func(ctx context.Context) (failover.Outcome, error) {
		id, err := runID(ctx, role)
		if err != nil {
			return failover.InDoubt, err
		}
		return u.probeRun(ctx, n, id)
	}
	return s
}

// probeRun looks for the trace of a run for the time that a start may usually be on its way. None by then proves nothing:
// the node is made to refuse a start that comes later, and what it says then counts.
func (u upgrade) probeRun(ctx context.Context, n Node, id string) (failover.Outcome, error) {
	look := n.InstallerRun
	for began := time.Now(); ; {
		late := time.Since(began) >= u.Installer.Settle
		if late {
			look = n.VoidInstaller
		}
		run, err := look(ctx, id)
		switch {
		case err != nil || run.State == RunUnknown:
			return failover.InDoubt, err
		case run.State != RunNotStarted:
			return failover.Applied, nil
		case late:
			return failover.NotApplied, nil
		}
		if err := waiting.For(ctx, min(u.Poll, u.Installer.Settle)); err != nil {
			return failover.InDoubt, err
		}
	}
}

// installerState judges an installer by what it left, and its exit code by the lists of the specification.
func (u upgrade) installerState(ctx context.Context, role string, n Node) (failover.Observation, error) {
	const op = "judge installer"
	i := u.Installer
	obs := failover.Observation{Would: "start " + i.Path + " " + strings.Join(i.Args, " ")}
	// The run is read before its effects: the other way round an installer that ends in between looks half done.
	run, err := run(ctx, role, n)
	if err != nil && !errors.Is(err, errNotYet) { // not yet is the rule in a plan
		return obs, err
	}
	f, err := n.Facts(ctx)
	if err != nil {
		return obs, err
	}
	obs.Found, obs.Note = "installed is "+f.installed().String(), f.String()
	ending := "no exit code" // as after an installer that reboots the machine by itself
	switch run.State {
	case RunUnknown:
		return obs, unchanged(op, n.Name(), "look at the node", errors.New("the node does not say what became of the run"))
	case RunNotStarted:
		obs.Done = f.has(i.Version)
		return obs, nil
	case RunRunning:
		obs.Found = "the installer is running"
		if run.Waits != "" {
			obs.Found = run.Waits
		}
		obs.Note = f.String() + ", since " + run.Began.UTC().Format("15:04:05")
		return obs, nil
	case RunEnded:
		ending = fmt.Sprintf("exit code %d", run.Exit)
	case RunLost:
		obs.Note += "; " + tail(run.Log)
	}
	// What is seen counts, also of a run that a person finished; while another installer runs, only what it says too.
	if f.has(i.Version) && (len(f.Busy) == 0 || run.State == RunEnded && i.success(run.Exit)) {
		obs.Done, obs.Found = true, ending+"; "+f.String()
		return obs, nil
	}
	return obs, refuse(op, n.Name(), "look at the log of the installer, and repair the node or run the installer by "+
		"hand; then run again: what counts is what the node has", ErrInstallerFailed, "%s, wanted is %s; %s; %s", ending,
		i.Version, f, tail(run.Log))
}

const shownLog = 400

func tail(log string) string {
	log = strings.TrimSpace(strings.ToValidUTF8(log, "?"))
	if len(log) > shownLog {
		log = "…" + strings.ToValidUTF8(log[len(log)-shownLog:], "")
	}
	if log == "" {
		return "no log"
	}
	return "log ends: " + log
}

// bootSeen is when a node had booted once it was seen to have the new version: a later reboot is behind the installer.
func bootSeen(role string) failover.Fact[time.Time] {
	return failover.Fact[time.Time]{Name: "eft/booted-" + role}
}

// settle stops what the installer started.
func (u upgrade) settle(role string, n Node) failover.Step {
	boot := bootSeen(role)
	s := u.change("stop", "See the service stopped on "+n.Name()+", and stop it if the installer started it", n.Name(),
		"HA FAQ, eft8-1: a service without its configuration makes an empty one (documented)",
		func(ctx context.Context) (failover.Observation, error) {
			running, f, err := u.strays(ctx, n)
			_, seen, loadErr := boot.Load(ctx)
			return failover.Observation{Done: seen && len(running) == 0, Note: f.String(), Would: "stop it where it runs"},
				errors.Join(err, loadErr)
		}, func(ctx context.Context) error {
			running, f, err := u.strays(ctx, n)
			if err == nil {
				_, err = boot.Capture(ctx, func(context.Context) (time.Time, error) { return f.Booted, nil })
			}
			if err != nil {
				return err
			}
			return u.stop(ctx, n, running, StartUnknown)
		}, failover.NothingToUndo)
	s.Writes = []string{boot.Name}
	return s
}

// strays returns the services that run on a node although the cluster does not run them there.
func (u upgrade) strays(ctx context.Context, n Node) ([]Service, Facts, error) {
	f, err := n.Facts(ctx)
	if err != nil {
		return nil, f, err
	}
	serves, _, err := u.serving(ctx, n)
	if err != nil || serves {
		return nil, f, err
	}
	return slices.DeleteFunc(slices.Clone(f.Services), func(s Service) bool { return !s.Running }), f, nil
}

// reboot lets a person reboot a node whose installer asked for it.
func (u upgrade) reboot(role string, n Node) failover.Step {
	help := "Reboot " + n.Name() + " now, while it does not run the service, wait until it is a member of the cluster " +
		"again, "
	if u.shared {
		help += "move the group back to it, offline as it is, bring its disk online there, "
	}
	return failover.Step{ID: "reboot", Title: "Reboot " + n.Name() + " if the installer asks for it", Target: n.Name(),
		Kind: failover.Manual, Wait: true, Timeout: u.Installer.StopAfter, Poll: u.Poll,
		Source: added + "the new program may not be complete before the reboot; now the node serves nobody",
		Help:   help + "and confirm.",
		Observe: later(func(ctx context.Context) (failover.Observation, error) {
			was, is, err := since(ctx, n)
			run, runErr := run(ctx, role, n)
			// Renames of others may be pending for ever, and hide those of the installer: what counts is a reboot behind it.
			boot, seen, bootErr := bootSeen(role).Load(ctx)
			if err := cmp.Or(err, runErr, bootErr); err != nil {
				return failover.Observation{}, err
			}
			if !seen {
				boot = was.Booted
			}
			begun, found := boot.Add(time.Minute), "no reboot is asked for" // a clock that is set moves the time of boot
			if run.State == RunEnded {
				begun = run.Ended
			}
			switch asks := run.State == RunEnded && slices.Contains(u.Installer.ExitReboot, run.Exit); {
			case is.Booted.After(begun):
				found = "the node was rebooted"
			case asks || is.RebootPending && !was.RebootPending:
				return failover.Observation{Found: "the installer asks for a reboot", Would: "wait for it"}, nil
			case is.RebootPending:
				return failover.Observation{Found: "a reboot was pending before the installer; whether it needs one too is not known",
					Would: "wait for it"}, nil
			}
			s, err := u.Cluster.Snapshot(ctx)
			c, _ := s.Node(n.Name())
			g, _ := s.Group(u.Group)
			disk, _ := u.disksAre(g, cluster.StateOnline)
			there := !u.shared || disk && g.Owner == n.Name() // a reboot sends it to the other node
			if !there {
				found += ", and the group with its disk is not on the node"
			}
			return failover.Observation{Done: err == nil && there && c.State == cluster.NodeUp, Found: found,
				Note: "the cluster says the node is " + c.State.String()}, err
		})}
}
