package failover_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

func TestOutcomeOf(t *testing.T) {
	is := func(o failover.Outcome) error {
		return &failover.Error{Op: "op", Target: "t", Outcome: o, Err: assert.AnError}
	}
	tests := []struct {
		name string
		err  error
		want failover.Outcome
	}{
		{"nil", nil, failover.Applied},
		{"says nothing", assert.AnError, failover.InDoubt},
		{"a sentinel says nothing", failover.ErrPrecondition, failover.InDoubt},
		{"not applied", is(failover.NotApplied), failover.NotApplied},
		{"wrapped", fmt.Errorf("while: %w", is(failover.NotApplied)), failover.NotApplied},
		{"outermost counts", &failover.Error{Outcome: failover.Applied, Err: is(failover.NotApplied)}, failover.Applied},
		{"joined, agreed", errors.Join(is(failover.NotApplied), is(failover.NotApplied)), failover.NotApplied},
		{"joined, split", errors.Join(is(failover.NotApplied), is(failover.Applied)), failover.InDoubt},
		{"joined with one that says nothing", errors.Join(is(failover.NotApplied), assert.AnError), failover.InDoubt},
		{"two causes", fmt.Errorf("%w: %w", failover.ErrInDoubt, is(failover.NotApplied)), failover.InDoubt},
		{"zero value", &failover.Error{}, failover.InDoubt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, failover.OutcomeOf(tt.err)) })
	}
}

func TestWordsSurviveJSON(t *testing.T) {
	type all struct {
		O failover.Outcome
		K failover.Kind
		S failover.StepStatus
	}
	want := all{failover.NotApplied, failover.Once, failover.StatusWaived}
	raw, err := json.Marshal(want)
	require.NoError(t, err)
	assert.JSONEq(t, `{"O":"not-applied","K":"once","S":"waived"}`, string(raw))
	var got all
	require.NoError(t, json.Unmarshal(raw, &got))
	assert.Equal(t, want, got)
	require.Error(t, json.Unmarshal([]byte(`{"O":"maybe"}`), &got))
	_, err = json.Marshal(failover.Outcome(9))
	require.Error(t, err)
	assert.Equal(t, "Outcome(9)", failover.Outcome(9).String())
}

func TestASecretShowsItselfToNobody(t *testing.T) {
	const value = "hunter2-s3cret"
	s := failover.NewSecret(value)
	type inner struct{ secret failover.Secret }
	type outer struct {
		Secret failover.Secret
		inner  inner
		Ptr    *failover.Secret
	}
	v := outer{s, inner{s}, &s}
	var sink bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&sink, verb, s)
		fmt.Fprintf(&sink, verb, v)
		fmt.Fprintf(&sink, verb, []failover.Secret{s})
	}
	fmt.Fprint(&sink, s, v)
	slog.New(slog.NewJSONHandler(&sink, nil)).Info("x", "s", s, "v", v)
	slog.New(slog.NewTextHandler(&sink, nil)).Info("x", "s", s, "v", v)
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	sink.Write(raw)
	sink.WriteString(failover.Redact("the password is "+value+".", failover.Secret{}, s))
	assert.NotContains(t, sink.String(), value)
	assert.NotContains(t, sink.String(), fmt.Sprintf("%x", value))
	assert.Equal(t, value, s.Reveal())
	assert.True(t, failover.NewSecret("").Empty())
}

