# Starts the installer as a task of its own, because Windows ends what an SSH session started together with the session.
# Document: runs, id, turn, path, sha256, args, env, logs, executable, consoles, runner (the text of runner.ps1).
# Whoever claims the run first runs the installer; a second start does nothing. A start that gives up takes the claim
# itself, so that what it says of the run stays true, and so does run.ps1 for who looks for a start that is lost. Such a
# claim says void and stays; a start of the next turn, which is the number of those claims, takes the next. Safe to repeat.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$claim = [IO.Path]::Combine($d.runs, $d.id + '.claim')
for ($n = 0; $n -lt [int]$d.turn; $n++) { $claim += '.next' }
if ([IO.File]::Exists($claim)) {
  if ([IO.File]::ReadAllText($claim) -eq 'void') { return [pscustomobject]@{ claimed = $false; late = $true; result = 'not started' } }
  return [pscustomobject]@{ claimed = $true }
}
$drive = [IO.Path]::GetPathRoot($d.runs)
if (-not [IO.Directory]::Exists($drive)) { throw ('there is no drive ' + $drive) }
if (-not (Test-Path -LiteralPath $d.path -PathType Leaf)) { return [pscustomobject]@{ claimed = $false; missing = $true } }
if ((Get-FileHash -LiteralPath $d.path -Algorithm SHA256).Hash -ne $d.sha256) { return [pscustomobject]@{ claimed = $false; differs = $true } }
# SYSTEM runs what lies here, so nobody but administrators may write: S-1-5-32-544 is Administrators, S-1-5-18 SYSTEM.
# That is made and looked at every time, because a start before this one may have ended in between.
if (-not [IO.Directory]::Exists($d.runs)) { [void][IO.Directory]::CreateDirectory($d.runs) }
if ((Get-Item -LiteralPath $d.runs -Force).Attributes -band [IO.FileAttributes]::ReparsePoint) { throw 'the folder for the runs is a link' }
& icacls.exe $d.runs /setowner '*S-1-5-32-544' | Out-Null
if ($LASTEXITCODE -ne 0) { throw ('icacls ended with ' + $LASTEXITCODE) }
& icacls.exe $d.runs /inheritance:r /grant:r '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-18:(OI)(CI)F' | Out-Null
if ($LASTEXITCODE -ne 0) { throw ('icacls ended with ' + $LASTEXITCODE) }
foreach ($rule in (Get-Acl -LiteralPath $d.runs).GetAccessRules($true, $true, [Security.Principal.SecurityIdentifier])) {
  if ('S-1-5-32-544', 'S-1-5-18' -notcontains $rule.IdentityReference.Value) { throw ('the folder for the runs is open to ' + $rule.IdentityReference.Value) }
}
$global:Touched = $true
$utf8 = New-Object Text.UTF8Encoding $false
$runner = [IO.Path]::Combine($d.runs, $d.id + '.ps1')
$spec = [IO.Path]::Combine($d.runs, $d.id + '.json')
foreach ($file in $runner, $spec) {
  # What a start before this one left is removed, and a link with it, so that nothing is written through it.
  if ([IO.File]::Exists($file)) { [IO.File]::Delete($file) }
}
foreach ($file in @(@($runner, [string]$d.runner), @($spec, $Document))) {
  $bytes = $utf8.GetBytes($file[1])
  $stream = New-Object IO.FileStream $file[0], 'CreateNew', 'Write', 'None'
  try { $stream.Write($bytes, 0, $bytes.Length) } finally { $stream.Dispose() }
}
$action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument ('-NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "' + $runner + '" "' + $spec + '" "' + $claim + '"')
$principal = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
$settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -ExecutionTimeLimit ([TimeSpan]::Zero) -MultipleInstances IgnoreNew
$task = 'failover-eft-' + $d.id
[void](Register-ScheduledTask -TaskName $task -Action $action -Principal $principal -Settings $settings -Force)
Start-ScheduledTask -TaskName $task
$end = [DateTime]::UtcNow.AddSeconds(20)
while (-not [IO.File]::Exists($claim) -and [DateTime]::UtcNow -lt $end) { Start-Sleep -Milliseconds 200 }
if (-not [IO.File]::Exists($claim)) {
  # Whoever takes the claim decides: with it taken nothing can start any more, however late the task is.
  $mine = $claim + '.' + [string]$PID
  [IO.File]::WriteAllText($mine, 'void')
  try { [IO.File]::Move($mine, $claim) } catch { [IO.File]::Delete($mine) }
}
if ([IO.File]::ReadAllText($claim) -eq 'void') {
  # A policy for scripts that Group Policy sets beats the one in the command line; the result of the task tells.
  $result = ''
  try { $result = [string](Get-ScheduledTaskInfo -TaskName $task).LastTaskResult } catch { $result = 'not known' }
  try { Unregister-ScheduledTask -TaskName $task -Confirm:$false } catch { $null = $_ }
  return [pscustomobject]@{ claimed = $false; late = $true; result = $result }
}
[pscustomobject]@{ claimed = $true }
