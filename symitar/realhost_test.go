//go:build linux

package symitar_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/symhost"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// realMachines is a simulated pair behind two real OpenSSH servers.
func realMachines(t *testing.T, login string, lines ...string) (*bench, map[string]*symhost.Machine) {
	t.Helper()
	return preparedMachines(t, login, func(string) []string { return lines })
}

// preparedMachines has prepare lay out what a host's folder needs besides, and return its lines of sshd_config.
func preparedMachines(t *testing.T, login string, prepare func(dir string) []string) (*bench,
	map[string]*symhost.Machine) {
	t.Helper()
	b := newBench(t, "")
	b.cfg = b.sim.ConfigBelow(symhost.Below)
	b.cfg.Dial = nil
	list := map[string]*symhost.Machine{}
	for _, name := range []string{symitartest.Home, symitartest.Partner} {
		list[name] = symhost.Start(t, b.sim.HostDir(name), login, prepare(b.sim.HostDir(name))...)
	}
	for _, h := range []*symitar.HostConfig{&b.cfg.Home, &b.cfg.Partner} {
		h.SSH = list[h.Name].SSH()
		h.SSH.Address = list[h.Name].Proxy.Address()
	}
	return b, list
}

// fireOnce looks at the shells, fires, and wants the macro to have run once, with its arguments as they were given.
func (b *bench) fireOnce(t *testing.T) {
	t.Helper()
	b.cfg.Macro.SwitchoverArgs = []string{"it's", `"$HOME"`, "a  b", "`id`", "x!y", "*", `back\slash`}
	pair, err := symitar.NewPair(b.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, pair.Close()) }()
	plan, err := pair.Preflight(t.Context(), symitar.PurposeSwitchover)
	require.NoError(t, err)
	for _, s := range plan.Steps {
		require.Equal(t, failover.ActionNone, s.Action, "%s: %s %s", s.ID, s.Observation.Found, s.Error)
	}
	run := symitar.NewRunID()
	res, err := pair.Fire(t.Context(), run, symitar.PurposeSwitchover)
	require.NoError(t, err)
	require.Contains(t, res.LogTail, "FAILOVER started with arguments: "+strings.Join(b.cfg.Macro.SwitchoverArgs, " "))
	require.Equal(t, 1, b.sim.MacroRuns())
	require.False(t, b.sim.EverTwoPrimaries())
	require.Equal(t, []string{symitartest.Partner}, b.sim.Primaries())
}
