# Reads the cluster as the local node sees it. Changes nothing.
# Parameter document: {"group": "name of one group, or empty for all"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
function Get-Number($value) { if ($null -eq $value) { $null } else { [string][int64]$value } }
$cluster = Get-Cluster
$nodes = @(Get-ClusterNode | ForEach-Object {
  [pscustomobject]@{ name = [string]$_.Name; state = [string]$_.State; code = Get-Number $_.State; drain = [string]$_.DrainStatus
    drainCode = Get-Number $_.DrainStatus; info = Get-Number $_.StatusInformation; build = [string]$_.BuildNumber } })
$groups = @(Get-ClusterGroup | Where-Object { -not $p.group -or $_.Name -eq $p.group } | ForEach-Object {
  $preferred = @(($_ | Get-ClusterOwnerNode).OwnerNodes | ForEach-Object { [string]$_.Name })
  [pscustomobject]@{ name = [string]$_.Name; state = [string]$_.State; code = Get-Number $_.State; owner = [string]$_.OwnerNode.Name
    type = [string]$_.GroupType; core = [bool]$_.IsCoreGroup; locked = [bool]$_.LockedFromMoving; info = Get-Number $_.StatusInformation
    failback = Get-Number $_.AutoFailbackType; preferred = $preferred } })
$resources = @(Get-ClusterResource | Where-Object { -not $p.group -or $_.OwnerGroup.Name -eq $p.group } | ForEach-Object {
  $possible = @(($_ | Get-ClusterOwnerNode).OwnerNodes | ForEach-Object { [string]$_.Name })
  $service = ''
  if ($_.ResourceType.Name -eq 'Generic Service') { $service = [string]($_ | Get-ClusterParameter -Name ServiceName).Value }
  [pscustomobject]@{ name = [string]$_.Name; group = [string]$_.OwnerGroup.Name; type = [string]$_.ResourceType.Name
    state = [string]$_.State; code = Get-Number $_.State; owner = [string]$_.OwnerNode.Name; core = [bool]$_.IsCoreResource
    maintenance = [bool]$_.MaintenanceMode; pendingMs = Get-Number $_.PendingTimeout; info = Get-Number $_.StatusInformation
    depends = [string]($_ | Get-ClusterResourceDependency).DependencyExpression; service = $service; possible = $possible } })
[pscustomobject]@{ cluster = [string]$cluster.Name; local = [string]$env:COMPUTERNAME; backup = Get-Number $cluster.BackupInProgress
  nodes = $nodes; groups = $groups; resources = $resources }
