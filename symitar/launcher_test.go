//go:build unix

package symitar

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/peers"
)

var shells = []string{"ksh93", "dash", "bash"}

// lab runs the launcher's scripts directly, without SSH, with one shell.
type lab struct {
	shell, state, macro, count string
	user                       string
}

func newLab(t *testing.T, shell, macro string) *lab {
	t.Helper()
	peers.Need(t, shell)
	path, err := exec.LookPath(shell)
	require.NoError(t, err)
	account, err := user.Current()
	require.NoError(t, err)
	dir := t.TempDir()
	l := &lab{shell: path, state: filepath.Join(dir, "state"), macro: filepath.Join(dir, "MACRO"), count: filepath.Join(dir, "count"), user: account.Username}
	require.NoError(t, os.WriteFile(l.macro, []byte("#!/bin/sh\necho run >>"+l.count+"\n"+macro+"\n"), 0o700))
	return l
}

// script runs one script and returns its output and exit status.
func (l *lab) script(text string, args ...string) (string, int) {
	cmd := exec.Command(l.shell, append([]string{"-c", text, "failover", l.state}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), exit.ExitCode()
	}
	if err != nil {
		return err.Error(), -1
	}
	return out.String(), 0
}

func (l *lab) launch(run string) (string, int) {
	return l.script(launchScript, run, l.user, l.shell, "0", runnerScript, "", "", l.macro, "an arg", "it's")
}

func (l *lab) runs(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(l.count)
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return strings.Count(string(text), "\n")
}

func (l *lab) status(t *testing.T, run string) map[string]string {
	t.Helper()
	out, rc := l.script(statusScript, run)
	require.Zero(t, rc, out)
	return keyValues(out)
}

func (l *lab) ended(t *testing.T, run string) {
	t.Helper()
	require.Eventually(t, func() bool { return l.status(t, run)["rc"] != "" }, 20*time.Second, 10*time.Millisecond)
}

func id(n int) string { return fmt.Sprintf("%032x", n) }

func each3(t *testing.T, f func(*testing.T, string)) {
	t.Helper()
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) { t.Parallel(); f(t, shell) })
	}
}

func TestHundredLaunchesGiveOneRun(t *testing.T) {
	for _, same := range []string{"same run id", "own run ids"} {
		t.Run(same, func(t *testing.T) {
			each3(t, func(t *testing.T, shell string) {
				l := newLab(t, shell, "sleep 0.1; exit 7")
				const n = 100
				codes := make([]int, n)
				var all sync.WaitGroup
				for i := range n {
					run := id(1)
					if same == "own run ids" {
						run = id(i + 1)
					}
					all.Go(func() { _, codes[i] = l.launch(run) })
				}
				all.Wait()
				launched, winner := 0, 0
				for i, code := range codes {
					switch code {
					case 0:
						launched, winner = launched+1, i
					case exitHeld, exitKnown:
					default:
						t.Errorf("launch %d ended with %d", i, code)
					}
				}
				require.Equal(t, 1, launched)
				run := id(1)
				if same == "own run ids" {
					run = id(winner + 1)
				}
				l.ended(t, run)
				require.Equal(t, 1, l.runs(t))
				require.Equal(t, "7", l.status(t, run)["rc"])
			})
		})
	}
}

// TestVoidRaces lets a launcher and somebody who wants it voided meet: exactly one of them wins.
func TestVoidRaces(t *testing.T) {
	each3(t, func(t *testing.T, shell string) {
		l := newLab(t, shell, "exit 0")
		rounds := 60
		if testing.Short() {
			rounds = 10
		}
		fired := 0
		for i := 1; i <= rounds; i++ {
			l.state = filepath.Join(filepath.Dir(l.macro), "state"+strconv.Itoa(i))
			run := id(i)
			before := l.runs(t)
			var launchCode, voidCode int
			var both sync.WaitGroup
			both.Go(func() { _, launchCode = l.launch(run) })
			both.Go(func() {
				time.Sleep(time.Duration(i%12) * time.Millisecond)
				_, voidCode = l.script(concludeScript, run)
			})
			both.Wait()
			switch voidCode {
			case 0: // proven never to fire
				require.Equal(t, before, l.runs(t))
			case exitFired:
				require.Zero(t, launchCode)
				l.ended(t, run)
				require.Equal(t, before+1, l.runs(t))
				fired++
			default:
				t.Fatalf("void ended with %d", voidCode)
			}
			_, code := l.launch(run)
			require.Contains(t, []int{exitKnown, exitHeld}, code, "a late launcher starts nothing")
		}
		require.Equal(t, fired, l.runs(t))
	})
}

