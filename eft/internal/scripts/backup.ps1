# Copies a folder into a new one, with a list of SHA-256 sums. Document: from, to, exclude.
# A complete copy stays as it is. Safe to repeat.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$list = Join-Path $d.to 'manifest.json'
if (Test-Path -LiteralPath $list) { return [pscustomobject]@{ done = $true } }
if (-not (Test-Path -LiteralPath $d.from -PathType Container)) { throw 'there is nothing to copy' }
$global:Touched = $true
$files = Join-Path $d.to 'files'
[void](New-Item -ItemType Directory -Force -Path $files)
$arguments = @($d.from.TrimEnd('\'), $files, '/E', '/COPY:DAT', '/DCOPY:T', '/R:1', '/W:1', '/NFL', '/NDL', '/NP', '/NJH', '/NJS')
$exclude = @($d.exclude | Where-Object { $_ })
if ($exclude.Count -gt 0) { $arguments += '/XD'; $arguments += $exclude }
& robocopy.exe $arguments | Out-Null
# Documented: 0 to 7 is success, 8 and above failure.
if ($LASTEXITCODE -ge 8) { throw ('robocopy ended with ' + $LASTEXITCODE) }
$global:LASTEXITCODE = 0
$entries = @()
foreach ($f in @(Get-ChildItem -LiteralPath $files -Recurse -Force -File)) {
  $entries += [pscustomobject]@{ path = $f.FullName.Substring($files.Length + 1).Replace('\', '/'); size = $f.Length
    sha256 = (Get-FileHash -LiteralPath $f.FullName -Algorithm SHA256).Hash.ToLowerInvariant() }
}
[IO.File]::WriteAllText($list + '.part', (ConvertTo-Json -InputObject @($entries) -Depth 3), (New-Object Text.UTF8Encoding $false))
Move-Item -LiteralPath ($list + '.part') -Destination $list
[pscustomobject]@{ done = $true }
