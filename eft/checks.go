package eft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// until is the step up to which a check has to hold that a run of the installer may make untrue. A person's run begins
// while the procedure waits for their word, so there it ends before.
func (u upgrade) until(role string) string {
	if u.Installer.Mode == ModeByOperator {
		return role + "/guard"
	}
	return role + "/install"
}

// preflight returns the checks that precede every change: those of a transfer there and back, and EFT's own. Each of
// these stands as long as the steps behind it leave it true.
func (u upgrade) preflight() failover.Stage {
	stage := u.transfer.Check
	both := u.Active.Name() + ", " + u.Passive.Name()
	firstRun, lastRun := u.until(u.first), u.until(u.last)
	untouched, service, group, tell := "passive/guard", firstRun, "back/move", "prepare/facts"
	if u.shared {
		// A new service name is known to the cluster only after both installations.
		untouched, service, group = u.downFrom, u.downFrom, lastRun
	}
	if u.Admin != nil {
		tell = "prepare/settings"
	}
	stage.Steps = append(stage.Steps,
		look("owner", "The active node owns the group and the other one does not", u.Group,
			u.vendor("3", "4", "verify which node is currently the passive node and which the active one, and begin with the "+
				"right one"), firm, "move/move", u.owner),
		look("other-nodes", "Both nodes are up, and no other node could take the group", u.Group,
			added+"a node that is down cannot be upgraded; a third one would start the group with the old program on the "+
				"converted configuration", firm, "back/move", u.otherNodes),
		look("installed", "Each node has the product once", both,
			added+"a wrong host or a half-removed installation is found before anything moves", firm, untouched, u.installed),
		look("service", "The service runs on the active node and nowhere else", both,
			"HA FAQ, eft8-1: without the shared disk the service makes itself an empty configuration (documented)", firm,
			service, func(ctx context.Context) (string, error) { return u.runsOn(ctx, u.Active) }),
		look("service-group", "One group runs the service, and it is this one", u.Group,
			added+"the group is found by the service, not by its name", firm, group, u.serviceGroup),
		look("mode", "EFT is not its own cluster manager", u.Group,
			"HA FAQ, eft8-1: HA nodes are upgraded another way (documented)", firm, u.downFrom, u.mode),
		look("versions", "The new version is newer than what is installed", both,
			added+"an older program cannot read a converted configuration (inferred)", firm, lastRun, u.versions),
		look("files", "No other file lies where the installer goes", both, u.vendor("1", "1", download), firm,
			"stage/active", u.files),
		look("busy", "No installer runs and no administration interface is open", both,
			added+"two installers at once end with 1618, an open interface locks files", waivable, firstRun,
			func(ctx context.Context) (string, error) { return u.eachFacts(ctx, free) }),
		look("space", "There is room for installer and backup", both, added+"a full disk half-way is worse than no upgrade",
			firm, "stage/passive", u.space),
		look("account", "The password of the service account is at hand", both,
			"windowsaccountfortheeftservice, eft82: the account is lost in an upgrade (documented)", waivable, firstRun,
			u.account),
		look("settings", "The running server tells its settings and its version", u.Group,
			added+"what cannot be read before cannot be compared afterwards", firm, tell, u.settingsReadable))
	return stage
}

func (u upgrade) owner(ctx context.Context) (string, error) {
	const op = "check owner"
	g, err := u.group(ctx)
	switch {
	case err != nil:
		return "", err
	case g.Owner == "":
		return "", refuse(op, u.Group, "find out where the group runs", cluster.ErrOwnerUnknown, "%s", g)
	case g.Owner == u.Passive.Name():
		return "", refuse(op, u.Group, "exchange Active and Passive; in a run that has begun, move the group back",
			cluster.ErrOtherOwner, "%s, which was given as the passive node", g)
	case g.Owner != u.Active.Name():
		return "", refuse(op, u.Group, "name the nodes of this cluster", cluster.ErrOtherOwner,
			"%s, which is neither of the two", g)
	}
	return fmt.Sprintf("%s owns the group, %s is passive", g.Owner, u.Passive.Name()), nil
}

