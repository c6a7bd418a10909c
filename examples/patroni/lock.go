package patroni

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/01b61c5c/failover"
)

// lock is the lock of a cluster: claims under the key failover_lock of Patroni's dynamic configuration, which all
// members share. The answer to a PATCH that changes something is how things stand right behind it: Patroni merges it
// into what it has read, and writes by compare-and-set (seen in api.py). PATCH has no condition of its own. Two rules
// make up for that: each claim has a key of its own, and whoever finds another claim beside the one it has just written
// takes its own back. The field turn changes with every PATCH, so that none is a mere reading of what may be old.
type lock struct{ cluster *Cluster }

// Lock returns the lock of the cluster. It is free when the key failover_lock holds no claim. A process that is killed
// between its claim and taking it back leaves a claim that is not the holder's; its text says so to those it keeps out.
func (c *Cluster) Lock() failover.Lock { return lock{c} }

type lockState struct {
	Claims map[string]failover.Claim `json:"claims"`
	Holder string                    `json:"holder"` // ID of a claim; void when that claim is gone
}

// besides returns a claim that is none of those named: the holder's, or one that was left by a process that was killed.
func (s lockState) besides(ids ...string) (failover.Claim, bool) {
	for _, id := range append([]string{s.Holder}, slices.Sorted(maps.Keys(s.Claims))...) {
		if c, there := s.Claims[id]; there && !slices.Contains(ids, id) {
			return c, true
		}
	}
	return failover.Claim{}, false
}

// patch merges a change into the lock and returns how it stands behind it. Every change here is safe to repeat.
func (l lock) patch(ctx context.Context, change map[string]any) (lockState, error) {
	body := map[string]any{"failover_lock": change}
	if change == nil {
		body = map[string]any{"failover_lock_reading": nil} // removes what is not there: a reading past any cache
	} else {
		change["turn"] = rand.Text()
	}
	var tried []error // an earlier one may have been carried out, whatever becomes of the last
	for _, m := range slices.Repeat(l.cluster.config.Members, 5) {
		var config struct {
			Lock lockState `json:"failover_lock"`
		}
		err := l.cluster.ask(ctx, m, http.MethodPatch, "/config", body, &config)
		// What was to be removed where nothing was stays as a null.
		maps.DeleteFunc(config.Lock.Claims, func(_ string, c failover.Claim) bool { return c.ID == "" })
		if err == nil {
			return config.Lock, nil
		}
		if tried = append(tried, err); ctx.Err() != nil || errors.Is(err, failover.ErrRejected) {
			break
		}
	}
	return lockState{}, errors.Join(tried...)
}

// claim writes a claim, or removes it when c is nil.
func (l lock) claim(ctx context.Context, id string, c *failover.Claim) (lockState, error) {
	return l.patch(ctx, map[string]any{"claims": map[string]*failover.Claim{id: c}})
}

// Acquire implements failover.Lock.
func (l lock) Acquire(ctx context.Context, c failover.Claim) error { return l.take(ctx, c, "") }

// TakeOver implements failover.Lock. The new claim stands beside the old one first: of two that do so, one withdraws.
func (l lock) TakeOver(ctx context.Context, old, c failover.Claim) error {
	return l.take(ctx, c, old.ID)
}

// take writes a claim and makes it the holder's, in the place of from where there is one. It takes the claim back when
// there is another one beside it, or none to take over from.
func (l lock) take(ctx context.Context, c failover.Claim, from string) error {
	s, err := l.claim(ctx, c.ID, &c)
	if err != nil || s.Holder == c.ID {
		return err
	}
	other, taken := s.besides(c.ID, from)
	if taken || from != "" && s.Claims[from].ID == "" {
		did := failover.Targets{{Target: "the lock", Err: refused(failover.ErrLocked, other)}}
		if _, err := l.claim(ctx, c.ID, nil); err != nil {
			did.Add("the claim beside it", &failover.Error{Op: "take it back", Outcome: failover.Applied, Err: err})
		}
		return did.Err()
	}
	change := map[string]any{"holder": c.ID}
	if from != "" {
		change["claims"] = map[string]any{from: nil}
	}
	_, err = l.patch(ctx, change)
	return failover.Targets{{Target: "the claim"}, {Target: "the holder", Err: err}}.Err()
}

func refused(kind error, by failover.Claim) error {
	if by.ID != "" {
		kind = fmt.Errorf("%w: claim %s of %s on %s: %s", kind, by.ID, by.Owner, by.Holder.Host, by.Purpose)
	}
	return &failover.Error{Op: "lock", Target: "failover_lock", Outcome: failover.NotApplied, Err: kind,
		Next: "ask the owner; a claim of a process that is dead can be taken over, or removed with patronictl edit-config"}
}

// Check implements failover.Lock.
func (l lock) Check(ctx context.Context, c failover.Claim) error {
	s, err := l.patch(ctx, map[string]any{})
	if err == nil && s.Claims[s.Holder].ID != c.ID {
		by, _ := s.besides(c.ID)
		return refused(failover.ErrLockLost, by)
	}
	return err
}

// Release implements failover.Lock.
func (l lock) Release(ctx context.Context, c failover.Claim) error {
	_, err := l.claim(ctx, c.ID, nil)
	return err
}

// Holder implements failover.Lock. It changes nothing.
func (l lock) Holder(ctx context.Context) (failover.Claim, bool, error) {
	s, err := l.patch(ctx, nil)
	c, held := s.besides()
	return c, held, err
}
