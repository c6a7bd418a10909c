package eft

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// The functions that steps are made of.
type (
	observing = func(context.Context) (failover.Observation, error)
	applying  = func(context.Context) error
	finding   = func(context.Context) (string, error)
)

// firmness says whether a person may waive a check.
type firmness bool

const firm, waivable firmness = true, false

const added = "added: "

// vendor names the sentence of the vendor's page that asks for a step, which has another number in the procedure for a
// program on the shared disk.
func (u upgrade) vendor(local, shared, sentence string) string {
	where := "local disk, step " + local
	if u.shared {
		where = "shared storage, step " + shared
	}
	return "Upgrading the Server in a Cluster, " + where + ": " + sentence
}

const (
	download   = "download the new version's installation file to each of the two nodes"
	asExpected = "double-check that the settings are as expected"
)

// look builds a Check whose condition is that find returns no error.
// guards is the step up to which it has to hold; "" is the next Once, or the next Change where there is none.
func look(id, title, target, source string, f firmness, guards string, find finding) failover.Step {
	return failover.Step{ID: id, Title: title, Target: target, Kind: failover.Check, Firm: bool(f), Guards: guards,
		Source: source, Timeout: readTime, Observe: later(func(ctx context.Context) (failover.Observation, error) {
			found, err := find(ctx)
			if err != nil {
				return failover.Observation{}, err // "enough" beside it would be untrue
			}
			return failover.Observation{Done: true, Found: found}, nil
		})}
}

// awaited makes a check wait for what comes by itself; a finding that is final ends the wait.
func (u upgrade) awaited(s failover.Step) failover.Step {
	s.Wait, s.Timeout, s.Poll = true, u.Verify, u.Poll
	return s
}

// wait builds a Check that looks again until it holds: sites start after the service, and a gateway reconnects later.
// What it finds at the last look is what the error says.
func (u upgrade) wait(id, title, target, source string, f firmness, guards string, find finding) failover.Step {
	// The look that the end of the time cuts off says nothing; the one before it says why.
	var last atomic.Pointer[error]
	return u.awaited(look(id, title, target, source, f, guards, func(ctx context.Context) (string, error) {
		found, err := find(ctx)
		if ctx.Err() == nil {
			last.Store(&err)
		} else if before := last.Load(); err != nil && before != nil && *before != nil {
			err = *before
		}
		if err != nil && !errors.Is(err, errNotYet) {
			err = &pending{err}
		}
		return found, err
	}))
}

// pending is an error that hides from the engine that it is final, and nothing else: only the end of the time makes a
// finding final.
type pending struct{ err error }

func (p *pending) Error() string { return p.err.Error() }

func (p *pending) Is(target error) bool {
	return target != failover.ErrPrecondition && errors.Is(p.err, target) //nolint:errorlint // the one sentinel to hide
}

func (p *pending) As(target any) bool { return errors.As(p.err, target) }

// change builds a harmless, repeatable Change.
func (u upgrade) change(id, title, target, source string, observe observing, apply, undo applying) failover.Step {
	return failover.Step{ID: id, Title: title, Target: target, Kind: failover.Change, Source: source, Timeout: changeTime,
		Poll: u.Poll, Attempts: u.Attempts, Observe: later(observe), Apply: apply, Undo: undo}
}

// record builds a Change that writes a fact and leaves nothing else behind. tell says what it holds, or would.
func record[T any](u upgrade, id, title, target, source string, fact failover.Fact[T],
	tell func(T) failover.Observation, apply applying) failover.Step {
	s := u.change(id, title, target, source, func(ctx context.Context) (failover.Observation, error) {
		value, ok, err := fact.Load(ctx)
		obs := tell(value)
		obs.Done = ok
		return obs, err
	}, apply, failover.NothingToUndo)
	s.Writes = []string{fact.Name}
	return s
}

// errNotYet: an earlier step has not run, which is the rule in a plan.
var errNotYet = errors.New("eft: not remembered yet")

// later turns "an earlier step has not run" into an observation that is not done.
func later(observe observing) observing {
	return func(ctx context.Context) (failover.Observation, error) {
		obs, err := observe(ctx)
		if errors.Is(err, errNotYet) {
			return failover.Observation{Found: obs.Found, Note: "not yet", Would: obs.Would}, nil
		}
		return obs, err
	}
}

// onNode reads how the product is installed on a node and judges that.
func onNode(n Node, judge func(Facts) (failover.Observation, error)) observing {
	return func(ctx context.Context) (failover.Observation, error) {
		f, err := n.Facts(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		return judge(f)
	}
}

// onGroup reads the group and judges that.
func (u upgrade) onGroup(judge func(cluster.Group) (failover.Observation, error)) observing {
	return func(ctx context.Context) (failover.Observation, error) {
		g, err := u.group(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		return judge(g)
	}
}

func (u upgrade) group(ctx context.Context) (cluster.Group, error) {
	return u.Cluster.Group(ctx, u.Group)
}
