package efttest_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/failovertest"
)

// refuser lets the first requests through and refuses every later one, before it is sent.
type refuser struct {
	left int
	sent int // let through since the newest intent
}

func (r *refuser) ask(verb string, do func() error) error {
	if r.left == 0 {
		return &failover.Error{Op: verb, Outcome: failover.NotApplied, Next: "try again", Err: errors.New("no route to host")}
	}
	r.left--
	err := do()
	if err == nil {
		r.sent++
	}
	return err
}

type refusedNode struct {
	eft.Node
	r *refuser
}

func (n refusedNode) Stage(ctx context.Context, i eft.Installer) error {
	return n.r.ask("stage", func() error { return n.Node.Stage(ctx, i) })
}

func (n refusedNode) StartInstaller(ctx context.Context, s eft.Start) error {
	return n.r.ask("start installer", func() error { return n.Node.StartInstaller(ctx, s) })
}

func (n refusedNode) StopService(ctx context.Context, service string) error {
	return n.r.ask("stop service", func() error { return n.Node.StopService(ctx, service) })
}

func (n refusedNode) ConfigureService(ctx context.Context, service string, c eft.ServiceConfig) error {
	return n.r.ask("configure service", func() error { return n.Node.ConfigureService(ctx, service, c) })
}

func (n refusedNode) Backup(ctx context.Context, b eft.Backup) error {
	return n.r.ask("back up", func() error { return n.Node.Backup(ctx, b) })
}

func (n refusedNode) Restore(ctx context.Context, b eft.Backup) error {
	return n.r.ask("restore", func() error { return n.Node.Restore(ctx, b) })
}

type refusedCluster struct {
	cluster.Cluster
	r *refuser
}

func (c refusedCluster) Move(ctx context.Context, group, node string, o cluster.MoveOptions) (res cluster.MoveResult,
	err error) {
	err = c.r.ask("move", func() error {
		res, err = c.Cluster.Move(ctx, group, node, o)
		return err
	})
	return res, err
}

func (c refusedCluster) Offline(ctx context.Context, group string, o cluster.StateOptions) error {
	return c.r.ask("offline", func() error { return c.Cluster.Offline(ctx, group, o) })
}

func (c refusedCluster) Online(ctx context.Context, group string, o cluster.StateOptions) error {
	return c.r.ask("online", func() error { return c.Cluster.Online(ctx, group, o) })
}

func (c refusedCluster) OfflineResource(ctx context.Context, resource string, o cluster.StateOptions) error {
	return c.r.ask("offline resource", func() error { return c.Cluster.OfflineResource(ctx, resource, o) })
}

func (c refusedCluster) OnlineResource(ctx context.Context, resource string, o cluster.StateOptions) error {
	return c.r.ask("online resource", func() error { return c.Cluster.OnlineResource(ctx, resource, o) })
}

func (c refusedCluster) SetFailback(ctx context.Context, group string, f cluster.Failback) error {
	return c.r.ask("set failback", func() error { return c.Cluster.SetFailback(ctx, group, f) })
}

func (c refusedCluster) SetService(ctx context.Context, resource, service string) error {
	return c.r.ask("set service", func() error { return c.Cluster.SetService(ctx, resource, service) })
}

// A step that sent a request, and was refused the next one, is not told as if nothing had been changed; the run that
// goes on behind it ends as an undisturbed one.
func TestNothingIsCalledUnchangedBehindARequestThatWasTaken(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for sent := 0; ; sent++ {
				w := s.open(t, t.TempDir())
				r := &refuser{left: -1}
				o, err := w.Options()
				require.NoError(t, err)
				o.Active, o.Passive, o.Cluster = refusedNode{o.Active, r}, refusedNode{o.Passive, r}, refusedCluster{o.Cluster, r}
				p := s.with(t, w, o)
				j, err := failovertest.JournalAt(filepath.Join(t.TempDir(), "j"))
				require.NoError(t, err)
				r.left = sent
				run := options(w, j, nil)
				run.Observer = func(e failover.Event) {
					if e.Kind == failover.EventIntent {
						r.sent = 0
					}
				}
				rep, err := p.Run(t.Context(), run)
				if err == nil {
					require.Greater(t, sent, 5)
					break // every request was refused once
				}
				name := fmt.Sprintf("%d requests were taken; %v", sent, err)
				for _, step := range rep.Steps {
					if step.Attempts > 0 && step.Status == failover.StatusFailed {
						require.Zero(t, r.sent, "%s is %s although a request of it was taken: %s", step.ID, step.Status, name)
					}
				}
				r.left = -1
				_, err = p.Run(t.Context(), options(w, j, nil))
				require.NoError(t, err, name)
				s.ended(t, w)
				require.NoError(t, j.Close())
			}
		})
	}
}
