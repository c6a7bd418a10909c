package runbook

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// world is what the procedure of the table acts on. Its switches bring a journal into each situation.
type world struct {
	blocked, down           bool
	stopRefused             bool
	undoFails, undoLost     bool
	called                  bool
	fireRefused, fireLost   bool
	stopped, fired, touched bool // touched: the firing may have begun
	name                    string
	lock                    failovertest.Lock
}

func (w *world) program() Program {
	refused := func(op string) error {
		return &failover.Error{Op: op, Target: "NODE1", Outcome: failover.NotApplied, Next: "fix it",
			Err: failover.ErrRejected}
	}
	see := func(done *bool) func(context.Context) (failover.Observation, error) {
		return func(context.Context) (failover.Observation, error) {
			return failover.Observation{Done: *done, Found: "seen"}, nil
		}
	}
	return Program{Name: "table", Procedures: []string{"move"},
		Build: func(context.Context, string, string) (failover.Procedure, io.Closer, error) {
			if w.down {
				return failover.Procedure{}, nil, errors.New("the target is down")
			}
			limit := time.Minute
			if w.undoLost {
				limit = 50 * time.Millisecond // nothing is going to be seen
			}
			return failover.Procedure{Name: w.name, Lock: &w.lock, Stages: []failover.Stage{{Name: "s", Steps: []failover.Step{
				{ID: "check", Title: "Check", Kind: failover.Check, Observe: func(context.Context) (failover.Observation, error) {
					return failover.Observation{Done: !w.blocked}, nil
				}},
				{ID: "stop", Title: "Stop", Target: "NODE1", Kind: failover.Change, Attempts: 1, Timeout: limit,
					Poll: time.Millisecond, Observe: see(&w.stopped), Apply: func(context.Context) error {
						if w.stopRefused {
							return refused("stop")
						}
						w.stopped = true
						return nil
					}, Undo: func(context.Context) error {
						switch {
						case w.undoFails:
							return refused("undo")
						case w.undoLost:
							return errors.New("line lost")
						}
						w.stopped = false
						return nil
					}},
				{ID: "call", Title: "Call", Kind: failover.Manual, Help: "Call the branch.", Observe: see(&w.called)},
				{ID: "fire", Title: "Fire", Target: "symaix1", Kind: failover.Once, Timeout: time.Second, Poll: time.Millisecond,
					Observe: see(&w.fired),
					Apply: func(context.Context) error {
						switch {
						case w.fireRefused:
							return refused("fire")
						case w.fireLost:
							w.touched = true
							return errors.New("line lost")
						}
						w.fired = true
						return nil
					},
					Probe: func(context.Context) (failover.Outcome, error) {
						if w.touched {
							return failover.InDoubt, nil
						}
						return failover.NotApplied, nil
					}},
			}}}}, io.NopCloser(nil), nil
		}}
}

// situations are the journals a verb can meet.
var situations = map[string]func(t *testing.T, w *world, o *operator){
	"no journal": func(*testing.T, *world, *operator) {},
	"blocked":    func(_ *testing.T, w *world, _ *operator) { w.blocked = true },
	"target down": func(_ *testing.T, w *world, _ *operator) {
		w.down = true
	},
	"failed": func(t *testing.T, w *world, o *operator) {
		w.stopRefused = true
		o.approved(t, "run", ExitNotDone)
		w.stopRefused = false
	},
	"waiting":  func(t *testing.T, w *world, o *operator) { w.called = false; o.approved(t, "run", ExitWaiting) },
	"in doubt": inDoubt,
	"in doubt, target down": func(t *testing.T, w *world, o *operator) {
		inDoubt(t, w, o)
		w.down = true
	},
	"part-way": partWay,
	"part-way, target down": func(t *testing.T, w *world, o *operator) {
		partWay(t, w, o)
		w.down = true
	},
	"part-way, busy": func(t *testing.T, w *world, o *operator) {
		partWay(t, w, o)
		j, err := failover.OpenJournal(o.flags[1])
		require.NoError(t, err)
		t.Cleanup(func() { _ = j.Close() })
	},
	"part-way, damaged": func(t *testing.T, w *world, o *operator) {
		partWay(t, w, o)
		raw, err := os.ReadFile(o.flags[1])
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(o.flags[1], []byte(strings.Replace(string(raw), "CHG-1", "CHG-2", 1)), 0o600))
	},
	"part-way, other procedure": func(t *testing.T, w *world, o *operator) {
		partWay(t, w, o)
		w.name = "test.Other"
	},
	"no journal's file": func(t *testing.T, _ *world, o *operator) {
		require.NoError(t, os.WriteFile(o.flags[1], []byte("a token"), 0o600))
	},
	"completed": func(t *testing.T, _ *world, o *operator) { o.approved(t, "run", ExitDone) },
	"undone": func(t *testing.T, w *world, o *operator) {
		partWay(t, w, o)
		o.approved(t, "undo", ExitDone)
	},
	"undo in doubt": func(t *testing.T, w *world, o *operator) {
		partWay(t, w, o)
		w.undoLost = true
		o.approved(t, "undo", ExitInDoubt)
		w.undoLost = false
	},
	"undo refused": func(t *testing.T, w *world, o *operator) {
		partWay(t, w, o)
		w.undoFails = true
		o.approved(t, "undo", ExitPartWay)
		w.undoFails = false
	},
}

