package eft

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

// Node is one cluster node as far as the upgrade needs it. [WindowsNode] is the one of this package; efttest
// has one in memory and one for rehearsals on a Pacemaker cluster.
//
// Every error is a *failover.Error with its outcome. Reads change nothing and report NotApplied. Every change is safe
// to repeat; a line that breaks in the middle leaves it in doubt, and reading again settles it.
type Node interface {
	// Name is the node's name in the cluster.
	Name() string
	// Facts reads how the product is installed.
	Facts(ctx context.Context) (Facts, error)
	// File reads size and SHA-256 of a file; a file that is not there has the zero File and no error.
	File(ctx context.Context, path string) (File, error)
	// Space tells how much the tree at path holds and how much is free on its volume, or on the volume it would be
	// created on.
	Space(ctx context.Context, path string) (Space, error)
	// Stage puts the installer at its path. The file appears there only when its SHA-256 is right.
	Stage(ctx context.Context, i Installer) error
	// StartInstaller starts the installer and returns when it runs or has ended. The node claims Start.ID before it
	// starts anything, and never starts a second installer under the same ID, whoever asks and how often. It checks
	// the file's SHA-256 once more, and while the installer runs it stops the service as often as it appears.
	StartInstaller(ctx context.Context, s Start) error
	// InstallerRun tells what became of the run with this ID.
	InstallerRun(ctx context.Context, id string) (InstallerRun, error)
	// VoidInstaller is InstallerRun, and sees to it that a start that is still on its way does nothing: a run that is not
	// started is not started later either, but by a start of the turn that is told.
	VoidInstaller(ctx context.Context, id string) (InstallerRun, error)
	// StopService stops the service and returns when it has stopped.
	StopService(ctx context.Context, service string) error
	// ConfigureService sets start mode and account; empty values stay as they are.
	ConfigureService(ctx context.Context, service string, c ServiceConfig) error
	// Backup copies a directory tree to another one on this node, with a manifest. An existing complete copy stays as
	// it is.
	Backup(ctx context.Context, b Backup) error
	// ReadBackup reads the manifest of a copy and compares it with the copied files, byte by byte. A copy that is not
	// there has the zero Manifest and no error; one that differs from its manifest wraps ErrBackup.
	ReadBackup(ctx context.Context, dir string) (Manifest, error)
	// Restore makes the tree at Backup.From what the copy at Backup.To holds; what is there now is kept beside it.
	Restore(ctx context.Context, b Backup) error
}

// StartMode is how a service is started.
type StartMode int

// The start modes. A service that a cluster starts is Manual.
const (
	StartUnknown StartMode = iota
	StartManual
	StartAutomatic
	StartDisabled
)

var startModeNames = []string{StartUnknown: "unknown", StartManual: "manual", StartAutomatic: "automatic",
	StartDisabled: "disabled"}

// String returns the mode as a word, for example "manual".
func (m StartMode) String() string { return enum.Name(startModeNames, m) }

