# Runs the installer once, as a scheduled task. Arguments: the JSON file that start.ps1 wrote, and the claim to take.
# The claim is created exclusively: the first one runs the installer, everybody else ends here.
param([string]$Spec, [string]$Claim)
$ErrorActionPreference = 'Stop'
$d = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($Spec))
$base = Join-Path $d.runs $d.id
$began = [DateTime]::UtcNow
# The claim is complete or not there: it is written beside and moved, and a move to a name that is taken fails.
$mine = $base + '.' + [string]$PID
[IO.File]::WriteAllText($mine, [string]$PID + ' ' + (Get-Process -Id $PID).StartTime.ToUniversalTime().Ticks + ' ' + $began.ToString('o'))
try { [IO.File]::Move($mine, $Claim) } catch { [IO.File]::Delete($mine); exit 0 }
$code = $null
$log = ''
# What cannot be read or stopped for a moment, as may happen while programs are exchanged, must not end the run: the
# installer would go on with nobody looking.
function Stop-Strays {
  try { $services = @(Get-CimInstance -ClassName Win32_Service) } catch { return }
  foreach ($s in $services) {
    if ($s.PathName -and $s.State -ne 'Stopped' -and $s.PathName.ToLowerInvariant().Contains('\' + ([string]$d.executable).ToLowerInvariant())) {
      $name = $s.Name
      try { Stop-Service -InputObject (Get-Service | Where-Object { $_.Name -eq $name }) -Force } catch { $null = $_ }
    }
  }
}
# A launcher may end before what it started does: the installer has ended when all of its descendants have. A program
# that people keep open is not waited for. A number is used again, so a process is its number and its start, and its
# parent is who had the parent's number last before that. Where nobody had and it has come since the look before, the
# clock was set back, and the parent is who has the number. A parent that no look has seen came and went between two: its child
# may be of the installation, unless it is in the session of a person (the runner's is 0) or Windows' own (4).
# $waits names what is waited for. Returns whether it could look.
$starts = @{}
$family = @{}
$waits = @()
$looked = $false
function Update-Family {
  try { $all = @(Get-CimInstance -ClassName Win32_Process | Where-Object { $_.CreationDate } | Sort-Object -Property CreationDate) } catch { return $false }
  $script:waits = @()
  foreach ($c in $all) {
    $id = [string]$c.ProcessId
    $at = $c.CreationDate.ToUniversalTime().Ticks
    $parent = [string]$c.ParentProcessId
    if (@($starts[$id]) -notcontains $at) {
      $had = @($starts[$parent] | Where-Object { $_ -and $_ -le $at })
      if (-not $had -and $looked) { $had = @($starts[$parent]) }
      # While the installer's own number is held open, nobody else gets it.
      $lost = $looked -and -not $starts[$parent] -and -not $c.SessionId -and $parent -ne '4'
      $family[$id + ' ' + $at] = ($p -and $id -eq $p.Id) -or $lost -or ($had -and $family[$parent + ' ' + $had[-1]])
      $starts[$id] = @($starts[$id] | Where-Object { $_ }) + $at
    }
    if ($family[$id + ' ' + $at] -and $id -ne $p.Id -and @($d.consoles) -notcontains $c.Name) { $script:waits += $c.Name + ' (' + $id + ')' }
  }
  $script:looked = $true
  $true
}
# Written beside and moved, so that nobody reads half of it.
function Write-Beside($name, $text) {
  [IO.File]::WriteAllText($base + '.part', $text)
  if ([IO.File]::Exists($base + $name)) { [IO.File]::Replace($base + '.part', $base + $name, [NullString]::Value) } else { [IO.File]::Move($base + '.part', $base + $name) }
}
try {
  # Open for reading and not for writing until the program has been started: it cannot be exchanged after the look.
  $held = New-Object IO.FileStream $d.path, 'Open', 'Read', 'Read'
  if ((Get-FileHash -LiteralPath $d.path -Algorithm SHA256).Hash -ne $d.sha256) { throw 'the installer was exchanged' }
  if ($d.env) { foreach ($v in $d.env.PSObject.Properties) { [Environment]::SetEnvironmentVariable($v.Name, [string]$v.Value) } }
  $start = New-Object Diagnostics.ProcessStartInfo
  $start.FileName = $d.path
  # Quoted as CommandLineToArgvW reads it: backslashes count only before a quote.
  $quoted = @()
  foreach ($a in @($d.args | Where-Object { $null -ne $_ })) {
    if ($a -match '^[^\s"]+$') { $quoted += $a; continue }
    $a = $a -replace '(\\*)"', '$1$1\"'
    $quoted += '"' + ($a -replace '(\\+)$', '$1$1') + '"'
  }
  $start.Arguments = $quoted -join ' '
  $start.UseShellExecute = $false
  $start.CreateNoWindow = $true
  $start.WorkingDirectory = [IO.Path]::GetDirectoryName($d.path)
  [void](Update-Family)
  $p = [Diagnostics.Process]::Start($start)
  $held.Close()
  # One that ends at once is seen by no look.
  $first = $began.Ticks
  if ($p.StartTime) { $first = $p.StartTime.ToUniversalTime().Ticks }
  $starts[[string]$p.Id] = @($first)
  $family[[string]$p.Id + ' ' + $first] = $true
  # Meanwhile the service is stopped as often as the installer starts it.
  while (-not $p.WaitForExit(500)) {
    [void](Update-Family)
    Stop-Strays
  }
  $code = $p.ExitCode
  $looks = 0
  $unread = 0
  while ($unread -lt 120) {
    if (Update-Family) { $unread = 0 } else { $unread++ }
    if (-not $unread -and -not $waits) { break }
    # From the second minute on it says what it waits for, so that a person can end what is not of the installation.
    if (++$looks % 120 -eq 0) {
      try { Write-Beside '.waits' ('the installer has ended with ' + $code + ', and what it started, or may have, still runs: ' + ($waits -join ', ')) } catch { $null = $_ }
    }
    Stop-Strays
    Start-Sleep -Milliseconds 500
  }
  # Then the run is not told as ended, which its exit code would say.
  if ($unread) { $log = 'the installer has ended with ' + $code + '; whether what it started has could not be read'; $code = $null }
} catch { $log = [string]$_.Exception.Message }
Stop-Strays
# The result comes first: whatever goes wrong with the logs, it is there. It is written anew when they have been read.
function Write-Result {
  Write-Beside '.exit' (ConvertTo-Json -Compress -InputObject ([pscustomobject]@{ exit = $code; ended = $ended; log = $log }))
}
$ended = [DateTime]::UtcNow.ToString('o')
Write-Result
$kept = 0
foreach ($pattern in @($d.logs)) {
  if (-not $pattern) { continue }
  # A pattern may be on a drive that is not here, as the shared disk on the passive node.
  try {
    foreach ($f in @(Get-ChildItem -Path $pattern | Where-Object { -not $_.PSIsContainer -and $_.LastWriteTimeUtc -ge $began })) {
      try {
        $tail = [string]::Join([Environment]::NewLine, @(Get-Content -LiteralPath $f.FullName -Tail 20))
        if ($tail.Length -gt 4000) { $tail = $tail.Substring($tail.Length - 4000) }
        $log += [Environment]::NewLine + $f.Name + ':' + [Environment]::NewLine + $tail
        $kept++
        Copy-Item -LiteralPath $f.FullName -Destination ($base + '-' + $kept + '-' + $f.Name) -Force
      } catch { $log += [Environment]::NewLine + $f.Name + ' cannot be read' }
    }
  } catch { $log += [Environment]::NewLine + $pattern + ' cannot be read' }
}
try { Write-Result } catch { $null = $_ }
Unregister-ScheduledTask -TaskName ('failover-eft-' + $d.id) -Confirm:$false
