package symitar

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote/remotetest"
)

func TestUnframe(t *testing.T) {
	const n = "0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		text, out string
		exit      int
		bad       bool
	}{
		"plain": {"@@" + n + " BEGIN\nhello\n\n@@" + n + " END rc=0\n", "hello\n", 0, false},
		"banner and ENV noise": {"WARNING\nunauthorised use\n@@" + n + " BEGIN\nhello\n@@" + n + " END rc=3\n",
			"hello", 3, false},
		"no output": {"@@" + n + " BEGIN\n\n@@" + n + " END rc=0\n", "", 0, false},
		"a mark in the output": {"@@" + n + " BEGIN\n@@other END rc=0\n\n@@" + n + " END rc=9\n",
			"@@other END rc=0\n", 9, false},
		"noise behind":            {"@@" + n + " BEGIN\nx\n@@" + n + " END rc=0\nbye\n", "x", 0, false},
		"nothing":                 {"", "", 0, true},
		"a menu instead":          {"  1 - SYM 000\nSelection :", "", 0, true},
		"cut in the output":       {"@@" + n + " BEGIN\nhel", "", 0, true},
		"cut in the end mark":     {"@@" + n + " BEGIN\nhello\n@@" + n + " END r", "", 0, true},
		"cut in the exit status":  {"@@" + n + " BEGIN\nhello\n@@" + n + " END rc=12", "", 0, true},
		"an exit status too long": {"@@" + n + " BEGIN\nhello\n@@" + n + " END rc=1234\n", "", 0, true},
		"another nonce": {"@@" + strings.Repeat("f", 32) + " BEGIN\nx\n@@" + strings.Repeat("f", 32) +
			" END rc=0\n", "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			out, exit, err := unframe(c.text, n)
			if c.bad {
				require.ErrorIs(t, err, errAnswerIncomplete)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.out, out)
			require.Equal(t, c.exit, exit)
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.String().Draw(t, "body")
		whole := "noise\n@@" + n + " BEGIN\n" + body + "\n@@" + n + " END rc=7\n"
		out, exit, err := unframe(whole, n)
		if err != nil || out != body || exit != 7 {
			t.Fatalf("%q %d %v", out, exit, err)
		}
		cut := rapid.IntRange(0, len(whole)-1).Draw(t, "cut")
		if _, _, err := unframe(whole[:cut], n); err == nil {
			t.Fatalf("an answer cut at byte %d of %d was taken", cut, len(whole))
		}
	})
}

// TestNoLogins: OpenSSH prints /etc/nologin and ends the session with 254 (do_nologin in its session.c).
func TestNoLogins(t *testing.T) {
	why, next := noShell("/bin/sh", "", "The system is going down for maintenance\n", 254)
	require.Contains(t, why, "/etc/nologin")
	require.Contains(t, why, "going down for maintenance")
	require.Contains(t, next, "/etc/nologin")
}

func TestRespawners(t *testing.T) {
	found, dormant, unread, partly := parseRespawners(
		"inittab: init:2:initdefault:\ninittab: fod:2:respawn:/SYM/FAILOVERD\ninittab: :fod2:2:respawn:/SYM/FAILOVERD\n"+
			"inittab: fod3:2:off:/SYM/FAILOVERD\nsrc:  failoverd  sym  1234 active\nsrc:  failoverd2 sym       inoperative\n"+
			"crontab: # 0 * * * * /SYM/FAILOVERD\ncrontab: root: 0 * * * * /SYM/FAILOVERD check\ncrontab: sys: # "+
			"/SYM/FAILOVERD\nsrc! lssrc -a ended with an error\n"+
			"crontab? those of other accounts cannot be read as symop\n", "FAILOVERD")
	require.Equal(t, []string{"inittab: fod:2:respawn:/SYM/FAILOVERD", "src: failoverd  sym  1234 active",
		"crontab: root: 0 * * * * /SYM/FAILOVERD check"}, found)
	require.Equal(t, 2, dormant)
	require.Equal(t, []string{"src (lssrc -a ended with an error)"}, unread)
	require.Equal(t, []string{"crontab, those of other accounts cannot be read as symop"}, partly)
}

func TestQueue(t *testing.T) {
	rows, err := parseQueue("Batch queues at 10:00\nQueue Device   Status   Seq    Job Name             User\n" +
		"----- -------- -------- ------ -------------------- --------\n" +
		"0     BATCH0   Running  001233 NIGHTLY POSTING      SYM000\n" +
		"               Queued   001234 CLOSEDAY             SYM000\n" +
		"1     BATCH1   Ready\n2     BATCH2   Ready   \r\n\n")
	require.NoError(t, err)
	require.Len(t, rows, 4)
	require.Equal(t, batchRow{"0", "", "Queued", "001234", "CLOSEDAY", "SYM000"}, rows[1])
	require.Equal(t, "NIGHTLY POSTING", rows[0].job)
	busy := 0
	for _, r := range rows {
		if r.busy() {
			busy++
		}
	}
	require.Equal(t, 2, busy)
	for _, text := range []string{"", "System Is Not Available", "Queue\n---- ---\n"} {
		_, err := parseQueue(text)
		require.ErrorIs(t, err, errQueueFormat, "an answer that cannot be read proves no idle queue")
	}
	require.True(t, batchRow{status: "Held"}.busy(), "only what is known to rest is idle")
}

