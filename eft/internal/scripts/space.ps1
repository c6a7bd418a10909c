# Tells how much a tree holds and how much is free on its volume. Document: path. Changes nothing.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$used = 0
if (Test-Path -LiteralPath $d.path) {
  foreach ($f in @(Get-ChildItem -LiteralPath $d.path -Recurse -Force -File)) { $used += $f.Length }
}
# The volume that holds the path may be mounted in a folder: the longest name of a volume that the path begins with.
$best = ''
$free = $null
foreach ($v in @(Get-CimInstance -ClassName Win32_Volume)) {
  $name = [string]$v.Name
  if ($name.Length -gt $best.Length -and ($d.path + '\').StartsWith($name, 'OrdinalIgnoreCase')) {
    $best = $name
    $free = $v.FreeSpace
  }
}
if ($null -eq $free) { throw 'the volume is not here' }
[pscustomobject]@{ used = [long]$used; free = [long]$free }
