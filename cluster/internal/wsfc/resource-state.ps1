# Asks the cluster to bring one resource online, with what it depends on, or to take it offline, and does not wait.
# Parameter document: {"resource": "...", "want": "online" or "offline"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$resource = Get-ClusterResource | Where-Object { $_.Name -eq $p.resource }
if (-not $resource) { throw (New-Object ComponentModel.Win32Exception 5007) }
$global:Touched = $true
if ($p.want -eq 'online') { $null = $resource | Start-ClusterResource -Wait 0 } else { $null = $resource | Stop-ClusterResource -Wait 0 }
[pscustomobject]@{ asked = $true }
