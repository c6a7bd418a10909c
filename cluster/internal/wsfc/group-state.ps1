# Asks the cluster to bring a group online or take it offline and does not wait for it.
# Parameter document: {"group": "...", "want": "online" or "offline"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
if ($p.want -ne 'online' -and $p.want -ne 'offline') { throw (New-Object ComponentModel.Win32Exception 87) }
$found = @(Get-ClusterGroup | Where-Object { [string]::Equals($_.Name, $p.group, 'OrdinalIgnoreCase') })
if ($found.Count -eq 0) { throw (New-Object ComponentModel.Win32Exception 5013) }
if ($found.Count -gt 1) { throw 'more than one group has this name' }
$global:Touched = $true
if ($p.want -eq 'online') { $null = $found[0] | Start-ClusterGroup -Wait 0 } else { $null = $found[0] | Stop-ClusterGroup -Wait 0 }
[pscustomobject]@{ asked = $true }
