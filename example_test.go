package failover_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/01b61c5c/failover"
)

// site is what a team moves in this example: a web service behind a floating address.
type site struct {
	active  string
	drained bool
	config  map[string]string
}

// moveProcedure is five steps of a team's own, with no package of this module besides failover.
func moveProcedure(s *site, from, to string) failover.Procedure {
	drainedAt := failover.Fact[string]{Name: "site/old-config"}
	is := func(ok bool, found string) (failover.Observation, error) {
		return failover.Observation{Done: ok, Found: found}, nil
	}
	return failover.Procedure{
		Name:       "site.Move",
		Parameters: []failover.Parameter{{Name: "from", Value: from}, {Name: "to", Value: to}},
		Stages: []failover.Stage{{Name: "check", Steps: []failover.Step{
			{ID: "standby-ready", Title: "The standby has a configuration", Target: to, Kind: failover.Check, Firm: true,
				Observe: func(context.Context) (failover.Observation, error) {
					return is(s.config[to] != "", "config "+s.config[to])
				}},
		}}, {Name: "move", Outage: true, Steps: []failover.Step{
			{ID: "drain", Title: "Drain the old side", Target: from, Kind: failover.Change, Writes: []string{drainedAt.Name},
				Observe: func(context.Context) (failover.Observation, error) {
					return is(s.drained, fmt.Sprint("drained: ", s.drained))
				},
				Apply: func(ctx context.Context) error {
					if _, err := drainedAt.Capture(ctx,
						func(context.Context) (string, error) { return s.config[from], nil }); err != nil {
						return err
					}
					s.drained = true
					return nil
				},
				Undo: func(context.Context) error { s.drained = false; return nil }},
			{ID: "swap", Title: "Move the address", Target: to, Kind: failover.Once, Timeout: time.Minute,
				Observe: func(context.Context) (failover.Observation, error) { return is(s.active == to, s.active+" is active") },
				Apply:   func(context.Context) error { s.active = to; return nil },
				Probe: func(context.Context) (failover.Outcome, error) {
					if s.active == to {
						return failover.Applied, nil
					}
					return failover.NotApplied, nil
				}},
			{ID: "keep-config", Title: "Carry the old configuration over", Target: to, Kind: failover.Change,
				Observe: func(ctx context.Context) (failover.Observation, error) {
					old, ok, err := drainedAt.Load(ctx)
					return failover.Observation{Done: ok && s.config[to] == old, Found: "config " + s.config[to]}, err
				},
				Apply: func(ctx context.Context) error {
					old, _, err := drainedAt.Load(ctx)
					s.config[to] = old
					return err
				}},
			{ID: "announce", Title: "Tell the help desk", Kind: failover.Manual,
				Help: "Post in the channel that the site moved."},
		}}},
	}
}

// A team writes a procedure of its own, runs it, is stopped at the manual step, confirms it and resumes.
func Example() {
	s := &site{active: "blue", config: map[string]string{"blue": "v7", "green": "v6"}}
	p := moveProcedure(s, "blue", "green")
	ctx := context.Background()

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	journal, err := failover.CreateJournal(filepath.Join(dir, "move.journal"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = journal.Close() }()

	options := failover.RunOptions{Journal: journal, Actor: "ann", Reason: "CHG-1"}
	_, err = p.Run(ctx, options)
	fmt.Println("waits for a person:", errors.Is(err, failover.ErrWaiting))

	if err := journal.Confirm("move/announce",
		failover.Statement{By: "ann", Says: "posted", Reason: "did it myself"}); err != nil {
		panic(err)
	}
	report, err := p.Run(ctx, options)
	fmt.Println(report.Result, err)
	for _, step := range report.Steps {
		fmt.Println(step.ID, step.Status)
	}
	fmt.Println(s.active, s.config["green"])
	// Output:
	// waits for a person: true
	// completed <nil>
	// check/standby-ready already
	// move/drain applied
	// move/swap applied
	// move/keep-config applied
	// move/announce confirmed
	// green v7
}

// An error says what is known of the effect and what to do next.
func ExampleOutcomeOf() {
	err := fmt.Errorf("night run: %w", &failover.Error{Op: "hold schedules", Target: "SYMAIX1", Outcome: failover.InDoubt,
		Next: "read the schedules and compare", Err: errors.New("the reply was lost")})
	fmt.Println(failover.OutcomeOf(err))
	fmt.Println(failover.NextOf(err))
	fmt.Println(failover.OutcomeOf(errors.New("says nothing")))
	// Output:
	// in-doubt
	// read the schedules and compare
	// in-doubt
}
