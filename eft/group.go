package eft

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// serviceMember returns the member of the group that runs EFT's service: the one whose service a node had before or
// has now.
func (u upgrade) serviceMember(ctx context.Context, g cluster.Group) (cluster.Resource, error) {
	names := map[string]bool{}
	before, _, err := startFact.Load(ctx)
	if err != nil {
		return cluster.Resource{}, err
	}
	for _, f := range before.Nodes {
		for _, s := range f.Services {
			names[strings.ToLower(s.Name)] = true
		}
	}
	for _, n := range u.nodes() {
		f, err := n.Facts(ctx)
		if err != nil {
			return cluster.Resource{}, err
		}
		for _, s := range f.Services {
			names[strings.ToLower(s.Name)] = true
		}
	}
	for _, m := range g.Members {
		if m.Service != "" && names[strings.ToLower(m.Service)] {
			return m, nil
		}
	}
	return cluster.Resource{},
		refuse("find service resource", g.Name, "name the group that runs the service", cluster.ErrNotFound,
			"no member runs EFT's service")
}

// rename makes the cluster resource start the service under the name it has on the node now.
func (u upgrade) rename(n Node) failover.Stage {
	read := func(ctx context.Context) (r cluster.Resource, name string, err error) {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		if err != nil {
			return r, "", err
		}
		f, err := n.Facts(ctx)
		if err != nil {
			return r, "", err
		}
		s, err := f.service("compare service name")
		if err != nil {
			return r, "", err
		}
		r, err = u.serviceMember(ctx, g)
		return r, s.Name, err
	}
	s := u.change("resource", "Let the cluster resource start the service by its present name", u.o.Group,
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
			// A resource takes another service only while it is down, and the old node cannot start the new name.
			if r.State != cluster.StateOffline {
				if err := u.o.Cluster.Offline(ctx, u.o.Group, u.o.State); err != nil {
					return err
				}
			}
			return u.o.Cluster.SetService(ctx, r.Name, name)
		}, nil)
	return failover.Stage{Name: "rename", Outage: true, Steps: []failover.Step{s}}
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

// online brings the group up on the node it is on.
func (u upgrade) online(title, sentence string, n Node, undo func(context.Context) error) failover.Step {
	return u.change("group", title, u.o.Group, sentence, func(ctx context.Context) (failover.Observation, error) {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		return failover.Observation{Done: g.State == cluster.StateOnline && g.Owner == n.Name(), Note: g.String(),
			Would: "bring it online on " + n.Name()}, err
	}, func(ctx context.Context) error {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		if err != nil {
			return err
		}
		if g.Owner != n.Name() {
			return refuse("bring group online", u.o.Group, "find out who moved it", cluster.ErrOtherOwner, "%s, expected on %s",
				g, n.Name())
		}
		return u.o.Cluster.Online(ctx, u.o.Group, u.o.State)
	}, undo)
}

func (u upgrade) offline(title, sentence string) failover.Step {
	is := func(want cluster.State) func(context.Context) (failover.Observation, error) {
		return func(ctx context.Context) (failover.Observation, error) {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			return failover.Observation{Done: err == nil && g.State == want, Found: g.String(),
				Would: "take it offline; its users are cut off until the end of the upgrade"}, err
		}
	}
	s := u.change("group", title, u.o.Group, sentence, is(cluster.StateOffline),
		func(ctx context.Context) error { return u.o.Cluster.Offline(ctx, u.o.Group, u.o.State) },
		func(ctx context.Context) error { return u.o.Cluster.Online(ctx, u.o.Group, u.o.State) })
	s.Undone = is(cluster.StateOnline)
	return s
}

// down is the last look at the group before it is moved while it is offline.
func (u upgrade) down() failover.Step {
	return look("down", "The group is offline as a whole", u.o.Group,
		added+"a group that somebody brought up again would be moved with its users", firm, "move/move",
		func(ctx context.Context) (string, error) {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			if err == nil && g.State != cluster.StateOffline {
				err = refuse("check group", u.o.Group, "take the group offline again", cluster.ErrNotOnline, "%s", g)
			}
			return g.String(), err
		})
}

