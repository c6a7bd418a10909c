# Changes which Windows service a Generic Service resource runs. The resource must be offline or failed.
# Parameter document: {"resource": "...", "service": "..."}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$found = @(Get-ClusterResource | Where-Object { [string]::Equals($_.Name, $p.resource, 'OrdinalIgnoreCase') })
if ($found.Count -eq 0) { throw (New-Object ComponentModel.Win32Exception 5007) }
if ($found.Count -gt 1) { throw 'more than one resource has this name' }
if ($found[0].ResourceType.Name -ne 'Generic Service') { throw (New-Object ComponentModel.Win32Exception 50) }
if ($null -eq $found[0].State) { throw 'the state of the resource cannot be read' }
# 3 is offline, 4 is failed; while it is pending the service is still or already in use.
if (3, 4 -notcontains [int]$found[0].State) { throw (New-Object ComponentModel.Win32Exception 5019) }
$global:Touched = $true
$null = $found[0] | Set-ClusterParameter -Name ServiceName -Value ([string]$p.service)
[pscustomobject]@{ asked = $true }
