package opcon_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

const alias = "symitar.example.org"

// aliased is a site whose machine record names an alias that leads to the old host.
func aliased(t *testing.T, conf opcontest.Config) *site {
	t.Helper()
	s := newSite(t, conf)
	s.aliases[alias] = oldHost
	s.Change(func() { s.Machine.FQDN = alias })
	s.Reconnect(s.Machine)
	s.quiet()
	return s
}

func (s *site) point(to string) { s.mu.Lock(); defer s.mu.Unlock(); s.aliases[alias] = to }

func aliasMoves() opcon.ResumeOptions {
	o := resumed()
	o.Repoint, o.Address, o.Host, o.UpTimeout = opcon.RepointAliasMoves, opcon.Address{}, newHost, 2*time.Second
	return o
}

// TestNoJobOnTheWrongHost: the alias was not moved, and the old host's agent is there again. Nothing is released; the
// machine does not stay open to that agent; and doing what the error says ends well in the same journal.
func TestNoJobOnTheWrongHost(t *testing.T) {
	for name, host := range map[string]string{"host named": newHost, "host named without its domain": "SYMAIX2",
		"host not named": ""} {
		t.Run(name, func(t *testing.T) {
			s := aliased(t, opcontest.Config{})
			s.Change(func() { s.Alternant.Ready = true; s.Machine.Asked, s.Machine.State = "L", "L" })
			r := aliasMoves()
			r.Host = host
			p, j := procedure(t, s, unplanned(), r), journal(t)
			_, err := p.Run(context.Background(), options(j))
			require.ErrorIs(t, err, failover.ErrPrecondition)
			require.ErrorContains(t, err, "which is the old host")
			require.ErrorContains(t, err, "nothing more is released")
			require.Contains(t, failover.NextOf(err), "alias")
			require.Zero(t, s.Count("release", ""))
			_, asked, _ := s.MachineState(s.Machine)
			require.Equal(t, "D", asked)

			s.point(newHost)
			o := options(j)
			if host == "" {
				_, err = p.Run(context.Background(), o)
				require.ErrorIs(t, err, failover.ErrPrecondition,
					"another name than the old one is not yet the right one")
				require.Zero(t, s.Count("release", ""))
				o.Waive = map[string]string{"opcon-prove/agent": "agent log on symaix2 shows OpCon connected"}
			}
			_, err = p.Run(context.Background(), o)
			require.NoError(t, err)
			s.lawful(t)
			require.Equal(t, 4, s.Count("release", ""))
			require.Equal(t, 1, s.Count("start", ""))
		})
	}
}

// TestNobodyTellsWhoAnswers: where the server does not tell the agent's host, nothing is released before a person or
// the site's own question has said it.
func TestNobodyTellsWhoAnswers(t *testing.T) {
	broken := errors.New("host cannot be asked")
	word := &failover.Statement{By: "jdoe", Says: "the agent on symaix2 has OpCon's connection", Reason: "its log"}
	for name, tc := range map[string]struct {
		change func(*opcon.ResumeOptions)
		waive  string // a check
		want   string // part of the error; "" completes
	}{
		"nothing":          {func(*opcon.ResumeOptions) {}, "", "does not tell"},
		"waived":           {func(*opcon.ResumeOptions) {}, "opcon-prove/agent", ""},
		"a person's word":  {func(o *opcon.ResumeOptions) { o.Vouch = word }, "", ""},
		"the right answer": {func(o *opcon.ResumeOptions) { o.AskAgent = told(newHost, nil) }, "", ""},
		"no answer":        {func(o *opcon.ResumeOptions) { o.AskAgent = told("", nil) }, "", "does not tell"},
		"the question fails": {func(o *opcon.ResumeOptions) { o.AskAgent = told("", broken) }, "",
			"host cannot be asked"},
		"another answer": {func(o *opcon.ResumeOptions) { o.AskAgent = told("symaix9", nil) }, "",
			"symaix9"},
		"a word against it": {func(o *opcon.ResumeOptions) { o.AskAgent, o.Vouch = told(oldHost, nil), word },
			"", oldHost},
		"a waiver against it": {func(o *opcon.ResumeOptions) { o.AskAgent = told(oldHost, nil) },
			"opcon-prove/agent", oldHost},
		"the old one still runs": {func(o *opcon.ResumeOptions) { o.OldAgent, o.Vouch = still(false), word }, "",
			"old-agent"},
		"the old one was waived": {func(o *opcon.ResumeOptions) { o.OldAgent, o.Vouch = still(false), word },
			"opcon-prove/old-agent", ""},
		"the old one is stopped": {func(o *opcon.ResumeOptions) { o.OldAgent, o.Vouch = still(true), word }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aliased(t, opcontest.Config{NoHostname: true})
			r := aliasMoves()
			tc.change(&r)
			s.Before("POST", "/api/machineactions", "limited", 0, func() { s.point(newHost) })
			p := procedure(t, s, unplanned(), r)
			for _, stage := range p.Stages {
				for i := range stage.Steps {
					if stage.Steps[i].ID == "old-agent" {
						stage.Steps[i].Timeout = 50 * time.Millisecond
					}
				}
			}
			o := options(journal(t))
			if tc.waive != "" {
				o.Waive = map[string]string{tc.waive: "its log shows the connection"}
			}
			_, err := p.Run(context.Background(), o)
			s.lawful(t)
			if tc.want == "" {
				require.NoError(t, err)
				require.Equal(t, 4, s.Count("release", ""))
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.NotEmpty(t, failover.NextOf(err))
			require.Zero(t, s.Count("release", ""))
			require.Zero(t, s.Count("up", ""))
		})
	}
}

