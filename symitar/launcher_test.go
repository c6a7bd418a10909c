//go:build unix

package symitar

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/peers"
)

// shells run our scripts, each of them everything in this file.
var shells = []string{"ksh93", "dash", "bash", "mksh", "zsh", "yash", "posh", "busybox"}

// lab runs the launcher's scripts directly, without SSH, with one shell.
type lab struct {
	shell, state, macro, count string
	user, path                 string
	prefix                     []string // put before the shell, for example to become another account
	session                    bool     // every call gets a session of its own, as OpenSSH makes one
}

func newLab(t *testing.T, shell, macro string) *lab {
	t.Helper()
	peers.Need(t, shell)
	path, err := exec.LookPath(shell)
	require.NoError(t, err)
	account, err := user.Current()
	require.NoError(t, err)
	dir := t.TempDir()
	if shell == "busybox" {
		require.NoError(t, os.Symlink(path, filepath.Join(dir, "ash")))
		path = filepath.Join(dir, "ash")
	}
	// A name of its own: other tests run their macros on this machine at the same time.
	l := &lab{shell: path, state: filepath.Join(dir, "state"), macro: filepath.Join(dir, "M"+rand.Text()),
		count: filepath.Join(dir, "count"), user: account.Username}
	require.NoError(t, os.WriteFile(l.macro, []byte("#!/bin/sh\necho run >>"+l.count+"\n"+macro+"\n"), 0o700))
	return l
}

// limit and tick are for waiting until something is seen that has to come.
const (
	limit = 20 * time.Second
	tick  = 10 * time.Millisecond
)

// script runs one script the way it travels, on the shell's standard input, and returns its output and exit status.
func (l *lab) script(text string, args ...string) (string, int) { return l.feed(text, "", args...) }

func (l *lab) feed(text, stdin string, args ...string) (string, int) {
	const nonce = "0123456789abcdef"
	line := append(slices.Clone(l.prefix), l.shell)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: l.session}
	path := l.path
	if path == "" {
		path = os.Getenv("PATH")
	}
	cmd.Stdin = bytes.NewReader(program(nonce, path, text, []byte(stdin), append([]string{l.state}, args...)))
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err.Error(), -1
	}
	text, rc, err := unframe(out.String(), nonce)
	if err != nil {
		return err.Error(), -1
	}
	return text, rc
}

func (l *lab) launch(run string) (string, int) { return l.launchWith(run, "", "", "an arg", "it's") }

func (l *lab) launchWith(run, stdin, expect string, args ...string) (string, int) {
	answerer, name := "", filepath.Base(l.macro)
	if expect != "" {
		answerer = answerScript
	}
	return l.feed(launchScript, stdin,
		append([]string{run, l.user, l.shell, strconv.Itoa(len(stdin)), runnerScript, name + " " + name + "D",
			expect, answerer, l.macro}, args...)...)
}

// acknowledge archives the lock; left is what a person found alive and lets be.
func (l *lab) acknowledge(run, left string) (string, int) {
	return l.script(acknowledgeScript, run, "test", left, l.macro)
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
	out, rc := l.script(statusScript, run, l.macro)
	require.Zero(t, rc, out)
	return keyValues(out)
}

func (l *lab) ended(t *testing.T, run string) {
	t.Helper()
	require.Eventually(t, func() bool { return l.status(t, run)["rc"] != "" }, limit, tick)
}

func id(n int) string { return fmt.Sprintf("%032x", n) }

// raced are the shells in which the races are run: one of each family.
var raced = []string{"ksh93", "dash", "bash"}

func eachShell(t *testing.T, shells []string, f func(*testing.T, string)) {
	t.Helper()
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) { t.Parallel(); f(t, shell) })
	}
}

