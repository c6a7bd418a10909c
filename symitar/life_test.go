//go:build unix

package symitar

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/peers"
)

// numbers returns the process numbers that a run has written down, by role.
func (l *lab) numbers(t *testing.T, run string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.state, "run."+run, "processes"))
	require.NoError(t, err)
	list := map[string]int{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		require.Len(t, f, 4, "role, number, group, start")
		n, err := strconv.Atoi(f[1])
		require.NoError(t, err)
		list[f[0]] = n
	}
	return list
}

func (l *lab) kill(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

// until waits for a line of the macro's output.
func (l *lab) until(t *testing.T, run, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		out, _ := l.script(logScript, run, "1")
		return strings.Contains(out, text)
	}, limit, tick)
}

func (l *lab) life(t *testing.T, run string) (life, []process) {
	t.Helper()
	out, rc := l.script(statusScript, run, l.macro)
	require.Zero(t, rc, out)
	s := parseStatus(out)
	return s.life, s.alive
}

// TestAnyProcessOfARunIsItsLife ends the wrapper, then the macro, then what the macro has started. Until the last of
// them is gone the run lives, nobody can acknowledge or void it, and nobody can launch another one.
func TestAnyProcessOfARunIsItsLife(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, "sleep 300 & echo child $!; wait; exit 0")
		_, rc := l.launch(id(1))
		require.Zero(t, rc)
		l.until(t, id(1), "child ")
		out, _ := l.script(logScript, id(1), "1")
		child, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(out, "child ")))
		require.NoError(t, err)
		t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })
		numbers := l.numbers(t, id(1))
		require.Contains(t, numbers, "macro")
		require.Contains(t, numbers, "runner")

		locked := func(who string) {
			t.Helper()
			got, alive := l.life(t, id(1))
			require.Equal(t, lives, got, "behind the end of the %s", who)
			require.NotEmpty(t, alive)
			out, rc := l.acknowledge(id(1), "")
			require.Equal(t, exitActive, rc, out)
			_, rc = l.script(concludeScript, id(1))
			require.Equal(t, exitFired, rc)
			_, rc = l.launch(id(2))
			require.NotZero(t, rc)
			require.Equal(t, 1, l.runs(t))
		}
		locked("launcher")
		l.kill(t, numbers["runner"])
		locked("runner")
		l.kill(t, numbers["macro"])
		// The shells of this test share a group with the run, as behind a server that makes none: the child cannot be seen.
		out, rc = l.acknowledge(id(1), "")
		require.Contains(t, []int{0, exitActive}, rc, out)
	})
}

// TestTheGroupOfARun has a session of its own for each call, as OpenSSH makes one.
func TestTheGroupOfARun(t *testing.T) {
	peers.Need(t, "setsid")
	l := newLab(t, "dash", "sleep 300 >/dev/null & exit 3")
	l.session = true
	_, rc := l.launch(id(1))
	require.Zero(t, rc)
	l.ended(t, id(1))
	require.Eventually(t, func() bool {
		_, alive := l.life(t, id(1))
		return len(alive) == 1
	}, limit, tick)
	got, alive := l.life(t, id(1))
	require.Equal(t, lives, got)
	require.Equal(t, "left", alive[0].kind)
	require.Contains(t, alive[0].command, "sleep 300")
	pid, _, _ := strings.Cut(alive[0].command, " ")
	n, err := strconv.Atoi(pid)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Kill(n, syscall.SIGKILL) })

	out, rc := l.acknowledge(id(1), "")
	require.Equal(t, exitActive, rc)
	require.Contains(t, out, "@@ALIVE left "+pid)
	_, rc = l.acknowledge(id(1), "unseen 1 2 3")
	require.Equal(t, exitActive, rc)
	_, rc = l.acknowledge(id(1), "7 "+pid)
	require.Zero(t, rc, "a person has named it")
	_, rc = l.acknowledge(id(1), "")
	require.Zero(t, rc, "what was acknowledged stays so")
}

