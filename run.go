package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// RunOptions says with which journal and under whose responsibility a procedure runs.
type RunOptions struct {
	Journal *Journal // required; the same one resumes
	Actor   string   // required: who runs it
	Reason  string   // required: why, for example the change ticket

	// Approved is the Findings hash of the plan a person has seen and approved. When it is set, nothing is changed
	// unless the procedure finds the same again. A run that resumes changes made under this very hash is beyond that;
	// with another hash the procedure is looked at anew, and has to be found as in the plan that was approved then.
	Approved string

	// Gate is asked before each Change and Once; nil lets them pass.
	Gate Gate
	// Confirm is asked for a person's word on a Manual step. It returns an error wrapping ErrWaiting when there is
	// none yet. When it is nil the run waits for Journal.Confirm.
	Confirm func(context.Context, Step, Observation) (Statement, error)
	// Waive names Checks that may fail, each with the reason. Firm checks are not waived. A Check that waits is waited
	// for first; once it has failed in an earlier run of the journal, one look is enough.
	Waive map[string]string

	// Observer receives events, one at a time. It must return quickly.
	Observer func(Event)
	// Logger receives one line per step; nil is silent.
	Logger *slog.Logger
	// Stop, when closed, ends the run before its next step.
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
		return Invalid("RunOptions.Journal", "is nil", "open one with OpenJournal: without it a crash could fire a step twice")
	case o.Actor == "":
		return Invalid("RunOptions.Actor", "is empty", "name who runs the procedure")
	case o.Reason == "":
		return Invalid("RunOptions.Reason", "is empty", "give the reason, for example the change ticket")
	case o.WarnAfter < 0 || o.StopAfter < 0:
		return Invalid("RunOptions", "has a negative time", "use zero for no limit")
	}
	for _, id := range slices.Sorted(maps.Keys(o.Waive)) {
		i := p.index(id)
		switch {
		case i < 0:
			return unknownStep(p.Name, id)
		case p.Steps[i].Kind != Check:
			return Invalid("RunOptions.Waive", id+" is a "+p.Steps[i].Kind.String(), "only a check can be waived")
		case p.Steps[i].Firm:
			return Invalid("RunOptions.Waive", id+" may not be waived", "make it hold")
		case o.Waive[id] == "":
			return Invalid("RunOptions.Waive", "no reason for "+id, "say why the check need not hold")
		}
	}
	return nil
}

// run is one call of Run or Undo.
type run struct {
	p       Procedure
	o       RunOptions
	j       *Journal
	log     *slog.Logger
	eventMu sync.Mutex
	number  int // of the current step, counted from 1
	began   time.Time
}

// Run goes through the steps in order. What the journal records as done is skipped; what holds already is recorded
// and left alone; everything else passes lock and gate, is written to the journal as an intent, applied, observed and
// written as an outcome. Running again with the same journal resumes.
//
// The report is returned also on error. Run fails with an error wrapping, among others,
// ErrInDoubt (a step may have taken effect and nothing settles it: look, then Journal.Resolve),
// ErrPrecondition (a check does not hold), ErrNotObserved (changed, without the effect), ErrWaiting (a person is
// needed; run again), ErrRejected (the gate said no), ErrLocked, ErrLockLost, ErrPlanChanged, ErrWrongJournal,
// ErrJournalBusy, ErrUndone, ErrStopped and ErrInvalid.
//
// When ctx ends, Run stops at once; a change under way is then in doubt, and the next run settles it.
func (p Procedure) Run(ctx context.Context, o RunOptions) (*Report, error) {
	r, err := p.start(o)
	if err != nil {
		return nil, err
	}
	defer r.j.leave()
	for id, st := range r.j.states() {
		if st.undoOpen || st.Status == StatusUndone {
			err := &Error{Op: "run", Target: p.Name, Outcome: NotApplied, Next: "finish the undo, then begin a new journal",
				Err: fmt.Errorf("%w: %s", ErrUndone, id)}
			return p.Report(r.j), err
		}
	}
	if err := r.j.append(record{Type: recRun, Actor: o.Actor, Reason: o.Reason, Hash: o.Approved}); err != nil {
		return p.Report(r.j), err
	}
	r.event(Event{Kind: EventRunStarted})
	err = r.locked(ctx, r.steps)
	return r.end(err)
}

