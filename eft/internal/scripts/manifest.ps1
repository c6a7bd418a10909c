# Reads a copy again, file by file, and tells its list beside what is found. Document: dir. Changes nothing.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$list = [IO.Path]::Combine($d.dir, 'manifest.json')
if (-not [IO.File]::Exists($list)) { return [pscustomobject]@{ there = $false; listed = @(); found = @() } }
# The list is unrolled explicitly: 5.1 and 7 differ in whether ConvertFrom-Json does it.
$listed = @()
foreach ($e in (ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($list)))) { $listed += $e }
# Lists what a folder holds, by walking: a name is never cut out of a path.
function Get-Entries($dir, $under) {
  foreach ($item in @(Get-ChildItem -LiteralPath $dir -Force)) {
    if ($item.PSIsContainer) { Get-Entries $item.FullName ($under + $item.Name + '/'); continue }
    [pscustomobject]@{ path = $under + $item.Name; size = $item.Length
      sha256 = (Get-FileHash -LiteralPath $item.FullName -Algorithm SHA256).Hash.ToLowerInvariant() }
  }
}
$found = @(Get-Entries ([IO.Path]::Combine($d.dir, 'files')) '')
[pscustomobject]@{ there = $true; listed = @($listed); found = @($found) }
