package eft

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// serviceMember returns the member of the group that runs EFT's service: the one whose service a node had before or
// has now.
func (u upgrade) serviceMember(ctx context.Context, g cluster.Group) (cluster.Resource, error) {
	before, _, err := startFact.Load(ctx)
	if err != nil {
		return cluster.Resource{}, err
	}
	now, err := u.facts(ctx)
	if err != nil {
		return cluster.Resource{}, err
	}
	names := map[string]bool{}
	for _, nodes := range []map[string]Facts{before.Nodes, now} {
		for _, f := range nodes {
			for _, s := range f.Services {
				names[strings.ToLower(s.Name)] = true
			}
		}
	}
	for _, m := range g.Members {
		if m.Service != "" && names[strings.ToLower(m.Service)] {
			return m, nil
		}
	}
	return cluster.Resource{}, refuse("find service resource", g.Name, "name the group that runs the service",
		cluster.ErrNotFound, "no member runs EFT's service")
}

// rename makes the cluster resource start the service under the name it has on the node now.
func (u upgrade) rename(n Node) failover.Stage {
	read := func(ctx context.Context) (r cluster.Resource, name string, err error) {
		g, err := u.group(ctx)
		if err != nil {
			return r, "", err
		}
		s, err := service(ctx, n, "compare service name")
		if err != nil {
			return r, "", err
		}
		r, err = u.serviceMember(ctx, g)
		return r, s.Name, err
	}
	return outage("rename", u.change("resource", "Let the cluster resource start the service by its present name", u.Group,
		"windowsaccountfortheeftservice, eft82: the service name could be different after an upgrade (documented)",
		func(ctx context.Context) (failover.Observation, error) {
			r, name, err := read(ctx)
			return failover.Observation{Done: strings.EqualFold(r.Service, name),
				Found: fmt.Sprintf("%s starts %q, on %s it is %q", r.Name, r.Service, n.Name(), name),
				Would: "take the group offline and change the resource"}, err
		}, func(ctx context.Context) error {
			r, name, err := read(ctx)
			if err != nil {
				return err
			}
			var did failover.Targets
			// A resource takes another service only while it is down, and the old node cannot start the new name.
			if r.State == cluster.StateOffline || did.Add("take "+u.Group+" offline", u.Cluster.Offline(ctx, u.Group, u.State)) {
				did.Add("change "+r.Name, u.Cluster.SetService(ctx, r.Name, name))
			}
			return did.Err()
		}, nil))
}

// asked says of the moves of a stage which sentence asks for them.
func asked(stage failover.Stage, sentence string) failover.Stage {
	stage.Steps = slices.Clone(stage.Steps)
	for i := range stage.Steps {
		if stage.Steps[i].Kind == failover.Once {
			stage.Steps[i].Source = sentence
		}
	}
	return stage
}

// ownedBy refuses a group that is on another node than n.
func ownedBy(op string, n Node, g cluster.Group) error {
	if g.Owner == n.Name() {
		return nil
	}
	return refuse(op, g.Name, "find out who moved the group, and move it back", cluster.ErrOtherOwner, "%s, expected on %s", g, n.Name())
}

// online brings the group up on the node it is on.
func (u upgrade) online(title, sentence string, n Node, undo applying) failover.Step {
	return u.change("group", title, u.Group, sentence, u.onGroup(func(g cluster.Group) (failover.Observation, error) {
		return failover.Observation{Done: g.State == cluster.StateOnline && g.Owner == n.Name(), Note: g.String(),
			Would: "bring it online on " + n.Name()}, nil
	}), func(ctx context.Context) error {
		g, err := u.group(ctx)
		if err == nil {
			err = ownedBy("bring group online", n, g)
		}
		if err != nil {
			return err
		}
		return u.Cluster.Online(ctx, u.Group, u.State)
	}, undo)
}

func (u upgrade) offline(title, sentence string) failover.Step {
	is := func(want cluster.State) observing {
		return u.onGroup(func(g cluster.Group) (failover.Observation, error) {
			return failover.Observation{Done: g.State == want, Found: g.String(),
				Would: "take it offline; its users are cut off until it is online again"}, nil
		})
	}
	s := u.change("group", title, u.Group, sentence, is(cluster.StateOffline),
		func(ctx context.Context) error { return u.Cluster.Offline(ctx, u.Group, u.State) },
		func(ctx context.Context) error { return u.Cluster.Online(ctx, u.Group, u.State) })
	s.Undone = is(cluster.StateOnline)
	return s
}

