package idm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
)

// sourceInactive refuses to go on for a driver that could be active on the source. Where the source is gone, the typed
// statement stands in its place.
func (m *mover) sourceInactive(ctx context.Context, driver string) error {
	if m.source == nil {
		return nil
	}
	st, err := m.source.Status(ctx, driver)
	switch {
	case away(ctx, err):
		// An earlier step observed it stopped and disabled, and the start option outlives a restart.
		failover.Progress(ctx, commonName(driver)+": the source does not answer any more; it was observed disabled")
		return nil
	case err != nil:
		return notApplied(err)
	case !st.out():
		return unmet("start driver", driver, "stop and disable it on the source, by GuardOldServer or where it is not enabled "+
			"on the target yet by hand, and run again",
			"it is "+st.String()+" on "+m.source.DN())
	}
	return nil
}

func (m *mover) sourceActive() failover.Step {
	runs := func(st DriverStatus) bool { return st.State == StateRunning && st.Option.enabled() }
	return m.looks("running on the source", "", row(m.source.Status, runs)).Step(failover.Step{ID: "source-active",
		Title: "Check that the drivers run on the source", Target: m.sourceDN, Kind: failover.Check,
		Guards: untilStop, // which makes it untrue
		Source: ours + "compare and swap: nothing moves when the drivers are not where the operator believes them to be"})
}

// stop stops the drivers on the source and notes time and start options first.
func (m *mover) stop() failover.Step {
	return failover.Step{ID: stepStop, Writes: []string{factNoted.Name, factResyncedBack.Name},
		Title: "Note the time and stop the drivers on the source", Target: m.sourceDN, Kind: failover.Change,
		Timeout: m.allDrivers(m.StopTimeout), Poll: m.Poll,
		Source: fromVendor + `cache relocation: "note the time", stop, and synchronize from the noted time afterwards`,
		Observe: noted(factNoted, m.looks("stopped on the source", "note the time and the start options, then stop them",
			row(m.source.State, is(StateStopped)))),
		Apply: func(ctx context.Context) error {
			if _, err := factNoted.Capture(ctx, m.note); err != nil {
				return err
			}
			return m.each(ctx, func(ctx context.Context, driver string) error { return m.stopOn(ctx, m.source, driver) })
		},
		Undo: undoing(factNoted, func(ctx context.Context, n stopNote) error {
			missed, err := m.missed(ctx)
			if err != nil {
				return notApplied(err)
			}
			return m.each(ctx, func(ctx context.Context, driver string) error {
				if !n.States[driver].up() {
					return nil
				}
				if err := m.targetInactive(ctx, driver); err != nil {
					return err
				}
				if err := m.startOn(ctx, m.source, driver); err != nil || !missed {
					return err
				}
				return behind.Effect(m.catchUp(ctx, m.source, driver, m.notedTime, factResyncedBack))
			})
		}),
		Undone: undone(factNoted, func(ctx context.Context, n stopNote) (failover.Observation, error) {
			missed, err := m.missed(ctx)
			asked, errAsked := factResyncedBack.Load(ctx)
			if err = errors.Join(err, errAsked); err != nil {
				return failover.Observation{}, err
			}
			return m.look(ctx, "as they were on the source", func(ctx context.Context, driver string) (failover.Item, error) {
				s, err := m.source.State(ctx, driver)
				item := failover.Item{Done: s == StateRunning || !n.States[driver].up(), Found: s.String()}
				if _, caughtUp := asked[driver]; missed && n.States[driver].up() && !caughtUp {
					item.Done, item.Found = false, item.Found+", not asked to synchronize what went past it"
				}
				return item, err
			})
		})}
}

// missed reports whether events that are to be caught up went past the queues of the source: the drivers were disabled
// there, and whether the target had them nobody knows.
func (m *mover) missed(ctx context.Context) (bool, error) {
	_, disabled, err := factDisabled.Load(ctx)
	return disabled && m.gap == GapClose, err
}

// note reads what stands on the source. The time is this machine's, or that of the source where it is behind: objects
// carry the servers' time. The margin covers how far those differ.
func (m *mover) note(ctx context.Context) (stopNote, error) {
	n := stopNote{At: time.Now().UTC().Truncate(time.Second), Oldest: map[string]time.Time{}, Unread: map[string]string{},
		Options: map[string]StartOption{}, States: map[string]State{}}
	var err error
	if n.Engine, err = m.source.EngineVersion(ctx); err != nil {
		return n, notApplied(err)
	}
	type standing struct {
		DriverStatus
		oldest time.Time
		unread string
	}
	all, err := ofEach(ctx, m.Limit, m.Drivers, func(ctx context.Context, driver string) (standing, error) {
		st, err := m.source.Status(ctx, driver)
		if err != nil {
			return standing{}, err
		}
		// Its queue ends with the driver being disabled here. Figures that cannot be read are no reason not to stop.
		stats, err := m.source.Stats(ctx, driver)
		unread := ""
		switch {
		case err != nil && ctx.Err() == nil:
			unread, err = err.Error(), nil
		case st.Option != st.Option.settable():
			unread = "its cache has overflowed"
		case stats.CacheBytes != 0 && stats.Oldest.IsZero():
			unread = fmt.Sprintf("%d bytes waited, and the server does not tell since when", stats.CacheBytes)
		}
		oldest := stats.Oldest
		if oldest.IsZero() || !stats.At.IsZero() && stats.At.Before(oldest) {
			oldest = stats.At
		}
		return standing{st, oldest, unread}, err
	})
	for driver, st := range all {
		n.Options[driver], n.States[driver] = st.Option, st.State
		if !st.oldest.IsZero() {
			n.Oldest[driver] = st.oldest.UTC()
		}
		if st.unread != "" {
			n.Unread[driver] = st.unread
		}
	}
	return n, notApplied(err)
}

