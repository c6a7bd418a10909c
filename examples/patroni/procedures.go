package patroni

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// ErrTwoLeaders: more than one member says that it is the primary.
var ErrTwoLeaders = errors.New("more than one primary")

// Stages are the stages of both procedures, to be run in this order.
type Stages struct {
	Check  failover.Stage // nothing is changed
	Move   failover.Stage // writes are refused while it runs
	Verify failover.Stage // nothing is changed
}

func (s Stages) procedure(name string, c *Cluster, parameters ...failover.Parameter) failover.Procedure {
	parameters = append(parameters, failover.Parameter{Name: "max-lag", Value: fmt.Sprint(c.config.MaxLag)})
	for _, m := range c.config.Members {
		parameters = append(parameters, failover.Parameter{Name: "member " + m.Name, Value: m.URL})
	}
	stages := []failover.Stage{s.Check, s.Move, s.Verify}
	return failover.Procedure{Name: name, Parameters: parameters, Stages: stages, Lock: c.Lock()}
}

// SwitchoverOptions say what a switchover moves.
type SwitchoverOptions struct {
	Cluster *Cluster
	From    string // the leader now
	To      string // the leader to be
}

// SwitchoverStages checks the options and builds the stages of [Switchover], for a procedure of your own.
func SwitchoverStages(o SwitchoverOptions) (Stages, error) {
	c := o.Cluster
	if err := errors.Join(c.knows("SwitchoverOptions.From", o.From), c.knows("SwitchoverOptions.To", o.To)); err != nil {
		return Stages{}, err
	}
	if o.From == o.To {
		return Stages{}, failover.Invalid("SwitchoverOptions.To", "is the leader itself", "name another member")
	}
	leads := func(v View) failover.Observation { return holds(v.leads(o.From), v.leader()) }
	// Patroni switches over to a named candidate in maintenance mode too, so this check may be waived.
	quiet := c.check("quiet", "Nobody is at work: no maintenance mode, no switchover scheduled",
		"documented: GET /cluster, pause and scheduled_switchover", func(v View) failover.Observation {
			return holds(!v.Paused && v.Scheduled == "", fmt.Sprintf("paused: %t, scheduled: %q", v.Paused, v.Scheduled))
		})
	quiet.Firm = false
	move := c.order("switchover", "Hand the leadership over to "+o.To, "documented: POST /switchover", o.From, o.To,
		o.From+" steps down, "+o.To+" is promoted")
	move.Undo = func(ctx context.Context) error { return c.move(ctx, "/switchover", o.To, o.From) }
	move.Undone = c.look(leads)
	return Stages{Check: failover.Stage{Name: "check", Steps: []failover.Step{c.answering(nil),
		c.check("leader", o.From+" leads", "documented: POST /switchover needs the leader", leads),
		c.check("candidate", o.To+" streams from the leader and is not behind", "documented: healthy standby",
			func(v View) failover.Observation {
				lag, streams := v.follows(o.From, o.To)
				ready := streams && lag <= c.config.MaxLag
				return holds(ready, fmt.Sprintf("ready: %t", ready), fmt.Sprintf("%d bytes behind", lag))
			}),
		quiet}},
		Move: failover.Stage{Name: "move", Outage: true, Steps: []failover.Step{move}}, Verify: c.verify(o.To, nil)}, nil
}

// Switchover hands the leadership of a healthy cluster to another member. Errors wrap failover.ErrInvalid.
func Switchover(o SwitchoverOptions) (failover.Procedure, error) {
	stages, err := SwitchoverStages(o)
	if err != nil {
		return failover.Procedure{}, err
	}
	return stages.procedure("patroni.Switchover", o.Cluster, failover.Parameter{Name: "from", Value: o.From},
		failover.Parameter{Name: "to", Value: o.To}), nil
}

// FailoverOptions say what a failover promotes, and who answers for the dead.
type FailoverOptions struct {
	Cluster *Cluster
	To      string   // the member to promote
	Dead    []string // the members that are off, the old leader among them
	// Gone is a person's word that the machines of Dead are off and stay off, and that what they had not sent may be lost.
	Gone failover.Statement
}

