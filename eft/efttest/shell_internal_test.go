package efttest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// A link leads to what is there later, and sha256sum writes a name with a backslash in a way of its own.
func TestABackupRefusesWhatItCouldNotPutBack(t *testing.T) {
	for name, make := range map[string]func(dir string) error{
		"a link":           func(dir string) error { return os.Symlink("/etc/hostname", filepath.Join(dir, "FTP.cfg")) },
		"a backslash":      func(dir string) error { return os.WriteFile(filepath.Join(dir, `a\b`), nil, 0o600) },
		"a line break":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600) },
		"nothing of it":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "FTP.cfg"), nil, 0o600) },
		"one in Logs":      func(dir string) error { return os.Symlink("x", filepath.Join(dir, "Logs", "l")) },
		"a link to a tree": func(dir string) error { return os.Symlink("/etc", filepath.Join(dir, "Sub")) },
	} {
		from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.Mkdir(filepath.Join(from, "Logs"), 0o700))
		require.NoError(t, make(from))
		out, err := exec.CommandContext(t.Context(), "sh", "-c", shell("backup.sh"), "sh", from, to, "Logs").CombinedOutput()
		if name == "nothing of it" || name == "one in Logs" {
			require.NoError(t, err, "%s: %s", name, out)
			continue
		}
		require.ErrorContains(t, err, "exit status 24", "%s: %s", name, out)
		require.NoDirExists(t, to)
		require.NoDirExists(t, to+".part")
	}
}

// A start that gives up takes the claim, so that "not started" stays true; of the next starts, however many there are at
// once, one takes the next claim.
func TestAStartThatGaveUpCannotComeLater(t *testing.T) {
	dir := t.TempDir()
	tool := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700)) //nolint:gosec // a program
	}
	tool("setsid", "exit 0") // the queue that does not come to it
	tool("sleep", "exit 0")
	tool("control", "exit 0")
	tool("installer", "echo ran >>"+dir+"/ran")
	text, err := os.ReadFile(filepath.Join(dir, "installer"))
	require.NoError(t, err)
	runs := filepath.Join(dir, "runs")
	start := func(turn string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", shell("start.sh"), "sh", runs, "id", fmt.Sprintf("%x", sha256.Sum256(text)),
			filepath.Join(dir, "control"), turn, filepath.Join(dir, "installer"))
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		return cmd.CombinedOutput()
	}
	state := func() string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", shell("run.sh"), "sh", runs, "id").CombinedOutput()
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(out), "\n")
		return first
	}
	require.Equal(t, "none 0", state())
	out, err := start("0")
	require.ErrorContains(t, err, "exit status 31", "%s", out)
	require.Equal(t, "none 1", state())
	// What comes late finds the claim taken.
	require.Error(t, os.Link(filepath.Join(dir, "control"), filepath.Join(runs, "id.claim")))
	require.NoError(t, os.Remove(filepath.Join(dir, "setsid")))
	require.NoError(t, os.Remove(filepath.Join(dir, "sleep")))
	var starts errgroup.Group
	for range 8 {
		starts.Go(func() error {
			out, err := start("1")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	require.NoError(t, starts.Wait())
	require.Eventually(t, func() bool { return strings.HasPrefix(state(), "ended ") }, time.Minute, 20*time.Millisecond)
	out, err = start("1")
	require.NoError(t, err, "%s", out)
	out, err = start("0")
	require.ErrorContains(t, err, "exit status 31", "%s", out)
	ran, err := os.ReadFile(filepath.Join(dir, "ran"))
	require.NoError(t, err)
	require.Equal(t, "ran\n", string(ran), "once")
}

func TestSpaceIsReadAlsoWhereNamesHoldBlanks(t *testing.T) {
	for line, want := range map[string]string{
		"/dev/sda1 1000 400 600 40% /": "614400", "//srv/my share 1000 400 500 45% /mnt/my share": "512000",
		"none - - - - /x": "",
	} {
		dir := t.TempDir()
		tool := "#!/bin/sh\necho 'Filesystem 1024-blocks Used Available Capacity Mounted on'\necho '" + line + "'\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "df"), []byte(tool), 0o700)) //nolint:gosec // it is a program
		cmd := exec.CommandContext(t.Context(), "sh", "-c", shell("space.sh"), "sh", filepath.Join(dir, "none"))
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		out, err := cmd.Output()
		require.Equal(t, want == "", err != nil, line)
		if want != "" {
			require.Equal(t, "0 "+want+"\n", string(out), line)
		}
	}
}