func (u upgrade) otherNodes(ctx context.Context) (string, error) {
	const op = "check other nodes"
	s, err := u.Cluster.Snapshot(ctx)
	if err != nil {
		return "", err
	}
	g, ok := s.Group(u.Group)
	if !ok {
		return "", refuse(op, u.Group, "use a name the snapshot shows", cluster.ErrNotFound, "the cluster has no such group")
	}
	var others []string
	for _, n := range s.Nodes {
		// One that is joining is up in a moment, and one of which nothing is known may be.
		away := n.State == cluster.NodePaused || n.State == cluster.NodeDown
		if n.Name != u.Active.Name() && n.Name != u.Passive.Name() && !away &&
			len(g.Unwilling(n.Name)) == 0 {
			others = append(others, n.Name)
		}
	}
	if len(others) > 0 {
		return "", refuse(op, u.Group, "take them off the possible owners, or pause them and waive check/nodes",
			ErrOtherNodes, "%q", others)
	}
	for _, n := range u.nodes() {
		if c, _ := s.Node(n.Name()); c.State != cluster.NodeUp {
			return "", refuse(op, n.Name(), "start the cluster service on the node, and end its pause", cluster.ErrNodeDown,
				"it is not up")
		}
	}
	return "none", nil
}

// each looks at both nodes and collects what is found and what is wrong.
func (u upgrade) each(look func(Node) (string, error)) (string, error) {
	var found []string
	var errs []error
	for _, n := range u.nodes() {
		text, err := look(n)
		if text != "" {
			found = append(found, n.Name()+": "+text)
		}
		errs = append(errs, err)
	}
	return strings.Join(found, "; "), errors.Join(errs...)
}

func (u upgrade) eachFacts(ctx context.Context, judge func(Node, Facts) (string, error)) (string, error) {
	return u.each(func(n Node) (string, error) {
		f, err := n.Facts(ctx)
		if err != nil {
			return "", err
		}
		return judge(n, f)
	})
}

func (u upgrade) installed(ctx context.Context) (string, error) {
	return u.eachFacts(ctx, func(n Node, f Facts) (string, error) {
		const op = "check installation"
		if err := rightNode(op, n, f); err != nil {
			return "", err
		}
		s, err := f.service(op)
		if err != nil {
			return "", err
		}
		if s.StartMode == StartDisabled {
			return "", refuse(op, n.Name(), "set the service to manual, which is what a cluster needs", ErrServiceSettings,
				"the service %q is disabled", s.Name)
		}
		if err := u.product(op, n, f); err != nil {
			return "", err
		}
		if f.Program.IsZero() && (!u.shared || n == u.Active) {
			return "", refuse(op, n.Name(), "use UpgradeShared when the program lies on the shared disk", ErrNotInstalled,
				"the program file cannot be read")
		}
		if f.ConfigDir != "" && !sameDir(f.ConfigDir, u.ConfigDir) {
			return "", refuse(op, n.Name(), "give the directory the installation uses", ErrConfigDir, "it uses %q, given was %q",
				f.ConfigDir, u.ConfigDir)
		}
		return f.String(), nil
	})
}

// rightNode refuses a machine that says it is another one.
func rightNode(op string, n Node, f Facts) error {
	if f.Node == "" || strings.EqualFold(f.Node, n.Name()) {
		return nil
	}
	return refuse(op, n.Name(), "correct the node's address", cluster.ErrWrongNode, "it says it is %q", f.Node)
}

// product refuses a node that has none or another one.
func (u upgrade) product(op string, n Node, f Facts) error {
	if len(f.Products) == 0 {
		return refuse(op, n.Name(), "install EFT Server on the node first", ErrNotInstalled, "there is no uninstall entry")
	}
	for _, p := range f.Products {
		if !strings.Contains(strings.ToLower(p.Name), strings.ToLower(u.Product)) {
			return refuse(op, n.Name(), "set Product to what the uninstall entries call it", ErrWrongProduct,
				"%q does not contain %q", p.Name, u.Product)
		}
		if first := f.Products[0]; p.Version != first.Version { // what is left of an old one would contradict the new one
			return refuse(op, n.Name(), "remove the entry that was left over, or have the wildcard of the node match one alone",
				ErrWrongVersion, "%q is %s, %q is %s", first.Name, first.Version, p.Name, p.Version)
		}
	}
	return nil
}

