package idm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

func (m *mover) start() failover.Step {
	running := row(m.Target.stateIfServed, is(StateRunning))
	return m.looks("running on the target", "start them", running).Step(failover.Step{ID: stepStart,
		Title: "Start the drivers on the target and see that they stay up", Target: m.Target.DN(),
		Kind: failover.Change, Timeout: m.allDrivers(m.StartTimeout + m.Settle), Poll: m.Poll, Attempts: 1,
		WarnAfter: m.StartTimeout, Source: fromWiki + `"Step 2: Start the driver."`,
		Apply: m.startAll, Undo: m.stopAll, Undone: m.allStopped})
}

// startOn starts a driver and follows it until it has stayed up: seen running, and still running after Settle. The
// engine answers before a start begins (documented), and what it took may come late. It is known not to run only where
// the start was refused, or was seen to begin and to end.
func (m *mover) startOn(ctx context.Context, s *Server, driver string) error {
	const op = "start driver"
	ctx, cancel := context.WithTimeout(ctx, m.StartTimeout+m.Settle)
	defer cancel()
	st, err := s.Status(ctx, driver)
	switch {
	case err != nil:
		return notApplied(err)
	case st.State == StateStopping, st.State == StateGettingSchema:
		return unmet(op, driver, "run again when it has stopped", "it is "+st.State.String()+" on "+s.DN())
	case st.out():
		return unmet(op, driver, "set it to Manual first", "it is disabled on "+s.DN())
	}
	trace := "the driver's trace on " + s.DN() + " (policy, GCV, password, shim, Remote Loader, activation)"
	logged, errLogged := s.StatusLog(ctx, driver)
	state := st.State
	var refused error
	if state == StateStopped {
		// What a driver that is starting already answers is not published: invalid request means "look again".
		if refused = s.Start(ctx, driver); refused != nil && !errors.Is(refused, ErrWrongState) {
			return refused
		}
	}
	asked := time.Now()
	var up time.Time // since when it runs
	for begun := state != StateStopped; ; {
		// The first looks follow each other closely: a start may fail at once.
		if waitErr := pause(ctx, min(m.Poll, 20*time.Millisecond+time.Since(asked)/4)); waitErr != nil {
			return inDoubt(op, driver, "look at "+trace,
				fmt.Errorf("%w: last seen %s: %w", failover.ErrNotObserved, state, errors.Join(refused, waitErr, err)))
		}
		var now State
		if now, err = s.State(ctx, driver); err == nil {
			state = now
		}
		switch {
		case err != nil && unanswered(err):
		case err != nil:
			return inDoubt(op, driver, "observe the driver on "+s.DN(), err)
		case state == StateRunning && up.IsZero():
			begun, up = true, time.Now()
		case state == StateRunning && time.Since(up) >= m.Settle:
			return nil
		case state == StateRunning:
		case state != StateStopped:
			begun, up = true, time.Time{}
		case begun, time.Since(asked) >= m.Settle:
			words := "" // of the engine, since the start
			if now, logErr := s.StatusLog(ctx, driver); logErr == nil && errLogged == nil {
				words = strings.Join(slices.DeleteFunc(now, func(w string) bool { return slices.Contains(logged, w) }), " / ")
			}
			if !begun && words != "" { // it began between two looks, unless it is only beginning now
				now, lookErr := s.State(ctx, driver)
				begun = lookErr == nil && now == StateStopped
			}
			switch {
			case begun:
				return notDone(op, driver, "read "+trace+", repair it, and run again",
					fmt.Errorf("%w: it was started and has stopped: %s", failover.ErrNotObserved,
						cmp.Or(clipText(words, 500), "no reason could be read from the directory")))
			case refused != nil:
				return refused
			}
			return inDoubt(op, driver, "look whether it comes up, and at "+trace+"; if it failed, repair it and run again",
				fmt.Errorf("%w: the start was accepted and not seen to begin", failover.ErrNotObserved))
		}
	}
}

// StatusLog returns what stands in DirXML-StatusLog of a driver's channels on this server, each value on one line.
// Their layout is not published; they are passed on as text.
func (s *Server) StatusLog(ctx context.Context, driverDN string) (words []string, err error) {
	for e, err := range s.Entries(ctx, Query{Base: driverDN, Scope: ScopeSubtree, Filter: "(DirXML-StatusLog=*)",
		Attributes: []string{"DirXML-StatusLog"}}) {
		if err != nil {
			return nil, err
		}
		for _, text := range e.Texts("DirXML-StatusLog") {
			words = append(words, strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " "))
		}
	}
	return words, nil
}

