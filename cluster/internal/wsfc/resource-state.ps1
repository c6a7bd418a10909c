# Asks the cluster to bring one resource online, with what it depends on, or to take it offline, and does not wait.
# Parameter document: {"resource": "...", "want": "online" or "offline"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
if ($p.want -ne 'online' -and $p.want -ne 'offline') { throw (New-Object ComponentModel.Win32Exception 87) }
$found = @(Get-ClusterResource | Where-Object { [string]::Equals($_.Name, $p.resource, 'OrdinalIgnoreCase') })
if ($found.Count -eq 0) { throw (New-Object ComponentModel.Win32Exception 5007) }
if ($found.Count -gt 1) { throw 'more than one resource has this name' }
$global:Touched = $true
if ($p.want -eq 'online') { $null = $found[0] | Start-ClusterResource -Wait 0 } else { $null = $found[0] | Stop-ClusterResource -Wait 0 }
[pscustomobject]@{ asked = $true }
