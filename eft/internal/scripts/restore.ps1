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
if (Test-Path -LiteralPath $to) {
  Move-Item -LiteralPath $to -Destination ($to + '.before-rollback-' + [DateTime]::UtcNow.ToString('yyyyMMddHHmmss'))
}
Move-Item -LiteralPath $new -Destination $to
[pscustomobject]@{ done = $true }