// closeGap synchronizes what happened since the noted time, which is each driver's own: one that was behind when it was
// stopped has to go back further.
func (m *mover) closeGap(since func(ctx context.Context, driver string) (time.Time, bool, error)) failover.Step {
	return failover.Step{ID: "close-gap", Writes: []string{factResynced.Name},
		Title: "Close the gap: synchronize what changed since the noted time", Target: m.Target.DN(), Kind: failover.Change,
		Poll: m.Poll, Timeout: m.allDrivers(m.StartTimeout),
		Source: fromVendor + `cache relocation: start without automatic synchronization, then "synchronize from the noted time" to pick up lost events`,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			asked, err := factResynced.Load(ctx)
			n, _, errNoted := factNoted.Load(ctx)
			if err = errors.Join(err, errNoted); err != nil {
				return failover.Observation{}, err
			}
			obs, err := m.look(ctx, "asked to synchronize since the noted time",
				func(_ context.Context, driver string) (failover.Item, error) {
					at, ok := asked[driver]
					if !ok {
						return failover.Item{Found: "not asked to synchronize"}, nil
					}
					found := "asked to synchronize since " + at.UTC().Format(time.RFC3339)
					if why := n.Unread[driver]; why != "" {
						found += "; how far it was behind when it was stopped is not known: " + why
					}
					return failover.Item{Done: true, Found: found}, nil
				})
			var earliest time.Time
			for _, driver := range m.Drivers {
				at, ok, sinceErr := since(ctx, driver)
				if err = cmp.Or(err, sinceErr); err != nil {
					return failover.Observation{}, err
				}
				if ok && (earliest.IsZero() || at.Before(earliest)) {
					earliest = at
				}
			}
			// An approved plan holds for it: the time itself, which no plan of a switchover knows, stands in the note.
			obs.Would = fmt.Sprintf("ask for everything created or changed since that time, or since the oldest event that "+
				"waited then, less %s", m.Margin)
			if !earliest.IsZero() {
				obs.Note = fmt.Sprintf("since %s at the earliest, a margin of %s included",
					earliest.UTC().Format(time.RFC3339), m.Margin)
			}
			return obs, nil
		},
		Apply: m.forEach(func(ctx context.Context, driver string) error {
			return m.catchUp(ctx, m.Target, driver, since, factResynced)
		}),
		Undo: failover.NothingToUndo}
}

// catchUp asks a driver once to synchronize what happened since a time, and keeps that it was asked. How far the engine
// has come with it cannot be observed.
func (m *mover) catchUp(ctx context.Context, s *Server, driver string,
	since func(ctx context.Context, driver string) (time.Time, bool, error), asked failover.FactMap[time.Time]) error {
	before, err := asked.Load(ctx)
	if _, already := before[driver]; already || err != nil {
		return notApplied(err)
	}
	at, ok, err := since(ctx, driver)
	if err != nil {
		return notApplied(err)
	}
	if !ok {
		return unmet("close gap", driver, "run the procedure from its beginning, so that the time is noted",
			"no time was noted")
	}
	err = s.ResyncSince(ctx, driver, at)
	if errors.Is(err, ErrWrongState) { // whether one that is stopped can be asked is not published
		return notDone("close gap", driver, "see that it runs on "+s.DN()+", start it there if it does not, and run again", err)
	}
	if err != nil {
		return err
	}
	return asked.Put(ctx, driver, at)
}

// verify is the last look: running here, and not there. A driver on Manual does not come back by itself when the server
// was restarted meanwhile, so it is started again.
func (m *mover) verify() failover.Step {
	running := row(m.Target.Status, func(st DriverStatus) bool { return st.State == StateRunning })
	see := func(ctx context.Context, driver string) (failover.Item, error) {
		f, err := running(ctx, driver)
		f.Found += " on the target"
		if err != nil {
			return f, err
		}
		if err := m.sourceInactive(ctx, driver); err != nil {
			f.Done, f.Found = false, f.Found+"; "+err.Error()
		}
		return f, nil
	}
	return failover.Step{ID: "verify", Title: "Observe that every driver runs on the target and nowhere else",
		Target: m.Target.DN(), Kind: failover.Change, Timeout: m.allDrivers(m.StartTimeout + m.Settle), Poll: m.Poll,
		Attempts: 1, Source: fromVendor + `"A driver must run on one server only"`,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			wanted := "running on the target"
			if m.source != nil {
				wanted += " only"
			}
			obs, err := m.look(ctx, wanted, see)
			if err == nil && m.source == nil {
				out := failover.Observation{Done: true, Found: "the source was not looked at"}
				if m.trySource != nil {
					out, err = m.lookAtSource(ctx)
				}
				obs.Done, obs.Found = obs.Done && out.Done, obs.Found+"; "+out.Found
			}
			obs.Would = "start again what has stopped; what is active on the source is refused"
			return obs, err
		},
		Apply: m.startAll, Undo: m.stopAll, Undone: m.allStopped}
}

// startAll starts every driver on the target for which the source is out.
func (m *mover) startAll(ctx context.Context) error {
	if err := m.sourceStillOut(ctx, "run GuardOldServer, or switch the source off, and run again"); err != nil {
		return err
	}
	return m.each(ctx, func(ctx context.Context, driver string) error {
		if err := m.sourceInactive(ctx, driver); err != nil {
			return err
		}
		return m.startOn(ctx, m.Target, driver)
	})
}

func (m *mover) stopAll(ctx context.Context) error {
	return m.each(ctx, func(ctx context.Context, driver string) error { return m.stopOn(ctx, m.Target, driver) })
}

func (m *mover) allStopped(ctx context.Context) (failover.Observation, error) {
	return m.look(ctx, "stopped on the target", row(m.Target.State, is(StateStopped)))
}
