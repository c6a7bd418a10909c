# Sets whether a group may go home by itself: AutoFailbackType 0 prevents it, 1 allows it.
# Parameter document: {"group": "...", "type": 0 or 1}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$group = Get-ClusterGroup | Where-Object { $_.Name -eq $p.group }
if (-not $group) { throw (New-Object ComponentModel.Win32Exception 5013) }
$global:Touched = $true
$group.AutoFailbackType = [int]$p.type
[pscustomobject]@{ asked = $true }
