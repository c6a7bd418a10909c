//go:build linux

package symitar

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/peers"
)

// mounted puts a file system of its own under the lab's state directory.
func (l *lab) mounted(t *testing.T, options string) {
	t.Helper()
	peers.Need(t, "root")
	dir := filepath.Dir(l.state) + "/fs"
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	l.state = dir + "/state"
}

func (l *lab) remount(t *testing.T, flags uintptr, options string) {
	t.Helper()
	require.NoError(t, syscall.Mount("tmpfs", filepath.Dir(l.state), "tmpfs", syscall.MS_REMOUNT|flags, options))
}

// scripts are all that make marks, by name.
func (l *lab) scripts() map[string]func() (string, int) {
	return map[string]func() (string, int){
		"launch":      func() (string, int) { return l.launch(id(1)) },
		"reserve":     func() (string, int) { return l.script(reserveScript, id(1)) },
		"conclude":    func() (string, int) { return l.script(concludeScript, id(1)) },
		"acknowledge": func() (string, int) { return l.acknowledge(id(1), "") },
		"acquire":     func() (string, int) { return l.script(pairLockScript, "acquire", "a", "claim") },
		"takeover":    func() (string, int) { return l.script(pairLockScript, "takeover", "b", "a", "claim") },
		"statedir":    func() (string, int) { return l.script(stateDirScript) },
	}
}

// TestARefusalIsReadForWhatItIs is every script on every kind of state directory that cannot be written.
func TestARefusalIsReadForWhatItIs(t *testing.T) {
	for name, c := range map[string]struct {
		code   int
		before func(*testing.T, *lab)
	}{
		"read-only": {60, func(t *testing.T, l *lab) { l.mounted(t, ""); l.remount(t, syscall.MS_RDONLY, "") }},
		"read-only, with a folder": {60, func(t *testing.T, l *lab) {
			l.mounted(t, "")
			require.NoError(t, os.Mkdir(l.state, 0o700))
			l.remount(t, syscall.MS_RDONLY, "")
		}},
		"no inodes":         {62, func(t *testing.T, l *lab) { l.mounted(t, "nr_inodes=1") }},
		"a file in the way": {65, func(t *testing.T, l *lab) { require.NoError(t, os.WriteFile(l.state, nil, 0o600)) }},
		"a file above": {65, func(t *testing.T, l *lab) {
			require.NoError(t, os.WriteFile(l.state, nil, 0o600))
			l.state += "/state"
		}},
		"a link to nowhere": {65, func(t *testing.T, l *lab) { require.NoError(t, os.Symlink("/nowhere/at/all", l.state)) }},
		"no right": {63, func(t *testing.T, l *lab) {
			peers.Need(t, "root", "setpriv")
			l.user = "nobody"
			l.prefix = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
			dir := filepath.Dir(l.state)
			for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
				require.NoError(t, os.Chmod(d, 0o755))
			}
			require.NoError(t, os.Chmod(l.macro, 0o755))
			require.NoError(t, os.Mkdir(dir+"/other", 0o755))
			l.state = dir + "/other/state"
		}},
	} {
		for script := range (&lab{}).scripts() {
			t.Run(name+"/"+script, func(t *testing.T) {
				eachShell(t, shells, func(t *testing.T, shell string) {
					l := newLab(t, shell, "exit 0")
					c.before(t, l)
					out, rc := l.scripts()[script]()
					require.Equal(t, c.code, rc, out)
					require.Contains(t, out, "@@CANNOT ")
					require.Zero(t, l.runs(t))
				})
			})
		}
	}
}

// TestAFileSystemThatFillsUp lets the room end at each step of a launch, by inodes and by space. Whatever the launcher
// says is true: with a refusal nothing ever fires, and a later call says neither "fired" nor "held by another run".
func TestAFileSystemThatFillsUp(t *testing.T) {
	peers.Need(t, "root")
	for kind, option := range map[string]string{"inodes": "nr_inodes=%d", "space": "size=%dk"} {
		for n := 1; n <= 18; n++ {
			room := n
			if kind == "space" {
				room = 4 * n
			}
			t.Run(fmt.Sprintf("%s %d", kind, room), func(t *testing.T) {
				t.Parallel()
				l := newLab(t, "dash", "exit 7")
				l.mounted(t, fmt.Sprintf(option, room))
				l.session = true
				probe, roomy := l.script(stateDirScript)
				out, rc := l.launch(id(1))
				dir := filepath.Join(l.state, "run."+id(1))
				switch rc {
				case 0:
					// The runner says by its marks what became of it, or is gone.
					require.Eventually(t, func() bool { life, _ := l.life(t, id(1)); return life != lives }, limit, tick)
					_, fired := os.Stat(filepath.Join(dir, "fired"))
					require.Equal(t, fired == nil, l.runs(t) == 1, "the mark and the run go together")
				case 61, 62, 66:
					require.Contains(t, out, "@@CANNOT ")
					require.Zero(t, l.runs(t))
					out, rc = l.script(concludeScript, id(1))
					require.NotEqual(t, exitFired, rc, out)
					out, rc = l.launch(id(1))
					require.NotZero(t, rc, out)
					require.NotContains(t, out, "@@HELD", "the lock is its own, or was given back")
					require.Zero(t, l.runs(t))
				default:
					t.Fatalf("%d: %s", rc, out)
				}
				if roomy == 0 {
					require.Zero(t, rc, "what the preflight found to have room has room: %s %s", probe, out)
					require.Equal(t, 1, l.runs(t))
				}
				// When there is room again, the same run can be voided or acknowledged, and another one goes.
				l.remount(t, 0, "nr_inodes=1000,size=1m")
				_, rc = l.script(concludeScript, id(1))
				require.Contains(t, []int{0, exitFired}, rc)
				out, rc = l.acknowledge(id(1), "")
				require.Zero(t, rc, out)
				before := l.runs(t)
				_, rc = l.launch(id(2))
				require.Zero(t, rc)
				l.ended(t, id(2))
				require.Equal(t, before+1, l.runs(t))
			})
		}
	}
}

