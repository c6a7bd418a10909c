package failover

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// effect says what of a step's change is in effect because of the runs of one journal.
type effect int

const (
	effectNone    effect = iota
	effectPartly         // on some targets, proven not on the others
	effectApplied        // the wanted state was seen behind it, or a person says so
	effectFired          // a Once that took effect; the wanted state was not seen
	effectDoubt          // it may be in effect
)

// fold is what the records of a journal say. It is a pure function of them, kept as they come: undo, the release of the
// lock, results, reports and a resume read this and nothing else.
type fold struct {
	steps   map[string]*stepState // all of the newest procedure
	facts   map[string]json.RawMessage
	entries map[string]map[string]json.RawMessage // of facts that gain entries
	defs    []definition                          // the newest is the last
	runs    []runState
	shown   map[approval]map[string]shownStep // plans that were approved
	log     []Decision
	outages map[string]*outageState // by part
	holders map[string]bool         // who has written to the journal: what they left is ours to take over
	epoch   int
	lastAt  time.Time
	undoing bool // an undo has begun to take something back
}

// approval is what a consent to a whole plan was given for.
type approval struct {
	hash       PlanHash
	undo       bool
	definition string // of the version of the procedure that showed it
}

// runState is one run or undo.
type runState struct {
	RunReport
	ended   bool
	settled bool // a person has settled since what was in doubt at its end
	next    string
}

// stepState is what the records say about one step.
type stepState struct {
	kind       Kind
	target     string
	window     *outageState // the outage window it lies in
	counted    bool         // by it, as touched
	effect     effect
	before     effect // what it was before the attempt that is under way
	looked     StepStatus
	undoOpen   bool // an undo may have taken effect
	undoBefore bool // undoOpen before the attempt that is under way
	undone     bool
	settled    bool // a person said that it was not applied
	attempts   int
	intent     int    // number of the newest attempt's record
	run        int    // in which the newest word on a Check was given, counted from 1
	confirmed  bool   // a person's word that no look has tested yet
	before0    []Item // the targets as they were before the first attempt
	waitedOut  bool   // a Check that waits was waited for in vain
	begun      time.Time
	ended      time.Time
	found      string // the newest observation, or what a person said
	note       string
	items      []Item
	said       []string // the newest progress lines
	by, reason string   // who waived, confirmed or resolved
	error      string
	next       string
	targets    []TargetOutcome
}

func newFold() *fold {
	return &fold{steps: map[string]*stepState{}, shown: map[approval]map[string]shownStep{},
		outages: map[string]*outageState{}, holders: map[string]bool{}}
}

func (f *fold) keepFact(rec *record) {
	if f.facts == nil {
		f.facts, f.entries = map[string]json.RawMessage{}, map[string]map[string]json.RawMessage{}
	}
	switch {
	case rec.Key == "":
		f.facts[rec.Fact] = rec.Value
	case f.entries[rec.Fact] == nil:
		f.entries[rec.Fact] = map[string]json.RawMessage{rec.Key: rec.Value}
	default:
		f.entries[rec.Fact][rec.Key] = rec.Value
	}
}

// step returns what is known of a step; a step without a record has the zero state.
func (f *fold) step(id string) stepState {
	if st := f.steps[id]; st != nil {
		return *st
	}
	return stepState{}
}

// halfWay reports whether something of this journal is or may be in effect.
func (f *fold) halfWay() bool {
	for _, st := range f.steps {
		if st.touched() {
			return true
		}
	}
	return false
}

// firstInDoubt returns, in the order of the procedure, the first step that is in doubt, or "".
func (f *fold) firstInDoubt() string {
	for _, s := range f.def().Steps {
		if f.step(s.ID).status() == StatusInDoubt {
			return s.ID
		}
	}
	return ""
}

func (f *fold) def() definition {
	if len(f.defs) == 0 {
		return definition{}
	}
	return f.defs[len(f.defs)-1]
}

// apply takes one more record into account.
func (f *fold) apply(rec *record) {
	f.lastAt = rec.At
	switch rec.Type {
	case recProcedure:
		f.define(*rec.Def)
		return
	case recRun, recUndo:
		f.epoch, f.holders[rec.Holder.Token] = rec.Epoch, true
		run := RunReport{Number: len(f.runs) + 1, Undo: rec.Type == recUndo, Actor: rec.Actor, Reason: rec.Reason,
			Approved: rec.Hash, Began: rec.At, Ended: rec.At, Result: ResultInterrupted, Holder: *rec.Holder}
		f.runs = append(f.runs, runState{RunReport: run, next: again(run.Undo)})
		return
	case recEnd:
		f.endRun(rec)
		return
	case recFact:
		f.keepFact(rec)
		return
	case recConsent, recReject, recWaive, recConfirm, recResolve, recTakeOver:
		f.log = append(f.log, decisionOf(rec))
	case recObserved, recIntent, recOutcome, recUndoIntent, recUndoOutcome:
	}
	if rec.Type == recConsent && rec.Step == "" {
		lines := map[string]shownStep{}
		for _, line := range rec.Shown {
			lines[line.Step] = line
		}
		f.shown[approval{rec.Hash, rec.Undo, f.def().Hash}] = lines
	}
	if rec.Type == recUndoIntent {
		f.undoing = true
	}
	if rec.Type == recTakeOver && rec.Holder != nil {
		f.holders[rec.Holder.Token] = true
	}
	if !rec.Type.forStep() {
		return
	}
	st := f.steps[rec.Step]
	if st.begun.IsZero() {
		st.begun = rec.At
	}
	touched := st.touched()
	st.apply(rec, len(f.runs))
	if rec.Type == recConfirm || rec.Type == recResolve {
		f.word(rec.Type)
	}
	if st.window != nil {
		st.window.apply(rec, touched, st)
	}
}