func TestHundredLaunchesGiveOneRun(t *testing.T) {
	for _, same := range []string{"same run id", "own run ids"} {
		t.Run(same, func(t *testing.T) {
			eachShell(t, raced, func(t *testing.T, shell string) {
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
					case exitHeld, exitKnown, exitForeign: // the winner's macro may run already when a late one looks
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
	eachShell(t, raced, func(t *testing.T, shell string) {
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
			require.Equal(t, exitKnown, code, "a late launcher starts nothing")
		}
		require.Equal(t, fired, l.runs(t))
	})
}

// TestTombstones voids a run at each stage its launcher can stand at, and behind a call to void it that was cut.
func TestTombstones(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		for name, c := range map[string]struct {
			before func(*testing.T, *lab)
			mark   string
			code   int // of the late launcher
		}{
			"nothing there yet": {func(*testing.T, *lab) {}, "lock", exitKnown},
			"lock taken": {func(t *testing.T, l *lab) { _, rc := l.script(reserveScript, id(1)); require.Zero(t, rc) },
				"run", exitKnown},
			"lock of another": {func(t *testing.T, l *lab) { _, rc := l.script(reserveScript, id(2)); require.Zero(t, rc) },
				"run", exitKnown},
			"launched": {func(t *testing.T, l *lab) {
				_, rc := l.script(reserveScript, id(1))
				require.Zero(t, rc)
				require.NoError(t, os.Mkdir(filepath.Join(l.state, "run."+id(1)), 0o700))
			}, "fired", exitKnown},
			"voided, and cut in between": {func(t *testing.T, l *lab) {
				_, rc := l.script(reserveScript, id(1))
				require.Zero(t, rc)
				require.NoError(t, os.MkdirAll(filepath.Join(l.state, "run."+id(1), "fired"), 0o700))
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
					out, rc = l.acknowledge(id(1), "")
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
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, "exit 0")
		dir := filepath.Join(t.TempDir(), "run."+id(1))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "fired"), 0o700))
		for _, name := range []string{"processes", "names"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		cmd := exec.Command(l.shell, "-c", runnerScript, "runner", "watch", filepath.Dir(dir), id(1), l.shell, "022",
			"", l.macro)
		require.Error(t, cmd.Run())
		require.Equal(t, 82, cmd.ProcessState.ExitCode())
		require.Zero(t, l.runs(t))
	})
}

func TestMacroKeepsArgumentsAndUmask(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, `printf '%s|' "$@" "$LC_ALL" "$COLUMNS"; umask; read -r x || echo eof`)
		_, rc := l.launch(id(1))
		require.Zero(t, rc)
		l.ended(t, id(1))
		out, _ := l.script(logScript, id(1), "1")
		mask, err := exec.Command("/bin/sh", "-c", "umask").Output()
		require.NoError(t, err)
		require.Equal(t, "an arg|it's|||"+string(mask)+"eof\n", out)
		out, _ = l.script(logScript, id(1), "4")
		require.True(t, strings.HasPrefix(out, "arg|"), out)
	})
}

func TestLaunchRefusals(t *testing.T) {
	l := newLab(t, "dash", "exit 0")
	_, rc := l.script(launchScript, id(1), "somebody-else", l.shell, "0", runnerScript, filepath.Base(l.macro), "", "", l.macro)
	require.Equal(t, 74, rc)
	_, rc = l.script(launchScript, id(1), l.user, l.shell, "0", runnerScript, filepath.Base(l.macro), "", "", l.macro+".missing")
	require.Equal(t, 78, rc)
	_, rc = l.script(launchScript, id(1), l.user, l.shell, "0", runnerScript, filepath.Base(l.macro), "/no/expect", "", l.macro)
	require.Equal(t, 78, rc)
	require.NoDirExists(t, l.state, "nothing is left behind by what is refused at once")
	_, rc = l.script(launchScript, id(1), l.user, l.shell, "12", runnerScript, filepath.Base(l.macro), "", "", l.macro)
	require.Equal(t, 76, rc, "the answers did not arrive")
	require.NoError(t, os.Chmod(l.state, 0o755))
	_, rc = l.launch(id(2))
	require.Equal(t, 77, rc, "others can look into the state directory")
	require.Zero(t, l.runs(t))
}

func TestAnswersFile(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, `read -r a; read -r b; read -r c || c=eof; echo "$a/$b/$c"`)
		_, rc := l.launchWith(id(1), "first answer\nY\n", "")
		require.Zero(t, rc)
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
	_, rc := l.launchWith(id(1), text, expect, "an arg")
	require.Zero(t, rc)
	l.ended(t, id(1))
	out, _ := l.script(logScript, id(1), "1")
	require.Contains(t, out, `got $ec[r]et "x Y`)
	require.Equal(t, "4", l.status(t, id(1))["rc"])

	careless := newLab(t, "dash", `printf 'Password: '; read -r a; echo; echo "length ${#a}"`)
	text = "1\nPassword:\ns3cret-operator\n"
	_, rc = careless.launchWith(id(1), text, expect)
	require.Zero(t, rc)
	careless.ended(t, id(1))
	out, _ = careless.script(logScript, id(1), "1")
	require.Contains(t, out, "length 15")
	require.NotContains(t, out, "s3cret", "a macro that does not hide what is typed must not lead it into the log")
}
