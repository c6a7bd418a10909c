package eft_test

import (
	"context"
	"fmt"
	"os"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
)

// A plan looks at every step and changes nothing. The nodes are simulated; NewWindowsNode, NewREST and
// cluster.NewWindows make the real ones.
func ExampleUpgrade() {
	dir, err := os.MkdirTemp("", "upgrade")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	world, err := efttest.Open(dir, efttest.LayoutLocal)
	if err != nil {
		fmt.Println(err)
		return
	}
	options, err := world.Options()
	if err != nil {
		fmt.Println(err)
		return
	}
	upgrade, err := eft.Upgrade(options)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := upgrade.Plan(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range plan.Parameters {
		if p.Name == "order" || p.Name == "point of no return" {
			fmt.Println(p.Name+":", p.Value)
		}
	}
	fmt.Println("obstacles:", len(plan.Blockers()))
	// Output:
	// order: EFT02, EFT01
	// point of no return: active/install: from then on no node carries the old version; before it, Rollback goes back
	// obstacles: 0
}

// No switches of a silent run are published for EFT Server, so there is no default for them.
func ExampleInstaller() {
	dir, err := os.MkdirTemp("", "upgrade")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	world, err := efttest.Open(dir, efttest.LayoutLocal)
	if err != nil {
		fmt.Println(err)
		return
	}
	options, err := world.Options()
	if err != nil {
		fmt.Println(err)
		return
	}
	options.Installer.Mode, options.Installer.Args = eft.ModeSilent, nil
	_, err = eft.Upgrade(options)
	fmt.Println(failover.NextOf(err))
	// Output:
	// give the switches that make it silent, tried in a laboratory, or use ModeByOperator
}
