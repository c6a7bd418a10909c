# Reads a copy again, file by file, and tells its list beside what is found. Document: dir. Changes nothing.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$list = Join-Path $d.dir 'manifest.json'
if (-not (Test-Path -LiteralPath $list)) { return [pscustomobject]@{ there = $false; listed = @(); found = @() } }
# The list is unrolled explicitly: 5.1 and 7 differ in whether ConvertFrom-Json does it.
$listed = @()
foreach ($e in (ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($list)))) { $listed += $e }
$files = Join-Path $d.dir 'files'
$found = @()
foreach ($f in @(Get-ChildItem -LiteralPath $files -Recurse -Force -File)) {
  $found += [pscustomobject]@{ path = $f.FullName.Substring($files.Length + 1).Replace('\', '/'); size = $f.Length
    sha256 = (Get-FileHash -LiteralPath $f.FullName -Algorithm SHA256).Hash.ToLowerInvariant() }
}
[pscustomobject]@{ there = $true; listed = @($listed); found = @($found) }
