package symitar

import (
	"context"
	"regexp"
	"strings"
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
func (r HostRole) String() string { return name(roleNames, int(r)) }

// MarshalText implements encoding.TextMarshaler.
func (r HostRole) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Role asks every configured probe for the host's role. The role is known when at least Quorum probes agree; why
// tells how each one voted. Errors mean that the host could not be asked; NotApplied always.
func (h *Host) Role(ctx context.Context) (role HostRole, why string, err error) {
	votes := map[HostRole]int{}
	var said []string
	for _, p := range h.set.Role.Probes {
		a, err := h.repeat(ctx, "ask role probe "+p.Name, p.Command)
		if err != nil {
			return RoleUnknown, "", unchanged(err)
		}
		vote := p.vote(a)
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
	if on == OldPrimary {
		return d.old
	}
	return d.next
}

// rolesWanted observes both hosts: whether the one that should be primary is, and the other is secondary.
func rolesWanted(ctx context.Context, primary, secondary *Host) (ok bool, found string, err error) {
	ok = true
	var parts []string
	for _, want := range []struct {
		host *Host
		role HostRole
	}{{primary, RolePrimary}, {secondary, RoleSecondary}} {
		if want.host == nil {
			continue
		}
		role, why, err := want.host.Role(ctx)
		if err != nil {
			return false, "", err
		}
		text := want.host.Name() + " is " + role.String()
		if role == RoleUnknown {
			text += " (" + why + ")"
		}
		parts = append(parts, text)
		ok = ok && role == want.role
	}
	return ok, strings.Join(parts, ", "), nil
}
