// Symitar-failover is the reference script for a Symitar host pair: it swaps the primary and the secondary through the
// FAILOVER macro, with OpCon held still around it.
//
// Copy site.example.yaml, fill it in, then:
//
//	symitar-failover -config site.yaml check
//	symitar-failover -config site.yaml plan
//	symitar-failover -config site.yaml -reason CHG-1042 run
//	symitar-failover status
//
// "plan" is the default and changes nothing. "run" asks before the macro, unless -approve gives the findings hash of
// the plan that was approved. A run that stops, for whatever reason, goes on when it is called again. When it stops in
// doubt, look at both hosts, then:
//
//	symitar-failover -reason CHG-1042 resolve macro/run applied
//
// or, where the macro is to be fired once more, give its lock back first, with what was found:
//
//	symitar-failover -config site.yaml -reason CHG-1042 acknowledge RUN "the roles are as before, nothing was mounted"
//	symitar-failover -reason CHG-1042 resolve macro/run not-applied
//
// While anything of the run lives, or nobody can tell, acknowledge refuses and names it. What the macro was to leave
// running is let be by its process number, and the other by a person's word:
//
//	symitar-failover -config site.yaml -reason CHG-1042 acknowledge RUN left=4711,4712 "these are the services it starts"
//	symitar-failover -config site.yaml -reason CHG-1042 acknowledge RUN left=unseen "ps is broken there; looked at the console"
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/runbook"
	"github.com/01b61c5c/failover/symitar"
)

func main() { os.Exit(program().Main(os.Args[1:])) }

func program() runbook.Program {
	return runbook.Program{
		Name:       "symitar-failover",
		About:      "swap a Symitar host pair through the FAILOVER macro",
		Procedures: []string{"switchover", "failover", "failback"},
		Build:      build,
		Verbs: []runbook.Verb{{Name: "acknowledge RUN [left=PID,PID|left=unseen] FOUND",
			About:  "give the launcher's lock of a macro run that is over back, and say what was found on the hosts",
			Answer: acknowledge}},
	}
}

// connections are what a procedure uses.
type connections struct {
	*symitar.Pair
	opcon *symitar.OpCon
}

// Close ends them and gives OpCon's token back.
func (c connections) Close() error {
	if c.opcon != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.opcon.Client.Close(ctx) // the token runs out by itself
	}
	return c.Pair.Close()
}

func open(path string) (site, connections, error) {
	var s site
	if err := runbook.ReadConfig(path, &s); err != nil {
		return s, connections{}, err
	}
	config, err := s.config()
	if err != nil {
		return s, connections{}, err
	}
	config.Poll = time.Duration(s.Poll)
	pair, err := symitar.NewPair(config)
	return s, connections{pair, config.OpCon}, err
}

func build(_ context.Context, path, name string) (failover.Procedure, io.Closer, error) {
	s, pair, err := open(path)
	if err != nil {
		return failover.Procedure{}, nil, err
	}
	var p failover.Procedure
	switch name {
	case "switchover":
		p, err = symitar.Switchover(pair.Pair)
	case "failover":
		p, err = symitar.Failover(pair.Pair, s.Gone.value())
	case "failback":
		p, err = symitar.Failback(pair.Pair)
	}
	if err != nil {
		return p, nil, errors.Join(err, pair.Close())
	}
	return p, pair, nil
}

// acknowledge is for a run of the macro whose end nothing but a person could tell. Its lock would keep every later run
// from being fired. A host that is down keeps its lock; acknowledge again when it is back.
func acknowledge(ctx context.Context, path string, args []string, actor, reason string) (err error) {
	if len(args) < 2 {
		return failover.Invalid("argument", "the run or what was found is missing",
			"write acknowledge RUN FOUND; RUN stands in the error and in the lock")
	}
	run, found := args[0], args[1:]
	var left symitar.Left
	if list, ok := strings.CutPrefix(found[0], "left="); ok {
		if left, err = parseLeft(list); err != nil {
			return err
		}
		found = found[1:]
	}
	_, pair, err := open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pair.Close()) }()
	word := failover.Statement{By: actor, Says: strings.Join(found, " "), Reason: reason}
	if err := pair.Acknowledge(ctx, symitar.RunID(run), word, left); err != nil {
		return err
	}
	fmt.Printf("run %s is acknowledged on both hosts\n", run)
	return nil
}

// parseLeft reads what a person lets be: process numbers, or the word unseen.
func parseLeft(list string) (symitar.Left, error) {
	var left symitar.Left
	for word := range strings.SplitSeq(list, ",") {
		if word == "unseen" {
			left.Unseen = true
			continue
		}
		pid, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return left, failover.Invalid("left", word+" is neither a process number nor the word unseen",
				"write left=4711,4712 or left=unseen")
		}
		left.Processes = append(left.Processes, pid)
	}
	return left, nil
}
