package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// RunOptions says with which journal and under whose responsibility a procedure runs.
type RunOptions struct {
	Journal *Journal // required; the same one resumes
	Actor   string   // required: who runs it
	Reason  string   // required: why, for example the change ticket

	// Approved is the hash of the plan that a person has seen and approved: Plan.Findings for a run, UndoPlan.Findings for
	// an undo. When it is set, nothing is changed unless the procedure finds the same again, and each step is compared
	// with its own line of that plan right before it is applied, on every attempt. What the plan did not show is asked of
	// the Gate; without a Gate the run stops there with ErrPlanChanged and ErrWaiting. A run that is resumed under a hash
	// that its journal knows goes on with that plan, if the same version of the procedure showed it.
	Approved PlanHash

	// Gate is asked before each change that no approved plan has shown, and before each step that cannot be undone.
	// Without Gate and Approved the call of Run is the consent of its Actor.
	Gate Gate
	// Confirm is asked for a person's word on a Manual step. It returns an error wrapping ErrWaiting when there is
	// none yet. When it is nil the run waits for Journal.Confirm.
	Confirm func(context.Context, Request) (Statement, error)
	// Waive names Checks that may fail in this run, each with the reason. Firm checks are not waived. A Check that waits
	// is waited for first; once it has failed in an earlier run of the journal, one look is enough.
	Waive map[string]string

	// Observer receives events, one at a time and in order. It never keeps the run from going on: one that is slow loses
	// progress lines.
	Observer func(Event)
	// Logger receives one line per step; nil is silent.
	Logger *slog.Logger
	// Stop, when closed, ends the run before its next step, and ends a wait for a Check or for a person. A step that a
	// person agrees to after that is not begun.
	Stop <-chan struct{}

	// WarnAfter sends an EventSlow without a step when the run has taken this long; 0 means never.
	WarnAfter time.Duration
	// StopAfter ends the run before its next step once it has taken this long, as Stop does: a step under way is never
	// cut short by it. 0 means never.
	StopAfter time.Duration
}

func (o RunOptions) validate(p Procedure) error {
	switch {
	case o.Journal == nil:
		return Invalid("RunOptions.Journal", "is nil", "create or open one: without it a crash could fire a step twice")
	case strings.TrimSpace(o.Actor) == "":
		return Invalid("RunOptions.Actor", "is empty", "name who runs the procedure")
	case strings.TrimSpace(o.Reason) == "":
		return Invalid("RunOptions.Reason", "is empty", "give the reason, for example the change ticket")
	case o.WarnAfter < 0 || o.StopAfter < 0:
		return Invalid("RunOptions", "has a negative time", "use zero for no limit")
	}
	for _, id := range slices.Sorted(maps.Keys(o.Waive)) {
		i := p.index(id)
		switch {
		case i < 0:
			return unknownStep(p.Name, id)
		case p.steps[i].Kind != Check:
			return Invalid("RunOptions.Waive", id+" is a "+p.steps[i].Kind.String(), "only a check can be waived")
		case p.steps[i].Firm:
			return Invalid("RunOptions.Waive", id+" may not be waived", "make it hold")
		case strings.TrimSpace(o.Waive[id]) == "":
			return Invalid("RunOptions.Waive", "no reason for "+id, "say why the check need not hold")
		}
	}
	return nil
}

// run is one call of Run or Undo.
type run struct {
	p      Procedure
	o      RunOptions
	j      *Journal
	log    *slog.Logger
	events *events
	info   []StepInfo
	index  map[string]int
	guards []int // of each Check, the step up to which it must hold; -1 where there is none

	definition string
	undo       bool
	number     int // of this run in the journal
	claim      Claim
	began      time.Time

	lanes    []lane               // the parts; one for a procedure that is not joined
	waits    atomic.Int64         // how often a person was waited for, in whatever part
	approved map[string]shownStep // lines of the approved plan; nil: there is none
	asking   sync.Mutex           // one question at a time
	agreed   sync.Map             // what a gate has agreed to in this run: the findings, by step
	pause    context.Context      // ends with the run's context and when Stop is closed
}

