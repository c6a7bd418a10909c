package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/waiting"
)

// AfterMove says where a transfer ends.
type AfterMove int

const (
	// AfterMoveStay ends on the target.
	AfterMoveStay AfterMove = iota
	// AfterMoveBack brings the group back to the node it came from once it was verified on the target: a rehearsal, or a
	// proof that both nodes can carry it.
	AfterMoveBack
)

// TransferOptions describes one transfer of ownership.
type TransferOptions struct {
	Group  string    // the group to move
	Target string    // the node to move it to
	From   string    // the node believed to own it; "" for whichever does. When given, another owner stops the run
	Then   AfterMove // where the transfer ends

	Move MoveOptions   // how the move is followed; Expect is set by the procedure
	Hold time.Duration // how long the group must be seen to stay after a move; 0 means 5 s, at most 30 s

	// StopTime is how long the service usually takes to stop. When given, no member that runs a service may have a
	// shorter limit in the cluster: at the limit a Windows cluster kills the process.
	StopTime time.Duration
	// DownFrom is for procedures that take the group down before they move it: the whole ID of their step that does. Up to
	// that step the group has to be up and free to move, and a group that is offline on the target has arrived.
	DownFrom string
	// Failback is what the group's setting is at the end. The zero value puts back what was found.
	Failback Failback
	// Disks names the disk resources the service uses, for a preflight that does not trust the dependencies alone.
	Disks []string
}

const maxHold = 30 * time.Second

func (o TransferOptions) validate() (TransferOptions, error) {
	bad := func(field, wrong, right string) (TransferOptions, error) {
		return o, failover.Invalid("TransferOptions."+field, wrong, right)
	}
	for _, f := range []struct{ field, name string }{{"Group", o.Group}, {"Target", o.Target}} {
		if f.name == "" || strings.ContainsFunc(f.name, unicode.IsControl) {
			return bad(f.field, fmt.Sprintf("%q is empty or has control characters", f.name), "use the name the cluster shows")
		}
	}
	switch {
	case o.From == o.Target:
		return bad("From", "is the target", "name the node the group is on now, or none")
	case o.Then != AfterMoveStay && o.Then != AfterMoveBack:
		return bad("Then", fmt.Sprintf("is %d", o.Then), "use AfterMoveStay or AfterMoveBack")
	case o.Hold < 0 || o.Hold > maxHold:
		return bad("Hold", "is "+o.Hold.String(), "use zero for the default, or up to "+maxHold.String())
	case o.Failback.Policy < FailbackUnknown || o.Failback.Policy > FailbackAllowed:
		return bad("Failback", "is "+o.Failback.Policy.String(), "use a value read from the group, or none")
	case o.StopTime < 0:
		return bad("StopTime", "is negative", "use zero to leave the check out")
	case o.Move.Expect != "":
		return bad("Move.Expect", "is set", "use From")
	}
	var err error
	o.Move, err = o.Move.withDefaults()
	o.Hold = cmp.Or(o.Hold, 5*time.Second)
	return o, err
}

// start is what a transfer remembers of the group before it changes anything.
type start struct {
	Owner    string            `json:"owner"`
	Failback Failback          `json:"failback"`
	Others   map[string]string `json:"others,omitempty"` // how the groups stood that nobody named
}

// others tells how the groups stand that the procedure is not about.
func (t transfer) others(s Snapshot) map[string]string {
	list := map[string]string{}
	for _, g := range s.Groups {
		if g.Name != t.o.Group {
			list[g.Name] = fmt.Sprintf("%s on %s", g.State, g.place())
		}
	}
	return list
}

// differing tells which of those groups stand otherwise now, whether this move did it or something else.
func differing(before, after map[string]string) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if now := cmp.Or(after[name], "not there"); now != before[name] {
			text += fmt.Sprintf("; %s was %s and is %s", name, before[name], now)
		}
	}
	return text
}

var startFact = failover.Fact[start]{Name: "cluster/start"}

// transfer holds what the steps of one procedure share: values that never change, and what was just seen.
type transfer struct {
	c      Cluster
	o      TransferOptions
	sight  *sight
	second string // the ID of the second move, up to which the group has to stay where it was brought; "" without one
}

