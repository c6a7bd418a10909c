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
	"github.com/01b61c5c/failover/internal/behind"
)

// GuardOptions says which server is guarded.
type GuardOptions struct {
	DriverSet string
	Drivers   []string
	// Active is the server the drivers belong on now.
	Active *Server
	// OldDN is the DN of the old server, Dial connects to it; it is called again and again until the server answers.
	OldDN string
	Dial  func(context.Context) (*Server, error)

	// CacheDir is the folder for the events that wait on the old server, which go when a driver is disabled there: what
	// was deleted before the crash stands nowhere else. See [SwitchoverOptions]. "" saves none; what waited is told in
	// any case.
	CacheDir string

	Limit       int           // drivers at the same time; 0 means 4
	StopTimeout time.Duration // per driver; 0 means 3 minutes
	Wait        time.Duration // how long to wait for the old server; 0 means 24 hours
	Poll        time.Duration // between two tries; 0 means failover.DefaultPoll
}

// guard works on the old server, whenever it is there.
type guard struct {
	GuardOptions
	m mover
}

func newGuard(o GuardOptions) (*guard, error) {
	if o.Dial == nil {
		return nil, failover.Invalid("GuardOptions.Dial", "is nil", "give a function that dials the old server")
	}
	if o.Wait < 0 {
		return nil, failover.Invalid("GuardOptions.Wait", fmt.Sprintf("is %s", o.Wait),
			"give a time, or zero for the default")
	}
	r, err := Route{DriverSet: o.DriverSet, Drivers: o.Drivers, Target: o.Active, Limit: o.Limit,
		StopTimeout: o.StopTimeout, Poll: o.Poll}.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkDN("GuardOptions.OldDN", o.OldDN); err != nil {
		return nil, err
	}
	if SameDN(o.OldDN, o.Active.DN()) {
		return nil, failover.Invalid("GuardOptions.OldDN", o.OldDN+" is also the active server", "name two servers")
	}
	o.Wait = cmp.Or(o.Wait, 24*time.Hour)
	g := &guard{GuardOptions: o, m: mover{Route: r, sourceDN: o.OldDN, cacheDir: o.CacheDir}}
	return g, g.m.checkCacheDir("GuardOptions.CacheDir")
}

// old connects to the old server and makes sure that it is the one.
func (g *guard) old(ctx context.Context) (*Server, error) {
	// A try that hangs, or waits for a server that is off, must not outlast its coming back.
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	s, err := g.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if !SameDN(s.DN(), g.OldDN) {
		_ = s.Close()
		return nil, notDone("guard", g.OldDN, "dial the old server itself",
			fmt.Errorf("%w: %s answers", ErrWrongServer, s.DN()))
	}
	return s, nil
}

// GuardOldServer disables the drivers on a server that has come back after a failover, whose own start options are
// still Auto. It only takes away from a server what runs, or is enabled to run, on the active one. It holds no lock: it
// must be able to work while a failover is under way, and disabling the old side is safe at any time. For a guard that
// goes on watching see [WatchOldServer].
func GuardOldServer(o GuardOptions) (failover.Procedure, error) {
	s, err := GuardStages(o)
	if err != nil {
		return failover.Procedure{}, err
	}
	return s.procedure(failover.Procedure{Name: "idm.GuardOldServer",
		Parameters: []failover.Parameter{{Name: "driver set", Value: o.DriverSet},
			{Name: "drivers", Value: strings.Join(o.Drivers, "; ")}, {Name: "old server", Value: o.OldDN},
			{Name: "active server", Value: o.Active.DN()}}})
}

// GuardStages returns the one stage of [GuardOldServer]. It refuses options that could not work, and touches nothing.
func GuardStages(o GuardOptions) (Stages, error) {
	g, err := newGuard(o)
	if err != nil {
		return Stages{}, err
	}
	return Stages{Guard: failover.Stage{Name: "guard",
		Steps: []failover.Step{g.activeElsewhere(), g.comesBack(), g.disable(), g.quiet()}}}, nil
}

// The steps up to which the guard's Checks must hold.
const (
	stepDisable = "disable"
	stepQuiet   = "quiet"
)

const guardSource = fromWiki +
	`"Old Server: Be sure your original server doesn't come up with the drivers running until you are ready as it may try to create connections to the applications and cause some fun there."`

