package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// stage is a simulator that stands ready, and what is played on it, one act after the other.
type stage struct {
	acts    []act
	confirm func(context.Context, failover.Request) (failover.Statement, error)
	// judge asks the simulator what really happened.
	judge func(context.Context) (verdict, error)
	close func() error
}

// act is one procedure with a journal of its own.
type act struct {
	name string // "" when it is the only one
	// before brings the world to where the act begins. It is called when the act has not begun yet.
	before func(context.Context) error
	// build makes the procedure, behind before: only then do the machines it connects to stand as they will.
	build func(context.Context) (failover.Procedure, error)
}

// step is how the command line names a step of the act.
func (a act) step(id string) string {
	if a.name == "" {
		return id
	}
	return a.name + ":" + id
}

// only is the act of a procedure that is played alone.
func only(p failover.Procedure) []act {
	return []act{{build: func(context.Context) (failover.Procedure, error) { return p, nil }}}
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
	if s.crash != "" {
		known, err := sc.knows(ctx, s.crash)
		if err != nil || !known {
			return false, err
		}
	}
	var runErr error
	for _, a := range st.acts {
		if runErr, err = sc.act(ctx, s, st, a, path); err != nil || runErr != nil {
			break
		}
	}
	if err != nil {
		return true, err
	}
	v, err := st.judge(ctx)
	if err != nil {
		return true, err
	}
	if !s.json {
		v.print(os.Stdout)
	}
	return true, judge(v, runErr, s.fault != "")
}

// act plays one act, or goes on with it. An act whose journal says that it is done is left alone.
func (sc scenario) act(ctx context.Context, s settings, st *stage, a act, path string) (runErr, err error) {
	if a.name != "" {
		path += "." + a.name
	}
	journal, err := failover.OpenJournal(path)
	if errors.Is(err, fs.ErrNotExist) {
		journal, err = failover.CreateJournal(path)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	if begun, _ := journal.Procedure(); begun == "" && a.before != nil {
		if err := a.before(ctx); err != nil {
			return nil, err
		}
	}
	procedure, err := a.build(ctx)
	if err != nil {
		return nil, err
	}
	if journal.Report().Result == failover.ResultCompleted {
		return nil, nil
	}
	out := os.Stdout
	if s.json {
		out = nil // the report is all that is printed
	}
	screen := runbook.NewScreen(out)
	plan, err := procedure.Plan(ctx, journal)
	if err != nil {
		return nil, err
	}
	screen.Line("== %s ==\n%s", strings.TrimSuffix(sc.name+" "+a.name, " "), plan)
	began := time.Now()
	report, runErr := procedure.Run(ctx, failover.RunOptions{
		Journal: journal, Actor: "drill", Reason: "drill of " + sc.name, Waive: waived(procedure), Confirm: st.confirm,
		Observer: func(e failover.Event) {
			screen.Event(e)
			if s.crash != "" && a.step(e.Step.ID) == s.crash && (e.Kind == failover.EventIntent || e.Kind == failover.EventStepEnded) {
				screen.Line("%2d/%d killed at %s", e.Number, e.Total, s.crash)
				killSelf()
			}
		}})
	if report == nil {
		return nil, runErr
	}
	return runErr, summary(os.Stdout, s.json, report, time.Since(began))
}

// waived are checks that no simulator can answer: the certificates of Remote Loaders that do not exist.
func waived(p failover.Procedure) map[string]string {
	waived := map[string]string{}
	for _, s := range p.AllSteps() {
		if strings.HasSuffix(s.ID, "/references") {
			waived[s.ID] = "the drill has no certificates"
		}
	}
	return waived
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

// steps lists the steps of all acts as the command line names them, from a simulator of its own.
func (sc scenario) steps(ctx context.Context) (lines map[string]string, order []string, err error) {
	dir, err := os.MkdirTemp("", "drill-"+sc.name+"-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := sc.open(ctx, dir, "")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	lines = map[string]string{}
	for _, a := range st.acts {
		p, err := a.build(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range p.AllSteps() {
			id := a.step(s.ID)
			lines[id] = fmt.Sprintf("  %-40s %-7s %s", id, s.Kind, s.Title)
			order = append(order, id)
		}
	}
	return lines, order, nil
}

func (sc scenario) knows(ctx context.Context, id string) (bool, error) {
	lines, _, err := sc.steps(ctx)
	return lines[id] != "", err
}

func (sc scenario) print(ctx context.Context) error {
	lines, order, err := sc.steps(ctx)
	if err != nil {
		return err
	}
	fmt.Println(sc.name)
	for _, id := range order {
		fmt.Println(lines[id])
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