// define takes the procedure, or another version of it. What was found of a step on another target, or of another kind,
// says nothing of the step there is now.
func (f *fold) define(def definition) {
	f.defs = append(f.defs, def)
	was, states := f.steps, make([]stepState, len(def.Steps))
	f.steps = make(map[string]*stepState, len(def.Steps))
	for _, o := range f.outages {
		o.end = ""
	}
	for i, s := range def.Steps {
		st := &states[i]
		if old := was[s.ID]; old != nil && (old.kind == s.Kind && old.target == s.Target || old.touched()) {
			*st = *old
		}
		st.kind, st.target, st.window = s.Kind, s.Target, nil
		if s.Outage {
			if f.outages[s.Part] == nil {
				f.outages[s.Part] = &outageState{part: s.Part}
			}
			st.window = f.outages[s.Part]
			st.window.end = s.ID
		}
		f.steps[s.ID] = st
	}
	for _, o := range f.outages {
		if st := f.steps[o.end]; st != nil {
			o.up = st.done()
		}
	}
}

// outageList is in the order in which they began.
func (f *fold) outageList() []Outage {
	var list []Outage
	for _, o := range f.outages {
		list = append(list, o.list...)
	}
	slices.SortStableFunc(list,
		func(a, b Outage) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Part, b.Part)) })
	return list
}

func (f *fold) endRun(rec *record) {
	if len(f.runs) == 0 {
		return
	}
	run := &f.runs[len(f.runs)-1]
	run.Ended, run.Result, run.Error, run.ended, run.next = rec.At, rec.Result, rec.Error, true, rec.Next
}

// result is the word for a run as things are known now: a process that died said none, and a person may have settled a
// doubt.
func (f *fold) result(run runState) Result {
	switch {
	case f.firstInDoubt() != "":
		return ResultInDoubt
	case run.Result != ResultInDoubt || !run.settled:
		return run.Result
	case f.halfWay():
		return ResultPartWay
	case run.Undo:
		return ResultUndone
	}
	return ResultFailed
}

// word takes what a person said after the newest run had ended. What else is in doubt stays the first thing to settle.
func (f *fold) word(kind recordType) {
	if len(f.runs) == 0 || f.firstInDoubt() != "" {
		return
	}
	run := &f.runs[len(f.runs)-1]
	run.settled = run.settled || kind == recResolve
	run.next = again(f.undoing)
}

func again(undo bool) string {
	if undo {
		return "undo again with the same journal"
	}
	return "run again with the same journal"
}

func (st *stepState) apply(rec *record, run int) {
	st.ended = rec.At
	switch rec.Type {
	case recObserved:
		st.look(rec, run)
	case recIntent:
		if st.attempts == 0 {
			st.begun, st.before0 = rec.At, rec.Items
		}
		st.attempts, st.intent = st.attempts+1, rec.N
		st.before, st.effect = st.effect, effectDoubt
		st.undone, st.settled = false, false
		st.take(rec)
	case recOutcome:
		st.outcome(rec)
		st.take(rec)
	case recReject:
		st.looked = StatusFailed
		st.take(rec)
	case recWaive:
		st.looked, st.run, st.by, st.reason = StatusWaived, run, rec.Actor, rec.Reason
		st.take(rec)
	case recConfirm:
		st.confirmed, st.by, st.reason = true, rec.Actor, rec.Reason
		st.found = rec.Found
	case recResolve:
		st.resolve(rec)
	case recUndoIntent:
		st.undoBefore, st.undoOpen = st.undoOpen, true
	case recUndoOutcome:
		st.undoOutcome(rec)
	case recProcedure, recRun, recUndo, recFact, recConsent, recTakeOver, recEnd:
	}
}

// look takes an observation. It closes a doubt only when the wanted state was seen.
func (st *stepState) look(rec *record, run int) {
	st.looked, st.run = rec.Status, run
	if rec.Status == StatusAlready && st.effect != effectNone {
		st.effect = effectApplied
	}
	st.waitedOut = rec.Status == StatusFailed
	st.confirmed = st.confirmed && rec.Status == StatusWaiting
	st.take(rec)
}

