# Sets whether a group may go home by itself: AutoFailbackType 0 prevents it, 1 allows it.
# Parameter document: {"group": "...", "type": 0 or 1}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
if ($p.type -ne 0 -and $p.type -ne 1) { throw (New-Object ComponentModel.Win32Exception 87) }
$found = @(Get-ClusterGroup | Where-Object { [string]::Equals($_.Name, $p.group, 'OrdinalIgnoreCase') })
if ($found.Count -eq 0) { throw (New-Object ComponentModel.Win32Exception 5013) }
if ($found.Count -gt 1) { throw 'more than one group has this name' }
$global:Touched = $true
$found[0].AutoFailbackType = [int]$p.type
[pscustomobject]@{ asked = $true }
