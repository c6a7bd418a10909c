package eft

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// brokenOff takes so many requests and refuses the others before they are sent.
type brokenOff struct {
	cluster.Cluster
	Node
	takes int
	group cluster.Group
	facts Facts
}

func (b *brokenOff) ask(verb string) error {
	if b.takes--; b.takes < 0 {
		return &failover.Error{Op: verb, Outcome: failover.NotApplied, Next: "ask again", Err: errors.New("no route to host")}
	}
	return nil
}

func (b *brokenOff) Name() string                                         { return "n" }
func (b *brokenOff) Facts(context.Context) (Facts, error)                 { return b.facts, nil }
func (b *brokenOff) Group(context.Context, string) (cluster.Group, error) { return b.group, nil }
func (b *brokenOff) StopService(context.Context, string) error            { return b.ask("stop") }
func (b *brokenOff) SetService(context.Context, string, string) error     { return b.ask("set service") }
func (b *brokenOff) ConfigureService(context.Context, string, ServiceConfig) error {
	return b.ask("configure")
}
func (b *brokenOff) Offline(context.Context, string, cluster.StateOptions) error {
	return b.ask("offline")
}
func (b *brokenOff) OnlineResource(context.Context, string, cluster.StateOptions) error {
	return b.ask("online resource")
}
func (b *brokenOff) ServiceResources(context.Context, string) ([]cluster.Resource, error) {
	return nil, nil
}

// A step of several requests, of which the first was taken and a later one refused, has changed something: with that
// said, an undo takes it back, and an outage goes on.
func TestARefusalBehindATakenRequestIsNotCalledUnchanged(t *testing.T) {
	b := &brokenOff{
		group: cluster.Group{Name: "g", Owner: "other", State: cluster.StateOnline, Members: []cluster.Resource{
			{Name: "disk 1", Disk: true, State: cluster.StateOffline}, {Name: "disk 2", Disk: true, State: cluster.StateOffline},
			{Name: "service", Service: "one", State: cluster.StateOnline}}},
		facts: Facts{Services: []Service{{Name: "one", Running: true}, {Name: "two", Running: true}}}}
	u := upgrade{Options: Options{Group: "g", Cluster: b, Active: b, Passive: b}}
	for name, apply := range map[string]func(context.Context) error{
		"disable and stop": u.unstartable("id", "title", b, "source", nil).Apply,
		"stop what runs":   func(ctx context.Context) error { return u.stop(ctx, b, b.facts.Services, StartUnknown) },
		"bring disks up":   func(ctx context.Context) error { return u.disksTo(ctx, b.group, b.OnlineResource) },
		"rename":           u.rename(b).Steps[0].Apply,
	} {
		t.Run(name, func(t *testing.T) {
			b.facts.Services = b.facts.Services[:2]
			if name == "rename" {
				b.facts.Services = b.facts.Services[:1]
			}
			b.takes = 0
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(apply(t.Context())))
			b.takes = 1
			err := apply(t.Context())
			require.ErrorContains(t, err, "no route to host")
			require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
			b.takes = 9
			require.NoError(t, apply(t.Context()))
		})
	}
}

// Whether a service that runs is the cluster's own is asked before it is stopped. Not to know it is no "no".
func TestAServiceOfWhichNothingIsKnownIsNoStray(t *testing.T) {
	running := []cluster.Resource{{Name: "service", Service: "one", State: cluster.StateOnline}}
	unread := []cluster.Resource{{Name: "service", State: cluster.StateOnline}}
	for name, g := range map[string]cluster.Group{
		"no single owner":           {State: cluster.StateOnline, Members: running},
		"a node that is not heard":  {State: cluster.StateUnknown, Owner: "other", Members: running},
		"a member that is not read": {State: cluster.StateUnknown, Owner: "n", Members: unread},
	} {
		b := &brokenOff{takes: 9, group: g, facts: Facts{Services: []Service{{Name: "one", Running: true}}}}
		u := upgrade{Options: Options{Group: "g", Cluster: b, Active: b, Passive: b}}
		for step, ask := range map[string]func(context.Context) error{
			"disable and stop": u.unstartable("id", "title", b, "source", nil).Apply,
			"stop what runs":   u.settle("passive", b).Apply,
			"see it stopped": func(ctx context.Context) error {
				_, err := u.settle("passive", b).Observe(ctx)
				return err
			},
		} {
			err := ask(t.Context())
			require.ErrorIs(t, err, cluster.ErrNotTold, "%s, %s", name, step)
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		}
		require.Equal(t, 9, b.takes, name)
	}
}
