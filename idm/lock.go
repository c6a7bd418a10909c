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
	isLock := func(v []byte) bool { return bytes.HasPrefix(v, []byte(lockPrefix)) }
	if !slices.ContainsFunc(values, isLock) {
		return values
	}
	return slices.DeleteFunc(slices.Clone(values), isLock)
}

func (l DirectoryLock) attribute() string { return cmp.Or(l.Attribute, defaultLockAttribute) }

func (l DirectoryLock) fail(op, next string, outcome failover.Outcome, err error) error {
	return &failover.Error{Op: op, Target: l.Entry, Outcome: outcome, Next: next, Err: err}
}

// values returns the claims found, their text, and whether the free mark is there.
func (l DirectoryLock) values(ctx context.Context) (claims []failover.Claim, texts []string, free bool, err error) {
	e, err := l.Server.Read(ctx, l.Entry, l.attribute())
	if err != nil {
		return nil, nil, false, err
	}
	for _, text := range e.Texts(l.attribute()) {
		rest, ok := strings.CutPrefix(text, lockPrefix)
		switch {
		case !ok:
		case text == lockFree:
			free = true
		default:
			var c failover.Claim
			if err := json.Unmarshal([]byte(rest), &c); err != nil || c.ID == "" {
				return nil, nil, false, l.fail("read lock on", "look at the attribute "+l.attribute()+" and repair it",
					failover.NotApplied,
					fmt.Errorf("%w: a value that cannot be read", failover.ErrLocked))
			}
			claims, texts = append(claims, c), append(texts, text)
		}
	}
	return claims, texts, free, nil
}

func (l DirectoryLock) held(c failover.Claim) error {
	return l.fail("lock", "find out what "+c.Owner+
		" does there; take the lock over only when it is certain that nothing runs", failover.NotApplied,
		fmt.Errorf("%w: held by %s since %s for %s", failover.ErrLocked, c.Owner,
			c.Since.UTC().Format("2006-01-02 15:04:05Z"), c.Purpose))
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
	return lockPrefix + string(raw), err
}

// Acquire implements failover.Lock.
func (l DirectoryLock) Acquire(ctx context.Context, claim failover.Claim) error {
	mine, err := lockText(claim)
	if err != nil || claim.ID == "" {
		return failover.Invalid("Claim.ID", "is empty", "give each journal its own ID")
	}
	claims, _, free, err := l.values(ctx)
	if err != nil {
		return err
	}
	for _, c := range claims {
		if c.ID != claim.ID {
			return l.held(c)
		}
	}
	if len(claims) > 0 {
		return nil
	}
	if !free {
		// The mark is what two runs compete for; adding it twice is refused as a duplicate and harmless.
		if err := l.Server.Modify(ctx, l.Entry, AttributeChange{ChangeAdd, Text(l.attribute(), lockFree)}); err != nil &&
			!errors.Is(err, ErrExists) {
			return err
		}
	}
	err = l.swap(ctx, lockFree, mine)
	if errors.Is(err, ErrNoAttribute) {
		if c, ok, holderErr := l.Holder(ctx); holderErr == nil && ok {
			return l.held(c)
		}
		return l.fail("lock", "try again", failover.NotApplied,
			fmt.Errorf("%w: somebody was faster: %w", failover.ErrLocked, err))
	}
	if err != nil {
		return err
	}
	// Two runs that both found no mark may both have put one there. The later one sees the earlier one here and gives way.
	claims, _, _, err = l.values(ctx)
	if err != nil {
		return behind(l.Entry, err)
	}
	for _, c := range claims {
		if c.ID != claim.ID {
			if err := l.Server.Modify(ctx, l.Entry, AttributeChange{ChangeDelete, Text(l.attribute(), mine)}); err != nil {
				return behind(l.Entry, err)
			}
			return l.held(c)
		}
	}
	return nil
}

func (l DirectoryLock) swap(ctx context.Context, from, to string) error {
	return l.Server.Modify(ctx, l.Entry, AttributeChange{ChangeDelete, Text(l.attribute(), from)},
		AttributeChange{ChangeAdd, Text(l.attribute(), to)})
}

// Check implements failover.Lock.
func (l DirectoryLock) Check(ctx context.Context, claim failover.Claim) error {
	claims, _, _, err := l.values(ctx)
	if err != nil {
		return err
	}
	for _, c := range claims {
		if c.ID == claim.ID {
			return nil
		}
	}
	return l.fail("check lock on", "find out who took it over", failover.NotApplied, failover.ErrLockLost)
}

// Release implements failover.Lock.
func (l DirectoryLock) Release(ctx context.Context, claim failover.Claim) error {
	claims, texts, _, err := l.values(ctx)
	if err != nil {
		return err
	}
	for i, c := range claims {
		if c.ID == claim.ID {
			if err := l.swap(ctx, texts[i], lockFree); err != nil && !errors.Is(err, ErrNoAttribute) {
				return err
			}
		}
	}
	return nil
}

// Holder implements failover.Lock.
func (l DirectoryLock) Holder(ctx context.Context) (failover.Claim, bool, error) {
	claims, _, _, err := l.values(ctx)
	if err != nil || len(claims) == 0 {
		return failover.Claim{}, false, err
	}
	return claims[0], true, nil
}

// TakeOver implements failover.Lock.
func (l DirectoryLock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	mine, err := lockText(to)
	if err != nil || to.ID == "" {
		return failover.Invalid("Claim.ID", "is empty", "give each journal its own ID")
	}
	claims, texts, _, err := l.values(ctx)
	if err != nil {
		return err
	}
	for i, c := range claims {
		switch c.ID {
		case to.ID:
			return nil
		case from.ID:
			err := l.swap(ctx, texts[i], mine)
			if errors.Is(err, ErrNoAttribute) {
				return l.fail("take over lock on", "look who holds it now", failover.NotApplied,
					fmt.Errorf("%w: it changed hands meanwhile", failover.ErrLocked))
			}
			return err
		}
	}
	if len(claims) > 0 {
		return l.held(claims[0])
	}
	return l.fail("take over lock on", "nobody holds it: run normally", failover.NotApplied,
		fmt.Errorf("%w: not by %s", failover.ErrLocked, from.Owner))
}
