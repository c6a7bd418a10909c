package cluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
)

// A group moves to the other node of a simulated cluster. With NewWindows or NewPacemaker in place of the simulator it
// is the same.
func ExampleTransfer() {
	dir, err := os.MkdirTemp("", "transfer")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	sim, err := clustertest.Open("", clustertest.TwoNodes("NODE1", "NODE2", "EFT Server", "EFT Server Enterprise"))
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := sim.Cluster()
	if err != nil {
		fmt.Println(err)
		return
	}
	move, err := cluster.Transfer(c, cluster.TransferOptions{Group: "EFT Server", From: "NODE1", Target: "NODE2",
		Move: cluster.MoveOptions{Poll: 10 * time.Millisecond}, Hold: 10 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	journal, err := failover.CreateJournal(filepath.Join(dir, "journal"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer journal.Close()
	_, err = move.Run(context.Background(), failover.RunOptions{Journal: journal, Actor: "operator", Reason: "CHG0042"})
	fmt.Println("error:", err)
	g, err := c.Group(context.Background(), "EFT Server")
	fmt.Println(g, err)
	// Output:
	// error: <nil>
	// EFT Server is online on NODE2 <nil>
}

// A target that cannot take the group is named before anything moves, with what to do about it.
func ExampleCluster_move() {
	sim, err := clustertest.Open("", clustertest.TwoNodes("NODE1", "NODE2", "EFT Server", "EFT Server Enterprise"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sim.Arm("paused", "EFT Server"); err != nil {
		fmt.Println(err)
		return
	}
	c, err := sim.Cluster()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Move(context.Background(), "EFT Server", "NODE2", cluster.MoveOptions{})
	fmt.Println("outcome:", failover.OutcomeOf(err))
	fmt.Println("next:", failover.NextOf(err))
	// Output:
	// outcome: not-applied
	// next: resume the node
}
