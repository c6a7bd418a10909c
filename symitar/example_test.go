package symitar_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// A planned swap, played on the simulated pair. Without Config.OpCon a person does OpCon's part and confirms it.
func ExampleSwitchover() {
	sim, err := symitartest.Open("")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sim.Close()

	pair, err := symitar.NewPair(sim.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pair.Close()
	swap, err := symitar.Switchover(pair)
	if err != nil {
		fmt.Println(err)
		return
	}

	dir, err := os.MkdirTemp("", "swap")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	journal, err := failover.CreateJournal(filepath.Join(dir, "journal"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer journal.Close()
	_, err = swap.Run(context.Background(), failover.RunOptions{Journal: journal, Actor: "operator", Reason: "CHG0042",
		Confirm: func(_ context.Context, q failover.Request) (failover.Statement, error) {
			s := q.Step
			return failover.Statement{By: "operator", Says: "done: " + s.Title, Reason: "did it in OpCon"}, nil
		}})
	fmt.Println("error:", err)
	fmt.Println("primary:", sim.Primaries(), "macro runs:", sim.MacroRuns(), "ever two primaries:", sim.EverTwoPrimaries())
	// Output:
	// error: <nil>
	// primary: [symaix2] macro runs: 1 ever two primaries: false
}

// What no vendor text states is asked for, not guessed.
func ExampleNewPair() {
	_, err := symitar.NewPair(symitar.Config{
		Home: symitar.HostConfig{Name: "symaix1", MachineID: "00F8C1014C00",
			SSH: failover.SSH{Address: "symaix1-admin:22", User: "symop",
				HostKeys: []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, Agent: "/run/agent"}},
		Partner: symitar.HostConfig{Name: "symaix2", MachineID: "00F8C1024C00",
			SSH: failover.SSH{Address: "symaix2-admin:22", User: "symop",
				HostKeys: []string{"SHA256:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"}, Agent: "/run/agent"}},
	})
	fmt.Println(failover.NextOf(err))
	// Output: fill in the absolute path of the FAILOVER macro, probably /SYM/MACROS/FAILOVER; no public text says, ask Jack Henry or look into your own runbook
}
