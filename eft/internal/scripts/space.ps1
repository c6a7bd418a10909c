# Tells how much a tree holds and how much is free on its volume. Document: path. Changes nothing.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$used = 0
if (Test-Path -LiteralPath $d.path) {
  foreach ($f in @(Get-ChildItem -LiteralPath $d.path -Recurse -Force -File)) { $used += $f.Length }
}
$root = [IO.Path]::GetPathRoot($d.path)
[pscustomobject]@{ used = [long]$used; free = [long](New-Object IO.DriveInfo $root).AvailableFreeSpace }
