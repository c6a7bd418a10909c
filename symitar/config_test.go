package symitar_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/remote/remotetest"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// TestWhatNoVendorStatesIsAsked leaves every setting out that no public text states, and some others wrong.
func TestWhatNoVendorStatesIsAsked(t *testing.T) {
	b := newBench(t, "")
	for field, change := range map[string]func(*symitar.Config){
		"Config.Macro.Path":           func(c *symitar.Config) { c.Macro.Path = "" },
		"Config.Macro.User":           func(c *symitar.Config) { c.Macro.User = "" },
		"Config.Macro.On":             func(c *symitar.Config) { c.Macro.On = 0 },
		"Config.Macro.SwitchoverArgs": func(c *symitar.Config) { c.Macro.SwitchoverArgs = nil },
		"Config.Macro.Mode":           func(c *symitar.Config) { c.Macro.Mode = 0 },
		"Config.Macro.Timeout":        func(c *symitar.Config) { c.Macro.Timeout = 0 },
		"Config.Macro.Prompts":        func(c *symitar.Config) { c.Macro.Mode = symitar.ModeAnswers },
		"Config.Macro.Failure":        func(c *symitar.Config) { c.Macro.Failure = "(" },
		"Config.Role.Probes":          func(c *symitar.Config) { c.Role.Probes = nil },
		"Config.Role.Quorum":          func(c *symitar.Config) { c.Role.Quorum = 1 },
		"Config.Replication.Command":  func(c *symitar.Config) { c.Replication = symitar.Replication{} },
		"Config.Replication.Waiver": func(c *symitar.Config) {
			c.Replication.Waiver = failover.Statement{By: "a",
				Says: "b", Reason: "c"}
		},
		"Config.Replication.Lag":                func(c *symitar.Config) { c.Replication.Lag = "lag" },
		"Config.Limits.Quiet":                   func(c *symitar.Config) { c.Limits.Quiet = 0 },
		"Config.StateDir":                       func(c *symitar.Config) { c.StateDir = c.SymRoot + "/state" },
		"Config.Shell":                          func(c *symitar.Config) { c.Shell = "ksh" },
		"Config.RSJ":                            func(c *symitar.Config) { c.RSJ = "RSJ" },
		"Config.Limits or Config.Agent.Timeout": func(c *symitar.Config) { c.Limits.Look = -1 },
		"Config.Poll":                           func(c *symitar.Config) { c.Poll = -1 },
		"Config.Home.MachineID":                 func(c *symitar.Config) { c.Home.MachineID = "" },
		"Config.Partner.Name":                   func(c *symitar.Config) { c.Partner.Name = c.Home.Name },
		"Config.Partner.SSH.Address":            func(c *symitar.Config) { c.Partner.SSH.Address = c.Home.SSH.Address },
		"Config.Partner.SSH.HostKeys":           func(c *symitar.Config) { c.Partner.SSH.HostKeys = c.Home.SSH.HostKeys },
		"Config.Verify[0].Name": func(
			c *symitar.Config) {
			c.Verify = []symitar.Verification{{Name: "roles"}}
		},
		"Config.Licence.Path": func(c *symitar.Config) { c.Licence.Path = "" },
		"Config.OpCon.Client": func(c *symitar.Config) { c.OpCon = &symitar.OpCon{} },
		"Config.OpCon.Repoint": func(c *symitar.Config) { // the service moves
			c.OpCon = &symitar.OpCon{Client: &opcon.Client{}, Machine: "SYMAIX", Reason: "CHG-1", Repoint: opcon.RepointHostStayed}
		},
	} {
		cfg := b.sim.Config()
		change(&cfg)
		_, err := symitar.NewPair(cfg)
		require.ErrorIs(t, err, failover.ErrInvalid, field)
		var e *failover.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, field, e.Target)
		require.NotEmpty(t, e.Next, field)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	}
	cfg := b.sim.Config()
	cfg.Macro.FailoverArgs, cfg.Macro.FailbackArgs = nil, nil
	pair, err := symitar.NewPair(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	_, err = symitar.Switchover(pair)
	require.NoError(t, err)
	_, err = symitar.Failback(pair)
	require.ErrorContains(t, err, "FailbackArgs")
	_, err = symitar.Failover(pair, failover.Statement{By: "a", Says: "b", Reason: "c"})
	require.ErrorContains(t, err, "FailoverArgs")
	_, err = symitar.Failover(pair, failover.Statement{By: "a"})
	require.ErrorIs(t, err, failover.ErrInvalid)
}

