# Tells how EFT Server is installed on this machine. Changes nothing.
# Document: executable, consoles (names of programs that disturb an installation), product (wildcard for uninstall
# entries), runs (folder of installer runs), localConfigs (default configuration folders), configKeys (registry keys).
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
function Get-Version([string]$text) {
  # Numbers beyond 31 bits are no version of this product.
  if ($text -match '^\s*(\d{1,9}(\.\d{1,9}){0,3})(?![\d.])') { $Matches[1] } else { '' }
}
$services = @()
$program = ''
foreach ($s in @(Get-CimInstance -ClassName Win32_Service)) {
  if (-not $s.PathName) { continue }
  # The path may be quoted and may be followed by arguments.
  $path = $s.PathName
  if ($path -match '^\s*"([^"]+)"') { $path = $Matches[1] } elseif ($path -match '^\s*"?(.+?\.exe)("|\s|$)') { $path = $Matches[1] }
  # Cut by hand: in 5.1 IO.Path ends with an error on a path with a quote in it, which any service may have (documented).
  if (-not [string]::Equals($path.Substring($path.LastIndexOfAny([char[]]'\/') + 1), $d.executable, 'OrdinalIgnoreCase')) { continue }
  $services += [pscustomobject]@{ name = [string]$s.Name; running = ($s.State -ne 'Stopped'); startMode = [string]$s.StartMode; account = [string]$s.StartName; path = $path }
  if (Test-Path -LiteralPath $path) { $program = Get-Version ([Diagnostics.FileVersionInfo]::GetVersionInfo($path).ProductVersion) }
}
$products = @()
# Invariant, because the letter i has another capital in Turkish.
$pattern = New-Object Management.Automation.WildcardPattern $d.product, 'IgnoreCase, CultureInvariant'
foreach ($key in 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall', 'HKLM:\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall') {
  if (-not (Test-Path -LiteralPath $key)) { continue }
  foreach ($entry in @(Get-ChildItem -LiteralPath $key)) {
    $name = [string]$entry.GetValue('DisplayName')
    if ($pattern.IsMatch($name)) { $products += [pscustomobject]@{ name = $name; version = Get-Version ([string]$entry.GetValue('DisplayVersion')) } }
  }
}
$configDir = ''
foreach ($key in @($d.configKeys)) {
  if (-not $configDir -and (Test-Path -LiteralPath $key)) { $configDir = [string](Get-Item -LiteralPath $key).GetValue('Config') }
}
$locals = @()
foreach ($dir in @($d.localConfigs)) {
  foreach ($file in 'FTP.cfg', 'ServerConfig.db') {
    if ([IO.File]::Exists([IO.Path]::Combine($dir, $file))) { $locals += [string]$dir; break }
  }
}
$reboot = (Test-Path -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') -or
  (Test-Path -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') -or
  ($null -ne (Get-Item -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager').GetValue('PendingFileRenameOperations'))
$busy = @()
foreach ($p in @(Get-Process)) {
  if (@($d.consoles) -contains ($p.ProcessName + '.exe')) { $busy += $p.ProcessName + '.exe, process ' + $p.Id }
}
# Windows Installer owns this mutex while it changes the machine (documented); another installation then ends with 1618.
$mutex = $null
$free = $true
try {
  $mutex = [Threading.Mutex]::OpenExisting('Global\_MSIExecute')
  $free = $mutex.WaitOne(0)
  if ($free) { $mutex.ReleaseMutex() }
} catch [Threading.WaitHandleCannotBeOpenedException] {
  $free = $true
} catch [Threading.AbandonedMutexException] {
  $mutex.ReleaseMutex()
} catch [UnauthorizedAccessException] {
  $free = $false
} finally {
  if ($mutex) { $mutex.Dispose() }
}
if (-not $free) { $busy += 'an installation by Windows Installer' }
# Runs of our own that were claimed, have not ended and whose process is alive: the start time tells which process it is.
if (Test-Path -LiteralPath $d.runs) {
  foreach ($claim in @(Get-ChildItem -LiteralPath $d.runs -File)) {
    # The claim of a later turn has .next behind it.
    if ($claim.Name -notmatch '^(.+)\.claim(\.next)*$') { continue }
    if ([IO.File]::Exists([IO.Path]::Combine($d.runs, $Matches[1] + '.exit'))) { continue }
    try {
      $words = [IO.File]::ReadAllText($claim.FullName).Split(' ')
    } catch {
      # It is being written at this moment, or somebody holds it: an installer may be running.
      $busy += 'installer, whose claim ' + $claim.Name + ' cannot be read'
      continue
    }
    $number = 0
    $ticks = [long]0
    if ($words.Count -ne 3 -or -not [int]::TryParse($words[0], [ref]$number) -or -not [long]::TryParse($words[1], [ref]$ticks)) { continue }
    $alive = $false
    # The start time tells which process it is. Without one it has ended, or may be ours.
    $p = Get-Process -Id $number -ErrorAction SilentlyContinue
    if ($p -and $null -eq $p.StartTime) { $alive = -not $p.HasExited } elseif ($p) { $alive = $p.StartTime.ToUniversalTime().Ticks -eq $ticks }
    if ($alive) { $busy += 'installer, process ' + $words[0] }
  }
}
$boot = (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime.ToUniversalTime().ToString('o')
[pscustomobject]@{ node = [Environment]::MachineName; services = @($services); program = $program; products = @($products); configDir = $configDir
  localConfigs = @($locals); rebootPending = [bool]$reboot; booted = $boot; busy = @($busy) }
