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

const pacemaker = "  pacemaker: {sudo: true, services: {app: app.service}}"

// filled returns the example file with everything filled in that a site has to.
func filled(t *testing.T, change func(string) string) string {
	t.Helper()
	raw, err := os.ReadFile("site.example.yaml")
	require.NoError(t, err)
	text := string(raw)
	for _, key := range []string{"A", "B"} {
		require.Contains(t, text, "SHA256:FILL-IN")
		text = strings.Replace(text, "SHA256:FILL-IN", "SHA256:"+strings.Repeat(key, 43), 1)
	}
	for from, to := range map[string]string{
		"user: FILL-IN":      "user: admin",
		"group: \"FILL-IN\"": "group: \"EFT\"",
	} {
		require.Contains(t, text, from)
		text = strings.ReplaceAll(text, from, to)
	}
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(change(text)), 0o600))
	return path
}

// replaced is filled with one place changed, which must be there.
func replaced(t *testing.T, from, to string) string {
	t.Helper()
	return filled(t, func(s string) string {
		require.Contains(t, s, from)
		return strings.Replace(s, from, to, 1)
	})
}

func TestTheExampleFileBuildsEveryProcedure(t *testing.T) {
	for make, path := range map[string]string{
		"windows":   filled(t, func(s string) string { return s }),
		"pacemaker": replaced(t, "  windows: {}", pacemaker),
	} {
		steps := map[string]int{}
		for _, name := range []string{"transfer", "rehearsal"} {
			p, closer, err := build(t.Context(), path, name)
			require.NoError(t, err, "%s on %s", name, make)
			require.NoError(t, p.Validate())
			require.NoError(t, closer.Close())
			steps[name] = len(p.AllSteps())
		}
		assert.Greater(t, steps["rehearsal"], steps["transfer"], "the rehearsal on %s also moves back", make)
	}
}

func TestWhatIsNotFilledInIsRefusedByName(t *testing.T) {
	_, _, err := build(t.Context(), "site.example.yaml", "transfer")
	require.Error(t, err, "the example file itself is not usable")
	for _, tt := range []struct{ from, to, want string }{
		{"  windows: {}", "", "neither windows nor pacemaker"},
		{"  windows: {}", "  windows: {}\n" + pacemaker, "both windows and pacemaker"},
		{"group: \"EFT\"", "group: \"\"", "TransferOptions.Group"},
		{"\ntarget: NODE2", "", "TransferOptions.Target"},
		{"\ntarget: NODE2", "\ntarget: NODE1", "TransferOptions.From"},
		{"name: NODE2", "name: NODE1", "NODE1 appears twice"},
		{"node2.example:22", "node1.example:22", "same address"},
		{"hold: 5s", "hold: 5m", "TransferOptions.Hold"},
	} {
		_, _, err := build(t.Context(), replaced(t, tt.from, tt.to), "transfer")
		require.ErrorIs(t, err, failover.ErrInvalid, tt.want)
		assert.Contains(t, err.Error(), tt.want)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"\ntarget: NODE2", "\ntargett: NODE2", "targett"},
		{"  windows: {}", "  windows: {sudo: true}", "sudo"},
		{"  timeout: 10m", "  timeout: 10", "length of time"},
	} {
		_, _, err := build(t.Context(), replaced(t, tt.from, tt.to), "transfer")
		require.Error(t, err, tt.to)
		assert.Contains(t, err.Error(), tt.want)
	}
}