// down is the last look at the group before it is moved while it is offline.
func (u upgrade) down() failover.Step {
	return look("down", "The group is offline as a whole", u.Group,
		added+"a group that somebody brought up again would be moved with its users", firm, "move/move",
		func(ctx context.Context) (string, error) {
			g, err := u.group(ctx)
			if err == nil && g.State != cluster.StateOffline {
				err = refuse("check group", u.Group, "take the group offline again", cluster.ErrNotOnline, "%s", g)
			}
			return g.String(), err
		})
}

// disks returns the disk resources that are brought online alone.
func (u upgrade) disks(g cluster.Group) ([]cluster.Resource, error) {
	var list []cluster.Resource
	for _, m := range g.Members {
		// A name that was given is the fact; the type, which third parties choose, is a guess.
		if m.Disk && len(u.Disks) == 0 || slices.Contains(u.Disks, m.Name) {
			list = append(list, m)
		}
	}
	if len(list) == 0 || len(u.Disks) > len(list) {
		return nil, refuse("find disks", g.Name, "name the disk resources of the group", cluster.ErrDisk,
			"found %d, named %d", len(list), len(u.Disks))
	}
	return list, nil
}

// disksAre reports whether every one of the disks is in the state.
func (u upgrade) disksAre(g cluster.Group, want cluster.State) (bool, error) {
	list, err := u.disks(g)
	return err == nil && !slices.ContainsFunc(list, func(d cluster.Resource) bool { return d.State != want }), err
}

// disksTo changes the state of the disks one after the other.
func (u upgrade) disksTo(ctx context.Context, g cluster.Group,
	change func(context.Context, string, cluster.StateOptions) error) error {
	list, err := u.disks(g)
	if err != nil {
		return err
	}
	var did failover.Targets
	for _, d := range list {
		if !did.Add(d.Name, change(ctx, d.Name, u.State)) {
			break
		}
	}
	return did.Err()
}

// diskAlone brings the shared disk online on the node, and nothing else of the group.
func (u upgrade) diskAlone(n Node) failover.Step {
	s := u.change("disk-online", "Bring the shared disk alone online on "+n.Name(), u.Group,
		added+"with the whole group offline the installer would find no disk (inferred)",
		u.onGroup(func(g cluster.Group) (failover.Observation, error) {
			up, err := u.disksAre(g, cluster.StateOnline)
			return failover.Observation{Done: up && g.Owner == n.Name() && !serviceOnline(g), Note: g.String(),
				Would: "bring only the disk online, once the group is offline"}, err
		}), func(ctx context.Context) error {
			const op = "bring disk online"
			g, err := u.group(ctx)
			if err == nil {
				err = ownedBy(op, n, g)
			}
			switch {
			case err != nil:
				return err
			case serviceOnline(g):
				return refuse(op, u.Group, "take the group offline first", ErrServiceRunning, "%s", g)
			}
			return u.disksTo(ctx, g, u.Cluster.OnlineResource)
		}, func(ctx context.Context) error {
			g, err := u.group(ctx)
			if err != nil || serviceOnline(g) { // the group as a whole is up again: its disk stays with it
				return err
			}
			return u.disksTo(ctx, g, u.Cluster.OfflineResource)
		})
	s.Undone = u.onGroup(func(g cluster.Group) (failover.Observation, error) {
		away, err := u.disksAre(g, cluster.StateOffline)
		return failover.Observation{Done: away || err == nil && serviceOnline(g), Found: g.String()}, err
	})
	return s
}

func (u upgrade) diskAway(n Node) failover.Step {
	return u.change("disk-offline", "Take the shared disk offline again on "+n.Name(), u.Group,
		added+"the group moves as a whole and offline (inferred)",
		u.onGroup(func(g cluster.Group) (failover.Observation, error) {
			// Once the group is past this node there is nothing left to take offline here.
			return failover.Observation{Done: g.State == cluster.StateOffline, Note: g.String(), Would: "take the disk offline"},
				nil
		}), func(ctx context.Context) error {
			g, err := u.group(ctx)
			if err != nil {
				return err
			}
			return u.disksTo(ctx, g, u.Cluster.OfflineResource)
		}, failover.NothingToUndo)
}
