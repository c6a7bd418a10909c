package patroni

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/01b61c5c/failover"
)

// Role is what a member does by its own word.
type Role int

// Roles of a member whose PostgreSQL runs. Everything else is unknown, also what is starting or stopping.
const (
	RoleUnknown Role = iota
	RolePrimary
	RoleReplica
)

// View is how a cluster stands. Leader is what the cluster's store says, which may be old for some seconds; Members is
// what each member says of itself right now.
type View struct {
	Leader    string        // holder of the leader key; "" when nobody has it
	Paused    bool          // Patroni does nothing by itself
	Scheduled string        // when somebody has scheduled a switchover; "" when nobody has
	Members   []MemberState // in the order of Config, then those that Patroni lists and Config does not
}

// MemberState is what one member says of itself.
type MemberState struct {
	Name      string
	Role      Role
	Timeline  int      // it grows with each promotion
	Position  int64    // bytes of WAL: written by a primary, received or replayed by a replica
	Followers []string // of a primary: the members that stream from it
	Silent    bool     // nothing at all came from its address, as from a machine without power
	Err       error    // why Role is unknown
}

// View asks every member. It fails only when no member tells how the cluster stands.
func (c *Cluster) View(ctx context.Context) (View, error) {
	v := View{Members: make([]MemberState, len(c.config.Members))}
	var work sync.WaitGroup
	for i, m := range c.config.Members {
		work.Go(func() { v.Members[i] = c.state(ctx, m) })
	}
	work.Wait()
	var failed failover.Targets
	for _, m := range c.config.Members { // the first one that answers tells what the store says
		var answer struct {
			Members   []struct{ Name, Role string }
			Pause     bool
			Scheduled struct{ At string } `json:"scheduled_switchover"`
		}
		if err := c.ask(ctx, m, http.MethodGet, "/cluster", nil, &answer); err != nil {
			failed.Add(m.Name, err)
			continue
		}
		v.Paused, v.Scheduled = answer.Pause, answer.Scheduled.At
		for _, listed := range answer.Members {
			if listed.Role == "leader" {
				v.Leader = listed.Name
			}
			if c.clients[listed.Name] == nil {
				v.Members = append(v.Members, MemberState{Name: listed.Name, Err: errors.New("it is not configured")})
			}
		}
		return v, nil
	}
	return v, failed.Err()
}

// state asks one member about itself.
func (c *Cluster) state(ctx context.Context, m Member) MemberState {
	var answer struct {
		State, Role string
		Timeline    int
		Xlog        struct {
			Location int64
			Received int64 `json:"received_location"`
			Replayed int64 `json:"replayed_location"` // more than received where it comes from the archive
		}
		Replication []struct {
			Name  string `json:"application_name"`
			State string
		}
		Patroni struct{ Name string }
	}
	s := MemberState{Name: m.Name}
	if s.Err = c.ask(ctx, m, http.MethodGet, "/patroni", nil, &answer); s.Err != nil {
		s.Silent = errors.Is(s.Err, errSilent)
		return s
	}
	s.Timeline, s.Position = answer.Timeline, max(answer.Xlog.Location, answer.Xlog.Received, answer.Xlog.Replayed)
	switch called := answer.Patroni.Name; {
	case called != "" && called != m.Name: // older versions do not say it
		s.Err = errors.New("it calls itself " + failover.Printable(called))
	case answer.State != "running":
		s.Err = errors.New("PostgreSQL is " + failover.Printable(answer.State))
	case answer.Role == "primary" || answer.Role == "master": // master up to version 3
		s.Role = RolePrimary
		for _, r := range answer.Replication {
			if r.State == "streaming" {
				s.Followers = append(s.Followers, r.Name)
			}
		}
	case answer.Role == "replica":
		s.Role = RoleReplica
	default:
		s.Err = errors.New("its role is " + failover.Printable(answer.Role))
	}
	return s
}

// of returns what a member said of itself.
func (v View) of(name string) MemberState {
	if i := slices.IndexFunc(v.Members, func(m MemberState) bool { return m.Name == name }); i >= 0 {
		return v.Members[i]
	}
	return MemberState{Name: name}
}

// leads reports whether the store and all members agree that name is the only primary.
func (v View) leads(name string) bool {
	return v.Leader == name && slices.Equal(v.primaries(), []string{name})
}

// follows reports whether a member streams from the leader, on its timeline, and how many bytes it is behind.
func (v View) follows(leader, name string) (lag int64, streams bool) {
	from, m := v.of(leader), v.of(name)
	same := m.Role == RoleReplica && m.Timeline == from.Timeline
	return from.Position - m.Position, same && slices.Contains(from.Followers, name)
}

// names are those of the members for which which holds.
func (v View) names(which func(MemberState) bool) (names []string) {
	for _, m := range v.Members {
		if which(m) {
			names = append(names, m.Name)
		}
	}
	return names
}

func (v View) primaries() []string {
	return v.names(func(m MemberState) bool { return m.Role == RolePrimary })
}

// unknown names the members that cannot tell what they are, besides those a person answers for.
func (v View) unknown(except []string) (names []string) {
	for _, m := range v.Members {
		if m.Role == RoleUnknown && !slices.Contains(except, m.Name) {
			names = append(names, m.Name+" ("+m.Err.Error()+")")
		}
	}
	return names
}

// leader is the sentence an operator reads.
func (v View) leader() string {
	return "leader: " + cmp.Or(failover.Printable(v.Leader), "none") + "; primary by its own word: " + list(v.primaries())
}
