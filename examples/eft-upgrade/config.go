package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/runbook"
)

// site is the configuration file. Everything in it is explained in site.example.yaml.
type site struct {
	Group   string    `yaml:"group"`
	Active  node      `yaml:"active"`
	Passive node      `yaml:"passive"`
	Program installer `yaml:"installer"`

	ConfigDir     string         `yaml:"config_dir"`
	BackupDir     string         `yaml:"backup_dir"`
	BackupExclude []string       `yaml:"backup_exclude"`
	Account       runbook.Secret `yaml:"account_password"`
	Admin         *admin         `yaml:"admin"`

	Quiesce runbook.Duration `yaml:"quiesce"`

	Consoles []console `yaml:"consoles"`
	Before   []hook    `yaml:"before"`
	After    []hook    `yaml:"after"`

	Disks    []string         `yaml:"disks"`
	StopTime runbook.Duration `yaml:"stop_time"`
	Verify   runbook.Duration `yaml:"verify"`
	Hold     runbook.Duration `yaml:"hold"`
	Poll     runbook.Duration `yaml:"poll"`
	Attempts int              `yaml:"attempts"`

	Move struct {
		Timeout runbook.Duration `yaml:"timeout"`
		Poll    runbook.Duration `yaml:"poll"`
		Grace   runbook.Duration `yaml:"grace"`
		Settle  runbook.Duration `yaml:"settle"`
	} `yaml:"move"`
	State struct {
		Timeout runbook.Duration `yaml:"timeout"`
		Poll    runbook.Duration `yaml:"poll"`
		Settle  runbook.Duration `yaml:"settle"`
	} `yaml:"state"`

	Windows  windows `yaml:"windows"`
	Rollback struct {
		Old      string `yaml:"old"`
		Copy     string `yaml:"copy"`
		Manifest string `yaml:"manifest"`
		Failback string `yaml:"failback"`
		Restore  string `yaml:"restore"`
	} `yaml:"rollback"`
}

type node struct {
	Name string      `yaml:"name"`
	SSH  runbook.SSH `yaml:"ssh"`
}

type installer struct {
	Version string `yaml:"version"`
	SHA256  string `yaml:"sha256"`
	Size    int64  `yaml:"size"`
	Product string `yaml:"product"`
	Path    string `yaml:"path"`
	File    string `yaml:"file"`
	URL     string `yaml:"url"`

	Mode       string            `yaml:"mode"`
	Args       []string          `yaml:"args"`
	Env        map[string]string `yaml:"env"`
	ExitOK     []int             `yaml:"exit_ok"`
	ExitReboot []int             `yaml:"exit_reboot"`
	ExitSkip   []int             `yaml:"exit_skip"`
	WarnAfter  runbook.Duration  `yaml:"warn_after"`
	StopAfter  runbook.Duration  `yaml:"stop_after"`
	Settle     runbook.Duration  `yaml:"settle"`
	Logs       []string          `yaml:"logs"`
	Space      int64             `yaml:"space"`
}

type admin struct {
	URL         string           `yaml:"url"`
	User        string           `yaml:"user"`
	Login       eft.Login        `yaml:"login"`
	Password    runbook.Secret   `yaml:"password"`
	Fingerprint string           `yaml:"fingerprint"`
	Roots       string           `yaml:"roots"`
	Timeout     runbook.Duration `yaml:"timeout"`
	Settings    []string         `yaml:"settings"`
}

// windows is what differs between versions and sites.
type windows struct {
	RequestTimeout runbook.Duration `yaml:"request_timeout"`
	Executable     string           `yaml:"executable"`
	Uninstall      string           `yaml:"uninstall"`
	Product        string           `yaml:"product"`
	Busy           []string         `yaml:"busy"`
	RunsDir        string           `yaml:"runs_dir"`
	LocalConfigs   []string         `yaml:"local_configs"`
	ConfigKeys     []string         `yaml:"config_keys"`
}

type console struct {
	Name    string      `yaml:"name"`
	Program string      `yaml:"program"`
	SSH     runbook.SSH `yaml:"ssh"`
}

