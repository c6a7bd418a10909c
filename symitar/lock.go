package symitar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

// pairLock is the lock of a whole procedure: a folder in the state directory of each host, taken in fixed order. It
// is separate from the launcher's lock, which outlives the run until it is acknowledged.
type pairLock struct{ hosts []*Host }

// held is what one host says about the lock.
type held struct {
	id    string // "" while the owner is between making the folder and writing its name
	free  bool
	claim failover.Claim
}

// pairLock runs the script. That the lock is somebody else's is an error of acquire and takeover.
func (h *Host) pairLock(ctx context.Context, verb, id string, args ...string) (held, error) {
	op := strings.Replace(verb, "takeover", "take over", 1) + " the pair lock"
	a, err := h.repeat(ctx, op, pairLockScript, append([]string{h.set.StateDir, verb, id}, args...)...)
	switch {
	case err != nil:
		return held{}, err
	case a.unwritten() && verb != "takeover":
		return held{}, h.refused(op, failover.NotApplied, a)
	case a.exit != 0 && a.exit != exitHeld: // a take-over may have moved the lock away before it could not make its own
		return held{}, h.refused(op, failover.InDoubt, a)
	}
	first, rest, _ := strings.Cut(a.out, "\n")
	word, owner, _ := strings.Cut(strings.TrimSpace(first), " ")
	state := held{id: owner, free: word == "@@FREE"}
	switch word {
	case "@@OURS":
		state.id = id
	case "@@FREE", "@@HOLDER":
	default:
		return held{}, h.fail(op, failover.InDoubt, "look at "+h.set.StateDir+" on the host",
			fmt.Errorf("%w: it does not tell of the lock", errAnswerIncomplete))
	}
	_ = json.Unmarshal([]byte(strings.TrimSpace(rest)), &state.claim) // not readable yet: the id is what counts
	if a.exit == exitHeld && verb != "release" {
		return state, h.lockedBy(op, state)
	}
	return state, nil
}

func (h *Host) lockedBy(op string, s held) error {
	owner := "an owner not readable yet"
	if s.claim.Owner != "" {
		owner = fmt.Sprintf("%s for %s since %s", s.claim.Owner, s.claim.Purpose,
			s.claim.Since.UTC().Format("2006-01-02 15:04:05Z"))
	} else if s.id != "" {
		owner = "claim " + s.id
	}
	return h.notApplied(op, "ask the holder, or take the lock over when it is certain that nothing runs", "%w: %s",
		failover.ErrLocked, owner)
}

// Acquire implements failover.Lock. When the second host refuses, the first is given back.
func (l pairLock) Acquire(ctx context.Context, claim failover.Claim) error {
	text, err := written(claim)
	if err != nil {
		return err
	}
	for i, h := range l.hosts {
		if _, err := h.pairLock(ctx, "acquire", claim.ID, text); err != nil {
			fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), failover.DefaultTimeout)
			defer cancel()
			return errors.Join(err, pairLock{l.hosts[:i]}.Release(fresh, claim))
		}
	}
	return nil
}

func written(claim failover.Claim) (string, error) {
	text, err := json.Marshal(claim)
	if err != nil {
		return "", &failover.Error{Op: "write the claim", Outcome: failover.NotApplied, Next: "report this", Err: err}
	}
	return string(text), nil
}

// Check implements failover.Lock.
func (l pairLock) Check(ctx context.Context, claim failover.Claim) error {
	_, err := each(ctx, l.hosts, func(ctx context.Context, h *Host) (failover.Item, error) {
		s, err := h.pairLock(ctx, "holder", claim.ID)
		if err == nil && (s.free || s.id != claim.ID) {
			who := "nobody holds it"
			if !s.free {
				who = h.lockedBy("check the pair lock", s).Error()
			}
			err = h.notApplied("check the pair lock", "change nothing until it is clear who works on the pair", "%w: %s",
				failover.ErrLockLost, who)
		}
		return failover.Item{}, err
	})
	return err
}

// Release implements failover.Lock. It goes the other way round, and leaves the lock of somebody else alone.
func (l pairLock) Release(ctx context.Context, claim failover.Claim) error {
	var errs []error
	for _, h := range slices.Backward(l.hosts) {
		_, err := h.pairLock(ctx, "release", claim.ID)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Holder implements failover.Lock. A holder on one host only is a holder.
func (l pairLock) Holder(ctx context.Context) (failover.Claim, bool, error) {
	for _, h := range l.hosts {
		s, err := h.pairLock(ctx, "holder", "")
		if err != nil {
			return failover.Claim{}, false, unchanged(err)
		}
		if !s.free {
			s.claim.ID = cmp.Or(s.claim.ID, s.id)
			return s.claim, true, nil
		}
	}
	return failover.Claim{}, false, nil
}

// TakeOver implements failover.Lock. A host without a lock is locked too: the earlier owner may have been stopped
// between the hosts. A from without ID stands for an owner that never came to write its name. Safe to repeat.
func (l pairLock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	text, err := written(to)
	if err != nil {
		return err
	}
	for _, h := range l.hosts {
		if _, err := h.pairLock(ctx, "takeover", to.ID, from.ID, text); err != nil {
			return err
		}
	}
	return nil
}