// TestACopyOfTheMacroIsNoService: what the macro left behind is the macro itself.
func TestACopyOfTheMacroIsNoService(t *testing.T) {
	peers.Need(t, "setsid")
	l := newLab(t, "dash", `[ "$1" = again ] && sleep 300; setsid "$0" again >/dev/null 2>&1 & exit 0`)
	l.session = true
	_, rc := l.launch(id(1))
	require.Zero(t, rc)
	l.ended(t, id(1))
	require.Eventually(t, func() bool { return l.runs(t) == 2 }, limit, tick)
	var alive []process
	require.Eventually(t, func() bool { _, alive = l.life(t, id(1)); return len(alive) == 1 }, limit, tick)
	require.Equal(t, "macro", alive[0].kind, "in a session of its own, known by its name")
	pid, _, _ := strings.Cut(alive[0].command, " ")
	n, err := strconv.Atoi(pid)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Kill(-n, syscall.SIGKILL) })
	_, rc = l.acknowledge(id(1), "services")
	require.Equal(t, exitActive, rc)
	require.NoError(t, syscall.Kill(-n, syscall.SIGKILL))
	require.Eventually(t, func() bool { _, rc := l.acknowledge(id(1), "services"); return rc == 0 }, limit, tick)
}

// table is a ps that prints a fixed list, for this lab only.
func (l *lab) table(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ps"), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	l.path = dir + ":" + os.Getenv("PATH")
}

// TestAListThatFailedProvesNothing is every way in which a question about processes can fail.
func TestAListThatFailedProvesNothing(t *testing.T) {
	real, err := exec.LookPath("ps")
	require.NoError(t, err)
	for name, ps := range map[string]string{
		"fails":             "exit 1",
		"fails half-way":    real + ` "$@" | head -n 20; exit 1`,
		"header only":       "echo '  PID  PPID  PGID USER ELAPSED COMMAND'",
		"nothing":           "exit 0",
		"without process 1": real + ` "$@" | awk '$1 != 1'`,
		"without the asker": real + ` "$@" | awk '$1 < 2 || $1 == "PID"'`,
		"other columns":     real + " -ef",
		"without ages":      real + ` -eo pid,ppid,pgid,user,user,args`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "dash", "exit 5")
			_, rc := l.launch(id(1))
			require.Zero(t, rc)
			l.ended(t, id(1))
			// The runner ends a moment behind its last mark.
			require.Eventually(t, func() bool { life, _ := l.life(t, id(1)); return life == lifeGone }, limit, tick)
			require.NoError(t, os.Remove(filepath.Join(l.state, "run."+id(1), "rc")))
			l.table(t, ps)
			got, _ := l.life(t, id(1))
			require.Equal(t, lifeUnknown, got)
			out, rc := l.acknowledge(id(1), "")
			require.Equal(t, exitUnseen, rc, out)
			require.Contains(t, out, "@@UNSEEN ")
			_, rc = l.acknowledge(id(1), "unseen")
			require.Zero(t, rc, "a person answers for it")
			_, rc = l.launch(id(2))
			require.Equal(t, 79, rc, "nobody can tell whether the macro runs, so it is not fired")
			require.Equal(t, 1, l.runs(t))
			out, rc = l.script(programsScript, "", l.macro, "RSJ")
			require.Zero(t, rc)
			require.Contains(t, out, "unseen=")
			out, rc = l.script(symLocksScript)
			require.Zero(t, rc, out)
		})
	}
	t.Run("missing", func(t *testing.T) {
		l := newLab(t, "dash", "exit 5")
		l.path = t.TempDir()
		for _, tool := range []string{"awk", "cat", "date", "id", "ls", "mkdir", "mv", "sed", "tr", "df", "nohup", "wc"} {
			path, err := exec.LookPath(tool)
			require.NoError(t, err)
			require.NoError(t, os.Symlink(path, filepath.Join(l.path, tool)))
		}
		out, rc := l.launch(id(1))
		require.Equal(t, 73, rc)
		require.Contains(t, out, "@@TOOL ps")
	})
}

