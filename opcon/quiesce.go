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
	o.TypeID = cmp.Or(o.TypeID, typeUNIX)
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

// play runs stages with a journal in memory, by the same engine and rules as those of a procedure.
func (c *Client) play(ctx context.Context, name, reason string, stages ...failover.Stage) error {
	j := failover.MemoryJournal()
	defer func() { _ = j.Close() }() // it is in memory
	_, err := failover.Procedure{Name: name, Stages: stages}.Run(ctx,
		failover.RunOptions{Journal: j, Actor: "opcon", Reason: reason, Logger: c.log})
	return err
}
