package failover_test

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

var kills = flag.Int("kills", defaultKills, "how often a process is killed")

// longestWait keeps a busy machine from waiting long before each kill.
const longestWait = 300 * time.Millisecond

const killDir = "FAILOVER_TEST_KILL_DIR"

// killed is a procedure whose world is a folder: a folder per effect, and another one when it came about twice.
func killed(dir string) failover.Procedure {
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	observe := func(name string) func(context.Context) (failover.Observation, error) {
		return func(context.Context) (failover.Observation, error) {
			return failover.Observation{Done: there(name), Found: "looked"}, nil
		}
	}
	apply := func(name string) func(context.Context) error {
		return func(context.Context) error {
			err := os.Mkdir(filepath.Join(dir, name), 0o700) // it comes about at one instant
			if errors.Is(err, fs.ErrExist) {
				err = os.Mkdir(filepath.Join(dir, name+" twice"), 0o700)
			}
			return err
		}
	}
	var steps []failover.Step
	for _, id := range []string{"a", "b", "c", "d"} {
		s := failover.Step{ID: id, Title: id, Kind: failover.Change, Poll: time.Millisecond, Observe: observe(id),
			Apply: apply(id)}
		if id == "b" || id == "d" {
			s.Kind, s.Timeout = failover.Once, time.Second
			s.Probe = func(context.Context) (failover.Outcome, error) {
				if there(id) {
					return failover.Applied, nil
				}
				return failover.NotApplied, nil
			}
		}
		steps = append(steps, s)
	}
	return failover.Procedure{Name: "killed", Stages: []failover.Stage{{Name: "s", Steps: steps}}}
}

// TestKilledProcess is the process that is killed; it does nothing on its own.
func TestKilledProcess(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return
	}
	j, err := failovertest.JournalAt(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	_, err = killed(dir).Run(t.Context(), options(j))
	require.NoError(t, err)
}

// kill -9 at random instants of a real process: no effect twice, none lost, no journal damaged.
func TestKillAtRandomInstants(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a process a thousand times; run without -short")
	}
	program, err := os.Executable()
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	done, finished, began := 0, 0, time.Now()
	typical := min(undisturbed(t, program), longestWait)
	for done < *kills {
		dir := t.TempDir()
		for alive := true; alive; {
			cmd := exec.Command(program, "-test.run", "^TestKilledProcess$")
			cmd.Env = append(os.Environ(), killDir+"="+dir)
			start := time.Now()
			require.NoError(t, cmd.Start())
			timer := time.AfterFunc(time.Duration(rng.Int64N(int64(typical*6/5))), func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			if err == nil {
				alive = false
				typical = min((3*typical+time.Since(start))/4, longestWait) // so that the kills fall into the run on any machine
				continue
			}
			done++
			if _, err := os.Stat(filepath.Join(dir, "journal")); err == nil {
				raw, err := os.ReadFile(filepath.Join(dir, "journal"))
				require.NoError(t, err)
				if len(raw) == 0 || !strings.Contains(string(raw), "\n") {
					require.NoError(t, os.Remove(filepath.Join(dir, "journal")), "killed while it was made: nothing was begun")
				}
			}
			if done >= *kills {
				break
			}
		}
		j, err := failovertest.JournalAt(filepath.Join(dir, "journal"))
		require.NoError(t, err)
		_, err = killed(dir).Run(t.Context(), options(j))
		require.NoError(t, err)
		require.NoError(t, j.Close())
		for _, id := range []string{"a", "b", "c", "d"} {
			require.DirExists(t, filepath.Join(dir, id), "lost")
			if id == "b" || id == "d" {
				require.NoDirExists(t, filepath.Join(dir, id+" twice"))
			}
		}
		finished++
	}
	t.Logf("%d kills, %d finished procedures, 0 effects twice, 0 lost, in %s", done, finished,
		time.Since(began).Round(time.Second))
}

// undisturbed is how long the process takes that nobody kills.
func undisturbed(t *testing.T, program string) time.Duration {
	t.Helper()
	cmd := exec.Command(program, "-test.run", "^TestKilledProcess$")
	cmd.Env = append(os.Environ(), killDir+"="+t.TempDir())
	began := time.Now()
	require.NoError(t, cmd.Run())
	return time.Since(began)
}
