# Stops a service, or sets its start mode and account. Document: name, stop, startMode, account, password.
# Empty values stay as they are. Safe to repeat.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$found = @(Get-CimInstance -ClassName Win32_Service | Where-Object { [string]::Equals($_.Name, $d.name, 'OrdinalIgnoreCase') })
if ($found.Count -ne 1) { throw 'there is no such service' }
if ($d.stop) {
  if ($found[0].State -ne 'Stopped') {
    $global:Touched = $true
    Stop-Service -InputObject (Get-Service | Where-Object { [string]::Equals($_.Name, $d.name, 'OrdinalIgnoreCase') }) -Force
  }
  return [pscustomobject]@{ done = $true }
}
$change = @{}
if ($d.startMode) { $change['StartMode'] = [string]$d.startMode }
if ($d.account) {
  $change['StartName'] = [string]$d.account
  # A managed or virtual account wants no password at all, one of Windows' own an empty one (documented: ChangeServiceConfig).
  if ($d.password -or -not ($d.account.EndsWith('$') -or $d.account.StartsWith('NT SERVICE\', 'OrdinalIgnoreCase'))) { $change['StartPassword'] = [string]$d.password }
}
if ($change.Count -gt 0) {
  $global:Touched = $true
  $r = Invoke-CimMethod -InputObject $found[0] -MethodName Change -Arguments $change
  # The numbers are those of Win32_Service.Change (documented).
  $words = @{ 2 = 'access is denied'; 15 = 'the account cannot log on'; 16 = 'the service is marked for deletion'; 21 = 'a parameter is wrong'; 22 = 'the account is not valid' }
  $code = [int]$r.ReturnValue
  if ($code -ne 0) { throw ('Win32_Service.Change returned ' + $code + ' ' + $words[$code]) }
}
[pscustomobject]@{ done = $true }
