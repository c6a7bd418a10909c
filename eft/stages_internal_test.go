package eft

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
)

type namedNode struct {
	Node
	name string
}

func (n namedNode) Name() string { return n.name }

// TestNothingOfATransferIsLeftOut adds a firm check that never holds to each stage of a transfer, also to stages that
// come later, and wants it in the upgrades, which then stop there.
func TestNothingOfATransferIsLeftOut(t *testing.T) {
	sim := clustertest.Start(t, clustertest.TwoNodes("a", "b", "g", "s"))
	c, err := sim.Cluster()
	require.NoError(t, err)
	o := Options{Cluster: c, Group: "g", Active: namedNode{name: "a"}, Passive: namedNode{name: "b"}, ConfigDir: `E:\c`,
		BackupDir: `C:\b`,
		Installer: Installer{Path: `C:\i.exe`, Size: 1, Version: Version{2},
			SHA256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}
	never := failover.Step{ID: "mutant", Title: "Never", Kind: failover.Check, Firm: true,
		Observe: func(context.Context) (failover.Observation, error) { return failover.Observation{}, nil }}
	stages := reflect.TypeFor[cluster.Stages]()
	require.Equal(t, 7, stages.NumField(), "use the new stage in every procedure, or say why not")
	for _, shared := range []bool{false, true} {
		for i := range stages.NumField() {
			u, err := newUpgrade(o, shared)
			require.NoError(t, err)
			stage := reflect.ValueOf(&u.transfer).Elem().Field(i).Addr().Interface().(*failover.Stage) //nolint:forcetypeassert // of this type are all fields
			stage.Steps = append(stage.Steps, never)
			build := u.local
			if shared {
				build = u.onSharedDisk
			}
			p, err := build()
			require.NoError(t, err)
			found := 0
			for _, s := range p.AllSteps() {
				if s.ID == stage.Name+"/mutant" {
					found++
				}
			}
			require.Equal(t, 1, found, stages.Field(i).Name)
		}
	}
}
