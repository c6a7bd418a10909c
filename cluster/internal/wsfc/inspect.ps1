# Says what this machine is and whether it waits for a reboot. Changes nothing.
# Parameter document: {}
param([string]$Document)
$reasons = @()
if (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') { $reasons += 'component based servicing' }
if (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') { $reasons += 'Windows Update' }
$session = Get-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager'
if ($session.PSObject.Properties['PendingFileRenameOperations']) { $reasons += 'pending file renames' }
$version = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
[pscustomobject]@{ node = [string]$env:COMPUTERNAME; build = [string]$version.CurrentBuildNumber + '.' + [string]$version.UBR; reasons = @($reasons) }
