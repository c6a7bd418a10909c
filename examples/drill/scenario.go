package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/internal/runbook"
)

// scenario is one procedure with the simulator it is played on.
type scenario struct {
	name   string
	faults []fault
	// open builds the simulator over the state in dir, or goes on with the state a crashed call left there.
	open func(ctx context.Context, dir, fault string) (*stage, error)
}

type fault struct{ name, about string }

// stage is a simulator that stands ready, and the procedure to play on it.
type stage struct {
	procedure failover.Procedure
	waive     map[string]string
	confirm   func(context.Context, failover.Step, failover.Observation) (failover.Statement, error)
	// judge asks the simulator what really happened.
	judge func(context.Context) (verdict, error)
	close func() error
}

// verdict is what the simulator saw.
type verdict struct {
	once      []effect // effects that may happen only once
	twoActive bool     // two sides were active together at some time
	end       string   // the state at the end, in words
	asWanted  bool     // that state is the end of an undisturbed run
}

type effect struct {
	what  string
	times int
	most  int
}

func (sc scenario) has(name string) bool {
	return slices.ContainsFunc(sc.faults, func(f fault) bool { return f.name == name })
}

// play runs the scenario once. The bool is false when -crash names a step that this procedure does not have.
func (sc scenario) play(ctx context.Context, s settings, several bool) (played bool, err error) {
	dir, path, err := sc.places(s, several)
	if err != nil {
		return false, err
	}
	if s.journal == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	st, err := sc.open(ctx, dir, s.fault)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if s.crash != "" && !slices.ContainsFunc(st.procedure.Steps, func(step failover.Step) bool { return step.ID == s.crash }) {
		return false, nil
	}
	journal, err := failover.OpenJournal(path)
	if err != nil {
		return true, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()

	out := os.Stdout
	if s.json {
		out = nil // the report is all that is printed
	}
	screen := runbook.NewScreen(out)
	plan, err := st.procedure.Plan(ctx)
	if err != nil {
		return true, err
	}
	screen.Line("== %s ==\n%s", sc.name, plan)
	began := time.Now()
	report, runErr := st.procedure.Run(ctx, failover.RunOptions{
		Journal: journal, Actor: "drill", Reason: "drill of " + sc.name, Waive: st.waive, Confirm: st.confirm,
		Observer: func(e failover.Event) {
			screen.Event(e)
			if e.Step.ID == s.crash && s.crash != "" && (e.Kind == failover.EventIntent || e.Kind == failover.EventStepEnded) {
				screen.Line("%2d/%d killed at %s", e.Number, e.Total, e.Step.ID)
				killSelf()
			}
		}})
	if report == nil {
		return true, runErr
	}
	v, err := st.judge(ctx)
	if err != nil {
		return true, err
	}
	if err := summary(os.Stdout, s.json, report, v, time.Since(began)); err != nil {
		return true, err
	}
	return true, judge(v, runErr, s.fault != "")
}

// places says where simulator and journal live.
func (sc scenario) places(s settings, several bool) (dir, journal string, err error) {
	if s.journal == "" {
		dir, err = os.MkdirTemp("", "drill-"+sc.name+"-")
		return dir, filepath.Join(dir, "journal"), err
	}
	if journal = s.journal; several {
		journal += "." + sc.name
	}
	if journal, err = filepath.Abs(journal); err != nil {
		return "", "", err
	}
	dir = journal + ".world"
	return dir, journal, os.MkdirAll(dir, 0o700)
}

// judge says what is not as it must be.
func judge(v verdict, runErr error, faulty bool) error {
	var wrong []error
	for _, e := range v.once {
		if e.times > e.most {
			wrong = append(wrong, fmt.Errorf("%s happened %d times", e.what, e.times))
		}
	}
	if v.twoActive {
		wrong = append(wrong, errors.New("two sides were active together"))
	}
	switch {
	case runErr == nil && !v.asWanted:
		wrong = append(wrong, fmt.Errorf("it completed, and the state is not as wanted: %s", v.end))
	case runErr != nil && !faulty:
		wrong = append(wrong, runErr)
	case runErr != nil && failover.NextOf(runErr) == "":
		wrong = append(wrong, fmt.Errorf("it stopped without saying what settles it: %w", runErr))
	}
	return errors.Join(wrong...)
}

func (sc scenario) print(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "drill-"+sc.name+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := sc.open(ctx, dir, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	fmt.Printf("%s (%s)\n", sc.name, st.procedure.Name)
	for _, s := range st.procedure.Steps {
		fmt.Printf("  %-40s %-7s %s\n", s.ID, s.Kind, s.Title)
	}
	return nil
}

// killSelf ends the process the way a power cut would: no defer runs, nothing is flushed.
func killSelf() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {} // the signal is on its way
}
