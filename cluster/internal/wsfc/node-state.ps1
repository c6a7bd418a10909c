# Pauses a node and moves its groups away, or resumes it without bringing groups back. Does not wait.
# Parameter document: {"node": "...", "want": "drain" or "resume"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
if ('drain', 'resume' -notcontains $p.want) { throw (New-Object ComponentModel.Win32Exception 87) }
$nodes = @(Get-ClusterNode | Where-Object { [string]::Equals($_.Name, $p.node, 'OrdinalIgnoreCase') })
if ($nodes.Count -eq 0) { throw (New-Object ComponentModel.Win32Exception 5042) }
if ($nodes.Count -gt 1) { throw 'more than one node has this name' }
$global:Touched = $true
switch ($p.want) {
  'drain' { $null = $nodes[0] | Suspend-ClusterNode -Drain }
  'resume' { $null = $nodes[0] | Resume-ClusterNode -Failback NoFailback }
}
[pscustomobject]@{ asked = $true }
