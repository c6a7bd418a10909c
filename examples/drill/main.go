// Drill runs the procedures of this module against their simulators, on this machine, changing nothing else.
//
//	drill [flags] [procedure…]
//
// Without a procedure it runs all there are. For each it shows the plan, what happens, and a summary: how many steps
// were applied, were so already or were skipped, how long the outage was, how often each effect that may happen only
// once really happened (counted by the simulator), and whether two sides were ever active together.
//
//	-fault NAME    inject one of the named faults; "-fault list" prints them, one a line, its name first
//	-crash STEP    kill this process (exit status 137) as soon as the intent of that step is on disk or, for a step that
//	               writes no intent, what was found of it
//	-crash-after STEP
//	               kill it as soon as the outcome of that step is on disk
//	-journal FILE  keep journal and simulator, so that a second call resumes; with several procedures each gets
//	               FILE.<procedure>
//	-repair        with -journal: first do on the simulator what a person does who follows the words of the stop: switch the
//	               old primary off, make room on the disk, correct a decision (symitar, symitar-failover, site)
//	-brief         print the summary only, and look at nothing for a plan before the run
//	-json          print each report as JSON instead of text
//	-list          print the procedures and their steps
//
// What must be: without a fault the procedure completes; with one it completes, or stops and names what settles it; and
// in every case nothing that may happen once has happened twice, and never two sides were active. The exit status is 9
// when that is not so or could not be seen, 2 when called wrongly, and otherwise that of the run as package runbook
// lists them; of several procedures the highest. A drill of more than one ends with a table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/runbook"
)

func main() { os.Exit(run(os.Args[1:])) }

// statusWrong is the exit status when something is as it must never be, or could not be seen.
const statusWrong = 9

type settings struct {
	fault, journal string
	crash          crash

	brief, json, repair bool
}

func run(args []string) int {
	var s settings
	flags := flag.NewFlagSet("drill", flag.ContinueOnError)
	flags.StringVar(&s.fault, "fault", "", "inject the fault with this `name`; list prints the names")
	flags.StringVar(&s.crash.step, "crash", "", "kill this process when the intent of this `step` is on disk")
	after := flags.String("crash-after", "", "kill this process when the outcome of this `step` is on disk")
	flags.StringVar(&s.journal, "journal", "", "keep the journal in this `file`, so that a second call resumes")
	flags.BoolVar(&s.repair, "repair", false,
		"first do on the simulator what the stop of the last call told a person to do")
	flags.BoolVar(&s.brief, "brief", false, "print the summary only")
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
	if *after != "" {
		if s.crash.step != "" {
			return refuse(errors.New("-crash and -crash-after are both given; choose one"))
		}
		s.crash = crash{*after, true}
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return refuse(err)
	}
	if s.repair && (s.journal == "" || slices.ContainsFunc(chosen, func(sc scenario) bool { return !sc.repairs })) {
		return refuse(errors.New("-repair needs -journal, and symitar, symitar-failover or site"))
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

	if *list {
		for _, sc := range chosen {
			if err := sc.print(ctx); err != nil {
				return broken(sc, err)
			}
		}
		return 0
	}
	return playAll(ctx, chosen, s)
}

func playAll(ctx context.Context, chosen []scenario, s settings) int {
	status, known := 0, false
	var all []played
	for _, sc := range chosen {
		p, err := sc.play(ctx, s, len(chosen) > 1)
		if errors.Is(err, failover.ErrJournalDamaged) {
			return refuse(err)
		}
		if err = errors.Join(err, p.wrong); err != nil {
			status = max(status, broken(sc, err))
		} else if p.report != nil {
			status = max(status, int(runbook.StatusOf(p.report)))
		}
		known = known || p.known
		all = append(all, p)
	}
	if !known && status == 0 {
		return refuse(fmt.Errorf("no step is called %q; -list prints them", s.crash.step))
	}
	if len(all) > 1 && !s.json {
		table(os.Stdout, all)
	}
	return status
}

func broken(sc scenario, err error) int {
	fmt.Fprintf(os.Stderr, "drill %s: %s\n", sc.name, failover.Printable(err.Error()))
	return statusWrong
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
	fmt.Fprintln(os.Stderr, "drill:", failover.Printable(err.Error()))
	return 2
}