// Run goes through the steps in order. What the journal records as done is skipped, except for Checks that still have
// to hold; what holds already is recorded and left alone; everything else passes gate and lock, is written to the
// journal as an intent, applied, observed and written as an outcome. Running again with the same journal resumes.
//
// The report is returned also on error. Run fails with an error wrapping, among others,
// ErrInDoubt (a step may have taken effect and nothing settles it: look, then Journal.Resolve),
// ErrPrecondition (a check does not hold), ErrNotObserved (changed, without the effect), ErrWaiting (a person is
// needed; run again), ErrRejected (the gate said no), ErrLocked, ErrLockLost, ErrPlanChanged, ErrWrongJournal,
// ErrJournalBusy, ErrJournalDamaged, ErrUndone, ErrStopped, ErrUnresponsive, ErrPanicked and ErrInvalid.
//
// When ctx ends, Run stops at once; a change under way is then in doubt, and the next run settles it. A function of a
// step that does not return when its context ends is left behind soon after: the run ends and names it.
func (p Procedure) Run(ctx context.Context, o RunOptions) (*Report, error) {
	r, err := p.start(o)
	if err != nil {
		return nil, err
	}
	defer r.j.leave()
	if err := r.j.undoBegun("run"); err != nil {
		return r.j.Report(), err
	}
	return r.do(ctx, recRun, r.steps)
}

// start checks the call and enters the journal; the caller leaves it.
func (p Procedure) start(o RunOptions) (*run, error) {
	p = p.flatten()
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := o.validate(p); err != nil {
		return nil, err
	}
	if err := o.Journal.enter(); err != nil {
		return nil, err
	}
	def := p.definition()
	if err := o.Journal.begin(def); err != nil {
		o.Journal.leave()
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := p.over(def, o.Journal)
	r.o, r.log = o, log.With("procedure", p.Name, "journal", o.Journal.ID())
	return r, nil
}

// over is the procedure, defined so, beside what a journal says of it.
func (p Procedure) over(def definition, j *Journal) *run {
	r := &run{p: p, j: j, info: def.Steps, index: make(map[string]int, len(p.steps)),
		began: time.Now(), definition: def.Hash, lanes: p.lanes()}
	for i, s := range p.steps {
		r.index[s.ID] = i
		st, lane := j.state(s.ID), &r.lanes[p.in[i]]
		if st.attempts > 0 {
			lane.begun = i
		}
		if s.Kind != Check && !st.done() {
			lane.pending = i
		}
	}
	r.guards = make([]int, len(p.steps))
	for _, lane := range r.lanes {
		p.guards(lane.from, lane.to, r.index, r.guards)
	}
	return r
}

// guards says of each Check of a part up to which step it must hold.
func (p Procedure) guards(from, to int, index map[string]int, guards []int) {
	once, change := -1, -1
	for i := to - 1; i >= from; i-- {
		s := p.steps[i]
		guards[i] = -1
		switch {
		case s.Kind == Once:
			once = i
		case s.Kind == Change:
			change = i
		case s.Kind == Check && s.Guards != "":
			guards[i] = index[s.Guards]
		case s.Kind == Check && !s.Entry && once >= 0:
			guards[i] = once
		case s.Kind == Check && !s.Entry:
			guards[i] = change
		}
	}
}

// undoBegun refuses what would go forward after an undo has begun.
func (j *Journal) undoBegun(op string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.fold.undoing {
		return nil
	}
	return &Error{Op: op, Target: j.fold.def().Name, Outcome: NotApplied,
		Next: "finish the undo, then begin a new journal", Err: ErrUndone}
}

// do records the beginning, works under the lock and records the end.
func (r *run) do(ctx context.Context, kind recordType, work func(context.Context) error) (*Report, error) {
	r.j.mu.Lock()
	epoch, holder := r.j.fold.epoch+1, r.j.holder
	r.number = len(r.j.fold.runs) + 1
	r.j.mu.Unlock()
	rec := record{Type: kind, Actor: r.o.Actor, Reason: r.o.Reason, Hash: r.o.Approved, Holder: &holder, Epoch: epoch}
	if err := r.j.append(rec); err != nil {
		return r.j.Report(), err
	}
	r.claim = r.j.claim(r.o)
	r.events = newEvents(r.o.Observer, r.log)
	defer r.events.close()
	pause, end := r.pausing(ctx)
	defer end()
	r.pause = pause
	r.event(Event{Kind: EventRunStarted})
	defer r.slowAfter(r.o.WarnAfter, -1)()
	err := r.locked(ctx, work)
	return r.end(ctx, err)
}

// pausing derives the context of everything that only waits: it ends when Stop is closed.
func (r *run) pausing(ctx context.Context) (context.Context, func()) {
	pause, cancel := context.WithCancelCause(ctx)
	if r.o.Stop == nil {
		return pause, func() { cancel(nil) }
	}
	over := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-r.o.Stop:
			cancel(ErrStopped)
		case <-over:
		}
	}()
	return pause, func() {
		close(over)
		<-gone
		cancel(nil)
	}
}