func inDoubt(t *testing.T, w *world, o *operator) {
	w.fireLost = true
	o.approved(t, "run", ExitInDoubt)
	w.fireLost = false
}

func partWay(t *testing.T, w *world, o *operator) {
	w.fireRefused = true
	o.approved(t, "run", ExitPartWay)
	w.fireRefused = false
}

// approved calls run or undo as somebody does without a terminal: once to see the plan and once to approve it.
func (o *operator) approved(t *testing.T, verb string, want ExitStatus) {
	t.Helper()
	require.Equal(t, ExitWaiting, o.call(verb), "%s%s", o.out, o.err)
	require.Equal(t, want, o.call(verb, "-approve", o.hash()), "%s%s", o.out, o.err)
}

// calls are the columns of the table. "run approved" takes the hash that run has shown.
var calls = [][]string{{"check"}, {"plan"}, {"run"}, {"run", "approved"}, {"undo"}, {"undo", "approved"}, {"status"},
	{"resolve", "s/fire", "applied"},
	{"confirm", "s/call", "done"}, {"lock"}, {"take-over", "DEAD"}}

// statusTable says with what each verb ends in each situation.
var statusTable = `
                           check plan run run+ undo undo+ status resolve confirm lock take-over
no journal                 0     0    4   0    1    1     1      1       1       0    0
blocked                    6     6    6   -    1    1     1      1       1       0    0
target down                1     1    1   -    1    1     1      1       1       1    1
failed                     0     0    4   0    4    0     0      2       2       0    0
waiting                    0     0    4   4    4    0     0      2       0       0    4
in doubt                   0     0    4   3    6    -     0      0       2       0    3
in doubt, target down      1     1    3   -    3    3     0      0       2       1    3
part-way                   0     0    4   0    4    0     0      2       2       0    5
part-way, target down      1     1    5   -    5    5     0      2       2       1    5
part-way, busy             0     0    5   -    5    5     0      5       5       0    5
part-way, damaged          0     1    3   -    3    3     1      3       3       0    3
part-way, other procedure  0     2    2   -    2    2     0      2       2       0    5
no journal's file          0     1    3   -    3    3     1      3       3       0    3
completed                  0     0    2   -    6    -     0      2       2       0    2
undone                     0     0    2   -    4    0     0      2       2       0    2
undo refused               0     6    6   6    4    0     0      2       2       0    5
undo in doubt              0     6    6   -    4    0     0      2       2       0    3
`

// lastLines says what the last line has to tell, where the status alone does not.
var lastLines = map[string]string{
	"no journal/plan":    "Nothing was changed. To do this, with the same flags: run -reason … -approve ",
	"no journal/run":     "-approve ",
	"blocked/plan":       "next: make them hold, or waive",
	"blocked/run":        "next: make them hold, or waive",
	"completed/plan":     "run -journal NEW -reason … -approve ",
	"undone/plan":        "run -journal NEW -reason … -approve ",
	"completed/run":      "next: name a new journal",
	"undone/run":         "next: name a new journal",
	"completed/undo":     "next: it cannot be taken back",
	"in doubt/run+":      "next: look at the target",
	"part-way/undo+":     "",
	"undo in doubt/run":  "next: finish the undo",
	"undo in doubt/plan": "next: finish the undo",
}

func TestEachVerbEndsAsTheSituationSays(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(statusTable), "\n")
	names := strings.Fields(rows[0])
	require.Len(t, rows, len(situations)+1)
	for _, row := range rows[1:] {
		situation := strings.TrimSpace(row[:27])
		wants := strings.Fields(row[27:])
		require.Len(t, wants, len(calls), situation)
		for i, words := range calls {
			if wants[i] == "-" {
				continue
			}
			cell := situation + "/" + names[i]
			t.Run(cell, func(t *testing.T) {
				t.Parallel()
				w := &world{called: true, name: "test.Table"}
				o := &operator{t: t, program: w.program(), flags: flags(t)}
				require.Contains(t, situations, situation)
				situations[situation](t, w, o)
				var before []byte
				if exists(o.flags[1]) {
					before, _ = os.ReadFile(o.flags[1])
				}
				args := words
				if len(words) == 2 && words[1] == "approved" {
					approve := strings.Repeat("0", 64)
					if o.call(words[0]) == ExitWaiting {
						approve = o.hash()
					}
					args = []string{words[0], "-approve", approve}
				}
				status := o.call(args...)
				assert.Equal(t, wants[i], string(rune('0'+int(status))), "%s%s", o.out, o.err)
				assert.NotEmpty(t, o.last())
				assert.Contains(t, o.last(), lastLines[cell])
				if status == ExitUsage || status == ExitBlocked || status == ExitWaiting && len(args) == 1 {
					after, _ := os.ReadFile(o.flags[1])
					assert.Equal(t, string(before), string(after), "nothing was done")
				}
				if status == ExitNotDone && i != 0 && i != 1 && names[i] != "status" && names[i] != "lock" {
					nothingInEffect(t, w, o.flags[1])
				}
			})
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// nothingInEffect is what status 1 of a verb that changes something says.
func nothingInEffect(t *testing.T, w *world, journal string) {
	t.Helper()
	assert.False(t, w.stopped || w.fired || w.touched)
	if !exists(journal) {
		return
	}
	j, err := failover.ReadJournal(journal)
	require.NoError(t, err, "a journal that cannot be read proves nothing")
	assert.Zero(t, j.Report().Count(failover.StatusApplied, failover.StatusPartly, failover.StatusInDoubt))
}
