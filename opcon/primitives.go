package opcon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

// Mode says whether the machine's running jobs may be waited for.
type Mode int

const (
	ModePlanned   Mode = iota + 1 // limited, drained, then down
	ModeUnplanned                 // the host is gone or going; down as soon as the schedules are held
)

// String returns "planned" or "unplanned".
func (m Mode) String() string {
	return enum.Name([]string{ModePlanned: "planned", ModeUnplanned: "unplanned"}, m)
}

// QuiesceOptions says what is quiesced and how.
type QuiesceOptions struct {
	Machine string // exact name in OpCon; at most 24 characters
	Mode    Mode   // ModePlanned or ModeUnplanned; required
	Reason  string // sent with every action, for example the change number; at most 255 bytes
	Dates   []Date // dates to cover besides those OpCon says are built

	// TypeID is the machine type expected; 0 means 6, UNIX, which a Symitar host is (seen in client code). Any other
	// type is refused.
	TypeID       int64
	DrainTimeout time.Duration // limits the wait for running jobs (ModePlanned); 0 means 30 minutes
	HoldTimeout  time.Duration // limits each step that holds schedules; 0 means 5 minutes
	DrainPoll    time.Duration // pause between two looks at running jobs; 0 means the client's longest, 3 s by default

	Prefix string // begins the names of the stages; empty means "opcon-"
	// Keep, for Quiesce only, is called with the record before every change that needs it and must return when it is
	// on disk. Steps keep the record in the journal instead.
	Keep func(context.Context, Record) error
}

func (o *QuiesceOptions) complete(pollMax time.Duration) error {
	if o.Mode != ModePlanned && o.Mode != ModeUnplanned {
		return failover.Invalid("Mode", "is not set", "use ModePlanned or ModeUnplanned")
	}
	err := checkOptions("QuiesceOptions", o.Machine, o.Reason, o.Dates, o.DrainTimeout, o.HoldTimeout, o.DrainPoll)
	o.TypeID = cmp.Or(o.TypeID, 6)
	o.DrainTimeout, o.HoldTimeout = cmp.Or(o.DrainTimeout, 30*time.Minute), cmp.Or(o.HoldTimeout, 5*time.Minute)
	o.DrainPoll, o.Prefix = cmp.Or(o.DrainPoll, pollMax), cmp.Or(o.Prefix, "opcon-")
	return err
}

// checkOptions refuses what is wrong in the options of either half.
func checkOptions(name, machine, reason string, dates []Date, times ...time.Duration) error {
	if err := checkMachineName(machine); err != nil {
		return err
	}
	if slices.ContainsFunc(times, func(d time.Duration) bool { return d < 0 }) {
		return failover.Invalid(name, "has a negative time", "use zero for the default")
	}
	for _, d := range dates {
		if p, ok := parseDate(string(d)); !ok || p != d {
			return failover.Invalid("Dates", fmt.Sprintf("%q is not a date", d), "use the form 2026-08-22")
		}
	}
	return cleanReason(reason)
}

// Quiesce holds the machine still: it records how things stand, holds every schedule from which a job could start
// there, drains it if planned, and takes it down. The record is returned also on error and is what Resume needs. It
// runs the same steps as [QuiesceStages], without a journal; give Keep so that the record survives the process.
//
// Calling it again with the machine quiesced changes nothing, but its fresh record then says that nothing was held by
// it: keep the first one. A drain that does not end is an error with the jobs that still run; nothing is taken back.
// What a broken line leaves is settled by reading the state, or the error is InDoubt.
//
// Errors wrap, among others, failover.ErrInvalid, failover.ErrPrecondition, failover.ErrNotObserved, ErrAuth,
// ErrForbidden, ErrNotFound, ErrAmbiguous, ErrActionFailed and ErrUnavailable.
func (c *Client) Quiesce(ctx context.Context, o QuiesceOptions) (Record, error) {
	var r Record
	s, err := quiesceStages(c, o, store{fact: RecordFact(o.Machine), hand: r.followed(o.Keep)})
	if err == nil {
		err = c.play(ctx, "opcon.Quiesce", o.Reason, s.Check, s.Hold, s.Drain, s.Down)
	}
	return r, err
}

