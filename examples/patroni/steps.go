package patroni

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// DefaultMaxLag is how many bytes of WAL a replica may be behind where options name no other limit.
const DefaultMaxLag = 1 << 20

// DefaultMove limits a switchover or failover where options name no other limit.
const DefaultMove = 2 * time.Minute

// ErrTwoLeaders: more than one member says that it is the primary.
var ErrTwoLeaders = errors.New("more than one primary")

// Stages are the stages of both procedures, to be run in this order.
type Stages struct {
	Check  failover.Stage // nothing is changed
	Move   failover.Stage // writes are refused while it runs
	Verify failover.Stage // nothing is changed
}

func (s Stages) procedure(name string, c *Cluster, parameters ...failover.Parameter) failover.Procedure {
	for _, m := range c.config.Members {
		parameters = append(parameters, failover.Parameter{Name: "member " + m.Name, Value: m.URL})
	}
	return failover.Procedure{Name: name, Parameters: parameters, Stages: []failover.Stage{s.Check, s.Move, s.Verify}, Lock: c.Lock()}
}

// known refuses a member that is not configured.
func known(c *Cluster, field, name string) error {
	if c == nil {
		return failover.Invalid("Options.Cluster", "is nil", "make one with New")
	}
	if _, ok := c.member(name); !ok {
		return failover.Invalid(field, "is not a member: "+name, "use a name in Config.Members")
	}
	return nil
}

// steps is what both procedures have in common.
type steps struct {
	cluster *Cluster
	dead    []string // members a person answers for
	maxLag  int64
	limit   time.Duration // of a move
}

func newSteps(c *Cluster, maxLag int64, limit time.Duration, dead ...string) *steps {
	s := &steps{cluster: c, dead: dead, maxLag: DefaultMaxLag, limit: DefaultMove}
	if maxLag > 0 {
		s.maxLag = maxLag
	}
	if limit > 0 {
		s.limit = limit
	}
	return s
}

// look is the Observe of every step: a view, and a judgement of it. Two primaries are an error in each.
func (s *steps) look(judge func(View) failover.Observation) func(context.Context) (failover.Observation, error) {
	return func(ctx context.Context) (failover.Observation, error) {
		v, err := s.cluster.View(ctx)
		if err != nil {
			return failover.Observation{}, err
		}
		if p := v.primaries(); len(p) > 1 {
			return failover.Observation{Found: v.leader()}, &failover.Error{Op: "look at the cluster", Target: strings.Join(p, ", "), Outcome: failover.NotApplied,
				Next: "fence all but one of them before anything else", Err: ErrTwoLeaders}
		}
		return judge(v), nil
	}
}

func holds(done bool, found string, note ...string) failover.Observation {
	return failover.Observation{Done: done, Found: found, Note: strings.Join(note, ", ")}
}

// check is a standing check that nobody may waive.
func (s *steps) check(id, title, source string, judge func(View) failover.Observation) failover.Step {
	return failover.Step{ID: id, Title: title, Kind: failover.Check, Firm: true, Source: source, Observe: s.look(judge)}
}

// answering: whoever does not answer could be a second primary.
func (s *steps) answering() failover.Step {
	return s.check("members", "Every member tells what it is, and the cluster has no others", "ours: what does not answer may be a second primary",
		func(v View) failover.Observation {
			bad := slices.Concat(v.unknown(s.dead), v.Strangers)
			return holds(len(bad) == 0, "unknown or not configured: "+list(bad))
		})
}

// verify are the steps behind a move: the new leader by everybody's word, and the others streaming from it.
func (s *steps) verify(to string) []failover.Step {
	leads := s.check("leader", to+" is the only primary, by the store's word and by everybody's own", "ours: the store alone may be old",
		func(v View) failover.Observation {
			return holds(v.leads(to) && len(v.unknown(s.dead)) == 0, v.leader())
		})
	follows := s.check("replicas", "Every other member streams from "+to, "documented: GET /patroni, replication", func(v View) failover.Observation {
		leader := v.of(to)
		var missing, notes []string
		for _, m := range v.Members {
			if m.Name == to || slices.Contains(s.dead, m.Name) {
				continue
			}
			notes = append(notes, fmt.Sprintf("%s is %d bytes behind", m.Name, leader.Position-m.Position))
			if !slices.Contains(leader.Followers, m.Name) || m.Timeline != leader.Timeline || leader.Position-m.Position > s.maxLag {
				missing = append(missing, m.Name)
			}
		}
		return holds(leader.Role == RolePrimary && len(missing) == 0, "missing: "+list(missing), notes...)
	})
	leads.Wait, leads.Timeout = true, s.limit
	follows.Wait, follows.Timeout = true, s.limit
	return []failover.Step{leads, follows}
}

// move sends one order and, where the answer leaves its effect open, watches what becomes of it. body
// names the leader only for a switchover; Patroni then refuses the order when somebody else leads, so that it is safe to repeat.
func (s *steps) move(ctx context.Context, path, from, to string) error {
	first, _ := s.cluster.member(to)
	body := map[string]string{"candidate": to}
	if from != "" {
		body["leader"] = from
	}
	err := s.cluster.order(ctx, path, first, body)
	if err == nil || failover.OutcomeOf(err) == failover.NotApplied {
		return err
	}
	// A third of the time, so that an order that never arrived can be given again.
	watch, cancel := context.WithTimeout(ctx, s.limit/3)
	defer cancel()
	for {
		v, lookErr := s.cluster.View(watch)
		if lookErr == nil && v.leads(to) {
			return nil
		}
		if lookErr == nil && v.Leader != "" && v.Leader != from && v.leads(v.Leader) {
			return &failover.Error{Op: "POST " + path, Target: to, Next: "run again, or move from " + v.Leader, Err: fmt.Errorf("%s leads instead: %w", v.Leader, err)}
		}
		select {
		case <-watch.Done():
			return err
		case <-time.After(failover.DefaultPoll):
		}
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return failover.Printable(strings.Join(names, ", "))
}
