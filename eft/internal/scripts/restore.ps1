# Makes a folder what a copy holds; what was there is kept beside it. Document: dir (the copy), to. Safe to repeat.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
if (-not (Test-Path -LiteralPath (Join-Path $d.dir 'manifest.json'))) { throw 'there is no complete copy' }
$to = $d.to.TrimEnd('\')
$new = $to + '.restored'
$global:Touched = $true
if (Test-Path -LiteralPath $new) { Remove-Item -LiteralPath $new -Recurse -Force }
& robocopy.exe (Join-Path $d.dir 'files') $new '/E' '/COPY:DAT' '/DCOPY:T' '/R:1' '/W:1' '/NFL' '/NDL' '/NP' '/NJH' '/NJS' | Out-Null
if ($LASTEXITCODE -ge 8) { throw ('robocopy ended with ' + $LASTEXITCODE) }
$global:LASTEXITCODE = 0
# Nothing takes the folder's place unless it is what the list says, file by file.
$listed = 0
foreach ($e in (ConvertFrom-Json -InputObject ([IO.File]::ReadAllText((Join-Path $d.dir 'manifest.json'))))) {
  $file = Join-Path $new $e.path.Replace('/', '\')
  if (-not (Test-Path -LiteralPath $file -PathType Leaf)) { throw ('the copy lacks ' + $e.path) }
  if ((Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash -ne $e.sha256) { throw ('the copy has another ' + $e.path) }
  $listed++
}
if (@(Get-ChildItem -LiteralPath $new -Recurse -Force -File).Count -ne $listed) { throw 'the copy has files that are not in its list' }
if (Test-Path -LiteralPath $to) {
  Move-Item -LiteralPath $to -Destination ($to + '.before-rollback-' + [DateTime]::UtcNow.ToString('yyyyMMddHHmmss'))
}
Move-Item -LiteralPath $new -Destination $to
[pscustomobject]@{ done = $true }
