package opcon_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

func TestPlannedSwitchover(t *testing.T) {
	s := newSite(t, opcontest.Config{Polls: 2, ReportAfter: 3})
	s.Change(func() { s.Running.Ticks = 40; s.JustSent.Status, s.JustSent.Ticks = opcontest.JobRunning, 20 })
	p := procedure(t, s, planned(), resumed())

	plan, err := p.Plan(context.Background(), nil)
	require.NoError(t, err)
	require.Zero(t, s.Count("hold", ""), "a plan changes nothing")
	require.Contains(t, plan.String(), "SYM BRANCH [EAST]")
	require.Empty(t, plan.Blockers(), "what is known only later is no obstacle")

	rep, err := p.Run(context.Background(), options(journal(t)))
	require.NoError(t, err, "%v", rep)
	s.lawful(t)
	for _, x := range []*opcontest.Schedule{s.Nightly, s.Branch, s.Statements, s.Tomorrow} {
		require.Equal(t, 1, s.Count("hold", x.Date+" "+x.Name), x.Name)
		require.Equal(t, 1, s.Count("release", x.Date+" "+x.Name), x.Name)
	}
	require.Equal(t, 4, s.Count("hold", ""))
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.HeldBefore), "a person's hold stays")
	require.Equal(t, opcontest.ScheduleInProcess, s.Status(s.Child), "the subschedule follows its parent back")
	state, asked, address := s.MachineState(s.Machine)
	require.Equal(t, []string{"U", "U", newHost}, []string{state, asked, address})
	for what, times := range map[string]int{"limited": 2, "down": 1, "up": 1, "address": 1} {
		require.Equal(t, times, s.Count(what, "SYMAIX1"), what)
	}
}

// TestAMachineThatIsDownAlreadyIsNotDrained: somebody took it down first, as the vendor's page has it. OpCon hears
// nothing of its jobs then, and what the drain says leads on.
func TestAMachineThatIsDownAlreadyIsNotDrained(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.Change(func() {
		s.Machine.Asked, s.Machine.State = "D", "D"
		s.Running.Ticks, s.JustSent.Status, s.JustSent.Ticks = 20, opcontest.JobRunning, 20
	})
	q := planned()
	q.DrainTimeout = 2 * time.Second
	j := journal(t)
	_, err := procedure(t, s, q, resumed()).Run(context.Background(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "set it to limited")
	step, _ := j.Report().Step("opcon-drain/limited")
	require.Equal(t, "the machine is down", step.Found, "not limited")
	s.Change(func() { s.Machine.Asked, s.Machine.State = "L", "W" })
	_, err = procedure(t, s, planned(), resumed()).Run(context.Background(), options(j))
	require.NoError(t, err)
	s.lawful(t)
}

func TestHoldsComeBeforeDown(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.Change(func() { s.Alternant.Ready = true; s.Machine.Asked, s.Machine.State = "L", "L" })
	_, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	s.lawful(t)
	down := 0
	for i, e := range s.Effects() {
		switch e.What {
		case "down":
			down = i
		case "hold":
			require.Zero(t, down, "a hold after down: %v", e)
		}
	}
	require.NotZero(t, down)
	require.Zero(t, s.Count("start", ""))

	// The simulator itself: without holds the alternate machine gets the job.
	bad := newSite(t, opcontest.Config{})
	bad.Change(func() { bad.Alternant.Ready = true; bad.Machine.Asked, bad.Machine.State = "D", "D" })
	_, err = bad.client.FindMachine(context.Background(), "SYMAIX1")
	require.NoError(t, err)
	require.Len(t, bad.WrongStarts(), 1)
}

func TestUndoTakesEverythingBack(t *testing.T) {
	for _, upTo := range []string{"opcon-hold/schedules", "opcon-down/machine", "macro/swap", "opcon-repoint/machine",
		"opcon-release/machine", "opcon-release/schedules"} {
		t.Run(upTo, func(t *testing.T) {
			s := newSite(t, opcontest.Config{})
			s.Change(func() { s.Running.Status, s.JustSent.Status = opcontest.JobFinishedOK, opcontest.JobFinishedOK })
			p := procedure(t, s, planned(), resumed())
			stop := make(chan struct{})
			o := options(journal(t))
			o.Stop = stop
			o.Observer = func(e failover.Event) {
				if e.Kind == failover.EventStepEnded && e.Step.ID == upTo {
					close(stop)
				}
			}
			_, err := p.Run(context.Background(), o)
			if upTo != "opcon-release/schedules" {
				require.ErrorIs(t, err, failover.ErrStopped)
			} else {
				require.NoError(t, err)
			}
			o.Stop, o.Observer = nil, nil
			s.goesBack()
			_, err = p.Undo(context.Background(), o)
			require.NoError(t, err)
			s.asItWas(t)
		})
	}
}

func TestMidnightBuildsWhileQuiesced(t *testing.T) {
	for _, at := range []struct{ name, method, path, verb string }{
		{"between two passes of the hold", "GET", "/api/dailyschedules/dates", ""},
		{"with the hold itself", "POST", "/api/scheduleactions", "hold"},
		{"before down", "POST", "/api/machineactions", "down"},
		{"before up", "POST", "/api/machineactions", "up"},
		{"before the record is edited", "PUT", "/api/machines", ""},
	} {
		t.Run(at.name, func(t *testing.T) {
			s := newSite(t, opcontest.Config{})
			s.Change(func() { s.Running.Status, s.JustSent.Status = opcontest.JobFinishedOK, opcontest.JobFinishedOK })
			// A day later is built, and its jobs are ready to go; they end after a while.
			s.Before(at.method, at.path, at.verb, 0, s.Midnight)
			p := procedure(t, s, planned(), resumed())
			_, err := p.Run(context.Background(), options(journal(t)))
			require.NoError(t, err)
			require.Empty(t, s.Violations())
			built := s.Find("2026-08-24", "SYM NIGHTLY")
			require.NotNil(t, built)
			require.Equal(t, 1, s.Count("hold", "2026-08-24 SYM NIGHTLY"))
			require.Equal(t, 1, s.Count("release", "2026-08-24 SYM NIGHTLY"),
				"what we held of the new date is released too")
			require.Empty(t, s.WrongStarts())
		})
	}
}

// TestMidnightBeforeUp: what is built between the pass right before the machine is up and that moment is held too.
func TestMidnightBeforeUp(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	rec := s.moved(t)
	s.Before("POST", "/api/machineactions", "up", 0, s.Midnight)
	_, err := s.client.Release(context.Background(), rec, resumed())
	require.NoError(t, err)
	require.Equal(t, 1, s.Count("hold", "2026-08-24 SYM NIGHTLY"))
	require.Equal(t, 1, s.Count("release", "2026-08-24 SYM NIGHTLY"))
	s.lawful(t)
}

func TestKeepHeld(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	o := resumed()
	o.KeepHeld = []string{"sym statements"}
	_, err = s.client.Resume(context.Background(), rec, o)
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Statements))
	require.Equal(t, opcontest.ScheduleInProcess, s.Status(s.Nightly))
	s.lawful(t)

	// What is kept held is not called free.
	p, j := procedure(t, newSite(t, opcontest.Config{}), unplanned(), o), journal(t)
	_, err = p.Run(context.Background(), options(j))
	require.NoError(t, err)
	step, _ := j.Report().Step("opcon-release/schedules")
	require.Equal(t, "0 of 4 schedules held by this run are to be released", step.Found)
}

