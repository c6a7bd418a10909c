# Changes which Windows service a Generic Service resource runs. The resource must not be online.
# Parameter document: {"resource": "...", "service": "..."}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$resource = Get-ClusterResource | Where-Object { $_.Name -eq $p.resource }
if (-not $resource) { throw (New-Object ComponentModel.Win32Exception 5007) }
if ($resource.ResourceType.Name -ne 'Generic Service') { throw (New-Object ComponentModel.Win32Exception 50) }
if ([int]$resource.State -eq 2) { throw (New-Object ComponentModel.Win32Exception 5019) }
$global:Touched = $true
$resource | Set-ClusterParameter -Name ServiceName -Value ([string]$p.service)
[pscustomobject]@{ asked = $true }
