# Pauses a node, moving its groups away when told to, or resumes it without bringing groups back. Does not wait.
# Parameter document: {"node": "...", "want": "drain", "pause" or "resume"}
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
$node = Get-ClusterNode | Where-Object { $_.Name -eq $p.node }
if (-not $node) { throw (New-Object ComponentModel.Win32Exception 5042) }
$global:Touched = $true
switch ($p.want) {
  'drain' { $null = $node | Suspend-ClusterNode -Drain }
  'pause' { $null = $node | Suspend-ClusterNode }
  'resume' { $null = $node | Resume-ClusterNode -Failback NoFailback }
  default { throw (New-Object ComponentModel.Win32Exception 87) }
}
[pscustomobject]@{ asked = $true }
