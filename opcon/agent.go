package opcon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/waiting"
)

// verdict says what is known of the agent that answers OpCon.
type verdict int

const (
	notTold   verdict = iota // nothing tells on which host it runs
	rightHost                // it runs on the host that jobs are for
	wrongHost                // it runs on another host
)

// answer is the verdict on the agent behind a machine record, with what it rests on.
type answer struct {
	verdict verdict
	found   string
}

// communicating reports whether the agent answers, so that the record tells of it. A line that was told to close may be
// shown as it was for a while (inferred).
func (m Machine) communicating() bool {
	return m.open() && (m.State == MachineUp || m.State == MachineLimited)
}

// open reports whether OpCon was asked to talk to the agent.
func (m Machine) open() bool { return m.Asked == MachineUp || m.Asked == MachineLimited }

// whoAnswers judges the agent that answers behind the record: by where the record leads, by the site's own question
// where there is one, and by the host name the agent reports (field hostname of the whole record, seen in client code;
// that it follows the agent is inferred).
func (o ResumeOptions) whoAnswers(ctx context.Context, rec Record, m Machine) answer {
	if text := o.leadsWrong(rec, m); text != "" {
		return answer{wrongHost, text}
	}
	if !m.communicating() {
		return answer{notTold, "no agent is heard at " + m.Address.String()}
	}
	told, before, expected := m.Host, rec.Machine.Host, o.expectedHost(rec)
	if o.AskAgent != nil {
		host, err := o.AskAgent(ctx, m)
		found := "the site's own question found the agent on " + shorten(host, 80)
		switch {
		case err != nil:
			return answer{notTold, "the site's own question was not answered: " + shorten(err.Error(), maxMessage)}
		case sameHost(host, expected):
			return answer{rightHost, found}
		case strings.TrimSpace(host) != "" && expected != "":
			return answer{wrongHost, found + ", not on " + expected}
		case strings.TrimSpace(host) != "":
			return answer{notTold, found + ", and which host is the right one was not said"}
		}
	}
	found := "the agent that answers reports the host name " + shorten(told, 80)
	stayed := o.Repoint == RepointHostStayed
	switch {
	case stayed && (told == "" || expected == ""):
		return answer{rightHost, "the record leads where it led before, and nothing was reported to compare the host with"}
	case stayed && !sameHost(told, expected):
		return answer{wrongHost, found + ", not " + expected}
	case told == "":
		return answer{notTold, "OpCon does not tell on which host the agent that answers runs"}
	case !stayed && sameHost(before, expected):
		return answer{notTold, found + ", as before the move: it does not tell the hosts apart"}
	case sameHost(told, expected):
		return answer{rightHost, found}
	case sameHost(told, before):
		return answer{wrongHost, found + ", which is the old host"}
	case expected == "":
		return answer{notTold, found + ", and which name the new host reports was not said"}
	}
	return answer{notTold, found + ", not " + expected}
}

// expectedHost is the name that the agent on the right host reports, or "" where nobody said.
func (o ResumeOptions) expectedHost(rec Record) string {
	switch {
	case o.Host != "":
		return o.Host
	case o.Repoint == RepointHostStayed:
		return rec.Machine.Host
	case o.Repoint == RepointEditRecord && o.Address.FQDN != unset:
		return o.Address.FQDN
	}
	return ""
}

// sameHost compares two host names. Where only one of them names a domain, the first labels decide.
func sameHost(a, b string) bool {
	plain := func(s string) string { return strings.ToLower(strings.Trim(strings.TrimSpace(s), ".")) }
	a, b = plain(a), plain(b)
	if a == "" || b == "" || a == b {
		return a == b && a != ""
	}
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil || strings.Contains(a, ".") == strings.Contains(b, ".") {
		return false
	}
	first, _, _ := strings.Cut(a, ".")
	second, _, _ := strings.Cut(b, ".")
	return first == second
}

// leadsWrong says where the machine record leads if that is not where it should; "" means that it is. What an alias
// stands for is not visible here.
func (o ResumeOptions) leadsWrong(rec Record, m Machine) string {
	leads := rec.Machine.Address
	if o.Repoint == RepointEditRecord {
		leads = o.Address
	}
	if o.Repoint != RepointAliasMoves && !m.Address.equal(leads) {
		return fmt.Sprintf("the machine record leads to %s, not to %s", m.Address, leads)
	}
	return ""
}

