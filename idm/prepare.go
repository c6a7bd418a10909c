package idm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	if !containsDN(slices.Collect(maps.Keys(c.Manifest.PerServer)), sourceDN) {
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
// with its own values and passwords, its drivers disabled. It ends before the trial, which its lock would keep out.
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
			[]failover.Step{m.sourceEnabled(), m.keepExport(o.Export), m.inSet(), m.engineServes(), m.targetPassive(),
				m.disableOnTarget(), m.copyData(o.OnRequest)},
			m.passwords(), m.references())},
	}, nil
}

func (m *mover) health() failover.Step {
	return failover.Step{ID: "health", Title: "Look at time and replication between the servers", Target: m.DriverSet,
		Kind:   failover.Manual,
		Source: fromVendor + "preconditions: time in sync, replica ring healthy",
		Help: "In iMonitor on both servers look at Agent Synchronization and at the partitions of the drivers: no errors, " +
			"time in sync, no old obituaries. On " + m.Target.DN() + " see that every shim of the source is installed " +
			"(jar files and native modules)."}
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

func (m *mover) copyData(onRequest []string) failover.Step {
	o := ServerDataOptions{DriverSet: m.DriverSet, Drivers: m.Drivers, OnRequest: onRequest}
	return failover.Step{ID: stepCopy, Title: "Copy the per-server values from the source to the target",
		Target: m.Target.DN(), Kind: failover.Change, Poll: m.Poll, Timeout: m.allDrivers(m.StopTimeout),
		Source: fromWiki + `"Once that server is in the DriverSet you can click on a driver and 'Copy Data' from the source server to the destination server so that the second server has the server-specific information that does not replicate."`,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			r, err := compareServerData(ctx, m.source, m.Target, o)
			if err != nil {
				return failover.Observation{}, err
			}
			obs := failover.Observation{Done: r.Equal(),
				Found: fmt.Sprintf("%d values of %d objects differ", len(r.Differences), r.Objects),
				Would: "write the source's values on the target; start option, state and passwords are not copied"}
			for _, group := range groupByObject(r.Differences) {
				obs.Items = append(obs.Items, failover.Item{Target: group[0].Object, Found: differenceText(group)})
			}
			var byHand []string
			for _, group := range groupByObject(r.ByHand) {
				obs.Items = append(obs.Items,
					failover.Item{Target: group[0].Object, Done: true, Found: "by hand: " + differenceText(group)})
				for _, d := range group {
					byHand = append(byHand, commonName(d.Object)+" "+d.Attribute)
				}
			}
			if len(byHand) > 0 {
				obs.Note = "not copied, to be decided by hand: " + strings.Join(byHand, ", ")
			}
			return obs, nil
		},
		Apply: func(ctx context.Context) error {
			_, err := CopyServerData(ctx, m.source, m.Target, o)
			return err
		},
		// The values lie on a server whose drivers are disabled; they do nothing there.
		Undo: failover.NothingToUndo}
}

func (m *mover) positions() failover.Step {
	return failover.Step{ID: "positions", Title: "Decide from which position in its application each shim goes on",
		Target: m.Target.DN(), Kind: failover.Manual,
		Source: "vendor KB 7000882: DirXML-DriverStorage is removed where a driver moves to another server",
		Help: "In the plan, " + stagePrepare + "/" + stepCopy + " names the drivers whose DirXML-DriverStorage on " +
			m.Target.DN() + " is another than on the server they run on: it is the shim's position from before the crash, " +
			"and a shim that goes on from there reads again or misses. For each of them keep it, or remove the value on " +
			m.Target.DN() + ", as the shim's guide says. To have it copied name DirXML-DriverStorage in OnRequest, and run " +
			"again before you confirm. If the plan names none, there is nothing to do."}
}

func differenceText(list []ServerDifference) string {
	texts := make([]string, len(list))
	for i, d := range list {
		texts[i] = d.String()
	}
	return strings.Join(texts, "; ")
}