// options returns the settings as the library takes them, which refuses what is missing or wrong. Nothing is
// connected yet; what is opened is added to open.
func (s site) options(open *connections) (eft.Options, error) {
	o := eft.Options{Group: s.Group, Product: s.Windows.Product, ConfigDir: s.ConfigDir, BackupDir: s.BackupDir,
		BackupExclude:   s.BackupExclude,
		AccountPassword: s.Account.Func(), Disks: s.Disks, StopTime: time.Duration(s.StopTime),
		Verify: time.Duration(s.Verify),
		Hold:   time.Duration(s.Hold), Poll: time.Duration(s.Poll), Attempts: s.Attempts,
		Move: cluster.MoveOptions{Timeout: time.Duration(s.Move.Timeout), Poll: time.Duration(s.Move.Poll),
			Grace: time.Duration(s.Move.Grace), Settle: time.Duration(s.Move.Settle)},
		State: cluster.StateOptions{Timeout: time.Duration(s.State.Timeout), Poll: time.Duration(s.State.Poll),
			Settle: time.Duration(s.State.Settle)}}
	var err error
	if o.Installer, err = s.Program.value(); err != nil {
		return o, err
	}
	o.Quiesce = time.Duration(s.Quiesce)
	if s.Admin != nil {
		if o.Admin, err = s.Admin.open(); err != nil {
			return o, err
		}
	}
	active, err := s.Windows.open(s.Active, s.Passive, open)
	if err != nil {
		return o, fmt.Errorf("active: %w", err)
	}
	passive, err := s.Windows.open(s.Passive, s.Active, open)
	if err != nil {
		return o, fmt.Errorf("passive: %w", err)
	}
	o.Active, o.Passive = active, passive
	c, err := s.cluster()
	if err != nil {
		return o, err
	}
	*open, o.Cluster = append(*open, c), c
	return o, nil
}

func (s site) cluster() (*cluster.Windows, error) {
	return cluster.NewWindows(cluster.WindowsConfig{CallTimeout: time.Duration(s.Windows.RequestTimeout),
		Nodes: []cluster.Address{{Node: s.Active.Name, SSH: s.Active.SSH.Target(s.Passive.SSH)},
			{Node: s.Passive.Name, SSH: s.Passive.SSH.Target(s.Active.SSH)}}})
}

// open prepares one node. It knows the keys of the other one, so that a machine found at the wrong address is named.
func (w windows) open(n, peer node, open *connections) (*eft.WindowsNode, error) {
	v, err := eft.NewWindowsNode(eft.WindowsNodeConfig{Name: n.Name, SSH: n.SSH.Target(peer.SSH), Executable: w.Executable,
		Product:  w.Uninstall,
		Consoles: w.Busy, RunsDir: w.RunsDir, LocalConfigs: w.LocalConfigs, ConfigKeys: w.ConfigKeys})
	if err == nil {
		*open = append(*open, v)
	}
	return v, err
}

// version reads all four parts. With fewer, YAML would take 8.10 for the number 8.1.
func version(field, text string) (eft.Version, error) {
	v, err := eft.ParseVersion(text)
	if err != nil || strings.Count(text, ".") != 3 {
		return v, failover.Invalid(field, fmt.Sprintf("%q is not a version of four parts", text), "write it as in 8.1.0.16")
	}
	return v, nil
}

func (i installer) value() (eft.Installer, error) {
	v := eft.Installer{Path: i.Path, SHA256: i.SHA256, Size: i.Size, Product: i.Product, URL: i.URL, Args: i.Args,
		Env:    i.Env,
		ExitOK: i.ExitOK, ExitReboot: i.ExitReboot, ExitSkip: i.ExitSkip, WarnAfter: time.Duration(i.WarnAfter),
		StopAfter: time.Duration(i.StopAfter), Settle: time.Duration(i.Settle),
		Logs: i.Logs, Space: i.Space}
	var err error
	if v.Version, err = version("installer.version", i.Version); err != nil {
		return v, err
	}
	switch i.Mode {
	case "operator":
	case "silent":
		v.Mode = eft.ModeSilent
	default:
		return v, failover.Invalid("installer.mode", fmt.Sprintf("%q is not understood", i.Mode), "write operator or silent")
	}
	if i.File != "" {
		if _, err := os.Stat(i.File); err != nil {
			return v, failover.Invalid("installer.file", err.Error(), "download the installer to this machine")
		}
		v.Source = func(context.Context) (io.ReadCloser, error) { return os.Open(i.File) }
	}
	return v, nil
}

func (a admin) open() (*eft.REST, error) {
	c := eft.RESTConfig{URL: a.URL, User: a.User, Password: a.Password.Func(), Login: a.Login,
		TLS:     failover.TLS{RootsFile: a.Roots},
		Timeout: time.Duration(a.Timeout), Settings: a.Settings}
	if a.Fingerprint != "" {
		c.TLS.Fingerprints = []string{a.Fingerprint}
	}
	return eft.NewREST(c)
}

func (s site) consoles(open *connections) ([]eft.Console, error) {
	var list []eft.Console
	for i, c := range s.Consoles {
		v := eft.Console{Name: c.Name}
		switch {
		case c.Program == "" && c.SSH.Address == "":
		case c.Program == "" || c.SSH.Address == "":
			return nil, failover.Invalid(fmt.Sprintf("consoles[%d]", i), "has only one of program and ssh",
				"give both to have the version read, or none to be asked")
		default:
			n, err := s.Windows.open(node{Name: c.Name, SSH: c.SSH}, node{}, open)
			if err != nil {
				return nil, fmt.Errorf("consoles[%d]: %w", i, err)
			}
			v.Version = eft.ProgramVersion(n, c.Program)
		}
		list = append(list, v)
	}
	return list, nil
}
