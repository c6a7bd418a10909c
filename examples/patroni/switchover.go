package patroni

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/01b61c5c/failover"
)

// SwitchoverOptions say what a switchover moves.
type SwitchoverOptions struct {
	Cluster *Cluster
	From    string        // the leader now
	To      string        // the leader to be
	MaxLag  int64         // bytes of WAL a replica may be behind; 0 means DefaultMaxLag
	Limit   time.Duration // of the move and of each wait behind it; 0 means DefaultMove
}

// SwitchoverStages checks the options and builds the stages of [Switchover], for a procedure of your own.
func SwitchoverStages(o SwitchoverOptions) (Stages, error) {
	if err := known(o.Cluster, "SwitchoverOptions.From", o.From); err != nil {
		return Stages{}, err
	}
	if err := known(o.Cluster, "SwitchoverOptions.To", o.To); err != nil {
		return Stages{}, err
	}
	if o.From == o.To {
		return Stages{}, failover.Invalid("SwitchoverOptions.To", "is the leader itself", "name another member")
	}
	s := newSteps(o.Cluster, o.MaxLag, o.Limit)
	return Stages{
		Check: failover.Stage{Name: "check", Steps: []failover.Step{
			s.answering(),
			s.check("leader", o.From+" leads", "documented: POST /switchover needs the leader", func(v View) failover.Observation {
				return holds(v.leads(o.From), v.leader())
			}),
			s.check("candidate", o.To+" streams from the leader and is not behind", "documented: healthy standby", func(v View) failover.Observation {
				leader, m := v.of(o.From), v.of(o.To)
				lag := leader.Position - m.Position
				ready := m.Role == RoleReplica && slices.Contains(leader.Followers, o.To) && m.Timeline == leader.Timeline && lag <= s.maxLag
				return holds(ready, fmt.Sprintf("ready: %t", ready), fmt.Sprintf("%d bytes behind", lag))
			}),
			quiet(s),
		}},
		Move: failover.Stage{Name: "move", Outage: true, Steps: []failover.Step{{
			ID: "switchover", Title: "Hand the leadership over to " + o.To, Target: o.To, Kind: failover.Change, Timeout: s.limit,
			Source: "documented: POST /switchover",
			Observe: s.look(func(v View) failover.Observation {
				return failover.Observation{Done: v.leads(o.To), Found: v.leader(), Would: o.From + " steps down, " + o.To + " is promoted"}
			}),
			Apply:  func(ctx context.Context) error { return s.move(ctx, "/switchover", o.From, o.To) },
			Undo:   func(ctx context.Context) error { return s.back(ctx, o.From, o.To) },
			Undone: s.look(func(v View) failover.Observation { return holds(v.leads(o.From), v.leader()) }),
		}}},
		Verify: failover.Stage{Name: "verify", Steps: s.verify(o.To)},
	}, nil
}

// Switchover hands the leadership of a healthy cluster to another member. Errors wrap failover.ErrInvalid.
func Switchover(o SwitchoverOptions) (failover.Procedure, error) {
	stages, err := SwitchoverStages(o)
	if err != nil {
		return failover.Procedure{}, err
	}
	return stages.procedure("patroni.Switchover", o.Cluster, failover.Parameter{Name: "from", Value: o.From}, failover.Parameter{Name: "to", Value: o.To},
		failover.Parameter{Name: "max-lag", Value: strconv.FormatInt(o.MaxLag, 10)}), nil
}

// quiet may be waived: Patroni switches over to a named candidate in maintenance mode too.
func quiet(s *steps) failover.Step {
	step := s.check("quiet", "Nobody is at work: no maintenance mode, no switchover scheduled", "documented: GET /cluster, pause and scheduled_switchover",
		func(v View) failover.Observation {
			return holds(!v.Paused && v.Scheduled == "", fmt.Sprintf("paused: %t, scheduled: %q", v.Paused, v.Scheduled))
		})
	step.Firm = false
	return step
}

// back hands the leadership back. From may lead already: an undo is safe to repeat.
func (s *steps) back(ctx context.Context, from, to string) error {
	if v, err := s.cluster.View(ctx); err == nil && v.leads(from) {
		return nil
	}
	return s.move(ctx, "/switchover", to, from)
}
