# Asks the cluster to bring a group online or take it offline and does not wait for it.
# Parameter document: {"group": "...", "want": "online" or "offline"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$group = Get-ClusterGroup | Where-Object { $_.Name -eq $p.group }
if (-not $group) { throw (New-Object ComponentModel.Win32Exception 5013) }
$global:Touched = $true
if ($p.want -eq 'online') { $null = $group | Start-ClusterGroup -Wait 0 } else { $null = $group | Stop-ClusterGroup -Wait 0 }
[pscustomobject]@{ asked = $true }
