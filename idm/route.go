package idm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/waiting"
)

// Defaults of a Route.
const (
	defaultLimit        = 4
	defaultStartTimeout = 3 * time.Minute
	defaultStopTimeout  = 3 * time.Minute // seen: some shims need more than a minute
	defaultSettle       = 10 * time.Second
	defaultMargin       = 5 * time.Minute // clocks differ and events travel
)

// Route says which drivers move to which server, and how patiently. The procedures share it.
type Route struct {
	DriverSet string // DN, required
	// DNs, required: a procedure moves what its plan names, never "all"; list them with [Server.Drivers]
	Drivers []string
	Target  *Server // the server the drivers move to, required

	// Holds names entries or partitions besides the driver set the target must hold a replica of: what the drivers
	// synchronize, templates, what policies read.
	Holds []string
	// Passwords returns the passwords to be set on the target. When it is nil, a person sets them and says so.
	Passwords PasswordSource
	// Secrets are needs known from elsewhere, as a rule those of an export's manifest, in addition to those found.
	Secrets []SecretNeeded

	Limit        int           // drivers worked on at the same time, those that only wait left out; 0 means 4
	StartTimeout time.Duration // per driver; 0 means 3 minutes
	StopTimeout  time.Duration // per driver; 0 means 3 minutes
	Settle       time.Duration // how long a driver must stay up; 0 means 10 s
	Margin       time.Duration // subtracted from the noted time; 0 means 5 minutes
	Poll         time.Duration // between two looks at a driver; 0 means failover.DefaultPoll

	// Lock is the lock of the procedure; nil means a [DirectoryLock] on the driver set through the target.
	Lock failover.Lock
}

func (r Route) withDefaults() (Route, error) {
	if r.Target == nil {
		return r, failover.Invalid("Route.Target", "is nil", "dial the server the drivers move to")
	}
	if len(r.Drivers) == 0 {
		return r, failover.Invalid("Route.Drivers", "is empty", "name each driver; Server.Drivers lists them")
	}
	if err := (ServerDataOptions{DriverSet: r.DriverSet, Drivers: r.Drivers}).validate(); err != nil {
		return r, err
	}
	for i, dn := range r.Drivers {
		if !SameDN(ParentDN(dn), r.DriverSet) {
			return r, failover.Invalid("Route.Drivers", dn+" is not directly in "+r.DriverSet,
				"name drivers, not what is in them")
		}
		if containsDN(r.Drivers[:i], dn) {
			return r, failover.Invalid("Route.Drivers", dn+" appears twice", "name each driver once")
		}
	}
	for _, dn := range r.Holds {
		if err := checkDN("Route.Holds", dn); err != nil {
			return r, err
		}
	}
	for name, d := range map[string]time.Duration{"StartTimeout": r.StartTimeout, "StopTimeout": r.StopTimeout,
		"Settle": r.Settle, "Margin": r.Margin, "Poll": r.Poll} {
		if d < 0 {
			return r, failover.Invalid("Route."+name, fmt.Sprintf("is %s", d), "give a time, or zero for the default")
		}
	}
	if r.Limit < 0 {
		return r, failover.Invalid("Route.Limit", fmt.Sprintf("is %d", r.Limit),
			"allow at least one driver at a time, or zero for the default")
	}
	r.Limit = cmp.Or(r.Limit, defaultLimit)
	r.StartTimeout = cmp.Or(r.StartTimeout, defaultStartTimeout)
	r.StopTimeout = cmp.Or(r.StopTimeout, defaultStopTimeout)
	r.Settle = cmp.Or(r.Settle, defaultSettle)
	r.Margin = cmp.Or(r.Margin, defaultMargin)
	r.Poll = cmp.Or(r.Poll, failover.DefaultPoll)
	return r, nil
}

// procedure makes one of the stages that have steps. Its parameters are what a run that has begun cannot change; what
// is repaired at night is none of it: passwords, limits, folders, the margin, whence the per-server values come.
func (r Route) procedure(name, sourceDN string, stages Stages, more ...failover.Parameter) (failover.Procedure, error) {
	d := r.Target.Dialect()
	p := failover.Procedure{Name: name, Lock: r.Lock, Parameters: append([]failover.Parameter{
		{Name: "driver set", Value: r.DriverSet}, {Name: "drivers", Value: strings.Join(r.Drivers, "; ")},
		{Name: "source", Value: sourceDN}, {Name: "target", Value: r.Target.DN()},
		{Name: "dialect", Value: d.Framing.String() + ", " + d.Resync.String()}}, more...)}
	if p.Lock == nil {
		p.Lock = DirectoryLock{Server: r.Target, Entry: r.DriverSet}
	}
	return stages.procedure(p)
}

