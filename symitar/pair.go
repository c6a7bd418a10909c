package symitar

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
	"github.com/01b61c5c/failover/internal/waiting"
)

// Pair is both hosts of a Symitar installation. It connects when it is first used; Close it when done.
type Pair struct {
	Home    *Host // primary on an ordinary day
	Partner *Host // takes over

	cfg Config
}

// NewPair checks the configuration and prepares both hosts. It connects to nothing. Errors wrap failover.ErrInvalid
// and name the field, what is wrong and what would be right.
func NewPair(cfg Config) (*Pair, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	// Each host knows the other's keys: meeting the partner's key at an address is an error of its own.
	home, partner := cfg.Home, cfg.Partner
	home.SSH, partner.SSH = home.SSH.WithPeer(partner.SSH), partner.SSH.WithPeer(home.SSH)
	a, err := newHost(home, cfg)
	if err != nil {
		return nil, err
	}
	b, err := newHost(partner, cfg)
	if err != nil {
		return nil, errors.Join(err, a.remote.Close())
	}
	return &Pair{Home: a, Partner: b, cfg: cfg}, nil
}

// Close ends the connections. The macro is not touched by that.
func (p *Pair) Close() error {
	return errors.Join(p.Home.remote.Close(), p.Partner.remote.Close())
}

func (p *Pair) pause(ctx context.Context) error { return waiting.For(ctx, p.cfg.Poll) }

// inOrder returns hosts in the order in which they are locked, the same for every caller whichever way it swaps.
func inOrder(hosts ...*Host) []*Host {
	slices.SortFunc(hosts, func(a, b *Host) int { return cmp.Compare(a.Name(), b.Name()) })
	return hosts
}

// Purpose says for which procedure the macro is called. It decides the direction, the arguments and whether the old
// primary takes part.
type Purpose int

// The purposes.
const (
	PurposeSwitchover Purpose = iota + 1 // Home to Partner, both alive
	PurposeFailover                      // Home to Partner, Home is gone
	PurposeFailback                      // Partner to Home, both alive
)

var purposeNames = []string{0: "", PurposeSwitchover: "switchover", PurposeFailover: "failover",
	PurposeFailback: "failback"}

// String returns "switchover", "failover" or "failback".
func (p Purpose) String() string { return enum.Name(purposeNames, p) }

func (p *Pair) firing(run RunID, purpose Purpose) (firing, error) {
	m := p.cfg.Macro
	f := firing{run: run, pair: p, dir: direction{old: p.Home, next: p.Partner}, all: inOrder(p.Home, p.Partner)}
	field := ""
	switch purpose {
	case PurposeSwitchover:
		f.args = m.SwitchoverArgs
	case PurposeFailover:
		f.args, f.all, f.on, field = m.FailoverArgs, []*Host{p.Partner}, p.Partner, "Macro.FailoverArgs"
	case PurposeFailback:
		f.args, f.dir, field = m.FailbackArgs, direction{old: p.Partner, next: p.Home}, "Macro.FailbackArgs"
	default:
		return f, failover.Invalid("Purpose", "is not set", "use PurposeSwitchover, PurposeFailover or PurposeFailback")
	}
	f.on = cmp.Or(f.on, f.dir.host(m.On))
	return f, firstBroken(rule{f.args == nil, field, "is not set",
		"fill in the macro's arguments for this procedure, an empty list where it takes none; no public text says"})
}

func (p *Pair) firingOf(run RunID, purpose Purpose) (firing, error) {
	if err := run.Validate(); err != nil {
		return firing{}, err
	}
	return p.firing(run, purpose)
}

// Fire runs the macro at most once under the given run id and follows it to its end or ctx's. It takes the launcher's
// lock on both hosts first (for PurposeFailover on the living one) and leaves it there: [Pair.Acknowledge] archives it.
//
// Calling it again with the same run id never fires a second time; it follows the first run. Write the id to disk
// before calling.
//
// The error is nil only when the macro was fired and both hosts show the roles that were wanted. ErrNotExecuted is
// NotApplied; ErrMacroFailed, ErrMacroRunning and ErrMacroUnknown are InDoubt, since what a macro leaves that did not
// swap the roles is for a person to see, who then says whether it took effect. Neither a line that breaks nor the end of
// ctx touches the macro. Fire makes no preflight and does not ask anybody; the procedures do.
func (p *Pair) Fire(ctx context.Context, run RunID, purpose Purpose) (Result, error) {
	f, err := p.firingOf(run, purpose)
	if err != nil {
		return Result{Run: run, verdict: ErrNotExecuted}, err
	}
	res := f.fire(ctx)
	return res, res.err()
}

