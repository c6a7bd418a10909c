package idm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
)

// KeptExport is an export kept for a bad day.
type KeptExport struct {
	Path   string        // the file [Server.SaveExport] wrote; the manifest lies beside it
	MaxAge time.Duration // the oldest that counts as current
}

func (k KeptExport) validate(field string) error {
	if k.Path == "" {
		return failover.Invalid(field+".Path", "is empty", "name the file of the export")
	}
	if k.MaxAge <= 0 {
		return failover.Invalid(field+".MaxAge", fmt.Sprintf("is %s", k.MaxAge), "say how old an export may be")
	}
	return nil
}

// check looks at the file; the drivers moved must be in it.
func (k KeptExport) check(now time.Time, sourceDN string, drivers []string) failover.Observation {
	c := CheckExport(k.Path, now, k.MaxAge)
	obs := failover.Observation{Done: c.Good(),
		Found: fmt.Sprintf("%s: present %t, complete %t, too old %t", k.Path, c.Present, c.Complete, c.Stale),
		Note:  c.String()}
	if !c.Present || !c.Complete {
		return obs
	}
	if servers := slices.Collect(maps.Keys(c.Manifest.PerServer)); !containsDN(append(servers, c.Manifest.Server), sourceDN) {
		obs.Done, obs.Found = false, obs.Found+"; it holds no values of "+sourceDN
	}
	for _, driver := range drivers {
		if !slices.ContainsFunc(c.Manifest.Drivers, func(d ManifestDriver) bool { return SameDN(d.DN, driver) }) {
			obs.Done, obs.Found = false, obs.Found+"; "+driver+" is not in it"
		}
	}
	return obs
}

// PrepareOptions says what is prepared.
type PrepareOptions struct {
	Route                // Target is the standby
	Source    *Server    // the server the drivers run on
	Export    KeptExport // where the export is kept, and how old it may be
	OnRequest []string   // see ServerDataOptions
}

// Prepare is step 0 of the published failover, done while all is well: replicas, exports, the standby in the driver set
// with its own values and passwords, its drivers disabled. It touches nothing on the source and causes no outage. It is
// to be repeated after every change of configuration. What it prepared is proven only by a start: move the drivers in a
// quiet hour with [Switchover] and [Failback], which a run that waited for that would keep from their lock.
func Prepare(o PrepareOptions) (failover.Procedure, error) {
	stages, err := PrepareStages(o)
	if err != nil {
		return failover.Procedure{}, err
	}
	return o.procedure("idm.Prepare", o.Source.DN(), stages, failover.Parameter{Name: "export", Value: o.Export.Path})
}

// PrepareStages returns the stages of [Prepare]. It refuses options that could not work, and touches nothing.
func PrepareStages(o PrepareOptions) (Stages, error) {
	m, err := o.mover("PrepareOptions", o.Source, o.OnRequest)
	if err == nil {
		err = o.Export.validate("PrepareOptions.Export")
	}
	if err != nil {
		return Stages{}, err
	}
	m.needed, m.served = untilPrepared, untilPrepared // what was prepared counts only while they hold
	return Stages{
		Check: failover.Stage{Name: "check", Steps: []failover.Step{m.servers(), m.rights(), m.replicas(), m.health()}},
		Prepare: failover.Stage{Name: stagePrepare, Steps: slices.Concat(
			[]failover.Step{m.keepExport(o.Export), m.inSet(), m.engineServes(), m.sourceEnabled(), m.targetPassive(),
				m.disableOnTarget(), m.copyData(o.OnRequest)},
			m.passwords(), m.references())},
	}, nil
}

func (m *mover) health() failover.Step {
	return failover.Step{ID: "health", Title: "Look at time and replication between the servers", Target: m.DriverSet,
		Kind:   failover.Manual,
		Source: fromVendor + "preconditions: time in sync, replica ring healthy",
		Help: "In iMonitor on both servers look at Agent Synchronization and at the partitions of the drivers: no errors, " +
			"time in sync, no old obituaries. On " + m.Target.DN() + " see that every shim of the source is installed (jar files and native modules)."}
}

func (m *mover) keepExport(k KeptExport) failover.Step {
	return failover.Step{ID: "export", Title: "Keep a working export of the drivers with the source's values",
		Target: k.Path, Kind: failover.Change, Poll: m.Poll, Timeout: time.Hour,
		Source: fromWiki + `"ALWAYS have working exports of all your drivers."`,
		Observe: func(context.Context) (failover.Observation, error) {
			obs := k.check(time.Now(), m.sourceDN, m.Drivers)
			obs.Would = "export " + m.DriverSet + " from the source"
			return obs, nil
		},
		Apply: func(ctx context.Context) error {
			_, err := m.source.SaveExport(ctx, k.Path, ExportOptions{Base: m.DriverSet})
			return err
		},
		Undo: failover.NothingToUndo}
}
