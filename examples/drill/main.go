// Drill runs the procedures of this module against their simulators, on this machine, changing nothing else.
//
//	drill [flags] [procedure…]
//
// Without a procedure it runs all there are. For each it shows the plan, what happens, and a summary: how many steps
// were applied, were so already or were skipped, how long the outage was, how often each effect that may happen only
// once really happened (counted by the simulator), and whether two sides were ever active together.
//
//	-fault NAME    inject one of the named faults; "-fault list" prints them, one a line, its name first
//	-crash STEP    kill this process (exit status 137) right after the intent of that step was written, or, for a
//	               step that writes no intent, after its observation was recorded
//	-journal FILE  keep journal and simulator, so that a second call resumes; with several procedures each gets
//	               FILE.<procedure>
//	-json          print each report as JSON instead of text
//	-list          print the procedures and their steps
//
// The exit status is 0 only if all is as it must be: without a fault the procedure completes; with one it completes
// or stops and names what settles it; and in every case nothing fired twice and never two sides were active.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() { os.Exit(run(os.Args[1:])) }

type settings struct {
	fault, crash, journal string
	json                  bool
}

func run(args []string) int {
	var s settings
	flags := flag.NewFlagSet("drill", flag.ContinueOnError)
	flags.StringVar(&s.fault, "fault", "", "inject the fault with this `name`; list prints the names")
	flags.StringVar(&s.crash, "crash", "", "kill this process right after the intent of this `step`")
	flags.StringVar(&s.journal, "journal", "", "keep the journal in this `file`, so that a second call resumes")
	flags.BoolVar(&s.json, "json", false, "print the reports as JSON")
	list := flags.Bool("list", false, "print the procedures and their steps")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: drill [flags] [procedure…]\nprocedures: %s\n", strings.Join(names(), " "))
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); err {
	case nil:
	case flag.ErrHelp:
		return 0
	default:
		return 2
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return refuse(err)
	}
	if s.fault == "list" {
		for _, sc := range chosen {
			for _, f := range sc.faults {
				fmt.Printf("%-32s %s: %s\n", f.name, sc.name, f.about)
			}
		}
		return 0
	}
	if s.fault != "" {
		if chosen = slices.DeleteFunc(chosen, func(sc scenario) bool { return !sc.has(s.fault) }); len(chosen) == 0 {
			return refuse(fmt.Errorf("no procedure named here has a fault called %q; -fault list prints them", s.fault))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()

	status := 0
	known := s.crash == ""
	for _, sc := range chosen {
		if *list {
			err = sc.print(ctx)
		} else {
			var played bool
			played, err = sc.play(ctx, s, len(chosen) > 1)
			known = known || played
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "drill %s: %v\n", sc.name, err)
			status = 1
		}
	}
	if !known && status == 0 {
		return refuse(fmt.Errorf("no step is called %q; -list prints them", s.crash))
	}
	return status
}

func choose(wanted []string) ([]scenario, error) {
	all := scenarios()
	if len(wanted) == 0 {
		return all, nil
	}
	var chosen []scenario
	for _, name := range wanted {
		i := slices.IndexFunc(all, func(sc scenario) bool { return sc.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no procedure is called %q; there are: %s", name, strings.Join(names(), " "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func names() []string {
	var list []string
	for _, sc := range scenarios() {
		list = append(list, sc.name)
	}
	return list
}

func refuse(err error) int {
	fmt.Fprintln(os.Stderr, "drill:", err)
	return 2
}