// mover builds the steps the procedures have in common. source is nil when the source is gone.
type mover struct {
	Route
	source   *Server
	sourceDN string
	// trySource connects to a source that should be dead; nil where it takes part, or where nobody can tell.
	trySource func(context.Context) (*Server, error)
	gap       GapPolicy // whether what went past a server is caught up, there and by an undo here
	export    string    // file whose manifest lists secrets; "" for none
	cacheDir  string    // folder for the events that wait where a driver is disabled; "" for none
	// tell is told what waits where a driver is about to be disabled; nil keeps it in the journal.
	tell func(driver, queue string)

	// needed and served are the IDs of the steps up to which Checks must hold: of what is to be set right before anything
	// is stopped, and of what the drivers rest on when they start.
	needed, served string
}

// mover checks the options of a move from a server that takes part; options is what errors call them.
func (r Route) mover(options string, source *Server, onRequest []string) (*mover, error) {
	if source == nil {
		return nil, failover.Invalid(options+".Source", "is nil", "dial the server the drivers run on")
	}
	r, err := r.withDefaults()
	if err == nil {
		err = cmp.Or(sameTree(source, r.Target),
			ServerDataOptions{DriverSet: r.DriverSet, Drivers: r.Drivers, OnRequest: onRequest}.validate())
	}
	return &mover{Route: r, source: source, sourceDN: source.DN()}, err
}

// allDrivers returns the time a step over all drivers may take when one may take d.
func (m *mover) allDrivers(d time.Duration) time.Duration {
	batches := (len(m.Drivers) + m.Limit - 1) / m.Limit
	return time.Duration(batches)*d + failover.DefaultTimeout
}

// turns is how many drivers are worked on at the same time. A driver that only waits gives its turn away; see pause.
type turns chan struct{}

type turnsKey struct{}

func self(name string) string { return name }

// each does something for every driver, with the limit; one failure does not stop or hide the others.
func (m *mover) each(ctx context.Context, do func(ctx context.Context, driver string) error) error {
	t := make(turns, m.Limit)
	return failover.EachTarget(context.WithValue(ctx, turnsKey{}, t), len(m.Drivers), m.Drivers, self,
		func(ctx context.Context, driver string) error {
			t <- struct{}{}
			defer func() { <-t }()
			if ctx.Err() != nil {
				return notDone("begin", driver, "run again for this driver", fmt.Errorf("not begun: %w", context.Cause(ctx)))
			}
			err := do(ctx, driver)
			if err == nil {
				failover.Progress(ctx, commonName(driver)+": done")
				return nil
			}
			failover.Progress(ctx, commonName(driver)+": "+err.Error())
			if _, ok := errors.AsType[*failover.Error](err); !ok {
				err = inDoubt("move", driver, "observe the driver", err)
			}
			return err
		})
}

// forEach is the Apply or Undo of a step that does something for every driver.
func (m *mover) forEach(do func(ctx context.Context, driver string) error) func(context.Context) error {
	return func(ctx context.Context) error { return m.each(ctx, do) }
}

// sight looks at one driver.
type sight = func(ctx context.Context, driver string) (failover.Item, error)

// looks is what a step over all drivers has of its observation: how a driver stands in the end, what is done about the
// others, and how it is seen.
func (m *mover) looks(wanted, would string, see sight) failover.PerTarget {
	return failover.PerTarget{Targets: m.Drivers, Limit: m.Limit, Name: commonName, Wanted: wanted, Would: would,
		Observe: see}
}

// look observes every driver.
func (m *mover) look(ctx context.Context, wanted string, see sight) (failover.Observation, error) {
	return m.looks(wanted, "", see).Look(ctx, see)
}

// row sees of a driver what read tells, and whether that is good.
func row[V fmt.Stringer](read func(ctx context.Context, driver string) (V, error), good func(V) bool) sight {
	return func(ctx context.Context, driver string) (failover.Item, error) {
		v, err := read(ctx, driver)
		return failover.Item{Done: good(v), Found: v.String()}, err
	}
}

func is[V comparable](want V) func(V) bool { return func(v V) bool { return v == want } }

// noted looks at every driver, and is done only when the fact was written too: later steps need it, also when there was
// nothing to change.
func noted[T any](f failover.Fact[T], t failover.PerTarget) func(context.Context) (failover.Observation, error) {
	return func(ctx context.Context) (failover.Observation, error) {
		obs, err := t.Look(ctx, t.Observe)
		if err != nil {
			return obs, err
		}
		_, written, err := f.Load(ctx)
		obs.Done = obs.Done && written
		return obs, err
	}
}

// undoing is an Undo by what was noted in a fact. Where nothing was, there is nothing to take back.
func undoing[T any](f failover.Fact[T], undo func(context.Context, T) error) func(context.Context) error {
	return func(ctx context.Context) error {
		before, written, err := f.Load(ctx)
		switch {
		case err != nil:
			return notApplied(err)
		case !written:
			return failover.NothingToUndo(ctx)
		}
		return undo(ctx, before)
	}
}