// TestRunByHand uses the macro's primitives without the engine.
func TestRunByHand(t *testing.T) {
	b := newBench(t, "exit0-unchanged")
	pair, err := symitar.NewPair(b.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	ctx := t.Context()
	word := failover.Statement{By: "operator", Says: "it did nothing", Reason: "looked at both hosts"}

	voided := symitar.NewRunID()
	require.NoError(t, pair.Void(ctx, voided, symitar.PurposeSwitchover))
	res, err := pair.Fire(ctx, voided, symitar.PurposeSwitchover)
	require.ErrorIs(t, err, symitar.ErrNotExecuted, "%v", res)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.NoError(t, pair.Acknowledge(ctx, voided, word, symitar.Left{}))
	require.Zero(t, b.sim.MacroRuns())

	run := symitar.NewRunID()
	res, err = pair.Fire(ctx, run, symitar.PurposeSwitchover)
	require.ErrorIs(t, err, symitar.ErrMacroFailed)
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "it was fired, and what it left is for a person to see")
	require.Equal(t, 0, *res.Exit)
	require.Contains(t, res.LogTail, "FAILOVER complete")
	require.Equal(t, 1, b.sim.MacroRuns())

	_, err = pair.Fire(ctx, run, symitar.PurposeSwitchover)
	require.ErrorIs(t, err, symitar.ErrMacroFailed, "the same run is looked at again, not fired again")
	err = pair.Void(ctx, run, symitar.PurposeSwitchover)
	require.ErrorIs(t, err, symitar.ErrRefired)

	other := symitar.NewRunID()
	_, err = pair.Fire(ctx, other, symitar.PurposeSwitchover)
	require.ErrorIs(t, err, symitar.ErrNotExecuted)
	require.ErrorContains(t, err, string(run), "the owner of the lock is named")
	require.Equal(t, 1, b.sim.MacroRuns())

	_, err = pair.Resume(ctx, "not a run id", symitar.PurposeSwitchover)
	require.ErrorIs(t, err, failover.ErrInvalid)
	require.NoError(t, pair.Acknowledge(ctx, run, word, symitar.Left{}))
	_, err = pair.Resume(ctx, run, symitar.PurposeSwitchover)
	require.ErrorIs(t, err, symitar.ErrMacroFailed, "what was acknowledged can still be looked at")
	require.ErrorIs(t, pair.Acknowledge(ctx, run, failover.Statement{}, symitar.Left{}), failover.ErrInvalid)
}

// TestMarksThatSomebodyRemovedProveNothing lets a job that cleans up remove the folder of a run that was fired.
func TestMarksThatSomebodyRemovedProveNothing(t *testing.T) {
	b := newBench(t, "macro-hangs")
	var removed error
	_, err := b.run(t, symitar.Switchover, func(o *failover.RunOptions) {
		o.Observer = func(e failover.Event) {
			if e.Kind == failover.EventProgress && strings.Contains(e.Text, "FAILOVER started") {
				folders, err := filepath.Glob(filepath.Join(b.sim.HostDir(symitartest.Home), "var/tmp/failover/run.*"))
				for _, folder := range folders {
					err = errors.Join(err, os.RemoveAll(folder))
				}
				removed = err
			}
		}
	})
	require.NoError(t, removed)
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.ErrorContains(t, err, "has been removed")
	_, err = b.run(t, symitar.Switchover)
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.Equal(t, 1, b.sim.MacroRuns(), "never fired again on an absence")

	// To acknowledge it, as the error says, makes a folder of that name again. It proves no more than the absence did.
	run := symitar.RunID(strings.TrimSpace(read(t, filepath.Join(b.sim.HostDir(symitartest.Home),
		"var/tmp/failover/lock/run"))))
	pair, err := symitar.NewPair(b.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = pair.Close() })
	word := failover.Statement{By: "jdoe", Says: "nobody knows", Reason: "looked at both hosts"}
	err = pair.Acknowledge(t.Context(), run, word, symitar.Left{})
	require.ErrorIs(t, err, symitar.ErrMacroRunning, "it works on without its folder")
	var left symitar.Left
	for _, m := range regexp.MustCompile(`process \w+ (\d+)`).FindAllStringSubmatch(err.Error(), -1) {
		pid, err := strconv.ParseInt(m[1], 10, 64)
		require.NoError(t, err)
		left.Processes = append(left.Processes, pid)
	}
	require.NoError(t, pair.Acknowledge(t.Context(), run, word, left))
	report, err := b.run(t, symitar.Switchover)
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.Equal(t, failover.ResultInDoubt, report.Result, "%v", err)
	require.Equal(t, 1, b.sim.MacroRuns())
}