// TestTheLockThatChangesHands: a release or take-over moves the lock it has looked at, never the next one.
func TestTheLockThatChangesHands(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, "")
		lock := func(want int, args ...string) string {
			t.Helper()
			out, rc := l.script(pairLockScript, args...)
			require.Equal(t, want, rc, out)
			return out
		}
		lock(0, "acquire", "a", "claim of a")
		require.Contains(t, lock(75, "acquire", "b", "claim of b"), "@@HOLDER a\nclaim of a")
		lock(75, "release", "b")
		lock(75, "takeover", "c", "b", "claim of c")
		require.NoError(t, os.Remove(l.state+"/pair.lock/claim"))
		require.Contains(t, lock(0, "acquire", "a", "claim of a"), "@@OURS", "stopped between name and claim")
		require.Contains(t, lock(0, "holder", ""), "claim of a")
		lock(0, "takeover", "b", "a", "claim of b")
		require.Contains(t, lock(0, "holder", ""), "@@HOLDER b\nclaim of b")

		// Somebody was stopped in the middle of a release.
		require.NoError(t, os.Mkdir(l.state+"/pair.lock/ending", 0o700))
		require.NoError(t, os.WriteFile(l.state+"/pair.lock/ending/by", []byte("x\n"), 0o600))
		lock(75, "release", "b")
		lock(0, "takeover", "c", "b", "claim of c")
		require.NoError(t, os.Mkdir(l.state+"/pair.lock/ending", 0o700))
		require.NoError(t, os.WriteFile(l.state+"/pair.lock/ending/by", []byte("c\n"), 0o600))
		lock(0, "release", "c")
		require.Contains(t, lock(0, "holder", ""), "@@FREE")
		lock(0, "release", "c")

		// Our own release was stopped before it wrote its name there: the lock is still ours, and the next one ends it.
		lock(0, "acquire", "d", "claim of d")
		require.NoError(t, os.Mkdir(l.state+"/pair.lock/ending", 0o700))
		require.Contains(t, lock(0, "release", "d"), "@@FREE")
		require.Contains(t, lock(0, "holder", ""), "@@FREE")
		kept, err := filepath.Glob(l.state + "/archive/pair.*")
		require.NoError(t, err)
		require.Len(t, kept, 4)
	})
}

// TestTheScriptsAreNotInTheProcessList: no word of a run stands in a list of processes before its runner does.
func TestTheScriptsAreNotInTheProcessList(t *testing.T) {
	l := newLab(t, "dash", "exit 0")
	cmd := exec.Command(l.shell)
	cmd.Stdin = strings.NewReader(
		string(program("n", os.Getenv("PATH"), `cat /proc/$$/cmdline`, nil, []string{"secret-word", "FAILOVERD"})))
	out, err := cmd.Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), "secret-word")
	require.Contains(t, string(out), filepath.Base(l.shell))
}

// TestALockThatCannotBeMovedIsNotSomebodyElses: the disk fills up while we hold the lock.
func TestALockThatCannotBeMovedIsNotSomebodyElses(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, "")
		l.mounted(t, "nr_inodes=50")
		_, rc := l.script(pairLockScript, "acquire", "a", "claim")
		require.Zero(t, rc)
		for n := 0; ; n++ {
			if err := os.WriteFile(fmt.Sprintf("%s/../fill%d", l.state, n), nil, 0o600); err != nil {
				break
			}
		}
		for _, args := range [][]string{{"release", "a"}, {"takeover", "b", "a", "claim of b"}} {
			out, rc := l.script(pairLockScript, args...)
			require.Equal(t, 62, rc, "%v: %s", args, out)
		}
		out, rc := l.script(pairLockScript, "holder", "")
		require.Zero(t, rc)
		require.Contains(t, out, "@@HOLDER a\nclaim")
		out, rc = l.script(pairLockScript, "acquire", "b", "claim of b")
		require.Equal(t, exitHeld, rc, out)
	})
}

// TestALockThatStaysBehindItsNoteIsNotUnchanged: the run is acknowledged, and its lock could not be moved.
func TestALockThatStaysBehindItsNoteIsNotUnchanged(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, "")
		_, rc := l.script(reserveScript, id(1))
		require.Zero(t, rc)
		tools := t.TempDir()
		mv := "#!/bin/sh\necho mv: cannot move: Read-only file system >&2\nexit 1\n"
		require.NoError(t, os.WriteFile(filepath.Join(tools, "mv"), []byte(mv), 0o700)) //nolint:gosec // a program
		l.path = tools + ":" + os.Getenv("PATH")
		out, rc := l.acknowledge(id(1), "")
		require.Equal(t, exitReadOnly, rc, out)
		require.Contains(t, out, "@@NOTED")
		require.FileExists(t, filepath.Join(l.state, "run."+id(1), "acknowledged"))
		l.path = ""
		out, rc = l.acknowledge(id(1), "")
		require.Zero(t, rc, out)
		require.Contains(t, out, "@@ARCHIVED")
	})
}