// disks returns the disk resources that are brought online alone.
func (u upgrade) disks(g cluster.Group) ([]cluster.Resource, error) {
	var list []cluster.Resource
	for _, m := range g.Members {
		// A name that was given is the fact; the type, which third parties choose, is a guess.
		if m.Disk && len(u.o.Disks) == 0 || slices.Contains(u.o.Disks, m.Name) {
			list = append(list, m)
		}
	}
	if len(list) == 0 || len(u.o.Disks) > len(list) {
		return nil, refuse("find disks", g.Name, "name the disk resources of the group", cluster.ErrDisk,
			"found %d, named %d", len(list), len(u.o.Disks))
	}
	return list, nil
}

func (u upgrade) disksTo(want cluster.State) func(context.Context) error {
	return func(ctx context.Context) error {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		if err != nil {
			return err
		}
		list, err := u.disks(g)
		for _, d := range list {
			switch {
			case err != nil:
			case want == cluster.StateOnline:
				err = u.o.Cluster.OnlineResource(ctx, d.Name, u.o.State)
			default:
				err = u.o.Cluster.OfflineResource(ctx, d.Name, u.o.State)
			}
		}
		return err
	}
}

// diskAlone brings the shared disk online on the node, and nothing else of the group.
func (u upgrade) diskAlone(n Node) failover.Step {
	s := u.change("disk-online", "Bring the shared disk alone online on "+n.Name(), u.o.Group,
		added+"with the whole group offline the installer would find no disk (inferred)",
		func(ctx context.Context) (failover.Observation, error) {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			if err != nil {
				return failover.Observation{}, err
			}
			list, err := u.disks(g)
			up := err == nil && !slices.ContainsFunc(list,
				func(d cluster.Resource) bool { return d.State != cluster.StateOnline })
			return failover.Observation{Done: up && g.Owner == n.Name() && !serviceOnline(g), Note: g.String(),
				Would: "bring only the disk online, once the group is offline"}, err
		}, func(ctx context.Context) error {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			switch {
			case err != nil:
				return err
			case g.Owner != n.Name():
				return refuse("bring disk online", u.o.Group, "find out who moved the group", cluster.ErrOtherOwner,
					"%s, expected on %s", g, n.Name())
			case serviceOnline(g):
				return refuse("bring disk online", u.o.Group, "take the group offline first", ErrServiceRunning, "%s", g)
			}
			return u.disksTo(cluster.StateOnline)(ctx)
		}, func(ctx context.Context) error {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			if err != nil || serviceOnline(g) { // the group as a whole is up again: its disk stays with it
				return err
			}
			return u.disksTo(cluster.StateOffline)(ctx)
		})
	s.Undone = func(ctx context.Context) (failover.Observation, error) {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		if err != nil {
			return failover.Observation{}, err
		}
		list, err := u.disks(g)
		away := err == nil && !slices.ContainsFunc(list,
			func(d cluster.Resource) bool { return d.State != cluster.StateOffline })
		return failover.Observation{Done: away || err == nil && serviceOnline(g), Found: g.String()}, err
	}
	return s
}

func (u upgrade) diskAway(n Node) failover.Step {
	return u.change("disk-offline", "Take the shared disk offline again on "+n.Name(), u.o.Group,
		added+"the group moves as a whole and offline (inferred)",
		func(ctx context.Context) (failover.Observation, error) {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			// Once the group is past this node there is nothing left to take offline here.
			return failover.Observation{Done: g.State == cluster.StateOffline, Note: g.String(), Would: "take the disk offline"},
				err
		}, u.disksTo(cluster.StateOffline), failover.NothingToUndo)
}

func moveTime(o cluster.MoveOptions) time.Duration {
	if o.Timeout == 0 {
		return 11 * time.Minute
	}
	return o.Timeout + time.Minute
}
