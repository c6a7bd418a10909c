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
# that people keep open is not waited for. Returns how many descendants run, -1 when that cannot be read.
$family = @{}
function Update-Family {
  try { $all = @(Get-CimInstance -ClassName Win32_Process) } catch { return -1 }
  do {
    $grown = $false
    foreach ($c in $all) {
      $id = [int]$c.ProcessId
      if ($family.ContainsKey([int]$c.ParentProcessId) -and -not $family.ContainsKey($id) -and $c.CreationDate -and $c.CreationDate.ToUniversalTime() -ge $began) {
        $family[$id] = $c.CreationDate
        $grown = $true
      }
    }
  } while ($grown)
  # A number is used again; the start time tells which process it is.
  @($all | Where-Object { $family[[int]$_.ProcessId] -and $family[[int]$_.ProcessId] -eq $_.CreationDate -and @($d.consoles) -notcontains $_.Name }).Count
}
try {
  # Open for reading and not for writing until the program has been started: it cannot be exchanged after the look.
  $held = New-Object IO.FileStream $d.path, 'Open', 'Read', 'Read'
  if ((Get-FileHash -LiteralPath $d.path -Algorithm SHA256).Hash -ne $d.sha256) { throw 'the installer was exchanged' }
  if ($d.env) { foreach ($p in $d.env.PSObject.Properties) { [Environment]::SetEnvironmentVariable($p.Name, [string]$p.Value) } }
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
  $p = [Diagnostics.Process]::Start($start)
  $held.Close()
  $family[$p.Id] = $null
  # Meanwhile the service is stopped as often as the installer starts it.
  while (-not $p.WaitForExit(500)) {
    [void](Update-Family)
    Stop-Strays
  }
  $code = $p.ExitCode
  $unread = 0
  while ($unread -lt 120) {
    $left = Update-Family
    if ($left -eq 0) { break }
    if ($left -lt 0) { $unread++ } else { $unread = 0 }
    Stop-Strays
    Start-Sleep -Milliseconds 500
  }
} catch { $log = [string]$_.Exception.Message }
Stop-Strays
# The result comes first: whatever goes wrong with the logs, it is there. It is written beside and moved, so that nobody
# reads half of it. Both are written anew when the logs have been read.
function Write-Result {
  $result = ConvertTo-Json -Compress -InputObject ([pscustomobject]@{ exit = $code; ended = $ended; log = $log })
  [IO.File]::WriteAllText($base + '.part', $result)
  if ([IO.File]::Exists($base + '.exit')) { [IO.File]::Replace($base + '.part', $base + '.exit', [NullString]::Value) } else { [IO.File]::Move($base + '.part', $base + '.exit') }
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