// Stages are the stages of a transfer, for procedures that do something of their own in between. A stage without steps
// is one that this transfer does not need.
type Stages struct {
	Check    failover.Stage // what makes a move fail or act twice
	Prepare  failover.Stage // the start is remembered, the group kept from going home by itself
	Move     failover.Stage // to the target
	Arrived  failover.Stage // it stays on the target
	Back     failover.Stage // with AfterMoveBack: to where it came from
	Returned failover.Stage // with AfterMoveBack: it stays there
	Finish   failover.Stage // the failback setting is put back
}

// TransferStages returns the stages of [Transfer]. It refuses options that could not work, and touches nothing.
func TransferStages(c Cluster, o TransferOptions) (Stages, error) {
	if c == nil {
		return Stages{}, failover.Invalid("Cluster", "is nil", "give a cluster")
	}
	o, err := o.validate()
	if err != nil {
		return Stages{}, err
	}
	t := transfer{c: c, o: o, sight: &sight{c: c}}
	if o.Then == AfterMoveBack {
		t.second = "back/move"
	}
	const title, source = "See the group stay up on the node with all its members",
		"added: a cluster may take a group back after it was up"
	there, home := t.there(), t.home()
	s := Stages{
		Check:   failover.Stage{Name: "check", Steps: t.preflight()},
		Prepare: failover.Stage{Name: "prepare", Steps: t.prepare()},
		Move:    failover.Stage{Name: "move", Outage: true, Steps: t.move(there)},
		Arrived: failover.Stage{Name: "arrived", Outage: true,
			Steps: []failover.Step{t.verify(title, there.where, source, there, t.second)}},
		Finish: failover.Stage{Name: "finish", Steps: t.finish()},
	}
	if t.second != "" {
		s.Back = failover.Stage{Name: "back", Outage: true, Steps: t.move(home)}
		s.Returned = failover.Stage{Name: "returned", Outage: true,
			Steps: []failover.Step{t.verify(title, home.where, source, home, "")}}
	}
	return s, nil
}

// Transfer returns the procedure that moves a group to another node of its cluster; the package documentation lists
// its steps. It refuses options that could not work, and touches nothing.
//
// Undo takes the failback guard back as long as the move was not made. The way back after the move is another Transfer.
func Transfer(c Cluster, o TransferOptions) (failover.Procedure, error) {
	s, err := TransferStages(c, o)
	if err != nil {
		return failover.Procedure{}, err
	}
	then, stages := "stay", []failover.Stage{s.Check, s.Prepare, s.Move, s.Arrived}
	if o.Then == AfterMoveBack {
		then, stages = "move back", append(stages, s.Back, s.Returned)
	}
	return failover.Procedure{Name: "cluster.Transfer",
		Parameters: []failover.Parameter{{Name: "group", Value: o.Group}, {Name: "target", Value: o.Target},
			{Name: "from", Value: o.From}, {Name: "then", Value: then}, {Name: "stop time", Value: o.StopTime.String()},
			{Name: "disks", Value: strings.Join(o.Disks, ", ")},
			{Name: "failback afterwards", Value: strings.TrimSpace(o.Failback.Policy.String() + " " + o.Failback.Raw)}},
		Stages: append(stages, s.Finish), Lock: c.Lock()}, nil
}

type observing = func(context.Context) (failover.Observation, error)

// onGroup reads the group and judges that.
func (t transfer) onGroup(judge func(Group) (failover.Observation, error)) observing {
	return func(ctx context.Context) (failover.Observation, error) {
		g, err := t.c.Group(ctx, t.o.Group)
		if err != nil {
			return failover.Observation{}, err
		}
		return judge(g)
	}
}

