# Asks the cluster to move a group to a node and does not wait for it. A group that is there already is left alone.
# Parameter document: {"group": "...", "node": "..."}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$group = Get-ClusterGroup | Where-Object { $_.Name -eq $p.group }
if (-not $group) { throw (New-Object ComponentModel.Win32Exception 5013) }
$node = Get-ClusterNode | Where-Object { $_.Name -eq $p.node }
if (-not $node) { throw (New-Object ComponentModel.Win32Exception 5042) }
$started = [string]$group.OwnerNode.Name -ne [string]$node.Name
if ($started) {
  $global:Touched = $true
  $null = $group | Move-ClusterGroup -Node $node.Name -Wait 0
}
[pscustomobject]@{ started = $started }
