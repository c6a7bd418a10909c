package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/cluster/internal/wsfc"
	"github.com/01b61c5c/failover/internal/powershell/powershelltest"
)

// module stands in for FailoverClusters: one group with one resource, whose properties come from the test.
const module = `
function Import-Module { }
function Get-Cluster { [pscustomobject]@{ Name = 'CLU'; BackupInProgress = 0 } }
function Get-ClusterParameter($Name) { if ($Name) { [pscustomobject]@{ Name = $Name; Value = $global:Service } } elseif ($global:Marks) { throw 'denied' } }
function Get-ClusterOwnerNode { [pscustomobject]@{ OwnerNodes = @() } }
function Get-ClusterResourceDependency { [pscustomobject]@{ DependencyExpression = '' } }
function Get-ClusterNode { [pscustomobject]@{ Name = 'n1'; State = 0; DrainStatus = 0; StatusInformation = 0; BuildNumber = 20348 } }
function Get-ClusterGroup { $g = [ordered]@{ Name = 'g'; State = 0; OwnerNode = [pscustomobject]@{ Name = 'n1' }; GroupType = 108; IsCoreGroup = $false
  LockedFromMoving = 0; StatusInformation = 0; AutoFailbackType = 0 }; %s; [pscustomobject]$g }
function Get-ClusterResource { $r = [ordered]@{ Name = 'r'; OwnerGroup = [pscustomobject]@{ Name = 'g' }; ResourceType = [pscustomobject]@{ Name = 'Generic Application' }
  State = 2; OwnerNode = [pscustomobject]@{ Name = 'n1' }; IsCoreResource = $false; MaintenanceMode = $false; PendingTimeout = 1 }; %s; [pscustomobject]$r }
ConvertTo-Json -Compress -Depth 6 -InputObject (& { %s } '{"group":""}')
`

// A getter that throws gives null in PowerShell (seen). Null is not "no maintenance" and not "no group of the cluster's own".
func TestASwitchThatCannotBeReadIsNotOff(t *testing.T) {
	pwsh := powershelltest.Need(t)
	for name, c := range map[string]struct {
		group, resource string
		want            State
		says            string
	}{
		"all is read":             {"", "", StateOnline, ""},
		"maintenance":             {"", "$r.MaintenanceMode = $null", StateUnknown, "MaintenanceMode cannot be read"},
		"core resource":           {"", "$r.IsCoreResource = $null", StateUnknown, "IsCoreResource cannot be read"},
		"core group":              {"$g.IsCoreGroup = $null", "", StateUnknown, "IsCoreGroup cannot be read"},
		"locked":                  {"$g.LockedFromMoving = $null", "", StateUnknown, "LockedFromMoving cannot be read"},
		"no such property before": {"$g.Remove('LockedFromMoving')", "", StateOnline, ""},
		"marks of moves":          {"$global:Marks = $true", "", StateUnknown, ""},
		"its group":               {"", "$r.OwnerGroup = $null", StateUnknown, "OwnerGroup cannot be read"},
		"its type":                {"", "$r.ResourceType = $null", StateUnknown, "ResourceType cannot be read"},
		"its service":             {"", "$r.ResourceType = [pscustomobject]@{ Name = 'Generic Service' }", StateUnknown, "ServiceName cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "call.ps1")
			text := fmt.Sprintf(module, c.group, c.resource, wsfc.Script(wsfc.Snapshot).Text)
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			out, err := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-File", file).CombinedOutput()
			if name == "marks of moves" { // "no request of ours stands" would be untrue
				require.Error(t, err, "%s", out)
				return
			}
			require.NoError(t, err, "%s", out)
			var s wsfc.State
			require.NoError(t, json.Unmarshal(out, &s), "%s", out)
			g, ok := windowsSnapshot(s, "n1").Group("g")
			require.True(t, ok)
			require.Equal(t, c.want, g.State, g.Raw)
			require.Contains(t, g.Raw, c.says)
		})
	}
}
