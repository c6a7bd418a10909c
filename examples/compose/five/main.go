// Five is a procedure of five steps and nothing else. Call it again to go on where it stopped.
package main

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"os"

	"github.com/01b61c5c/failover"
)

func file(id, title, path, want, before string) failover.Step {
	write := func(text string) func(context.Context) error {
		return func(context.Context) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	return failover.Step{ID: id, Title: title, Target: path, Kind: failover.Change, Apply: write(want), Undo: write(before),
		Observe: func(context.Context) (failover.Observation, error) {
			text, err := os.ReadFile(path)
			return failover.Observation{Done: string(text) == want, Found: path + " holds " + string(text), Would: "write " + want}, err
		}}
}

func main() {
	p := failover.Procedure{Name: "site.Move", Steps: []failover.Step{
		{ID: "ready", Title: "The new side is ready", Kind: failover.Check, Observe: func(context.Context) (failover.Observation, error) {
			text, err := os.ReadFile("green")
			return failover.Observation{Done: string(text) == "ready", Found: "green is " + string(text)}, err
		}},
		file("close", "Close the old side", "door", "closed", "open"),
		file("move", "Move the address", "active", "green", "blue"),
		file("open", "Open the new side", "lamp", "green", "red"),
		{ID: "tell", Title: "Tell the help desk", Kind: failover.Manual, Help: "Post that the site moved."},
	}}
	j, err := failover.OpenJournal("move.journal")
	if errors.Is(err, fs.ErrNotExist) {
		j, err = failover.CreateJournal("move.journal")
	}
	if err != nil {
		log.Fatal(err)
	}
	report, err := p.Run(context.Background(), failover.RunOptions{Journal: j, Actor: os.Getenv("USER"), Reason: "CHG-1"})
	log.Print(report, err)
}