// start checks the call and enters the journal; the caller leaves it.
func (p Procedure) start(o RunOptions) (*run, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := o.validate(p); err != nil {
		return nil, err
	}
	if err := o.Journal.enter(); err != nil {
		return nil, err
	}
	if err := o.Journal.begin(p, o); err != nil {
		o.Journal.leave()
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &run{p: p, o: o, j: o.Journal, log: log.With("procedure", p.Name), began: time.Now()}, nil
}

func (r *run) end(err error) (*Report, error) {
	rec := record{Type: recEnd, Result: resultOf(err)}
	if err != nil {
		rec.Error, rec.Next = err.Error(), NextOf(err)
	}
	if jerr := r.j.append(rec); jerr != nil {
		err = errors.Join(err, jerr)
	}
	r.event(Event{Kind: EventRunEnded, Err: err})
	return r.p.Report(r.j), err
}

// locked takes the lock, does the work and gives the lock back when nothing is left half-way.
func (r *run) locked(ctx context.Context, work func(context.Context) error) error {
	defer r.slowAfter(r.o.WarnAfter, Event{Kind: EventSlow})()
	if r.p.Lock == nil {
		return work(ctx)
	}
	claim := r.j.claim()
	if err := r.p.Lock.Acquire(ctx, claim); err != nil {
		if err := r.settleLock(ctx, claim, err); err != nil {
			return err
		}
	}
	err := work(ctx)
	if err != nil && r.halfWay() {
		return err
	}
	// The caller's deadline may be what ended the work.
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
	defer cancel()
	if rerr := r.p.Lock.Release(fresh, claim); rerr != nil {
		rerr = r.fail("release the lock", "check who holds it and release it", OutcomeOf(rerr), rerr)
		return errors.Join(err, rerr)
	}
	return err
}

// settleLock finds out what became of an Acquire that failed: the reply may be what was lost, and only the target system
// knows. It returns nil when the lock is ours.
func (r *run) settleLock(ctx context.Context, claim Claim, err error) error {
	refused := func() error {
		return r.fail("take the lock", "find out what the holder does; take the lock over only when it is certain that nothing runs", NotApplied, err)
	}
	if OutcomeOf(err) == NotApplied {
		return refused()
	}
	// The caller's deadline may be what cut the reply off.
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
	defer cancel()
	lookErr := r.p.Lock.Check(fresh, claim)
	switch {
	case lookErr == nil:
		return nil
	case errors.Is(lookErr, ErrLockLost):
		return refused()
	}
	return &Error{Op: "take the lock", Target: r.p.Name, Outcome: InDoubt,
		Next: "run again with the same journal once the target can be reached: it knows its own lock; nothing else was changed", Err: errors.Join(err, lookErr)}
}

func (r *run) halfWay() bool {
	for _, st := range r.j.states() {
		if st.touched() || st.undoOpen {
			return true
		}
	}
	return false
}

func (r *run) fail(op, next string, outcome Outcome, err error) error {
	if n := NextOf(err); n != "" {
		next = n
	}
	return &Error{Op: op, Target: r.p.Name, Outcome: outcome, Next: next, Err: err}
}

func (r *run) steps(ctx context.Context) error {
	if err := r.approved(ctx); err != nil {
		return err
	}
	for i := 0; i < len(r.p.Steps); {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		n := r.checksFrom(i)
		if n == 0 {
			if err := r.step(ctx, i); err != nil {
				return err
			}
			i++
			continue
		}
		// All checks of a block are made and all findings shown, so that the operator mends them in one go.
		var failed []error
		for k := i; k < i+n; k++ {
			if err := r.step(ctx, k); err != nil {
				failed = append(failed, err)
			}
		}
		if len(failed) == 1 {
			return failed[0]
		}
		if len(failed) > 1 {
			return &Error{Op: "check", Target: r.p.Name, Outcome: NotApplied, Next: "make every check hold, or waive those that may be waived",
				Err: errors.Join(failed...)}
		}
		i += n
	}
	return nil
}

// checksFrom counts the Checks from step i on that are looked at once.
func (r *run) checksFrom(i int) int {
	n := 0
	for ; i+n < len(r.p.Steps); n++ {
		if s := r.p.Steps[i+n]; s.Kind != Check || s.Wait {
			break
		}
	}
	return n
}

func (r *run) approved(ctx context.Context) error {
	if r.o.Approved == "" {
		return nil
	}
	if r.j.begunUnder(r.o.Approved) {
		return nil
	}
	plan, err := r.p.Plan(ctx)
	if err != nil {
		return err
	}
	if plan.Findings != r.o.Approved {
		return r.fail("compare with the approved plan", "read the new plan and approve that one", NotApplied,
			fmt.Errorf("%w: approved %.12s, found %.12s", ErrPlanChanged, r.o.Approved, plan.Findings))
	}
	return nil
}

func (r *run) stopped(ctx context.Context) error {
	if ctx.Err() != nil {
		return r.fail("run", "run again with the same journal", NotApplied, context.Cause(ctx))
	}
	if r.o.StopAfter > 0 && time.Since(r.began) >= r.o.StopAfter {
		return r.fail("run", "run again with the same journal", NotApplied, fmt.Errorf("%w: the run has taken %s", ErrStopped, r.o.StopAfter))
	}
	select {
	case <-r.o.Stop:
		return r.fail("run", "run again with the same journal", NotApplied, ErrStopped)
	default:
		return nil
	}
}

// slowAfter sends the event once d has passed, unless the function it returns is called before.
func (r *run) slowAfter(d time.Duration, e Event) (end func()) {
	if d <= 0 {
		return func() {}
	}
	said := make(chan struct{})
	slow := time.AfterFunc(d, func() {
		defer close(said)
		r.event(e)
	})
	return func() {
		if !slow.Stop() {
			<-said // nothing of the run outlives it
		}
	}
}

// step brings the step at index i to its end, from wherever the journal says it stands.
func (r *run) step(ctx context.Context, i int) error {
	s := r.p.Steps[i]
	r.number = i + 1
	st := r.j.states()[s.ID]
	if st == nil {
		st = &stepState{}
	}
	if st.Status.done() {
		return nil
	}
	r.event(Event{Kind: EventStepStarted, Step: s})
	ctx = r.stepContext(ctx, s, readOnlyFacts{r.j})
	defer r.slowAfter(s.WarnAfter, Event{Kind: EventSlow, Step: s, Number: i + 1})()
	var err error
	switch s.Kind {
	case Check:
		err = r.check(ctx, s, st)
	case Change:
		err = r.change(ctx, s, st)
	case Once:
		err = r.once(ctx, s, st)
	case Manual:
		err = r.manual(ctx, s, st)
	}
	status := StatusNotReached
	if st := r.j.states()[s.ID]; st != nil {
		status = st.Status
	}
	r.event(Event{Kind: EventStepEnded, Step: s, Status: status, Err: err})
	r.log.Log(ctx, level(err), "step", "id", s.ID, "status", status.String(), "target", s.Target, "error", err)
	return err
}

func level(err error) slog.Level {
	if err != nil {
		return slog.LevelError
	}
	return slog.LevelInfo
}

func (r *run) stepContext(ctx context.Context, s Step, facts factStore) context.Context {
	number := r.number
	ctx = context.WithValue(ctx, factKey{}, facts)
	return context.WithValue(ctx, progressKey{}, func(text string) {
		r.event(Event{Kind: EventProgress, Step: s, Number: number, Text: text})
	})
}

func (r *run) event(e Event) {
	if r.o.Observer == nil {
		return
	}
	r.eventMu.Lock()
	defer r.eventMu.Unlock()
	e.At, e.Procedure, e.Total = time.Now(), r.p.Name, len(r.p.Steps)
	if e.Number == 0 && e.Step.ID != "" {
		e.Number = r.number
	}
	r.o.Observer(e)
}

// stepError gives an error of a step its frame: the step, the target, the outcome and the next action.
func stepError(s Step, outcome Outcome, next string, err error) error {
	if n := NextOf(err); n != "" {
		next = n
	}
	target := s.ID
	if s.Target != "" {
		target += " on " + s.Target
	}
	return &Error{Op: s.Kind.String(), Target: target, Outcome: outcome, Next: next, Err: err}
}
