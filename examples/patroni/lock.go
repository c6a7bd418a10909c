package patroni

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/01b61c5c/failover"
)

// lock is the lock of a cluster: claims under the key failover_lock of Patroni's dynamic configuration, which all members
// share. Patroni merges a PATCH into what it has read and writes it by compare-and-set, so the answer to a PATCH that changes
// something is how things stand right behind it (seen in api.py). PATCH has no condition of its own. Two rules make up for that:
// each claim has a key of its own, and whoever finds another claim beside the one it has just written takes its own back. So of
// two, at most one goes on. The field turn changes with every PATCH, so that none is a mere reading of what may be old.
type lock struct{ cluster *Cluster }

// Lock returns the lock of the cluster. It is free when the key failover_lock holds no claim. A process that is killed
// between its claim and taking it back leaves a claim that is not the holder's; its text says so to those it keeps out.
func (c *Cluster) Lock() failover.Lock { return lock{c} }

type lockState struct {
	Claims map[string]failover.Claim `json:"claims"`
	Holder string                    `json:"holder"` // ID of a claim; void when that claim is gone
}

// holder is who has the lock; where a claim was left by a process that was killed, that one.
func (s lockState) holder() (failover.Claim, bool) {
	if c, ok := s.Claims[s.Holder]; ok {
		return c, true
	}
	for _, id := range slices.Sorted(maps.Keys(s.Claims)) {
		return s.Claims[id], true
	}
	return failover.Claim{}, false
}

// besides returns a claim that is none of those named.
func (s lockState) besides(ids ...string) (failover.Claim, bool) {
	for _, id := range slices.Sorted(maps.Keys(s.Claims)) {
		if !slices.Contains(ids, id) {
			return s.Claims[id], true
		}
	}
	return failover.Claim{}, false
}

const lockTries = 5

// patch merges a change into the lock and returns how it stands behind it. Every change here is safe to repeat.
func (l lock) patch(ctx context.Context, change map[string]any) (lockState, error) {
	body := map[string]any{"failover_lock": change}
	if change == nil {
		body = map[string]any{"failover_lock_reading": nil} // removes what is not there: a reading past the member's cache
	} else {
		change["turn"] = rand.Text()
	}
	var err error
	for range lockTries {
		for _, m := range l.cluster.config.Members {
			limit, cancel := context.WithTimeout(ctx, DefaultTimeout)
			var text []byte
			text, err = l.cluster.send(limit, m, http.MethodPatch, "/config", body)
			cancel()
			var config struct {
				Lock lockState `json:"failover_lock"`
			}
			if err == nil {
				err = json.Unmarshal(text, &config)
			}
			// What was to be removed where nothing was stays as a null.
			maps.DeleteFunc(config.Lock.Claims, func(_ string, c failover.Claim) bool { return c.ID == "" })
			if err == nil || ctx.Err() != nil || errors.Is(err, failover.ErrRejected) {
				return config.Lock, err
			}
		}
	}
	return lockState{}, err
}

func claims(changes map[string]*failover.Claim) map[string]any {
	return map[string]any{"claims": changes}
}

// Acquire implements failover.Lock.
func (l lock) Acquire(ctx context.Context, c failover.Claim) error {
	s, err := l.patch(ctx, claims(map[string]*failover.Claim{c.ID: &c}))
	if err != nil || s.Holder == c.ID {
		return err
	}
	if other, taken := s.besides(c.ID); taken {
		if s.Claims[s.Holder].ID != "" {
			other = s.Claims[s.Holder]
		}
		return l.withdraw(ctx, "acquire", c, other)
	}
	_, err = l.patch(ctx, map[string]any{"holder": c.ID})
	return err
}

// withdraw takes a claim back that was written beside another one.
func (l lock) withdraw(ctx context.Context, op string, c, other failover.Claim) error {
	if _, err := l.patch(ctx, claims(map[string]*failover.Claim{c.ID: nil})); err != nil {
		return &failover.Error{Op: op, Target: "failover_lock", Outcome: failover.InDoubt, Err: fmt.Errorf("%w; and the claim stays: %w", failover.ErrLocked, err),
			Next: "remove the claim " + c.ID + " with patronictl edit-config"}
	}
	return refused(op, failover.ErrLocked, other)
}

func refused(op string, kind error, by failover.Claim) error {
	if by.ID != "" {
		kind = fmt.Errorf("%w: claim %s of %s on %s since %s: %s", kind, by.ID, by.Owner, by.Holder.Host, by.Since.Format("2006-01-02 15:04 MST"), by.Purpose)
	}
	return &failover.Error{Op: op, Target: "failover_lock", Outcome: failover.NotApplied, Err: kind,
		Next: "ask the owner; a claim of a process that is dead can be taken over, or removed with patronictl edit-config"}
}

// Check implements failover.Lock.
func (l lock) Check(ctx context.Context, c failover.Claim) error {
	s, err := l.patch(ctx, map[string]any{})
	if err != nil {
		return err
	}
	if _, there := s.Claims[c.ID]; !there || s.Holder != c.ID {
		by, _ := s.holder()
		return refused("check", failover.ErrLockLost, by)
	}
	return nil
}

// Release implements failover.Lock.
func (l lock) Release(ctx context.Context, c failover.Claim) error {
	_, err := l.patch(ctx, claims(map[string]*failover.Claim{c.ID: nil}))
	return err
}

// Holder implements failover.Lock. It changes nothing.
func (l lock) Holder(ctx context.Context) (failover.Claim, bool, error) {
	s, err := l.patch(ctx, nil)
	c, held := s.holder()
	return c, held, err
}

// TakeOver implements failover.Lock. The new claim stands beside the old one first: of two that take over, one withdraws.
func (l lock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	s, err := l.patch(ctx, claims(map[string]*failover.Claim{to.ID: &to}))
	if err != nil {
		return err
	}
	if other, taken := s.besides(from.ID, to.ID); taken {
		return l.withdraw(ctx, "take over", to, other)
	}
	if _, there := s.Claims[from.ID]; !there && s.Holder != to.ID {
		return l.withdraw(ctx, "take over", to, failover.Claim{})
	}
	change := claims(map[string]*failover.Claim{from.ID: nil})
	change["holder"] = to.ID
	_, err = l.patch(ctx, change)
	return err
}