const nextWrongHost = "see that the agent on the old host is stopped and that record and alias lead to the new host, " +
	"then run again: OpCon opens the line anew"

// connect opens the line to the agent with no job started (limited), waits until an agent answers, and then brings the
// machine up if up is wanted. OpCon keeps a line open while it works (inferred), so a line to a wrong host is closed
// and opened once more, and closed for good when the wrong host answers again. A machine that is up already stays up
// unless that happens. It reports whether something was changed that is not taken back.
func (r *resume) connect(ctx context.Context, want MachineState) (bool, error) {
	const op = "open the line to the agent of"
	rec, err := r.must(ctx, op)
	if err != nil {
		return false, err
	}
	r.now.forget()
	m, err := r.readMachine(ctx, rec)
	if err != nil {
		return false, err
	}
	wasOpen, closed := m.open(), false
	for again := false; ; again = true {
		if text := r.o.leadsWrong(rec, m); text != "" {
			return closed, unchanged(op, r.machine, "correct the address in the machine record, then run again",
				because(failover.ErrPrecondition, text))
		}
		var who answer
		var changed bool
		if m, who, changed, err = r.open(ctx, rec, m, want); err != nil || who.verdict != wrongHost {
			if err == nil {
				r.now.put(m, time.Now(), 0)
			}
			return changed || closed, err
		}
		if m, err = r.c.setState(ctx, m, MachineDown); err != nil {
			return true, inDoubt(op, r.machine, nextWrongHost, errors.Join(errors.New(who.found), err))
		}
		if closed = wasOpen; again {
			return closed, unchanged(op, r.machine, nextWrongHost, because(failover.ErrPrecondition,
				who.found+"; the machine was taken down again, and nothing more is released"))
		}
	}
}

// open sets the machine to limited and, when the agent that answers is not a wrong host's, up if that is wanted. Right
// before a closed line is opened it asks once more whether the old host's agent is stopped.
func (r *resume) open(ctx context.Context, rec Record, m Machine, want MachineState) (_ Machine, who answer,
	changed bool, err error) {
	if !m.open() {
		if err := r.oldAgentStopped(ctx); err != nil {
			return m, who, false, err
		}
		if m, err = r.c.setState(ctx, m, MachineLimited); err != nil {
			return m, who, !notDone(err), err
		}
		changed = true
	}
	if m, who, err = r.await(ctx, rec, m); err != nil || who.verdict == wrongHost || want != MachineUp ||
		m.Asked == MachineUp {
		return m, who, changed, err
	}
	if m, err = r.c.setState(ctx, m, MachineUp); err != nil {
		return m, who, changed || !notDone(err), err
	}
	m, who, err = r.await(ctx, rec, m)
	return m, who, true, err
}

func (r *resume) oldAgentStopped(ctx context.Context) error {
	if r.o.OldAgent == nil || failover.Waived(ctx, r.prefix+stepOldAgent) {
		return nil
	}
	obs, err := r.o.OldAgent(ctx)
	if err == nil && !obs.Done {
		err = fmt.Errorf("%w: found %s", failover.ErrPrecondition, obs.Found)
	}
	if err != nil {
		return unchanged("open the line to the agent of", r.machine, "stop the agent on the old host, then run again", err)
	}
	return nil
}

// await looks until an agent answers, as long as ctx allows, and begins with m as it was just read. The host name of
// the last line may stand in the record for a while, so a wrong one is looked at for a settling time.
func (r *resume) await(ctx context.Context, rec Record, m Machine) (Machine, answer, error) {
	var watch *settling
	for {
		who := r.o.whoAnswers(ctx, rec, m)
		if m.communicating() {
			if watch == nil {
				watch = r.c.settling()
			}
			if who.verdict != wrongHost || watch.over() {
				return m, who, nil
			}
		}
		err := waiting.For(ctx, r.c.conf.Poll)
		if err == nil {
			var now Machine
			if now, err = r.c.Machine(ctx, m.ID); err == nil {
				m = now
				continue
			}
		}
		next := failover.NextOf(err)
		if ctx.Err() != nil {
			next, err = helpAgent, fmt.Errorf("%w: %s: %w", failover.ErrNotObserved, m.line(), err)
		}
		return m, who, inDoubt("wait for the agent of", r.machine, next, err)
	}
}

const helpAgent = "check that the agent runs on the new host and accepts this OpCon server, then run again"
