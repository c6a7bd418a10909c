package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
	"github.com/01b61c5c/failover/internal/waiting"
)

// badReadings is how often a bad state must have been read in a row before it counts.
const badReadings = 4

// late is what a person does about a request that shows no effect and may still be on its way.
const late = "see on each node that nothing of the account that asks runs any more, on Windows no powershell.exe; in a " +
	"run, resolve the step as not applied then"

// clearTime bounds the removal of a standing move request after the caller's own context has ended.
const clearTime = time.Minute

func (c *core) Move(ctx context.Context, group, node string, o MoveOptions) (MoveResult, error) {
	const op = "move group"
	o, err := o.withDefaults()
	if err == nil {
		err = errors.Join(c.d.Check("group", group), c.d.Check("node", node))
	}
	if err != nil {
		return MoveResult{}, err
	}
	g, err := c.beforeMove(ctx, group, node, o)
	if err != nil {
		return MoveResult{}, err
	}
	res := MoveResult{From: g.Owner, To: node, State: g.State}
	f := follow{c: c, op: op, group: group, from: g.Owner, to: node, want: g.State, o: o, known: g.Failures}
	switch {
	case g.Owner == node && g.State == StatePending:
		// Somebody's move is arriving; what it was before cannot be read any more, so up is what is waited for.
		res.State, f.want, f.left = StateOnline, StateOnline, true
	case g.Owner == node && leftover(g):
		f.left = true // a killed run brought it here; what it left is removed below
	case g.Owner == node:
		return res, nil
	default:
		if err := c.announce(ctx, group, node); err != nil {
			return res, err
		}
		f.via, f.doubt = c.send(ctx, op, "",
			func(ctx context.Context, via string) error { return c.d.StartMove(ctx, via, group, node) })
		if stays(f.doubt) {
			c.announced(ctx, group, f.doubt)
			return res, f.doubt
		}
		res.Moved = true
	}
	res.Outage, err = f.run(ctx)
	if res.Moved || leftover(g) {
		defer func() { c.announced(ctx, group, err) }()
	}
	if c.d.KeepsMoves() {
		// Without this the request would hold the group on the target for ever. Also when the move failed or the
		// caller gave up: a request left standing acts on its own later.
		clearCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
		clearErr := c.ClearMove(clearCtx, group)
		cancel()
		switch {
		case clearErr != nil:
			outcome := failover.OutcomeOf(behind.Effect(err)) // the request that stands can still move the group
			err = &failover.Error{Op: op, Target: group, Outcome: outcome, Err: errors.Join(err, clearErr),
				Next: "remove the location constraint cli-prefer-" + group + ": while it stands the cluster may act on it"}
		case err == nil:
			// The group stays only if nothing draws it home once the request is gone.
			err = f.confirm(ctx)
		case !f.left && (errors.Is(err, ErrTimeout) || errors.Is(err, ErrNotStarted) && f.doubt != nil):
			f.withdrawn = true
			err = f.notStarted(ctx, err)
		}
	}
	return res, err
}

// beforeMove reads the cluster and refuses what cannot end well, before anything is asked for.
func (c *core) beforeMove(ctx context.Context, group, node string, o MoveOptions) (Group, error) {
	const op = "move group"
	s, err := c.snapshot(ctx, "", "")
	if err != nil {
		return Group{}, err
	}
	g, err := s.named(op, group)
	if err != nil {
		return g, err
	}
	if leftover(g) && g.Owner != node {
		if err := c.ClearMove(ctx, group); err != nil {
			return g, err
		}
		if g, err = c.group(ctx, "", group); err != nil {
			return g, err
		}
	}
	if err := fitToLeave(op, g, node, o.Expect); err != nil {
		return g, err
	}
	if g.Owner == node {
		return g, nil
	}
	return g, fitToTake(op, s, g, node)
}

// leftover reports whether a request of an earlier run of ours stands.
func leftover(g Group) bool {
	return slices.ContainsFunc(g.Standing, func(m MoveRequest) bool { return m.Ours })
}

// acting reports whether a request of ours stands that the cluster may still act on.
func acting(g Group) bool {
	return slices.ContainsFunc(g.Standing, func(m MoveRequest) bool { return m.Ours && !m.Inert })
}

