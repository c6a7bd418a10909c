package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// filled returns the example file with everything filled in that a site has to.
func filled(t *testing.T, change func(string) string) string {
	t.Helper()
	raw, err := os.ReadFile("site.example.yaml")
	require.NoError(t, err)
	text := string(raw)
	opcon := strings.Index(text, "\nopcon:")
	gone := strings.Index(text, "\n# For the failover procedure")
	text = text[:opcon] + text[gone:] // without the client: this test reaches nobody
	for from, to := range map[string]string{
		"  machine_id: FILL-IN       # what \"uname -m\" prints there": "  machine_id: 00C1",
		"  machine_id: FILL-IN\n":                                      "  machine_id: 00C2\n",
		"  path: FILL-IN":                                              "  path: /SYM/MACROS/FAILOVER",
		"command: \"FILL-IN\"":                                         "command: \"cat /etc/role\"",
		"  command: FILL-IN":                                           "  command: lagtool",
		"want: \"FILL-IN\"":                                            "want: \"10[.]1[.]1[.]5\"",
		"# primary_gone: {by: \"\", says:":                             "primary_gone: {by: \"ann\", says:",
		"stays off\", reason: \"\"}":                                   "stays off\", reason: \"saw it\"}",
	} {
		require.Contains(t, text, from)
		text = strings.Replace(text, from, to, 1)
	}
	for _, key := range []string{"A", "B"} {
		text = strings.Replace(text, "SHA256:FILL-IN", "SHA256:"+strings.Repeat(key, 43), 1)
	}
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(change(text)), 0o600))
	return path
}

func TestTheExampleFileBuildsEveryProcedure(t *testing.T) {
	path := filled(t, func(s string) string { return s })
	for _, name := range []string{"switchover", "failover", "failback"} {
		p, closer, err := build(t.Context(), path, name)
		require.NoError(t, err, name)
		require.NoError(t, p.Validate())
		require.NoError(t, closer.Close())
	}
}

func TestWhatIsNotFilledInIsRefusedByName(t *testing.T) {
	_, _, err := build(t.Context(), "site.example.yaml", "switchover")
	require.Error(t, err, "the example file itself is not usable")
	for _, tt := range []struct{ from, to, want string }{
		{"  path: /SYM/MACROS/FAILOVER", "  path: \"\"", "Macro.Path"},
		{"  timeout: 60m", "  timeout: 60", "length of time"},
		{"limits:", "limitz:", "limitz"},
		{"mode: detached", "mode: guess", "guess"},
		{"quorum: 1", "quorum: 0", "Quorum"},
	} {
		path := filled(t, func(s string) string {
			require.Contains(t, s, tt.from)
			return strings.Replace(s, tt.from, tt.to, 1)
		})
		_, _, err := build(t.Context(), path, "switchover")
		require.Error(t, err, tt.to)
		assert.Contains(t, err.Error(), tt.want)
	}
	path := filled(t, func(s string) string {
		return strings.Replace(s, "  path: /SYM/MACROS/FAILOVER",
			"  path: \"\"", 1)
	})
	_, _, err = build(t.Context(), path, "switchover")
	require.ErrorIs(t, err, failover.ErrInvalid)
}

// TestTheRecordMayHoldAnAddress: a site's machine record holds names or IP addresses, whichever it is.
func TestTheRecordMayHoldAnAddress(t *testing.T) {
	for _, where := range []addresses{{"10.20.30.41", "10.20.30.42"}, {"symaix1.example", "symaix2.example"}} {
		path := filled(t, func(s string) string {
			return s + "opcon: {url: 'https://opcon.example', token: {env: TOKEN}, machine: SYMAIX1, reason: CHG-1, addresses: {home: " +
				where.Home + ", partner: " + where.Partner + "}}\n"
		})
		for _, name := range []string{"switchover", "failback"} {
			_, closer, err := build(t.Context(), path, name)
			require.NoError(t, err)
			require.NoError(t, closer.Close())
		}
	}
}