// FailoverStages checks the options and builds the stages of [Failover], for a procedure of your own.
func FailoverStages(o FailoverOptions) (Stages, error) {
	c, dead := o.Cluster, strings.Join(o.Dead, ", ")
	if err := errors.Join(c.knows("FailoverOptions.To", o.To), c.knows("FailoverOptions.Dead", o.Dead...),
		o.Gone.Validate("FailoverOptions.Gone")); err != nil {
		return Stages{}, err
	}
	switch {
	case len(o.Dead) == 0:
		return Stages{}, failover.Invalid("FailoverOptions.Dead", "is empty", "name the old leader, if it is off")
	case slices.Contains(o.Dead, o.To):
		return Stages{}, failover.Invalid("FailoverOptions.To", "is among the dead", "name a member that runs")
	}
	return Stages{Check: failover.Stage{Name: "check", Steps: []failover.Step{
		o.Gone.Step("gone", "A person answers for it that "+dead+" is off", dead),
		c.check("silent", "Nothing of the dead members answers", "ours: a statement does not stand against what is seen",
			func(v View) failover.Observation {
				alive := v.names(func(m MemberState) bool { return !m.Silent && slices.Contains(o.Dead, m.Name) })
				return holds(len(alive) == 0, "not proven silent: "+list(alive))
			}),
		c.answering(o.Dead),
		// Until the dead leader's key has run out the order would wait for it, too.
		c.wait("unled", "Nobody leads, or "+o.To+" does already", "documented: the leader key expires after ttl",
			func(v View) failover.Observation {
				return holds(v.Leader == "" && len(v.primaries()) == 0 || v.leads(o.To), v.leader())
			}),
		c.check("newest", "No other member has more of the data than "+o.To,
			"documented: a manual failover without a leader ignores lag and timeline", func(v View) failover.Observation {
				mine := v.of(o.To)
				ahead := v.names(func(m MemberState) bool {
					more := cmp.Or(cmp.Compare(m.Timeline, mine.Timeline), cmp.Compare(m.Position, mine.Position))
					return m.Role != RoleUnknown && more > 0
				})
				return holds(mine.Role != RoleUnknown && len(ahead) == 0, "ahead: "+list(ahead))
			}),
	}},
		Move: failover.Stage{Name: "move", Outage: true, Steps: []failover.Step{
			c.order("failover", "Promote "+o.To, "documented: POST /failover", "", o.To, o.To+" is promoted"),
		}},
		Verify: c.verify(o.To, o.Dead),
	}, nil
}

// Failover promotes a member of a cluster whose leader is dead and which Patroni has not failed over by itself: it is
// in maintenance mode, or no member was new enough. Errors wrap failover.ErrInvalid.
func Failover(o FailoverOptions) (failover.Procedure, error) {
	stages, err := FailoverStages(o)
	if err != nil {
		return failover.Procedure{}, err
	}
	return stages.procedure("patroni.Failover", o.Cluster, failover.Parameter{Name: "to", Value: o.To},
		failover.Parameter{Name: "dead", Value: strings.Join(o.Dead, ",")}), nil
}

// knows refuses members that are not configured.
func (c *Cluster) knows(field string, names ...string) error {
	if c == nil {
		return failover.Invalid("Options.Cluster", "is nil", "make one with New")
	}
	for _, name := range names {
		if c.clients[name] == nil {
			return failover.Invalid(field, "is not a member: "+name, "use a name in Config.Members")
		}
	}
	return nil
}

