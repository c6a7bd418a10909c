# Asks the cluster to move a group to a node and does not wait for it. A group that is there already is left alone.
# Parameter document: {"group": "...", "node": "..."}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$found = @(Get-ClusterGroup | Where-Object { [string]::Equals($_.Name, $p.group, 'OrdinalIgnoreCase') })
if ($found.Count -eq 0) { throw (New-Object ComponentModel.Win32Exception 5013) }
if ($found.Count -gt 1) { throw 'more than one group has this name' }
$nodes = @(Get-ClusterNode | Where-Object { [string]::Equals($_.Name, $p.node, 'OrdinalIgnoreCase') })
if ($nodes.Count -eq 0) { throw (New-Object ComponentModel.Win32Exception 5042) }
if ($nodes.Count -gt 1) { throw 'more than one node has this name' }
$owner = [string]$found[0].OwnerNode.Name
if (-not $owner) { throw 'the owner of the group cannot be read' }
$started = -not [string]::Equals($owner, $nodes[0].Name, 'OrdinalIgnoreCase')
if ($started) {
  $global:Touched = $true
  $null = $found[0] | Move-ClusterGroup -Node $nodes[0].Name -Wait 0
}
[pscustomobject]@{ started = $started }
