package symitar

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
	"github.com/01b61c5c/failover/remote"
)

// HostRole is what a host is in the pair.
type HostRole int

// The roles. The zero value is RoleUnknown: the probes did not agree, or could not be asked.
const (
	RoleUnknown HostRole = iota
	RolePrimary
	RoleSecondary
)

var roleNames = []string{RoleUnknown: "unknown", RolePrimary: "primary", RoleSecondary: "secondary"}

// String returns "unknown", "primary" or "secondary".
func (r HostRole) String() string { return enum.Name(roleNames, r) }

// Role asks every configured probe for the host's role. The role is known when at least Quorum probes agree; why
// tells how each one voted. Errors mean that the host could not be asked; NotApplied always.
func (h *Host) Role(ctx context.Context) (role HostRole, why string, err error) {
	answers, err := h.askProbes(ctx)
	if err != nil {
		return RoleUnknown, "", err
	}
	votes := map[HostRole]int{}
	var said []string
	for i, p := range h.set.Role.Probes {
		vote := p.vote(answers[i])
		votes[vote]++
		said = append(said, p.Name+" says "+vote.String())
	}
	why = strings.Join(said, ", ")
	for _, r := range []HostRole{RolePrimary, RoleSecondary} {
		if votes[r] >= h.set.Role.Quorum {
			return r, why, nil
		}
	}
	return RoleUnknown, why, nil
}

// askProbes runs all probes in one session.
func (h *Host) askProbes(ctx context.Context) ([]answer, error) {
	const op = "ask the role probes"
	nonce := newNonce()
	args := []string{nonce}
	for _, p := range h.set.Role.Probes {
		args = append(args, p.Command)
	}
	rest, err := h.read(ctx, op, rolesScript, args...)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(h.set.Role.Probes))
	for i := range answers {
		out, after, found := strings.Cut(rest, "\n@@"+nonce+" rc=")
		status, after, _ := strings.Cut(after, "\n")
		exit, err := strconv.Atoi(strings.TrimSpace(status))
		if !found || err != nil {
			return nil, h.notApplied(op, "run the probes by hand on the host", "%w: probe %s gave no answer",
				errAnswerIncomplete, h.set.Role.Probes[i].Name)
		}
		answers[i], rest = answer{out: out, exit: exit}, after
	}
	return answers, nil
}

// vote judges one answer. Both expressions matching is as undecided as none, and a command that failed has no vote.
func (p RoleProbe) vote(a answer) HostRole {
	primary := regexp.MustCompile(p.Primary).MatchString(a.out)
	secondary := regexp.MustCompile(p.Secondary).MatchString(a.out)
	switch {
	case a.exit != 0 || primary == secondary:
		return RoleUnknown
	case primary:
		return RolePrimary
	}
	return RoleSecondary
}

type direction struct {
	old  *Host // gives the primary role up
	next *Host // takes it
}

func (d direction) String() string { return d.old.Name() + " → " + d.next.Name() }

func (d direction) host(on On) *Host {
	if on == OnOldPrimary {
		return d.old
	}
	return d.next
}

// rolesWanted observes whether the host that should be primary is, and the other one is secondary. In a Failover the
// dead host is not asked.
func (f firing) rolesWanted(ctx context.Context, primary, secondary *Host) (failover.Observation, error) {
	hosts := slices.DeleteFunc([]*Host{primary, secondary}, func(h *Host) bool { return !slices.Contains(f.all, h) })
	return each(ctx, hosts, func(ctx context.Context, h *Host) (failover.Item, error) {
		want := RoleSecondary
		if h == primary {
			want = RolePrimary
		}
		role, why, err := h.Role(ctx)
		found := role.String()
		if role == RoleUnknown {
			found += " (" + why + ")"
		}
		return failover.Item{Done: role == want, Found: found}, err
	})
}

// rolesBefore is the check that the roles are as they have to be before the swap.
func (f firing) rolesBefore() failover.Step {
	title := f.dir.next.Name() + " is secondary"
	if f.alive() {
		title = f.dir.old.Name() + " is primary and " + title
	}
	s := f.check("roles", title, "ours: stop if there is not exactly one primary and one secondary", f.all,
		func(ctx context.Context) (failover.Observation, error) {
			return f.rolesWanted(ctx, f.dir.old, f.dir.next)
		})
	s.Firm = true
	return s
}

// orSwapped is for what the macro needs: where somebody else has swapped the roles, none is fired, and the run goes on
// behind it.
func (f firing) orSwapped(see observe) observe {
	return func(ctx context.Context) (failover.Observation, error) {
		obs, err := see(ctx)
		if err != nil || !obs.Done {
			if roles, err := f.roles(ctx); err == nil && roles.Done {
				return failover.Observation{Done: true, Found: "the roles are swapped already: " + roles.Found}, nil
			}
		}
		return obs, err
	}
}

// silentStep makes sure that the host said to be gone does not act as primary. Behind the macro it looks again: that
// may have moved the address of the old primary to the new one.
func (f firing) silentStep(moved bool) failover.Step {
	old := f.dir.old
	return failover.Step{ID: "old-primary-silent", Title: old.Name() + " does not act as primary any more",
		Target: old.Name(), Kind: failover.Check, Firm: true, Source: "ours: two active primaries are the worst outcome",
		Timeout: 2*cmp.Or(old.cfg.SSH.ConnectTimeout, 20*time.Second) + f.on.set.Limits.Look + 5*time.Second,
		Observe: func(ctx context.Context) (failover.Observation, error) { return f.oldPrimarySilent(ctx, moved) }}
}

// oldPrimarySilent proves silence as the package documentation describes it, and takes everything else for life: then
// only an observed role that is not primary serves.
func (f firing) oldPrimarySilent(ctx context.Context, moved bool) (failover.Observation, error) {
	old := f.dir.old
	const off = "switch it off, or make its role readable"
	err := old.remote.Reach(ctx)
	switch remote.AnswerOf(err) {
	case remote.AnswerNone:
		// Where the other host is silent too, it may be the network from here.
		if other := f.dir.next.remote.Reach(ctx); other != nil {
			return failover.Observation{}, f.dir.next.notApplied("see whether "+old.Name()+" is silent", "see to it that "+
				f.dir.next.Name()+" can be reached from here, then run again", "nothing is proven while %s does not answer: %w",
				f.dir.next.Name(), other)
		}
		return failover.Observation{Done: true, Found: "nothing answers at its address", Note: plain(err)}, nil
	case remote.AnswerUnknown:
		return failover.Observation{}, unchanged(old.named("see whether it is silent", err))
	case remote.AnswerSome:
	}
	role, votes, err := old.Role(ctx)
	switch {
	case errors.Is(err, remote.ErrPeerHostKey) && moved:
		return failover.Observation{Done: true, Found: "its address is answered by " + f.dir.next.Name()}, nil
	case errors.Is(err, remote.ErrPeerHostKey):
		return failover.Observation{Found: "its address is answered by " + f.dir.next.Name() +
			", so nothing is known about " + old.Name() + "; correct its address"}, nil
	case err != nil && ctx.Err() == nil:
		return failover.Observation{Found: "its address answers, and its role is not known; " + off + ": " + plain(err)}, nil
	case err != nil:
		return failover.Observation{}, err
	case role == RoleSecondary:
		return failover.Observation{Done: true, Found: "it answers and is secondary"}, nil
	case role == RolePrimary:
		return failover.Observation{Found: "it answers and is still primary; switch it off, or use Switchover"}, nil
	}
	return failover.Observation{Found: "it answers, and its role is not clear (" + votes + "); " + off}, nil
}
