package symitar

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/01b61c5c/failover"
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
func (r HostRole) String() string { return name(roleNames, int(r)) }

// MarshalText implements encoding.TextMarshaler.
func (r HostRole) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

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

// rolesWanted observes both hosts: whether the one that should be primary is, and the other is secondary.
func rolesWanted(ctx context.Context, primary, secondary *Host) (ok bool, found string, err error) {
	type wanted struct {
		host *Host
		role HostRole
		text string
		ok   bool
		err  error
	}
	list := []*wanted{{host: primary, role: RolePrimary}, {host: secondary, role: RoleSecondary}}
	var asking sync.WaitGroup
	for _, w := range list {
		if w.host == nil {
			continue
		}
		asking.Go(func() {
			role, why, err := w.host.Role(ctx)
			w.ok, w.err, w.text = role == w.role, err, w.host.Name()+" is "+role.String()
			if role == RoleUnknown {
				w.text += " (" + why + ")"
			}
		})
	}
	asking.Wait()
	ok = true
	var parts []string
	var errs []error
	for _, w := range list {
		if w.host != nil {
			ok, parts, errs = ok && w.ok, append(parts, w.text), append(errs, w.err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return false, "", err
	}
	return ok, strings.Join(parts, ", "), nil
}