// fitToLeave says why the group cannot be moved off its owner now.
func fitToLeave(op string, g Group, node, expect string) error {
	switch {
	case g.Owner == "":
		return refuse(op, g.Name, "find out where the group runs before anything else", ErrOwnerUnknown, "%s", g)
	case g.State == StateUnknown:
		return refuse(op, g.Name, "find out how its node stands before anything else", ErrNotOnline, "%s", g)
	case g.Owner == node && g.State == StateFailed:
		return refuse(op, g.Name, "repair the group on its owner", ErrFailed, "%s", g)
	case g.Owner == node && g.State != StateOnline && g.State != StateOffline && g.State != StatePending:
		return refuse(op, g.Name, "bring up the members that are down", ErrPartial, "%s", g)
	case g.Owner == node:
		return nil
	case expect != "" && g.Owner != expect:
		return refuse(op, g.Name, "read the cluster and decide again", ErrOtherOwner, "%s, expected on %s", g, expect)
	case g.Locked:
		return refuse(op, g.Name, "unlock the group or wait for what locks it", ErrGroupLocked, "%s", g)
	case g.Unmanaged:
		return refuse(op, g.Name, "end the maintenance of the group or the cluster", ErrUnmanaged, "%s", g)
	case g.Queued || g.State == StatePending:
		return refuse(op, g.Name, "wait until the group stands still", ErrBusy, "%s", g)
	case g.State != StateOnline && g.State != StateOffline:
		return refuse(op, g.Name, "repair the group on its owner first", ErrNotOnline, "%s", g)
	}
	for _, m := range g.Standing {
		if !m.Ours {
			return refuse(op, g.Name, "ask who placed it and have it removed", ErrStandingRequest, "%s concerning %s",
				m.ID, m.Node)
		}
	}
	return nil
}

// fitToTake says why the node cannot take the group.
func fitToTake(op string, s Snapshot, g Group, node string) error {
	if err := fitNode(op, s, node); err != nil {
		return err
	}
	if s.Quorum == QuorumLost {
		return refuse(op, g.Name, "restore the quorum first", ErrNoQuorum, "seen from %s", s.ReadFrom)
	}
	if s.Maintenance {
		return refuse(op, g.Name, "end the maintenance of the cluster", ErrUnmanaged, "the whole cluster is in maintenance")
	}
	if names := g.Unwilling(node); len(names) > 0 {
		return refuse(op, g.Name, "let every member run on the node: see possible owners, bans, and failures there that "+
			"nobody cleared", ErrTargetUnfit, "%q may not run on %s", names, node)
	}
	return nil
}

func fitNode(op string, s Snapshot, node string) error {
	n, ok := s.Node(node)
	switch {
	case !ok:
		return refuse(op, node, "use a node the snapshot shows", ErrNotFound, "the cluster has no such node")
	case n.Isolated || n.Quarantined:
		return refuse(op, node, "find out why the cluster keeps the node out", ErrTargetUnfit, "%s", n.Raw)
	case n.State == NodePaused || n.Draining:
		return refuse(op, node, "resume the node", ErrNodePaused, "%s", n.Raw)
	case n.State != NodeUp:
		return refuse(op, node, "bring the node up", ErrNodeDown, "it is %s", n.State)
	}
	return nil
}

func (c *core) ClearMove(ctx context.Context, group string) error {
	const op = "clear move request"
	if err := c.d.Check("group", group); err != nil {
		return err
	}
	return c.setting(ctx, op, group, func(ctx context.Context) (bool, error) {
		g, err := c.group(ctx, "", group)
		return !leftover(g), err
	}, func(ctx context.Context, via string) error { return c.d.ClearMove(ctx, via, group) })
}

// follow watches a group after a move was asked for.
type follow struct {
	c         *core
	op        string
	group     string
	from, to  string
	want      State
	o         MoveOptions
	via       string // the node that had the request
	doubt     error  // the answer to the request was lost, so that it may still be on its way
	withdrawn bool   // the request was taken back, wherever it was
	twice     bool   // the good reading must be seen twice
	left      bool   // the group was seen otherwise than it was, so standing at the source again means it returned
	gone      bool   // it was seen down or on another node

	known []Failure // what the cluster had on record before
}

// run reads until the group is on the target in the wanted state, or until it is certain that it will not be.
func (f *follow) run(ctx context.Context) (outage time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	var down, since time.Time // since: the present reading has been the same since then
	defer func() {
		if !down.IsZero() {
			outage += time.Since(down)
		}
	}()
	var last Group
	var lastErr error
	same, avoid := 0, ""
	if f.doubt != nil {
		avoid = f.via
	}
	for {
		g, err := f.c.group(ctx, avoid, f.group)
		now := time.Now()
		if err != nil {
			if ctx.Err() != nil {
				return outage, f.timedOut(ctx, last, cmp.Or(lastErr, err))
			}
			if !errors.Is(err, ErrUnreachable) {
				return outage, f.fail(failover.InDoubt, "read the group from the cluster and judge by its owner and state", err)
			}
			lastErr = err
		} else {
			if lastErr = nil; g.Owner == last.Owner && g.State == last.State {
				same++
			} else {
				same, since = 1, now
				failover.Progress(ctx, g.String())
			}
			last = g
			switch {
			case g.State != f.want && down.IsZero():
				down = now
			case g.State == f.want && !down.IsZero():
				outage, down = outage+now.Sub(down), time.Time{}
			}
			if done, err := f.judge(g, same, now.Sub(since)); done {
				return outage, err
			}
		}
		if err := waiting.For(ctx, f.o.Poll); err != nil {
			return outage, f.timedOut(ctx, last, lastErr)
		}
	}
}