// prepare remembers the start, removes what an earlier run left and keeps the group from going home by itself.
func (t transfer) prepare() []failover.Step {
	clear := t.cleared("Remove a move request that an earlier run of ours left", t.clear)
	clear.Undone = clear.Observe // what stands at an undo was left by a move of this run that did not come about
	return []failover.Step{
		{ID: "remember", Title: "Remember the owner and the failback setting", Target: t.o.Group, Kind: failover.Change,
			Writes: []string{startFact.Name},
			Source: "added: a later process must know where the group came from and what to put back",
			Observe: func(ctx context.Context) (failover.Observation, error) {
				s, ok, err := startFact.Load(ctx)
				if err != nil || ok {
					return failover.Observation{Done: ok,
						Found: fmt.Sprintf("it was on %s with failback %s", s.Owner, s.Failback.Policy)}, err
				}
				return t.onGroup(func(g Group) (failover.Observation, error) {
					return failover.Observation{Found: fmt.Sprintf("on %s with failback %s", g.Owner, g.Failback.Policy),
						Would: "write this to the journal"}, restorable(g)
				})(ctx)
			},
			Apply: func(ctx context.Context) error {
				const op = "remember the owner"
				_, err := startFact.Capture(ctx, func(ctx context.Context) (start, error) {
					snapshot, err := t.c.Snapshot(ctx)
					if err != nil {
						return start{}, err
					}
					g, err := snapshot.named(op, t.o.Group)
					switch {
					case err != nil:
					case g.Owner == "":
						err = refuse(op, t.o.Group, "find out where the group runs", ErrOwnerUnknown, "%s", g)
					default:
						err = restorable(g)
					}
					return start{Owner: g.Owner, Failback: g.Failback, Others: t.others(snapshot)}, err
				})
				return err
			}, Undo: failover.NothingToUndo},
		clear,
		{ID: "failback", Title: "Keep the group from going home by itself", Target: t.o.Group, Kind: failover.Change,
			Source: "the cluster may pull the group to a preferred owner that returns (documented: failback policies)",
			Observe: t.onGroup(func(g Group) (failover.Observation, error) {
				return failover.Observation{Done: g.Failback.Policy == FailbackPrevented,
					Found: "failback is " + g.Failback.Policy.String(), Would: "prevent it until the end of the run"}, nil
			}),
			Apply:  func(ctx context.Context) error { return t.c.SetFailback(ctx, t.o.Group, NoFailback) },
			Undo:   func(ctx context.Context) error { return t.putBack(ctx, Failback{}) },
			Undone: func(ctx context.Context) (failover.Observation, error) { return t.isBack(ctx, Failback{}) }},
	}
}

// restorable refuses a failback setting that is not known: it would be replaced and could not be put back.
func restorable(g Group) error {
	if g.Failback.Policy != FailbackUnknown {
		return nil
	}
	return refuse("remember failback", g.Name, "give the group one setting that can be read (on Pacemaker "+
		"resource-stickiness of the group itself, without a rule, and not of each member), then run again", ErrNotTold,
		"whether it may go home by itself")
}

func (t transfer) clear(ctx context.Context) error { return t.c.ClearMove(ctx, t.o.Group) }

func (t transfer) cleared(title string, undo func(context.Context) error) failover.Step {
	return failover.Step{ID: "clear", Title: title, Target: t.o.Group, Kind: failover.Change, Apply: t.clear, Undo: undo,
		Source: "crm_resource(8): a move leaves a constraint that holds until it is cleared; nothing to do on a Windows " +
			"cluster",
		Observe: t.onGroup(func(g Group) (failover.Observation, error) {
			if !leftover(g) {
				return failover.Observation{Done: true, Found: "no move request of ours stands"}, nil
			}
			return failover.Observation{Found: "a move request of ours stands", Would: "remove it"}, nil
		})}
}

// putBack sets failback as it was given or, where nothing was, as it was remembered.
func (t transfer) putBack(ctx context.Context, given Failback) error {
	s, _, err := startFact.Load(ctx)
	if given.Policy != FailbackUnknown {
		s.Failback = given
	} else if err != nil {
		return err
	}
	return t.c.SetFailback(ctx, t.o.Group, s.Failback)
}

// isBack reports whether failback is as putBack sets it. Before the start was remembered a setting that was given is
// not the end yet; without one, what is found in a plan is what will be.
func (t transfer) isBack(ctx context.Context, given Failback) (failover.Observation, error) {
	s, remembered, err := startFact.Load(ctx)
	if err != nil {
		return failover.Observation{}, err
	}
	return t.onGroup(func(g Group) (failover.Observation, error) {
		want, done, again := s.Failback, g.Failback == s.Failback, " again"
		switch {
		case given.Policy != FailbackUnknown:
			want, done, again = given, remembered && g.Failback == given, ""
		case !remembered:
			want, done = g.Failback, g.Failback.Policy != FailbackAllowed
		}
		return failover.Observation{Done: done, Note: "failback is " + g.Failback.Policy.String(),
			Would: "set failback to " + want.Policy.String() + again}, nil
	})(ctx)
}

// goal is where a move goes.
type goal struct {
	title, where string
	target       func(start) string
	expect       func(start) string // where the group is before
	planned      bool               // there is nothing to look at before the start was remembered
	offline      bool               // the group has arrived also when it is there and offline
}

