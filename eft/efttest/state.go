package efttest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
)

// Names of the simulated pair.
const (
	Group       = "EFT Server"
	ActiveNode  = "EFT01"
	PassiveNode = "EFT02"

	OldService = "EFT Server Enterprise"
	newService = "EFT Server" // what the service is called after the fault renames-service
	Account    = `CORP\svc-eft`

	ConfigDir     = `E:\EFT\Config`
	BackupDir     = `C:\Backup`
	InstallerPath = `C:\Install\eft.exe`
	localConfig   = `C:\ProgramData\Globalscape\EFT Server`
)

// The versions before and after.
var (
	OldVersion = eft.Version{8, 0, 6, 16}
	NewVersion = eft.Version{8, 1, 0, 16}
)

// Layout says where the program lies.
type Layout int

const (
	// LayoutLocal is the vendor's normal case: eft.Upgrade.
	LayoutLocal Layout = iota
	// LayoutShared has the program on the shared disk: eft.UpgradeShared.
	LayoutShared
)

// State is the modelled installation. It is plain data.
type State struct {
	Layout   Layout
	Nodes    map[string]*NodeState
	Shared   eft.Version // program on the shared disk, with LayoutShared
	Config   Config
	Armed    []string
	Delayed  []delayedRequest // requests to nodes that are on their way
	Ever     []string         // faults that were armed at any time
	Counters Counters
	Activity *eft.Activity // of the running service; nil: it does not tell
	Untold   string        // the name of a count that is not in what it tells of its activity
}

// Call is a request that changes something on a node.
type Call struct {
	Verb                             string // stage, start-installer, stop-service, configure-service, backup or restore
	Service, Account, Password, Path string
	StartMode                        eft.StartMode
	Start                            eft.Start
	Backup                           eft.Backup
}

// delayedRequest is a request that is on its way to a node.
type delayedRequest struct {
	Call
	Node string
	Left int // requests that the node still gets before
}

// NodeState is one installation.
type NodeState struct {
	Program      eft.Version
	Products     []eft.InstalledProduct
	Service      string
	StartMode    eft.StartMode
	Account      string
	LocalConfigs []string
	Reboot       bool
	Booted       time.Time
	Busy         []string
	Free         int64
	Files        map[string]eft.File
	Runs         map[string]*Run
	Voids        map[string]int // by run, how often a start was kept from coming later
	Backups      map[string]Copy
	Licence      string
}

// Run is one run of the installer.
type Run struct {
	eft.InstallerRun
	Left  int
	Start eft.Start
}

// Copy is a backup.
type Copy struct {
	Manifest eft.Manifest
	Config   Config
}

// Config is what the configuration directory holds.
type Config struct {
	Version eft.Version // of the program that wrote it
	HA      bool
	Values  map[string]string
}

// Counters count what must not happen twice or not at all.
type Counters struct {
	InstallerRuns map[string]int // by node
	BothRunning   int            // how often both nodes were seen with the service running
	Blocked       int            // how often an installer tried to start the service and could not, or not for long
	Passwords     int            // how often the service account was set with the right password
}

// Password is the one of the service account.
const Password = "correct horse"

var installerBytes = []byte("this stands for the installer of the new version")

func installerFile() eft.File {
	sum := sha256.Sum256(installerBytes)
	return eft.File{Size: int64(len(installerBytes)), SHA256: hex.EncodeToString(sum[:]), Product: "EFT Server",
		Version: NewVersion}
}

func newState(l Layout) State {
	s := State{Layout: l, Nodes: map[string]*NodeState{}, Activity: &eft.Activity{}, Config: Config{Version: OldVersion, Values: map[string]string{
		"server/listenerSettings/adminPort": "1100", "server/smtp/server": "smtp.example.net",
		"sites/MySite/state": "Running", "sites/MySite/listenerSettings/sftp/port": "22",
		"sites/MySite/dmz/connected":      "true",
		"sites/MySite/users/anna/enabled": "true", "sites/MySite/users/bob/enabled": "false",
		"sites/MySite/event-rules/nightly/enabled": "true",
	}}}
	for i, name := range []string{ActiveNode, PassiveNode} {
		n := &NodeState{Program: OldVersion,
			Products: []eft.InstalledProduct{{Name: "EFT Server Enterprise", Version: OldVersion}}, Service: OldService,
			StartMode: eft.StartManual, Account: Account, Free: 1 << 30, Files: map[string]eft.File{}, Runs: map[string]*Run{},
			Backups: map[string]Copy{},
			Licence: "Registered", Booted: time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)}
		if l == LayoutShared {
			n.Program = eft.Version{}
		}
		s.Nodes[name] = n
	}
	if l == LayoutShared {
		s.Shared = OldVersion
	}
	return s
}

const extra = "eft"

func load(m *clustertest.Model) (*State, error) {
	s := new(State)
	if err := json.Unmarshal(m.Extra[extra], s); err != nil {
		return nil, fmt.Errorf("efttest: %w", err)
	}
	return s, nil
}

func store(m *clustertest.Model, s *State) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("efttest: %w", err)
	}
	if m.Extra == nil {
		m.Extra = map[string]json.RawMessage{}
	}
	m.Extra[extra] = raw
	return nil
}

// running reports whether EFT's service runs on the node, under either name.
func running(m *clustertest.Model, node string) bool {
	n := m.Node(node)
	return n.Services[OldService] || n.Services[newService]
}

func setRunning(m *clustertest.Model, node, service string, up bool) {
	n := m.Node(node)
	if n.Services == nil {
		n.Services = map[string]bool{}
	}
	if n.Services[service] = up; !up {
		delete(n.Services, service)
	}
}

// hasDisk reports whether the shared disk is online on the node.
func hasDisk(m *clustertest.Model, node string) bool {
	r := m.Resource(Group + " Disk")
	return r.State == cluster.StateOnline && m.Group(r.Group).Owner == node
}

func (s *State) audit(m *clustertest.Model) {
	both := true
	for name := range s.Nodes {
		both = both && running(m, name)
	}
	if both {
		s.Counters.BothRunning++
	}
}

// take removes and returns an armed fault.
func (s *State) take(name string) bool {
	for i, a := range s.Armed {
		if a == name {
			s.Armed = append(s.Armed[:i:i], s.Armed[i+1:]...)
			return true
		}
	}
	return false
}

func (s *State) armed(name string) bool {
	for _, a := range s.Armed {
		if a == name {
			return true
		}
	}
	return false
}

func (c Config) clone() Config {
	c.Values = maps.Clone(c.Values)
	return c
}

func (c Config) manifest() eft.Manifest {
	raw, err := json.Marshal(c)
	if err != nil {
		return eft.Manifest{}
	}
	sum := sha256.Sum256(raw)
	return eft.NewManifest([]eft.ManifestFile{{Path: "ServerConfig.db", Size: int64(len(raw)),
		SHA256: hex.EncodeToString(sum[:])},
		{Path: "SiteConfig.1.db", Size: 7, SHA256: hex.EncodeToString(sum[:])}})
}
