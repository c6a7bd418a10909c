package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// told is what a stop has to say, and what a person does who reads it.
type told struct {
	says   string   // words of the stop that name what to do; "" when the fault stops nothing
	answer []string // flags of the call that goes on: what -repair does is done on the simulator first
}

var (
	repaired  = []string{"-repair"}
	switchOff = told{"switch it off", repaired}
)

// followed are the faults whose stops are followed word by word, in each scenario that has them.
var followed = map[string]told{
	"primary-no-kex":     switchOff,
	"primary-full":       switchOff,
	"primary-hangs":      switchOff,
	"primary-refuses":    switchOff,
	"primary-slow-probe": switchOff,

	"runner-killed":     {},
	"macro-forks":       {},
	"csh-login":         {},
	"probe-hangs":       {},
	"foreign-macro":     {"wait for its end", repaired},
	"ps-fails":          {"run ps -eo pid,ppid,pgid,user,etime,args by hand", repaired},
	"statedir-readonly": {"make it writable", repaired},
	"statedir-full":     {"make room there, then run again", repaired},

	"old-agent-returns":  {"the agent on the old host", repaired},
	"agent-of-old-host":  {"the agent on the old host", repaired},
	"result-unknown":     {},
	"prerun-failed":      {},
	"decision-corrected": {"decide otherwise", []string{"-repair", "-fault", "decision-corrected"}},
}

// lawful fails the test when a counter of the simulator tells of something that must never be.
func lawful(t *testing.T, out string) {
	t.Helper()
	assert.Regexp(t, `FAILOVER macro [01]×, job on the wrong machine 0×, job lost 0×`, out)
	assert.Contains(t, out, "two active  never")
}

// next is the sentence that tells a person what to do.
var next = regexp.MustCompile(`(?m)^  next        (.+)$`)

// TestDoingWhatTheStopSaysEndsWell plays each fault, reads the words of each stop, does what they say and nothing else,
// and calls the program again as it said, until the procedure has completed.
func TestDoingWhatTheStopSaysEndsWell(t *testing.T) {
	cases := 0
	for _, sc := range scenarios() {
		for _, f := range sc.faults {
			way, listed := followed[f.name]
			if !listed {
				continue
			}
			cases++
			t.Run(sc.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				journal := filepath.Join(t.TempDir(), "journal")
				status, out := drill(t, "-brief", "-journal", journal, "-fault", f.name, sc.name)
				lawful(t, out)
				if way.says != "" {
					require.NotZero(t, status, "the fault has to stop it\n%s", out)
				}
				done := false
				for call := 1; status != 0; call++ {
					t.Logf("exit status %d, %s", status, next.FindString(out))
					require.Less(t, call, 5, "it does not end\n%s", out)
					require.Contains(t, []int{1, 3, 5}, status, out)
					said := next.FindStringSubmatch(out)
					require.NotNil(t, said, "it says what to do\n%s", out)
					args := []string{"-brief", "-journal", journal}
					require.Contains(t, out, "drill -journal "+journal+" ", "it says how to go on")
					switch {
					case !done && way.says != "" && strings.Contains(out, way.says):
						args, done = slices.Concat(args, way.answer), true
					default: // on a busy machine a look may take too long, and then the words are these
						require.Regexp(t, `try again|run again`, said[1], out)
					}
					status, out = drill(t, append(args, sc.name)...)
					lawful(t, out)
				}
				t.Log("completed")
				assert.Contains(t, out, "FAILOVER macro 1×")
				assert.Contains(t, out, "primary: symaix2; OpCon's machine is U")
				assert.Contains(t, out, "what was held is released")
			})
		}
	}
	require.Greater(t, cases, len(followed), "some are in both scenarios")
}