func sameDir(a, b string) bool { return inside(a, b) && inside(b, a) }

// runsOn wants the service running on the owner of the group and stopped on the other node.
func (u upgrade) runsOn(ctx context.Context, owner Node) (string, error) {
	const op = "check service"
	// First of all: a service that the cluster runs elsewhere is no stray, and must not be told to be stopped.
	g, err := u.group(ctx)
	if err == nil {
		err = ownedBy(op, owner, g)
	}
	if err != nil {
		return "", err
	}
	return u.eachFacts(ctx, func(n Node, f Facts) (string, error) {
		running := slices.ContainsFunc(f.Services, func(s Service) bool { return s.Running })
		switch {
		case n == owner && !running:
			return "", refuse(op, n.Name(), "find out why the cluster does not run it", cluster.ErrNotOnline, "%s", f)
		case n != owner && running:
			return "", refuse(op, n.Name(), "stop the service there at once and set it to manual", ErrServiceRunning, "%s", f)
		case running:
			return "running", nil
		}
		return "stopped", nil
	})
}

func (u upgrade) serviceGroup(ctx context.Context) (string, error) {
	const op = "check group of the service"
	seen, groups := map[string]bool{}, map[string]bool{}
	_, err := u.eachFacts(ctx, func(_ Node, f Facts) (string, error) {
		for _, s := range f.Services {
			if seen[s.Name] {
				continue
			}
			seen[s.Name] = true
			list, err := u.Cluster.ServiceResources(ctx, s.Name)
			if err != nil {
				return "", err
			}
			for _, r := range list {
				groups[r.Group] = true
			}
		}
		return "", nil
	})
	switch {
	case err != nil:
		return "", err
	case len(groups) > 1:
		return "", refuse(op, u.Group, "see which of them serves, and remove the resource from the other", cluster.ErrAmbiguous,
			"%q", slices.Sorted(maps.Keys(groups)))
	case !groups[u.Group]:
		return "", refuse(op, u.Group, "name the group that runs the service", cluster.ErrNotFound,
			"no resource of the group runs the service")
	}
	return "this group alone", nil
}

func (u upgrade) mode(ctx context.Context) (string, error) {
	if u.Admin == nil {
		return "not asked: there is no Admin; a service that the cluster starts on one node only is not HA", nil
	}
	s, err := u.Admin.Read(ctx)
	switch {
	case err != nil:
		return "", err
	case s.HA:
		return "", refuse("check mode", u.Group, "use the vendor's zero-downtime upgrade for HA", ErrActiveActive,
			"the server says that it is part of an EFT cluster")
	case slices.Contains(s.Absent, nodesPath):
		return "not told by this version; a service that the cluster starts on one node only is not HA", nil
	}
	return "active-passive", nil
}

func (u upgrade) versions(ctx context.Context) (string, error) {
	return u.eachFacts(ctx, func(n Node, f Facts) (string, error) {
		for _, v := range []Version{f.Program, f.installed()} {
			if v.Compare(u.Installer.Version) > 0 {
				return "", refuse("check versions", n.Name(), "use an installer that is newer", ErrWrongVersion,
					"installed is %s, the installer has %s", v, u.Installer.Version)
			}
		}
		return f.installed().String(), nil
	})
}

func (u upgrade) files(ctx context.Context) (string, error) {
	return u.each(func(n Node) (string, error) {
		file, err := n.File(ctx, u.Installer.Path)
		switch {
		case err != nil:
			return "", err
		case file != File{}:
			return "there", u.rightFile(n, file)
		case u.Installer.Source == nil && u.Installer.URL == "":
			return "", refuse("check installer", n.Name(), "copy it there, or give Source or URL", ErrInstallerMissing, "%s",
				u.Installer.Path)
		}
		return "not there yet", nil
	})
}

