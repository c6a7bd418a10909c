package runbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// site is what the program of a test acts on.
type site struct {
	reachable bool
	checked   bool
	fired     int
	lost      bool // the answer of the next firing
	holder    failover.Claim
	built     int
}

func (s *site) program() Program {
	return Program{Name: "test", Procedures: []string{"move", "back"}, Build: func(context.Context, string, string) (failover.Procedure, io.Closer, error) {
		s.built++
		if !s.reachable {
			return failover.Procedure{}, nil, errors.New("the target is down")
		}
		return failover.Procedure{Name: "test.Move", Lock: s, Steps: []failover.Step{
			{ID: "check", Title: "Check", Kind: failover.Check, Observe: s.sees(&s.checked)},
			{ID: "call", Title: "Call the branch", Kind: failover.Manual, Help: "Call."},
			{ID: "fire", Title: "Fire", Kind: failover.Once, Timeout: time.Second, Poll: time.Millisecond,
				Observe: func(context.Context) (failover.Observation, error) {
					return failover.Observation{Done: s.fired > 0}, nil
				},
				Apply: func(context.Context) error {
					if s.lost {
						return errors.New("line lost")
					}
					s.fired++
					return nil
				},
				Probe: func(context.Context) (failover.Outcome, error) { return failover.InDoubt, nil }},
			{ID: "verify", Title: "Verify", Kind: failover.Check,
				Observe: func(context.Context) (failover.Observation, error) {
					return failover.Observation{Done: s.fired > 0}, nil
				}},
		}}, io.NopCloser(nil), nil
	}}
}

func (s *site) sees(what *bool) func(context.Context) (failover.Observation, error) {
	return func(context.Context) (failover.Observation, error) { return failover.Observation{Done: *what}, nil }
}

func (s *site) Acquire(_ context.Context, c failover.Claim) error {
	if s.holder.ID != "" && s.holder.ID != c.ID {
		return &failover.Error{Op: "lock", Outcome: failover.NotApplied, Err: failover.ErrLocked}
	}
	s.holder = c
	return nil
}

func (s *site) Check(context.Context, failover.Claim) error { return nil }

func (s *site) Release(_ context.Context, c failover.Claim) error {
	if s.holder.ID == c.ID {
		s.holder = failover.Claim{}
	}
	return nil
}

func (s *site) Holder(context.Context) (failover.Claim, bool, error) {
	return s.holder, s.holder.ID != "", nil
}

func (s *site) TakeOver(_ context.Context, from, to failover.Claim) error {
	if s.holder.ID != from.ID {
		return fmt.Errorf("%w: changed", failover.ErrLocked)
	}
	s.holder = to
	return nil
}

func TestAnOperatorReadsAndSettlesAJournalWhileTheTargetIsDown(t *testing.T) {
	s := &site{reachable: true, checked: true, lost: true}
	p, journal := s.program(), filepath.Join(t.TempDir(), "journal")
	call := func(args ...string) int {
		return p.Main(append([]string{"-journal", journal, "-actor", "ann", "-reason", "CHG-1"}, args...))
	}
	require.Equal(t, 1, call("status"), "there is no journal")
	require.Equal(t, 1, call("resolve", "fire", "applied"), "there is no journal")
	require.Equal(t, 1, call("undo"), "there is no journal")
	require.NoFileExists(t, journal, "asking makes none")

	require.Equal(t, 4, call("run"), "the call waits for a person")
	require.Equal(t, 2, call("confirm", "call"))
	require.Equal(t, 1, call("confirm", "fire", "done"), "not a manual step")
	s.reachable, s.built = false, 0
	require.Zero(t, call("confirm", "call", "called", "them"))
	require.Zero(t, s.built)
	s.reachable = true
	require.Equal(t, 4, call("run"), "nobody is there to approve the firing")
	plan, err := func() (failover.Plan, error) {
		proc, _, err := p.Build(t.Context(), "", "")
		require.NoError(t, err)
		return proc.Plan(t.Context(), nil)
	}()
	require.NoError(t, err)
	require.Equal(t, 3, call("run", "-approve", string(plan.Findings)), "in doubt")

	s.reachable, s.built = false, 0
	for _, args := range [][]string{{"status"}, {"report"}, {"report", "-json"}, {"-html", "report"}} {
		require.Zero(t, call(args...), args)
	}
	require.Equal(t, 1, call("resolve", "check", "applied"), "not in doubt")
	require.Equal(t, 2, call("resolve", "fire", "perhaps"))
	require.Zero(t, call("resolve", "fire", "not-applied"))
	require.Zero(t, s.built, "nothing of that needs the target")
	require.Equal(t, 1, call("run"), "running does")

	s.reachable, s.lost = true, false
	require.Zero(t, call("run", "-approve", string(plan.Findings)))
	assert.Equal(t, 1, s.fired)
	j, err := failover.ReadJournal(journal)
	require.NoError(t, err)
	assert.Equal(t, failover.ResultCompleted, j.Report().Result)
	require.Equal(t, 1, call("run"), "an old journal does not make a new run look done")
	assert.Equal(t, 1, s.fired)
}

func TestCheckFailsOnWhatHasToHoldNowOnly(t *testing.T) {
	s := &site{reachable: true}
	assert.Equal(t, 1, s.program().Main([]string{"check"}))
	s.checked = true
	assert.Zero(t, s.program().Main([]string{"check"}), "what comes true by the run is no precondition")
	assert.Zero(t, s.program().Main([]string{"-json", "check"}))
}

func TestTheLockIsTakenOverFromTheHolderThatIsNamed(t *testing.T) {
	s := &site{reachable: true, checked: true, holder: failover.Claim{ID: "dead", Owner: "bob"}}
	p, journal := s.program(), filepath.Join(t.TempDir(), "journal")
	call := func(args ...string) int {
		return p.Main(append([]string{"-journal", journal, "-reason", "CHG-1"}, args...))
	}
	require.Equal(t, 1, call("run"), "locked")
	require.Zero(t, call("lock"))
	require.Equal(t, 1, call("take-over", "another"))
	assert.Equal(t, "dead", s.holder.ID)
	require.Zero(t, call("take-over", "dead"))
	assert.NotEqual(t, "dead", s.holder.ID)
	require.Equal(t, 4, call("run"), "only the person is missing now")
	j, err := failover.ReadJournal(journal)
	require.NoError(t, err)
	taken := slices.DeleteFunc(j.Report().Decisions, func(d failover.Decision) bool { return d.Kind != failover.DecisionTakeOver })
	require.NotEmpty(t, taken)
	assert.Contains(t, taken[0].String(), "bob")
}

func TestWrongCallsAreRefused(t *testing.T) {
	s := &site{reachable: true}
	for _, args := range [][]string{{"nothing"}, {"plan", "run"}, {"run"}, {"-reason", "x", "resolve"}, {"take-over", "-reason", "x"},
		{"-procedure", "sideways", "plan"}, {"-nothing"}, {"-waive", "step", "plan"}, {"--", "-json"}} {
		assert.Equal(t, 2, s.program().Main(args), args)
	}
	assert.Zero(t, s.program().Main([]string{"-h"}))
	assert.Zero(t, s.built, "none of them reached for the target")
}