func (r *run) end(ctx context.Context, err error) (*Report, error) {
	result := r.result(ctx, err)
	if result == ResultInDoubt && !errors.Is(err, ErrInDoubt) {
		r.j.mu.Lock()
		id := r.j.fold.firstInDoubt()
		r.j.mu.Unlock()
		if err == nil {
			err = ErrNotObserved
		}
		err = &Error{Op: "run", Target: r.p.Name, Outcome: InDoubt, Next: NextOf(err),
			Err: fmt.Errorf("%w: %s; %w", ErrInDoubt, id, err)}
	}
	rec := record{Type: recEnd, Result: result}
	if err != nil {
		rec.Error, rec.Next = err.Error(), NextOf(err)
	}
	if jerr := r.j.append(rec); jerr != nil && !errors.Is(err, jerr) {
		err = errors.Join(err, jerr)
	}
	r.event(Event{Kind: EventRunEnded, Err: err})
	return r.j.Report(), err
}

// result is read from what is known of all steps. The error says only why the run ended where it did.
func (r *run) result(ctx context.Context, err error) Result {
	r.j.mu.Lock()
	doubt, halfWay := r.j.fold.firstInDoubt() != "", r.j.fold.halfWay()
	r.j.mu.Unlock()
	switch {
	case doubt || errors.Is(err, ErrInDoubt):
		return ResultInDoubt
	case err == nil && r.undo:
		return ResultUndone
	case err == nil:
		return ResultCompleted
	case errors.Is(err, ErrWaiting):
		return ResultWaiting
	case ctx.Err() != nil:
		return ResultInterrupted
	case halfWay:
		return ResultPartWay
	case errors.Is(err, ErrStopped):
		return ResultStopped
	}
	return ResultFailed
}

func (r *run) fail(op, next string, outcome Outcome, err error) error {
	if n := NextOf(err); n != "" {
		next = n
	}
	return &Error{Op: op, Target: r.p.Name, Outcome: outcome, Next: next, Err: err}
}

func (r *run) steps(ctx context.Context) error {
	if err := r.approve(ctx); err != nil {
		return err
	}
	if len(r.p.parts) > 0 {
		return r.parts(ctx)
	}
	return r.between(ctx, 0, len(r.p.steps))
}

