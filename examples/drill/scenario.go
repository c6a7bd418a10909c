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
	"github.com/01b61c5c/failover/runbook"
)

// scenario is one procedure with the simulator it is played on.
type scenario struct {
	name    string
	faults  []fault
	repairs bool // open does with settings.repair what a person is told to do
	// open builds the simulator over the state in dir, or goes on with the state a crashed call left there. Of the
	// settings it reads fault and repair.
	open func(ctx context.Context, dir string, s settings) (*stage, error)
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
	faulty    bool     // a fault of an earlier call is armed still
}

type effect struct {
	what  string
	times int
	most  int
}

func (sc scenario) has(name string) bool {
	return slices.ContainsFunc(sc.faults, func(f fault) bool { return f.name == name })
}

// played is what became of a scenario.
type played struct {
	name   string
	report *failover.Report // of the newest act; nil when none was run now
	took   time.Duration
	seen   verdict
	known  bool  // false: -crash names a step that this procedure does not have
	wrong  error // what must never be
}

// play runs the scenario once. The error says why it could not be played.
func (sc scenario) play(ctx context.Context, s settings, several bool) (result played, err error) {
	result.name = sc.name
	dir, path, err := sc.places(s, several)
	if err != nil {
		return result, err
	}
	if s.journal == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	st, err := sc.open(ctx, dir, s)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if s.crash.step != "" {
		if known, err := sc.knows(ctx, s.crash.step); err != nil || !known {
			return result, err
		}
	}
	result.known = true
	began := time.Now()
	var runErr error
	for _, a := range st.acts {
		var report *failover.Report
		if report, runErr, err = sc.act(ctx, s, st, a, path); report != nil {
			result.report = report
		}
		if err != nil || runErr != nil {
			break
		}
	}
	result.took = time.Since(began)
	if err != nil {
		return result, err
	}
	if result.seen, err = st.judge(ctx); err != nil {
		return result, err
	}
	if !s.json {
		result.seen.print(os.Stdout)
		if runErr != nil {
			fmt.Printf("  go on       %s\n", sc.goOn(s, path))
		}
		fmt.Println()
	}
	result.wrong = judge(result.seen, runErr, s.fault != "" || s.repair || result.seen.faulty)
	return result, nil
}

// goOn says how a drill that stopped goes on.
func (sc scenario) goOn(s settings, journal string) string {
	switch {
	case s.journal == "":
		return "not possible: this world is gone; -journal FILE keeps one"
	case sc.repairs:
		return fmt.Sprintf("drill -journal %s -repair %s does what next says, and goes on; without -repair it only goes on",
			journal, sc.name)
	}
	return fmt.Sprintf("drill -journal %s %s", journal, sc.name)
}

// act plays one act, or goes on with it. An act whose journal says that it is done is left alone.
func (sc scenario) act(ctx context.Context, s settings, st *stage, a act, path string) (report *failover.Report, runErr,
	err error) {
	store := crashing{failover.JournalFile(a.path(path)), s.crash, a}
	journal, err := failover.OpenJournalFrom(ctx, store)
	if errors.Is(err, fs.ErrNotExist) {
		journal, err = failover.CreateJournalIn(ctx, store)
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	if begun, _ := journal.Procedure(); begun == "" && a.before != nil {
		if err := a.before(ctx); err != nil {
			return nil, nil, err
		}
	}
	procedure, err := a.build(ctx)
	if err != nil {
		return nil, nil, err
	}
	if journal.Report().Result == failover.ResultCompleted {
		return nil, nil, nil
	}
	screen := runbook.NewScreen(nil)
	if !s.brief && !s.json {
		screen = runbook.NewScreen(os.Stdout)
		plan, err := procedure.Plan(ctx, journal)
		if err != nil {
			return nil, nil, err
		}
		screen.Line("== %s ==\n%v", strings.TrimSuffix(sc.name+" "+a.name, " "), plan)
	}
	began := time.Now()
	report, runErr = procedure.Run(ctx,
		failover.RunOptions{Journal: journal, Actor: "drill", Reason: "drill of " + sc.name,
			Confirm: st.confirm, Observer: screen.Event})
	if report == nil {
		return nil, runErr, nil
	}
	return report, runErr, summary(os.Stdout, s.json, report, time.Since(began))
}

// path is where the journal of the act lies.
func (a act) path(journal string) string {
	if a.name == "" {
		return journal
	}
	return journal + "." + a.name
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
	// A file that is no journal is refused before anything is made beside it.
	if _, err := failover.ReadJournal(journal); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	st, err := sc.open(ctx, dir, settings{})
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