// look is the Observe of every step: a view, and a judgement of it. Two primaries are an error in each.
func (c *Cluster) look(judge func(View) failover.Observation) func(context.Context) (failover.Observation, error) {
	return func(ctx context.Context) (failover.Observation, error) {
		v, err := c.View(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		if p := v.primaries(); len(p) > 1 {
			return holds(false, v.leader()), &failover.Error{Op: "look at the cluster", Target: strings.Join(p, ", "),
				Outcome: failover.NotApplied, Next: "fence all but one of them before anything else", Err: ErrTwoLeaders}
		}
		return judge(v), nil
	}
}

func holds(done bool, found string, note ...any) failover.Observation {
	return failover.Observation{Done: done, Found: found, Note: fmt.Sprint(note...)}
}

// check is a standing check that nobody may waive.
func (c *Cluster) check(id, title, source string, judge func(View) failover.Observation) failover.Step {
	return failover.Step{ID: id, Title: title, Kind: failover.Check, Firm: true, Source: source, Observe: c.look(judge)}
}

// wait is a check that something comes to hold.
func (c *Cluster) wait(id, title, source string, judge func(View) failover.Observation) failover.Step {
	step := c.check(id, title, source, judge)
	step.Wait, step.Timeout = true, c.config.Move
	return step
}

// answering: whoever does not answer could be a second primary.
func (c *Cluster) answering(dead []string) failover.Step {
	return c.check("members", "Every member tells what it is, and the cluster has no others",
		"ours: what does not answer may be a second primary", func(v View) failover.Observation {
			unknown := v.unknown(dead)
			return holds(len(unknown) == 0, "unknown: "+list(unknown))
		})
}

// order is the step that moves the leadership to a member.
func (c *Cluster) order(id, title, source, from, to, would string) failover.Step {
	return failover.Step{ID: id, Title: title, Target: to, Kind: failover.Change, Timeout: c.config.Move, Source: source,
		Observe: c.look(func(v View) failover.Observation {
			return failover.Observation{Done: v.leads(to), Found: v.leader(), Would: would}
		}),
		Apply: func(ctx context.Context) error { return c.move(ctx, "/"+id, from, to) }}
}

// verify are the steps behind a move: the new leader by everybody's word, and the others streaming from it.
func (c *Cluster) verify(to string, dead []string) failover.Stage {
	leads := c.wait("leader", to+" is the only primary, by the store's word and by everybody's own",
		"ours: the store alone may be old", func(v View) failover.Observation {
			return holds(v.leads(to) && len(v.unknown(dead)) == 0, v.leader())
		})
	follow := c.wait("replicas", "Every other member streams from "+to, "documented: GET /patroni, replication",
		func(v View) failover.Observation {
			missing := v.names(func(m MemberState) bool {
				lag, streams := v.follows(to, m.Name)
				return m.Name != to && !slices.Contains(dead, m.Name) && (!streams || lag > c.config.MaxLag)
			})
			return holds(v.of(to).Role == RolePrimary && len(missing) == 0, "missing: "+list(missing))
		})
	return failover.Stage{Name: "verify", Steps: []failover.Step{leads, follow}}
}

// move gives one order and, where the answer leaves its effect open, watches what becomes of it. from is "" when nobody
// leads. Who leads is looked at right before, since Patroni takes a condition for a switchover only: it refuses when
// somebody else leads than the body says, so that it is safe to repeat.
func (c *Cluster) move(ctx context.Context, path, from, to string) error {
	v, err := c.View(ctx)
	if err == nil && v.leads(to) {
		return nil
	}
	if err == nil && (v.Leader != from || from == "" && len(v.primaries()) > 0) {
		err = fmt.Errorf("%w: %s", failover.ErrPrecondition, v.leader())
	}
	if err != nil {
		return &failover.Error{Op: "move", Target: to, Outcome: failover.NotApplied, Err: err,
			Next: "see who leads, and use Switchover from there"}
	}
	body := map[string]string{"candidate": to}
	if from != "" {
		body["leader"] = from
	}
	candidate := c.config.Members[slices.IndexFunc(c.config.Members, func(m Member) bool { return m.Name == to })]
	err = c.send(ctx, candidate, http.MethodPost, path, body, nil)
	if err == nil || failover.OutcomeOf(err) == failover.NotApplied {
		return err
	}
	// A third of the time, so that an order that never arrived can be given again.
	watch, cancel := context.WithTimeout(ctx, c.config.Move/3)
	defer cancel()
	for {
		if v, lookErr := c.View(watch); lookErr == nil && v.leads(to) {
			return nil
		}
		select {
		case <-watch.Done():
			return err
		case <-time.After(failover.DefaultPoll):
		}
	}
}

func list(names []string) string {
	return failover.Printable(cmp.Or(strings.Join(names, ", "), "none"))
}