// undone is the look behind an Undo by what was noted in a fact.
func undone[T any](f failover.Fact[T], look func(context.Context, T) (failover.Observation, error)) func(
	context.Context) (failover.Observation, error) {
	return func(ctx context.Context) (failover.Observation, error) {
		before, _, err := f.Load(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		return look(ctx, before)
	}
}

// ofEach asks something about each target, at most limit at a time.
func ofEach[V any](ctx context.Context, limit int, targets []string,
	ask func(ctx context.Context, target string) (V, error)) (map[string]V, error) {
	answers := map[string]V{}
	var mu sync.Mutex
	err := failover.EachTarget(ctx, limit, targets, self, func(ctx context.Context, target string) error {
		answer, err := ask(ctx, target)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			answers[target] = answer
		}
		return err
	})
	return answers, err
}

func summary(rows []failover.Item, wanted string) failover.Observation {
	var open []string
	for _, row := range rows {
		if !row.Done {
			open = append(open, commonName(row.Target)+" "+row.Found)
		}
	}
	obs := failover.Observation{Done: len(open) == 0, Items: rows,
		Found: fmt.Sprintf("%d of %d %s", len(rows)-len(open), len(rows), wanted)}
	if len(open) > 0 {
		obs.Found += ": " + strings.Join(open, "; ")
	}
	return obs
}

// pause waits between two looks. Meanwhile another driver has the turn.
func pause(ctx context.Context, d time.Duration) error {
	if t, ok := ctx.Value(turnsKey{}).(turns); ok {
		<-t
		defer func() { t <- struct{}{} }()
	}
	return waiting.For(ctx, d)
}

// stopNote is what stood on the source before anything was stopped.
type stopNote struct {
	Engine  Version                `json:"engine,omitempty"`
	At      time.Time              `json:"at"`
	Oldest  map[string]time.Time   `json:"oldest,omitempty"` // event that waited, where one did and the server tells it
	Unread  map[string]string      `json:"unread,omitempty"` // why it is not known how far a driver was behind
	Options map[string]StartOption `json:"options"`
	States  map[string]State       `json:"states"`
}

var (
	factNoted      = failover.Fact[stopNote]{Name: "idm/noted"}
	factDisabled   = failover.Fact[time.Time]{Name: "idm/source-disabled"}
	factPasswords  = failover.FactMap[PasswordState]{Name: "idm/passwords"}
	factJobsBefore = failover.Fact[map[string][]string]{Name: "idm/jobs-before"}
	factBefore     = failover.Fact[map[string]StartOption]{Name: "idm/target-before"}

	// By job: what is to be known of the engines that were told; the second one behind an undo.
	factJobsTold     = failover.FactMap[string]{Name: "idm/jobs-engines"}
	factJobsToldBack = failover.FactMap[string]{Name: "idm/jobs-engines-back"}
	// By driver: since when it was asked to synchronize; the second one by an undo.
	factResynced     = failover.FactMap[time.Time]{Name: "idm/resynced"}
	factResyncedBack = failover.FactMap[time.Time]{Name: "idm/resynced-back"}
	factCaches       = failover.FactMap[string]{Name: "idm/cache"} // by driver
	factQueues       = failover.FactMap[string]{Name: "idm/queue"} // by driver and server, see mover.disable
)

// Stages are the stages of a procedure, in their order, for procedures that do something of their own in between. A
// stage without steps is one that the procedure does not have.
type Stages struct {
	Dead    failover.Stage // Failover: the source is stated dead, and does not answer
	Check   failover.Stage // servers, rights, replicas
	Prepare failover.Stage // the target serves the drivers, with the values and passwords it needs; Prepare ends here
	Stop    failover.Stage // Switchover, Failback: the drivers are stopped and disabled on the source
	Start   failover.Stage // the drivers are enabled and started on the target
	Moved   failover.Stage // the gap is closed, the jobs follow, and nothing runs on two servers
	Guard   failover.Stage // Failover: the old server is guarded; it is all of GuardOldServer
	Finish  failover.Stage // the drivers start by themselves
}

// The stages and steps up to which Checks of other stages must hold.
const (
	stagePrepare = "prepare"
	stageStop    = "stop"
	stageStart   = "start"
	stageFinish  = "finish"

	stepCopy   = "copy-data"
	stepByHand = "passwords-by-hand"
	stepWorks  = "references-by-hand"
	stepStop   = "stop"
	stepEnable = "enable-manual"
	stepStart  = "start"
	stepAuto   = "auto"

	untilCopy     = stagePrepare + "/" + stepCopy
	untilPrepared = stagePrepare + "/" + stepWorks // the last step of Prepare
	untilStop     = stageStop + "/" + stepStop
	untilEnable   = stageStart + "/" + stepEnable
	untilStart    = stageStart + "/" + stepStart
	untilAuto     = stageFinish + "/" + stepAuto // the last step that can make the target active
)

// procedure makes one of the stages that have steps.
func (s Stages) procedure(p failover.Procedure) (failover.Procedure, error) {
	for _, stage := range []failover.Stage{s.Dead, s.Check, s.Prepare, s.Stop, s.Start, s.Moved, s.Guard, s.Finish} {
		if len(stage.Steps) > 0 {
			p.Stages = append(p.Stages, stage)
		}
	}
	return p, p.Validate()
}
