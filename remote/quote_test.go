package remote

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestQuoteText(t *testing.T) {
	require.Equal(t, `''`, Quote(""))
	require.Equal(t, `'it'\''s'`, Quote("it's"))
	require.Equal(t, `/usr/bin/ksh -c 'echo "$1"' failover 'a b' ''`, ShellLine("/usr/bin/ksh", `echo "$1"`, "a b", ""))
	require.Equal(t, `'/opt/my shell' -c 'x' failover`, ShellLine("/opt/my shell", "x"))
	require.Equal(t, `/usr/bin/env 'LC_ALL=C' 'A=b c' ls`, EnvLine("ls", "LC_ALL=C", "A=b c"))
	require.Equal(t, "ls", EnvLine("ls"))
}

func TestQuoteSurvivesARealShell(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.StringOf(rapid.SampledFrom([]rune("ab '\"\\$`!*?~#;&|<>(){}[]\n\t\r-=é\x7f"))).Draw(rt, "text")
		got, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf %s "+Quote(want)).Output()
		if err != nil || string(got) != want {
			rt.Fatalf("got %q, want %q (%v)", got, want, err)
		}
	})
}

func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "it's", "$(id)", "a\nb", `\'`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Outside quotes only escaped quotes appear, so nothing of s is ever read by the shell as syntax.
		q, inside := Quote(s), false
		for i := 0; i < len(q); i++ {
			switch {
			case q[i] == '\'':
				inside = !inside
			case !inside && q[i] == '\\' && i+1 < len(q) && q[i+1] == '\'':
				i++
			case !inside:
				t.Fatalf("%q leaves %q outside the quotes", q, q[i:])
			}
		}
		if inside {
			t.Fatalf("%q does not end", q)
		}
	})
}