// TestNumbersThatWereGivenAwayAreNotOurs: process numbers are used again, at the latest behind a reboot.
func TestNumbersThatWereGivenAwayAreNotOurs(t *testing.T) {
	const list = `printf '%s\n' 'PID PPID PGID USER ELAPSED COMMAND' "1 0 0 root $UP init" "$ME 1 $ME root 00:00 sh" `
	for name, c := range map[string]struct {
		records, up, rows string
		want              life
	}{
		"the runner":              {"runner 500 400 1000", "01:00:00", `"500 1 400 root 43:20 sh"`, lives},
		"the number is another's": {"runner 500 400 1000", "01:00:00", `"500 1 500 root 10:00 cron"`, lifeGone},
		"its age cannot be read":  {"runner 500 400 1000", "01:00:00", `"500 1 500 root - cron"`, lives},
		"a member of the group":   {"runner 500 400 1000", "01:00:00", `"777 1 400 root 00:05 sleep"`, lives},
		"the group is another's": {"runner 500 400 1000", "01:00:00",
			`"400 1 400 root 10:00 daemon" "777 400 400 root 00:05 sleep"`, lifeGone},
		"the leader is the session's": {"runner 500 400 1000", "01:00:00",
			`"400 1 400 root 43:21 sh" "777 400 400 root 00:05 sleep"`, lives},
		"rebooted, numbers used again": {"runner 500 400 1000", "10:00",
			`"500 1 400 root 05:00 cron" "400 1 400 root 05:01 daemon"`, lifeGone},
		"days of uptime": {"runner 500 400 86400", "2-00:00:00", `"500 1 400 root 1-00:00:00 sh"`, lives},
		"somebody reads the log": {"runner 500 400 1000", "01:00:00",
			`"600 1 600 root 00:01 tail -f STATE/run.RUN/log"`, lifeGone},
		"somebody names the folder": {"runner 500 400 1000", "01:00:00",
			`"600 1 600 root 00:01 sh STATE/run.RUN/runner watch"`, lives},
		"the macro, since the run began": {"runner 500 400 1000", "01:00:00",
			`"600 1 600 root 30:00 /usr/bin/ksh /S/MACRO -x"`, lives},
		"the macro, older than the run": {"runner 500 400 1000", "01:00:00",
			`"600 1 600 root 59:00 /usr/bin/ksh /S/MACRO -x"`, lifeGone},
		"it began while ps looked": {"runner 500 400 3599", "01:00:00", `"500 1 500 root 441077234-21:10:15 sh"`, lives},
		"the macro began while ps looked": {"runner 500 400 3599", "01:00:00",
			`"600 1 600 root 441077234-21:10:15 /usr/bin/ksh /S/MACRO -x"`, lives},
		"nothing was written down": {"", "01:00:00", "", lifeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "dash", "exit 0")
			dir := filepath.Join(l.state, "run."+id(1))
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "fired"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "processes"), []byte(c.records+"\n"), 0o600))
			rows := strings.NewReplacer("STATE", l.state, "RUN", id(1), "MACRO", filepath.Base(l.macro)).Replace(c.rows)
			l.session = true // the asker leads its group
			l.table(t, "ME=$(cut -d' ' -f5 /proc/$$/stat)\nUP="+c.up+"\n"+list+rows)
			got, alive := l.life(t, id(1))
			require.Equal(t, c.want, got, "%v", alive)
		})
	}
}

// TestAnAskerThatBeganWhilePsLooked: procps takes the time before it looks, and an age of less than nothing is printed as a
// huge one (seen: 441077234 days). What is written down then is when the process began.
func TestAnAskerThatBeganWhilePsLooked(t *testing.T) {
	l := newLab(t, "dash", "exit 7")
	l.session = true
	real, err := exec.LookPath("ps")
	require.NoError(t, err)
	l.table(t, real+` "$@" | awk '$6 ~ /dash|sh$/ { $5 = "441077234-21:10:15" } { print }'`)
	_, rc := l.launch(id(1))
	require.Zero(t, rc)
	l.ended(t, id(1))
	records, err := os.ReadFile(filepath.Join(l.state, "run."+id(1), "processes"))
	require.NoError(t, err)
	require.NotContains(t, string(records), "-", "%s", records)
	out, rc := l.acknowledge(id(1), "")
	require.Zero(t, rc, out)
}

