package runbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// site is what the program of a test acts on.
type site struct {
	reachable bool
	checked   bool
	fired     int
	lost      bool // the answer of the next firing
	tried     bool // it was fired, or may have been
	holder    failover.Claim
	built     int
}

func (s *site) program() Program {
	return Program{Name: "test", Procedures: []string{"move", "back"},
		Build: func(context.Context, string, string) (failover.Procedure, io.Closer, error) {
			s.built++
			if !s.reachable {
				return failover.Procedure{}, nil, errors.New("the target is down")
			}
			return failover.Procedure{Name: "test.Move", Lock: s, Stages: []failover.Stage{{Name: "s", Steps: []failover.Step{
				{ID: "check", Title: "Check", Kind: failover.Check, Observe: s.sees(&s.checked)},
				{ID: "call", Title: "Call the branch", Kind: failover.Manual, Help: "Call."},
				{ID: "fire", Title: "Fire", Kind: failover.Once, Timeout: time.Second, Poll: time.Millisecond,
					Observe: func(context.Context) (failover.Observation, error) {
						return failover.Observation{Done: s.fired > 0}, nil
					},
					Apply: func(context.Context) error {
						s.tried = true
						if s.lost {
							return errors.New("line lost")
						}
						s.fired++
						return nil
					},
					Probe: func(context.Context) (failover.Outcome, error) {
						if !s.tried {
							return failover.NotApplied, nil
						}
						return failover.InDoubt, nil
					}},
				{ID: "verify", Title: "Verify", Kind: failover.Check,
					Observe: func(context.Context) (failover.Observation, error) {
						return failover.Observation{Done: s.fired > 0}, nil
					}},
			}}}}, io.NopCloser(nil), nil
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

// operator calls a program without a terminal and keeps what it prints.
type operator struct {
	t        *testing.T
	program  Program
	flags    []string
	out, err string // of the newest call
	status   ExitStatus
}

func (o *operator) call(args ...string) ExitStatus {
	o.t.Helper()
	file := func() *os.File {
		f, err := os.CreateTemp(o.t.TempDir(), "")
		require.NoError(o.t, err)
		return f
	}
	con := console{in: file(), out: file(), err: file()}
	o.status = o.program.main(append(slices.Clone(o.flags), args...), con)
	read := func(f *os.File) string {
		raw, err := os.ReadFile(f.Name())
		require.NoError(o.t, errors.Join(err, f.Close()))
		return string(raw)
	}
	_ = read(con.in)
	o.out, o.err = read(con.out), read(con.err)
	return o.status
}

// last returns the last line of the newest call.
func (o *operator) last() string {
	text := o.out
	if o.status != ExitDone {
		text = o.err
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// hash returns the hash that the newest call named for -approve.
func (o *operator) hash() string {
	o.t.Helper()
	_, hash, found := strings.Cut(o.out+o.err, "Findings: ")
	require.True(o.t, found, "%s%s", o.out, o.err)
	return hash[:64]
}

func (s *site) operator(t *testing.T) *operator {
	t.Helper()
	return &operator{t: t, program: s.program(),
		flags: []string{"-journal", filepath.Join(t.TempDir(), "journal"), "-actor", "ann", "-reason", "CHG-1"}}
}

func TestAnOperatorReadsAndSettlesAJournalWhileTheTargetIsDown(t *testing.T) {
	s := &site{reachable: true, checked: true, lost: true}
	o := s.operator(t)
	journal := o.flags[1]
	require.Equal(t, ExitNotDone, o.call("status"), "there is no journal")
	require.Equal(t, ExitNotDone, o.call("resolve", "s/fire", "applied"), "there is no journal")
	require.Equal(t, ExitNotDone, o.call("undo"), "there is no journal")
	require.Equal(t, ExitWaiting, o.call("run"), "nobody consents")
	require.NoFileExists(t, journal, "asking makes none")
	require.Empty(t, s.holder.ID)
	require.Equal(t, ExitUsage, o.call("run", "-waive", "call=why"), "no check")
	require.Equal(t, ExitUsage, o.call("run", "-waive", "nothing=why"))
	require.Equal(t, ExitWaiting, o.call("run", "-waive", "s/check=why"))
	require.Contains(t, o.err, "Waived: s/check: why")
	require.NoFileExists(t, journal)

	require.Equal(t, ExitWaiting, o.call("run", "-approve", o.hash()), "the call waits for a person")
	require.Equal(t, ExitUsage, o.call("confirm", "s/call"))
	require.Equal(t, ExitUsage, o.call("confirm", "s/fire", "done"), "not a manual step")
	s.reachable, s.built = false, 0
	require.Equal(t, ExitDone, o.call("confirm", "s/call", "called", "them"))
	require.Zero(t, s.built)
	s.reachable = true
	require.Equal(t, ExitWaiting, o.call("run"), "nobody is there to approve the firing")
	require.Equal(t, ExitInDoubt, o.call("run", "-approve", o.hash()), "in doubt")

	s.reachable, s.built = false, 0
	for _, args := range [][]string{{"status"}, {"report"}, {"report", "-json"}, {"-html", "report"}} {
		require.Equal(t, ExitDone, o.call(args...), args)
	}
	require.Equal(t, ExitUsage, o.call("-html", "-json", "report"))
	require.Equal(t, ExitUsage, o.call("resolve", "s/check", "applied"), "not in doubt")
	require.Equal(t, ExitUsage, o.call("resolve", "s/fire", "perhaps"))
	require.Equal(t, ExitDone, o.call("resolve", "s/fire", "not-applied"))
	require.Zero(t, s.built, "nothing of that needs the target")
	require.Equal(t, ExitNotDone, o.call("run"), "running does; what was in doubt is settled as not applied")

	s.reachable, s.lost = true, false
	require.Equal(t, ExitWaiting, o.call("run"))
	require.Equal(t, ExitDone, o.call("run", "-approve", o.hash()))
	assert.Equal(t, 1, s.fired)
	j, err := failover.ReadJournal(journal)
	require.NoError(t, err)
	assert.Equal(t, failover.ResultCompleted, j.Report().Result)
	require.Equal(t, ExitUsage, o.call("run"), "an old journal does not make a new run look done")
	assert.Contains(t, o.err, "a run that was completed at")
	assert.Equal(t, 1, s.fired)
}

func TestCheckFailsOnWhatHasToHoldNowOnly(t *testing.T) {
	s := &site{reachable: true}
	o := s.operator(t)
	assert.Equal(t, ExitBlocked, o.call("check"))
	s.checked = true
	assert.Equal(t, ExitDone, o.call("check"), "what comes true by the run is no precondition")
	assert.Equal(t, ExitDone, o.call("-json", "check"))
	assert.True(t, strings.HasPrefix(o.out, "{"), "%s", o.out)
}

// Two hosts of a pair, or two systems of a site, can each have a lock of another dead run.
func TestEveryDeadHolderIsNamed(t *testing.T) {
	s := &site{reachable: true, checked: true}
	one, two := &failovertest.Lock{}, &failovertest.Lock{}
	require.NoError(t, one.Acquire(t.Context(), failover.Claim{ID: "dead", Owner: "bob"}))
	require.NoError(t, two.Acquire(t.Context(), failover.Claim{ID: "gone", Owner: "eve"}))
	o := s.operator(t)
	build := o.program.Build
	o.program.Build = func(ctx context.Context, config, name string) (failover.Procedure, io.Closer, error) {
		p, closer, err := build(ctx, config, name)
		p.Lock = failover.Locks(one, two)
		return p, closer, err
	}
	require.Equal(t, ExitDone, o.call("lock"))
	require.Contains(t, o.out, "dead\n")
	require.Contains(t, o.out, "gone\n")
	for _, named := range []string{"dead", "gone"} {
		require.Equal(t, ExitNotDone, o.call("take-over", named, "-approve", named))
		require.Contains(t, o.err, "who is not named")
	}
	require.Equal(t, ExitWaiting, o.call("take-over", "dead", "gone"))
	require.Contains(t, o.err, "-approve dead,gone")
	require.Equal(t, ExitDone, o.call("take-over", "dead", "gone", "-approve", "dead,gone"))
	require.Equal(t, ExitWaiting, o.call("run"))
	require.Equal(t, ExitWaiting, o.call("run", "-approve", o.hash()), "only the person is missing now")
}

// A lock that a finished journal took over would be in the way of the run that needs a new one.
func TestAFinishedJournalTakesNoLockOver(t *testing.T) {
	s := &site{reachable: true, checked: true, fired: 1}
	o := s.operator(t)
	require.Equal(t, ExitWaiting, o.call("run"))
	require.Equal(t, ExitWaiting, o.call("run", "-approve", o.hash()))
	require.Equal(t, ExitDone, o.call("confirm", "s/call", "called"))
	require.Equal(t, ExitWaiting, o.call("run"))
	require.Equal(t, ExitDone, o.call("run", "-approve", o.hash()))
	s.holder = failover.Claim{ID: "dead", Owner: "bob"}
	require.Equal(t, ExitUsage, o.call("take-over", "dead", "-approve", "dead"))
	require.Contains(t, o.last(), "-journal")
	require.Equal(t, "dead", s.holder.ID)
	o.flags[1] += ".new"
	require.Equal(t, ExitDone, o.call("take-over", "dead", "-approve", "dead"))
	require.Equal(t, ExitWaiting, o.call("run"))
	require.Equal(t, ExitWaiting, o.call("run", "-approve", o.hash()), "only the person is missing now")
}

func TestTheLockIsTakenOverFromTheHolderThatIsNamed(t *testing.T) {
	s := &site{reachable: true, checked: true, holder: failover.Claim{ID: "dead", Owner: "bob"}}
	o := s.operator(t)
	require.Equal(t, ExitWaiting, o.call("run"))
	require.Equal(t, ExitNotDone, o.call("run", "-approve", o.hash()), "locked")
	require.Equal(t, ExitDone, o.call("lock"))
	require.Equal(t, ExitNotDone, o.call("take-over", "another", "-approve", "another"))
	assert.Equal(t, "dead", s.holder.ID)
	require.Equal(t, ExitWaiting, o.call("take-over", "dead"), "nobody consents")
	require.Equal(t, ExitWaiting, o.call("take-over", "dead", "-approve", "another"))
	assert.Equal(t, "dead", s.holder.ID)
	require.Equal(t, ExitDone, o.call("take-over", "dead", "-approve", "dead"))
	assert.NotEqual(t, "dead", s.holder.ID)
	require.Equal(t, ExitWaiting, o.call("run"))
	require.Equal(t, ExitWaiting, o.call("run", "-approve", o.hash()), "only the person is missing now")
	j, err := failover.ReadJournal(o.flags[1])
	require.NoError(t, err)
	taken := slices.DeleteFunc(j.Report().Decisions,
		func(d failover.Decision) bool { return d.Kind != failover.DecisionTakeOver })
	require.NotEmpty(t, taken)
	assert.Contains(t, taken[0].String(), "bob")
	assert.Contains(t, taken[0].String(), "by ann from ")
}

func TestWrongCallsAreRefused(t *testing.T) {
	s := &site{reachable: true}
	o := &operator{t: t, program: s.program(), flags: []string{"-journal", filepath.Join(t.TempDir(), "journal")}}
	for _, args := range [][]string{{"nothing"}, {"plan", "run"}, {"run"}, {"-reason", "x", "resolve"},
		{"take-over", "-reason", "x"},
		{"-procedure", "sideways", "plan"}, {"-nothing"}, {"-waive", "step", "plan"}, {"--", "-json"},
		{"-actor", "", "-reason", "x", "run"}} {
		assert.Equal(t, ExitUsage, o.call(args...), args)
	}
	assert.Equal(t, ExitDone, o.call("-h"))
	assert.Zero(t, s.built, "none of them reached for the target")
}

func TestAVerbOfAProgramsOwnThatChangesSomethingNeedsConsent(t *testing.T) {
	var ran, answered []string
	p := Program{Name: "own", Procedures: []string{"move"}, Verbs: []Verb{
		{Name: "show", Run: func(_ context.Context, _ string, args []string) error {
			ran = append(ran, "show")
			return nil
		}},
		{Name: "import FILE [apply]", Run: func(_ context.Context, _ string, args []string) error {
			ran = append(ran, args...)
			return nil
		}, Answer: func(_ context.Context, _ string, args []string, actor, reason string) error {
			answered = append(answered, args[0], actor, reason)
			return nil
		}, Changes: func(args []string) bool { return slices.Contains(args, "apply") }},
	}}
	o := &operator{t: t, program: p, flags: []string{"-actor", "ann"}}
	require.Equal(t, ExitDone, o.call("show"))
	require.Equal(t, ExitDone, o.call("import", "x.ldif"))
	require.Equal(t, []string{"show", "x.ldif"}, ran)
	require.Equal(t, ExitUsage, o.call("import", "x.ldif", "apply"), "without a reason")
	require.Equal(t, ExitWaiting, o.call("import", "x.ldif", "apply", "-reason", "CHG-1"), "nobody consents")
	require.Equal(t, ExitWaiting, o.call("import", "x.ldif", "apply", "-reason", "CHG-1", "-approve", "yes"))
	require.Empty(t, answered)
	require.Equal(t, ExitDone, o.call("import", "x.ldif", "apply", "-reason", "CHG-1", "-approve", "x.ldif"))
	require.Equal(t, []string{"x.ldif", "ann", "CHG-1"}, answered)
}

// No journal tells what became of such a verb: its error does, and one that says nothing is in doubt.
func TestTheStatusOfAVerbOfItsOwnFollowsFromItsError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want ExitStatus
	}{
		{nil, ExitDone},
		{&failover.Error{Op: "write", Outcome: failover.NotApplied, Err: errors.New("refused")}, ExitNotDone},
		{&failover.Error{Op: "write", Outcome: failover.InDoubt, Err: errors.New("line lost")}, ExitInDoubt},
		{errors.New("line lost"), ExitInDoubt},
		{failover.Targets{{Target: "a"}, {Target: "b", Err: failover.Invalid("b", "is bad", "mend it")}}.Err(), ExitPartWay},
		{failover.Targets{{Target: "a"}, {Target: "b", Err: errors.New("line lost")}}.Err(), ExitInDoubt},
		{errors.Join(failover.Targets{{Target: "a"}}, errors.New("line lost")), ExitInDoubt},
		{&failover.Error{Op: "write", Outcome: failover.Applied, Err: errors.New("not seen")}, ExitPartWay},
		{fmt.Errorf("%w: ask", failover.ErrWaiting), ExitWaiting},
	} {
		p := Program{Name: "own", Procedures: []string{"move"}, Verbs: []Verb{{Name: "write",
			Answer: func(context.Context, string, []string, string, string) error { return c.err }}}}
		o := &operator{t: t, program: p, flags: []string{"-actor", "ann"}}
		assert.Equal(t, c.want, o.call("write", "-reason", "CHG-1", "-approve", "write"), "%v", c.err)
		assert.Equal(t, ExitUsage, o.call("write", "-reason", "CHG-1", "-approve", "write", "-actor", ""))
	}
}

// A run of a joined procedure makes the checks at the head of every part first; check does not pass without them.
func TestCheckLooksAtTheHeadOfEveryPart(t *testing.T) {
	step := func(id string, kind failover.Kind, see error) failover.Step {
		s := failover.Step{ID: id, Title: id, Kind: kind, Observe: func(context.Context) (failover.Observation, error) {
			return failover.Observation{Found: "seen"}, see
		}}
		if kind == failover.Once {
			s.Timeout, s.Apply = time.Second, func(context.Context) error { return nil }
			s.Probe = func(context.Context) (failover.Outcome, error) { return failover.InDoubt, nil }
		}
		return s
	}
	part := func(name string, steps ...failover.Step) failover.Part {
		return failover.Part{Name: name,
			Procedure: failover.Procedure{Name: "p", Stages: []failover.Stage{{Name: "s", Steps: steps}}}}
	}
	p, err := failover.Join(failover.JoinOptions{Name: "both"}, part("one", step("fire", failover.Once, nil)),
		part("two", step("head", failover.Check, nil), step("blind", failover.Check, errors.New("no route")),
			step("fire", failover.Once, nil), step("behind", failover.Check, nil)))
	require.NoError(t, err)
	o := &operator{t: t, program: Program{Name: "own", Procedures: []string{"both"},
		Build: func(context.Context, string, string) (failover.Procedure, io.Closer, error) {
			return p, io.NopCloser(nil), nil
		}}, flags: []string{"-journal", filepath.Join(t.TempDir(), "journal")}}
	require.Equal(t, ExitBlocked, o.call("check"))
	assert.Regexp(t, `FAILS +two/s/head`, o.out)
	assert.Regexp(t, `unknown +two/s/blind`, o.out)
	assert.NotContains(t, o.out, "behind")
}