func (g *guard) activeElsewhere() failover.Step {
	enabled := func(st DriverStatus) bool { return st.Option.enabled() }
	return g.m.looks("enabled on the active server", "", row(g.Active.Status, enabled)).Step(failover.Step{
		ID: "active-elsewhere", Title: "Check that the drivers are enabled on the active server",
		Target: g.Active.DN(), Kind: failover.Check, Firm: true,
		Guards: stepDisable, // which looks again, driver by driver
		Source: ours + "a driver that is enabled nowhere else would be stopped for good"})
}

func (g *guard) comesBack() failover.Step {
	return failover.Step{ID: "comes-back", Title: "Wait until the old server answers", Target: g.OldDN,
		Kind: failover.Check, Guards: stepQuiet, Wait: true, Timeout: g.Wait, Poll: g.m.Poll, Source: guardSource,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			s, err := g.old(ctx)
			if unanswered(err) {
				return failover.Observation{Found: "the old server does not answer", Note: err.Error()}, nil
			}
			if err != nil {
				return failover.Observation{}, err
			}
			return failover.Observation{Done: true, Found: "the old server answers"}, s.Close()
		}}
}

func (g *guard) look(ctx context.Context) (failover.Observation, error) {
	s, err := g.old(ctx)
	if err != nil {
		return failover.Observation{}, err
	}
	defer s.Close() //nolint:errcheck // nothing is lost
	obs, err := g.m.look(ctx, "stopped and disabled on the old server",
		func(ctx context.Context, driver string) (failover.Item, error) {
			st, err := s.Status(ctx, driver)
			if notServed(err) {
				return notServedOn(ctx, s, g.DriverSet)
			}
			return failover.Item{Done: st.out(), Found: st.String()}, err
		})
	obs.Would = "disable and stop them on " + g.OldDN
	return obs, err
}

func (g *guard) disable() failover.Step {
	return failover.Step{ID: stepDisable, Title: "Disable and stop the drivers on the old server", Target: g.OldDN,
		Kind: failover.Change, Timeout: g.m.allDrivers(g.m.StopTimeout), Poll: g.m.Poll, Source: guardSource,
		Writes: []string{factQueues.Name}, Observe: g.lookOrGone, Apply: g.silence}
}

// lookOrGone is what an approval is given for: whatever is active on the old server when it comes back, also when it
// cannot be seen yet. In which state each driver is at the moment, is a note.
func (g *guard) lookOrGone(ctx context.Context) (failover.Observation, error) {
	seen, err := g.look(ctx)
	if unanswered(err) {
		seen.Items, seen.Found, err = make([]failover.Item, len(g.Drivers)), err.Error(), nil
	}
	if err != nil {
		return seen, err
	}
	queues, err := g.m.queues(ctx, g.OldDN)
	for i, driver := range g.Drivers {
		if seen.Items[i].Target = driver; !seen.Items[i].Done {
			seen.Items[i].Found = "not seen stopped and disabled"
		}
	}
	obs := summary(seen.Items, "stopped and disabled on the old server")
	obs.Note, obs.Would = strings.TrimSuffix(seen.Found+"; "+queues, "; "), "disable and stop them on "+g.OldDN
	return obs, err
}

func (g *guard) quiet() failover.Step {
	return failover.Step{ID: stepQuiet, Title: "Observe that nothing of it runs on the old server", Target: g.OldDN,
		Kind: failover.Check, Firm: true, Source: guardSource, Observe: g.look}
}

// silence keeps the drivers from starting, stops what runs and disables them.
func (g *guard) silence(ctx context.Context) error {
	s, err := g.old(ctx)
	if err != nil {
		return notApplied(err)
	}
	defer s.Close() //nolint:errcheck // nothing is lost
	return g.m.each(ctx, func(ctx context.Context, driver string) error {
		active, err := g.Active.Status(ctx, driver)
		if err != nil {
			return notApplied(err)
		}
		if !active.Option.enabled() {
			return unmet("guard driver", driver, "enable it on the active server first, or leave it out of the guard",
				"it is "+active.String()+" on "+g.Active.DN())
		}
		err = g.m.silenceOn(ctx, s, driver)
		if notServed(err) { // what helps an engine elsewhere would start the drivers here
			return &failover.Error{Op: "guard driver", Target: driver, Outcome: failover.OutcomeOf(err), Err: err,
				Next: "let WatchOldServer look until its engine is loaded, or stop the directory service there"}
		}
		return err
	})
}