// Resume observes a run that was fired earlier, perhaps by another process, to its end or ctx's. It changes nothing and
// is safe to repeat. Errors are those of Fire.
func (p *Pair) Resume(ctx context.Context, run RunID, purpose Purpose) (Result, error) {
	f, err := p.firingOf(run, purpose)
	if err != nil {
		return Result{Run: run}, err
	}
	f.observeOnly = true
	res := f.follow(ctx, Result{Run: run, Host: f.on.Name()}, p.cfg.Macro.knownSecrets())
	return res, res.err()
}

// Void makes sure that a run which has not fired yet never will, and proves it by returning no error. A run that
// fired cannot be called back: then the error wraps ErrRefired and the macro is left alone. Where the mark cannot be
// written, for example on a full disk, the error names the cause and nothing is proven. Safe to repeat; after a broken
// line the error is InDoubt, and calling again settles it.
func (p *Pair) Void(ctx context.Context, run RunID, purpose Purpose) error {
	f, err := p.firingOf(run, purpose)
	if err != nil {
		return err
	}
	_, fired, err := f.conclude(ctx)
	if fired {
		return f.on.notApplied("void the run", "resume run "+string(run)+": it cannot be called back", "%w", ErrRefired)
	}
	return err
}

// Left names what a person has found alive of a run, and lets be when acknowledging it. The zero value lets nothing be.
type Left struct {
	Processes []int64 // numbers of processes that the macro left behind on purpose, such as services it started
	// Unseen: nobody can tell from the list of processes whether the run lives, and a person answers for it that it does
	// not
	Unseen   bool
	services bool // everything that does not run the macro itself; behind a swap that was verified
}

// String returns the form that the script on the host takes.
func (l Left) String() string {
	var words []string
	for _, pid := range l.Processes {
		words = append(words, strconv.FormatInt(pid, 10))
	}
	if l.Unseen {
		words = append(words, "unseen")
	}
	if l.services {
		words = append(words, "services")
	}
	return strings.Join(words, " ")
}

// Acknowledge archives the launcher's lock of a run that is over, on both hosts, so that another run can be fired. For
// a run whose end is not known it is the place where a person answers for it: the statement stands in the run's
// folder on the host. Output and exit status stay there too. Locks of other runs are left alone.
//
// It refuses, with nothing changed on that host, while any process of the run lives that left does not name
// (ErrMacroRunning), and while the list of processes cannot be trusted and left does not say Unseen (ErrMacroUnknown).
// Safe to repeat, also after a broken line. A host that is down is an error of its own; the other one is done all the
// same.
func (p *Pair) Acknowledge(ctx context.Context, run RunID, word failover.Statement, left Left) error {
	if err := run.Validate(); err != nil {
		return err
	}
	if err := word.Validate("Statement"); err != nil {
		return err
	}
	return p.archive(ctx, run, word.String(), inOrder(p.Home, p.Partner), left)
}

func (p *Pair) archive(ctx context.Context, run RunID, note string, hosts []*Host, left Left) error {
	return failover.EachTarget(ctx, 1, hosts, (*Host).Name, func(ctx context.Context, h *Host) error {
		return h.archive(ctx, run, note, left)
	})
}

type (
	observe = func(context.Context) (failover.Observation, error)
	askHost = func(context.Context, *Host) (failover.Item, error)
)

// wanted is what a host shows that is as it should be.
func wanted(found string) (failover.Item, error) { return failover.Item{Done: true, Found: found}, nil }

func unwanted(found string) (failover.Item, error) { return failover.Item{Found: found}, nil }

// unless is good unless there is something bad.
func unless(bad []string, lead, good string) (failover.Item, error) {
	if len(bad) > 0 {
		return unwanted(lead + strings.Join(bad, ", "))
	}
	return wanted(good)
}

// onEach is each as a step observes.
func onEach(hosts []*Host, ask askHost) observe {
	return func(ctx context.Context) (failover.Observation, error) { return each(ctx, hosts, ask) }
}

// each asks the hosts at the same time. ask must be safe for that.
func each(ctx context.Context, hosts []*Host, ask askHost) (failover.Observation, error) {
	items := make([]failover.Item, len(hosts))
	err := failover.EachTarget(ctx, len(hosts), hosts, (*Host).Name, func(ctx context.Context, h *Host) error {
		item, err := ask(ctx, h)
		item.Target = h.Name()
		items[slices.Index(hosts, h)] = item
		return unchanged(err)
	})
	if err != nil {
		return failover.Observation{}, err
	}
	obs := failover.Observation{Done: true, Items: items}
	var found []string
	for _, item := range items {
		obs.Done = obs.Done && item.Done
		found = append(found, item.Target+": "+item.Found)
	}
	obs.Found = strings.Join(found, "; ")
	return obs, nil
}
