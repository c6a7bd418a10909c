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
	return cluster.Resource{}, refuse("find service resource", g.Name, "name the group that runs the service", cluster.ErrNotFound, "no member runs EFT's service")
}

// rename makes the cluster resource start the service under the name it has on the node now.
func (u upgrade) rename(id string, n Node) failover.Step {
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
	return u.change(id, "Let the cluster resource start the service by its present name", u.o.Group,
		"windowsaccountfortheeftservice, eft82: the service name could be different after an upgrade (documented)",
		func(ctx context.Context) (failover.Observation, error) {
			r, name, err := read(ctx)
			return failover.Observation{Done: strings.EqualFold(r.Service, name), Found: fmt.Sprintf("%s starts %q, on %s it is %q", r.Name, r.Service, n.Name(), name),
				Would: "take the group offline and change the resource"}, err
		}, func(ctx context.Context) error {
			r, name, err := read(ctx)
			if err != nil {
				return err
			}
			// A resource takes another service only while it is down, and the old node cannot start the new name.
			if r.State != cluster.Offline {
				if err := u.o.Cluster.Offline(ctx, u.o.Group, u.o.State); err != nil {
					return err
				}
			}
			return u.o.Cluster.SetService(ctx, r.Name, name)
		}, nil)
}

// move returns the steps of cluster.Transfer that move the group, able to move it also while it is offline.
func (u upgrade) move(prefix, sentence string, to func() string) []failover.Step {
	steps := u.transferSteps(prefix + "/")
	for i, s := range steps {
		if s.Kind != failover.Once {
			continue
		}
		inner := s.Observe
		s.Source = sentence
		s.Observe = func(ctx context.Context) (failover.Observation, error) {
			obs, err := inner(ctx)
			if err != nil || obs.Done || to == nil {
				return obs, err
			}
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			obs.Done = err == nil && g.Owner == to() && g.State == cluster.Offline
			return obs, err
		}
		steps[i] = s
	}
	return steps
}

// online brings the group up on the node it is on.
func (u upgrade) online(id, title, sentence string, n Node, undo func(context.Context) error) failover.Step {
	return u.change(id, title, u.o.Group, sentence, func(ctx context.Context) (failover.Observation, error) {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		return failover.Observation{Done: g.State == cluster.Online && g.Owner == n.Name(), Found: g.String(), Would: "bring it online on " + n.Name()}, err
	}, func(ctx context.Context) error {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		if err != nil {
			return err
		}
		if g.Owner != n.Name() {
			return refuse("bring group online", u.o.Group, "find out who moved it", cluster.ErrOtherOwner, "%s, expected on %s", g, n.Name())
		}
		return u.o.Cluster.Online(ctx, u.o.Group, u.o.State)
	}, undo)
}

func (u upgrade) offline(id, title, sentence string) failover.Step {
	return u.change(id, title, u.o.Group, sentence, func(ctx context.Context) (failover.Observation, error) {
		g, err := u.o.Cluster.Group(ctx, u.o.Group)
		return failover.Observation{Done: g.State == cluster.Offline, Found: g.String(), Would: "take it offline; its users are cut off until the end of the upgrade"}, err
	}, func(ctx context.Context) error { return u.o.Cluster.Offline(ctx, u.o.Group, u.o.State) },
		func(ctx context.Context) error { return u.o.Cluster.Online(ctx, u.o.Group, u.o.State) })
}

// disks returns the disk resources that are brought online alone.
func (u upgrade) disks(g cluster.Group) ([]cluster.Resource, error) {
	var list []cluster.Resource
	for _, m := range g.Members {
		if m.Disk && (len(u.o.Disks) == 0 || slices.Contains(u.o.Disks, m.Name)) {
			list = append(list, m)
		}
	}
	if len(list) == 0 || len(u.o.Disks) > len(list) {
		return nil, refuse("find disks", g.Name, "name the disk resources of the group", ErrNoDisk, "found %d, named %d", len(list), len(u.o.Disks))
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
			case want == cluster.Online:
				err = u.o.Cluster.OnlineResource(ctx, d.Name, u.o.State)
			default:
				err = u.o.Cluster.OfflineResource(ctx, d.Name, u.o.State)
			}
		}
		return err
	}
}

