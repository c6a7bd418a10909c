package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/runbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTheExampleFileMovesAGroup fills the file in for a simulated Windows cluster behind SSH and goes through the
// verbs.
func TestTheExampleFileMovesAGroup(t *testing.T) {
	sim := clustertest.Start(t, clustertest.TwoNodes("NODE1", "NODE2", "EFT", "EFT Server"))
	nodes, err := sim.ServeWindows()
	require.NoError(t, err)
	t.Cleanup(nodes.Close)
	dir := t.TempDir()
	config := filled(t, func(text string) string {
		for i, a := range nodes.Addresses() {
			password, err := a.SSH.Password(t.Context())
			require.NoError(t, err)
			secret := filepath.Join(dir, a.Node)
			require.NoError(t, os.WriteFile(secret, []byte(password.Reveal()+"\n"), 0o600))
			for from, to := range map[string]string{
				fmt.Sprintf("node%d.example:22", i+1):           a.SSH.Address,
				"user: admin":                                   "user: '" + a.SSH.User + "'",
				"SHA256:" + strings.Repeat(string("AB"[i]), 43): a.SSH.HostKeys[0],
				"key: {file: /etc/failover/cluster.key}":        "password: {file: '" + secret + "'}",
			} {
				require.Contains(t, text, from)
				text = strings.Replace(text, from, to, 1)
			}
		}
		for from, to := range map[string]string{"hold: 5s": "hold: 1ms", "timeout: 10m": "timeout: 1m",
			"poll: 2s": "poll: 5ms", "grace: 10s": "grace: 50ms",
			"settle: 30s": "settle: 300ms"} {
			require.Contains(t, text, from)
			text = strings.Replace(text, from, to, 1)
		}
		return text
	})
	call := func(verb ...string) int {
		return program().Main(append([]string{"-config", config, "-journal", filepath.Join(dir, "journal"), "-actor", "ann",
			"-reason", "CHG1"}, verb...))
	}
	require.Zero(t, call("check"))
	require.Zero(t, call("plan"))
	m, err := sim.Model()
	require.NoError(t, err)
	require.Empty(t, m.Requests, "a plan asks for nothing")

	p, closer, err := build(t.Context(), config, "rehearsal")
	require.NoError(t, err)
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, closer.Close())
	require.Equal(t, int(runbook.ExitWaiting), call("-procedure", "rehearsal", "run"), "nobody consents")
	m, err = sim.Model()
	require.NoError(t, err)
	require.Empty(t, m.Requests, "without consent nothing is asked for")
	require.Zero(t, call("-procedure", "rehearsal", "-approve", string(plan.Findings), "run"))
	m, err = sim.Model()
	require.NoError(t, err)
	require.Equal(t, "NODE1", m.Group("EFT").Owner, "there and back")
	require.Equal(t, cluster.StateOnline, m.GroupState("EFT"))
	require.Equal(t, map[string]int{"EFT to NODE1": 1, "EFT to NODE2": 1}, m.Counters.MovesByTarget)
	require.Empty(t, m.Marks)
	require.Empty(t, nodes.Refused())
	require.Zero(t, call("-procedure", "rehearsal", "status"))

	require.NoError(t, os.Chmod(filepath.Join(dir, nodes.Addresses()[0].Node), 0o644))
	logins := len(nodes.Refused())
	require.Equal(t, int(runbook.ExitNotDone), call("check"),
		"a secret that others can read is found before anything is dialled")
	require.Len(t, nodes.Refused(), logins)
}