// outcome takes what is known of the newest attempt. What an earlier attempt may have done stays.
func (st *stepState) outcome(rec *record) {
	switch {
	case rec.Proof == proofObserved && *rec.Outcome == Applied:
		st.effect = effectApplied
	case rec.Proof == proofProbed && *rec.Outcome == NotApplied:
		st.effect, st.looked = effectNone, StatusFailed
	case *rec.Outcome == Applied:
		st.effect = effectFired
	default:
		// What two attempts leave together is the greater of both: doubt is sticky.
		st.effect, st.looked = max(st.before, effectOf(*rec.Outcome, rec.Targets)), StatusFailed
	}
	st.before = st.effect
}

// effectOf is what one attempt left that is not known to have reached the wanted state.
func effectOf(o Outcome, targets []TargetOutcome) effect {
	applied, refused := 0, 0
	for _, t := range targets {
		switch t.Outcome {
		case Applied:
			applied++
		case NotApplied:
			refused++
		case InDoubt:
			return effectDoubt
		}
	}
	switch {
	case len(targets) > 0 && refused == len(targets) && o == NotApplied:
		return effectNone
	case len(targets) > 0 && applied > 0 && refused > 0:
		return effectPartly
	case len(targets) == 0 && o == NotApplied:
		return effectNone
	}
	return effectDoubt
}

func (st *stepState) resolve(rec *record) {
	st.by, st.reason = rec.Actor, rec.Reason
	st.error, st.next, st.targets = "", "", nil
	applied := *rec.Outcome == Applied
	switch {
	case st.undoOpen && applied:
		st.taken()
	case st.undoOpen:
		st.undoOpen, st.undoBefore, st.effect = false, false, effectApplied
	case applied:
		st.effect = effectApplied
	default:
		st.effect, st.looked, st.settled = effectNone, StatusFailed, true
	}
	st.before = st.effect
}

func (st *stepState) undoOutcome(rec *record) {
	st.error, st.next, st.targets = rec.Error, rec.Next, rec.Targets
	if rec.Found != "" {
		st.found, st.items = rec.Found, rec.Items
	}
	switch {
	case *rec.Outcome == Applied:
		st.taken()
	case effectOf(*rec.Outcome, rec.Targets) == effectNone:
		st.undoOpen = st.undoBefore
	case effectOf(*rec.Outcome, rec.Targets) == effectPartly:
		st.undoOpen, st.effect = st.undoBefore, max(effectPartly, st.effect)
		if st.effect == effectApplied {
			st.effect = effectPartly
		}
	}
}

// taken says that the change was taken back.
func (st *stepState) taken() {
	st.effect, st.before, st.undoOpen, st.undoBefore, st.undone = effectNone, effectNone, false, false, true
	st.targets = nil
}

func (st *stepState) take(rec *record) {
	st.found, st.note, st.items, st.said = rec.Found, rec.Note, rec.Items, rec.Said
	st.error, st.next, st.targets = rec.Error, rec.Next, rec.Targets
}

// touched reports whether the step's change may be in effect because of us.
func (st stepState) touched() bool { return st.effect != effectNone || st.undoOpen }

// status is the word for the state. What may be in effect stands before what was looked at last.
func (st stepState) status() StepStatus {
	switch {
	case st.undoOpen, st.effect == effectDoubt, st.effect == effectFired:
		return StatusInDoubt
	case st.effect == effectPartly:
		return StatusPartly
	case st.effect == effectApplied:
		return StatusApplied
	case st.undone:
		return StatusUndone
	}
	return st.looked
}

// done reports whether a step needs nothing more. A Check is done only for a time; see run.due.
func (st stepState) done() bool {
	switch st.status() {
	case StatusApplied, StatusAlready, StatusWaived, StatusConfirmed:
		return true
	case StatusNotReached, StatusFailed, StatusPartly, StatusInDoubt, StatusWaiting, StatusUndone:
	}
	return false
}

// outageState follows the service through the steps of the outage window: it is down from the first intent of such a
// step that may be in effect until the last step of the window is done, or until all of them are taken back.
type outageState struct {
	part    string
	end     string // the last step of the window
	touched int    // steps of the window that may be in effect
	up      bool   // the last step is done
	list    []Outage
}

func (o *outageState) apply(rec *record, touched bool, is *stepState) {
	switch {
	case is.touched() && !is.counted:
		o.touched++
	case is.counted && !is.touched():
		o.touched--
	}
	is.counted = is.touched()
	switch {
	case rec.Type == recUndoIntent:
		o.up = false // a Check that saw the service up says nothing of what is taken back now
	case rec.Step == o.end:
		o.up = is.done()
	}
	down := o.touched > 0 && !o.up
	open := len(o.list) > 0 && !o.list[len(o.list)-1].Ended
	switch {
	case down && !open:
		o.list = append(o.list, Outage{Part: o.part, From: rec.At})
	case !down && open && o.touched == 0 && touched && !is.undone &&
		(rec.Type == recOutcome && rec.Proof != proofReverted || rec.Type == recResolve):
		o.list = o.list[:len(o.list)-1] // it is proven, or a person says, that nothing was taken down
	case !down && open:
		last := &o.list[len(o.list)-1]
		last.To, last.Ended = rec.At, true
		if last.To.Before(last.From) {
			last.To = last.From // the clock was set back
		}
	}
}
