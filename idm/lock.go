package idm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
)

// defaultLockAttribute holds the lock of [DirectoryLock] unless another one is chosen. That a driver set may carry it
// is inferred; any attribute of text that the class allows will do.
const defaultLockAttribute = "description"

const (
	lockPrefix = "failover-lock:"
	lockFree   = lockPrefix + "free"
)

// DirectoryLock keeps a failover.Lock as a value of an attribute of the driver set, where every operator sees it. It
// takes the lock by an LDAP modify that deletes the value of the state it saw and adds its own in one request: the
// server refuses it when somebody was faster. Values of other users of the attribute are left alone.
//
// A modify is atomic on one server only; replicas agree later. Every run must lock through the same server, and the
// procedures of this package always use the server the drivers move to. That eDirectory applies all parts of a modify
// or none is RFC 4511's word (§4.6); the choice of the attribute is inferred, so it can be set.
type DirectoryLock struct {
	Server    *Server
	Entry     string // DN, as a rule of the driver set
	Attribute string // "" means description
}

var _ failover.Lock = DirectoryLock{}

// withoutLocks returns the values without those of a lock: they are of the moment, and no part of a configuration.
func withoutLocks(values [][]byte) [][]byte {
	return without(values, func(v []byte) bool { return bytes.HasPrefix(v, []byte(lockPrefix)) })
}

func (l DirectoryLock) attribute() string { return cmp.Or(l.Attribute, defaultLockAttribute) }

func (l DirectoryLock) value(kind ChangeKind, text string) AttributeChange {
	return AttributeChange{kind, Text(l.attribute(), text)}
}

// holding is a claim with the value that holds it.
type holding struct {
	failover.Claim
	text string
}

// values returns the claims found, and whether the free mark is there.
func (l DirectoryLock) values(ctx context.Context) (claims []holding, free bool, err error) {
	e, err := l.Server.Read(ctx, l.Entry, l.attribute())
	if err != nil {
		return nil, false, err
	}
	for _, text := range e.Texts(l.attribute()) {
		rest, ours := strings.CutPrefix(text, lockPrefix)
		switch {
		case !ours:
		case text == lockFree:
			free = true
		default:
			c := holding{text: text}
			if err := json.Unmarshal([]byte(rest), &c.Claim); err != nil || c.ID == "" {
				return nil, false, notDone("read lock on", l.Entry, "look at the attribute "+l.attribute()+" and repair it",
					fmt.Errorf("%w: a value that cannot be read", failover.ErrLocked))
			}
			claims = append(claims, c)
		}
	}
	return claims, free, nil
}

func (l DirectoryLock) held(c holding) error {
	return notDone("lock", l.Entry,
		"find out what "+c.Owner+" does there; take the lock over only when it is certain that nothing runs",
		fmt.Errorf("%w: held by %s since %s for %s", failover.ErrLocked, c.Owner,
			c.Since.UTC().Format("2006-01-02 15:04:05Z"), c.Purpose))
}

// heldBesides refuses where somebody else holds the lock.
func (l DirectoryLock) heldBesides(claims []holding, id string) error {
	for _, c := range claims {
		if c.ID != id {
			return l.held(c)
		}
	}
	return nil
}

// lockSize is the longest text that a description takes (X.520's upper bound; that eDirectory has it too is inferred).
const lockSize = 1024

// lockText is the whole claim. Of a purpose that is too long the end is left out: it is there for people.
func lockText(c failover.Claim) (string, error) {
	raw, err := json.Marshal(c)
	for err == nil && len(lockPrefix)+len(raw) > lockSize && c.Purpose != "" {
		over := len(lockPrefix) + len(raw) - lockSize
		c.Purpose = strings.ToValidUTF8(c.Purpose[:max(0, len(c.Purpose)-over)], "")
		raw, err = json.Marshal(c)
	}
	if err != nil || c.ID == "" {
		return "", failover.Invalid("Claim.ID", "is empty", "give each journal its own ID")
	}
	return lockPrefix + string(raw), nil
}