// silenceOn keeps a driver from starting by itself, stops it and disables it. Manual comes first: it keeps the queue,
// which can be saved then, and a driver that is about to start stays down as with Disabled.
func (m *mover) silenceOn(ctx context.Context, s *Server, driver string) error {
	st, err := s.Status(ctx, driver)
	if err != nil {
		return notApplied(err)
	}
	told := func(err error) error { return err } // what a failure says of all of it
	if st.Option.settable() == StartAuto {
		// Whether it can be set while the driver runs is not published: a refusal counts only when the driver was stopped.
		early := s.SetStartOption(ctx, driver, StartManual, ResyncNone)
		if early != nil && st.State == StateStopped && !errors.Is(early, ErrWrongState) {
			return early
		}
		if failover.OutcomeOf(early) != failover.NotApplied {
			told = behind.Effect
		}
	}
	if err := m.stopOn(ctx, s, driver); err != nil {
		return told(err)
	}
	if st.State != StateStopped {
		told = behind.Effect
	}
	option, err := s.StartOption(ctx, driver)
	if err != nil || option == StartDisabled {
		return told(err)
	}
	return told(m.disable(ctx, s, driver))
}

// GuardSighting is what [WatchOldServer] saw or did in one round.
type GuardSighting struct {
	At      time.Time
	Answers bool // the old server answered
	// Acted is true when something had to be disabled or stopped.
	Acted bool
	Found failover.Observation // before acting; rows per driver; the note of a server that is not there says why
	// Waited says per driver that was to be disabled what waited in its queue, which goes with that, and where it was
	// saved.
	Waited map[string]string
	// Err is why the round could not be finished; the next one tries again. It is nil where no server is there; one that
	// cannot be asked, or is there and says nothing, may run everything.
	Err error
}

// WatchOldServer looks every interval at the old server and disables there what comes up, until ctx ends. It reports
// every round in which something changed or failed, also the one that the end of ctx cut short when it had begun to act;
// report must return quickly. It returns nil when ctx was cancelled.
func WatchOldServer(ctx context.Context, o GuardOptions, interval time.Duration, report func(GuardSighting)) error {
	g, err := newGuard(o)
	if err != nil {
		return err
	}
	if interval <= 0 {
		return failover.Invalid("interval", fmt.Sprintf("is %s", interval), "give a time above zero")
	}
	if report == nil {
		return failover.Invalid("report", "is nil", "give a function: what is disabled, and the queue that goes with it, "+
			"must be told to somebody")
	}
	last := ""
	for {
		seen := g.round(ctx)
		// A failure that stays the same is told once, each driver that is disabled every time.
		text := fmt.Sprint(seen.Answers, seen.Acted, seen.Found.Found, seen.Err)
		if seen.Acted && seen.Err == nil || len(seen.Waited) > 0 || text != last && (seen.Acted || ctx.Err() == nil) {
			last = text
			report(seen)
		}
		if pause(ctx, interval) != nil {
			return nil
		}
	}
}

func (g *guard) round(ctx context.Context) GuardSighting {
	seen := GuardSighting{At: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, g.m.allDrivers(g.m.StopTimeout))
	defer cancel()
	obs, err := g.look(ctx)
	if away(ctx, err) {
		seen.Found.Note = err.Error()
		return seen
	}
	seen.Answers, seen.Found, seen.Err = !unanswered(err), obs, err
	if err != nil || obs.Done {
		return seen
	}
	seen.Acted, seen.Waited = true, map[string]string{}
	var mu sync.Mutex
	g.m.tell = func(driver, queue string) {
		mu.Lock()
		defer mu.Unlock()
		seen.Waited[driver] = queue
	}
	if seen.Err = g.silence(ctx); seen.Err == nil {
		if after, err := g.look(ctx); err != nil || !after.Done {
			seen.Err = inDoubt("guard", g.OldDN, "look at it; the next round tries again",
				cmp.Or(err, fmt.Errorf("%w: %s", failover.ErrNotObserved, after.Found)))
		}
	}
	return seen
}
