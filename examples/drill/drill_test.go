package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

var program string

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

func TestEveryFaultEndsAsItMust(t *testing.T) {
	for _, sc := range scenarios() {
		for _, f := range sc.faults {
			t.Run(sc.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				status, out := drill(t, "-fault", f.name, sc.name)
				assert.Zero(t, status, out)
			})
		}
	}
}

func TestCrashAtEveryStepAndResume(t *testing.T) {
	for _, sc := range scenarios() {
		for _, id := range steps(t, sc.name) {
			t.Run(sc.name+"/"+id, func(t *testing.T) {
				t.Parallel()
				journal := filepath.Join(t.TempDir(), "journal")
				status, out := drill(t, "-crash", id, "-journal", journal, sc.name)
				require.Equal(t, -1, status, "the process kills itself\n%s", out)
				status, out = drill(t, "-journal", journal, sc.name)
				assert.Zero(t, status, out)
				assert.Contains(t, out, "two active  never")

				if name, _, several := strings.Cut(id, ":"); several {
					journal += "." + name
				}
				j, err := failover.ReadJournal(journal)
				require.NoError(t, err)
				name, _ := j.Procedure()
				assert.NotEmpty(t, name)
			})
		}
	}
}

func TestWrongCallsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"nothing"}, {"-fault", "nothing"}, {"-crash", "no/such-step", "transfer"}, {"-nothing"}} {
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
