package runbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// moving is a procedure with every kind of change.
type moving struct {
	mu    sync.Mutex
	done  []string // changes, in order
	lock  failovertest.Lock
	found string
}

func (m *moving) changes() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.done...)
}

func (m *moving) has(what string) bool {
	for _, d := range m.changes() {
		if d == what {
			return true
		}
	}
	return false
}

func (m *moving) does(what string) func(context.Context) error {
	return func(context.Context) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.done = append(m.done, what)
		return nil
	}
}

func (m *moving) program() Program {
	see := func(what string) func(context.Context) (failover.Observation, error) {
		return func(context.Context) (failover.Observation, error) {
			return failover.Observation{Done: m.has(what) && !m.has("not "+what), Found: m.found, Would: "do " + what}, nil
		}
	}
	return Program{Name: "moving", Procedures: []string{"move"},
		Build: func(context.Context, string, string) (failover.Procedure, io.Closer, error) {
			return failover.Procedure{Name: "test.Moving", Lock: &m.lock,
				Stages: []failover.Stage{{Name: "s", Steps: []failover.Step{
					{ID: "stop", Title: "Stop", Target: "NODE1", Kind: failover.Change, Observe: see("stop"), Apply: m.does("stop"),
						Undo: m.does("not stop")},
					{ID: "wipe", Title: "Wipe", Target: "NODE2", Kind: failover.Change, Observe: see("wipe"), Apply: m.does("wipe")},
					{ID: "fire", Title: "Fire", Target: "symaix1", Kind: failover.Once, Timeout: time.Second, Observe: see("fire"),
						Apply: m.does("fire"),
						Probe: func(context.Context) (failover.Outcome, error) { return failover.NotApplied, nil }},
				}}}}, io.NopCloser(nil), nil
		}}
}

func (m *moving) untouched(t *testing.T) {
	t.Helper()
	require.Empty(t, m.changes())
	require.False(t, m.lock.Held())
}

func flags(t *testing.T, args ...string) []string {
	t.Helper()
	return append([]string{"-journal", filepath.Join(t.TempDir(), "journal"), "-actor", "ann", "-reason", "CHG-1"},
		args...)
}

// hostile has every kind of character that does not show itself.
const hostile = "a\x1b[2K\x1b]0;t\x07\rb\nc\x00d\x7fe\u009bf\u202eg\u2066h\u2028i\u2029j\xffk\u200bl\ufeffm"

// hostileProgram puts the hostile text wherever another system, or a site's own names, can.
func hostileProgram(lock failover.Lock) Program {
	obs := failover.Observation{Found: hostile, Would: hostile, Note: hostile,
		Items: []failover.Item{{Target: hostile, Found: hostile}}}
	see := func(done *bool) func(context.Context) (failover.Observation, error) {
		return func(context.Context) (failover.Observation, error) {
			o := obs
			o.Done = *done
			return o, nil
		}
	}
	yes, stopped := true, false
	return Program{Name: "hostile", Procedures: []string{"move"},
		Build: func(context.Context, string, string) (failover.Procedure, io.Closer, error) {
			return failover.Procedure{Name: "test.Hostile", Lock: lock,
				Parameters: []failover.Parameter{{Name: "p", Value: hostile}},
				Stages: []failover.Stage{{Name: "s", Steps: []failover.Step{
					{ID: "check", Title: hostile, Target: hostile, Kind: failover.Check, Observe: see(&yes)},
					{ID: "stop", Title: hostile, Target: hostile, Kind: failover.Change, Observe: see(&stopped),
						Undo: failover.NothingToUndo,
						Apply: func(ctx context.Context) error {
							failover.Progress(ctx, hostile)
							stopped = true
							return nil
						}},
					{ID: "call", Title: hostile, Target: hostile, Kind: failover.Manual, Help: hostile},
					{ID: "fail", Title: hostile, Target: hostile, Kind: failover.Change,
						Observe: func(context.Context) (failover.Observation, error) { return obs, nil },
						Apply: func(context.Context) error {
							return &failover.Error{Op: hostile, Target: hostile, Outcome: failover.NotApplied, Next: hostile,
								Err: errors.Join(failover.ErrRejected, errors.New(hostile), fmt.Errorf("%s", hostile))}
						}},
				}}}}, io.NopCloser(nil), nil
		}}
}

func TestHostileTextIsVisibleInEverySink(t *testing.T) {
	lock := &failovertest.Lock{}
	o := &operator{t: t, program: hostileProgram(lock), flags: flags(t)}
	call := func(want ExitStatus, args ...string) {
		t.Helper()
		require.Equal(t, want, o.call(args...), "%q: %s%s", args, o.out, o.err)
		showsItself(t, o.out)
		showsItself(t, o.err)
	}
	call(ExitUsage, hostile)
	call(ExitUsage, "-procedure", hostile, "plan")
	call(ExitDone, "check")
	call(ExitDone, "plan")
	require.Contains(t, o.out, `a\x1b[2K`)
	call(ExitDone, "-json", "plan")
	call(ExitWaiting, "run")
	call(ExitWaiting, "run", "-approve", o.hash())
	require.Contains(t, o.err, `a\x1b[2K`)
	call(ExitDone, "confirm", "s/call", hostile)
	call(ExitWaiting, "run")
	call(ExitPartWay, "run", "-approve", o.hash())
	for _, args := range [][]string{{"status"}, {"report"}, {"-json", "report"}, {"-html", "report"}} {
		call(ExitDone, args...)
	}
	call(ExitUsage, "resolve", hostile, "applied")
	call(ExitUsage, "resolve", "s/call", hostile)
	call(ExitWaiting, "undo")
	require.Contains(t, o.err, "take back: ")
	call(ExitDone, "undo", "-approve", o.hash())
	require.NoError(t, lock.Acquire(t.Context(),
		failover.Claim{ID: hostile, Owner: hostile, Purpose: hostile, Journal: hostile,
			Holder: failover.Holder{Host: hostile, User: hostile}}))
	call(ExitDone, "lock")
	o.flags = flags(t)
	call(ExitWaiting, "take-over", hostile)
}

// showsItself fails on a character that does not show itself, line breaks excepted.
func showsItself(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		require.Equal(t, failover.Printable(line), line)
	}
}