// followed makes r each version of the record that keep has taken.
func (r *Record) followed(keep func(context.Context, Record) error) func(context.Context, Record) error {
	return func(ctx context.Context, now Record) error {
		if keep != nil {
			if err := keep(ctx, now.clone()); err != nil { // the caller's copy must not change under its hands
				return fmt.Errorf("keep the record: %w", err)
			}
		}
		*r = now.clone()
		return nil
	}
}

// Repoint says how OpCon comes to reach the agent on the new host.
type Repoint int

const (
	// RepointEditRecord writes the new address into the machine record, which the vendor asks for since June 2026
	// (documented).
	RepointEditRecord Repoint = iota + 1
	// RepointAliasMoves leaves the record alone, because it names a host alias that is moved outside OpCon.
	RepointAliasMoves
	// RepointHostStayed leaves the record alone, because the service did not move: the hold is let go on the host as it
	// was.
	RepointHostStayed
)

// ResumeOptions says how a quiesced machine is set going again.
type ResumeOptions struct {
	Machine string // exact name in OpCon; for Resume it may be empty, the record names it
	Reason  string // sent with every action; at most 255 bytes
	Dates   []Date // dates to cover besides those OpCon says are built

	Repoint Repoint // required
	Address Address // RepointEditRecord: the new host, by name or by IP address

	// Host is the name that the agent on the host reports to OpCon once it may run jobs, as the machine record shows it
	// (field hostname); "" means Address.FQDN, or, with RepointHostStayed, the name reported before. Domains count only
	// where both names have one.
	Host string
	// AskAgent is the site's own question, which host the agent that answers now runs on, for example by the agent's log
	// or a harmless job; nil: none. It counts before what OpCon reports. "" means that it cannot tell. It changes nothing.
	AskAgent func(context.Context, Machine) (string, error)
	// Vouch is a person's word that the agent that answers runs on the right host. It is used only where neither OpCon
	// nor AskAgent tells, and it never outweighs a wrong name.
	Vouch *failover.Statement
	// OldAgent looks whether the agent on the old host is stopped; Done means that it is. It is asked in a step of its own
	// and again right before the line is opened; nil: it is not asked, for example since the old host is switched off.
	OldAgent func(context.Context) (failover.Observation, error)

	// Decide is asked about the interrupted jobs. When it is nil, the steps hold a Manual step in its place, and Resume
	// stops before anything is released if a job needs a decision; the error wraps failover.ErrWaiting and lists them.
	Decide Decider
	// KeepHeld names schedules that stay held although this run held them, all of that name or, as "2026-08-22 NAME", one.
	// They are for a person to release. A name that none of the schedules has which the run found or held is refused before
	// anything is released.
	KeepHeld []string

	UpTimeout   time.Duration // limits each wait for the agent on the new host; 0 means 5 minutes
	HoldTimeout time.Duration // limits each step that holds or releases schedules or carries out decisions; 0: 5 minutes

	Prefix string // begins the names of the stages; empty means "opcon-"
	// Record, for steps in a journal of their own, is what an earlier quiesce left; the journal's record comes first.
	Record *Record
	Keep   func(context.Context, Record) error // for Resume only, as in QuiesceOptions
}

func (o *ResumeOptions) complete() error {
	switch {
	case o.Repoint == RepointEditRecord:
		if err := checkAddress(o.Address); err != nil {
			return err
		}
	case o.Repoint != RepointAliasMoves && o.Repoint != RepointHostStayed:
		return failover.Invalid("Repoint", "is not set",
			"use RepointEditRecord with an Address, RepointAliasMoves, or RepointHostStayed")
	case o.Address != Address{}:
		return failover.Invalid("Address", "is set and the record is not edited", "leave it out, or use RepointEditRecord")
	}
	if o.Vouch != nil {
		if err := o.Vouch.Validate("Vouch"); err != nil {
			return err
		}
	}
	if o.Record != nil && !sameName(o.Record.Machine.Name, o.Machine) {
		return failover.Invalid("Record", "is of the machine "+o.Record.Machine.Name, "give the record of "+o.Machine)
	}
	o.UpTimeout, o.HoldTimeout = cmp.Or(o.UpTimeout, 5*time.Minute), cmp.Or(o.HoldTimeout, 5*time.Minute)
	o.Prefix = cmp.Or(o.Prefix, "opcon-")
	return checkOptions("ResumeOptions", o.Machine, o.Reason, o.Dates, o.UpTimeout, o.HoldTimeout)
}