// diskAlone brings the shared disk online on the node, and nothing else of the group.
func (u upgrade) diskAlone(role string, n Node) failover.Step {
	return u.change(role+"/disk-online", "Bring the shared disk alone online on "+n.Name(), u.o.Group,
		added+"with the whole group offline the installer would find no disk (inferred)", func(ctx context.Context) (failover.Observation, error) {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			if err != nil {
				return failover.Observation{}, err
			}
			list, err := u.disks(g)
			up := err == nil && !slices.ContainsFunc(list, func(d cluster.Resource) bool { return d.State != cluster.Online })
			if err == nil && up && serviceOnline(g) {
				return failover.Observation{Found: g.String(), Would: "bring only the disk online, once the group is offline"}, nil
			}
			return failover.Observation{Done: up && g.Owner == n.Name(), Found: g.String(), Would: "bring only the disk online"}, err
		}, func(ctx context.Context) error {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			switch {
			case err != nil:
				return err
			case g.Owner != n.Name():
				return refuse("bring disk online", u.o.Group, "find out who moved the group", cluster.ErrOtherOwner, "%s, expected on %s", g, n.Name())
			case serviceOnline(g):
				return refuse("bring disk online", u.o.Group, "take the group offline first", ErrServiceRunning, "%s", g)
			}
			return u.disksTo(cluster.Online)(ctx)
		}, u.disksTo(cluster.Offline))
}

func (u upgrade) diskAway(role string, n Node) failover.Step {
	return u.change(role+"/disk-offline", "Take the shared disk offline again on "+n.Name(), u.o.Group, added+"the group moves as a whole and offline (inferred)",
		func(ctx context.Context) (failover.Observation, error) {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			// Once the group is past this node there is nothing left to take offline here.
			return failover.Observation{Done: g.State == cluster.Offline, Found: g.String(), Would: "take the disk offline"}, err
		}, u.disksTo(cluster.Offline), failover.NothingToUndo)
}

// moveOffline moves the group while it is down; it stays down on the new owner.
func (u upgrade) moveOffline(id, sentence string, from, to Node) failover.Step {
	return failover.Step{ID: id, Title: "Change ownership of the offline group to " + to.Name(), Target: u.o.Group + " to " + to.Name(), Kind: failover.Once,
		Timeout: moveTime(u.o.Move), Poll: u.o.Move.Poll, Source: sentence,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			return failover.Observation{Done: g.Owner == to.Name() && g.State == cluster.Offline, Found: g.String(), Would: "move it, offline, to " + to.Name()}, err
		},
		Apply: func(ctx context.Context) error {
			g, err := u.o.Cluster.Group(ctx, u.o.Group)
			if err != nil {
				return err
			}
			if g.State != cluster.Offline {
				return refuse("move offline group", u.o.Group, "take the group offline first", cluster.ErrNotOnline, "%s", g)
			}
			o := u.o.Move
			o.Expect = from.Name()
			_, err = u.o.Cluster.Move(ctx, u.o.Group, to.Name(), o)
			return err
		},
		Probe: func(ctx context.Context) (failover.Outcome, error) {
			var first cluster.Group
			var since time.Time
			for {
				g, err := u.o.Cluster.Group(ctx, u.o.Group)
				switch {
				case err != nil:
					return failover.InDoubt, err
				case g.Owner == to.Name() && g.State != cluster.Pending:
					return failover.Applied, nil
				case since.IsZero() || g.Owner != first.Owner || g.State != first.State || g.State == cluster.Pending || g.Queued || len(g.Standing) > 0:
					first, since = g, time.Now()
				case g.Owner == from.Name() && time.Since(since) >= settleTime(u.o.Move):
					return failover.NotApplied, nil
				}
				if err := wait(ctx, max(u.o.Move.Poll, time.Millisecond)); err != nil {
					return failover.InDoubt, &failover.Error{Op: "settle move", Target: u.o.Group, Outcome: failover.InDoubt,
						Next: "wait until the group stands still, then run again", Err: fmt.Errorf("%w: last seen: %s: %w", failover.ErrInDoubt, g, err)}
				}
			}
		}}
}

func moveTime(o cluster.MoveOptions) time.Duration {
	if o.Timeout == 0 {
		return 11 * time.Minute
	}
	return o.Timeout + time.Minute
}

func settleTime(o cluster.MoveOptions) time.Duration {
	if o.Settle == 0 {
		return 30 * time.Second
	}
	return o.Settle
}
