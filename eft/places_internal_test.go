package eft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

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