// TestTombstones voids a run at each stage its launcher can stand at.
func TestTombstones(t *testing.T) {
	each3(t, func(t *testing.T, shell string) {
		for name, c := range map[string]struct {
			before func(*testing.T, *lab)
			mark   string
			code   int // of the late launcher
		}{
			"nothing there yet": {func(*testing.T, *lab) {}, "lock", exitKnown},
			"lock taken":        {func(t *testing.T, l *lab) { _, rc := l.script(reserveScript, id(1)); require.Zero(t, rc) }, "run", exitKnown},
			"lock of another":   {func(t *testing.T, l *lab) { _, rc := l.script(reserveScript, id(2)); require.Zero(t, rc) }, "run", exitKnown},
			"launched": {func(t *testing.T, l *lab) {
				_, rc := l.script(reserveScript, id(1))
				require.Zero(t, rc)
				require.NoError(t, os.Mkdir(filepath.Join(l.state, "run."+id(1)), 0o700))
			}, "fired", exitKnown},
		} {
			t.Run(name, func(t *testing.T) {
				l := newLab(t, shell, "exit 0")
				c.before(t, l)
				out, rc := l.script(concludeScript, id(1))
				require.Zero(t, rc, out)
				require.Contains(t, out, "@@VOID "+c.mark)
				require.Equal(t, "yes", l.status(t, id(1))["void"])
				out, rc = l.script(concludeScript, id(1))
				require.Zero(t, rc)
				require.Contains(t, out, "@@VOID before")
				_, rc = l.launch(id(1))
				require.Equal(t, c.code, rc)
				if name != "lock of another" {
					out, rc = l.script(acknowledgeScript, id(1), "test")
					require.Zero(t, rc, out)
					require.Equal(t, "-", l.status(t, id(1))["lock"])
				}
				_, rc = l.launch(id(1))
				require.Equal(t, exitKnown, rc, "also after the lock was archived")
				require.Zero(t, l.runs(t))
			})
		}
	})
}

func TestRunnerStopsAtTheMark(t *testing.T) {
	each3(t, func(t *testing.T, shell string) {
		l := newLab(t, shell, "exit 0")
		dir := filepath.Join(t.TempDir(), "run."+id(1))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "fired"), 0o700))
		cmd := exec.Command(l.shell, "-c", runnerScript, "runner", dir, "022", l.macro)
		require.Error(t, cmd.Run())
		require.Equal(t, 82, cmd.ProcessState.ExitCode())
		require.Zero(t, l.runs(t))
	})
}

func TestMacroKeepsArgumentsAndUmask(t *testing.T) {
	each3(t, func(t *testing.T, shell string) {
		l := newLab(t, shell, `printf '%s|' "$@" "$LC_ALL" "$COLUMNS"; umask; read -r x || echo eof`)
		_, rc := l.launch(id(1))
		require.Zero(t, rc)
		l.ended(t, id(1))
		out, _ := l.script(logScript, id(1), "1")
		mask, err := exec.Command(l.shell, "-c", "umask").Output()
		require.NoError(t, err)
		require.Equal(t, "an arg|it's|||"+string(mask)+"eof\n", out)
		out, _ = l.script(logScript, id(1), "4")
		require.True(t, strings.HasPrefix(out, "arg|"), out)
	})
}

func TestLaunchRefusals(t *testing.T) {
	l := newLab(t, "dash", "exit 0")
	_, rc := l.script(launchScript, id(1), "somebody-else", l.shell, "0", runnerScript, "", "", l.macro)
	require.Equal(t, 74, rc)
	_, rc = l.script(launchScript, id(1), l.user, l.shell, "0", runnerScript, "", "", l.macro+".missing")
	require.Equal(t, 78, rc)
	_, rc = l.script(launchScript, id(1), l.user, l.shell, "0", runnerScript, "/no/expect", "", l.macro)
	require.Equal(t, 78, rc)
	require.NoDirExists(t, l.state, "nothing is left behind by what is refused at once")
	_, rc = l.script(launchScript, id(1), l.user, l.shell, "12", runnerScript, "", "", l.macro)
	require.Equal(t, 76, rc, "the answers did not arrive")
	require.NoError(t, os.Chmod(l.state, 0o755))
	_, rc = l.launch(id(2))
	require.Equal(t, 77, rc, "others can look into the state directory")
	require.Zero(t, l.runs(t))
}

