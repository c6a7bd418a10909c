// Five is a procedure of five steps and nothing else. Call it again to go on where it stopped.
package main

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/01b61c5c/failover"
)

func holds(path, want string) func(context.Context) (failover.Observation, error) {
	return func(context.Context) (failover.Observation, error) {
		text, err := os.ReadFile(path)
		return failover.Observation{Done: string(text) == want, Found: path + " holds " + string(text),
			Would: "write " + want}, err
	}
}

func file(id, title, path, want, before string) failover.Step {
	write := func(text string) func(context.Context) error {
		return func(context.Context) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	return failover.Step{ID: id, Title: title, Target: path, Kind: failover.Change, Observe: holds(path, want),
		Apply: write(want), Undo: write(before)}
}

func main() {
	p := failover.Procedure{Name: "site.Move", Stages: []failover.Stage{{Name: "move", Steps: []failover.Step{
		{ID: "ready", Title: "The new side is ready", Kind: failover.Check, Observe: holds("green", "ready")},
		file("close", "Close the old side", "door", "closed", "open"),
		file("address", "Move the address", "active", "green", "blue"),
		file("open", "Open the new side", "lamp", "green", "red"),
		{ID: "tell", Title: "Tell the help desk", Kind: failover.Manual, Help: "Post that the site moved."},
	}}}}
	j, err := failover.OpenJournal("move.journal")
	if errors.Is(err, os.ErrNotExist) {
		j, err = failover.CreateJournal("move.journal")
	}
	if err != nil {
		log.Fatal(err)
	}
	log.Print(p.Run(context.Background(), failover.RunOptions{Journal: j, Actor: os.Getenv("USER"), Reason: "CHG-1"}))
}