// MarshalText implements encoding.TextMarshaler.
func (m StartMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Windows' own words "Auto", "Manual" and "Disabled" are known too.
func (m *StartMode) UnmarshalText(text []byte) error {
	word := strings.ToLower(string(text))
	if word == "auto" {
		word = "automatic"
	}
	*m = StartMode(max(0, slices.Index(startModeNames, word)))
	return nil
}

// Service is an operating-system service that runs the product's program, found by its image path because the
// service's name changes between versions (documented: windowsaccountfortheeftservice, eft82).
type Service struct {
	Name      string    `json:"name"`
	Running   bool      `json:"running"` // also while it starts or stops
	StartMode StartMode `json:"startMode"`
	Account   string    `json:"account"`
	Path      string    `json:"path"`
}

// ServiceConfig is what ConfigureService sets.
type ServiceConfig struct {
	StartMode StartMode       // StartUnknown leaves it
	Account   string          // "" leaves it
	Password  failover.Secret // for an account that has one
}

// InstalledProduct is an uninstall entry.
type InstalledProduct struct {
	Name    string  `json:"name"`
	Version Version `json:"version"`
}

// Facts is how the product is installed on a node. On a shared disk that the node does not have the program cannot be
// seen: Program is then zero, and services and uninstall entries are still told.
type Facts struct {
	Node      string             `json:"node"`
	Services  []Service          `json:"services"`
	Program   Version            `json:"program"`  // product version of the program file
	Products  []InstalledProduct `json:"products"` // uninstall entries
	ConfigDir string             `json:"configDir,omitempty"`
	// LocalConfigs: default directories on own disks that hold a configuration
	LocalConfigs  []string  `json:"localConfigs,omitempty"`
	RebootPending bool      `json:"rebootPending"`
	Booted        time.Time `json:"booted"`
	Busy          []string  `json:"busy,omitempty"` // running installers and administration interfaces
}

// service returns the one service.
func (f Facts) service(op string) (Service, error) {
	switch len(f.Services) {
	case 0:
		return Service{}, refuse(op, f.Node, "install EFT Server on the node first, or name the right node",
			ErrNotInstalled, "no service runs its program")
	case 1:
		return f.Services[0], nil
	}
	var names []string
	for _, s := range f.Services {
		names = append(names, s.Name)
	}
	return Service{}, refuse(op, f.Node, "see which of them the installed program uses, and remove the other's registration",
		ErrServiceName, "%q", names)
}

// service reads the one service of a node.
func service(ctx context.Context, n Node, op string) (Service, error) {
	f, err := n.Facts(ctx)
	if err != nil {
		return Service{}, err
	}
	return f.service(op)
}

// installed returns the version by the uninstall entry, which is there also without the shared disk.
func (f Facts) installed() Version {
	var v Version
	for _, p := range f.Products {
		if p.Version.Compare(v) > 0 {
			v = p.Version
		}
	}
	return v
}

// has reports whether the node carries exactly this version, by every sign there is. The program file decides; the
// entry must not contradict it.
func (f Facts) has(v Version) bool {
	return f.Program == v && len(f.Products) > 0 && len(f.Services) == 1 &&
		!slices.ContainsFunc(f.Products, func(p InstalledProduct) bool { return !v.toldBy(p.Version) })
}

// String returns versions and service in one line.
func (f Facts) String() string {
	text := fmt.Sprintf("program %s, installed %s", f.Program, f.installed())
	for _, s := range f.Services {
		state := "stopped"
		if s.Running {
			state = "running"
		}
		text += fmt.Sprintf(", service %q %s %s as %s", s.Name, s.StartMode, state, s.Account)
	}
	if len(f.Services) == 0 {
		text += ", no service"
	}
	if f.RebootPending {
		text += ", reboot pending"
	}
	return text
}

// File is a file on a node.
type File struct {
	Size    int64   `json:"size"`
	SHA256  string  `json:"sha256"`
	Product string  `json:"product,omitempty"` // what the file itself says, where it says it
	Version Version `json:"version"`
}

// Space is the size of a tree and what is free for it.
type Space struct {
	Used int64 `json:"used"`
	Free int64 `json:"free"`
}

// Start is one run of the installer.
type Start struct {
	ID     string // claims the run on the node; one per node and journal
	Turn   int    // as InstallerRun told it; a start of an earlier turn does nothing
	Path   string
	SHA256 string
	Args   []string
	Env    map[string]string
	Logs   []string // to keep with the run
}

// RunState is what became of an installer run.
type RunState int

// The states of a run.
const (
	RunUnknown    RunState = iota // the node did not say
	RunNotStarted                 // nobody claimed this ID
	RunRunning                    // it goes on
	RunEnded                      // with an exit code
	RunLost                       // claimed and gone without an exit code, or whether all of it has ended could not be read
)

// InstallerRun is what a node knows of a run.
type InstallerRun struct {
	State RunState  `json:"state"`
	Exit  int       `json:"exit"`
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	Log   string    `json:"log,omitempty"`  // the end of what it logged, for people
	Turn  int       `json:"turn,omitempty"` // how often a start was kept from coming later
	// Waits: while it runs, what is waited for after the installer itself has ended, for people
	Waits string `json:"waits,omitempty"`
}

// Backup is one copy of the configuration directory.
type Backup struct {
	From    string   // the configuration directory
	To      string   // an empty or new directory on a local disk of the node
	Exclude []string // names of directories that are left out, for example Logs
}

// Manifest lists what a copy holds.
type Manifest struct {
	Files []ManifestFile `json:"files"`
	Hash  string         `json:"hash"` // SHA-256 over the list
}

// ManifestFile is one file of a copy.
type ManifestFile struct {
	Path   string `json:"path"` // relative, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}