func TestAnswersReachTheMacroAndNothingElse(t *testing.T) {
	for _, mode := range []symitar.Mode{symitar.ModeAnswers, symitar.ModeHostExpect} {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBench(t, "prompts")
			b.cfg.Macro.Mode = mode
			if mode == symitar.ModeHostExpect {
				peers.Need(t, "expect")
				path, err := peers.Path("expect")
				require.NoError(t, err)
				b.cfg.Macro.Expect = path
			}
			b.cfg.Macro.Prompts = []symitar.Prompt{{Question: "password", Answer: failover.NewSecret("s3cret-operator")},
				{Question: "Swap", Answer: failover.NewSecret("Y")}}
			_, err := b.run(t, symitar.Switchover)
			require.NoError(t, err)
			b.swapped(t)
			for _, line := range append(b.sim.Server(symitartest.Home).Commands(),
				b.sim.Server(symitartest.Partner).Commands()...) {
				require.NotContains(t, line, "s3cret")
			}
			files, err := filepath.Glob(filepath.Join(b.sim.HostDir(symitartest.Home), "var/tmp/failover/run.*/*"))
			require.NoError(t, err)
			require.NotEmpty(t, files)
			for _, file := range append(files, b.journal) {
				require.NotContains(t, read(t, file), "s3cret", file)
			}
		})
	}
}

// TestLockKeepsTheContract is what the engine wants of every lock, on a pair of its own.
func TestLockKeepsTheContract(t *testing.T) {
	b := newBench(t, "")
	for _, build := range []func(*symitar.Pair) (failover.Procedure, error){symitar.Switchover, gone} {
		failovertest.TestLock(t, func(tb testing.TB) failover.Lock {
			pair, err := symitar.NewPair(b.cfg)
			require.NoError(tb, err)
			tb.Cleanup(func() { require.NoError(tb, pair.Close()) })
			proc, err := build(pair)
			require.NoError(tb, err)
			return proc.Lock
		})
	}
}

