# Starts the installer as a task of its own, because Windows ends what an SSH session started together with the session.
# Document: runs, id, path, sha256, args, env, logs, executable, consoles, runner (the text of runner.ps1).
# Whoever claims the run first runs the installer; a second start does nothing. Safe to repeat.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$claim = Join-Path $d.runs ($d.id + '.claim')
if (Test-Path -LiteralPath $claim) { return [pscustomobject]@{ claimed = $true } }
if (-not (Test-Path -LiteralPath $d.path -PathType Leaf)) { return [pscustomobject]@{ claimed = $false; missing = $true } }
if ((Get-FileHash -LiteralPath $d.path -Algorithm SHA256).Hash -ne $d.sha256) { return [pscustomobject]@{ claimed = $false; differs = $true } }
$global:Touched = $true
if (-not (Test-Path -LiteralPath $d.runs)) {
  [void](New-Item -ItemType Directory -Path $d.runs)
  # SYSTEM runs what lies here, so nobody but administrators may write: S-1-5-32-544 is Administrators, S-1-5-18 SYSTEM.
  & icacls.exe $d.runs /inheritance:r /grant:r '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-18:(OI)(CI)F' | Out-Null
  if ($LASTEXITCODE -ne 0) { throw ('icacls ended with ' + $LASTEXITCODE) }
}
$utf8 = New-Object Text.UTF8Encoding $false
$runner = Join-Path $d.runs ($d.id + '.ps1')
$spec = Join-Path $d.runs ($d.id + '.json')
[IO.File]::WriteAllText($runner, [string]$d.runner, $utf8)
[IO.File]::WriteAllText($spec, $Document, $utf8)
$action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument ('-NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "' + $runner + '" "' + $spec + '"')
$principal = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
$settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -ExecutionTimeLimit ([TimeSpan]::Zero) -MultipleInstances IgnoreNew
$task = 'failover-eft-' + $d.id
[void](Register-ScheduledTask -TaskName $task -Action $action -Principal $principal -Settings $settings -Force)
Start-ScheduledTask -TaskName $task
$end = [DateTime]::UtcNow.AddSeconds(20)
while (-not (Test-Path -LiteralPath $claim) -and [DateTime]::UtcNow -lt $end) { Start-Sleep -Milliseconds 200 }
if (-not (Test-Path -LiteralPath $claim)) { throw 'the task did not claim the run within 20 seconds' }
[pscustomobject]@{ claimed = $true }
