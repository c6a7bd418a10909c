package opcon

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/01b61c5c/failover"
)

// Stages are the stages that hold a machine still and set it going again, for procedures that do something of their own
// in between. [QuiesceStages] fills those up to Down, [ResumeStages] the others. They run in this order. A stage
// without steps is one that this move does not need.
type Stages struct {
	Check failover.Stage // OpCon answers, and the machine is the one expected
	Hold  failover.Stage // how things stand is recorded, and every schedule held
	Drain failover.Stage // ModePlanned: no new job starts, and running jobs end
	Down  failover.Stage // the machine is down

	Repoint failover.Stage // what was built meanwhile is held, and with RepointEditRecord the record leads to the new host
	Prove   failover.Stage // the agent on the right host answers, and no job starts; before it that agent has to run
	Decide  failover.Stage // the interrupted jobs are listed and decided upon
	Release failover.Stage // the machine is up, and exactly what was held is released
}

// The steps that others refer to, after the prefix.
const (
	stepHold     = "hold/schedules"
	stepHoldMore = "drain/schedules"
	stepDown     = "down/machine"
	stepHoldNew  = "repoint/schedules"
	stepOldAgent = "prove/old-agent"
	stepRerun    = "decide/rerun"
	stepUp       = "release/machine"
	stepRelease  = "release/schedules"
)

// QuiesceStages returns the stages of [Client.Quiesce], whose steps the package documentation lists. Every change in
// them is safe to repeat; what a broken line leaves is settled by reading the state. It refuses options that could not
// work, with an error that wraps failover.ErrInvalid, and asks OpCon nothing.
func QuiesceStages(c *Client, o QuiesceOptions) (Stages, error) {
	return quiesceStages(c, o, store{fact: RecordFact(o.Machine)})
}

func quiesceStages(c *Client, o QuiesceOptions, st store) (Stages, error) {
	if c == nil {
		return Stages{}, failover.Invalid("client", "is nil", "make one with New")
	}
	if err := o.complete(c.conf.MaxPoll); err != nil {
		return Stages{}, err
	}
	q := &quiesce{o: o, work: work{store: st, c: c, machine: o.Machine, reason: o.Reason, prefix: o.Prefix,
		dates: o.Dates}}
	// The last undo of all: with the machine as it was, everything held on the way is released.
	everything := func(HeldSchedule) bool { return true }
	s := Stages{
		Check: q.stage("check", q.checkService(), q.checkMachine(), q.checkScope()),
		Hold: q.stage("hold", q.snapshot(),
			q.hold(stepHold, "Hold every schedule that can start a job on the machine", everything)),
		Drain: q.stage("drain"),
		Down:  q.stage("down", q.down()),
	}
	if o.Mode == ModePlanned {
		s.Drain = q.stage("drain", q.limited(), q.drain(),
			q.hold(stepHoldMore, "Hold the schedules built while the machine was drained", q.heldBy(stepHoldMore)))
	}
	return s, nil
}

// ResumeStages returns the stages of [Client.Resume], for use after those of QuiesceStages for the same machine and in
// the same journal, or with ResumeOptions.Record. The agent on the new host has to run and to accept this OpCon server
// before the stage Prove. Until Release the machine is limited, so that nothing starts while a person decides, whatever
// is built meanwhile. It refuses options that could not work, with an error that wraps failover.ErrInvalid, and asks
// OpCon nothing.
func ResumeStages(c *Client, o ResumeOptions) (Stages, error) {
	return resumeStages(c, o, store{fact: RecordFact(o.Machine), initial: o.Record}, false)
}