func (t transfer) there() goal {
	return goal{title: "Move the group to " + t.o.Target, where: t.o.Group + " to " + t.o.Target,
		target: func(start) string { return t.o.Target }, expect: func(s start) string { return s.Owner },
		offline: t.o.DownFrom != ""}
}

func (t transfer) home() goal {
	return goal{title: "Move the group back to the node it came from", where: t.o.Group + " back", planned: true,
		target: func(s start) string { return s.Owner }, expect: func(start) string { return t.o.Target }}
}

// aim returns what was remembered and the node the move goes to. In a plan nothing is remembered yet; the present owner
// is then the start.
func (t transfer) aim(ctx context.Context, g goal) (s start, remembered bool, to string, err error) {
	s, remembered, err = startFact.Load(ctx)
	if err == nil && !remembered {
		var now Group
		now, err = t.c.Group(ctx, t.o.Group)
		s.Owner, s.Failback = now.Owner, now.Failback
	}
	return s, remembered, g.target(s), err
}

// move is one move: the request and the removal of what it leaves.
func (t transfer) move(way goal) []failover.Step {
	return []failover.Step{
		{ID: "move", Title: way.title, Target: way.where, Kind: failover.Once, Poll: t.o.Move.Poll,
			Timeout: t.o.Move.Timeout + clearTime,
			Source:  "Move-ClusterGroup and crm_resource --move report success before the group is up; owner and state are what counts",
			Observe: func(ctx context.Context) (failover.Observation, error) {
				s, remembered, to, err := t.aim(ctx, way)
				if err != nil {
					return failover.Observation{}, err
				}
				g, err := t.c.Group(ctx, t.o.Group)
				if err != nil {
					return failover.Observation{}, err
				}
				if way.offline && g.Owner == to && g.State == StateOffline {
					return failover.Observation{Done: true, Found: g.String()}, nil
				}
				obs, err := arrived(g, to)
				if obs.Done = obs.Done && (remembered || !way.planned); way.planned {
					obs.Found, obs.Note = "it comes from "+s.Owner, g.String()
					obs.Would = "move it to " + to + "; its users are cut off while it moves"
				}
				if g.Owner != to || way.planned {
					text, note := t.foresee(ctx, way, s, g, to)
					obs.Would, obs.Note = obs.Would+"; "+text, strings.Trim(obs.Note+"; "+note, "; ")
				}
				return obs, err
			},
			Apply: func(ctx context.Context) error {
				s, _, to, err := t.aim(ctx, way)
				if err != nil {
					return err
				}
				o := t.o.Move
				o.Expect = way.expect(s)
				res, err := t.c.Move(ctx, t.o.Group, to, o)
				failover.Progress(ctx, fmt.Sprintf("not up for %s", res.Outage.Round(time.Millisecond)))
				return err
			},
			Probe: func(ctx context.Context) (failover.Outcome, error) {
				_, _, to, err := t.aim(ctx, way)
				if err != nil {
					return failover.InDoubt, err
				}
				return t.probe(ctx, to)
			}},
		t.cleared("Remove the move request", failover.NothingToUndo),
	}
}

// foresee tells what the move will do to other groups: in words that a person approves, and in a note where those have
// to be the same in the plan and at the step's turn, because the group is not yet where it will be then.
func (t transfer) foresee(ctx context.Context, way goal, s start, g Group, to string) (would, note string) {
	later := way.planned || way.offline
	if later && g.Owner == to {
		return unforeseen, ""
	}
	if t.o.Failback.Policy != FailbackUnknown {
		s.Failback = t.o.Failback
	}
	f, err := t.c.Foresee(ctx, t.o.Group, to, s.Failback)
	switch {
	case err != nil:
		return unforeseen, err.Error()
	case later:
		return unforeseen, f.String()
	}
	return f.String(), ""
}

// verify sees the group stay where a move brought it.
func (t transfer) verify(title, target, source string, way goal, guards string) failover.Step {
	return failover.Step{ID: "verify", Title: title, Target: target, Kind: failover.Check, Firm: true, Guards: guards,
		Wait: true, Timeout: time.Minute + 4*t.o.Hold, Poll: t.o.Move.Poll, Source: source,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			s, remembered, err := startFact.Load(ctx)
			if err != nil || !remembered {
				return failover.Observation{Found: "not moved yet"}, err
			}
			return t.stays(ctx, way.target(s))
		}}
}

