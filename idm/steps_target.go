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

// Where the steps come from. The wiki is ldapwiki's "IDM Driver Failover", the vendor's own way of the move as prose.
const (
	fromWiki   = `ldapwiki "IDM Driver Failover": `
	fromVendor = "Identity Manager documentation: "
	ours       = "ours: "
)

func (m *mover) servers() failover.Step {
	return failover.Step{ID: "servers",
		Title:  "Check that the right servers answer and the target's engine is as new as the source's",
		Target: m.Target.DN(), Kind: failover.Check, Firm: true, Guards: m.served,
		Source: fromVendor + `"the target server must have the same or a newer version of the engine"; an older one stops drivers that use newer features`,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			target, err := m.Target.EngineVersion(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			found := fmt.Sprintf("%s runs engine %s", m.Target.DN(), target)
			if m.source == nil {
				return failover.Observation{Done: true, Found: found + "; the source cannot be asked"}, nil
			}
			// Once the drivers were stopped, the source may go: what it ran was noted then.
			n, _, err := factNoted.Load(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			source := n.Engine
			if source == 0 {
				if source, err = m.source.EngineVersion(ctx); err != nil {
					return failover.Observation{}, err
				}
			}
			found += fmt.Sprintf(", %s runs engine %s", m.source.DN(), source)
			return failover.Observation{Done: target.Release() >= source.Release(), Found: found}, nil
		}}
}

func (m *mover) rights() failover.Step {
	return failover.Step{ID: "rights", Title: "Check the rights of the user on the driver set", Target: m.Target.DN(),
		Kind: failover.Check, Guards: m.needed,
		Source: fromVendor + "the DirXML-Access… attributes guard the operations; a missing one ends in -672 half-way",
		Observe: func(ctx context.Context) (failover.Observation, error) {
			var rows []failover.Item
			for _, s := range []*Server{m.source, m.Target} {
				if s == nil {
					continue
				}
				missing, err := s.MissingRights(ctx, m.DriverSet)
				row := failover.Item{Target: s.DN(), Done: len(missing) == 0, Found: "all rights"}
				switch {
				case unsupported(err) || errors.Is(err, ErrNoAttribute):
					row.Done, row.Found = false, "does not tell rights in a known form: look in iManager, and waive"
				case err != nil:
					return failover.Observation{}, err
				case len(missing) > 0:
					row.Found = "no right on " + strings.Join(missing, ", ")
				}
				rows = append(rows, row)
			}
			return summary(rows, "servers give the rights needed"), nil
		}}
}

func (m *mover) replicas() failover.Step {
	return failover.Step{ID: "replicas", Title: "Check that the target holds the replicas the drivers need",
		Target: m.Target.DN(), Kind: failover.Check, Guards: m.served,
		Source: fromWiki + `"Make sure all replicas are added to the machine."`,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			wanted := append([]string{m.DriverSet, m.Target.DN()}, m.Holds...)
			var rows []failover.Item
			for i, dn := range wanted {
				r, err := m.Target.ReplicaOf(ctx, dn)
				row := failover.Item{Target: dn}
				switch {
				case errors.Is(err, ErrNoEntry):
					row.Found = "not to be seen here: check the name and the rights of the user; then see whether it has a replica"
				case errors.Is(err, ErrWrongServer):
					row.Found = "no replica here: add a read/write replica with iManager or ndsrepair, and wait until it is on"
				case unsupported(err):
					row.Found = "the server does not tell its replicas in a known form: look with iMonitor, and waive"
				case err != nil:
					return failover.Observation{}, err
				default:
					// The driver set and the server's own object need a full replica; a filtered one may do for data.
					fits := r.Type.Full() || i > 1 && r.Type == replicaFilteredWrite
					row.Done, row.Found = r.On && fits, r.String()
				}
				rows = append(rows, row)
			}
			obs := summary(rows, "needed replicas held")
			behind, known, err := m.Target.RingDelta(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			// With a server gone, the rings it belongs to are behind by the time it has been gone.
			row := failover.Item{Target: m.Target.DN(), Done: m.source == nil || known && behind <= ringLimit,
				Found: fmt.Sprintf("its replicas are up to %s behind their rings", behind)}
			if !known {
				row.Found = "it does not tell how far its replicas are behind their rings"
			}
			obs.Items = append(obs.Items, row)
			if !row.Done {
				obs.Done, obs.Found = false, obs.Found+"; "+row.Found+": see in iMonitor that they synchronize"
			}
			return obs, nil
		}}
}

// ringLimit is how far the target's replicas may be behind while both servers are well (ours; that a quiet ring
// synchronizes more often is inferred).
const ringLimit = 2 * time.Hour

func (m *mover) inSet() failover.Step {
	return failover.Step{ID: "add-server", Title: "Add the target to the driver set", Target: m.Target.DN(),
		Kind: failover.Change, Poll: m.Poll,
		Source: fromWiki + `"Before things go amiss add your second failover server to your DriverSet (unless you add the server after the crash, then do this first thing once you get IDM installed on the server)."`,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			set, err := m.Target.AssociatedDriverSet(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			list, err := m.Target.ServerList(ctx, m.DriverSet)
			if err != nil {
				return failover.Observation{}, err
			}
			switch in := containsDN(list, m.Target.DN()); {
			// In another form of name it proves nothing of a server that is in the list.
			case set != "" && !SameDN(set, m.DriverSet) && (!in || checkDN("driver set", set) == nil):
				return failover.Observation{}, unmet("add server to", m.DriverSet, "choose another target, or look in iManager "+
					"which driver set that is, and with an export of it at hand put the server from there into this one",
					m.Target.DN()+" belongs to driver set "+set+", and a server has one at a time")
			case in:
				// The engine itself may know it only after a restart: the next step sees to that.
				return failover.Observation{Done: true, Found: "the target is in the server list of " + m.DriverSet}, nil
			}
			return failover.Observation{Found: "the target is not in " + m.DriverSet,
				Would: "associate " + m.Target.DN() + " with it"}, nil
		},
		Apply: func(ctx context.Context) error {
			err := m.Target.AssociateDriverSet(ctx, m.DriverSet)
			if errors.Is(err, ErrNotSupported) {
				// The other way that was seen; the engine takes it up when it is loaded again, which the next step sees to.
				return m.Target.AddToServerList(ctx, m.DriverSet, m.Target.DN())
			}
			return err
		},
		// Whether leaving a driver set wipes the server's values is not published, so an undo leaves the server in it: a
		// server that stays there with disabled drivers does nothing.
		Undo: failover.NothingToUndo}
}

func (m *mover) engineServes() failover.Step {
	return m.looks("drivers served", "", func(ctx context.Context, driver string) (failover.Item, error) {
		o, err := m.Target.StartOption(ctx, driver)
		if notServed(err) {
			return failover.Item{Found: err.Error()}, nil
		}
		return failover.Item{Done: true, Found: o.String()}, err
	}).Step(failover.Step{ID: "engine-serves", Title: "Have the target's engine serve the drivers", Target: m.Target.DN(),
		Kind: failover.Manual, Wait: true, Timeout: m.allDrivers(m.StartTimeout), Poll: m.Poll,
		Source: "seen in published code: the engine picks up a driver set when it is loaded; the vendor's installer " +
			"restarts ndsd after the association",
		Help: "Restart the directory service of " + m.Target.DN() + " (ndsmanage stopall; ndsmanage startall, or systemctl " +
			"restart ndsd; on a machine with several instances that one alone). Its engine serves the driver set only after " +
			"that. The run then waits until it answers for each driver."})
}

// sourceEnabled is the check that the drivers belong on the source: what is disabled or overwritten on the target must
// not be what is in use.
func (m *mover) sourceEnabled() failover.Step {
	return m.looks("enabled on the source", "", row(m.source.StartOption, StartOption.enabled)).Step(failover.Step{
		ID: "source-enabled", Title: "Check that the drivers are enabled on the source", Target: m.sourceDN,
		Kind: failover.Check, Firm: true, Guards: untilCopy,
		Source: fromVendor + `start options: "Disabled: no events are cached"; a driver that is disabled here has its events elsewhere`})
}

// targetPassive is the check that the target is the passive server. A driver that is stopped there, enabled and with a
// queue is active: disabling it would lose the queue.
func (m *mover) targetPassive() failover.Step {
	step := m.targetQuiet()
	step.ID, step.Firm, step.Guards = "target-passive", true, untilCopy
	step.Title = "Check that no driver runs on the target and no events wait there"
	return step
}

func (m *mover) disableOnTarget() failover.Step {
	see := row(m.Target.Status, DriverStatus.out)
	return m.looks("disabled and stopped on the target", "disable them on "+m.Target.DN(),
		func(ctx context.Context, driver string) (failover.Item, error) {
			item, err := see(ctx, driver)
			if notServed(err) {
				return failover.Item{Found: "not served yet"}, nil
			}
			return item, err
		}).Step(failover.Step{ID: "keep-disabled", Title: "Keep the drivers disabled on the target", Target: m.Target.DN(),
		Kind: failover.Change, Poll: m.Poll,
		Source: fromVendor + `"A driver must run on one server only; disable it on the others": a standby on Manual would cache events for ever`,
		Apply: m.forEach(func(ctx context.Context, driver string) error {
			st, err := m.Target.Status(ctx, driver)
			if err != nil {
				return notApplied(err)
			}
			if st.State != StateStopped {
				return unmet("disable driver", driver, "find out on which server the driver should run before going on",
					"it is "+st.State.String()+" on the standby")
			}
			if err := passive(ctx, m.source, m.Target, st); err != nil {
				return err
			}
			return m.Target.SetStartOption(ctx, driver, StartDisabled, ResyncNone)
		}),
		// An undo leaves them disabled: that is the state in which two servers cannot run the same driver.
		Undo: failover.NothingToUndo})
}

func (m *mover) targetQuiet() failover.Step {
	return m.looks("quiet on the target", "", func(ctx context.Context, driver string) (failover.Item, error) {
		st, err := m.Target.Status(ctx, driver)
		switch {
		case err != nil || st.out():
			return failover.Item{Done: true, Found: st.String()}, err
		case st.State != StateStopped:
			// With the source proven inactive later on, a driver that runs here already is an earlier run's work.
			return failover.Item{Done: m.source == nil, Found: st.String()}, nil
		}
		queue, err := m.Target.queued(ctx, driver)
		return failover.Item{Done: queue == "", Found: st.String() + ", " + cmp.Or(queue, nothingWaits)}, err
	}).Step(failover.Step{ID: "target-quiet",
		Title:  "Check that the drivers are disabled on the target, or wait there with an empty cache",
		Target: m.Target.DN(), Kind: failover.Check,
		Guards: untilEnable, // from then on they cache what they will have to send
		Source: fromVendor + `start options: "Manual: events are cached"; a standby left on Manual would send every event a second time`})
}

func (m *mover) enable() failover.Step {
	return failover.Step{ID: stepEnable, Writes: []string{factBefore.Name}, Shares: []string{factQueues.Name},
		Title: "Enable the drivers on the target: Manual, without synchronization", Target: m.Target.DN(),
		Kind: failover.Change, Poll: m.Poll,
		Source: fromWiki + `"Enable the drivers on the new server. Set them to Manual (later, when all id good, change to Auto-Start). When changing from Disabled to Manual/Auto-Start choose to NOT synchronize data (use the checkbox) and then click Apply/Ok."`,
		// What is noted here says how to go back, and that the source was out at this moment.
		Observe: noted(factBefore, m.looks("enabled on the target",
			"note their start options, set them to Manual and choose not to synchronize",
			row(m.Target.optionIfServed, StartOption.enabled))),
		Apply: func(ctx context.Context) error {
			if err := m.sourceStillOut(ctx,
				"switch the source off and run again; or undo this run and use Switchover"); err != nil {
				return err
			}
			if _, err := factBefore.Capture(ctx, m.targetOptions); err != nil {
				return err
			}
			return m.each(ctx, func(ctx context.Context, driver string) error {
				if err := m.sourceInactive(ctx, driver); err != nil {
					return err
				}
				o, err := m.Target.StartOption(ctx, driver)
				if err != nil || o != StartDisabled {
					return notApplied(err)
				}
				return m.Target.SetStartOption(ctx, driver, StartManual, ResyncNone)
			})
		},
		Undo: undoing(factBefore, func(ctx context.Context, before map[string]StartOption) error {
			return m.each(ctx, func(ctx context.Context, driver string) error {
				if before[driver] != StartDisabled {
					return nil // it was enabled here before the run
				}
				return m.disable(ctx, m.Target, driver)
			})
		}),
		Undone: undone(factBefore, func(ctx context.Context, before map[string]StartOption) (failover.Observation, error) {
			obs, err := m.lookOptions(ctx, m.Target,
				func(driver string) (StartOption, bool) { return StartDisabled, before[driver] == StartDisabled })
			queues, errQueues := m.queues(ctx, m.Target.DN())
			obs.Found = strings.TrimSuffix(obs.Found+"; "+queues, "; ")
			return obs, errors.Join(err, errQueues)
		})}
}

// lookOptions sees whether the drivers have the start options that an undo gives back; the bool of want is false where
// any will do.
func (m *mover) lookOptions(ctx context.Context, s *Server, want func(driver string) (StartOption, bool)) (
	failover.Observation, error) {
	return m.look(ctx, "with the start option they had on "+s.DN(),
		func(ctx context.Context, driver string) (failover.Item, error) {
			o, err := s.StartOption(ctx, driver)
			back, matters := want(driver)
			return failover.Item{Done: !matters || o.settable() == back, Found: o.String()}, err
		})
}

func (m *mover) targetOptions(ctx context.Context) (map[string]StartOption, error) {
	options, err := ofEach(ctx, m.Limit, m.Drivers, m.Target.StartOption)
	for driver, o := range options {
		options[driver] = o.settable()
	}
	return options, notApplied(err)
}

func (m *mover) confirmGood() failover.Step {
	return failover.Step{ID: "all-good", Title: "Say that all is good before the drivers start by themselves",
		Target: m.Target.DN(), Kind: failover.Manual,
		Source: fromWiki + `"Set them to Manual (later, when all id good, change to Auto-Start)."`,
		Help: "Look at each driver for as long as it takes: events arrive in the application and come back, the trace on " +
			m.Target.DN() + " shows no errors, the cache does not grow, jobs ran, the partner of an eDir-to-eDir driver has " +
			"this server's address. What happened in an application meanwhile comes when the publisher polls; for a shim that " +
			"does not poll, migrate it. What was deleted while the drivers were down is not synchronized afterwards: the saved " +
			"caches name what waited. Then confirm. Until then a restart of the server leaves the drivers stopped, with their " +
			"events cached."}
}

// finalOption is Auto, or Manual where the source had it by somebody's choice: as noted when it was stopped or, where
// it is gone, as an export taken from it noted it. Without either nobody knows, and it is Auto as the published
// procedure has it.
func (m *mover) finalOption(ctx context.Context, driver string) (StartOption, error) {
	n, known, err := factNoted.Load(ctx)
	manual := n.Options[driver].settable() == StartManual
	if err == nil && !known {
		var kept Manifest
		kept, err = m.exportManifest()
		manual = slices.ContainsFunc(kept.Drivers, func(d ManifestDriver) bool {
			return SameDN(d.DN, driver) && SameDN(kept.Server, m.sourceDN) &&
				(d.StartOption == StartManual.String() || d.StartOption == StartOverflowManual.String())
		})
	}
	if manual {
		return StartManual, err
	}
	return StartAuto, err
}

func (m *mover) auto() failover.Step {
	see := func(ctx context.Context, driver string) (failover.Item, error) {
		want, err := m.finalOption(ctx, driver)
		if err != nil {
			return failover.Item{}, err
		}
		o, err := m.Target.optionIfServed(ctx, driver)
		if err == nil && o != want {
			// The option of the moment changes with the steps before; a plan that was approved stands all the same.
			return failover.Item{Found: "not with its final start option yet"}, nil
		}
		return failover.Item{Done: o == want, Found: o.String()}, err
	}
	return m.looks("with their final start option on the target", "set them to Auto, or to Manual where that is known of the source",
		see).Step(failover.Step{ID: stepAuto, Title: "Let the drivers start by themselves on the target",
		Target: m.Target.DN(), Kind: failover.Change, Poll: m.Poll,
		Source: fromWiki + `"later, when all id good, change to Auto-Start"`,
		Apply: m.forEach(func(ctx context.Context, driver string) error {
			want, err := m.finalOption(ctx, driver)
			if err != nil {
				return notApplied(err)
			}
			return m.Target.SetStartOption(ctx, driver, want, ResyncNone)
		}),
		Undo: func(ctx context.Context) error {
			before, _, err := factBefore.Load(ctx)
			if err != nil {
				return notApplied(err)
			}
			return m.each(ctx, func(ctx context.Context, driver string) error {
				return m.Target.SetStartOption(ctx, driver, beforeAuto(before, driver), ResyncNone)
			})
		},
		Undone: undone(factBefore, func(ctx context.Context, before map[string]StartOption) (failover.Observation, error) {
			return m.lookOptions(ctx, m.Target,
				func(driver string) (StartOption, bool) { return beforeAuto(before, driver), true })
		})})
}

// beforeAuto is the start option a driver had on the target before the last step: Manual, or what it had there before
// the run.
func beforeAuto(before map[string]StartOption, driver string) StartOption {
	return cmp.Or(before[driver], StartManual)
}
