package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/runbook"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

var (
	program string
	all     = flag.Bool("all", false, "play every fault and crash, also those that the tests of package symitar play")
)

// TestMain builds the program, so that it can be killed for real, and without the race detector, which would make the
// hundreds of runs take an hour. The packages it uses are tested with it.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "drill")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "drill.exe")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// drill runs the program and returns its exit status, -1 when a signal ended it, and what it printed.
func drill(t *testing.T, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok { //nolint:errorlint // exec returns it bare
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// steps lists the step IDs of a procedure as the program prints them.
func steps(t *testing.T, procedure string) []string {
	t.Helper()
	status, out := drill(t, "-list", procedure)
	require.Zero(t, status, out)
	var ids []string
	for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
		ids = append(ids, strings.Fields(line)[0])
	}
	require.NotEmpty(t, ids)
	return ids
}

// crashes lists the flags that kill the program at the records of a procedure's steps: at the intent of each change and, of
// every third one, at its outcome. One step that changes nothing is enough: a process that dies there leaves the world as
// it was. The packages' own tests let the process die at every record. With -all it is every outcome, and every fifth of the
// steps that change nothing.
func crashes(t *testing.T, procedure string) [][2]string {
	t.Helper()
	journal := filepath.Join(t.TempDir(), "journal")
	status, out := drill(t, "-brief", "-journal", journal, procedure)
	require.Zero(t, status, out)
	files, err := filepath.Glob(journal + "*")
	require.NoError(t, err)
	changes := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, ".world") {
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(file, journal), ".")
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(raw) {
			var rec struct{ Type, Step string }
			require.NoError(t, json.Unmarshal(line, &rec))
			if rec.Type == "outcome" {
				changes[act{name: name}.step(rec.Step)] = true
			}
		}
	}
	require.NotEmpty(t, changes)
	var flags [][2]string
	for n, id := range steps(t, procedure) {
		if changes[id] || n == 0 || *all && n%5 == 0 {
			flags = append(flags, [2]string{"-crash", id})
		}
		if changes[id] && (*all || len(flags)%3 == 0) {
			flags = append(flags, [2]string{"-crash-after", id})
		}
	}
	return flags
}

func TestEveryProcedureCompletes(t *testing.T) {
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			status, out := drill(t, sc.name)
			assert.Zero(t, status, out)
			assert.Contains(t, out, ": completed in ")
			assert.Contains(t, out, "two active  never")
		})
	}
}

// Without -all every third fault of the pair is played: TestFaults of package symitar judges each one.
func TestEveryFaultEndsAsItMust(t *testing.T) {
	for _, sc := range scenarios() {
		for n, f := range sc.faults {
			_, elsewhere := followed[f.name]
			pair := slices.ContainsFunc(symitartest.Faults(), func(known symitartest.Fault) bool { return known.Name == f.name })
			if elsewhere || pair && n%3 > 0 && !*all {
				continue
			}
			t.Run(sc.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				status, out := drill(t, "-brief", "-fault", f.name, sc.name)
				assert.Contains(t, []int{0, 1, 3, 4, 5}, status, out)
			})
		}
	}
}

func TestCrashAtEveryRecordAndResume(t *testing.T) {
	for _, sc := range scenarios() {
		if sc.name == "site" { // its parts are here alone
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			for n, crash := range crashes(t, sc.name) {
				if sc.name == "symitar-failover" && n%2 > 0 && !*all { // its steps are those of symitar
					continue
				}
				t.Run(strings.Join(crash[:], " "), func(t *testing.T) {
					t.Parallel()
					journal := filepath.Join(t.TempDir(), "journal")
					status, out := drill(t, "-brief", crash[0], crash[1], "-journal", journal, sc.name)
					require.Equal(t, -1, status, "the process kills itself\n%s", out)
					status, out = drill(t, "-brief", "-journal", journal, sc.name)
					assert.Zero(t, status, out)
					assert.Contains(t, out, "two active  never")

					if name, _, several := strings.Cut(crash[1], ":"); several {
						journal += "." + name
					}
					j, err := failover.ReadJournal(journal)
					require.NoError(t, err)
					name, _ := j.Procedure()
					assert.NotEmpty(t, name)
				})
			}
		})
	}
}

// TestTheStatusIsWhatTheReportSays takes one fault of each kind.
func TestTheStatusIsWhatTheReportSays(t *testing.T) {
	for _, tt := range []struct {
		fault, procedure, says string
		status                 runbook.ExitStatus
	}{
		{"macro-hangs", "symitar", `: in-doubt in `, runbook.ExitInDoubt},
		{"returns", "transfer", `(?m)^  outage +[1-9]\d*ms$`, runbook.ExitPartWay}, // over: the group is up where it was
	} {
		status, out := drill(t, "-brief", "-fault", tt.fault, tt.procedure)
		assert.Equal(t, int(tt.status), status, out)
		assert.Regexp(t, tt.says, out)
	}
}

func TestAFileThatIsNoJournalStaysAsItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("a token"), 0o600))
	status, out := drill(t, "-journal", file, "transfer")
	assert.Equal(t, 2, status, out)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "a token", string(raw))
	assert.NoDirExists(t, file+".world")
}

func TestWrongCallsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"nothing"}, {"-fault", "nothing"}, {"-crash", "no/such-step", "transfer"},
		{"-nothing"},
		{"-crash", "move/move", "-crash-after", "move/move", "transfer"}} {
		status, out := drill(t, args...)
		assert.Equal(t, 2, status, "%v: %s", args, out)
	}
	status, out := drill(t, "-fault", "list", "transfer")
	assert.Zero(t, status)
	assert.True(t, strings.HasPrefix(out, "slow "), "the name comes first: %s", out)
	status, out = drill(t, "-json", "transfer")
	assert.Zero(t, status)
	assert.True(t, strings.HasPrefix(out, "{"), "nothing but the report: %s", out)
}
