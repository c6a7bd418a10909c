package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/01b61c5c/failover"
)

// lockKey is the name under which the lock stands in the cluster's configuration, where an administrator sees it.
const lockKey = "failover-lock"

// clusterLock keeps a claim in the cluster's configuration, by compare-and-set.
type clusterLock struct{ c *core }

func (c *core) Lock() failover.Lock { return clusterLock{c} }

func (l clusterLock) Acquire(ctx context.Context, claim failover.Claim) error {
	return l.swap(ctx, "take cluster lock", "", claim)
}

func (l clusterLock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	text, holder, err := l.read(ctx)
	if err != nil {
		return err
	}
	if text != "" && holder.ID != from.ID && holder.ID != to.ID {
		return locked("take over cluster lock", holder)
	}
	return l.swap(ctx, "take over cluster lock", text, to)
}

// swap replaces what is stored by the claim and reads it back: the reading, not the answer, says whose lock it is.
func (l clusterLock) swap(ctx context.Context, op, old string, claim failover.Claim) error {
	if claim.ID == "" {
		return failover.Invalid("Claim.ID", "is empty", "give every run its own random ID")
	}
	raw, err := json.Marshal(claim)
	if err != nil {
		return unchanged(op, "cluster", "make the claim marshal to JSON", err)
	}
	text, holder, err := l.read(ctx)
	switch {
	case err != nil:
		return err
	case text != "" && holder.ID == claim.ID:
		return nil
	case text != old:
		return locked(op, holder)
	}
	sent := l.store(ctx, op, old, string(raw))
	if stays(sent) && !errors.Is(sent, ErrMarkChanged) {
		return sent
	}
	const next = "run again: the lock is recognised by its ID"
	text, holder, err = l.read(ctx)
	switch {
	case err != nil:
		return doubt(op, "cluster", next, errors.Join(sent, err))
	case text != "" && holder.ID == claim.ID:
		return nil
	case text == old:
		return doubt(op, "cluster", next, errors.Join(sent, failover.ErrNotObserved))
	}
	return locked(op, holder)
}

// store asks for the mark to be changed.
func (l clusterLock) store(ctx context.Context, op, old, text string) error {
	_, err := l.c.send(ctx, op, "",
		func(ctx context.Context, via string) error { return l.c.d.SwapMark(ctx, via, lockKey, old, text) })
	return err
}

func (l clusterLock) Check(ctx context.Context, claim failover.Claim) error {
	text, holder, err := l.read(ctx)
	if err != nil || text != "" && holder.ID == claim.ID {
		return err
	}
	found := "nobody holds it"
	if text != "" {
		found = "it is held by " + whose(holder)
	}
	return unchanged("check cluster lock", "cluster", "find out who took it before going on",
		fmt.Errorf("%w: %s", failover.ErrLockLost, found))
}

func (l clusterLock) Release(ctx context.Context, claim failover.Claim) error {
	const op = "release cluster lock"
	text, holder, err := l.read(ctx)
	if err != nil || text == "" || holder.ID != claim.ID {
		return err
	}
	sent := l.store(ctx, op, text, "")
	if stays(sent) && !errors.Is(sent, ErrMarkChanged) {
		return sent
	}
	text, holder, err = l.read(ctx)
	if err == nil && (text == "" || holder.ID != claim.ID) {
		return nil
	}
	return doubt(op, "cluster", "release again: it is safe", errors.Join(sent, err, failover.ErrNotObserved))
}

func (l clusterLock) Holder(ctx context.Context) (failover.Claim, bool, error) {
	text, holder, err := l.read(ctx)
	return holder, text != "", err
}

// read returns what is stored and the claim in it. Something that is no claim counts as a lock of somebody unknown.
func (l clusterLock) read(ctx context.Context) (string, failover.Claim, error) {
	text, err := l.c.readMark(ctx, lockKey)
	var claim failover.Claim
	if err == nil && text != "" && json.Unmarshal([]byte(text), &claim) != nil {
		claim = failover.Claim{Owner: "somebody unknown", Purpose: fmt.Sprintf("unreadable lock text %.80q", text)}
	}
	return text, claim, err
}

func locked(op string, holder failover.Claim) error {
	return unchanged(op, "cluster", "wait for that run to end, or take its lock over if it is dead",
		fmt.Errorf("%w: held by %s", failover.ErrLocked, whose(holder)))
}

func whose(c failover.Claim) string {
	return fmt.Sprintf("%s since %s for %s (%s)", c.Owner, c.Since.Format(time.RFC3339), c.Purpose, c.ID)
}