// TestMarks is the table of what a new connection may see.
func TestMarks(t *testing.T) {
	l := newLab(t, "dash", "exit 0")
	dir := filepath.Join(l.state, "run."+id(1))
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.Equal(t, map[string]string{"lock": "-", "run": "no"}, l.status(t, id(1)))

	require.NoError(t, os.MkdirAll(filepath.Join(l.state, "lock"), 0o700))
	require.Equal(t, "?", l.status(t, id(1))["lock"], "the owner is written a moment later")

	require.NoError(t, os.Mkdir(dir, 0o700))
	s := l.status(t, id(1))
	require.Equal(t, []string{"yes", "no", "no"}, []string{s["run"], s["fired"], s["alive"]})

	require.NoError(t, os.Mkdir(filepath.Join(dir, "fired"), 0o700))
	put("pid", strconv.Itoa(os.Getpid()))
	s = l.status(t, id(1))
	require.Equal(t, []string{"yes", "no", ""}, []string{s["fired"], s["alive"], s["rc"]}, "the number lives, but it is another process")

	runner := exec.Command(l.shell, "-c", "sleep 30; :", "run."+id(1))
	require.NoError(t, runner.Start())
	put("pid", strconv.Itoa(runner.Process.Pid))
	s = l.status(t, id(1))
	require.Equal(t, "yes", s["alive"])
	out, rc := l.script(acknowledgeScript, id(1), "test")
	require.Equal(t, exitActive, rc, out)
	require.NoError(t, runner.Process.Kill())
	_ = runner.Wait()

	put("rc", "3\n")
	s = l.status(t, id(1))
	require.Equal(t, []string{"no", "3"}, []string{s["alive"], s["rc"]})
}

func TestAnswersFile(t *testing.T) {
	each3(t, func(t *testing.T, shell string) {
		l := newLab(t, shell, `read -r a; read -r b; read -r c || c=eof; echo "$a/$b/$c"`)
		text := "first answer\nY\n"
		cmd := exec.Command(l.shell, "-c", launchScript, "failover", l.state, id(1), l.user, l.shell, strconv.Itoa(len(text)), runnerScript, "", "", l.macro)
		cmd.Stdin = strings.NewReader(text)
		require.NoError(t, cmd.Run())
		l.ended(t, id(1))
		out, _ := l.script(logScript, id(1), "1")
		require.Equal(t, "first answer/Y/eof\n", out)
		require.NoFileExists(t, filepath.Join(l.state, "run."+id(1), "answers"))
	})
}

func TestHostExpect(t *testing.T) {
	peers.Need(t, "expect")
	l := newLab(t, "dash", `stty -echo; printf 'Password: '; read -r a; stty echo; echo; printf 'Go on? '; read -r b; echo "got $a $b"; exit 4`)
	expect, err := exec.LookPath("expect")
	require.NoError(t, err)
	text := "2\nPassword:\n$ec[r]et \"x\nGo on\nY\n"
	cmd := exec.Command(l.shell, "-c", launchScript, "failover", l.state, id(1), l.user, l.shell, strconv.Itoa(len(text)), runnerScript, expect, answerScript, l.macro, "an arg")
	cmd.Stdin = strings.NewReader(text)
	require.NoError(t, cmd.Run())
	l.ended(t, id(1))
	out, _ := l.script(logScript, id(1), "1")
	require.Contains(t, out, `got $ec[r]et "x Y`)
	require.Equal(t, "4", l.status(t, id(1))["rc"])

	careless := newLab(t, "dash", `printf 'Password: '; read -r a; echo; echo "length ${#a}"`)
	text = "1\nPassword:\ns3cret-operator\n"
	cmd = exec.Command(careless.shell, "-c", launchScript, "failover", careless.state, id(1), careless.user, careless.shell, strconv.Itoa(len(text)), runnerScript, expect, answerScript, careless.macro)
	cmd.Stdin = strings.NewReader(text)
	require.NoError(t, cmd.Run())
	careless.ended(t, id(1))
	out, _ = careless.script(logScript, id(1), "1")
	require.Contains(t, out, "length 15")
	require.NotContains(t, out, "s3cret", "a macro that does not hide what is typed must not lead it into the log")
}
