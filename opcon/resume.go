package opcon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
)

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
	// (field hostname); "" means Address.FQDN, or, with RepointHostStayed, the name reported before. An agent that reports
	// the old host's name is disconnected; any other name is no proof. Domains count only where both names have one.
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
	// They are for a person to release.
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
func (o ResumeOptions) keeps(h HeldSchedule) bool {
	return slices.ContainsFunc(o.KeepHeld, func(name string) bool {
		return sameName(name, h.Name) || sameName(name, h.String())
	})
}

// Resume sets a quiesced machine going again: it holds what was built meanwhile, repoints the record, opens the line to
// the agent with no job started and sees that the right host answers, carries out the decisions, brings the machine up
// and releases exactly what the record says was held by it. The record is returned also on error; calling Resume again
// with it goes on where it stopped, whatever a broken line left: every change is settled by reading the state, and a
// restart whose reply was lost is not sent again.
//
// Errors wrap, among others, failover.ErrInvalid, failover.ErrWaiting (a job needs a decision),
// failover.ErrPrecondition, failover.ErrNotObserved, ErrAuth, ErrForbidden, ErrNotFound, ErrActionFailed and
// ErrUnavailable.
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
// repeat with the record it returned; after a broken line the error is InDoubt where reading the state could not settle
// it. Errors: those of Resume.
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

// pendingRelease reads what is ours to release and is not proven to be free: it is held, or in a state this package does
// not know, or not shown. Schedules that somebody else has released meanwhile are not in it.
func (c *Client) pendingRelease(ctx context.Context, r Record, ours func(HeldSchedule) bool) ([]Schedule, error) {
	return c.readHeld(ctx, r, func(h HeldSchedule) bool { return h.Ours() && ours(h) },
		func(h HeldSchedule, s Schedule) bool {
			return s.State == ScheduleHeld || (s.State == ScheduleUnknown && !(s.hidden && h.Free))
		})
}

// toHoldAgain returns what this run has released and what is neither held nor finished since.
func (c *Client) toHoldAgain(ctx context.Context, r Record) ([]Schedule, error) {
	return c.readHeld(ctx, r, func(h HeldSchedule) bool { return h.Released },
		func(_ HeldSchedule, s Schedule) bool { return needsHold(s.State, false) })
}

// readHeld reads the record's schedules that of chooses, and returns those that want chooses by what they are now. One
// that is not shown is in an unknown state: it was deleted, or the account may not see it, and nothing tells which.
func (c *Client) readHeld(ctx context.Context, r Record, of func(HeldSchedule) bool,
	want func(HeldSchedule, Schedule) bool) ([]Schedule, error) {
	mine := slices.DeleteFunc(slices.Clone(r.Held), func(h HeldSchedule) bool { return !of(h) })
	now, err := c.schedulesByID(ctx, convert(mine, func(h HeldSchedule) ScheduleID { return h.ID }))
	if err != nil {
		return nil, err
	}
	var list []Schedule
	for _, h := range mine {
		s, shown := now[h.ID]
		if !shown {
			s = Schedule{ID: h.ID, Name: h.Name, Date: h.Date, hidden: true}
		}
		if want(h, s) {
			list = append(list, s)
		}
	}
	return list, nil
}

// release frees the schedules that are ours, as pending returns them. One that fails holds up no other and is reported
// by its name.
func (w *work) release(ctx context.Context, pending func(context.Context, Record) ([]Schedule, error)) error {
	const op = "release schedules of"
	r, err := w.must(ctx, op)
	if err != nil {
		return err
	}
	list, err := pending(ctx, r)
	if err != nil {
		return unchanged(op, w.machine, failover.NextOf(err), err)
	}
	if len(list) == 0 {
		return nil
	}
	fresh := map[ScheduleID]bool{} // only of these can a refusal say that no release is in effect
	for i, h := range r.Held {
		if slices.ContainsFunc(list, func(s Schedule) bool { return s.ID == h.ID && !s.hidden }) {
			fresh[h.ID], r.Held[i].Released = !h.Released, true
		}
	}
	if err := w.keep(ctx, op, r); err != nil {
		return err
	}
	return w.setAll(ctx, op, verbRelease, r, list, list, func(h *HeldSchedule, err error) {
		h.Free = h.Free || err == nil
		h.Released = h.Released && !(fresh[h.ID] && notDone(err))
	})
}

// holdAgain is the undo of a release: it holds what was released and has not been finished since.
func (w *work) holdAgain(ctx context.Context) error {
	const op = "hold schedules again of"
	r, err := w.must(ctx, op)
	if err != nil {
		return err
	}
	list, err := w.c.toHoldAgain(ctx, r)
	switch {
	case err != nil:
		return unchanged(op, w.machine, failover.NextOf(err), err)
	case len(list) == 0:
		return failover.NothingToUndo(ctx)
	}
	return w.setAll(ctx, op, verbHold, r, list, list, func(h *HeldSchedule, err error) {
		if err == nil {
			h.Released, h.Free = false, false
		}
	})
}
