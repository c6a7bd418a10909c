# Says what this machine is and whether it waits for a reboot. Changes nothing.
# Parameter document: {}
param([string]$Document)
$reasons = @()
if (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') { $reasons += 'component based servicing' }
if (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') { $reasons += 'Windows Update' }
$session = Get-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager'
if ($session.PSObject.Properties['PendingFileRenameOperations']) {
  # Virus scanners and updaters leave some nearly always, so a person has to see which they are.
  $files = @($session.PendingFileRenameOperations | Where-Object { $_ })
  $reasons += 'pending file renames: ' + (@($files | Select-Object -First 3) -join ', ') + ' of ' + $files.Count
}
$version = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
[pscustomobject]@{ node = [string]$env:COMPUTERNAME; build = [string]$version.CurrentBuildNumber + '.' + [string]$version.UBR; reasons = @($reasons) }
