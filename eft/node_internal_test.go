package eft

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// silentNode answers what it is asked about a run with nothing.
type silentNode struct {
	Node
	state RunState
}

func (n silentNode) InstallerRun(context.Context, string) (InstallerRun, error) {
	return InstallerRun{State: n.state}, nil
}

func (n silentNode) VoidInstaller(ctx context.Context, id string) (InstallerRun, error) {
	return n.InstallerRun(ctx, id)
}

// An answer that says nothing of a run is no proof that none was started: the installer would be started a second time.
func TestANodeThatSaysNothingOfARunProvesNothing(t *testing.T) {
	for state, want := range map[RunState]failover.Outcome{RunUnknown: failover.InDoubt,
		RunNotStarted: failover.NotApplied,
		RunRunning:    failover.Applied, RunEnded: failover.Applied, RunLost: failover.Applied} {
		got, err := upgrade{}.probeRun(t.Context(), silentNode{state: state}, "run")
		require.NoError(t, err)
		require.Equal(t, want, got, "state %d", state)
	}
}

func TestANodeHasAVersionByEverySign(t *testing.T) {
	v, old := Version{8, 1, 0, 16}, Version{8, 1, 0, 3}
	entry := func(versions ...Version) (list []InstalledProduct) {
		for _, v := range versions {
			list = append(list, InstalledProduct{Name: "EFT Server", Version: v})
		}
		return list
	}
	service := []Service{{Name: "EFT Server"}}
	for name, tt := range map[string]struct {
		f    Facts
		want bool
	}{
		"all":                            {Facts{Program: v, Products: entry(v), Services: service}, true},
		"an entry of three parts":        {Facts{Program: v, Products: entry(Version{8, 1, 0}), Services: service}, true},
		"the old program, the new entry": {Facts{Program: old, Products: entry(v), Services: service}, false},
		"the old program of three parts": {Facts{Program: Version{8, 1, 0}, Products: entry(Version{8, 1, 0}),
			Services: service}, false},
		"the new program, the old entry": {Facts{Program: v, Products: entry(old), Services: service}, false},
		"an entry that was left behind":  {Facts{Program: v, Products: entry(v, old), Services: service}, false},
		"no entry":                       {Facts{Program: v, Services: service}, false},
		"no service":                     {Facts{Program: v, Products: entry(v)}, false},
		"two services": {Facts{Program: v, Products: entry(v), Services: append(service, service...)},
			false},
		"nothing": {Facts{}, false},
	} {
		require.Equal(t, tt.want, tt.f.has(v), name)
	}
}

// A person is asked to move something away only where it cannot be the configuration that is served.
func TestTheConfigurationItselfIsNoEmptyOne(t *testing.T) {
	const dir = `C:\ProgramData\Globalscape\EFT Server`
	for config, want := range map[string]string{`E:\Config`: dir, dir: "", `c:\programdata\globalscape\eft server\`: "",
		dir + `\Config`: "", `C:\ProgramData`: ""} {
		require.Equal(t, want, strange([]string{dir}, nil, config), config)
	}
	require.Empty(t, strange([]string{dir}, []string{dir}, `E:\Config`))
}