// TestLock takes the pair-wide lock from two sides.
func TestLock(t *testing.T) {
	b := newBench(t, "")
	pair, err := symitar.NewPair(b.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	proc, err := symitar.Switchover(pair)
	require.NoError(t, err)
	lock, ctx := proc.Lock, t.Context()
	mine := failover.Claim{ID: "mine", Owner: "it's me", Purpose: "a \"test\"", Since: time.Unix(1, 0).UTC()}
	theirs := failover.Claim{ID: "theirs", Owner: "them", Purpose: "another", Since: time.Unix(2, 0).UTC()}

	_, held, err := lock.Holder(ctx)
	require.NoError(t, err)
	require.False(t, held)
	require.ErrorIs(t, lock.Check(ctx, mine), failover.ErrLockLost)
	require.NoError(t, lock.Acquire(ctx, mine))
	require.NoError(t, lock.Acquire(ctx, mine), "the same claim has it already")
	require.NoError(t, lock.Check(ctx, mine))
	err = lock.Acquire(ctx, theirs)
	require.ErrorIs(t, err, failover.ErrLocked)
	require.ErrorContains(t, err, "it's me")
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	holder, held, err := lock.Holder(ctx)
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, mine, holder)
	require.NoError(t, lock.Release(ctx, theirs), "not theirs, so nothing is released")
	require.NoError(t, lock.Check(ctx, mine))

	require.ErrorIs(t, lock.TakeOver(ctx, failover.Claim{ID: "somebody"}, theirs), failover.ErrLocked,
		"only from the holder it names")
	require.NoError(t, lock.TakeOver(ctx, mine, theirs))
	require.NoError(t, lock.TakeOver(ctx, mine, theirs), "again after a lost reply")
	require.NoError(t, lock.Check(ctx, theirs))
	require.ErrorIs(t, lock.Check(ctx, mine), failover.ErrLockLost)
	require.NoError(t, lock.Release(ctx, mine))
	require.NoError(t, lock.Check(ctx, theirs))
	require.NoError(t, lock.Release(ctx, theirs))

	require.NoError(t, b.sim.Put(symitartest.Partner, "var/tmp/failover/pair.lock/claim", ""))
	err = lock.Acquire(ctx, mine)
	require.ErrorIs(t, err, failover.ErrLocked, "an owner that never wrote its name")
	require.NoDirExists(t, filepath.Join(b.sim.HostDir(symitartest.Home), "var/tmp/failover/pair.lock"),
		"the first host was given back")
	require.NoError(t, lock.TakeOver(ctx, failover.Claim{}, mine))
	require.NoError(t, lock.Check(ctx, mine))

	require.NoError(t, b.sim.Put(symitartest.Partner, "var/tmp/failover/pair.lock/id", "theirs\n"))
	third := failover.Claim{ID: "third", Owner: "third", Purpose: "more"}
	require.ErrorIs(t, lock.TakeOver(ctx, mine, third), failover.ErrLocked)
	holder, _, err = lock.Holder(ctx)
	require.NoError(t, err)
	require.Equal(t, "mine", holder.ID, "a host was taken over without the other")
	require.NoError(t, b.sim.Put(symitartest.Partner, "var/tmp/failover/pair.lock/id", "mine\n"))

	const ending = "var/tmp/failover/pair.lock/ending/by"
	require.NoError(t, b.sim.Put(symitartest.Partner, ending, "third\n"))
	require.ErrorContains(t, lock.Release(ctx, mine), "still ours", "somebody was stopped who was taking it over")
	require.NoError(t, b.sim.Put(symitartest.Partner, ending, "mine\n"))
	require.NoError(t, lock.Release(ctx, mine))
}

func TestHostKeysAndLines(t *testing.T) {
	b := newBench(t, "")
	find := func(cfg symitar.Config) error {
		pair, err := symitar.NewPair(cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, pair.Close()) }()
		_, _, err = pair.Home.Role(t.Context())
		return err
	}
	for name, change := range map[string]func(*symitar.Config){
		"changed key": func(c *symitar.Config) {
			c.Home.SSH.HostKeys = []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
		},
		"partner's address": func(c *symitar.Config) {
			c.Home.SSH.Address, c.Partner.SSH.Address = c.Partner.SSH.Address, c.Home.SSH.Address
		},
		"nobody there": func(c *symitar.Config) { c.Home.SSH.Address = "127.0.0.1:1" },
	} {
		cfg := b.sim.Config()
		cfg.Home.SSH.ConnectTimeout = time.Second
		change(&cfg)
		err := find(cfg)
		var e *failover.Error
		require.True(t, errors.As(err, &e), name)
		require.Equal(t, symitartest.Home, e.Target, name)
		require.Equal(t, failover.NotApplied, e.Outcome, name)
		require.NotEmpty(t, e.Next, name)
	}
	for name, fault := range map[string]remotetest.Fault{"mute handshake": remotetest.FaultMuteKex,
		"refused login": remotetest.FaultRefuseLogin} {
		cfg := b.sim.Config()
		cfg.Home.SSH.ConnectTimeout = time.Second
		b.sim.Server(symitartest.Home).Inject(fault, remotetest.Always)
		err := find(cfg)
		b.sim.Server(symitartest.Home).Clear()
		require.Error(t, err, name)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), name)
		require.NotEmpty(t, failover.NextOf(err), name)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	if info.IsDir() {
		return ""
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}