// keeps reports whether the schedule stays held by decision.
func (o ResumeOptions) keeps(h HeldSchedule) bool { return slices.ContainsFunc(o.KeepHeld, h.called) }

// called reports whether it is the schedule's name, alone or behind its date.
func (h HeldSchedule) called(name string) bool {
	return sameName(name, h.Name) || sameName(name, h.String())
}

// keepsKnown refuses a name in KeepHeld that none of the schedules found or held has: behind a slip in it the one that
// was meant would be released.
func (o ResumeOptions) keepsKnown(r Record) error {
	all := slices.Concat(r.Held, convert(r.Schedules, func(s Schedule) HeldSchedule {
		return HeldSchedule{Name: s.Name, Date: s.Date}
	}))
	for _, name := range o.KeepHeld {
		if !slices.ContainsFunc(all, func(h HeldSchedule) bool { return h.called(name) }) {
			return failover.Invalid("KeepHeld", fmt.Sprintf("%q is no schedule that this run has found or held", name),
				"name it as the list of held schedules shows it, or leave it out, then run again")
		}
	}
	return nil
}

// Resume sets a quiesced machine going again: it holds what was built meanwhile, repoints the record, opens the line to
// the agent with no job started and sees that the right host answers, carries out the decisions, brings the machine up
// and releases exactly what the record says was held by it. The record is returned also on error; calling Resume again
// with it goes on where it stopped, whatever a broken line left.
//
// Errors: those of Quiesce, and failover.ErrWaiting (a job needs a decision).
//
// To look at what was interrupted in between, call [Client.Reconnect], [Client.Interrupted], [Client.Rerun] for each
// decision and [Client.Release] instead.
func (c *Client) Resume(ctx context.Context, r Record, o ResumeOptions) (Record, error) {
	return c.alone(ctx, r, o, func(s Stages) []failover.Stage {
		return []failover.Stage{s.Repoint, s.Prove, s.Decide, s.Release}
	})
}

// Reconnect is the first part of Resume: hold what was built meanwhile, repoint the record, open the line to the agent
// and see that the right host answers. The machine is limited then and every schedule held, so no job starts. Safe to
// repeat with the record it returned. Errors: those of Resume.
func (c *Client) Reconnect(ctx context.Context, r Record, o ResumeOptions) (Record, error) {
	return c.alone(ctx, r, o, func(s Stages) []failover.Stage { return []failover.Stage{s.Repoint, s.Prove} })
}

// Release is the last part of Resume: it sees once more that the right host answers, brings the machine up with
// everything new held, and releases exactly what the record says was held by it and nothing more. Nothing is released
// while a wrong host's agent answers. Safe to repeat: what is free already is left alone. The error names every
// schedule that was not released, each with its outcome.
func (c *Client) Release(ctx context.Context, r Record, o ResumeOptions) (Record, error) {
	return c.alone(ctx, r, o, func(s Stages) []failover.Stage { return []failover.Stage{s.Prove, s.Release} })
}

// alone runs stages that work on a record instead of a journal.
func (c *Client) alone(ctx context.Context, r Record, o ResumeOptions,
	of func(Stages) []failover.Stage) (Record, error) {
	o.Machine = cmp.Or(o.Machine, r.Machine.Name)
	initial := r.clone()
	s, err := resumeStages(c, o, store{RecordFact(o.Machine), &initial, r.followed(o.Keep)}, true)
	if err == nil {
		err = c.play(ctx, "opcon.Resume", o.Reason, of(s)...)
	}
	return r, err
}

// play runs stages with a journal in memory, by the same engine and rules as those of a procedure.
func (c *Client) play(ctx context.Context, name, reason string, stages ...failover.Stage) error {
	j := failover.MemoryJournal()
	defer func() { _ = j.Close() }() // it is in memory
	_, err := failover.Procedure{Name: name, Stages: stages}.Run(ctx,
		failover.RunOptions{Journal: j, Actor: "opcon", Reason: reason, Logger: c.log})
	return err
}