// between goes through the steps of one part in order.
func (r *run) between(ctx context.Context, from, to int) error {
	for i := from; i < to; {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		n := r.checksFrom(i, to)
		if n == 0 {
			if err := r.step(ctx, i); err != nil {
				return err
			}
			i++
			continue
		}
		block := make([]int, n)
		for k := range block {
			block[k] = i + k
		}
		if err := r.together(ctx, block); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// together makes all of the checks and shows all findings, so that the operator can fix them in one go.
func (r *run) together(ctx context.Context, checks []int) error {
	var failed []error
	for _, i := range checks {
		if err := r.step(ctx, i); err != nil {
			failed = append(failed, err)
		}
		if r.pause.Err() != nil {
			break
		}
	}
	if len(failed) <= 1 {
		return errors.Join(failed...)
	}
	return &Error{Op: "check", Target: r.p.Name, Outcome: NotApplied,
		Next: "make every check hold, or waive those that may be waived", Err: errors.Join(failed...)}
}

// checksFrom counts the Checks from step i up to step to that are looked at once.
func (r *run) checksFrom(i, to int) int {
	n := 0
	for ; i+n < to; n++ {
		if s := &r.p.steps[i+n]; s.Kind != Check || s.Wait {
			break
		}
	}
	return n
}

func (r *run) stopped(ctx context.Context) error {
	const next = "run again with the same journal"
	switch {
	case ctx.Err() != nil:
		return r.fail("run", next, NotApplied, context.Cause(ctx))
	case r.o.StopAfter > 0 && time.Since(r.began) >= r.o.StopAfter:
		return r.fail("run", next, NotApplied, fmt.Errorf("%w: the run has taken %s", ErrStopped, r.o.StopAfter))
	}
	select {
	case <-r.o.Stop:
		return r.fail("run", next, NotApplied, ErrStopped)
	default:
		return nil
	}
}

// slowAfter sends the event once d has passed, unless the function it returns is called before.
func (r *run) slowAfter(d time.Duration, i int) (end func()) {
	if d <= 0 {
		return func() {}
	}
	slow := time.AfterFunc(d, func() { r.stepEvent(i, Event{Kind: EventSlow}) })
	return func() { slow.Stop() }
}

// step brings the step at index i to its end, from wherever the journal says it stands.
func (r *run) step(ctx context.Context, i int) error {
	s := &r.p.steps[i]
	if s.Kind == Check && !r.due(i) || s.Kind != Check && r.j.state(s.ID).done() {
		return nil
	}
	r.stepEvent(i, Event{Kind: EventStepStarted})
	defer r.slowAfter(s.WarnAfter, i)()
	var err error
	switch s.Kind {
	case Check:
		err = r.check(ctx, i)
	case Change:
		err = r.change(ctx, i)
	case Once:
		err = r.once(ctx, i)
	case Manual:
		err = r.manual(ctx, i)
	}
	r.ended(ctx, i, err)
	return err
}

func (r *run) ended(ctx context.Context, i int, err error) {
	s, status := &r.p.steps[i], r.j.state(r.p.steps[i].ID).status()
	r.stepEvent(i, Event{Kind: EventStepEnded, Status: status, Err: err})
	if r.o.Logger == nil {
		return
	}
	level := slog.LevelInfo
	args := []any{"id", s.ID, "status", status.String(), "target", s.Target, "undo", r.undo}
	if err != nil {
		level, args = slog.LevelError, append(args, "error", err)
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), eventPatience)
	defer cancel()
	_ = do(limit, "log", func(ctx context.Context) error { // a log that cannot be written is no reason to stop
		r.log.Log(ctx, level, "step", args...)
		return nil
	})
}

func (r *run) stepEvent(i int, e Event) {
	if i >= 0 {
		e.Step, e.Number = r.info[i], i+1
	}
	r.event(e)
}

func (r *run) event(e Event) {
	e.At, e.Journal, e.Run, e.Procedure, e.Undo, e.Total = time.Now(), r.j.ID(), r.number, r.p.Name, r.undo, len(r.p.steps)
	if e.Err != nil {
		e.Error = e.Err.Error()
	}
	r.events.send(e)
}

// stepError gives an error of a step its frame: the step, the target, the outcome and the next action.
func stepError(s *Step, outcome Outcome, next string, err error) error {
	if n := NextOf(err); n != "" {
		next = n
	}
	target := s.ID
	if s.Target != "" {
		target += " on " + s.Target
	}
	return &Error{Op: s.Kind.String(), Target: target, Outcome: outcome, Next: next, Err: err}
}