// stopOn stops a driver and waits until it has stopped.
func (m *mover) stopOn(ctx context.Context, s *Server, driver string) error {
	ctx, cancel := context.WithTimeout(ctx, m.StopTimeout)
	defer cancel()
	state, err := s.State(ctx, driver)
	if err != nil {
		return notApplied(err)
	}
	var refused error
	accepted := false
	for {
		switch {
		case err != nil, state == StateStopping:
		case state == StateStopped:
			return nil
		case !accepted:
			// Invalid request may pass: one that starts may not be stoppable yet, and must not be left running.
			if refused = s.Stop(ctx, driver); refused != nil && !errors.Is(refused, ErrWrongState) {
				return refused
			}
			accepted = refused == nil
		}
		if waitErr := pause(ctx, m.Poll); waitErr != nil {
			if refused != nil {
				return refused
			}
			return inDoubt("stop driver", driver,
				"look at the driver's trace on "+s.DN()+"; a shim that ignores the request is cut off after a minute",
				fmt.Errorf("%w: last seen %s: %w", failover.ErrNotObserved, state, errors.Join(waitErr, err)))
		}
		var now State
		if now, err = s.State(ctx, driver); err == nil {
			state = now
		}
	}
}

// targetInactive refuses to bring the source back while the target could still be active.
func (m *mover) targetInactive(ctx context.Context, driver string) error {
	st, err := m.Target.Status(ctx, driver)
	if err != nil {
		return notApplied(err)
	}
	if st.State != StateStopped {
		return unmet("bring back driver", driver, "stop it on the target first", "it is "+st.String()+" on "+m.Target.DN())
	}
	return nil
}

func (m *mover) disableSource() failover.Step {
	looks := m.looks("disabled on the source", "set them to Disabled on "+m.sourceDN,
		row(m.source.StartOption, is(StartDisabled)))
	return failover.Step{ID: "disable-source", Writes: []string{factDisabled.Name, factQueues.Name},
		Title: "Disable the drivers on the source", Target: m.sourceDN,
		Kind: failover.Change, Timeout: m.allDrivers(m.StopTimeout), Poll: m.Poll,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			obs, err := looks.Look(ctx, looks.Observe)
			queues, errQueues := m.queues(ctx, m.sourceDN)
			obs.Note = queues
			return obs, errors.Join(err, errQueues)
		},
		Source: fromWiki + `"Be sure your original server doesn't come up with the drivers running until you are ready"; the start option is a value of that server alone`,
		Apply: func(ctx context.Context) error {
			if _, err := factDisabled.Capture(ctx,
				func(context.Context) (time.Time, error) { return time.Now().UTC(), nil }); err != nil {
				return err
			}
			// A server that was restarted since the stop has started its drivers again: they are stopped once more.
			return m.each(ctx, func(ctx context.Context, driver string) error {
				return m.silenceOn(ctx, m.source, driver)
			})
		},
		Undo: undoing(factNoted, func(ctx context.Context, n stopNote) error {
			return m.each(ctx, func(ctx context.Context, driver string) error {
				if err := m.targetInactive(ctx, driver); err != nil {
					return err
				}
				return m.source.SetStartOption(ctx, driver, n.Options[driver].settable(), ResyncNone)
			})
		}),
		Undone: undone(factNoted, func(ctx context.Context, n stopNote) (failover.Observation, error) {
			return m.lookOptions(ctx, m.source, func(driver string) (StartOption, bool) {
				option, was := n.Options[driver]
				return option.settable(), was
			})
		})}
}

func (m *mover) sourceQuiet() failover.Step {
	see := row(m.source.Status, DriverStatus.out)
	return failover.Step{ID: "source-quiet", Title: "Observe that every driver is stopped and disabled on the source",
		Target: m.sourceDN, Kind: failover.Check, Firm: true, Guards: untilAuto,
		Source: fromVendor + `"both active is not recommended": the same events in two queues corrupt data`,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			_, seen, err := factBefore.Load(ctx) // written behind this step
			if err != nil {
				return failover.Observation{}, err
			}
			return m.look(ctx, "stopped and disabled on the source",
				func(ctx context.Context, driver string) (failover.Item, error) {
					item, err := see(ctx, driver)
					if seen && away(ctx, err) {
						// The start option outlives a restart, and a source that has died must not keep the target from starting.
						return failover.Item{Done: true, Found: "the source does not answer any more; it was seen stopped and disabled"},
							nil
					}
					return item, err
				})
		}}
}
