package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
)

// transfer moves a group to the other node of a cluster, verifies it there and moves it back.
func transfer() scenario {
	sc := scenario{name: "transfer", open: func(_ context.Context, dir string, s settings) (*stage, error) {
		return openTransfer(dir, s.fault, cluster.AfterMoveBack)
	}}
	for _, f := range clustertest.Faults() {
		sc.faults = append(sc.faults, fault{f.Name, f.Title})
	}
	return sc
}

func openTransfer(dir, fault string, then cluster.AfterMove) (*stage, error) {
	const first, second, group, service = "NODE1", "NODE2", "FILE SERVICE", "filesvc"
	state := filepath.Join(dir, "cluster")
	_, err := os.Stat(state)
	fresh := os.IsNotExist(err)
	sim, err := clustertest.Open(state, clustertest.TwoNodes(first, second, group, service))
	if err != nil {
		return nil, err
	}
	if fresh && fault != "" {
		if err := sim.Arm(fault, group); err != nil {
			return nil, err
		}
	}
	c, err := sim.Cluster()
	if err != nil {
		return nil, err
	}
	p, err := cluster.Transfer(c,
		cluster.TransferOptions{Group: group, Target: second, Then: then, Hold: 200 * time.Millisecond,
			Move: cluster.MoveOptions{Timeout: 10 * time.Second, Poll: 20 * time.Millisecond, Grace: 300 * time.Millisecond,
				Settle: time.Second}})
	if err != nil {
		return nil, err
	}
	return &stage{acts: only(p), close: func() error { return nil }, judge: func(context.Context) (verdict, error) {
		m, err := sim.Model()
		if err != nil {
			return verdict{}, err
		}
		v := verdict{twoActive: m.Counters.TwoOwners > 0}
		for _, move := range slices.Sorted(maps.Keys(m.Counters.MovesByTarget)) {
			v.once = append(v.once, effect{what: "move of " + move, times: m.Counters.MovesByTarget[move], most: 1})
		}
		g := m.Group(group)
		v.end = fmt.Sprintf("%s is %s on %s", group, m.GroupState(group), g.Owner)
		end := map[cluster.AfterMove]string{cluster.AfterMoveBack: first, cluster.AfterMoveStay: second}[then]
		v.asWanted = g.Owner == end && m.GroupState(group) == cluster.StateOnline &&
			g.Failback.Policy == cluster.FailbackAllowed
		return v, nil
	}}, nil
}