// arrived judges a reading against the node the group should be on.
func arrived(g Group, to string) (failover.Observation, error) {
	switch {
	case g.Owner != to:
		return failover.Observation{Found: "it is on " + g.place(), Note: g.String(),
			Would: "move it to " + to + "; its users are cut off while it moves"}, nil
	case g.State == StateFailed:
		return failover.Observation{}, refuse("read group", g.Name, "repair what failed, then run again", ErrFailed, "%s", g)
	case g.State == StatePartial:
		return failover.Observation{}, refuse("read group", g.Name, "bring up the members that are down, then run again",
			ErrPartial, "%s", g)
	}
	return failover.Observation{Done: g.State == StateOnline, Found: g.String(), Would: "wait until it is up"}, nil
}

// stays looks twice, Hold apart, and wants the same good reading both times.
func (t transfer) stays(ctx context.Context, to string) (failover.Observation, error) {
	for look := range 2 {
		if look > 0 {
			if err := waiting.For(ctx, t.o.Hold); err != nil {
				return failover.Observation{}, unchanged("verify group", t.o.Group, "run again", err)
			}
		}
		g, err := t.c.Group(ctx, t.o.Group)
		if err != nil {
			return failover.Observation{}, err
		}
		if g.Owner != to || g.State != StateOnline {
			return failover.Observation{Found: g.String()}, nil
		}
	}
	return failover.Observation{Done: true, Found: t.o.Group + " stays online on " + to}, nil
}

// probe settles a move whose outcome was lost, by owner and state. On the target it took effect, in whatever state the
// group is there. Unmoved at its source for the time to settle it did not, once the request was taken back; where that
// cannot be done, it may still come.
func (t transfer) probe(ctx context.Context, to string) (failover.Outcome, error) {
	var first Group
	var since time.Time
	withdrawn := false
	for {
		g, err := t.c.Group(ctx, t.o.Group)
		switch {
		case err != nil:
			return failover.InDoubt, err
		case g.Owner == to && (g.State == StateOnline || g.State == StateFailed || g.State == StatePartial ||
			g.State == StateOffline):
			return failover.Applied, nil
		case g.Owner != first.Owner || g.State != first.State || g.State == StatePending || g.State == StateUnknown ||
			g.Queued || acting(g) || since.IsZero():
			first, since = g, time.Now()
		case g.Owner == "" || g.Owner == to:
		case !withdrawn:
			if err := t.c.Withdraw(ctx, t.o.Group); err != nil {
				return failover.InDoubt, doubt("settle move", t.o.Group, late, err)
			}
			withdrawn, since = true, time.Time{} // what acted just before shows itself in the time to settle
		case time.Since(since) >= t.o.Move.Settle:
			return failover.NotApplied, nil
		}
		if err := waiting.For(ctx, t.o.Move.Poll); err != nil {
			return failover.InDoubt, doubt("settle move", t.o.Group, "wait until the group stands still, then run again",
				fmt.Errorf("%w: last seen: %s: %w", failover.ErrInDoubt, g, err))
		}
	}
}

// finish puts the failback setting back and looks once more.
func (t transfer) finish() []failover.Step {
	way := t.there()
	if t.second != "" {
		way = t.home()
	}
	last := t.verify("See the group stay where it belongs without the guard", t.o.Group,
		"added: the restored setting may draw the group home", way, "")
	stays := last.Observe
	last.Observe = func(ctx context.Context) (failover.Observation, error) {
		obs, err := stays(ctx)
		if err != nil || !obs.Done {
			return obs, err
		}
		// A move is a change of the whole cluster: what became of groups that nobody named is told.
		s, _, err := startFact.Load(ctx)
		if now, readErr := t.c.Snapshot(ctx); readErr != nil {
			obs.Found += "; how the other groups stand could not be read: " + readErr.Error()
		} else {
			obs.Found += differing(s.Others, t.others(now))
		}
		return obs, err
	}
	return []failover.Step{
		{ID: "failback", Title: "Put the failback setting back as it was", Target: t.o.Group, Kind: failover.Change,
			Source:  "added: the guard is ours, the setting is the administrator's",
			Observe: func(ctx context.Context) (failover.Observation, error) { return t.isBack(ctx, t.o.Failback) },
			Apply:   func(ctx context.Context) error { return t.putBack(ctx, t.o.Failback) }, Undo: failover.NothingToUndo},
		last,
	}
}