// TestPrograms is which command lines run a program, and which only name it.
func TestPrograms(t *testing.T) {
	l := newLab(t, "dash", "")
	l.session = true
	for _, c := range []struct {
		name, args string
		want       bool
	}{
		{"RSJ", "/ops/bin/RSJ 001 NIGHTLY", true},
		{"RSJ", "/usr/bin/perl -w /ops/bin/RSJ 001 NIGHTLY", true},
		{"RSJ", "/usr/bin/expect -f /ops/bin/RSJ 001 X", true},
		{"RSJ", "su - SYM000 -c /ops/bin/RSJ 001 X", true},
		{"RSJ", "sh -c cd /tmp; /ops/bin/RSJ 001", true},
		{"RSJ", "/ops/bin/cancel_rsj 001 X", false},
		{"RSJ", "grep RSJ", false},
		{"RSJ", "/usr/bin/vi /ops/bin/RSJ", false},
		{"RSJ", "tail -f /tmp/RSJ.log", false},
		{"SAJ", "/ops/bin/SAJ 001 X", true},
		{"FAILOVERD", "/SYM/SYMPR/FAILOVERD", true},
		{"FAILOVERD", "failoverd -b", true},
		{"FAILOVERD", "-FailoverD", true},
		{"FAILOVERD", "[failoverd]", true},
		{"FAILOVERD", "sudo /ops/bin/FAILOVERD", true},
		{"FAILOVERD", "/SYM/MACROS/FAILOVERD.ksh", true},
		{"FAILOVERD", "env LIBPATH=/usr/lib /ops/bin/FAILOVERD", true},
		{"FAILOVERD", "nice -n 5 ksh -x /S/failoverd", true},
		{"FAILOVERD", "nohup env LANG=C ksh -x /S/failoverd", true},
		{"FAILOVERD", "timeout 30 /S/FAILOVERD-old", true},
		{"FAILOVERD", "/SYM/MACROS/FAILOVER", false},
		{"FAILOVERD", "FAILOVERD2", false},
		{"FAILOVERD", "/S/notFAILOVERD", false},
		{"FAILOVERD", "grep -i failoverd", false},
		{"FAILOVERD", "more FAILOVERD", false},
		{"FAILOVERD", "ps -ef FAILOVERD", false},
		{"FAILOVERD", "/usr/bin/sshd", false},
		{"FAILOVER", "/usr/bin/ksh /SYM/MACROS/FAILOVER -swap", true},
		{"FAILOVER", "ksh -c '/SYM/MACROS/FAILOVER' && date", true},
		{"FAILOVER", "/SYM/SYMPR/FAILOVERD", false},
		{"FAILOVER", "cron " + l.state + "/failover", false},
		{"FAILOVER", "ls -l /SYM/MACROS/FAILOVER", false},
		{"sma_disp", "/usr/local/lsam/bin/sma_disp", true},
		{"sma_log", "/usr/local/lsam/bin/sma_logger", false},
	} {
		l.table(t, "ME=$(cut -d' ' -f5 /proc/$$/stat)\necho '1 0 0 root 01:00:00 init'; echo \"$ME 1 $ME root 00:01 "+
			"sh\"\ncat <<'E'\n4711 1 4711 op 10:00 "+c.args+"\n4712 1 4711 op 10:00 "+c.args+" <defunct>\nE")
		out, rc := l.script(programsScript, "", l.macro, c.name)
		require.Zero(t, rc)
		require.NotContains(t, out, "unseen=")
		require.NotContains(t, out, "4712", "a process that has ended")
		require.Equal(t, c.want, strings.Contains(out, "named="+c.name+" 4711 op "+c.args), "%s: %s: %s", c.name, c.args, out)
	}
}

// TestSomebodyElsesMacro: the launcher looks right before it takes its mark, and so does the runner.
func TestSomebodyElsesMacro(t *testing.T) {
	eachShell(t, shells, func(t *testing.T, shell string) {
		l := newLab(t, shell, `[ "$1" != typed ] || exec sleep 300`)
		typed := exec.Command("/bin/sh", l.macro, "typed")
		typed.Args[0] = "/usr/bin/ksh"
		// It stays a shell with the macro's path in its arguments.
		require.NoError(t, os.WriteFile(l.macro,
			[]byte("#!/bin/sh\n[ \"$1\" = typed ] || { echo run >>"+l.count+"; exit 0; }\nread -r x\n"), 0o700))
		in, err := typed.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, typed.Start())
		out, rc := l.launch(id(1))
		require.Equal(t, exitForeign, rc, out)
		require.Contains(t, out, strconv.Itoa(typed.Process.Pid))
		require.Zero(t, l.runs(t))
		require.NoDirExists(t, filepath.Join(l.state, "run."+id(1)))
		require.NoError(t, in.Close())
		_ = typed.Wait()
		_, rc = l.launch(id(1))
		require.Zero(t, rc)
		l.ended(t, id(1))
		require.Equal(t, 1, l.runs(t))
	})
}