// Acquire implements failover.Lock.
func (l DirectoryLock) Acquire(ctx context.Context, claim failover.Claim) error {
	mine, err := lockText(claim)
	if err != nil {
		return err
	}
	claims, free, err := l.values(ctx)
	if err == nil {
		err = l.heldBesides(claims, claim.ID)
	}
	if err != nil || len(claims) > 0 {
		return err
	}
	if !free {
		// The mark is what two runs compete for; adding it twice is refused as a duplicate and harmless.
		if err := unless(ErrExists, l.Server.Modify(ctx, l.Entry, l.value(ChangeAdd, lockFree))); err != nil {
			return err
		}
	}
	err = l.swap(ctx, lockFree, mine)
	if errors.Is(err, ErrNoAttribute) {
		if claims, _, valuesErr := l.values(ctx); valuesErr == nil && len(claims) > 0 {
			return l.held(claims[0])
		}
		return notDone("lock", l.Entry, "try again", fmt.Errorf("%w: somebody was faster: %w", failover.ErrLocked, err))
	}
	if err != nil {
		return err
	}
	// Two runs that both found no mark may both have put one there. The later one sees the earlier one here and gives way.
	if claims, _, err = l.values(ctx); err != nil {
		return behind.Effect(err)
	}
	besides := l.heldBesides(claims, claim.ID)
	if len(claims) == 0 {
		besides = notDone("lock", l.Entry, "grant the user the right to read "+l.attribute()+" of it",
			fmt.Errorf("%w: the claim that was written is not shown, and no other one would be", ErrNoAccess))
	}
	if besides != nil {
		if err := l.Server.Modify(ctx, l.Entry, l.value(ChangeDelete, mine)); err != nil {
			return behind.Effect(err)
		}
	}
	return besides
}

func (l DirectoryLock) swap(ctx context.Context, from, to string) error {
	return l.Server.Modify(ctx, l.Entry, l.value(ChangeDelete, from), l.value(ChangeAdd, to))
}

// Check implements failover.Lock.
func (l DirectoryLock) Check(ctx context.Context, claim failover.Claim) error {
	claims, _, err := l.values(ctx)
	if err != nil || slices.ContainsFunc(claims, func(c holding) bool { return c.ID == claim.ID }) {
		return err
	}
	return notDone("check lock on", l.Entry, "find out who took it over", failover.ErrLockLost)
}

// Release implements failover.Lock.
func (l DirectoryLock) Release(ctx context.Context, claim failover.Claim) error {
	claims, _, err := l.values(ctx)
	for _, c := range claims {
		if err == nil && c.ID == claim.ID {
			err = unless(ErrNoAttribute, l.swap(ctx, c.text, lockFree))
		}
	}
	return err
}

// Holder implements failover.Lock.
func (l DirectoryLock) Holder(ctx context.Context) (failover.Claim, bool, error) {
	claims, _, err := l.values(ctx)
	if len(claims) == 0 {
		return failover.Claim{}, false, err
	}
	return claims[0].Claim, true, nil
}

// TakeOver implements failover.Lock.
func (l DirectoryLock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	const op = "take over lock on"
	mine, err := lockText(to)
	if err != nil {
		return err
	}
	claims, _, err := l.values(ctx)
	if err != nil {
		return err
	}
	for _, c := range claims {
		switch c.ID {
		case to.ID:
			return nil
		case from.ID:
			err := l.swap(ctx, c.text, mine)
			if errors.Is(err, ErrNoAttribute) {
				return notDone(op, l.Entry, "look who holds it now",
					fmt.Errorf("%w: it changed hands meanwhile", failover.ErrLocked))
			}
			return err
		}
	}
	if len(claims) > 0 {
		return l.held(claims[0])
	}
	return notDone(op, l.Entry, "nobody holds it: run normally",
		fmt.Errorf("%w: not by %s", failover.ErrLocked, from.Owner))
}
