# Runs the installer once, as a scheduled task. Argument: the JSON file that start.ps1 wrote.
# The claim is created exclusively: the first one runs the installer, everybody else ends here.
param([string]$Spec)
$ErrorActionPreference = 'Stop'
$d = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($Spec))
$base = Join-Path $d.runs $d.id
try { $claim = New-Object IO.FileStream ($base + '.claim'), 'CreateNew', 'Write', 'Read' } catch { exit 0 }
$began = [DateTime]::UtcNow
$text = [Text.Encoding]::ASCII.GetBytes([string]$PID + ' ' + (Get-Process -Id $PID).StartTime.ToUniversalTime().Ticks + ' ' + $began.ToString('o'))
$claim.Write($text, 0, $text.Length)
$claim.Close()
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
  if ((Get-FileHash -LiteralPath $d.path -Algorithm SHA256).Hash -ne $d.sha256) { throw 'the installer was exchanged' }
  if ($d.env) { foreach ($p in $d.env.PSObject.Properties) { [Environment]::SetEnvironmentVariable($p.Name, [string]$p.Value) } }
  $start = New-Object Diagnostics.ProcessStartInfo
  $start.FileName = $d.path
  # Quoted as CommandLineToArgvW reads it: backslashes count only before a quote.
  $quoted = @()
  foreach ($a in @($d.args)) {
    if ($a -match '^[^\s"]+$') { $quoted += $a; continue }
    $a = $a -replace '(\\*)"', '$1$1\"'
    $quoted += '"' + ($a -replace '(\\+)$', '$1$1') + '"'
  }
  $start.Arguments = $quoted -join ' '
  $start.UseShellExecute = $false
  $start.CreateNoWindow = $true
  $start.WorkingDirectory = [IO.Path]::GetDirectoryName($d.path)
  $p = [Diagnostics.Process]::Start($start)
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
foreach ($pattern in @($d.logs)) {
  if (-not $pattern) { continue }
  foreach ($f in @(Get-ChildItem -Path $pattern -File -ErrorAction SilentlyContinue)) {
    if ($f.LastWriteTimeUtc -lt $began) { continue }
    try {
      $log += [string]::Join([Environment]::NewLine, @(Get-Content -LiteralPath $f.FullName -Tail 20))
      Copy-Item -LiteralPath $f.FullName -Destination ($base + '-' + $f.Name) -Force
    } catch { $log += $f.Name + ' cannot be read' }
  }
}
$result = ConvertTo-Json -Compress -InputObject ([pscustomobject]@{ exit = $code; ended = [DateTime]::UtcNow.ToString('o'); log = $log })
[IO.File]::WriteAllText($base + '.part', $result)
Move-Item -LiteralPath ($base + '.part') -Destination ($base + '.exit')
Unregister-ScheduledTask -TaskName ('failover-eft-' + $d.id) -Confirm:$false
