package symitar

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/01b61c5c/failover"
)

// hostLock is one host's part of the lock of a whole procedure: a folder in the state directory. It is separate from the
// launcher's lock, which outlives the run until it is acknowledged.
type hostLock struct{ h *Host }

// lockOf is the lock on several hosts, taken in their order.
func lockOf(hosts []*Host) failover.Lock {
	locks := make([]failover.Lock, len(hosts))
	for i, h := range hosts {
		locks[i] = hostLock{h}
	}
	return failover.Locks(locks...)
}

// String names the host.
func (l hostLock) String() string { return l.h.Name() }

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
	switch {
	case a.exit == exitHeld && verb != "release":
		return state, h.lockedBy(op, state)
	case a.exit == exitHeld && owner == id:
		return state, h.notApplied(op, "see whether somebody takes it over, whose claim stands in "+h.set.StateDir+
			"/pair.lock/ending on the host; remove that folder when nobody does, then run again",
			"%w: it is still ours, and another claim has begun to end it", errCommandFailed)
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

// Acquire implements failover.Lock.
func (l hostLock) Acquire(ctx context.Context, claim failover.Claim) error {
	text, _ := json.Marshal(claim) // a claim always can be
	_, err := l.h.pairLock(ctx, "acquire", claim.ID, string(text))
	return err
}

// Check implements failover.Lock.
func (l hostLock) Check(ctx context.Context, claim failover.Claim) error {
	s, err := l.h.pairLock(ctx, "holder", claim.ID)
	if err != nil || !s.free && s.id == claim.ID {
		return unchanged(err)
	}
	who := "nobody holds it"
	if !s.free {
		who = l.h.lockedBy("check the pair lock", s).Error()
	}
	return l.h.notApplied("check the pair lock", "change nothing until it is clear who works on the pair", "%w: %s",
		failover.ErrLockLost, who)
}

// Release implements failover.Lock. It leaves the lock of somebody else alone.
func (l hostLock) Release(ctx context.Context, claim failover.Claim) error {
	_, err := l.h.pairLock(ctx, "release", claim.ID)
	return err
}

// Holder implements failover.Lock.
func (l hostLock) Holder(ctx context.Context) (failover.Claim, bool, error) {
	s, err := l.h.pairLock(ctx, "holder", "")
	if err != nil || s.free {
		return failover.Claim{}, false, unchanged(err)
	}
	s.claim.ID = cmp.Or(s.id, s.claim.ID) // the id is what counts
	return s.claim, true, nil
}

// TakeOver implements failover.Lock. A from without ID stands for an owner that never came to write its name. Safe to
// repeat.
func (l hostLock) TakeOver(ctx context.Context, from, to failover.Claim) error {
	text, _ := json.Marshal(to) // a claim always can be
	_, err := l.h.pairLock(ctx, "takeover", to.ID, from.ID, string(text))
	return err
}
