# Reads the cluster as the local node sees it. Changes nothing. What was not said is null, never a number or an empty list.
# Parameter document: {"group": "name of one group, or empty for all"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
function Get-Number($value) {
  if ($null -eq $value) { $null } elseif ($value -is [Enum]) { $value.ToString('D') } else { [string]$value }
}
function Get-Names($owners) { if ($null -eq $owners) { $null } else { , @($owners | ForEach-Object { [string]$_.Name }) } }
# A switch that cannot be read is not off. One that this version of the module does not have is no switch of its objects.
function Get-Unread($object, $names) {
  foreach ($name in $names) { if ($object.PSObject.Properties[$name] -and $null -eq $object.$name) { $name + ' cannot be read' } }
}
# A resource that does not tell its group may be of the one that is asked for.
function Test-Wanted($name) { -not $p.group -or -not $name -or [string]::Equals($name, $p.group, 'OrdinalIgnoreCase') }
$cluster = Get-Cluster
$nodes = @(Get-ClusterNode | ForEach-Object {
  [pscustomobject]@{ name = [string]$_.Name; state = [string]$_.State; code = Get-Number $_.State; drain = [string]$_.DrainStatus
    drainCode = Get-Number $_.DrainStatus; info = Get-Number $_.StatusInformation; build = [string]$_.BuildNumber } })
$groups = @(Get-ClusterGroup | Where-Object { Test-Wanted $_.Name } | ForEach-Object {
  [pscustomobject]@{ name = [string]$_.Name; state = [string]$_.State; code = Get-Number $_.State; owner = [string]$_.OwnerNode.Name
    type = [string]$_.GroupType; core = [bool]$_.IsCoreGroup; locked = [bool]$_.LockedFromMoving; info = Get-Number $_.StatusInformation
    failback = Get-Number $_.AutoFailbackType; failed = @(Get-Unread $_ 'IsCoreGroup', 'LockedFromMoving') -join ', ' } })
$resources = @(Get-ClusterResource | Where-Object { Test-Wanted $_.OwnerGroup.Name } | ForEach-Object {
  $resource = $_
  # An object that is being deleted must not end the reading of all others: what failed is told with it.
  $failed = @(Get-Unread $resource 'IsCoreResource', 'MaintenanceMode', 'OwnerGroup', 'ResourceType') -join ', '
  $possible = $null
  $service = ''
  $depends = ''
  try {
    $possible = Get-Names ($resource | Get-ClusterOwnerNode).OwnerNodes
    $depends = [string]($resource | Get-ClusterResourceDependency).DependencyExpression
    if ($resource.ResourceType.Name -eq 'Generic Service') {
      $service = ($resource | Get-ClusterParameter -Name ServiceName).Value
      if (-not $service) { throw 'ServiceName cannot be read' }
    }
  } catch { $failed = [string]$_ }
  [pscustomobject]@{ name = [string]$resource.Name; group = [string]$resource.OwnerGroup.Name; type = [string]$resource.ResourceType.Name
    state = [string]$resource.State; code = Get-Number $resource.State; owner = [string]$resource.OwnerNode.Name; core = [bool]$resource.IsCoreResource
    maintenance = [bool]$resource.MaintenanceMode; pendingMs = Get-Number $resource.PendingTimeout
    depends = $depends; service = [string]$service; possible = $possible; failed = $failed } })
# Marks of moves that were asked for. Where they cannot be read there may be one, so this may not fail alone.
$marks = @($cluster | Get-ClusterParameter | Where-Object { ([string]$_.Name).StartsWith('failover-move-', 'OrdinalIgnoreCase') } | ForEach-Object {
  [pscustomobject]@{ key = [string]$_.Name; text = [string]$_.Value } })
[pscustomobject]@{ cluster = [string]$cluster.Name; local = [string]$env:COMPUTERNAME; backup = Get-Number $cluster.BackupInProgress
  nodes = $nodes; groups = $groups; resources = $resources; marks = $marks }
