package clustertest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/01b61c5c/failover/cluster"
)

// Break says what becomes of the requests of one kind. It happens to those that come through [Sim.Cluster].
type Break int

const (
	// BreakNothing is a request that nothing is wrong with.
	BreakNothing Break = iota
	// BreakLosesReply carries it out, and the answer is lost.
	BreakLosesReply
	// BreakLosesNodes carries it out, the answer is lost, and from then on no node answers.
	BreakLosesNodes
	// BreakUnsent reaches no node.
	BreakUnsent
	// BreakGarbles carries it out, and the answer is a word that nobody knows.
	BreakGarbles
	// BreakIgnores answers that it is done and does nothing.
	BreakIgnores
	// BreakDelays loses the answer and carries the request out some readings later.
	BreakDelays
)

// brokenRequest is a kind of request that something is wrong with.
type brokenRequest struct {
	Verb string // as in Request
	How  Break
}

// delayedRequest is a request that is on its way.
type delayedRequest struct {
	Request
	Left int // readings until it arrives
}

// Break makes the requests with this verb end like that, until the simulator is healed.
func (s *Sim) Break(verb string, how Break) error {
	return s.Update(func(m *Model) error {
		m.Broken = append(m.Broken, brokenRequest{verb, how})
		return nil
	})
}

// Heal ends every break. What is on its way still arrives.
func (s *Sim) Heal() error {
	return s.Update(func(m *Model) error {
		m.Broken, m.Cut = nil, false
		return nil
	})
}

// Break returns what is wrong with requests of this kind.
func (m *Model) Break(verb string) Break {
	for _, b := range m.Broken {
		if b.Verb == verb {
			return b.How
		}
	}
	return BreakNothing
}

// request carries a request out as the break of its kind says.
func (m *Model) request(via, verb string, args ...string) (loss, refusal error) {
	how := m.Break(verb)
	switch how {
	case BreakUnsent:
		return nil, cluster.ErrUnreachable
	case BreakIgnores:
		m.record(via, verb, args...)
		return nil, nil
	case BreakDelays:
		if g := m.Group(args[0]); verb == "move" && g != nil {
			m.arm(g, args[1], true)
		}
		m.Delayed = append(m.Delayed, delayedRequest{Request{via, verb, args}, cmp.Or(m.Delay, 3)})
		return errLostReply, nil
	case BreakNothing, BreakLosesReply, BreakLosesNodes, BreakGarbles:
	}
	loss, refusal = m.perform(via, verb, args)
	switch {
	case refusal != nil || loss != nil:
	case how == BreakLosesReply:
		loss = errLostReply
	case how == BreakLosesNodes:
		loss, m.Cut = errLostReply, true
	case how == BreakGarbles:
		loss = errGarbage
	}
	return loss, refusal
}

// arrive carries out what was delayed long enough.
func (m *Model) arrive() {
	for i := range m.Delayed {
		m.Delayed[i].Left--
	}
	due := slices.Clone(m.Delayed)
	m.Delayed = slices.DeleteFunc(m.Delayed, func(d delayedRequest) bool { return d.Left <= 0 })
	for _, d := range due {
		if d.Left <= 0 && !m.withdrawn(d) {
			_, _ = m.perform(d.Node, d.Verb, d.Args) // nobody waits for its answer
		}
	}
}

// withdrawn reports whether a request to move finds nothing any more that it could make effective.
func (m *Model) withdrawn(d delayedRequest) bool {
	if m.Style != StylePacemaker || d.Verb != "move" {
		return false
	}
	g := m.Group(d.Args[0])
	return g == nil || !slices.ContainsFunc(g.Standing,
		func(r cluster.MoveRequest) bool { return r.Ours && r.Node == d.Args[1] })
}

// failbackOf is the setting that was sent as two words.
func failbackOf(policy, raw string) (cluster.Failback, error) {
	f := cluster.Failback{Raw: raw}
	return f, f.Policy.UnmarshalText([]byte(policy))
}

// perform does what a cluster does when it is asked.
func (m *Model) perform(via, verb string, args []string) (loss, refusal error) {
	states := map[string]cluster.State{"online": cluster.StateOnline, "offline": cluster.StateOffline,
		"resource-online": cluster.StateOnline, "resource-offline": cluster.StateOffline}
	switch verb {
	case "move":
		return m.move(via, args[0], args[1])
	case "clear-move":
		return nil, m.clearMove(via, args[0])
	case "online", "offline":
		return nil, m.switchGroup(via, verb, args[0], states[verb])
	case "resource-online", "resource-offline":
		return nil, m.switchResource(via, verb, args[0], states[verb])
	case "pause":
		return nil, m.pause(via, args[0])
	case "resume":
		return nil, m.resume(via, args[0])
	case "set-failback":
		f, err := failbackOf(args[1], args[2])
		return nil, errors.Join(err, m.setFailback(via, args[0], f))
	case "set-service":
		return nil, m.bindService(via, args[0], args[1])
	case "swap-mark":
		return nil, m.swapMark(via, args[0], args[1], args[2])
	}
	return nil, fmt.Errorf("clustertest: no request is called %q", verb)
}