// judge says whether a reading ends the move. A bad state must have been read several times and for the time of grace:
// the cluster may be restarting the group or taking it back.
func (f *follow) judge(g Group, same int, since time.Duration) (bool, error) {
	failed, onTarget := f.cause(g)
	end := func(outcome failover.Outcome, kind error, next string) (bool, error) {
		return true, f.fail(outcome, next, fmt.Errorf("%w: %s%s", kind, g, failed))
	}
	reverted := func(kind error) error { return fmt.Errorf("%w: %w", failover.ErrReverted, kind) }
	switch {
	case g.Owner == f.to && g.State == f.want:
		return !f.twice || same >= 2, nil
	case g.Owner == f.from && g.State == f.want && !f.left:
		if onTarget && same >= 2 {
			// Stop, failed start and the start at the source lay between two readings; the record tells.
			return end(failover.NotApplied, reverted(ErrReturned),
				"repair what failed on the target and clear the failure in the cluster")
		}
		// While the request stands the cluster may still act on it.
		if g.Queued || g.Locked || since < f.o.Settle || same < 2 || acting(g) {
			return false, nil
		}
		// A request without an answer may come later; a time without a change is no proof against it.
		outcome, next := failover.NotApplied, "find out why the cluster did not move the group, then run again"
		if f.doubt != nil && !f.withdrawn {
			outcome, next = failover.InDoubt, late
		}
		return true, f.fail(outcome, next, fmt.Errorf("%w: %s for %s", ErrNotStarted, g, since.Round(time.Second)))
	}
	f.left = true
	f.gone = f.gone || g.Owner != f.from || g.State == StateOffline
	if same < 2 || g.State == StatePending || g.State == StateUnknown || g.Owner == "" && g.State != StateFailed {
		return false, nil
	}
	switch {
	case g.Owner == f.from && g.State == f.want:
		return end(failover.NotApplied, reverted(ErrReturned),
			"look in the cluster's log for why the target gave the group up")
	case same < badReadings || since < f.o.Grace:
		return false, nil
	case g.Owner == f.to && g.State == StateFailed:
		return end(failover.Applied, ErrFailed,
			"repair the group on the target or move it back; the members that failed are named")
	case g.Owner == f.to:
		return end(failover.Applied, ErrPartial, "bring up the members that are down, or move the group back")
	case g.Owner == f.from && !f.gone:
		return end(failover.InDoubt, fmt.Errorf("%w and was not seen to leave its node", ErrFailed), "find out what does not "+
			"stop or start, see that its process has ended, and clear the failure in the cluster; in a run, resolve the step as "+
			"not applied then")
	case g.Owner == f.from:
		// The move is over, and the service is down because of it: only a person can say when that has ended.
		failed = ", and it did not come up again" + failed
		return end(failover.InDoubt, ErrReturned,
			"bring the group up again where it is; in a run, resolve the step as not applied then")
	case g.State == StateFailed && g.Owner == "":
		return end(failover.Applied, ErrFailed, "repair the group; no single node has it")
	}
	kind := ErrElsewhere
	if g.State == f.want {
		kind = reverted(kind)
	}
	return end(failover.NotApplied, kind, "find out why the cluster placed the group there")
}

// cause tells what the cluster has recorded of members since before the move, and whether some of it is of the target.
func (f *follow) cause(g Group) (text string, onTarget bool) {
	for _, failure := range g.Failures {
		if !slices.Contains(f.known, failure) {
			text += "; " + failure.Text
			onTarget = onTarget || failure.Node == f.to
		}
	}
	return text, onTarget
}

// notStarted watches a group that stood at its source until the time was over, now that no request stands any more: the
// cluster has nothing left to act on.
func (f *follow) notStarted(ctx context.Context, timedOut error) error {
	f.o.Timeout = f.o.Settle + 4*f.o.Poll
	if _, err := f.run(ctx); errors.Is(err, ErrNotStarted) {
		return err
	}
	return timedOut
}

// confirm sees the group stay, twice, after the standing request was removed: what would draw it home does so at once.
func (f *follow) confirm(ctx context.Context) error {
	f.left, f.gone, f.twice, f.doubt = true, true, true, nil
	_, err := f.run(ctx)
	return err
}

func (f *follow) timedOut(ctx context.Context, last Group, err error) error {
	kind, seen := ErrUnreachable, "nothing"
	if last.Name != "" {
		// A reading that the end of the time cut off says less than the one before it.
		kind, seen, err = ErrTimeout, last.String(), nil
	}
	return f.fail(failover.InDoubt, "read the group from any node: the move may still end either way; do not ask for it "+
		"again before it stands still",
		errors.Join(fmt.Errorf("%w: last seen: %s", kind, seen), err, context.Cause(ctx)))
}

func (f *follow) fail(outcome failover.Outcome, next string, err error) error {
	if f.doubt != nil {
		err = fmt.Errorf("%w (the answer to the request was lost: %w)", err, f.doubt)
	}
	return &failover.Error{Op: f.op, Target: f.group + " to " + f.to, Outcome: outcome, Next: next, Err: err}
}
