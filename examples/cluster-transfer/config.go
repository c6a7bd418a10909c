package main

import (
	"io"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/runbook"
)

// site is the configuration file. Everything in it is explained in site.example.yaml.
type site struct {
	Cluster clusterSite `yaml:"cluster"`

	Group    string           `yaml:"group"`
	From     string           `yaml:"from"`
	Target   string           `yaml:"target"`
	Disks    []string         `yaml:"disks"`
	StopTime runbook.Duration `yaml:"stop_time"`
	Hold     runbook.Duration `yaml:"hold"`

	Move struct {
		Timeout runbook.Duration `yaml:"timeout"`
		Poll    runbook.Duration `yaml:"poll"`
		Grace   runbook.Duration `yaml:"grace"`
		Settle  runbook.Duration `yaml:"settle"`
	} `yaml:"move"`
}

// clusterSite says what make the cluster is and how to reach its nodes.
type clusterSite struct {
	Windows        *windowsSite     `yaml:"windows"`
	Pacemaker      *pacemakerSite   `yaml:"pacemaker"`
	RequestTimeout runbook.Duration `yaml:"request_timeout"`
	Nodes          []node           `yaml:"nodes"`
}

type windowsSite struct{}

type pacemakerSite struct {
	Sudo     bool              `yaml:"sudo"`
	Services map[string]string `yaml:"services"`
}

type node struct {
	Name string      `yaml:"name"`
	SSH  runbook.SSH `yaml:"ssh"`
}

func (s site) options() cluster.TransferOptions {
	return cluster.TransferOptions{Group: s.Group, From: s.From, Target: s.Target, Disks: s.Disks,
		StopTime: time.Duration(s.StopTime),
		Hold:     time.Duration(s.Hold),
		Move: cluster.MoveOptions{Timeout: time.Duration(s.Move.Timeout), Poll: time.Duration(s.Move.Poll),
			Grace: time.Duration(s.Move.Grace), Settle: time.Duration(s.Move.Settle)}}
}

// open prepares the cluster; it connects to nothing yet.
func (s clusterSite) open() (cluster.Cluster, io.Closer, error) {
	limit := time.Duration(s.RequestTimeout)
	switch {
	case s.Windows != nil && s.Pacemaker != nil:
		return nil, nil, failover.Invalid("cluster", "is both windows and pacemaker", "leave one of them out")
	case s.Windows != nil:
		c, err := cluster.NewWindows(cluster.WindowsConfig{Nodes: s.addresses(), CallTimeout: limit})
		if err != nil {
			return nil, nil, err
		}
		return c, c, nil
	case s.Pacemaker != nil:
		conf := cluster.PacemakerConfig{Nodes: s.addresses(), CallTimeout: limit, Services: s.Pacemaker.Services}
		if s.Pacemaker.Sudo {
			conf.Privilege = cluster.PrivilegeSudo
		}
		c, err := cluster.NewPacemaker(conf)
		if err != nil {
			return nil, nil, err
		}
		return c, c, nil
	}
	return nil, nil, failover.Invalid("cluster", "says neither windows nor pacemaker",
		"write windows: {} or pacemaker: {}")
}

// addresses returns the nodes as the library takes them. Every node knows the keys of all others, so that a machine
// found at another one's address is named as such.
func (s clusterSite) addresses() []cluster.Address {
	var all []cluster.Address
	for i, n := range s.Nodes {
		var others []runbook.SSH
		for j, o := range s.Nodes {
			if i != j {
				others = append(others, o.SSH)
			}
		}
		all = append(all, cluster.Address{Node: n.Name, SSH: n.SSH.Target(others...)})
	}
	return all
}
