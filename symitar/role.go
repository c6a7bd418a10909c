package symitar

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

//go:embed scripts/roles.sh
var rolesScript string

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
			return nil, h.fail(op, failover.NotApplied, "run the probes by hand on the host",
				fmt.Errorf("%w: probe %s gave no answer", errAnswerIncomplete, h.set.Role.Probes[i].Name))
		}
		answers[i], rest = answer{out: out, exit: exit}, after
	}
	return answers, nil
}

// vote judges one answer. Both expressions matching is as undecided as none, and a command that failed has no vote.
func (p RoleProbe) vote(a answer) HostRole {
	// The expressions were compiled once by Validate.
	primary := regexp.MustCompile(p.Primary).MatchString(a.out)
	secondary := regexp.MustCompile(p.Secondary).MatchString(a.out)
	switch {
	case a.exit != 0 || primary == secondary:
		return RoleUnknown
	case primary:
		return RolePrimary
	default:
		return RoleSecondary
	}
}

// direction is one way of the swap.
type direction struct {
	old  *Host // gives the primary role up
	next *Host // takes it
}

// String returns "old → next".
func (d direction) String() string { return d.old.Name() + " → " + d.next.Name() }

func (d direction) host(on On) *Host {
	if on == OnOldPrimary {
		return d.old
	}
	return d.next
}

// rolesWanted observes whether the host that should be primary is, and the other one is secondary. A host that is nil is
// not asked.
func rolesWanted(ctx context.Context, primary, secondary *Host) (failover.Observation, error) {
	hosts := slices.DeleteFunc([]*Host{primary, secondary}, func(h *Host) bool { return h == nil })
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