// rightFile refuses a file that is not the specified installer, by content and by what it says of itself.
func (u upgrade) rightFile(n Node, f File) error {
	const op = "check installer"
	i := u.Installer
	switch {
	case f.Size != i.Size || !strings.EqualFold(f.SHA256, i.SHA256):
		return refuse(op, n.Name(), "put the right file there, or correct size and SHA-256", ErrInstallerDiffers,
			"%s has %d bytes and SHA-256 %.16s…, specified are %d and %.16s…", i.Path, f.Size, f.SHA256, i.Size, i.SHA256)
	case i.Product != "" && f.Product != "" && !strings.Contains(strings.ToLower(f.Product), strings.ToLower(i.Product)):
		return refuse(op, n.Name(), "use the installer of the right product", ErrWrongProduct,
			"the file says it is %q", f.Product)
	case !f.Version.IsZero() && !i.Version.toldBy(f.Version): // what identifies the file is its sum
		return refuse(op, n.Name(), "use the installer of the right version, or correct Version", ErrWrongVersion,
			"the file says %s, specified is %s", f.Version, i.Version)
	}
	return nil
}

func free(n Node, f Facts) (string, error) {
	if len(f.Busy) > 0 {
		return "", refuse("check node", n.Name(), "let it end, or close it, and run again", ErrNodeBusy, "%q", f.Busy)
	}
	return "free", nil
}

func (u upgrade) space(ctx context.Context) (string, error) {
	const op = "check space"
	_, short := u.each(func(n Node) (string, error) {
		s, err := n.Space(ctx, u.Installer.Path)
		if err == nil && s.Free < u.Installer.Space {
			err = refuse(op, n.Name(), "free some space", ErrNoSpace, "%d bytes are free beside %s, needed are %d", s.Free,
				u.Installer.Path, u.Installer.Space)
		}
		return "", err
	})
	config, empty := u.Active.Space(ctx, u.ConfigDir)
	if empty == nil && config.Used == 0 {
		empty = refuse(op, u.Active.Name(), "name the directory that holds the configuration", ErrConfigDir,
			"%s holds nothing", u.ConfigDir)
	}
	room, err := u.Active.Space(ctx, u.BackupDir)
	// Twice: the copy, and what may be added while it is made.
	if err == nil && room.Free < 2*config.Used {
		err = refuse(op, u.Active.Name(), "free some space, or use another directory", ErrNoSpace,
			"%d bytes are free for %s, needed are %d", room.Free, u.BackupDir, 2*config.Used)
	}
	return "enough", errors.Join(short, empty, err)
}

func (u upgrade) account(ctx context.Context) (string, error) {
	return u.eachFacts(ctx, func(n Node, f Facts) (string, error) {
		s, err := f.service("check account")
		if err == nil && needsPassword(s.Account) && u.AccountPassword == nil {
			err = refuse("check account", n.Name(), "give AccountPassword", ErrAccount, "the service logs on as %s", s.Account)
		}
		return s.Account, err
	})
}

// needsPassword reports whether an account cannot be set without a password: all but the built-in ones and managed
// service accounts, whose names end in a dollar sign (documented by Microsoft).
func needsPassword(account string) bool {
	name := strings.ToLower(account)
	if name == "" || name == "root" || strings.HasSuffix(name, "$") {
		return false
	}
	return name != "localsystem" && !strings.HasPrefix(name, `nt authority\`) && !strings.HasPrefix(name, `nt service\`)
}

func (u upgrade) settingsReadable(ctx context.Context) (string, error) {
	if u.Admin == nil {
		return "a person compares them", nil
	}
	s, err := u.Admin.Read(ctx)
	if err != nil {
		return "", err
	}
	f, err := u.Active.Facts(ctx)
	switch {
	case err != nil:
		return "", err
	case s.Version != f.Program:
		return "", refuse("check settings", u.Group, "see which server the Admin reaches", ErrWrongVersion,
			"the running server says %s, the program on %s is %s", s.Version, u.Active.Name(), f.Program)
	case s.ConfigDir != "" && !sameDir(s.ConfigDir, u.ConfigDir):
		return "", refuse("check settings", u.Group, "give the directory the server uses", ErrConfigDir,
			"the server uses %q, given was %q", s.ConfigDir, u.ConfigDir)
	case u.Quiesce > 0 && s.Activity == nil:
		return "", refuse("check settings", u.Group, "see by hand that nobody is connected, and leave Quiesce out",
			cluster.ErrNotTold, "who is connected")
	}
	return fmt.Sprintf("%d values, version %s", len(s.Values), s.Version), nil
}
