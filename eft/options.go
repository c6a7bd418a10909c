package eft

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// Options describes the upgrade of one EFT Server on the two nodes of a cluster.
type Options struct {
	Cluster cluster.Cluster
	Group   string // the group with the service
	Active  Node   // the node believed to own the group; the procedure checks it before anything else
	Passive Node   // the other one

	Installer Installer
	Product   string // part of the names of uninstall entries, to recognise the product; "" means "EFT"

	// ConfigDir is the configuration directory on the shared disk, as the owner sees it.
	ConfigDir string
	// BackupDir is a directory on a local disk of Active. Each run makes a copy of its own in it: a copy on the shared
	// disk alone would move away with the group.
	BackupDir string
	// BackupExclude names directories that are not copied; nil means Logs.
	BackupExclude []string

	// Admin reads settings and version of the running server. When it is nil a person compares them.
	Admin Admin
	// AccountPassword gives the password of the service account, which an upgrade may reset (documented). Needed only
	// for an account that has one.
	AccountPassword failover.SecretFunc

	// Disks names the disk resources that are brought online alone in UpgradeShared; empty means all of the group.
	Disks []string
	// Consoles are other machines whose administration interface must get the same version.
	Consoles []Console

	// Quiesce is how long the run waits before the service goes down until nobody would be cut off; 0: it does not wait.
	// It needs an Admin. Who wants to go on all the same waives quiesce/wait, which waits first.
	Quiesce time.Duration

	Move  cluster.MoveOptions  // how moves are followed; Expect is set by the procedure
	State cluster.StateOptions // how changes of state are followed
	Hold  time.Duration        // how long the group must be seen to stay after a move; 0 means 5 s
	// StopTime is how long the service usually takes to stop; the cluster must allow it that. Zero leaves it out.
	StopTime time.Duration

	// Verify: how long a verification may take to hold, because sites start after the service; 0 means 5 min
	Verify   time.Duration
	Poll     time.Duration // between two looks at a node; 0 means 5 s
	Attempts int           // how often a harmless change is tried per node; 0 means failover.DefaultAttempts

	// Before are stages of the caller's that precede every change, for example the backup of the ARM database by its
	// administrator; After are stages after the last one.
	Before, After []failover.Stage
}

// Console is another machine with EFT's administration interface. Its version must follow the server's, or the
// connection is refused (documented).
type Console struct {
	Name string
	// Version reads the interface's version where the machine can be reached, for example by ProgramVersion. When it is
	// nil a person states that the upgrade was made. When it is set the version decides; for a machine that is not
	// reachable on the day the step can be waived with a reason.
	Version func(context.Context) (Version, error)
}

const (
	readTime   = time.Minute
	changeTime = 10 * time.Minute
)

func (o Options) validate() (Options, error) {
	bad := func(field, wrong, right string) (Options, error) {
		return o, failover.Invalid("Options."+field, wrong, right)
	}
	switch {
	case o.Cluster == nil:
		return bad("Cluster", "is nil", "give a cluster")
	case o.Active == nil || o.Passive == nil:
		return bad("Active", "or Passive is nil", "give both nodes")
	case o.Active.Name() == o.Passive.Name():
		return bad("Passive", fmt.Sprintf("is %s, like Active", o.Active.Name()), "give two different nodes")
	case !cleanName(o.ConfigDir):
		return bad("ConfigDir", fmt.Sprintf("%q is empty or has control characters", o.ConfigDir),
			"name the configuration directory on the shared disk")
	case !cleanName(o.BackupDir):
		return bad("BackupDir", fmt.Sprintf("%q is empty or has control characters", o.BackupDir),
			"name a directory on a local disk of the active node")
	case inside(o.BackupDir, o.ConfigDir) || inside(o.ConfigDir, o.BackupDir):
		return bad("BackupDir", "and ConfigDir lie in one another", "keep the copy apart, on a local disk")
	case o.Verify < 0 || o.Poll < 0 || o.Attempts < 0 || o.Quiesce < 0:
		return bad("Verify", "or another time or count is negative", "use zero for the default")
	case o.Quiesce > 0 && o.Admin == nil:
		return bad("Quiesce", "needs an Admin", "give one, or leave it out")
	}
	for _, name := range o.BackupExclude {
		if !cleanName(name) || strings.ContainsAny(name, `/\:*?"<>|[]`) || strings.HasPrefix(name, "-") {
			return bad("BackupExclude", fmt.Sprintf("%q is not the name of a directory", name),
				"give names without path and wildcards")
		}
	}
	seen := map[string]bool{}
	for _, c := range o.Consoles {
		if !cleanName(c.Name) || seen[c.Name] {
			return bad("Consoles", fmt.Sprintf("%q is empty, appears twice or has control characters", c.Name),
				"name each machine once")
		}
		seen[c.Name] = true
	}
	var err error
	if o.Installer, err = o.Installer.validate(); err != nil {
		return o, err
	}
	o.Product, o.Verify, o.Poll = cmp.Or(o.Product, "EFT"), cmp.Or(o.Verify, 5*time.Minute), cmp.Or(o.Poll, 5*time.Second)
	o.BackupExclude = given(o.BackupExclude, "Logs")
	return o, nil
}

// inside reports whether a path lies in a directory or is it, by its text, as Windows compares paths.
func inside(path, dir string) bool {
	norm := func(s string) string {
		return strings.TrimRight(strings.ToLower(strings.ReplaceAll(s, `\`, "/")), "/") + "/"
	}
	return strings.HasPrefix(norm(path), norm(dir))
}

// start is what an upgrade remembers before it changes anything.
type start struct {
	Run   string           `json:"run"` // distinguishes this run's backup and installer runs from those of other journals
	Nodes map[string]Facts `json:"nodes"`
}

// copied is what the backup of a run holds.
type copied struct {
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	Hash  string `json:"hash"` // of the manifest
}

var (
	startFact    = failover.Fact[start]{Name: "eft/start"}
	settingsFact = failover.Fact[Settings]{Name: "eft/settings"}
	backupFact   = failover.Fact[string]{Name: "eft/backup"} // hash of the manifest
	copyFact     = failover.Fact[copied]{Name: "eft/copy"}
)

// remembered returns what was remembered; in a plan nothing is yet.
func remembered(ctx context.Context) (start, error) {
	s, ok, err := startFact.Load(ctx)
	if err == nil && !ok {
		err = errNotYet
	}
	return s, err
}
