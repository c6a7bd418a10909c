package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
)

// upgrade brings both nodes of an EFT Server cluster to the new version and ends on the node it began on.
func upgrade(name string, layout efttest.Layout) scenario {
	sc := scenario{name: name, open: func(_ context.Context, dir string, s settings) (*stage, error) {
		return openUpgrade(dir, s.fault, layout)
	}}
	for _, f := range efttest.Faults(layout) {
		sc.faults = append(sc.faults, fault{f.Name, f.Title})
	}
	return sc
}

func openUpgrade(dir, fault string, layout efttest.Layout) (*stage, error) {
	state := filepath.Join(dir, "eft")
	_, err := os.Stat(state)
	fresh := os.IsNotExist(err)
	world, err := efttest.Open(state, layout)
	if err != nil {
		return nil, err
	}
	start := filepath.Join(dir, "start.json")
	if fresh {
		if fault != "" {
			if err := world.Arm(fault); err != nil {
				return nil, err
			}
		}
		if err := keepStart(world, start); err != nil {
			return nil, err
		}
	}
	p, err := world.Procedure()
	if err != nil {
		return nil, err
	}
	return &stage{acts: only(p), confirm: world.Confirm, close: func() error { return nil },
		judge: func(context.Context) (verdict, error) { return judgeUpgrade(world, start) }}, nil
}

// upgradeStart is what the drill compares the end with.
type upgradeStart struct {
	Settings  eft.Settings
	TwoActive bool // the fault itself has both services running before anything is done
}

func keepStart(world *efttest.World, path string) error {
	st, _, err := world.State()
	if err != nil {
		return err
	}
	two, err := world.TwoActive()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(upgradeStart{Settings: eft.Settings{Values: st.Config.Values}, TwoActive: two})
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func judgeUpgrade(world *efttest.World, path string) (verdict, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return verdict{}, err
	}
	var start upgradeStart
	if err := json.Unmarshal(raw, &start); err != nil {
		return verdict{}, err
	}
	st, model, err := world.State()
	if err != nil {
		return verdict{}, err
	}
	two, err := world.TwoActive()
	if err != nil {
		return verdict{}, err
	}
	v := verdict{twoActive: two && !start.TwoActive}
	upgraded := true
	var versions []string
	for _, node := range slices.Sorted(maps.Keys(st.Nodes)) {
		v.once = append(v.once, effect{what: "installer on " + node, times: st.Counters.InstallerRuns[node], most: 1})
		program := st.Nodes[node].Program
		if st.Layout == efttest.LayoutShared {
			program = st.Shared
		}
		versions = append(versions, fmt.Sprintf("%s has %s", node, program))
		upgraded = upgraded && program == efttest.NewVersion
	}
	for _, move := range slices.Sorted(maps.Keys(model.Counters.MovesByTarget)) {
		v.once = append(v.once, effect{what: "move of " + move, times: model.Counters.MovesByTarget[move], most: 2})
	}
	g := model.Group(efttest.Group)
	same := len(eft.Diff(start.Settings, eft.Settings{Values: st.Config.Values})) == 0
	settings := "the settings are as before"
	if !same {
		settings = "the settings differ"
	}
	v.end = fmt.Sprintf("%s is %s on %s, %s, %s", efttest.Group, model.GroupState(efttest.Group), g.Owner,
		strings.Join(versions, ", "), settings)
	v.asWanted = upgraded && same && g.Owner == efttest.ActiveNode &&
		model.GroupState(efttest.Group) == cluster.StateOnline
	return v, nil
}
