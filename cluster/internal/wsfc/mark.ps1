# Reads a text stored in the cluster's private properties and, when told to, replaces it if it is the one expected.
# Two runs on one node exclude each other by a named mutex. Two runs on two nodes do not: each reads back after a
# pause, so the one that wrote first sees the other's text. This is no true compare-and-set.
# Parameter document: {"key": "...", "swap": true or false, "old": "...", "text": "..."}; an empty text is none.
param([string]$Document)
$p = $Document | ConvertFrom-Json
Import-Module FailoverClusters
function Read-Mark {
  $found = @(Get-Cluster | Get-ClusterParameter | Where-Object { [string]::Equals($_.Name, $p.key, 'OrdinalIgnoreCase') })
  if ($found.Count -eq 0) { return '' }
  # A mark that cannot be read is somebody's: it must not look like none.
  if ($found.Count -gt 1 -or $null -eq $found[0].Value) { throw 'the mark is there and cannot be read' }
  [string]$found[0].Value
}
if (-not $p.swap) {
  [pscustomobject]@{ text = Read-Mark; swapped = $false }
  return
}
$mutex = New-Object Threading.Mutex($false, 'Global\failover-mark')
$held = $false
try {
  try { $held = $mutex.WaitOne(10000) } catch [Threading.AbandonedMutexException] { $held = $true }
  if (-not $held) { throw (New-Object ComponentModel.Win32Exception 170) }
  $now = Read-Mark
  $swapped = [string]::Equals($now, [string]$p.old, 'Ordinal')
  if ($swapped) {
    $global:Touched = $true
    if ($p.text) {
      $null = Get-Cluster | Set-ClusterParameter -Name $p.key -Value ([string]$p.text) -Create
    } else {
      $null = Get-Cluster | Set-ClusterParameter -Name $p.key -Delete
    }
    $global:Changed = $true
    Start-Sleep -Seconds 2
    $now = Read-Mark
    $swapped = [string]::Equals($now, [string]$p.text, 'Ordinal')
  }
  [pscustomobject]@{ text = $now; swapped = $swapped }
} finally {
  if ($held) { $mutex.ReleaseMutex() }
  $mutex.Dispose()
}
