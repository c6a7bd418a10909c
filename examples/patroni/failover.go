package patroni

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// FailoverOptions say what a failover promotes, and who answers for the dead.
type FailoverOptions struct {
	Cluster *Cluster
	To      string   // the member to promote
	Dead    []string // the members that are off, the old leader among them
	// Gone is a person's word that the machines of Dead are off and stay off, and that what they had not yet sent may be lost.
	Gone   failover.Statement
	MaxLag int64         // bytes of WAL a replica may be behind afterwards; 0 means DefaultMaxLag
	Limit  time.Duration // of the move and of each wait; 0 means DefaultMove
}

// FailoverStages checks the options and builds the stages of [Failover], for a procedure of your own.
func FailoverStages(o FailoverOptions) (Stages, error) {
	if err := known(o.Cluster, "FailoverOptions.To", o.To); err != nil {
		return Stages{}, err
	}
	for _, name := range o.Dead {
		if err := known(o.Cluster, "FailoverOptions.Dead", name); err != nil {
			return Stages{}, err
		}
	}
	switch {
	case len(o.Dead) == 0:
		return Stages{}, failover.Invalid("FailoverOptions.Dead", "is empty", "name the old leader; while it lives, use Switchover")
	case slices.Contains(o.Dead, o.To):
		return Stages{}, failover.Invalid("FailoverOptions.To", "is among the dead", "name a member that runs")
	}
	if err := o.Gone.Validate("FailoverOptions.Gone"); err != nil {
		return Stages{}, err
	}
	s := newSteps(o.Cluster, o.MaxLag, o.Limit, o.Dead...)
	return Stages{
		Check: failover.Stage{Name: "check", Steps: []failover.Step{
			o.Gone.Step("gone", "A person answers for it that "+strings.Join(o.Dead, ", ")+" is off", strings.Join(o.Dead, ", ")),
			s.silent(),
			s.answering(),
			s.unled(o.To),
			s.newest(o.To),
		}},
		Move: failover.Stage{Name: "move", Outage: true, Steps: []failover.Step{{
			ID: "failover", Title: "Promote " + o.To, Target: o.To, Kind: failover.Change, Timeout: s.limit, Source: "documented: POST /failover",
			Observe: s.look(func(v View) failover.Observation {
				return failover.Observation{Done: v.leads(o.To), Found: v.leader(), Would: o.To + " is promoted"}
			}),
			Apply: func(ctx context.Context) error { return s.promote(ctx, o.To) },
		}}},
		Verify: failover.Stage{Name: "verify", Steps: s.verify(o.To)},
	}, nil
}

// Failover promotes a member of a cluster whose leader is dead and which Patroni has not failed over by itself: it is in
// maintenance mode, or no member was new enough. Errors wrap failover.ErrInvalid.
func Failover(o FailoverOptions) (failover.Procedure, error) {
	stages, err := FailoverStages(o)
	if err != nil {
		return failover.Procedure{}, err
	}
	return stages.procedure("patroni.Failover", o.Cluster, failover.Parameter{Name: "to", Value: o.To}, failover.Parameter{Name: "dead", Value: strings.Join(o.Dead, ",")},
		failover.Parameter{Name: "max-lag", Value: strconv.FormatInt(o.MaxLag, 10)}), nil
}

// silent contradicts the person: what still answers is not off.
func (s *steps) silent() failover.Step {
	return s.check("silent", "Nothing of the dead members answers", "ours: a statement does not stand against what is seen", func(v View) failover.Observation {
		var alive []string
		for _, m := range v.Members {
			if slices.Contains(s.dead, m.Name) && m.Answers {
				alive = append(alive, m.Name)
			}
		}
		return holds(len(alive) == 0, "still answers: "+list(alive))
	})
}

// unled waits until the dead leader's key has run out. Until then the order would wait for it, too.
func (s *steps) unled(to string) failover.Step {
	step := s.check("unled", "Nobody leads, or "+to+" does already", "documented: the leader key expires after ttl", func(v View) failover.Observation {
		return holds(v.Leader == "" && len(v.primaries()) == 0 || v.leads(to), v.leader())
	})
	step.Wait, step.Timeout = true, s.limit
	return step
}

// newest: with a leader gone, Patroni promotes a named candidate however far it is behind.
func (s *steps) newest(to string) failover.Step {
	return s.check("newest", "No other member has more of the data than "+to, "documented: a manual failover without a leader ignores lag and timeline",
		func(v View) failover.Observation {
			mine := v.of(to)
			better, note := []string{}, ""
			for _, m := range v.Members {
				if m.Role != RoleUnknown && (m.Timeline > mine.Timeline || m.Timeline == mine.Timeline && m.Position > mine.Position) {
					better, note = append(better, m.Name), fmt.Sprintf("%d bytes more on %s", m.Position-mine.Position, m.Name)
				}
			}
			return holds(mine.Role != RoleUnknown && len(better) == 0, "ahead: "+list(better), note)
		})
}

// promote orders the failover. Patroni takes no condition for it, so who leads is looked at once more right before.
func (s *steps) promote(ctx context.Context, to string) error {
	v, err := s.cluster.View(ctx)
	if err != nil {
		return &failover.Error{Op: "promote", Target: to, Outcome: failover.NotApplied, Next: "make the cluster readable", Err: err}
	}
	if v.leads(to) {
		return nil
	}
	if v.Leader != "" || len(v.primaries()) > 0 {
		return &failover.Error{Op: "promote", Target: to, Outcome: failover.NotApplied, Next: "use Switchover: the cluster has a leader",
			Err: fmt.Errorf("%w: %s", failover.ErrPrecondition, v.leader())}
	}
	return s.move(ctx, "/failover", "", to)
}
