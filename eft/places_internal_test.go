package eft

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

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft/internal/scripts"
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
		out, err := exec.CommandContext(t.Context(), "sh", "-c", scripts.Text("backup.sh"), "sh", from, to, "Logs").CombinedOutput()
		if name == "nothing of it" || name == "one in Logs" {
			require.NoError(t, err, "%s: %s", name, out)
			continue
		}
		require.ErrorContains(t, err, "exit status 24", "%s: %s", name, out)
		require.NoDirExists(t, to)
		require.NoDirExists(t, to+".part")
	}
}

// What Windows reads as another path than it is written is refused: two texts could not be compared.
func TestPathsAreWrittenAsWindowsReadsThem(t *testing.T) {
	for path, ok := range map[string]bool{`C:\d\s7`: true, `C:\d\s7\`: true, `c:\Program Files\failover-eft`: true, `C:\d\\s7`: false,
		`C:\d\s4.`: false, `C:\d\x\..\s6`: false, `C:\d\s8\.\t`: false, `C:\d \x`: false, `C:\d\NUL`: false, `C:\d\com1.txt`: false,
		`C:\d\con`: false, `C:\d\console`: true, `S:\`: false, `\\srv\share\x`: false, `\\?\C:\d\x`: false, `C:d\x`: false,
		`C:\d\x\\`: false, `C:\.hidden\a.b`: true} {
		err := localPath("path", path)
		require.Equal(t, ok, err == nil, "%q: %v", path, err)
	}
}

func TestOnlyAProgramIsStarted(t *testing.T) {
	n := &WindowsNode{}
	for _, path := range []string{`C:\i\say.cmd`, `C:\i\say.BAT`, `C:\i\eft.msi`, `C:\i\run.ps1`, `C:\i\setup`, `C:\i\setup.exe.txt`} {
		err := n.StartInstaller(t.Context(), Start{Path: path})
		require.ErrorIs(t, err, failover.ErrInvalid, path)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
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
		cmd := exec.CommandContext(t.Context(), "sh", "-c", scripts.Text("start.sh"), "sh", runs, "id", fmt.Sprintf("%x", sha256.Sum256(text)),
			filepath.Join(dir, "control"), turn, filepath.Join(dir, "installer"))
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		return cmd.CombinedOutput()
	}
	state := func() string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", scripts.Text("run.sh"), "sh", runs, "id").CombinedOutput()
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
		cmd := exec.CommandContext(t.Context(), "sh", "-c", scripts.Text("space.sh"), "sh", filepath.Join(dir, "none"))
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		out, err := cmd.Output()
		require.Equal(t, want == "", err != nil, line)
		if want != "" {
			require.Equal(t, "0 "+want+"\n", string(out), line)
		}
	}
}