// TestKeepHeldNamesWhatIsThere: a slip in a name must not release the schedule that was meant.
func TestKeepHeldNamesWhatIsThere(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	o := resumed()
	o.KeepHeld = []string{"SYM CARDS", "SYM STATEMENT"} // the first was held by somebody else and stays so anyway
	_, err = s.client.Resume(context.Background(), rec, o)
	require.ErrorIs(t, err, failover.ErrInvalid)
	require.ErrorContains(t, err, `"SYM STATEMENT"`)
	require.NotContains(t, err.Error(), "CARDS")
	require.Zero(t, s.Count("release", ""))
	o.KeepHeld[1] += "S"
	_, err = s.client.Resume(context.Background(), rec, o)
	require.NoError(t, err)
	require.Equal(t, opcontest.ScheduleOnHold, s.Status(s.Statements))
}

// TestARenamedMachineIsNotTakenForAnother: while a run goes on, its machine gets another name and another one its name.
func TestARenamedMachineIsNotTakenForAnother(t *testing.T) {
	for _, step := range []string{"opcon-drain/limited", "opcon-drain/jobs", "opcon-down/machine", "opcon-prove/line",
		"opcon-release/machine"} {
		t.Run(step, func(t *testing.T) {
			s := newSite(t, opcontest.Config{})
			s.quiet()
			p, o := procedure(t, s, planned(), resumed()), options(journal(t))
			o.Observer = func(e failover.Event) {
				if e.Kind == failover.EventStepStarted && e.Step.ID == step {
					s.Change(func() {
						s.Machine.Name, s.Alternate.Name = "SYMOLD", "SYMAIX1"
						s.Alternate.State, s.Alternate.Asked = "D", "D"
					})
				}
			}
			_, err := p.Run(context.Background(), o)
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.ErrorContains(t, err, `"SYMOLD"`)
			stage, _, _ := strings.Cut(step, "/")
			require.ErrorContains(t, err, stage, "it stops there")
			require.Zero(t, s.Count("release", ""))
		})
	}
}

func TestRecordSurvivesTheProcess(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	var kept []opcon.Record
	o := unplanned()
	o.Keep = func(_ context.Context, r opcon.Record) error { kept = append(kept, r); return nil }
	_, err := s.client.Quiesce(context.Background(), o)
	require.NoError(t, err)
	require.NotEmpty(t, kept)
	first := kept[1]
	require.Len(t, first.Held, 4, "what is about to be held is recorded before it is held")
	for _, h := range first.Held {
		require.Equal(t, failover.InDoubt, h.Outcome)
	}
	_, err = newClient(t, s.Server).Resume(context.Background(), kept[len(kept)-1], resumed())
	require.NoError(t, err)
	require.Equal(t, 4, s.Count("release", ""))
}

// TestACorrectedAddress: the new host's address had a slip in it, which shows when no agent answers there. With the
// right one the same journal goes on.
func TestACorrectedAddress(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.quiet()
	o, r := options(journal(t)), resumed()
	r.Address.FQDN, r.UpTimeout = "symaix3.example.org", 50*time.Millisecond
	_, err := procedure(t, s, unplanned(), r).Run(context.Background(), o)
	require.ErrorContains(t, err, "opcon-prove/line")
	_, err = procedure(t, s, unplanned(), resumed()).Run(context.Background(), o)
	require.ErrorContains(t, err, "leads to symaix3.example.org, not to "+newHost)
	require.Contains(t, failover.NextOf(err), "correct the address in the machine record")
	s.Change(func() { s.Machine.FQDN = newHost })
	_, err = procedure(t, s, unplanned(), resumed()).Run(context.Background(), o)
	require.NoError(t, err)
	s.lawful(t)
}
