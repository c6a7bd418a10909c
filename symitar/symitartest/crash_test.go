//go:build unix

package symitartest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/symitar"
)

// The test's own binary plays the process that is killed: TestMain turns into it when crashDir is set.
const (
	crashDir  = "SYMITARTEST_CRASH_DIR"
	crashStep = "SYMITARTEST_CRASH_STEP" // kill right after the intent of this step
	crashCall = "SYMITARTEST_CRASH_CALL" // then not at once, but at the so many'th command that reaches a host
	crashLate = "SYMITARTEST_CRASH_LATE" // after that command has run instead of before
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Println(drive(dir, false, os.Getenv(crashCall) != ""))
		os.Exit(3) // it was meant to be killed
	}
	goleak.VerifyTestMain(m)
}

// drive runs the planned switchover over the state in dir; resume does not kill. Short keeps the steps around the macro
// only.
func drive(dir string, resume, short bool) error {
	sim, err := Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = sim.Close() }()
	step := os.Getenv(crashStep)
	var armed atomic.Bool
	if calls, err := strconv.Atoi(os.Getenv(crashCall)); err == nil && !resume {
		var n atomic.Int32
		die := func() {
			if armed.Load() && int(n.Add(1)) == calls {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
		if os.Getenv(crashLate) == "" {
			sim.before = die
		} else {
			sim.after = die
		}
	}
	pair, err := symitar.NewPair(sim.Config())
	if err != nil {
		return err
	}
	defer func() { _ = pair.Close() }()
	proc, err := symitar.Switchover(pair)
	if err != nil {
		return err
	}
	if short {
		s, err := symitar.SwitchoverStages(pair)
		if err != nil {
			return err
		}
		s.Preflight.Steps = slices.DeleteFunc(s.Preflight.Steps, func(s failover.Step) bool { return s.ID != "roles" })
		for i := range s.Macro.Steps {
			s.Macro.Steps[i].Guards = "" // the release of jobs is not among them
		}
		proc.Stages = []failover.Stage{s.Preflight, s.Macro, s.Archive}
	}
	journal, err := failovertest.JournalAt(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	defer func() { _ = journal.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, err = proc.Run(ctx, failover.RunOptions{Journal: journal, Actor: "tester", Reason: "crash",
		Confirm: func(context.Context, failover.Request) (failover.Statement, error) {
			return failover.Statement{By: "operator", Says: "done", Reason: "did it"}, nil
		},
		Observer: func(e failover.Event) {
			if e.Kind != failover.EventIntent || e.Step.ID != step || resume {
				return
			}
			if os.Getenv(crashCall) == "" {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			armed.Store(true)
		}})
	return err
}

// crash runs drive in a process of its own that kills itself, and reports whether it did.
func crash(t *testing.T, dir string, env ...string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), append(env, crashDir+"="+dir)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	status, ok := exit.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	if !status.Signaled() {
		require.Contains(t, string(out), "<nil>", "a run that was not killed has to succeed")
	}
	return status.Signaled()
}

func resumed(t *testing.T, dir string, short bool) {
	t.Helper()
	err := drive(dir, true, short)
	for try := 0; err != nil && errors.Is(err, failover.ErrInDoubt) && try < 3; try++ {
		t.Log(err)
		err = drive(dir, true, short)
	}
	require.NoError(t, err)
	sim, err := Open(dir)
	require.NoError(t, err)
	defer func() { _ = sim.Close() }()
	require.Equal(t, 1, sim.MacroRuns())
	require.Zero(t, sim.Overlaps())
	require.False(t, sim.EverTwoPrimaries())
	require.Equal(t, []string{Partner}, sim.Primaries())
	for _, name := range []string{Home, Partner} {
		for _, lock := range []string{"lock", "pair.lock"} {
			require.NoDirExists(t, filepath.Join(sim.HostDir(name), "var/tmp/failover", lock), "nothing is left locked")
		}
	}
}

func TestCrashAtEveryStep(t *testing.T) {
	for _, step := range []string{"quiet/stop-agent", "macro/run", "archive/lock", "agent/start"} {
		t.Run(strings.ReplaceAll(step, "/", "-"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.True(t, crash(t, dir, crashStep+"="+step))
			resumed(t, dir, false)
		})
	}
}

// TestCrashAroundTheLaunch kills the process at each command it sends while the macro's step runs: before the host got
// it and after the host has run it.
func TestCrashAroundTheLaunch(t *testing.T) {
	for _, late := range []string{"", "yes"} {
		for call := 1; call <= 9; call++ {
			t.Run(fmt.Sprintf("call %d late %s", call, late), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				killed := crash(t, dir, crashStep+"=macro/run", crashCall+"="+strconv.Itoa(call), crashLate+"="+late)
				require.True(t, killed, "so many commands are sent at least")
				resumed(t, dir, true)
			})
		}
	}
}