func told(host string, err error) func(context.Context, opcon.Machine) (string, error) {
	return func(context.Context, opcon.Machine) (string, error) { return host, err }
}

func still(stopped bool) func(context.Context) (failover.Observation, error) {
	return func(context.Context) (failover.Observation, error) {
		return failover.Observation{Done: stopped, Found: "the agent on the old host"}, nil
	}
}

// TestTheOldAgentReturns while a person decides: the machine is closed to it, and nothing is released before it is
// gone.
func TestTheOldAgentReturns(t *testing.T) {
	for _, at := range []string{"opcon-prove/agent", "opcon-release/machine"} {
		t.Run("after "+at, func(t *testing.T) {
			s := aliased(t, opcontest.Config{})
			s.Before("POST", "/api/machineactions", "limited", 0, func() { s.point(newHost) })
			p, j := procedure(t, s, unplanned(), aliasMoves()), journal(t)
			o := options(j)
			o.Observer = func(e failover.Event) {
				if e.Kind == failover.EventStepEnded && e.Step.ID == at {
					s.point(oldHost)
					s.Reconnect(s.Machine)
				}
			}
			_, err := p.Run(context.Background(), o)
			require.ErrorContains(t, err, "which is the old host")
			require.Zero(t, s.Count("release", ""))
			s.lawful(t)
			s.point(newHost)
			_, err = p.Run(context.Background(), options(j))
			require.NoError(t, err)
			require.Equal(t, 4, s.Count("release", ""))
			s.lawful(t)
		})
	}
}

// TestTheLineThatWasClosedIsToldOf: the old host's agent takes the line of a machine that is up, and still runs when
// the line is to be opened anew. The machine is down then, so it is not true that nothing was changed.
func TestTheLineThatWasClosedIsToldOf(t *testing.T) {
	s := aliased(t, opcontest.Config{})
	s.Before("POST", "/api/machineactions", "limited", 0, func() { s.point(newHost) })
	var runs atomic.Bool
	r := aliasMoves()
	r.OldAgent = func(ctx context.Context) (failover.Observation, error) { return still(!runs.Load())(ctx) }
	o := options(journal(t))
	o.Observer = func(e failover.Event) {
		if e.Kind == failover.EventStepEnded && e.Step.ID == "opcon-release/machine" {
			s.point(oldHost)
			s.Reconnect(s.Machine)
			runs.Store(true)
		}
	}
	p := procedure(t, s, unplanned(), r)
	rep, err := p.Run(context.Background(), o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	_, asked, _ := s.MachineState(s.Machine)
	require.Equal(t, "D", asked)
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "%v", err)
	for _, st := range rep.Steps {
		if st.ID == "opcon-release/schedules" {
			require.Equal(t, failover.StatusInDoubt, st.Status)
		}
	}
	s.point(newHost)
	runs.Store(false)
	_, err = p.Run(context.Background(), o)
	require.NoError(t, err)
	s.lawful(t)
}