func TestProceduresThatCannotBeRunSafelyAreRefused(t *testing.T) {
	w := newWorld()
	edit := func(s failover.Step, f func(*failover.Step)) failover.Procedure {
		f(&s)
		return procedure(s)
	}
	tests := map[string]failover.Procedure{
		"no name":          {Stages: procedure(w.check("a")).Stages},
		"no stage name":    {Name: "p", Stages: []failover.Stage{{Steps: []failover.Step{w.check("a")}}}},
		"no steps":         procedure(),
		"twice":            procedure(w.check("a"), w.check("a")),
		"no ID":            edit(w.check("a"), func(s *failover.Step) { s.ID = "" }),
		"no title":         edit(w.check("a"), func(s *failover.Step) { s.Title = "" }),
		"no kind":          edit(w.check("a"), func(s *failover.Step) { s.Kind = 0 }),
		"negative time":    edit(w.check("a"), func(s *failover.Step) { s.Timeout = -1 }),
		"not observed":     edit(w.change("a"), func(s *failover.Step) { s.Observe = nil }),
		"not applied":      edit(w.change("a"), func(s *failover.Step) { s.Apply = nil }),
		"check changes":    edit(w.change("a"), func(s *failover.Step) { s.Kind = failover.Check }),
		"once, no probe":   edit(w.once("a"), func(s *failover.Step) { s.Probe = nil }),
		"once, no timeout": edit(w.once("a"), func(s *failover.Step) { s.Timeout = 0 }),
		"once, undo":       edit(w.once("a"), func(s *failover.Step) { s.Undo = w.back("a") }),
		"change, probe":    edit(w.once("a"), func(s *failover.Step) { s.Kind = failover.Change }),
		"manual, no help":  procedure(failover.Step{ID: "a", Title: "A", Kind: failover.Manual}),
	}
	for name, p := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := p.Run(t.Context(), options(journal(t)))
			require.ErrorIs(t, err, failover.ErrInvalid)
			assert.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
		})
	}
	for name, change := range map[string]func(*failover.RunOptions){
		"no journal": func(o *failover.RunOptions) { o.Journal = nil },
		"no actor":   func(o *failover.RunOptions) { o.Actor = "" },
		"no reason":  func(o *failover.RunOptions) { o.Reason = "" },
		"waive what": func(o *failover.RunOptions) { o.Waive = map[string]string{"s/nothing": "x"} },
		"waive why":  func(o *failover.RunOptions) { o.Waive = map[string]string{"s/a": ""} },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(journal(t))
			change(&o)
			_, err := procedure(w.check("a")).Run(t.Context(), o)
			require.ErrorIs(t, err, failover.ErrInvalid)
		})
	}
}

func TestStepsOfYourOwnAreInsertedByName(t *testing.T) {
	w := newWorld()
	p := procedure(w.check("a"), w.check("c"))
	q, err := p.InsertBefore("s/c", w.check("b"))
	require.NoError(t, err)
	q, err = q.InsertAfter("s/c", w.check("d"))
	require.NoError(t, err)
	q, err = q.Replace("s/a", w.check("z"))
	require.NoError(t, err)
	var ids []string
	for _, s := range q.Stages[0].Steps {
		ids = append(ids, s.ID)
	}
	assert.Equal(t, []string{"z", "b", "c", "d"}, ids)
	assert.Len(t, p.Stages[0].Steps, 2, "the original is untouched")
	assert.Equal(t, "a", p.Stages[0].Steps[0].ID)
	_, err = p.InsertAfter("s/nothing", w.check("b"))
	require.ErrorIs(t, err, failover.ErrInvalid)
}

func TestAnSSHTargetThatTrustsNobodyInParticularIsRefused(t *testing.T) {
	good := failover.SSH{Address: "a:22", User: "u",
		HostKeys: []string{"SHA256:uNiVztksCsDhcc0u9e8BrQvrIhBfcp7nOkDfWvPX12E"}, Agent: "/sock"}
	require.NoError(t, good.Validate("host"))
	for name, change := range map[string]func(*failover.SSH){
		"address":     func(s *failover.SSH) { s.Address = "a" },
		"user":        func(s *failover.SSH) { s.User = "" },
		"no keys":     func(s *failover.SSH) { s.HostKeys = nil },
		"bad key":     func(s *failover.SSH) { s.HostKeys = []string{"MD5:00"} },
		"bad peer":    func(s *failover.SSH) { s.PeerKeys = []string{"SHA256:short"} },
		"no login":    func(s *failover.SSH) { s.Agent = "" },
		"bad timeout": func(s *failover.SSH) { s.ConnectTimeout = -1 },
	} {
		bad := good
		change(&bad)
		require.ErrorIs(t, bad.Validate("host"), failover.ErrInvalid, name)
	}
}

func TestAnErrorSaysItsNextActionOnce(t *testing.T) {
	inner := &failover.Error{Op: "hold", Target: "schedule", Outcome: failover.NotApplied, Next: "ask",
		Err: assert.AnError}
	outer := &failover.Error{Op: "change", Target: "step", Outcome: failover.NotApplied, Next: "ask",
		Err: fmt.Errorf("%w: %w", failover.ErrRejected, inner)}
	assert.Equal(t, "change step: rejected: hold schedule: "+assert.AnError.Error()+" (not-applied; next: ask)",
		outer.Error())
	outer.Outcome, outer.Next = failover.InDoubt, ""
	assert.Equal(t, "change step: rejected: hold schedule: "+assert.AnError.Error()+" (in-doubt; next: ask)",
		outer.Error(), "the outermost says what is known")
	several := &failover.Error{Op: "change", Target: "step", Outcome: failover.NotApplied, Next: "ask",
		Err: failover.Targets{{Target: "one", Err: inner}, {Target: "two", Err: inner}}.Err()}
	assert.Equal(t, 3, strings.Count(several.Error(), "(not-applied; next: ask)"), "each of several targets keeps its own")
}