func resumeStages(c *Client, o ResumeOptions, st store, alone bool) (Stages, error) {
	if c == nil {
		return Stages{}, failover.Invalid("client", "is nil", "make one with New")
	}
	if err := o.complete(); err != nil {
		return Stages{}, err
	}
	r := &resume{o: o, alone: alone, work: work{store: st, c: c, machine: o.Machine, reason: o.Reason,
		prefix: o.Prefix, dates: o.Dates}}
	repoint, prove := []failover.Step{r.hold()}, []failover.Step{r.openLine(), r.checkAgent()}
	if o.Repoint == RepointEditRecord {
		repoint = append(repoint, r.repoint())
	}
	if o.OldAgent != nil {
		prove = append([]failover.Step{r.oldAgent()}, prove...)
	}
	decide := []failover.Step{r.interrupted(), r.rerun()}
	if alone {
		decide = decide[1:] // the error of the other one lists the jobs
	}
	return Stages{
		Repoint: r.stage("repoint", repoint...),
		Prove:   r.stage("prove", prove...),
		Decide:  r.stage("decide", decide...),
		Release: r.stage("release", r.up(), r.releaseHeld()),
	}, nil
}

// work is what the steps of both halves have in common.
type work struct {
	store
	c       *Client
	machine string // by its name
	reason  string
	prefix  string
	dates   []Date
	last    recent[scope]
	now     recent[Machine]
}

// step is a step that changes something, to begin with.
func (w *work) step(name, title, source string, observe looker) failover.Step {
	return failover.Step{ID: name, Title: title, Target: w.machine, Kind: failover.Change, Source: source,
		Timeout: time.Minute, Poll: w.c.conf.Poll, Observe: observe}
}

// looker is the Observe of a step.
type looker = func(context.Context) (failover.Observation, error)

// seen is what look says of what was read.
func seen[T any](read func(context.Context) (T, error), look func(T) failover.Observation) looker {
	return func(ctx context.Context) (failover.Observation, error) {
		now, err := read(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		return look(now), nil
	}
}

// stage puts steps into a stage. Each step that changes something keeps the record of the machine, and says so.
func (w *work) stage(name string, steps ...failover.Step) failover.Stage {
	for i, s := range steps {
		if s.Kind == failover.Change {
			steps[i].Shares = []string{w.fact.Name}
		}
	}
	return failover.Stage{Name: w.prefix + name, Steps: steps}
}

// keep saves the record before a change; without it the change is not made.
func (w *work) keep(ctx context.Context, op string, r Record) error {
	if err := w.save(ctx, r); err != nil {
		return unchanged(op, w.machine, "make the journal writable and run again", err)
	}
	return nil
}

// must loads a record that an earlier step has to have left.
func (w *work) must(ctx context.Context, op string) (Record, error) {
	r, ok, err := w.load(ctx)
	if err == nil && !ok {
		err = because(failover.ErrPrecondition, "there is no record of this machine")
	}
	if err != nil {
		err = unchanged(op, w.machine, "run the steps that quiesce the machine first, with the same journal", err)
	}
	return r, err
}

// readMachine reads the machine of the record. Jobs name their machine, so one that has another name by now is no
// longer the machine that was quiesced, as far as jobs go.
func (w *work) readMachine(ctx context.Context, r Record) (Machine, error) {
	m, err := w.c.Machine(ctx, r.Machine.ID)
	if err == nil && !sameName(m.Name, r.Machine.Name) {
		err = unchanged("read machine", w.machine,
			"give machine "+strconv.FormatInt(m.ID, 10)+" its name back in OpCon, then run again",
			fmt.Errorf("%w: it is called %q now, and jobs go by the name", failover.ErrPrecondition, shorten(m.Name, 60)))
	}
	return m, err
}

// with is a function of a step that needs that record.
func (w *work) with(op string, do func(context.Context, Record) error) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := w.must(ctx, op)
		if err != nil {
			return err
		}
		return do(ctx, r)
	}
}

// set asks the machine of the record up, limited or down.
func (w *work) set(want MachineState) func(context.Context) error {
	return w.with("set "+want.String()+" machine", func(ctx context.Context, r Record) error {
		w.now.forget()
		return w.c.setMachine(ctx, r.Machine.ID, want)
	})
}