func TestDF(t *testing.T) {
	list, unread, err := parseDF("Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\n/dev/hd4 100 50 50% 1 9% " +
		"/\n/proc - - - - - /proc\n/dev/a_very_long_name\n      100 1 99% 1 2% /with blank\n")
	require.NoError(t, err)
	require.Equal(t, []filesystem{{"/", 50, 9}, {"/with blank", 99, 2}}, list)
	require.Empty(t, unread)
	list, unread, err = parseDF("Filesystem     1K-blocks     Used Available Use% Mounted on\n/dev/root 100 90 10 90% /\nproc 0 0 0 - /proc\n")
	require.NoError(t, err)
	require.Empty(t, unread)
	require.Equal(t, []filesystem{{"/", 90, -1}}, list)
	// AIX does not count the inodes of a remote file system.
	list, _, err = parseDF("Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\nnim:/export 100 50 50% - - /mnt\n")
	require.NoError(t, err)
	require.Equal(t, []filesystem{{"/mnt", 50, -1}}, list)
	_, unread, err = parseDF("Filesystem\n/dev/hd4 - - - - - /x\n100 5\n/dev/last\n")
	require.NoError(t, err)
	require.Equal(t, []string{"/dev/hd4 - - - - - /x", "100 5", "/dev/last"}, unread)
	_, _, err = parseDF("df: not found")
	require.Error(t, err)
}

func TestHardErrors(t *testing.T) {
	rows, unread := hardErrors("IDENTIFIER TIMESTAMP  T C RESOURCE_NAME  DESCRIPTION\nBFE4C025   1123041526 P H " +
		"sysplanar0     UNDETERMINED ERROR\nA6DF45AA   1123041526 I O RMCdaemon      The daemon is started.\nB0EE9AF5   " +
		"1123041526 P S SYSPROC SOFTWARE\n")
	require.Len(t, rows, 1)
	require.Empty(t, unread)
	rows, unread = hardErrors("")
	require.Empty(t, rows)
	require.Empty(t, unread, "documented: no output, no errors")
}

func TestVotes(t *testing.T) {
	p := RoleProbe{Primary: "^primary", Secondary: "^secondary"}
	require.Equal(t, RolePrimary, p.vote(answer{out: "primary\n", exit: 0}))
	require.Equal(t, RoleSecondary, p.vote(answer{out: "secondary\n", exit: 0}))
	require.Equal(t, RoleUnknown, p.vote(answer{out: "", exit: 0}))
	require.Equal(t, RoleUnknown, p.vote(answer{out: "primary\n", exit: 1}), "a probe that failed has no vote")
	require.Equal(t, RoleUnknown, RoleProbe{Primary: "p", Secondary: "s"}.vote(answer{out: "ps", exit: 0}), "both is neither")
}

func TestLogReader(t *testing.T) {
	l := newLogReader(&Host{set: Config{Macro: Macro{Success: "complete$", Failure: "(?i)cannot"}}}, "r", nil)
	for _, piece := range []string{"started\nFAILOVER com", "plete\nDISKBACK", "UP FAILED\n", "it can", "not be"} {
		l.take(t.Context(), piece)
	}
	require.True(t, l.succeeds)
	require.Equal(t, []string{"DISKBACKUP FAILED"}, l.failures,
		"texts split over pieces are found, a line without end is not judged yet")
	l.flush(t.Context())
	require.Len(t, l.failures, 2)
	require.Contains(t, l.textTrouble(), "cannot be")
	for range 100 {
		l.take(t.Context(), strings.Repeat("x", 10<<10))
	}
	require.LessOrEqual(t, len(l.tail()), maxLogTail)
	require.LessOrEqual(t, len(l.partial), maxLogLine+10<<10, "a line that never ends is not kept for ever")
}

func TestTheTailHoldsNoHalfAnswer(t *testing.T) {
	const answer = "s3cret-operator"
	for shift := range len(answer) + 2 {
		l := newLogReader(&Host{}, "r", []failover.Secret{failover.NewSecret(answer)})
		// The cut falls into the answer, at every of its bytes.
		l.take(t.Context(), strings.Repeat("x", maxLogTail+10)+answer+strings.Repeat("y", maxLogTail-shift))
		for from := range answer[:len(answer)-3] {
			require.NotContains(t, l.tail(), answer[from:from+4], "shift %d", shift)
		}
	}
}

// TestASecretIsNotEchoed: what reads our script may be a menu that repeats what it does not know, answers included.
func TestASecretIsNotEchoed(t *testing.T) {
	const secret = "s3cret-operator"
	server, err := remotetest.NewServer(func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
		_, _ = io.Copy(io.Discard, cmd.Stdin)
		_, _ = io.WriteString(cmd.Stdout, "unknown command: "+secret+"\n")
		_, _ = io.WriteString(cmd.Stderr, "Unmatched "+secret+"\n")
		return remotetest.Exit(1)
	})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	h, err := newHost(HostConfig{Name: "home", SSH: server.SSH()}, Config{Shell: "/bin/sh"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.remote.Close()) })
	_, err = h.run(t.Context(), "launch the macro", "cat", []byte("1\nPassword:\n"+secret+"\n"))
	require.ErrorIs(t, err, errNoShell)
	require.ErrorContains(t, err, "unknown command")
	require.NotContains(t, err.Error(), secret)
}
