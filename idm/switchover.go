package idm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
)

// SwitchoverOptions says what is moved while both servers are well.
type SwitchoverOptions struct {
	Route
	// Source is the server the drivers run on now.
	Source *Server
	// CacheDir is the folder for the events that wait on the source, one file for each driver, named by driver, driver
	// set, source and time of the stop. They hold what users' data hold: the files are readable by this user only. ""
	// saves none; the gap is closed by time in any case.
	CacheDir string
	// OnRequest names per-server values to be copied only on request, see [ServerDataOptions].
	OnRequest []string
	// Gap says whether what changed since the stop is synchronized: on the target, and on the source when the move is
	// undone after the drivers were disabled there.
	Gap GapPolicy
}

// Switchover moves the drivers in a planned way: they are stopped and disabled on the source, which is observed, before
// anything is enabled on the target. It can be undone until [Failback] is the better way.
func Switchover(o SwitchoverOptions) (failover.Procedure, error) {
	stages, err := SwitchoverStages(o)
	return o.moved("idm.Switchover", stages, err)
}

// SwitchoverStages returns the stages of [Switchover]. It refuses options that could not work, and touches nothing.
func SwitchoverStages(o SwitchoverOptions) (Stages, error) {
	m, err := newSwitch(o)
	if err != nil {
		return Stages{}, err
	}
	return m.away(o, []failover.Step{m.servers(), m.rights(), m.replicas()},
		[]failover.Step{m.inSet(), m.engineServes(), m.sourceActive(), m.targetQuiet(), m.copyData(o.OnRequest)}), nil
}

// Failback moves the drivers back to the server they came from: Source is where they run now, Target is the server that
// has returned.
func Failback(o SwitchoverOptions) (failover.Procedure, error) {
	stages, err := FailbackStages(o)
	return o.moved("idm.Failback", stages, err)
}

// FailbackStages returns the stages of [Failback]. It refuses options that could not work, and touches nothing.
func FailbackStages(o SwitchoverOptions) (Stages, error) {
	m, err := newSwitch(o)
	if err != nil {
		return Stages{}, err
	}
	return m.away(o, []failover.Step{m.servers(), m.returnedQuiet(), m.rights(), m.replicas(), m.health()},
		[]failover.Step{m.inSet(), m.engineServes(), m.sourceActive(), m.positions(), m.copyData(o.OnRequest)}), nil
}

// moved is the procedure of both directions.
func (o SwitchoverOptions) moved(name string, stages Stages, err error) (failover.Procedure, error) {
	if err != nil {
		return failover.Procedure{}, err
	}
	return o.procedure(name, o.Source.DN(), stages, failover.Parameter{Name: "gap", Value: o.Gap.String()})
}

func newSwitch(o SwitchoverOptions) (*mover, error) {
	m, err := o.mover("SwitchoverOptions", o.Source, o.OnRequest)
	if err != nil {
		return nil, err
	}
	if o.Gap != GapClose && o.Gap != GapLeave {
		return nil, failover.Invalid("SwitchoverOptions.Gap", fmt.Sprintf("is %d", o.Gap), "use GapClose or GapLeave")
	}
	m.gap, m.needed, m.served, m.cacheDir = o.Gap, untilStop, untilStart, o.CacheDir
	return m, m.checkCacheDir("SwitchoverOptions.CacheDir")
}

// away returns the stages of both directions: what stands at the head of check and prepare is each one's own.
func (m *mover) away(o SwitchoverOptions, check, prepare []failover.Step) Stages {
	stop := []failover.Step{m.stop()}
	if o.CacheDir != "" {
		stop = append(stop, m.saveCaches())
	}
	return Stages{
		Check:   failover.Stage{Name: "check", Steps: check},
		Prepare: failover.Stage{Name: stagePrepare, Steps: slices.Concat(prepare, m.passwords(), m.references())},
		Stop:    failover.Stage{Name: stageStop, Outage: true, Steps: append(stop, m.disableSource(), m.sourceQuiet())},
		Start:   failover.Stage{Name: stageStart, Outage: true, Steps: []failover.Step{m.enable(), m.start()}},
		Moved:   m.moved(m.notedTime),
		Finish:  m.finish(),
	}
}

// moved is the stage behind the start. since tells where the gap of a driver begins.
func (m *mover) moved(since func(ctx context.Context, driver string) (time.Time, bool, error)) failover.Stage {
	var steps []failover.Step
	if m.gap == GapClose {
		steps = append(steps, m.closeGap(since))
	}
	return failover.Stage{Name: "moved", Steps: append(steps, m.jobs(), m.verify())}
}

func (m *mover) finish() failover.Stage {
	return failover.Stage{Name: stageFinish, Steps: []failover.Step{m.confirmGood(), m.auto()}}
}

// notedTime is when the gap of a driver begins: at the stop, or with the oldest event that waited then and went with
// the source's queue.
func (m *mover) notedTime(ctx context.Context, driver string) (time.Time, bool, error) {
	n, ok, err := factNoted.Load(ctx)
	at := n.At
	if oldest, waited := n.Oldest[driver]; waited && oldest.Before(at) {
		at = oldest
	}
	return at.Add(-m.Margin), ok, err
}

func (m *mover) returnedQuiet() failover.Step {
	see := row(m.Target.Status, DriverStatus.out)
	return m.looks("stopped and disabled on the returned server", "",
		func(ctx context.Context, driver string) (failover.Item, error) {
			item, err := see(ctx, driver)
			switch {
			case notServed(err): // and what would help against that starts what is Auto there
				return failover.Item{
					Found: "not served by its engine: let WatchOldServer run, then have it serve the driver set"}, nil
			case !item.Done:
				item.Found += ": run GuardOldServer"
			}
			return item, err
		}).Step(failover.Step{ID: "returned-quiet",
		Title: "Check that the returned server has every driver stopped and disabled", Target: m.Target.DN(),
		Kind: failover.Check, Firm: true,
		Guards: untilEnable, // which makes it untrue
		Source: fromWiki + `"Be sure your original server doesn't come up with the drivers running until you are ready"`})
}