// TestNothingStartsWhileAPersonDecides: what midnight builds between the move and the decision waits too.
func TestNothingStartsWhileAPersonDecides(t *testing.T) {
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	s.Change(func() { s.Tomorrow.Status = opcontest.ScheduleInProcess })
	r := resumed()
	r.Decide = func(context.Context, []opcon.Interrupted) ([]opcon.Decision, error) {
		return nil, failover.ErrWaiting
	}
	p, j := procedure(t, s, unplanned(), r), journal(t)
	_, err := p.Run(context.Background(), options(j))
	require.ErrorIs(t, err, failover.ErrWaiting)
	s.Midnight()
	for range 5 {
		_, err = s.client.Service(context.Background())
		require.NoError(t, err)
	}
	require.Zero(t, s.Count("start", ""))
}

// TestWhatIsReleasedIsNotCalledHeld: a release was refused for one schedule, and the old host's agent takes the line
// before the next run.
func TestWhatIsReleasedIsNotCalledHeld(t *testing.T) {
	s := aliased(t, opcontest.Config{})
	s.Before("POST", "/api/machineactions", "limited", 0, func() { s.point(newHost) })
	s.FailItem("release", s.Statements.Name, "not allowed", failover.DefaultAttempts)
	p, j := procedure(t, s, unplanned(), aliasMoves()), journal(t)
	_, err := p.Run(context.Background(), options(j))
	require.ErrorContains(t, err, "not allowed")
	require.Equal(t, 3, s.Count("release", ""))
	s.point(oldHost)
	s.Reconnect(s.Machine)
	_, err = p.Run(context.Background(), options(j))
	require.ErrorContains(t, err, "which is the old host")
	require.NotContains(t, err.Error(), "every schedule stays held")
	s.point(newHost)
	_, err = p.Run(context.Background(), options(j))
	require.NoError(t, err)
}

// TestALineThatIsSlowToCloseIsNotOpen: OpCon shows the line as it was for a while after it was told to close it.
func TestALineThatIsSlowToCloseIsNotOpen(t *testing.T) {
	s, e := editedSite(t, opcontest.Config{})
	s.quiet()
	e.set(func(_ *http.Request, _ *http.Response, body string) string {
		return strings.ReplaceAll(body, `"state":"D","networkStatus":"D","operationStatus":"D"`,
			`"state":"U","networkStatus":"U","operationStatus":"D"`)
	})
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	stayed := resumed()
	stayed.Repoint, stayed.Address = opcon.RepointHostStayed, opcon.Address{}
	_, err = s.client.Reconnect(context.Background(), rec, stayed)
	require.NoError(t, err)
	_, asked, _ := s.MachineState(s.Machine)
	require.Equal(t, "L", asked)
}

// TestHostStayed lets the hold go on the host as it was: nothing is written into the record.
func TestHostStayed(t *testing.T) {
	for _, told := range []bool{true, false} {
		s := newSite(t, opcontest.Config{NoHostname: !told})
		s.quiet()
		rec, err := s.client.Quiesce(context.Background(), unplanned())
		require.NoError(t, err)
		o := resumed()
		o.Repoint, o.Address = opcon.RepointHostStayed, opcon.Address{}
		_, err = s.client.Resume(context.Background(), rec, o)
		require.NoError(t, err)
		require.Zero(t, s.Count("address", ""))
		require.Equal(t, 4, s.Count("release", ""))
		state, asked, address := s.MachineState(s.Machine)
		require.Equal(t, []string{"U", "U", oldHost}, []string{state, asked, address})
		s.lawful(t)
	}
	s := newSite(t, opcontest.Config{})
	s.quiet()
	rec, err := s.client.Quiesce(context.Background(), unplanned())
	require.NoError(t, err)
	s.Change(func() { s.Machine.FQDN = newHost })
	o := resumed()
	o.Repoint, o.Address = opcon.RepointHostStayed, opcon.Address{}
	_, err = s.client.Resume(context.Background(), rec, o)
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.ErrorContains(t, err, "leads to "+newHost)
	require.Zero(t, s.Count("limited", ""))
}
