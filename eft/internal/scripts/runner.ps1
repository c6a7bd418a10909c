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
function Stop-Strays {
  foreach ($s in @(Get-CimInstance -ClassName Win32_Service)) {
    if ($s.PathName -and $s.State -ne 'Stopped' -and $s.PathName.ToLowerInvariant().Contains('\' + ([string]$d.executable).ToLowerInvariant())) {
      try { Stop-Service -Name $s.Name -Force } catch { $null = $_ }
    }
  }
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
  # Meanwhile the service is stopped as often as the installer starts it.
  while (-not $p.WaitForExit(500)) { Stop-Strays }
  $code = $p.ExitCode
} catch { $log = [string]$_.Exception.Message }
Stop-Strays
foreach ($pattern in @($d.logs)) {
  if (-not $pattern) { continue }
  foreach ($f in @(Get-ChildItem -Path $pattern -File -ErrorAction SilentlyContinue)) {
    if ($f.LastWriteTimeUtc -lt $began) { continue }
    $log += [string]::Join([Environment]::NewLine, @(Get-Content -LiteralPath $f.FullName -Tail 20))
    Copy-Item -LiteralPath $f.FullName -Destination ($base + '-' + $f.Name) -Force
  }
}
$result = ConvertTo-Json -Compress -InputObject ([pscustomobject]@{ exit = $code; ended = [DateTime]::UtcNow.ToString('o'); log = $log })
[IO.File]::WriteAllText($base + '.part', $result)
Move-Item -LiteralPath ($base + '.part') -Destination ($base + '.exit')
Unregister-ScheduledTask -TaskName ('failover-eft-' + $d.id) -Confirm:$false
